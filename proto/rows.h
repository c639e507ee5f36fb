/* rows.h - the fixed little-endian bodies of data messages.
 *
 * Whoever receives one copies the head out, judges the copy, and checks that the counts
 * fit the body before touching a row: the peer's memory may still change.
 *
 * Series numbers are per partition, from 1; 0 is "none".  Times are microseconds since
 * the epoch, UTC (time_us).  Machine, tenant, user and key numbers are the record numbers
 * of the board's tables, from 1, given by the registry and never reused.
 */
#ifndef HALTLESS_PROTO_ROWS_H
#define HALTLESS_PROTO_ROWS_H

#include "proto/base.h"

/* ---- MSG_READINGS: front -> ingest -------------------------------------------------
 *
 *   readings_head (32 B)
 *   reading_row[rows]            24 B each
 *   name_row[names]              each padded to 8 B; new series and changed units
 *
 * Rows come first because the decoder appends them while it walks the body and learns of
 * new names only on the way.  A row whose series was unknown to the front carries ROW_NEW
 * and the index of its name_row in `series`.
 */
typedef struct readings_head {
    uint32_t rows;
    uint32_t names;
    uint32_t names_len; /* bytes of all name rows with padding */
    uint32_t tenant;
    int64_t  arrived_us; /* wall clock of the front when the request came */
    uint64_t spare;
} readings_head;
_Static_assert(sizeof(readings_head) == 32, "layout");

enum row_flags {
    ROW_NEW = 1u << 0 /* series is an index into the name rows of this message */
};

typedef struct reading_row {
    uint32_t series;
    uint32_t flags;
    int64_t  time_us;
    double   value;
} reading_row;
_Static_assert(sizeof(reading_row) == 24, "layout");

/* Followed by metric_len bytes of the metric's name, unit_len bytes of the unit, padding to 8.
 * series != 0: that series' unit has changed; 0: a series to create (or to find: another front may
 * have been first). */
typedef struct name_row {
    uint32_t machine;
    uint32_t series;
    uint16_t metric_len; /* 1..1020 bytes (255 characters) */
    uint16_t unit_len;   /* 0..256 bytes (64 characters) */
    uint32_t tenant;
} name_row;
_Static_assert(sizeof(name_row) == 16, "layout");

static inline size_t
name_row_len(uint16_t metric_len, uint16_t unit_len)
{
    return (size_t)round_up(sizeof(name_row) + metric_len + unit_len, 8);
}

/* ---- MSG_STORED: ingest -> front --------------------------------------------------- */
typedef struct stored {
    int32_t  rc; /* E_OK: all rows durable and visible; E_NOSPACE; E_IO; E_LIMIT: rows of new series were over the budget */
    uint32_t durability; /* 0 fsync, 1 os, 2 memory: what was in force */
    uint64_t lsn;        /* of the first row */
} stored;
_Static_assert(sizeof(stored) == 16, "layout");

/* ---- MSG_FEED: ingest -> front ------------------------------------------------------ */
typedef struct feed_head {
    uint32_t rows;
    uint16_t part; /* the partition whose series numbers these are */
    uint16_t spare;
    uint64_t lsn; /* of the first row */
} feed_head;      /* followed by reading_row[rows]; no ROW_NEW */
_Static_assert(sizeof(feed_head) == 16, "layout");

/* ---- MSG_WATCHED, MSG_CAUGHT: ingest -> alert --------------------------------------- */
enum watched_flag {
    WATCHED_STARTED = 1, /* the partition has been opened: what was there before may not have been handed on */
    WATCHED_MORE = 2,    /* CAUGHT: there is more behind upto */
    WATCHED_PRESSED = 8, /* the journal fills up with what is judged but not on the disk */
    WATCHED_BEHIND = 4,  /* CAUGHT: there is less than was asked for: the journal has lost its end */
};

/* It has every watched row with after < lsn <= upto.  Whoever has not all up to `after` has missed some. */
typedef struct watched_head {
    uint32_t rows;
    uint16_t part; /* the partition whose series numbers these are */
    uint16_t flags;
    uint64_t after, upto;
    uint64_t rules;   /* board_rules_seq when their block was closed */
    uint64_t trimmed; /* CAUGHT: rows up to it are in the journal no longer */
    uint64_t lsn;     /* that the rows' flags count from */
} watched_head;       /* followed by reading_row[rows], in the order of their lsn */
_Static_assert(sizeof(watched_head) == 48, "layout");

