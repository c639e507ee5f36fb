/* differ.c - readings go in by every way, and every query must say what a naive memory says.
 *
 *   ops      in order, late, the same time again, deletes; seals, merges, retention; a crash, a clean stop
 *   answers  raw and every aggregation, buckets of every kind, both orders, limits, several series folded
 *
 * The memory is one sorted array a series.  `--long [SECONDS]` goes on with new seeds; `--seed N` runs one.
 */
#include "tests/unit/storage/scratch.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "actors/head_sums.h"
#include "actors/merge.h"
#include "actors/scan.h"
#include "proto/err.h"
#include "storage/rollup.h"
#include "tests/unit/storage/body.h"

enum { SERIES = 5, ROWS_MAX = 120000, SEEDS = 5, OPS = 160, QUERIES = 10, ERASED_MAX = 4096 };
#define SECOND  1000000ll
#define ORIGIN  (1775260800ll * SECOND) /* 2026-04-04 */
#define EPSILON 0x1p-52L

static const uuid lanes = { { 7 } };

static uint64_t state_of_chance;

static uint64_t
below(uint64_t n)
{
    state_of_chance ^= state_of_chance << 13;
    state_of_chance ^= state_of_chance >> 7;
    state_of_chance ^= state_of_chance << 17;
    return (state_of_chance >> 11) % n;
}

typedef struct memory {
    int64_t *times;
    double  *values;
    uint32_t count;
} memory;

typedef struct rig {
    const char  *dir;
    part        *p;
    part_reader *reader;
    scan        *scan;
    head_sums   *sums;
    fold         fold;
    body         b;
    uint64_t     pos;
    memory       m[SERIES + 1];
    int64_t      next_us[SERIES + 1]; /* where in-order data goes on */
    int64_t      level[SERIES + 1];
    struct {
        int64_t time_us;
        double  value;
        bool    there;
    } latest[SERIES + 1]; /* as the board has it */
    uint64_t erases, merges, compared;
} rig;

/* ---- the naive memory ---- */

