/* rollup.h - what is known of a chunk without its rows: its summary, and a row an hour where that pays.
 *
 * It lies beside the chunk, under the same key in a family of its own, and is written and deleted with it.  So it is
 * never stale: late rows and deletes come as chunks and facts of their own, and a summary counts only where nothing
 * else of its series overlaps it.  A scan over much data reads these alone: some 20 bytes an hour.
 *
 *   0     1       2      3       4        8
 *   +-----+-------+------+-------+--------+----------+----------+----------
 *   | ver | flags | unit | hours | crc32c | whole    | hour     | hour ...
 *   +-----+-------+------+-------+--------+----------+----------+----------
 *   flags  decimals k, or 7: doubles; BARE: its rows are gone (retention), the hours are all there is
 *
 *   each   count | first (from the one before's last) | last (from first), in units of 1 s, 1 ms or 1 us | six figures
 *          decimals: first, last, min, max and sum as varints against each other; m2 as a double
 *          doubles:  first, last, min, max, sum, m2
 *
 * A sum of decimals is exact as an integer, and divided once.
 */
#ifndef HALTLESS_STORAGE_ROLLUP_H
#define HALTLESS_STORAGE_ROLLUP_H

#include "proto/base.h"
#include "proto/rows.h"
#include "storage/chunk.h"
#include "storage/keys.h"
#include "storage/part.h"

enum {
    ROLLUP_VERSION = 1,
    ROLLUP_HOURS_MAX = 24,
    ROLLUP_ROWS_AN_HOUR = 90, /* fewer are decoded as fast */
    ROLLUP_BYTES_MAX = 8 + (1 + ROLLUP_HOURS_MAX) * 80,
};
#define ROLLUP_HOUR_US ((int64_t)3600 * 1000000)

struct rollup {
    chunk_summary whole;
    bool          bare;
    uint32_t      hours; /* 0: none are kept */
    chunk_summary hour[ROLLUP_HOURS_MAX];
};
typedef struct rollup rollup;

/* Of 1..CHUNK_ROWS_MAX rows of one day; hours: also where it does not pay; decimals: as chunk_decimals() has them of the
 * same rows, or NULL.  lsn and gen are the caller's. */
void   rollup_make(rollup *r, const head_row *rows, uint32_t count, bool hours, const chunk_decimals *decimals);
size_t rollup_encode(uint8_t *out, const rollup *r); /* out has ROLLUP_BYTES_MAX */
/* Judges it against its key.  E_BAD, E_NEWER. */
NODISCARD int rollup_read(rollup *r, const chunk_key *k, view value);

/* b's hours come to a's, which are of the same day; both have hours. */
void rollup_join(rollup *a, const rollup *b);
/* The hours that reach into [from, to) go; false: none is left. */
bool rollup_leave_out(rollup *r, int64_t from_us, int64_t to_us);
/* Of stored bytes, without judging them. */
bool rollup_is_bare(view value);

/* What is said of a run of rows, times increasing; the sum is off by an ulp of itself at most, or not finite; m2 is
 * nought unless it is wanted. */
chunk_summary rollup_sum(const head_row *rows, uint32_t count, bool with_spread);

#endif
