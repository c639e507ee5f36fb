/* fill.h - the points of a series' answer, one by one, with its empty buckets between them.
 *
 *   points of the fold   A . . . . B . C        (. no readings)
 *   what comes out       A f f f f B f C
 *
 * Only between two points of the fold: never before the first nor behind the last one.  Nothing is
 * stored: a page of FILL_POINTS_MAX points may end inside a gap, and its cursor then names the next
 * empty bucket and the point that the gap began with (the anchor), which the next page reads again.
 */
#ifndef HALTLESS_ACTORS_FILL_H
#define HALTLESS_ACTORS_FILL_H

#include "actors/aggregate.h"

typedef struct fill_spec {
    every           every;
    enum query_fill how;
    bool            newest_first;
    int64_t         resume_us; /* nothing that comes before it goes out; INT64_MIN: all goes */
} fill_spec;

typedef struct fill { /* may be copied to try something */
    fill_spec           spec;
    const result_point *points;
    uint32_t            count; /* points that may go out */
    bool                more;  /* points[count] is where the next page begins */
    bool                gap;   /* at_us is an empty bucket in front of points[next] */
    uint32_t            next;
    int64_t             at_us;
    uint32_t            out;
} fill;

/* points and more: of fold_finish. */
void fill_open(fill *f, const fill_spec *spec, const result_point *points, uint32_t count,
               bool more);
bool fill_next(fill *f, result_point *p);
/* When fill_next has said false: where the next page goes on; INT64_MIN, INT64_MIN: nowhere. */
void fill_cursor(const fill *f, int64_t *next_us, int64_t *anchor_us);

#endif
