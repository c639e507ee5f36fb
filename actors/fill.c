/* fill.c - see fill.h. */
#include "actors/fill.h"

#include <math.h>

/* In the order of the answer. */
static bool
comes_before(const fill *f, int64_t a, int64_t b)
{
    return f->spec.newest_first ? a > b : a < b;
}

static int64_t
bucket_after(const fill *f, int64_t start)
{
    return f->spec.newest_first ? bucket_start(f->spec.every, start - 1)
                                : bucket_end(f->spec.every, start);
}

/* Behind the point before points[next]: its gap, from the bucket to resume at. */
static void
enter_gap(fill *f)
{
    int64_t resume = f->spec.resume_us;

    f->gap = false;
    if (f->spec.how == FILL_NONE || f->next >= f->count + f->more)
        return;
    f->at_us = bucket_after(f, f->points[f->next - 1].time_us);
    if (resume != INT64_MIN && comes_before(f, f->at_us, resume))
        f->at_us = bucket_start(f->spec.every, resume);
    f->gap = comes_before(f, f->at_us, f->points[f->next].time_us);
}

void
fill_open(fill *f, const fill_spec *spec, const result_point *points, uint32_t count, bool more)
{
    *f = (fill){ .spec = *spec, .points = points, .count = count, .more = more };
}

static double
between(const result_point *a, const result_point *b, int64_t at)
{
    double part = (double)(at - a->time_us) / (double)(b->time_us - a->time_us);

    if (isinf(b->value - a->value))
        return a->value * (1 - part) + b->value * part;
    return a->value + (b->value - a->value) * part;
}

static double
value_at(const fill *f)
{
    const result_point *a = &f->points[f->next - 1], *b = &f->points[f->next];

    if (f->spec.newest_first) {
        a = b;
        b = &f->points[f->next - 1];
    }
    switch (f->spec.how) {
    case FILL_PREVIOUS:
        return a->value;
    case FILL_LINEAR:
        return between(a, b, f->at_us);
    default:
        return (double)NAN;
    }
}

bool
fill_next(fill *f, result_point *p)
{
    if (f->spec.how != FILL_NONE && f->out == FILL_POINTS_MAX)
        return false;
    while (!f->gap) {
        const result_point *is;

        if (f->next == f->count)
            return false;
        is = &f->points[f->next++];
        enter_gap(f);
        if (f->spec.resume_us != INT64_MIN && comes_before(f, is->time_us, f->spec.resume_us))
            continue;
        *p = *is;
        f->out++;
        return true;
    }
    *p = (result_point){ .time_us = f->at_us, .value = value_at(f), .min = (double)NAN,
                         .max = (double)NAN };
    f->at_us = bucket_after(f, f->at_us);
    f->gap = comes_before(f, f->at_us, f->points[f->next].time_us);
    f->out++;
    return true;
}

void
fill_cursor(const fill *f, int64_t *next_us, int64_t *anchor_us)
{
    *next_us = *anchor_us = INT64_MIN;
    if (f->gap) {
        *next_us = f->at_us;
        *anchor_us = f->points[f->next - 1].time_us;
    } else if (f->next < f->count + f->more) {
        *next_us = f->points[f->next].time_us;
        /* Readings came late into the part of the gap that has gone out: it is passed over. */
        if (f->spec.resume_us != INT64_MIN && comes_before(f, *next_us, f->spec.resume_us)) {
            *anchor_us = *next_us;
            *next_us = f->spec.resume_us;
        }
    }
}