static uint32_t
place_of(const memory *m, int64_t t)
{
    uint32_t low = 0, high = m->count;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (m->times[mid] < t)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void
memory_put(memory *m, int64_t t, double v)
{
    uint32_t at = place_of(m, t);

    if (at == m->count || m->times[at] != t) {
        CHECK(m->count < ROWS_MAX);
        memmove(m->times + at + 1, m->times + at, (m->count - at) * sizeof *m->times);
        memmove(m->values + at + 1, m->values + at, (m->count - at) * sizeof *m->values);
        m->count++;
    }
    m->times[at] = t;
    m->values[at] = v;
}

static void
memory_erase(memory *m, int64_t from, int64_t to)
{
    uint32_t a = place_of(m, from), b = place_of(m, to);

    memmove(m->times + a, m->times + b, (m->count - b) * sizeof *m->times);
    memmove(m->values + a, m->values + b, (m->count - b) * sizeof *m->values);
    m->count -= b - a;
}

/* ---- the partition ---- */

static void
on_latest(void *ctx, uint32_t s, int64_t time_us, double value, uint64_t lsn)
{
    rig *r = ctx;

    r->latest[s].there = lsn != 0;
    r->latest[s].time_us = time_us;
    r->latest[s].value = value;
}

static void
on_row(void *ctx, uint32_t s, const head_row *row, uint64_t lsn)
{
    rig *r = ctx;

    if (!r->latest[s].there || row->time_us >= r->latest[s].time_us)
        on_latest(r, s, row->time_us, row->value, lsn);
}

static void
latest_is_right(const rig *r)
{
    for (uint32_t s = 1; s <= SERIES; s++) {
        const memory *m = &r->m[s];

        CHECK_EQ(r->latest[s].there, m->count > 0);
        if (m->count == 0)
            continue;
        CHECK_EQ(r->latest[s].time_us, m->times[m->count - 1]);
        CHECK_EQ(memcmp(&r->latest[s].value, &m->values[m->count - 1], 8), 0);
    }
}

static void
rig_open(rig *r)
{
    part_config    config = { .dir = r->dir,
                              .journal_bytes = 4 << 20,
                              .heads_bytes = 96 << 10,
                              .cache_bytes = 1 << 20,
                              .durability = JOURNAL_OS };
    journal_report report;

    memset(r->latest, 0, sizeof r->latest);
    CHECK_OK(part_open(&r->p, &config, &(part_events){ .ctx = r, .latest = on_latest }, &report));
    CHECK_EQ(report.damaged, 0);
    CHECK_OK(part_reader_open(&r->reader, r->dir, 0, true, "", 1 << 20));
    part_reader_keep(r->reader, below(2) ? 4 << 20 : 64 << 10); /* all of it, or some */
    r->sums = head_sums_new(below(2) ? 4 << 20 : 16 << 10);
}

static void
rig_close(rig *r, bool clean)
{
    scan_forget_reader(r->scan);
    part_reader_close(&r->reader);
    head_sums_free(&r->sums);
    if (clean)
        part_close(&r->p);
    else
        part_abandon(&r->p);
}

static void
commit(rig *r)
{
    part_end_block(r->p, 0);
    CHECK_OK(part_write(r->p));
    part_show(r->p, on_row, r);
}

static void
stage(rig *r)
{
    part_source source = { lanes, 1, ++r->pos };
    uint64_t    lsn;
    uint32_t    rejected;
    int         rc = part_stage(r->p, body_view(&r->b), &source, &lsn, &rejected);

    if (rc == E_FULL) {
        commit(r);
        rc = part_stage(r->p, body_view(&r->b), &source, &lsn, &rejected);
    }
    CHECK_OK(rc);
    CHECK_EQ(rejected, 0);
}

static double
value_of(rig *r, uint32_t s)
{
    r->level[s] += (int64_t)below(41) - 20;
    switch (s) {
    case 1:
        return (double)r->level[s] / 100;
    case 2: /* no decimals: sums have something to lose */
        return ((double)below(1u << 30) - (1 << 29)) * 1.000000119e-3 * (below(50) == 0 ? 1e9 : 1);
    case 3:
        return (double)(1000000 + r->level[s]);
    case 4:
        return below(8) == 0 ? -0.0 : below(8) == 0 ? 5e-324 * (double)below(100) : (double)r->level[s] / 8;
    default:
        return 70.12;
    }
}

static void
put(rig *r, uint32_t s, int64_t t)
{
    double v = value_of(r, s);

    body_row(&r->b, s, 0, t, v);
    memory_put(&r->m[s], t, v);
}

static int64_t
some_time(rig *r, uint32_t s)
{
    return ORIGIN + (int64_t)below((uint64_t)((r->next_us[s] - ORIGIN) / SECOND) + 3600) * SECOND;
}

static void
put_some(rig *r)
{
    uint32_t s = 1 + (uint32_t)below(SERIES);
    uint32_t many = 1 + (uint32_t)below(below(4) == 0 ? 3000 : 300);
    uint64_t how = below(10);
    int64_t  late = some_time(r, s);

    body_clear(&r->b);
    for (uint32_t i = 0; i < many; i++) {
        if (how < 6) { /* in order; series 5 by the minute, series 4 with jitter */
            put(r, s, r->next_us[s] + (s == 4 ? (int64_t)below(7) * 1000 : 0));
            r->next_us[s] += (s == 5 ? 60 : 10) * SECOND;
        } else if (how < 8) { /* a run of late ones, half of which are there already */
            put(r, s, late + i * (how == 6 ? 10 : 5) * SECOND);
        } else {
            put(r, 1 + (uint32_t)below(SERIES), some_time(r, s));
        }
    }
    stage(r);
}

static void
erase_some(rig *r)
{
    uint32_t    series[SERIES];
    uint32_t    count = 1 + (uint32_t)below(2);
    int64_t     from = some_time(r, 1 + (uint32_t)below(SERIES));
    int64_t     to = from + 1 + (int64_t)below(below(3) == 0 ? 200000 : 4000) * SECOND;
    part_source source = { lanes, 1, ++r->pos };
    uint64_t    lsn;

    if (below(12) == 0)
        from = ORIGIN - 86400 * SECOND;
    for (uint32_t i = 0; i < count; i++) {
        series[i] = 1 + (uint32_t)below(SERIES);
        memory_erase(&r->m[series[i]], from, to);
    }
    CHECK_OK(part_stage_erase(r->p, &(part_erased){ series, count, from, to }, &source, &lsn));
    r->erases++;
}

static void
until_retained(rig *r, int64_t horizon_us)
{
    int  rc = E_OK;
    bool more;

    do {
        more = part_retain(r->p, horizon_us, &rc);
        CHECK_OK(rc);
        (void)part_tend(r->p, &rc);
        CHECK_OK(rc);
    } while (more);
}

/* One series, or all: what is older than some days goes, never the newest of a series. */
static void
retain(rig *r)
{
    uint32_t   s = (uint32_t)below(SERIES + 1);
    retain_row row = { .raw_days = 1 + (uint32_t)below(4), .pattern_len = s == 0 ? 1 : 2 };
    uint8_t    rules[32];
    int64_t    newest = INT64_MAX, limit_us;

    row.rollup_days = row.raw_days;
    memcpy(rules, &row, sizeof row);
    snprintf((char *)rules + sizeof row, sizeof rules - sizeof row, s == 0 ? "*" : "m%u", s);
    for (uint32_t i = 1; i <= SERIES; i++)
        if ((s == 0 || s == i) && r->m[i].count > 0 && r->m[i].times[r->m[i].count - 1] < newest)
            newest = r->m[i].times[r->m[i].count - 1];
    if (newest == INT64_MAX)
        return;
    CHECK_OK(part_retain_set(r->p, 1, view_of(rules, sizeof row + row.pattern_len)));
    until_retained(r, newest);
    limit_us = (key_day(newest) - (int64_t)row.raw_days) * KEY_DAY_US;
    for (uint32_t i = 1; i <= SERIES; i++)
        if (s == 0 || s == i)
            memory_erase(&r->m[i], INT64_MIN, limit_us);
    CHECK_OK(part_retain_set(r->p, 1, (view){ 0 }));
}

static void
work(rig *r)
{
    int rc = E_OK;

    switch (below(4)) {
    case 0:
        for (uint64_t n = below(6); n > 0 && part_tend(r->p, &rc); n--) {
        }
        break;
    case 1:
        for (uint64_t n = below(200); n > 0 && part_merge(r->p, &rc); n--)
            r->merges++;
        break;
    case 2:
        (void)part_tend(r->p, &rc);
        for (uint64_t n = below(4); n > 0 && part_merge(r->p, &rc); n--)
            r->merges++;
        break;
    default:
        (void)part_merge_rest(r->p);
        part_settle(r->p);
    }
    CHECK_OK(rc);
}

/* ---- questions ---- */

typedef struct question {
    enum aggregation how;
    every            every;
    int64_t          start_us, end_us;
    uint32_t         limit;
    bool             newest_first;
    uint32_t         series[SERIES];
    uint32_t         count;
} question;

static question
any_question(rig *r)
{
    static const every everies[] = {
        { EVERY_RAW, 1, NULL },   { EVERY_MINUTE, 5, NULL }, { EVERY_HOUR, 1, NULL }, { EVERY_HOUR, 1, NULL },
        { EVERY_HOUR, 6, NULL },  { EVERY_DAY, 1, NULL },    { EVERY_WEEK, 1, NULL }, { EVERY_MONTH, 1, NULL },
        { EVERY_SECOND, 7, NULL }, { EVERY_DAY, 1, NULL },
    };
    question q = { .how = (enum aggregation)below(AGG_NUMBERS), .every = everies[below(COUNT_OF(everies))] };
    int64_t  span = (1 + (int64_t)below(below(2) ? 900000 : 30000)) * SECOND;

    q.start_us = some_time(r, 1 + (uint32_t)below(SERIES)) - (int64_t)below(3) * 40000 * SECOND;
    if (below(3) == 0)
        q.start_us = ORIGIN - 86400 * SECOND;
    if (below(3) == 0)
        q.start_us -= q.start_us % (3600 * SECOND);
    q.end_us = q.start_us + span;
    q.limit = below(3) == 0 ? 1 + (uint32_t)below(50) : 10000;
    q.newest_first = below(2);
    q.count = below(5) == 0 ? 1 + (uint32_t)below(3) : 1;
    for (uint32_t i = 0; i < q.count; i++)
        q.series[i] = 1 + (uint32_t)((below(SERIES) + i) % SERIES);
    if (q.count > 1 && (q.every.unit == EVERY_RAW || q.series[0] == q.series[1] ||
                        (q.count > 2 && (q.series[2] == q.series[0] || q.series[2] == q.series[1]))))
        q.count = 1;
    return q;
}

typedef struct head_copy {
    head_row      *rows;
    chunk_summary *sums;
    int64_t   *times;
    double    *values;
    erased_row erased[ERASED_MAX];
} head_copy;

static bool
is_in_order(const head_row *rows, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (rows[i].time_us <= rows[i - 1].time_us)
            return false;
    return true;
}

/* Five minutes a run, or an hour; as ingest keeps them, and of few rows the rows. */
static uint32_t
sum_up(rig *r, uint32_t s, const head_view *h, head_copy *c, uint32_t *rows)
{
    int64_t              width_us = (r->fold.spec.every.unit == EVERY_MINUTE ? 300 : 3600) * SECOND;
    uint32_t             count, n = 0, left = 0;
    bool                 spread = r->fold.spec.how == AGG_STDDEV || below(2);
    const chunk_summary *of = head_sums_of(r->sums, s, h, width_us, spread, &count);

    for (uint32_t i = 0, at = 0; i < count; at += of[i++].count) {
        CHECK(of[i].count <= h->count - at);
        chunk_summary anew = rollup_sum(h->rows + at, of[i].count, spread);

        CHECK_EQ(memcmp(&of[i].first_us, &anew.first_us, offsetof(chunk_summary, m2) - offsetof(chunk_summary, first_us)), 0);
        CHECK(!spread || memcmp(&of[i].m2, &anew.m2, sizeof anew.m2) == 0);
    }
    for (uint32_t i = 0, at = 0; i < count; at += of[i++].count) {
        if (of[i].count > 3) {
            c->sums[n] = of[i];
            c->sums[n++].lsn = UINT64_MAX;
        } else {
            memcpy(c->rows + left, h->rows + at, of[i].count * sizeof *c->rows);
            left += of[i].count;
        }
    }
    *rows = left;
    return n;
}

/* As the query actor does it: the head's rows of that range, by time, or what is said of them. */
static scan_head
head_of(rig *r, uint32_t s, head_copy *c, bool figures)
{
    head_view h = below(2) ? part_head_by_time(r->p, s) : part_head(r->p, s);
    uint32_t  n = 0, sums = 0;

    c->rows = malloc((h.count + 1) * sizeof *c->rows);
    c->sums = malloc((h.count + 1) * sizeof *c->sums);
    c->times = malloc((h.count + 1) * sizeof *c->times);
    c->values = malloc((h.count + 1) * sizeof *c->values);
    for (uint32_t i = 0; i < h.count; i++)
        n += h.rows[i].time_us >= fold_from(&r->fold) && h.rows[i].time_us < r->fold.spec.end_us;
    if (h.count > 0 && is_in_order(h.rows, h.count)) {
        uint32_t few, many = sum_up(r, s, &h, c, &few);

        sums = figures && n == h.count ? many : 0;
        n = few;
    }
    if (sums == 0)
        n = 0;
    for (uint32_t i = 0; i < h.count && sums == 0; i++)
        if (h.rows[i].time_us >= fold_from(&r->fold) && h.rows[i].time_us < r->fold.spec.end_us)
            c->rows[n++] = h.rows[i];
    n = merge_sort_heads(c->rows, n, c->times, c->values);
    return (scan_head){ .times = c->times, .values = c->values, .count = n, .sums = c->sums, .sum_count = sums,
                        .erased = c->erased, .erased_count = part_erasures(r->p, s, c->erased, ERASED_MAX),
                        .version = below(8) > 0 ? part_version(r->p, s) : 0, .sealed_seq = part_sealed_seq(r->p) };
}

static void
ask(rig *r, const question *q, const result_point **points, uint32_t *count)
{
    static head_copy c;
    int64_t          next_us;

    fold_open(&r->fold, &(fold_spec){ .how = q->how, .every = q->every, .start_us = q->start_us, .end_us = q->end_us,
                                      .limit = q->limit, .newest_first = q->newest_first, .many = q->count > 1 });
    scan_forget_reader(r->scan);
    for (uint32_t i = 0, figures = 1; i < q->count;) {
        scan_head head = head_of(r, q->series[i], &c, figures && agg_takes_summary(q->how) && q->every.unit != EVERY_RAW);
        int64_t   budget;
        int       rc;

        CHECK_OK(scan_start(r->scan, r->reader, q->series[i], &r->fold, head));
        do {
            budget = 1 + (int64_t)below(20000);
            rc = scan_step(r->scan, &budget);
        } while (rc == 1);
        CHECK(rc == 0 || (rc == E_MORE && head.sum_count > 0));
        figures = rc == 0; /* else once more, with rows */
        i += rc == 0;
        free(c.rows);
        free(c.sums);
        free(c.times);
        free(c.values);
    }
    CHECK_OK(fold_finish(&r->fold, points, count, &next_us));
}

/* ---- the naive answers ---- */

typedef struct naive {
    int64_t     start_us;
    uint32_t    n;
    double      values[ROWS_MAX];
    int64_t     times[ROWS_MAX];
    uint32_t    member_from[SERIES + 1]; /* rows of each member, one behind the other */
    uint32_t    members;
    const question *q;
    const rig  *r;
} naive;

/* A bucket's rows of each member, in time order. */
static void
collect(naive *b, int64_t start_us)
{
    int64_t end = bucket_end(b->q->every, start_us);
    int64_t from = start_us > b->q->start_us ? start_us : b->q->start_us;
    int64_t to = end < b->q->end_us ? end : b->q->end_us;

    b->start_us = start_us;
    b->n = 0;
    b->members = 0;
    for (uint32_t i = 0; i < b->q->count; i++) {
        const memory *m = &b->r->m[b->q->series[i]];

        b->member_from[b->members++] = b->n;
        for (uint32_t k = place_of(m, from); k < m->count && m->times[k] < to; k++) {
            b->times[b->n] = m->times[k];
            b->values[b->n++] = m->values[k];
        }
    }
    b->member_from[b->members] = b->n;
}

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static long double
percentile(const naive *b, double p)
{
    static double sorted[ROWS_MAX];
    double        rank = (b->n - 1) * (p / 100);
    uint32_t      at = (uint32_t)rank;

    memcpy(sorted, b->values, b->n * sizeof *sorted);
    qsort(sorted, b->n, sizeof *sorted, compare_doubles);
    if (at + 1 >= b->n)
        return sorted[at];
    return sorted[at] + (rank - at) * (sorted[at + 1] - sorted[at]);
}

/* Rate or delta of one member; false: it has none. */
static bool
change_of(const naive *b, uint32_t from, uint32_t to, bool rate, long double *out)
{
    __float128 rise = 0;

    if (from == to || (rate && to - from < 2))
        return false;
    *out = (long double)b->values[to - 1] - b->values[from];
    if (!rate)
        return true;
    for (uint32_t i = from + 1; i < to; i++)
        rise += b->values[i] < b->values[i - 1] ? b->values[i] : (__float128)b->values[i] - b->values[i - 1];
    *out = (long double)(rise / ((__float128)(b->times[to - 1] - b->times[from]) / 1000000));
    return true;
}

static long double
changes(const naive *b, bool rate)
{
    long double sum = 0, one;
    bool        any = false;

    for (uint32_t i = 0; i < b->members; i++) {
        if (!change_of(b, b->member_from[i], b->member_from[i + 1], rate, &one))
            continue;
        any = true;
        sum += one;
    }
    return any ? sum : (long double)NAN;
}

static long double
held(const naive *b)
{
    int64_t    end = bucket_end(b->q->every, b->start_us);
    int64_t    from = b->start_us > b->q->start_us ? b->start_us : b->q->start_us;
    int64_t    to = end < b->q->end_us ? end : b->q->end_us;
    __float128 sum = 0, us = 0;

    for (uint32_t i = 0; i < b->q->count; i++) {
        const memory *m = &b->r->m[b->q->series[i]];
        uint32_t      k = place_of(m, from);

        if (b->member_from[i] == b->member_from[i + 1])
            continue; /* it has no reading in this bucket */
        for (k = k > 0 ? k - 1 : 0; k < m->count && m->times[k] < to; k++) {
            int64_t a = m->times[k] > from ? m->times[k] : from;
            int64_t z = m->times[k] + FOLD_MAX_GAP_US;

            z = k + 1 < m->count && m->times[k + 1] < z ? m->times[k + 1] : z;
            z = z < to ? z : to;
            if (z <= a)
                continue;
            sum += (__float128)m->values[k] * (z - a);
            us += z - a;
        }
    }
    return us > 0 ? (long double)(sum / us) : (long double)NAN;
}

/* *slack: what the contract lets an answer be off. */
static long double
expected(const naive *b, long double *slack)
{
    __float128  sum = 0, m2 = 0;
    long double size = 0, first = b->values[0], last = b->values[0];
    int64_t     first_us = INT64_MAX, last_us = INT64_MIN;

    *slack = 0;
    for (uint32_t i = 0; i < b->n; i++) {
        sum += b->values[i];
        size += fabsl(b->values[i]);
        if (b->times[i] < first_us) {
            first_us = b->times[i];
            first = b->values[i];
        }
        if (b->times[i] >= last_us) {
            last_us = b->times[i];
            last = b->values[i];
        }
    }
    switch (b->q->how) {
    case AGG_SUM:
        *slack = 4 * EPSILON * size;
        return (long double)sum;
    case AGG_AVG:
        *slack = 4 * EPSILON * size / b->n;
        return (long double)(sum / b->n);
    case AGG_COUNT:
        return b->n;
    case AGG_FIRST:
        return first;
    case AGG_LAST:
        return last;
    case AGG_STDDEV:
        for (uint32_t i = 0; i < b->n; i++)
            m2 += (b->values[i] - sum / b->n) * (b->values[i] - sum / b->n);
        first = sqrtl((long double)(m2 / b->n));
        /* Squares of less than 1e-160 are nought in a summary. */
        *slack = 1e-12L * first + 8 * EPSILON * size / b->n + 1e-160L;
        return first;
    case AGG_P50:
        return percentile(b, 50);
    case AGG_P90:
        return percentile(b, 90);
    case AGG_P95:
        return percentile(b, 95);
    case AGG_P99:
        return percentile(b, 99);
    case AGG_RATE:
        *slack = 1e-12L * (size + 1);
        return changes(b, true);
    case AGG_DELTA:
        *slack = 4 * EPSILON * size;
        return changes(b, false);
    case AGG_TIME_WEIGHTED_AVG:
        *slack = 1e-12L * (size + 1);
        return held(b);
    default:
        break;
    }
    for (uint32_t i = 1; i < b->n; i++) {
        first = b->values[i] < first ? b->values[i] : first;
        last = b->values[i] > last ? b->values[i] : last;
    }
    for (uint32_t i = 0; i < b->n; i++) { /* first and last as the first row by time leave them */
        first = b->values[i] < first ? b->values[i] : first;
        last = b->values[i] > last ? b->values[i] : last;
    }
    return b->q->how == AGG_MIN ? first : last;
}

static void
compare_point(const naive *b, const result_point *p)
{
    long double slack, want = expected(b, &slack);

    if (p->time_us != b->start_us || p->count != b->n)
        fail_msg("aggregation %d, every %u x %u, [%lld, %lld), %u series, the first %u: %llu readings at %lld, not %u at %lld",
                 b->q->how, b->q->every.n, b->q->every.unit, (long long)b->q->start_us, (long long)b->q->end_us,
                 b->q->count, b->q->series[0], (unsigned long long)p->count, (long long)p->time_us, b->n,
                 (long long)b->start_us);
    if (isnan((double)want))
        CHECK(isnan(p->value));
    else if (!(fabsl(p->value - want) <= slack + EPSILON / 2 * fabsl(want) + DBL_TRUE_MIN))
        fail_msg("aggregation %d of %u rows: %.17g, not %.17Lg (slack %Lg)", b->q->how, b->n, p->value, want, slack);
}

/* The starts of the buckets that have readings, oldest first. */
static uint32_t
buckets_of(const rig *r, const question *q, int64_t *out, uint32_t room)
{
    uint32_t n = 0;
    int64_t  at = q->start_us;

    for (;;) {
        int64_t next = INT64_MAX;

        for (uint32_t i = 0; i < q->count; i++) {
            const memory *m = &r->m[q->series[i]];
            uint32_t      k = place_of(m, at);

            if (k < m->count && m->times[k] < q->end_us && m->times[k] < next)
                next = m->times[k];
        }
        if (next == INT64_MAX)
            return n;
        CHECK(n < room);
        out[n] = bucket_start(q->every, next);
        at = bucket_end(q->every, out[n++]);
    }
}

static void
compare_raw(const rig *r, const question *q, const result_point *p, uint32_t count)
{
    const memory *m = &r->m[q->series[0]];
    uint32_t      from = place_of(m, q->start_us), to = place_of(m, q->end_us);
    uint32_t      want = to - from < q->limit ? to - from : q->limit;

    CHECK_EQ(count, want);
    for (uint32_t i = 0; i < want; i++) {
        uint32_t k = q->newest_first ? to - 1 - i : from + i;

        CHECK_EQ(p[i].time_us, m->times[k]);
        CHECK_EQ(memcmp(&p[i].value, &m->values[k], 8), 0);
    }
}

static void
compare_one(rig *r)
{
    static int64_t      starts[ROWS_MAX * 2];
    static naive        b;
    question            q = any_question(r);
    const result_point *points;
    uint32_t            count, n;

    ask(r, &q, &points, &count);
    r->compared += count;
    if (q.every.unit == EVERY_RAW) {
        compare_raw(r, &q, points, count);
        return;
    }
    n = buckets_of(r, &q, starts, COUNT_OF(starts));
    CHECK_EQ(count, n < q.limit ? n : q.limit);
    b.q = &q;
    b.r = r;
    for (uint32_t i = 0; i < count; i++) {
        collect(&b, starts[q.newest_first ? n - 1 - i : i]);
        compare_point(&b, &points[i]);
    }
}

/* ---- a run ---- */

static void
run(const char *dir, uint64_t seed, bool say)
{
    rig r = { .dir = dir, .b = body_new(1) };

    state_of_chance = seed * 0x9E3779B97F4A7C15ull + 1;
    CHECK_OK(scan_new(&r.scan));
    for (uint32_t s = 1; s <= SERIES; s++) {
        r.m[s].times = malloc((ROWS_MAX + 1) * sizeof(int64_t));
        r.m[s].values = malloc((ROWS_MAX + 1) * sizeof(double));
        r.next_us[s] = ORIGIN + (int64_t)below(90000) * SECOND;
        r.level[s] = 7000;
    }
    rig_open(&r);
    for (uint32_t s = 1; s <= SERIES; s++) {
        char     metric[8];
        uint32_t name;

        snprintf(metric, sizeof metric, "m%u", s);
        name = body_name(&r.b, 1, 0, metric, "C");
        body_row(&r.b, name, ROW_NEW, r.next_us[s], 1.5);
        memory_put(&r.m[s], r.next_us[s], 1.5);
    }
    stage(&r);
    commit(&r);
    for (uint32_t op = 0; op < OPS; op++) {
        uint64_t what = below(20);

        for (uint64_t n = 1 + below(4); n > 0; n--) {
            if (below(14) == 0)
                erase_some(&r);
            else
                put_some(&r);
        }
        commit(&r);
        latest_is_right(&r);
        if (what < 14)
            work(&r);
        if (what == 18)
            retain(&r);
        if (what == 19) {
            rig_close(&r, below(2));
            rig_open(&r);
            latest_is_right(&r);
        }
        for (uint64_t n = below(QUERIES); n > 0; n--)
            compare_one(&r);
    }
    if (say)
        printf("seed %llu: %llu deletes, %llu merges, %llu points compared\n", (unsigned long long)seed,
               (unsigned long long)r.erases, (unsigned long long)r.merges, (unsigned long long)r.compared);
    rig_close(&r, true);
    scan_free(&r.scan);
    fold_close(&r.fold);
    for (uint32_t s = 1; s <= SERIES; s++) {
        free(r.m[s].times);
        free(r.m[s].values);
    }
    body_free(&r.b);
}

static uint64_t first_seed = 1, last_seed = SEEDS;
static double   seconds;

static void
every_query_says_what_a_naive_memory_says(void **state)
{
    time_t until = time(NULL) + (time_t)seconds;

    for (uint64_t seed = first_seed; seed <= last_seed || time(NULL) < until; seed++) {
        char dir[64];

        snprintf(dir, sizeof dir, "%s/%llu", (const char *)*state, (unsigned long long)seed);
        CHECK_EQ(mkdir(dir, 0700), 0);
        if (seconds > 0)
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        run(dir, seed, true);
        scratch_remove(dir);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { TEST_IN_SCRATCH(every_query_says_what_a_naive_memory_says) };

    if (argc > 2 && strcmp(argv[1], "--seed") == 0)
        first_seed = last_seed = strtoull(argv[2], NULL, 10);
    if (argc > 1 && strcmp(argv[1], "--long") == 0) {
        seconds = argc > 2 ? strtod(argv[2], NULL) : 600;
        first_seed = (uint64_t)time(NULL);
        last_seed = 0;
    }
    return cmocka_run_group_tests_name("actors/differ", tests, NULL, NULL);
}
