/* scan.c - see scan.h.
 *
 * A day at a time, because a chunk never crosses one: its rollups are few enough to hold, and which of them stand alone
 * is seen by sorting.
 *
 *   segments   |--a--|  |----b----|      |--d--|      a, d: figures
 *                           |---c---|                 b, c: rows, merged
 *   head                                      . . .
 */
#include "actors/scan.h"

#include "proto/err.h"
#include "storage/columns.h"
#include "storage/rollup.h"

#include <math.h>
#include <stdlib.h>

enum {
    OVERLAP_MAX = 1024,  /* chunks of one series over one moment: 64 MiB decoded */
    COST_OF_CHUNK = 100, /* in rows: getting and looking at it */
    COST_OF_SEGMENT = 8,
    COST_OF_PIECE = 8,
    SEGMENTS_MAX = 1 << 20, /* of one day and series */
};
#define HEAD_CHUNK UINT32_MAX

typedef struct segment {
    chunk_summary sum;
    uint32_t      chunk; /* in scan.chunks; HEAD_CHUNK: of the head */
    bool          rows;  /* they are needed */
    bool          alone; /* no other segment overlaps it */
    bool          bare;  /* it has none */
    bool          taken; /* its rows came with an earlier segment's */
} segment;

struct scan {
    merge         *merge;
    chunk_cursor  *cursor;
    part_reader   *cursor_of;
    fold          *fold;
    uint32_t       series;
    int64_t        from_us, end_us;
    part_reader   *reader;
    scan_head      head;
    uint32_t       head_at;     /* of head.sums */
    bool           has_pending; /* the cursor stands on a chunk of a day to come */
    chunk_summary  pending;
    chunk_summary *chunks; /* of the day */
    segment       *segments;
    uint32_t       chunk_count, chunk_room, segment_count, segment_room;
    uint32_t       at; /* the segment that is next */
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
    s->cursor_of = NULL;
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
    free(s->chunks);
    free(s->segments);
    free(s);
}

static int
next_chunk(scan *s)
{
    int rc = chunk_cursor_next(s->cursor, &s->pending);

    s->has_pending = rc > 0;
    return rc < 0 ? err(rc, "chunks of series %u", s->series) : E_OK;
}

static int
point_cursor(scan *s)
{
    int rc;

    if (s->cursor != NULL && s->cursor_of != s->reader)
        chunk_cursor_close(&s->cursor);
    if (s->cursor != NULL) {
        chunk_cursor_seek(s->cursor, s->series, s->from_us, s->end_us);
    } else {
        rc = chunk_cursor_open(&s->cursor, s->reader, s->series, s->from_us, s->end_us);
        if (rc < 0)
            return rc;
        s->cursor_of = s->reader;
    }
    chunk_cursor_version(s->cursor, s->head.version, s->head.sealed_seq);
    return E_OK;
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
    s->head = head;
    s->head_at = 0;
    s->segment_count = s->at = 0;
    fold_member(f);
    if ((rc = merge_add_borrowed(s->merge, head.times, head.values, head.count, MERGE_NEWEST)) < 0)
        return rc;
    if ((rc = point_cursor(s)) < 0)
        return err(rc, "chunks of series %u", series);
    return next_chunk(s);
}

/* ---- the segments of a day ---- */

static int
grow(void **array, uint32_t *room, uint32_t need, size_t size)
{
    uint32_t want = *room == 0 ? 64 : *room;
    void    *grown;

    if (need <= *room)
        return E_OK;
    if (need > SEGMENTS_MAX)
        return err(E_LIMIT, "more than %d chunks of one series and day", SEGMENTS_MAX);
    while (want < need)
        want *= 2;
    grown = realloc(*array, want * size);
    if (grown == NULL)
        return err(E_NOMEM, "segments");
    *array = grown;
    *room = want;
    return E_OK;
}

static int
add_segment(scan *s, const chunk_summary *sum, uint32_t chunk, bool bare)
{
    int rc = grow((void **)&s->segments, &s->segment_room, s->segment_count + 1, sizeof *s->segments);

    if (rc == E_OK)
        s->segments[s->segment_count++] = (segment){ .sum = *sum, .chunk = chunk, .bare = bare };
    return rc;
}

