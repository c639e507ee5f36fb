/* part_check.h - every checksum and every invariant of one partition, and what its bytes go to.
 *
 * For an image (image.h), opened as a server would: what recovery says counts too.
 */
#ifndef HALTLESS_STORAGE_PART_CHECK_H
#define HALTLESS_STORAGE_PART_CHECK_H

#include "proto/base.h"
#include "storage/part.h"

typedef struct part_fault_counts {
    uint64_t blocks;    /* of the journal, or rows in them whose series nobody knows */
    uint64_t chunks;    /* checksum, length, order or range of times, key */
    uint64_t rollups;   /* unsound, or not what their rows say, or without a chunk and not bare */
    uint64_t summaries; /* chunks without one */
    uint64_t series;    /* of chunks and heads that are no series */
    uint64_t latest;    /* older than a reading of the series, or another value at the same time */
} part_fault_counts;

typedef struct metric_use {
    char     name[256];
    uint64_t series, readings, chunks, chunk_bytes, rollup_bytes, head_readings;
} metric_use;

/* Who has the most series, and which came last: what grows, when a budget of series runs out. */
enum { GROWERS_MAX = 10 };
typedef struct grower {
    uint32_t machine, tenant;
    uint64_t series;
    char     metric[256]; /* of one that came last; else empty */
} grower;

typedef struct part_checked {
    uint64_t          series, chunks, readings, head_readings, journal_blocks, torn_bytes;
    uint64_t          chunk_bytes, rollup_bytes; /* as they were put */
    uint64_t          table_bytes;               /* RocksDB's files */
    part_written      written;
    part_fault_counts faults;
    uint64_t          fault_count;
    grower            most[GROWERS_MAX];   /* machines with the most series */
    grower            newest[GROWERS_MAX]; /* the series made last, the last one first */
    uint32_t          most_count, newest_count;
    metric_use       *metrics; /* owned; most readings first */
    uint32_t          metric_count;
} part_checked;

/* done: chunks so far, of about so many. */
typedef void part_progress_fn(void *ctx, uint64_t done, uint64_t of);
/* The first faults are logged, each with its series.  rows: decode every chunk and compare; else keys and sizes alone. */
NODISCARD int part_check_image(const char *dir, uint16_t number, bool rows, part_checked *out, part_progress_fn *progress,
                               void *ctx);
void part_checked_free(part_checked *c);

#endif
