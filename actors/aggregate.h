/* aggregate.h - buckets in time and what is computed over the readings of one.
 *
 * No I/O, no clock.  Rows come in time order, each time once (actors/merge.h makes them so):
 *
 *     fold_open ─ { fold_member ─ { fold_rows | fold_summary }* ─ fold_member_end }+ ─ fold_finish
 *
 * A member is one series; several members are folded into one answer (group_by).  Folding pools
 * the readings of a bucket; where pooling has no meaning (a rate over two counters), the members'
 * own results are combined: rates and deltas are added, a time-weighted average is weighted by the
 * time that each member covers.
 *
 * Buckets are [start, end): seconds to days are multiples since the epoch, weeks count from
 * Monday 1970-01-05, months from 1970-01.  In a zone, days and longer ones are counted so on its
 * calendar, and begin with the first instant whose local time is the bucket's midnight or later;
 * a day that a zone left out has no bucket.  The first and the last bucket of an answer hold only
 * what lies in the asked range.  Memory is bounded by 2 * (limit + 1) buckets and FOLD_VALUES_MAX.
 */
#ifndef HALTLESS_ACTORS_AGGREGATE_H
#define HALTLESS_ACTORS_AGGREGATE_H

#include "proto/base.h"
#include "proto/rows.h"
#include "proto/zone.h"

/* ---- buckets ---- */
typedef struct every {
    uint8_t     unit; /* enum interval_unit */
    uint32_t    n;    /* n-fold, from 1 */
    const zone *zone; /* NULL: UTC; outlives its user */
} every;

bool    bucket_is_valid(every e);              /* a known unit, n >= 1, at most a thousand years */
int64_t bucket_start(every e, int64_t time_us); /* of the bucket that holds the time; raw: the time */
int64_t bucket_end(every e, int64_t start_us);

/* Times that a bucket's arithmetic takes: years 0001 to 9999. */
#define BUCKET_TIME_MIN (-62135596800LL * 1000000)
#define BUCKET_TIME_MAX (253402300800LL * 1000000)

/* ---- one bucket ---- */
typedef struct agg {
    int64_t     start_us;
    uint64_t    count;
    int64_t     first_us, last_us;
    double      first, last;
    double      min, max;
    long double sum, sum_low; /* the low word is what the high one lost */
    long double mean, m2;     /* stddev only */
    long double rise, rise_low; /* rate: increases; after closing: the members' rates or deltas */
    uint64_t    rises;          /* after closing: members that have one */
    long double held;           /* time-weighted average: value times microseconds */
    uint64_t    held_us;
    double     *values; /* percentiles only */
    uint64_t    room;
} agg;

/* A whole run of rows that is known by its figures (a chunk's summary). */
typedef struct agg_summary {
    uint64_t count;
    int64_t  first_us, last_us;
    double   first, last, min, max, sum, m2;
} agg_summary;

bool agg_takes_summary(enum aggregation how);

/* Percent in 0..100 of n values (reordered), interpolated between closest ranks as R type 7. */
double agg_percentile(double *values, uint64_t n, uint32_t percent);

/* ---- an answer's series ---- */
enum { FOLD_VALUES_MAX = 8 << 20 }; /* values that percentiles may hold: 64 MiB */
#define FOLD_MAX_GAP_US (3600LL * 1000000) /* a value is held at most so long, unless the spec says how long */

typedef struct fold_spec {
    enum aggregation how;
    every            every;
    int64_t          start_us; /* [start, end) */
    int64_t          end_us;
    int64_t          max_gap_us; /* 0: FOLD_MAX_GAP_US */
    uint32_t         limit;
    bool             newest_first;
    bool             many; /* more than one member will come */
} fold_spec;

typedef struct fold {
    fold_spec spec;
    agg       open;     /* the bucket that is being filled */
    int64_t   open_end; /* its end, cut at spec.end_us; INT64_MIN: none */
    int64_t   open_from; /* its start, cut at spec.start_us */
    bool      has_before; /* a reading before the current one */
    int64_t   before_us;
    double    before;
    uint64_t  values_held; /* by percentiles of closed buckets */
    bool      cut;         /* the member gave more than limit + 1 */
    agg      *member;      /* closed buckets of the member that is being read (many) */
    agg      *whole;       /* of all members before */
    agg      *spare;
    uint32_t  members, wholes, rooms, wholes_room, spare_room;
    result_point *points; /* what goes out */
    uint32_t  point_count, point_room;
    result_point *older;  /* points of earlier members (raw, many) */
    uint32_t  older_count, older_room;
    int       failed;
} fold;

void fold_open(fold *f, const fold_spec *spec); /* on a zeroed or finished fold: keeps its memory */
void fold_close(fold *f);                       /* frees it */
bool fold_is_small(const fold *f, uint32_t points); /* has memory for that many points at most, and of one member */

/* The time from which rows are needed: earlier than spec.start_us when a value is carried in. */
int64_t fold_from(const fold *f);
void fold_member(fold *f); /* also to begin the same member again, from nothing */
void fold_rows(fold *f, const int64_t *times, const double *values, uint32_t count);
/* Where the bucket that holds the time, or the range, ends. */
int64_t fold_cut(const fold *f, int64_t time_us);
/* True when a run of that extent lies in one bucket and may be given as a summary. */
bool fold_may_skip(const fold *f, int64_t first_us, int64_t last_us);
void fold_summary(fold *f, const agg_summary *s);
bool fold_is_full(const fold *f); /* this member's further rows cannot matter */
void fold_member_end(fold *f);

/* 0; E_LIMIT: percentiles over too many values; E_NOMEM.  points: in the order asked for, borrowed
 * until the next fold_open.  next_us: of the first point that did not fit, which is points[*count]; or
 * INT64_MIN. */
NODISCARD int fold_finish(fold *f, const result_point **points, uint32_t *count, int64_t *next_us);

#endif
