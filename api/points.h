/* points.h - series of points as text for a client, in the form that it asked for.
 *
 *   points_series, points_add ..., points_close    for each series
 *   points_end                                     once; its text is then whole
 *
 *   JSON, MessagePack   {"machine_id", "series": [{..., "data": [...], "next_cursor"}]}, or that
 *                       inner object
 *   NDJSON              a point a line, with its machine and metric; {..., "next_cursor"} behind a
 *                       cut series
 *   CSV                 a header, a point a line; next_cursor stands in the last line of a cut
 *                       series
 *
 * What has been written may be taken away at any time (points_taken): it is not needed again.
 */
#ifndef HALTLESS_API_POINTS_H
#define HALTLESS_API_POINTS_H

#include "proto/json.h"
#include "proto/pack.h"
#include "proto/rows.h"

typedef struct points_form points_form;

typedef struct points_out {
    const points_form *form;
    json_out           text;
    /* what the answer is about; set by the caller */
    view    interval; /* empty: raw */
    view    aggregation;
    view    zone;
    int64_t start_us, end_us;
    bool    of_machine; /* machine_id leads the answer */
    uuid    machine_id;
    bool    single; /* one series' object is the answer */
    /* its own */
    bool     opened, in_series, row_open;
    uint32_t series_due, points_due; /* that were announced and have not come */
    json_out lead; /* of the lines of a series */
    pack     packed;
} points_out;

/* accept: the header; the first form named in it, or JSON. */
void points_init(points_out *p, view accept);
void points_free(points_out *p);
const char *points_media_type(const points_out *p);

/* series_total, count: how many will come (MessagePack writes that first).  machine NULL: folded
 * over machines; unit.at NULL: no reading was ever there.  False: more than were announced. */
NODISCARD bool points_series(points_out *p, uint32_t series_total, const uuid *machine, view metric,
                             view unit, uint32_t count);
NODISCARD bool points_add(points_out *p, const result_point *point);
/* cursor: empty when the series is whole. */
NODISCARD bool points_close(points_out *p, view cursor);
/* False: less than was announced, or no memory: the text is not whole. */
NODISCARD bool points_end(points_out *p);
void points_taken(points_out *p);

#endif