/* Hours where there are; but one whole where that fits a bucket and stands clear of the chunk before and of the head. */
static bool
whole_will_do(const scan *s, const chunk_summary *c)
{
    if (!fold_may_skip(s->fold, c->first_us, c->last_us) || s->head.erased_count > 0 || s->head.count > 0)
        return false;
    return s->segment_count == 0 || s->segments[s->segment_count - 1].sum.last_us < c->first_us;
}

static int
add_hours(scan *s, const rollup *r)
{
    int rc = E_OK;

    for (uint32_t i = 0; i < r->hours && rc == E_OK; i++)
        if (r->hour[i].last_us >= s->from_us && r->hour[i].first_us < s->end_us)
            rc = add_segment(s, &r->hour[i], s->chunk_count, r->bare);
    return rc;
}

static int
add_chunk(scan *s)
{
    const rollup *r = chunk_cursor_rollup(s->cursor);
    int           rc = grow((void **)&s->chunks, &s->chunk_room, s->chunk_count + 1, sizeof *s->chunks);

    if (rc < 0)
        return rc;
    s->chunks[s->chunk_count] = r->whole;
    if (r->hours == 0 || whole_will_do(s, &r->whole))
        rc = add_segment(s, &r->whole, s->chunk_count, r->bare);
    else
        rc = add_hours(s, r);
    s->chunk_count++;
    return rc;
}

static int
by_time(const void *a, const void *b)
{
    const segment *x = a, *y = b;

    if (x->sum.first_us != y->sum.first_us)
        return x->sum.first_us < y->sum.first_us ? -1 : 1;
    return (x->sum.lsn > y->sum.lsn) - (x->sum.lsn < y->sum.lsn);
}

static void
sort_segments(scan *s)
{
    for (uint32_t i = 1; i < s->segment_count; i++) {
        if (s->segments[i - 1].sum.first_us <= s->segments[i].sum.first_us)
            continue;
        qsort(s->segments, s->segment_count, sizeof *s->segments, by_time);
        return;
    }
}

static bool
head_has_rows_in(const scan *s, int64_t first_us, int64_t last_us)
{
    uint32_t low = 0, high = s->head.count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (s->head.times[mid] < first_us)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->head.count && s->head.times[low] <= last_us;
}

static bool
is_touched_by_erasure(const scan *s, const chunk_summary *c)
{
    for (uint32_t i = 0; i < s->head.erased_count; i++) {
        const erased_row *e = &s->head.erased[i];

        if (e->lsn > c->lsn && e->from_us <= c->last_us && e->to_us > c->first_us)
            return true;
    }
    return false;
}

static bool
figures_will_do(const scan *s, const segment *g)
{
    const chunk_summary *c = &g->sum;

    return isfinite(c->sum) && isfinite(c->m2) && fold_may_skip(s->fold, c->first_us, c->last_us) &&
           !head_has_rows_in(s, c->first_us, c->last_us) && !is_touched_by_erasure(s, c);
}

/* Which overlap: one that begins before an earlier one has ended, and that earlier one.  From the last to the first,
 * with what begins next, and again with what ended last. */
static void
judge_segments(scan *s)
{
    int64_t next = INT64_MAX, until = INT64_MIN;

    for (uint32_t i = s->segment_count; i-- > 0;) {
        segment *g = &s->segments[i];

        if (g->bare)
            continue;
        g->alone = g->sum.last_us < next;
        g->rows = !g->alone || !figures_will_do(s, g);
        next = g->sum.first_us;
    }
    for (uint32_t i = 0; i < s->segment_count; i++) {
        segment *g = &s->segments[i];

        if (g->bare)
            continue;
        g->alone = g->alone && g->sum.first_us > until;
        g->rows = g->rows || !g->alone;
        until = g->sum.last_us > until ? g->sum.last_us : until;
    }
}

/* Those of the head that come before the next day of chunks. */
static int
add_head_sums(scan *s, int64_t until_us)
{
    int rc = E_OK;

    while (s->head_at < s->head.sum_count && s->head.sums[s->head_at].first_us < until_us && rc == E_OK)
        rc = add_segment(s, &s->head.sums[s->head_at++], HEAD_CHUNK, false);
    return rc;
}

