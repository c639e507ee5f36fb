/* trunk_frame.h - the head of what travels between two links; private to trunk.c and its tests. */
#ifndef HALTLESS_TRANSPORT_TRUNK_FRAME_H
#define HALTLESS_TRANSPORT_TRUNK_FRAME_H

#include "proto/base.h"

enum trunk_kind { TRUNK_OPEN = 1, TRUNK_WORD, TRUNK_ROAD, TRUNK_PING, TRUNK_SEEN, TRUNK_NEED };
enum { TRUNK_VERSION = 1 };
#define TRUNK_MAGIC UINT32_C(0x6b6e7274) /* "trnk" */

typedef struct trunk_head {
    uint32_t magic;
    uint16_t version;
    uint16_t kind;
    uint64_t session;
    uint64_t no; /* of the message; PING: of the next one; SEEN: bytes */
    uint64_t spare;
} trunk_head;
_Static_assert(sizeof(trunk_head) == 32, "layout");

static inline bool
trunk_head_read(const void *at, size_t len, trunk_head *h)
{
    if (len != sizeof *h)
        return false;
    memcpy(h, at, sizeof *h);
    return h->magic == TRUNK_MAGIC && h->version == TRUNK_VERSION && h->kind >= TRUNK_OPEN &&
           h->kind <= TRUNK_NEED;
}

#endif
