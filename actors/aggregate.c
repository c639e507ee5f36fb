/* aggregate.c - see aggregate.h.
 *
 * Sums are kept as an unevaluated pair (what was added exactly, what it lost) in extended
 * precision, so that neither cancellation nor an overflow of a double on the way shows in the
 * result.  Spreads are merged with Chan's formula.  A span of rows is summed up in doubles first
 * and joined once: the loops over rows stay short.
 */
#include "actors/aggregate.h"

#include "proto/err.h"

#include <math.h>
#include <stdlib.h>

#define SECOND_US 1000000LL
#define DAY_US    (86400 * SECOND_US)

/* ---- buckets ---- */

static const int64_t unit_us[] = {
    [EVERY_RAW] = 1,          [EVERY_SECOND] = SECOND_US, [EVERY_MINUTE] = 60 * SECOND_US,
    [EVERY_HOUR] = 3600 * SECOND_US, [EVERY_DAY] = DAY_US, [EVERY_WEEK] = 7 * DAY_US,
    [EVERY_MONTH] = 31 * DAY_US, /* for the bound only */
};

#define MONDAY_US     (4 * DAY_US) /* 1970-01-05 */
#define WIDTH_MAX_US  (366000 * DAY_US)

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since the epoch of the first of a month counted from 1970-01 (Gregorian, proleptic). */
static int64_t
month_days(int64_t month)
{
    int64_t year = 1970 + floor_div(month, 12);
    int64_t m = month - floor_div(month, 12) * 12; /* 0..11 */
    /* A year that begins in March puts the leap day at its end. */
    int64_t y = m < 2 ? year - 1 : year;
    int64_t era = floor_div(y, 400);
    int64_t of_era = y - era * 400;
    int64_t day = (153 * ((m + 10) % 12) + 2) / 5;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + day - 719468;
}

static int64_t
month_of(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = floor_div(z, 146097);
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int64_t month = mp < 10 ? mp + 2 : mp - 10; /* 0..11 */

    return (yoe + era * 400 + (month < 2) - 1970) * 12 + month;
}

bool
bucket_is_valid(every e)
{
    return e.unit <= EVERY_MONTH && e.n >= 1 && (int64_t)e.n <= WIDTH_MAX_US / unit_us[e.unit];
}

/* Buckets are numbered: on the UTC line, or on the local one of the zone. */
static int64_t
bucket_number(every e, int64_t t)
{
    int64_t from = e.unit == EVERY_WEEK ? MONDAY_US : 0;

    if (e.unit == EVERY_MONTH)
        return floor_div(month_of(floor_div(t, DAY_US)), e.n);
    return floor_div(t - from, unit_us[e.unit] * (int64_t)e.n);
}

static int64_t
bucket_begin(every e, int64_t number)
{
    int64_t from = e.unit == EVERY_WEEK ? MONDAY_US : 0;

    if (e.unit == EVERY_MONTH)
        return month_days(number * (int64_t)e.n) * DAY_US;
    return number * unit_us[e.unit] * (int64_t)e.n + from;
}

static bool
is_local(every e)
{
    return e.zone != NULL && e.unit >= EVERY_DAY;
}

static int64_t
local_begin(every e, int64_t number)
{
    return zone_first(e.zone, bucket_begin(e, number) / SECOND_US) * SECOND_US;
}

/* The number of the bucket that holds t.  What the clock shows twice around midnight belongs to the
 * day that has begun; of days that begin at once (one was left out) the last has the time. */
static int64_t
local_number(every e, int64_t t)
{
    int64_t second = floor_div(t, SECOND_US);
    int64_t number = bucket_number(e, (second + zone_offset(e.zone, second)) * SECOND_US);

    while (local_begin(e, number) > t)
        number--;
    while (local_begin(e, number + 1) <= t)
        number++;
    return number;
}

int64_t
bucket_start(every e, int64_t t)
{
    if (e.unit == EVERY_RAW)
        return t;
    if (is_local(e))
        return local_begin(e, local_number(e, t));
    return bucket_begin(e, bucket_number(e, t));
}

int64_t
bucket_end(every e, int64_t start)
{
    if (e.unit == EVERY_RAW)
        return start + 1;
    if (is_local(e))
        return local_begin(e, local_number(e, start) + 1);
    return bucket_begin(e, bucket_number(e, start) + 1);
}

/* ---- one bucket ---- */

