/* part_version.c - when the chunks of a series changed last, for those who keep what they have read of them.
 *
 * A version is a number that a series has as long as no chunk of it comes, goes or is merged.  The first one of an opening
 * is a random one, so that no number of before means anything after it; they count up from there.  Four bytes a series.
 */
#include "storage/part_inner.h"

#include <stdlib.h>

#include "proto/world.h"

static void
begin(part *p)
{
    if (the_world->chance(&p->version_base, sizeof p->version_base) < 0)
        p->version_base = 0; /* nobody can keep anything: see part_version() */
    p->version_base >>= 1; /* it never runs over */
    p->last_stamp = p->all_stamp = 1;
    if (p->stamps != NULL)
        memset(p->stamps, 0, p->stamp_room * sizeof *p->stamps);
}

static uint32_t
next_stamp(part *p)
{
    if (p->last_stamp == 0 || p->last_stamp == UINT32_MAX)
        begin(p);
    return ++p->last_stamp;
}

void
part_changed(part *p, uint32_t number)
{
    uint32_t stamp = next_stamp(p);

    if (number >= p->stamp_room) {
        uint32_t  room = p->stamp_room == 0 ? 1024 : p->stamp_room;
        uint32_t *grown;

        while (room <= number)
            room *= 2;
        grown = realloc(p->stamps, room * sizeof *grown);
        ASSERT(grown != NULL);
        memset(grown + p->stamp_room, 0, (room - p->stamp_room) * sizeof *grown);
        p->stamps = grown;
        p->stamp_room = room;
    }
    p->stamps[number] = stamp;
}

void
part_changed_all(part *p)
{
    p->all_stamp = next_stamp(p);
}

uint64_t
part_version(part *p, uint32_t number)
{
    uint32_t stamp = number < p->stamp_room ? p->stamps[number] : 0;

    if (p->last_stamp == 0)
        begin(p);
    if (p->version_base == 0 || p->broken < 0)
        return 0;
    return p->version_base + (stamp > p->all_stamp ? stamp : p->all_stamp);
}
