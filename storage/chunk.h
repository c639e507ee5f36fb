/* chunk.h - the codec of a sealed run of rows of one series, exact for every double, and its summary in front.
 *
 *   0     1       2        3       4        8        16      20
 *   +-----+-------+--------+-------+--------+--------+-------+-------------------------------------------+
 *   | ver | times | values | k     | crc32c | lsn    | count | spare | first_us | last_us | first | last |
 *   +-----+-------+--------+-------+--------+--------+-------+-------------------------------------------+
 *   | min | max | sum | m2 | times ... | values ... |
 *   +----------------------+-----------+------------+
 *   0..8 head, 8..88 chunk_summary as it lies in memory (little-endian), then the two columns
 *
 *   times    unit 1 s, 1 ms or 1 us (the greatest that fits all): first step, then for each further row the zigzag
 *            varint of the change of the step; a 0 is followed by how many more of them (regular series: 3 bytes)
 *   values   decimal: every value is exactly an integer / 10^k: the first integer, then differences, zigzag varints
 *            xor: bits against the row before: one byte (leading zero bytes << 4 | bytes kept), then those bytes
 *            raw: 8 bytes each
 *
 * What repeats is left for RocksDB's compression of whole blocks.
 */
#ifndef HALTLESS_STORAGE_CHUNK_H
#define HALTLESS_STORAGE_CHUNK_H

#include "proto/base.h"
#include "proto/rows.h"
#include "storage/part.h"

enum { CHUNK_VERSION = 1, CHUNK_HEAD = 8 + 80, CHUNK_BYTES_MAX = CHUNK_HEAD + CHUNK_ROWS_MAX * 20 };
_Static_assert(sizeof(chunk_summary) == 80, "stored as it is");

/* 1..CHUNK_ROWS_MAX rows with strictly increasing times that lie within one day; out has CHUNK_BYTES_MAX. Its length. */
size_t chunk_encode(uint8_t *out, uint64_t lsn, const head_row *rows, uint32_t count);
/* Judges version, length, checksum and bounds.  E_BAD, E_NEWER. */
NODISCARD int chunk_read(view chunk, chunk_summary *s);
/* Of one that chunk_read() found sound: count rows.  E_BAD. */
NODISCARD int chunk_decode(view chunk, int64_t *times, double *values);

#endif
