/* chunk.h - the codec of a sealed run of rows of one series, exact for every double.
 *
 *   0     1       2        3       4        8       12      16         24
 *   +-----+-------+--------+-------+--------+-------+-------+----------+-----------------------+
 *   | ver | times | values | k     | crc32c | count | whole | first_us | times ... | values .. |
 *   +-----+-------+--------+-------+--------+-------+-------+----------+-----------------------+
 *   whole: 0, or the columns' length before they went through zstd
 *
 * A column of integers is planes: its least bytes, then all second bytes, ..., as many as its greatest needs.  Planes
 * are decoded without a branch, and what is the same in all rows is a plane of zeros, which compresses to nothing.
 *
 *   times    unit 1 s, 1 ms or 1 us (the greatest that fits all), then one of
 *            regular: the step                                    (a chunk of any length: 2 to 5 bytes)
 *            grid:    a step, planes of how far each time is off  (jitter round a rhythm)
 *            changes: planes of how the step changes              (gaps, drift)
 *   values   decimal: every value is exactly an integer / 10^k: the first one, then planes of the differences to the
 *                     row before (a walk) or to the first (noise round a level), whichever is less
 *            xor:     bits against the row before: one byte (leading zero bytes << 4 | bytes kept), then those bytes
 *            raw:     planes of the bits
 *
 * zstd where it pays, one frame a chunk: a series has its own distribution, which a block of many would mix up.
 */
#ifndef HALTLESS_STORAGE_CHUNK_H
#define HALTLESS_STORAGE_CHUNK_H

#include "proto/base.h"
#include "proto/rows.h"
#include "storage/part.h"

enum { CHUNK_VERSION = 2, CHUNK_HEAD = 24, CHUNK_BYTES_MAX = CHUNK_HEAD + 64 + CHUNK_ROWS_MAX * 17 };

/* What coding and decoding need besides: made at first use, kept. */
typedef struct chunk_scratch chunk_scratch;
chunk_scratch *chunk_scratch_new(void);
void           chunk_scratch_free(chunk_scratch **s);

/* 1..CHUNK_ROWS_MAX rows with strictly increasing times; out has CHUNK_BYTES_MAX. Its length. squeeze: by zstd too. */
size_t chunk_encode(uint8_t *out, const head_row *rows, uint32_t count, bool squeeze, chunk_scratch *scratch);

/* The rows that were encoded last as integers / 10^k; NULL: they are not decimals. */
typedef struct chunk_decimals {
    const int64_t *scaled;
    uint32_t       k;
} chunk_decimals;
const chunk_decimals *chunk_decimals_of(const chunk_scratch *s);

typedef struct chunk_info {
    uint32_t count;
    int64_t  first_us;
    int32_t  decimals; /* every value is an integer / 10^decimals; -1: nothing is known of them */
} chunk_info;
/* Judges version, length, checksum and bounds.  E_BAD, E_NEWER. */
NODISCARD int chunk_read(view chunk, chunk_info *i);
/* Of one that chunk_read() found sound: count rows, times strictly increasing.  E_BAD. */
NODISCARD int chunk_decode(view chunk, chunk_scratch *scratch, int64_t *times, double *values);

#endif
