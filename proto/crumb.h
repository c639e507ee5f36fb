/* crumb.h - what an actor is busy with while it starts, where its next life can read it.
 *
 *   at        which step runs now (numbers of its owner, never 0); 0: none
 *   suspect   the step that the last lives died in by a fault, deaths of them
 *
 * Whoever does the steps writes `at`; whoever knows how a life ended notes the death before the next one begins.  Twice, and
 * the step is to be left out.
 */
#ifndef HALTLESS_PROTO_CRUMB_H
#define HALTLESS_PROTO_CRUMB_H

#include "proto/base.h"

#include <stdatomic.h>

enum { CRUMB_DEATHS_MAX = 2 };

typedef struct crumb {
    _Atomic uint64_t at;
    _Atomic uint64_t suspect;
    _Atomic uint32_t deaths;
} crumb;

static inline void
crumb_note_death(crumb *c)
{
    uint64_t at = atomic_load(&c->at);

    if (at == 0)
        return;
    atomic_store(&c->deaths, at == atomic_load(&c->suspect) ? atomic_load(&c->deaths) + 1 : 1);
    atomic_store(&c->suspect, at);
}

static inline bool
crumb_is_fatal(const crumb *c, uint64_t at)
{
    return atomic_load(&c->suspect) == at && atomic_load(&c->deaths) >= CRUMB_DEATHS_MAX;
}

#endif