/* high + low grows by x; what high cannot take goes to low (Knuth's exact addition). */
static void
sum_add(long double *high, long double *low, long double x)
{
    long double s = *high + x;
    long double back = s - *high;

    *low += (*high - (s - back)) + (x - back);
    *high = s;
}

static void
sum_rows(agg *a, const double *v, uint32_t n)
{
    double s = 0, low = 0;

    for (uint32_t i = 0; i < n; i++) {
        double t = s + v[i];
        double back = t - s;

        low += (s - (t - back)) + (v[i] - back);
        s = t;
    }
    if (LIKELY(isfinite(s) && isfinite(low))) {
        sum_add(&a->sum, &a->sum_low, s);
        a->sum_low += low;
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        sum_add(&a->sum, &a->sum_low, v[i]);
}

/* Chan: the spread of two sets from theirs. */
static void
spread_join(agg *a, uint64_t before, long double mean, long double m2, uint64_t n)
{
    long double total = (long double)(before + n);
    long double d = mean - a->mean;

    if (before == 0) {
        a->mean = mean;
        a->m2 = m2;
        return;
    }
    a->mean += d * (long double)n / total;
    a->m2 += m2 + d * d * (long double)before * (long double)n / total;
}

static void
spread_rows(agg *a, const double *v, uint32_t n)
{
    long double sum = 0, m2 = 0, drift = 0, mean;

    for (uint32_t i = 0; i < n; i++)
        sum += v[i];
    mean = sum / n;
    for (uint32_t i = 0; i < n; i++) {
        long double d = v[i] - mean;

        m2 += d * d;
        drift += d;
    }
    spread_join(a, a->count, mean, m2 - drift * drift / n, n);
}

static void
rise_rows(agg *a, const double *v, uint32_t n)
{
    double before = a->count > 0 ? a->last : v[0];

    for (uint32_t i = 0; i < n; i++) {
        /* A counter that fell began again at nought. */
        long double by = v[i] < before ? (long double)v[i] : (long double)v[i] - before;

        sum_add(&a->rise, &a->rise_low, by);
        before = v[i];
    }
}

static void
extent_rows(agg *a, const int64_t *t, const double *v, uint32_t n)
{
    double min = v[0], max = v[0];

    for (uint32_t i = 1; i < n; i++) {
        min = v[i] < min ? v[i] : min;
        max = v[i] > max ? v[i] : max;
    }
    if (a->count == 0) {
        a->first_us = t[0];
        a->first = v[0];
        a->min = min;
        a->max = max;
    }
    a->min = min < a->min ? min : a->min;
    a->max = max > a->max ? max : a->max;
    a->last_us = t[n - 1];
    a->last = v[n - 1];
}

static uint32_t
percent_of(enum aggregation how)
{
    static const uint8_t percents[AGG_NUMBERS] = {
        [AGG_P50] = 50, [AGG_P90] = 90, [AGG_P95] = 95, [AGG_P99] = 99
    };

    return percents[how];
}

static bool
needs_sum(enum aggregation how)
{
    return how == AGG_AVG || how == AGG_SUM;
}

bool
agg_takes_summary(enum aggregation how)
{
    return percent_of(how) == 0 && how != AGG_RATE && how != AGG_TIME_WEIGHTED_AVG;
}

static int
compare_doubles(const void *a, const void *b)
{
    double x, y;

    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

double
agg_percentile(double *values, uint64_t n, uint32_t percent)
{
    double   rank = (double)(n - 1) * ((double)percent / 100);
    uint64_t at = (uint64_t)rank;
    double   part = rank - (double)at;

    ASSERT(n > 0 && percent <= 100);
    qsort(values, n, sizeof *values, compare_doubles);
    if (part == 0 || at + 1 == n)
        return values[at];
    if (isinf(values[at + 1] - values[at]))
        return values[at] * (1 - part) + values[at + 1] * part;
    return values[at] + part * (values[at + 1] - values[at]);
}

/* Rates and deltas of a closed bucket: of one member, or the sum over the members that have one. */
static void
agg_settle(agg *a, enum aggregation how)
{
    long double seconds = (long double)(a->last_us - a->first_us) / SECOND_US;

    if (how == AGG_DELTA) {
        a->rise = (long double)a->last - a->first;
        a->rise_low = 0;
        a->rises = 1;
    } else if (how == AGG_RATE && a->count > 1) {
        a->rise = (a->rise + a->rise_low) / seconds;
        a->rise_low = 0;
        a->rises = 1;
    }
}

static double
agg_value(agg *a, enum aggregation how)
{
    long double n = (long double)a->count;

    switch (how) {
    case AGG_AVG:
        return (double)((a->sum + a->sum_low) / n);
    case AGG_SUM:
        return (double)(a->sum + a->sum_low);
    case AGG_MIN:
        return a->min;
    case AGG_MAX:
        return a->max;
    case AGG_COUNT:
        return (double)a->count;
    case AGG_FIRST:
        return a->first;
    case AGG_LAST:
        return a->last;
    case AGG_STDDEV:
        return (double)sqrtl(a->m2 > 0 ? a->m2 / n : 0);
    case AGG_RATE:
    case AGG_DELTA:
        return a->rises > 0 ? (double)(a->rise + a->rise_low) : (double)NAN;
    case AGG_TIME_WEIGHTED_AVG:
        return a->held_us > 0 ? (double)(a->held / (long double)a->held_us) : (double)NAN;
    default:
        return agg_percentile(a->values, a->count, percent_of(how));
    }
}

/* ---- growing arrays; the bounds are in the callers ---- */

static bool
room_for(void **array, uint32_t *room, uint32_t count, size_t size)
{
    uint32_t want = *room == 0 ? 64 : *room * 2;
    void    *grown;

    if (count < *room)
        return true;
    grown = realloc(*array, (size_t)want * size);
    if (grown == NULL)
        return false;
    *array = grown;
    *room = want;
    return true;
}

/* ---- fold ---- */

static bool
is_raw(const fold *f)
{
    return f->spec.every.unit == EVERY_RAW;
}

static void
drop_buckets(agg *at, uint32_t *count)
{
    for (uint32_t i = 0; i < *count; i++)
        free(at[i].values);
    *count = 0;
}

void
fold_open(fold *f, const fold_spec *spec)
{
    ASSERT(bucket_is_valid(spec->every) && spec->how < AGG_NUMBERS && spec->limit > 0);
    drop_buckets(f->member, &f->members);
    drop_buckets(f->whole, &f->wholes);
    f->spec = *spec;
    f->open_end = INT64_MIN;
    f->open.count = 0;
    f->values_held = 0;
    f->point_count = 0;
    f->older_count = 0;
    f->failed = 0;
}

void
fold_close(fold *f)
{
    drop_buckets(f->member, &f->members);
    drop_buckets(f->whole, &f->wholes);
    free(f->open.values);
    free(f->member);
    free(f->whole);
    free(f->spare);
    free(f->points);
    free(f->older);
    memset(f, 0, sizeof *f);
}

static int64_t
max_gap_us(const fold *f)
{
    return f->spec.max_gap_us > 0 ? f->spec.max_gap_us : FOLD_MAX_GAP_US;
}

bool
fold_is_small(const fold *f, uint32_t points)
{
    return f->point_room <= points && f->open.room == 0 && f->rooms == 0 && f->wholes_room == 0 &&
           f->spare_room == 0 && f->older_room == 0;
}

int64_t
fold_from(const fold *f)
{
    return f->spec.how == AGG_TIME_WEIGHTED_AVG && !is_raw(f) ? f->spec.start_us - max_gap_us(f)
                                                              : f->spec.start_us;
}

void
fold_member(fold *f)
{
    f->has_before = false;
    f->cut = false;
    f->open_end = INT64_MIN;
    f->open.count = 0;
    f->point_count = 0;
    for (uint32_t i = 0; i < f->members; i++) /* of an attempt that was broken off */
        f->values_held -= f->member[i].values != NULL ? f->member[i].count : 0;
    drop_buckets(f->member, &f->members);
}

bool
fold_is_full(const fold *f)
{
    return f->failed != 0 || f->cut;
}

/* Oldest first, one more than asked is enough to know where to go on; newest first, the last ones
 * are kept, moved down now and then. */
static void
keep_points(fold *f)
{
    uint32_t keep = f->spec.limit + 1;

    if (f->point_count < keep)
        return;
    if (!f->spec.newest_first) {
        f->cut = true;
    } else if (f->point_count == 2 * keep) {
        memmove(f->points, f->points + keep, keep * sizeof *f->points);
        f->point_count = keep;
    }
}

static void
add_point(fold *f, const result_point *p)
{
    if (!room_for((void **)&f->points, &f->point_room, f->point_count, sizeof *f->points)) {
        f->failed = E_NOMEM;
        return;
    }
    f->points[f->point_count++] = *p;
    keep_points(f);
}

static result_point
point_of(agg *a, enum aggregation how)
{
    return (result_point){ .time_us = a->start_us, .value = agg_value(a, how), .count = a->count,
                           .min = a->min, .max = a->max };
}

/* The open bucket of one of many members waits for those of the others. */
static void
add_bucket(fold *f)
{
    uint32_t keep = f->spec.limit + 1;

    if (!room_for((void **)&f->member, &f->rooms, f->members, sizeof *f->member)) {
        f->failed = E_NOMEM;
        return;
    }
    f->member[f->members++] = f->open;
    f->values_held += f->open.values != NULL ? f->open.count : 0;
    f->open.values = NULL;
    f->open.room = 0;
    if (f->members < keep)
        return;
    if (!f->spec.newest_first) {
        f->cut = true;
    } else if (f->members == 2 * keep) {
        for (uint32_t i = 0; i < keep; i++) {
            f->values_held -= f->member[i].values != NULL ? f->member[i].count : 0;
            free(f->member[i].values);
        }
        memmove(f->member, f->member + keep, keep * sizeof *f->member);
        f->members = keep;
    }
}

/* A value holds until the next reading, the end of the bucket, or the longest gap. */
static void
hold_until(fold *f, int64_t until_us)
{
    int64_t from = f->before_us > f->open_from ? f->before_us : f->open_from;
    int64_t held_us = f->before_us + max_gap_us(f);
    int64_t to = held_us < until_us ? held_us : until_us;

    if (!f->has_before || to <= from)
        return;
    f->open.held += (long double)f->before * (long double)(to - from);
    f->open.held_us += (uint64_t)(to - from);
}

static void
close_bucket(fold *f)
{
    agg *a = &f->open;

    if (a->count == 0)
        return;
    if (f->spec.how == AGG_TIME_WEIGHTED_AVG)
        hold_until(f, f->open_end);
    agg_settle(a, f->spec.how);
    if (f->spec.many) {
        add_bucket(f);
    } else {
        result_point p = point_of(a, f->spec.how);

        add_point(f, &p);
    }
    a->count = 0;
}

static void
open_bucket(fold *f, int64_t t)
{
    double  *values = f->open.values;
    uint64_t room = f->open.room;
    int64_t  start = bucket_start(f->spec.every, t);
    int64_t  end = bucket_end(f->spec.every, start);

    f->open = (agg){ .start_us = start, .values = values, .room = room };
    f->open_from = start > f->spec.start_us ? start : f->spec.start_us;
    f->open_end = end < f->spec.end_us ? end : f->spec.end_us;
}

static void
hold_values(fold *f, const double *v, uint32_t n)
{
    agg     *a = &f->open;
    uint64_t need = a->count + n;
    double  *grown;

    if (f->values_held + need > FOLD_VALUES_MAX) {
        f->failed = err(E_LIMIT, "a percentile over more than %d readings", FOLD_VALUES_MAX);
        return;
    }
    if (need > a->room) {
        a->room = need < 1024 ? 1024 : need * 2;
        grown = realloc(a->values, a->room * sizeof *grown);
        if (grown == NULL) {
            f->failed = E_NOMEM;
            return;
        }
        a->values = grown;
    }
    memcpy(a->values + a->count, v, n * sizeof *v);
}

static void
hold_rows(fold *f, const int64_t *t, const double *v, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        hold_until(f, t[i]);
        f->has_before = true;
        f->before_us = t[i];
        f->before = v[i];
    }
}

/* n rows that lie in the open bucket. */
static void
fill_bucket(fold *f, const int64_t *t, const double *v, uint32_t n)
{
    agg             *a = &f->open;
    enum aggregation how = f->spec.how;

    if (needs_sum(how))
        sum_rows(a, v, n);
    else if (how == AGG_STDDEV)
        spread_rows(a, v, n);
    else if (how == AGG_RATE)
        rise_rows(a, v, n);
    else if (how == AGG_TIME_WEIGHTED_AVG)
        hold_rows(f, t, v, n);
    else if (percent_of(how) > 0)
        hold_values(f, v, n);
    extent_rows(a, t, v, n);
    a->count += n;
}

/* How many of the rows, in time order, lie before `end`. */
static uint32_t
rows_before(const int64_t *t, uint32_t n, int64_t end)
{
    uint32_t low = 0, high = n;

    if (n == 0 || t[n - 1] < end)
        return n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (t[mid] < end)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void
raw_rows(fold *f, const int64_t *t, const double *v, uint32_t n)
{
    for (uint32_t i = 0; i < n && !fold_is_full(f); i++)
        add_point(f, &(result_point){ .time_us = t[i], .value = v[i], .count = 1, .min = v[i],
                                      .max = v[i] });
}

void
fold_rows(fold *f, const int64_t *t, const double *v, uint32_t n)
{
    uint32_t at = rows_before(t, n, f->spec.start_us);

    n = rows_before(t, n, f->spec.end_us);
    if (at > 0 && !f->failed) { /* the newest one before the range is carried in */
        f->has_before = true;
        f->before_us = t[at - 1];
        f->before = v[at - 1];
    }
    if (is_raw(f)) {
        raw_rows(f, t + at, v + at, n - at);
        return;
    }
    while (at < n && !fold_is_full(f)) {
        uint32_t many;

        if (t[at] >= f->open_end) {
            close_bucket(f);
            open_bucket(f, t[at]);
        }
        many = rows_before(t + at, n - at, f->open_end);
        if (fold_is_full(f))
            return;
        fill_bucket(f, t + at, v + at, many);
        at += many;
    }
}

int64_t
fold_cut(const fold *f, int64_t t)
{
    int64_t end = f->open_end;

    if (t >= end || t < f->open_from)
        end = bucket_end(f->spec.every, bucket_start(f->spec.every, t));
    return end < f->spec.end_us ? end : f->spec.end_us;
}

bool
fold_may_skip(const fold *f, int64_t first_us, int64_t last_us)
{
    return !is_raw(f) && agg_takes_summary(f->spec.how) && first_us >= f->spec.start_us
           && last_us < f->spec.end_us
           && bucket_start(f->spec.every, first_us) == bucket_start(f->spec.every, last_us);
}

void
fold_summary(fold *f, const agg_summary *s)
{
    agg *a = &f->open;

    if (fold_is_full(f) || s->count == 0)
        return;
    if (s->first_us >= f->open_end) {
        close_bucket(f);
        open_bucket(f, s->first_us);
        if (fold_is_full(f))
            return;
    }
    if (needs_sum(f->spec.how))
        sum_add(&a->sum, &a->sum_low, s->sum);
    if (f->spec.how == AGG_STDDEV)
        spread_join(a, a->count, (long double)s->sum / (long double)s->count, s->m2, s->count);
    if (a->count == 0) {
        a->first_us = s->first_us;
        a->first = s->first;
        a->min = s->min;
        a->max = s->max;
    }
    a->min = s->min < a->min ? s->min : a->min;
    a->max = s->max > a->max ? s->max : a->max;
    a->last_us = s->last_us;
    a->last = s->last;
    a->count += s->count;
}

/* ---- members into one ---- */

static int
join_values(fold *f, agg *a, agg *b)
{
    double *grown;

    if (b->values == NULL)
        return E_OK;
    grown = realloc(a->values, (a->count + b->count) * sizeof *grown);
    if (grown == NULL)
        return E_NOMEM;
    memcpy(grown + a->count, b->values, b->count * sizeof *grown);
    a->values = grown;
    a->room = a->count + b->count;
    free(b->values);
    b->values = NULL;
    (void)f;
    return E_OK;
}

/* Bucket b of a later member goes into a; of equal times the later member's is the last. */
static void
join_bucket(fold *f, agg *a, agg *b)
{
    int rc = join_values(f, a, b);

    if (rc < 0) {
        f->failed = rc;
        return;
    }
    if (f->spec.how == AGG_STDDEV)
        spread_join(a, a->count, b->mean, b->m2, b->count);
    sum_add(&a->sum, &a->sum_low, b->sum);
    a->sum_low += b->sum_low;
    sum_add(&a->rise, &a->rise_low, b->rise);
    a->rises += b->rises;
    a->held += b->held;
    a->held_us += b->held_us;
    a->min = b->min < a->min ? b->min : a->min;
    a->max = b->max > a->max ? b->max : a->max;
    if (b->first_us < a->first_us) {
        a->first_us = b->first_us;
        a->first = b->first;
    }
    if (b->last_us >= a->last_us) {
        a->last_us = b->last_us;
        a->last = b->last;
    }
    a->count += b->count;
}

/* Of the joined buckets the first or the last limit + 1 stay. */
static void
trim_spare(fold *f, uint32_t *count)
{
    uint32_t keep = f->spec.limit + 1;
    uint32_t from = 0;

    if (*count <= keep)
        return;
    if (f->spec.newest_first)
        from = *count - keep;
    for (uint32_t i = 0; i < *count; i++) {
        if (i >= from && i < from + keep)
            continue;
        f->values_held -= f->spare[i].values != NULL ? f->spare[i].count : 0;
        free(f->spare[i].values);
    }
    memmove(f->spare, f->spare + from, keep * sizeof *f->spare);
    *count = keep;
}

static void
join_member(fold *f)
{
    uint32_t i = 0, j = 0, n = 0;

    while (f->spare_room < f->wholes + f->members)
        if (!room_for((void **)&f->spare, &f->spare_room, f->spare_room, sizeof *f->spare)) {
            f->failed = E_NOMEM;
            return;
        }
    while (i < f->wholes || j < f->members) {
        int64_t a = i < f->wholes ? f->whole[i].start_us : INT64_MAX;
        int64_t b = j < f->members ? f->member[j].start_us : INT64_MAX;

        f->spare[n] = a <= b ? f->whole[i++] : f->member[j++];
        if (a == b)
            join_bucket(f, &f->spare[n], &f->member[j++]);
        n++;
    }
    trim_spare(f, &n);
    agg     *at = f->whole;
    uint32_t room = f->wholes_room;
    f->whole = f->spare;
    f->wholes_room = f->spare_room;
    f->wholes = n;
    f->spare = at;
    f->spare_room = room;
    f->members = 0;
}

/* Raw points of many members: by time; of equal times the earlier member's come first. */
static void
join_points(fold *f)
{
    uint32_t      total = f->older_count + f->point_count;
    uint32_t      keep = f->spec.limit + 1 < total ? f->spec.limit + 1 : total;
    result_point *all = malloc((total + 1) * sizeof *all);
    uint32_t      i = 0, j = 0;

    if (all == NULL) {
        f->failed = E_NOMEM;
        return;
    }
    for (uint32_t n = 0; n < total; n++) {
        bool older = j == f->point_count
                     || (i < f->older_count && f->older[i].time_us <= f->points[j].time_us);

        all[n] = older ? f->older[i++] : f->points[j++];
    }
    if (f->spec.newest_first)
        memmove(all, all + (total - keep), keep * sizeof *all);
    free(f->older);
    f->older = all;
    f->older_count = keep;
    f->older_room = total + 1;
    f->point_count = 0;
}

void
fold_member_end(fold *f)
{
    if (!fold_is_full(f))
        close_bucket(f);
    f->open.count = 0;
    f->open_end = INT64_MIN;
    if (!f->spec.many || f->failed)
        return;
    if (is_raw(f))
        join_points(f);
    else
        join_member(f);
}

static void
points_of_many(fold *f)
{
    f->point_count = 0;
    f->cut = false;
    for (uint32_t i = 0; i < f->wholes && !f->failed; i++) {
        if (!room_for((void **)&f->points, &f->point_room, f->point_count, sizeof *f->points))
            f->failed = E_NOMEM;
        else
            f->points[f->point_count++] = point_of(&f->whole[i], f->spec.how);
    }
    if (is_raw(f)) {
        result_point *at = f->points;

        f->points = f->older;
        f->older = at;
        f->point_count = f->older_count;
        uint32_t room = f->point_room;
        f->point_room = f->older_room;
        f->older_room = room;
    }
}

static void
turn_round(result_point *at, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        result_point p = at[i];

        at[i] = at[n - 1 - i];
        at[n - 1 - i] = p;
    }
}

int
fold_finish(fold *f, const result_point **points, uint32_t *count, int64_t *next_us)
{
    uint32_t n;

    if (f->spec.many)
        points_of_many(f);
    if (f->failed)
        return f->failed;
    n = f->point_count;
    *next_us = INT64_MIN;
    if (f->spec.newest_first)
        turn_round(f->points, n);
    if (n > f->spec.limit) {
        *next_us = f->points[f->spec.limit].time_us;
        n = f->spec.limit;
    }
    *points = f->points;
    *count = n;
    return E_OK;
}