#define CATCH_UP_ANEW UINT64_MAX /* as `after`: from where to begin?  Answered without rows. */

/* ---- MSG_CATCH_UP, MSG_JUDGED: alert -> ingest -------------------------------------- */
typedef struct judged_note {
    uint64_t upto;  /* every watched row up to it is judged; of MSG_CATCH_UP: rows behind it are wanted */
    uint64_t saved; /* that is so after a crash too: the journal need not hold it any longer */
    uint64_t known; /* the greatest lsn that was ever heard of */
} judged_note;
_Static_assert(sizeof(judged_note) == 24, "layout");

/* ---- MSG_QUERY: front -> query ------------------------------------------------------ */
enum interval_unit { EVERY_RAW, EVERY_SECOND, EVERY_MINUTE, EVERY_HOUR, EVERY_DAY, EVERY_WEEK, EVERY_MONTH };

/* X(AGG, number, "name") */
#define AGGREGATIONS(X)                                                                            \
    X(AGG_AVG, 0, "avg")                                                                           \
    X(AGG_MIN, 1, "min")                                                                           \
    X(AGG_MAX, 2, "max")                                                                           \
    X(AGG_SUM, 3, "sum")                                                                           \
    X(AGG_COUNT, 4, "count")                                                                       \
    X(AGG_FIRST, 5, "first")                                                                       \
    X(AGG_LAST, 6, "last")                                                                         \
    X(AGG_STDDEV, 7, "stddev")                                                                     \
    X(AGG_P50, 8, "p50")                                                                           \
    X(AGG_P90, 9, "p90")                                                                           \
    X(AGG_P95, 10, "p95")                                                                          \
    X(AGG_P99, 11, "p99")                                                                          \
    X(AGG_RATE, 12, "rate")                                                                        \
    X(AGG_DELTA, 13, "delta")                                                                      \
    X(AGG_TIME_WEIGHTED_AVG, 14, "time_weighted_avg")

enum aggregation {
#define X(AGG, number, name) AGG = number,
    AGGREGATIONS(X)
#undef X
        AGG_NUMBERS
};

enum query_flags {
    QUERY_DESC = 1u << 0,  /* newest first */
    QUERY_ANCHOR = 1u << 1 /* anchor_us is set */
};
enum query_group { GROUP_SERIES, GROUP_MACHINE, GROUP_METRIC, GROUP_ALL };
enum query_fill { FILL_NONE, FILL_NULL, FILL_PREVIOUS, FILL_LINEAR, FILL_NUMBERS };
enum { FILL_POINTS_MAX = 10000 }; /* points of a series in one answer when empty buckets are filled */

/* Followed by u32 machine[machines], then metrics x {u16 len, bytes}, then zone_len bytes of the
 * zone's name, unpadded.
 * machines == 0: every machine of the tenant; metrics == 0: every metric. */
typedef struct query_head {
    uint32_t tenant;
    uint16_t aggregation;
    uint8_t  every;      /* enum interval_unit */
    uint8_t  group_by;   /* enum query_group */
    uint32_t every_n;    /* 5 of "5m" */
    uint32_t limit;      /* points a series, 1..10000 */
    uint32_t flags;
    uint32_t machines;
    uint32_t metrics;
    uint8_t  fill;       /* enum query_fill */
    uint8_t  zone_len;   /* 0: UTC */
    uint16_t spare;
    int64_t  start_us;   /* [start, end) */
    int64_t  end_us;
    int64_t  cursor_us;  /* continue at this time (bucket start or reading); INT64_MIN: from the start */
    int64_t  anchor_us;  /* cursor_us is an empty bucket: the bucket with readings that it is filled from */
    uint32_t group;      /* machines of this machine group alone; 0: of any or none */
    uint32_t max_gap_s;  /* time_weighted_avg: a value holds at most so long; 0: an hour */
} query_head;
_Static_assert(sizeof(query_head) == 72, "layout");