static int64_t
day_of(const chunk_summary *c)
{
    return key_day(c->first_us);
}

/* The next day that has something; no segments: there is none. */
static int
load_day(scan *s)
{
    int64_t day;
    int     rc = E_OK;

    s->segment_count = s->chunk_count = s->at = 0;
    if (!s->has_pending) {
        rc = add_head_sums(s, INT64_MAX);
        judge_segments(s);
        return rc;
    }
    day = day_of(&s->pending);
    while (s->has_pending && day_of(&s->pending) == day && rc == E_OK)
        if ((rc = add_chunk(s)) == E_OK)
            rc = next_chunk(s);
    if (rc == E_OK)
        rc = add_head_sums(s, (day + 1) * KEY_DAY_US);
    if (rc == E_OK) {
        sort_segments(s);
        judge_segments(s);
    }
    return rc;
}

/* ---- rows of a chunk ---- */

static uint32_t
first_at(const int64_t *times, uint32_t count, int64_t from_us)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (times[mid] < from_us)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* What was erased after the chunk's last row was accepted. */
static uint32_t
leave_out_erased(const scan *s, const chunk_summary *c, int64_t *times, double *values, uint32_t count)
{
    for (uint32_t i = 0; i < s->head.erased_count; i++) {
        const erased_row *e = &s->head.erased[i];
        uint32_t          from, to;

        if (e->lsn <= c->lsn)
            continue;
        from = first_at(times, count, e->from_us);
        to = first_at(times, count, e->to_us);
        memmove(times + from, times + to, (count - to) * sizeof *times);
        memmove(values + from, values + to, (count - to) * sizeof *values);
        count -= to - from;
    }
    return count;
}

/* The rows of a chunk in [from_us, until_us] become a run.  A damaged one is counted and passed over. */
static int
add_rows(scan *s, const chunk_summary *c, int64_t from_us, int64_t until_us)
{
    const columns *kept = NULL;
    int64_t       *times;
    double        *values;
    uint32_t       first, count;
    int            rc;

    if ((rc = merge_room(s->merge, &times, &values)) < 0)
        return rc;
    from_us = from_us > s->from_us ? from_us : s->from_us;
    rc = chunk_cursor_columns(s->cursor, c, &kept);
    if (rc == E_OK && kept != NULL) {
        first = columns_at(kept, from_us);
        count = columns_at(kept, until_us + 1);
        columns_rows(kept, first, count, times, values);
        count = leave_out_erased(s, c, times, values, count - first);
        merge_add(s->merge, 0, count, c->lsn);
        return E_OK;
    }
    if (rc == E_OK)
        rc = chunk_cursor_rows_of(s->cursor, c, times, values);
    if (rc == E_BAD || rc == E_NOTFOUND) {
        err_clear();
        return E_OK;
    }
    if (rc < 0)
        return err(rc, "chunk of series %u", s->series);
    count = leave_out_erased(s, c, times, values, c->count);
    count = first_at(times, count, until_us + 1);
    merge_add(s->merge, first_at(times, count, from_us), count, c->lsn);
    return E_OK;
}

/* This segment and those behind it that are of the same chunk and need rows too: decoded once. */
static int
join_rows(scan *s, int64_t *budget)
{
    segment             *g = &s->segments[s->at];
    const chunk_summary *c = &s->chunks[g->chunk];
    int64_t              until = g->sum.last_us;

    if (g->chunk == HEAD_CHUNK)
        return E_MORE;
    for (uint32_t i = s->at + 1; i < s->segment_count; i++) {
        segment *next = &s->segments[i];

        if (next->chunk != g->chunk)
            continue;
        if (!next->rows)
            break;
        until = next->sum.last_us;
        next->rows = false;
        next->taken = true;
    }
    *budget -= COST_OF_CHUNK + c->count;
    return add_rows(s, c, g->sum.first_us, until);
}

static void
give_figures(scan *s, const chunk_summary *c)
{
    fold_summary(s->fold, &(agg_summary){ .count = c->count, .first_us = c->first_us, .last_us = c->last_us,
                                          .first = c->first, .last = c->last, .min = c->min, .max = c->max,
                                          .sum = c->sum, .m2 = c->m2 });
}

/* ---- pieces of a chunk ---- */

