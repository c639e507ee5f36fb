/* scan.c - see scan.h.
 *
 * A chunk's summary may stand for its rows when nothing else of the series overlaps it.  Whether the
 * next chunk does is known only when the cursor has gone on, and then its rows are out of reach: so
 * a summary is held back until the next chunk is seen, and in the rare case of an overlap a second
 * cursor goes back for the rows.
 */
#include "actors/scan.h"

#include "proto/err.h"

#include <math.h>
#include <stdlib.h>

enum {
    OVERLAP_MAX = 1024,  /* chunks of one series over one moment: 64 MiB decoded */
    COST_OF_CHUNK = 100, /* in rows: reading and looking at it */
};

struct scan {
    merge         *merge;
    chunk_cursor  *cursor, *back;
    part_reader   *cursor_of, *back_of;
    fold          *fold;
    uint32_t       series;
    int64_t        from_us, end_us;
    part_reader   *reader;
    bool           has_pending; /* the cursor stands on it */
    bool           has_held;
    chunk_summary  pending;
    chunk_summary  held; /* a summary that waits for the next chunk */
};

int
scan_new(scan **out)
{
    scan *s = calloc(1, sizeof *s);
    int   rc;

    if (s == NULL)
        return err(E_NOMEM, "scan");
    if ((rc = merge_new(&s->merge, CHUNK_ROWS_MAX, OVERLAP_MAX)) < 0) {
        free(s);
        return rc;
    }
    *out = s;
    return E_OK;
}

void
scan_forget_reader(scan *s)
{
    if (s->cursor != NULL)
        chunk_cursor_close(&s->cursor);
    if (s->back != NULL)
        chunk_cursor_close(&s->back);
    s->cursor_of = NULL;
    s->back_of = NULL;
}

void
scan_free(scan **s_p)
{
    scan *s = *s_p;

    *s_p = NULL;
    if (s == NULL)
        return;
    scan_forget_reader(s);
    merge_free(&s->merge);
    free(s);
}

static int
point_cursor(scan *s, chunk_cursor **c, part_reader **of, int64_t from, int64_t end)
{
    int rc;

    if (*c != NULL && *of != s->reader)
        chunk_cursor_close(c);
    if (*c != NULL) {
        chunk_cursor_seek(*c, s->series, from, end);
        return E_OK;
    }
    rc = chunk_cursor_open(c, s->reader, s->series, from, end);
    *of = rc < 0 ? NULL : s->reader;
    return rc;
}

static int
next_chunk(scan *s)
{
    int rc = chunk_cursor_next(s->cursor, &s->pending);

    s->has_pending = rc > 0;
    return rc < 0 ? err(rc, "chunks of series %u", s->series) : E_OK;
}

int
scan_start(scan *s, part_reader *r, uint32_t series, fold *f, scan_head head)
{
    int rc;

    merge_reset(s->merge);
    s->reader = r;
    s->series = series;
    s->fold = f;
    s->from_us = fold_from(f);
    s->end_us = f->spec.end_us;
    s->has_held = false;
    fold_member(f);
    if ((rc = merge_add_borrowed(s->merge, head.times, head.values, head.count, MERGE_NEWEST)) < 0)
        return rc;
    if ((rc = point_cursor(s, &s->cursor, &s->cursor_of, s->from_us, s->end_us)) < 0)
        return err(rc, "chunks of series %u", series);
    return next_chunk(s);
}

/* Rows of the chunk that the cursor stands on become a run. */
static int
decode(scan *s, chunk_cursor *c, const chunk_summary *sum, int64_t from_us)
{
    int64_t *times;
    double  *values;
    uint32_t from = 0;
    int      rc;

    if (sum->count > CHUNK_ROWS_MAX)
        return err(E_BAD, "a chunk of %u rows", sum->count);
    if ((rc = merge_room(s->merge, &times, &values)) < 0)
        return rc;
    if ((rc = chunk_cursor_rows(c, times, values)) < 0)
        return err(rc, "chunk of series %u", s->series);
    while (from < sum->count && times[from] < from_us)
        from++;
    merge_add(s->merge, from, sum->count, sum->lsn);
    return E_OK;
}

/* The rows of the held chunk are needed after all. */
static int
go_back(scan *s)
{
    chunk_summary sum;
    int           rc = point_cursor(s, &s->back, &s->back_of, s->held.first_us, s->held.last_us + 1);

    s->has_held = false;
    while (rc >= 0 && (rc = chunk_cursor_next(s->back, &sum)) > 0)
        if (sum.lsn == s->held.lsn && sum.first_us == s->held.first_us && sum.count == s->held.count)
            return decode(s, s->back, &sum, s->from_us);
    return rc < 0 ? err(rc, "chunks of series %u", s->series) : E_AGAIN;
}

static void
give_held(scan *s)
{
    const chunk_summary *c = &s->held;

    fold_summary(s->fold, &(agg_summary){ .count = c->count, .first_us = c->first_us, .last_us = c->last_us,
                                          .first = c->first, .last = c->last, .min = c->min, .max = c->max,
                                          .sum = c->sum, .m2 = c->m2 });
    s->has_held = false;
}

static bool
may_hold(const scan *s)
{
    const chunk_summary *c = &s->pending;

    return merge_first(s->merge) > c->last_us && isfinite(c->sum) && isfinite(c->m2)
           && fold_may_skip(s->fold, c->first_us, c->last_us);
}

/* The pending chunk comes before all rows that are left: it joins them, or is held as a summary. */
static int
join_pending(scan *s, int64_t *budget)
{
    int rc = E_OK;

    *budget -= COST_OF_CHUNK;
    if (s->has_held && s->pending.first_us > s->held.last_us)
        give_held(s);
    if (s->has_held)
        rc = go_back(s);
    if (rc == E_OK && may_hold(s)) {
        s->held = s->pending;
        s->has_held = true;
    } else if (rc == E_OK) {
        *budget -= s->pending.count;
        rc = decode(s, s->cursor, &s->pending, s->from_us);
    }
    return rc < 0 ? rc : next_chunk(s);
}

int
scan_step(scan *s, int64_t *budget)
{
    int rc;

    while (*budget > 0 && !fold_is_full(s->fold)) {
        const int64_t *times;
        const double  *values;
        uint32_t       n;

        if (s->has_pending && s->pending.first_us <= merge_first(s->merge)) {
            if ((rc = join_pending(s, budget)) < 0)
                return rc;
            continue;
        }
        if (s->has_held)
            give_held(s);
        n = merge_take(s->merge, s->has_pending ? s->pending.first_us : INT64_MAX, &times, &values);
        if (n == 0)
            break;
        *budget -= n;
        fold_rows(s->fold, times, values, n);
    }
    if (*budget <= 0 && !fold_is_full(s->fold))
        return 1;
    merge_reset(s->merge);
    s->has_held = false;
    fold_member_end(s->fold);
    return 0;
}
