/* query_targets.h - a MSG_QUERY body judged, and the series that it means, found on the board.
 *
 * Series come in the order of the answer: by machine and metric, or by metric and machine when metrics are
 * folded.  A machine that is not the tenant's, or not live, is as if it were not there.
 */
#ifndef HALTLESS_ACTORS_QUERY_TARGETS_H
#define HALTLESS_ACTORS_QUERY_TARGETS_H

#include "actors/aggregate.h"
#include "transport/board.h"

enum { TARGETS_MAX = 1 << 20 };

typedef struct target {
    uint32_t series;
    uint32_t machine;
    uint16_t part;
    view     metric; /* on the board */
} target;

typedef struct targets {
    query_head head;
    zone      *zone; /* NULL: UTC */
    int64_t    resume_us; /* the answer begins inside a gap that is filled; or INT64_MIN */
    uint32_t  *machines; /* sorted, each once; NULL: all */
    view      *metrics;  /* likewise, in text */
    uint8_t   *text;
    uint32_t   looked_at; /* machines */
    uint64_t   far;       /* partitions that are on other nodes: their series come last, part by part */
    uint32_t   only;      /* machines of that partition alone, plus 1; 0: of every one */
    target    *at;
    uint32_t   count, room;
} targets;

/* E_BAD: counts do not fit, numbers out of range.  E_RANGE: an interval, a zone or a range that cannot be. */
NODISCARD int targets_open(targets *t, view body);
/* Looks at some more machines: 1: there are more; 0: done, sorted; E_LIMIT, E_NOMEM. */
NODISCARD int targets_find(targets *t, const board *b, uint32_t machines);
void targets_close(targets *t);

every targets_every(const targets *t);
/* Series of the answer. */
uint32_t targets_groups(const targets *t);
static inline bool
targets_is_far(const targets *t, uint16_t part)
{
    return (t->far >> part & 1) != 0;
}
/* Do both go into one series of the answer? */
bool targets_fold(const targets *t, const target *a, const target *b);

#endif