static bool
pieces_will_do(const scan *s, const segment *g)
{
    return g->alone && g->chunk != HEAD_CHUNK && s->fold->spec.every.unit != EVERY_RAW &&
           agg_takes_summary(s->fold->spec.how) && !is_touched_by_erasure(s, &g->sum);
}

/* Rows of the head up to our next one; of one that is in both, the head's counts. */
static void
take_head_rows(scan *s, const columns *from, uint32_t *at, uint32_t end)
{
    int64_t        first = merge_first(s->merge);
    const int64_t *times;
    const double  *values;
    uint32_t       n;

    if (columns_time(from, *at) == first)
        ++*at;
    n = merge_take(s->merge, *at < end ? columns_time(from, *at) : first + 1, &times, &values);
    if (n > 0)
        fold_rows(s->fold, times, values, n);
}

/* A segment that nothing but buckets, the range and rows of the head cuts: the figures of what lies between the cuts.
 * 1: given; 0: its rows are needed. */
static int
join_pieces(scan *s, const segment *g, int64_t *budget)
{
    const columns *from;
    bool           spread = s->fold->spec.how == AGG_STDDEV;
    uint32_t       at, end;
    int            rc = chunk_cursor_columns(s->cursor, &s->chunks[g->chunk], &from);

    if (rc < 0 || from == NULL || !columns_sum_up(from, spread))
        return rc;
    at = columns_at(from, g->sum.first_us > s->from_us ? g->sum.first_us : s->from_us);
    end = columns_at(from, g->sum.last_us < s->end_us ? g->sum.last_us + 1 : s->end_us);
    while (at < end && !fold_is_full(s->fold)) {
        int64_t  t = columns_time(from, at), head = merge_first(s->merge), cut;
        uint32_t to;

        *budget -= COST_OF_PIECE;
        if (t >= head) {
            take_head_rows(s, from, &at, end);
            continue;
        }
        cut = fold_cut(s->fold, t);
        to = columns_at(from, cut < head ? cut : head);
        to = to < end ? to : end;
        ASSERT(to > at);
        chunk_summary sum = columns_sum(from, at, to, spread);
        give_figures(s, &sum);
        at = to;
    }
    return 1;
}

static int
join_damaged(int rc)
{
    if (rc != E_BAD && rc != E_NOTFOUND)
        return rc;
    err_clear();
    return 1;
}

/* The next segment comes before all rows that are left: its rows join them, or its figures go out. */
static int
join_segment(scan *s, int64_t *budget)
{
    segment *g = &s->segments[s->at];
    int      rc = E_OK;

    *budget -= COST_OF_SEGMENT;
    if (g->rows && pieces_will_do(s, g) && (rc = join_damaged(join_pieces(s, g, budget))) != 0)
        rc = rc < 0 ? rc : E_OK;
    else if (g->rows)
        rc = join_rows(s, budget);
    else if (!g->taken && (!g->bare || figures_will_do(s, g)))
        give_figures(s, &g->sum);
    s->at++;
    return rc;
}

/* ---- a piece of it ---- */

static int64_t
next_first(const scan *s)
{
    if (s->at < s->segment_count)
        return s->segments[s->at].sum.first_us;
    return INT64_MAX;
}

static int
feed(scan *s, int64_t *budget)
{
    const int64_t *times;
    const double  *values;
    uint32_t       n;
    int            rc;

    while (s->at == s->segment_count && (s->has_pending || s->head_at < s->head.sum_count))
        if ((rc = load_day(s)) < 0)
            return rc;
    if (s->at < s->segment_count && next_first(s) <= merge_first(s->merge))
        return (rc = join_segment(s, budget)) < 0 ? rc : 1;
    n = merge_take(s->merge, next_first(s), &times, &values);
    *budget -= n;
    if (n > 0)
        fold_rows(s->fold, times, values, n);
    return n > 0;
}

int
scan_step(scan *s, int64_t *budget)
{
    int rc = 1;

    while (*budget > 0 && rc > 0 && !fold_is_full(s->fold))
        rc = feed(s, budget);
    if (rc < 0)
        return rc;
    if (rc > 0 && !fold_is_full(s->fold))
        return 1;
    merge_reset(s->merge);
    fold_member_end(s->fold);
    return 0;
}