/* ---- MSG_RESULT: parts of the answer -------------------------------------------------
 * A part is records one behind the other, each from a multiple of 8 and whole; the final reply's last one is RESULT_END.
 * kind RESULT_SERIES: result_series, metric bytes, unit bytes.  Opens a series.
 * kind RESULT_POINTS: result_point[count] of the series opened last.
 * kind RESULT_CLOSE:  ends that series; next_us is its cursor, or INT64_MIN when it is whole.
 * kind RESULT_END:    ends the answer; rc says how it went.
 */
enum result_kind { RESULT_SERIES, RESULT_POINTS, RESULT_CLOSE, RESULT_END };
typedef struct result_head {
    uint16_t kind;
    uint16_t spare;
    uint32_t count;     /* RESULT_POINTS: of this part; RESULT_SERIES: of all its parts */
    int32_t  rc;        /* RESULT_END */
    uint32_t series;    /* RESULT_SERIES: series in the whole answer */
    int64_t  next_us;   /* RESULT_CLOSE */
    int64_t  anchor_us; /* RESULT_CLOSE: of the cursor, as in query_head; INT64_MIN: none */
} result_head;
_Static_assert(sizeof(result_head) == 32, "layout");
typedef struct result_series {
    uint32_t machine; /* 0 when series are folded over machines */
    uint16_t metric_len;
    uint16_t unit_len;
} result_series;
_Static_assert(sizeof(result_series) == 8, "layout");
typedef struct result_point {
    int64_t  time_us; /* of the reading, or the bucket's start */
    double   value;
    uint64_t count; /* readings in the bucket; 1 for raw; 0: filled, min and max are NaN */
    double   min;
    double   max;
} result_point;
_Static_assert(sizeof(result_point) == 40, "layout");

/* Bytes of the record at the start of `at`; 0: it does not fit in there. */
static inline size_t
result_record_len(view at)
{
    result_head   h;
    result_series s;
    size_t        len = sizeof h;

    if (at.len < sizeof h)
        return 0;
    memcpy(&h, at.at, sizeof h);
    if (h.kind == RESULT_SERIES && at.len >= sizeof h + sizeof s) {
        memcpy(&s, at.at + sizeof h, sizeof s);
        len += (size_t)round_up(sizeof s + s.metric_len + s.unit_len, 8);
    } else if (h.kind == RESULT_SERIES) {
        return 0;
    } else if (h.kind == RESULT_POINTS) {
        len += h.count * sizeof(result_point);
    }
    return len <= at.len ? len : 0;
}

/* ---- MSG_ERASE: front -> ingest ---------------------------------------------------------
 * erase_ask, then u32 series[series_count]. */
typedef struct erase_ask {
    int64_t  from_us; /* [from, to) */
    int64_t  to_us;
    uint32_t series_count;
    uint32_t tenant;
    uint64_t spare;
} erase_ask;
_Static_assert(sizeof(erase_ask) == 32, "layout");

/* ---- MSG_RETENTION: front -> ingest, and its answer MSG_RETAINED ---------------------------
 * retention_ask, then len bytes of rules: retain_row, pattern, one behind the other.
 * retained, then the rules that are in force. */
enum retention_op { RETENTION_GET, RETENTION_PREVIEW, RETENTION_SET };
typedef struct retention_ask {
    uint32_t tenant;
    uint32_t op;
    uint32_t len;
    uint32_t spare;
} retention_ask;
_Static_assert(sizeof(retention_ask) == 16, "layout");
typedef struct retain_row {
    uint32_t raw_days;    /* 0: for ever */
    uint32_t rollup_days; /* 0: for ever */
    uint32_t pattern_len;
} retain_row;
_Static_assert(sizeof(retain_row) == 12, "layout");
typedef struct retained {
    int32_t  rc;
    uint32_t complete; /* the preview looked at everything */
    uint64_t readings;        /* that would go */
    uint64_t rollup_readings; /* whose hours would go too */
    uint32_t len;             /* bytes of rules */
    uint32_t spare;
} retained;
_Static_assert(sizeof(retained) == 32, "layout");

/* ---- MSG_HEADS: query -> ingest -------------------------------------------------------
 * heads_ask, then u32 series[series_count].  Answer: parts that are one piece behind the other, each head_rows and its
 * records, of one series and kind; the last of the final one has rows 0 and kind HEAD_END.  With sum_us, rows of a series
 * may be summed up, as far as they do not cross a multiple of it: for whom figures do.
 */
typedef struct heads_ask {
    int64_t  start_us; /* rows with time in [start, end) only */
    int64_t  end_us;
    uint32_t series_count;
    uint32_t with_spread; /* the sums' m2 is wanted */
    int64_t  sum_us; /* 0: rows */
} heads_ask;
_Static_assert(sizeof(heads_ask) == 32, "layout");
enum head_kind {
    HEAD_ROWS,  /* head_row, in order of time */
    HEAD_SUMS,  /* chunk_summary of storage/part.h, in order of time */
    HEAD_ERASED, /* erased_row */
    HEAD_KINDS,
    HEAD_VERSIONS = HEAD_KINDS, /* u64 of each series that was asked for, from the first of this piece: part_version() */
    HEAD_END
};
typedef struct head_rows {
    uint32_t series; /* HEAD_VERSIONS: the place of the first one in the ask */
    uint32_t rows;
    uint64_t lsn;        /* of the head's first row: all rows of a head are newer than any chunk sealed before */
    uint64_t sealed_seq; /* final part: chunks must be read at this RocksDB sequence or later */
    uint32_t kind;
    uint32_t spare;
} head_rows; /* followed by rows records of that kind */
_Static_assert(sizeof(head_rows) == 32, "layout");
typedef struct head_row {
    int64_t time_us;
    double  value;
} head_row;
_Static_assert(sizeof(head_row) == 16, "layout");

/* Readings of a series in [from, to) that were accepted before lsn are gone. */
typedef struct erased_row {
    int64_t  from_us, to_us;
    uint64_t lsn;
} erased_row;
_Static_assert(sizeof(erased_row) == 24, "layout");

/* ---- MSG_REG and its reply -------------------------------------------------------------
 * reg_ask, then one MessagePack map of parameters (see reg_ops.def).
 * reg_done, then one MessagePack value: the JSON body of the answer, member for member; or, for a
 * status of 400 and above, a str with the `detail`.
 */
typedef struct reg_ask {
    uint16_t op;     /* enum reg_op */
    uint16_t role;   /* enum role of who asks; ROLE_SYSTEM for actors of ours */
    uint32_t tenant; /* 0: none yet */
    uint32_t user;   /* 0: not a user */
    uint32_t key;    /* 0: not an API key */
} reg_ask;
_Static_assert(sizeof(reg_ask) == 16, "layout");
typedef struct reg_done {
    uint16_t status;
    uint16_t spare;
    uint32_t spare2;
} reg_done;
_Static_assert(sizeof(reg_done) == 8, "layout");

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_OPERATOR, ROLE_ADMIN, ROLE_SYSTEM };

/* ---- MSG_EVENT: registry -> front --------------------------------------------------------
 * event_head, then the JSON text of the frame exactly as it is sent. */
enum event_kind { EVENT_ALERT, EVENT_MACHINE_STATUS };
typedef struct event_head {
    uint32_t tenant;
    uint16_t kind;
    uint16_t spare;
    uint32_t machine;
    uint32_t spare2;
    uint64_t seq; /* per tenant, from 1 */
} event_head;
_Static_assert(sizeof(event_head) == 24, "layout");

/* ---- MSG_WORK and its reply: a MessagePack-free pair, because passwords stay out of logs ----
 * work_ask, then password bytes, then (verify) the encoded argon2id hash.
 * work_done, then (hash) the encoded hash. */
enum work_op { WORK_HASH_PASSWORD, WORK_VERIFY_PASSWORD };
typedef struct work_ask {
    uint16_t op;
    uint16_t password_len; /* 1..1024 */
    uint32_t hash_len;     /* 0: verify against a fixed dummy, so that unknown accounts take as long */
} work_ask;
_Static_assert(sizeof(work_ask) == 8, "layout");
typedef struct work_done {
    int32_t  rc; /* E_OK; E_PERM: the password does not match */
    uint32_t hash_len;
} work_done;
_Static_assert(sizeof(work_done) == 8, "layout");

#endif
