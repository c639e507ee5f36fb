/* keys.h - the keys and small values of a partition's column families, byte by byte.
 *
 *   chunks,   0        4          8                16       18     24
 *   rollups   +--------+----------+----------------+--------+-----+
 *             | day    | series   | first time     | gen    | lsn |   big-endian; day and time with the sign bit
 *             +--------+----------+----------------+--------+-----+   flipped, so that they sort as numbers
 *   erased    lsn u64 | series u32 -> version u8 | zeros[7] | from i64 | to i64        (the key big-endian)
 *   series    | series |   -> version u8 | zeros[3] | machine u32 | tenant u32 | metric_len u16 | unit_len u16
 *             +--------+      | defined_lsn u64 | metric | unit          (little-endian)
 *   latest    | series |   -> version u8 | zeros[7] | time i64 | value f64 | lsn u64 | sealed_lsn u64
 *   meta      "retention/" tenant u32 (big-endian) -> rules, as in retain.h
 *             "trimmed"    -> version u8 | zeros[7] | lsn u64: the journal holds what comes behind it
 *
 * A day is a UTC day: floor(time / 86 400 s).  A chunk's lsn is that of the last row that was accepted into it; its
 * generation is 0 as it is sealed, and one more than the greatest of what it was merged from.  So chunk keys are never
 * overwritten: a secondary may serve a stale value of an overwritten key.  A chunk and its rollup have the same key, and
 * come and go in the same batch.  The other families are read by the partition's owner only.
 */
#ifndef HALTLESS_STORAGE_KEYS_H
#define HALTLESS_STORAGE_KEYS_H

#include "proto/base.h"

enum { KEY_CHUNK_LEN = 24, KEY_ERASED_LEN = 12, KEY_VALUE_VERSION = 1 };
#define KEY_DAY_US ((int64_t)86400 * 1000000)

enum part_family {
    PART_DEFAULT,
    PART_CHUNKS,
    PART_SERIES,
    PART_LATEST,
    PART_META,
    PART_ROLLUPS,
    PART_ERASED,
    PART_FAMILY_COUNT
};
#define KEY_LSN_MAX (((uint64_t)1 << 48) - 1)
enum { KEY_GEN_MAX = UINT16_MAX };

typedef struct chunk_key {
    int32_t  day;
    uint32_t series;
    int64_t  first_us;
    uint16_t gen;
    uint64_t lsn; /* up to KEY_LSN_MAX */
} chunk_key;

static inline int32_t
key_day(int64_t time_us)
{
    return (int32_t)(time_us / KEY_DAY_US - (time_us % KEY_DAY_US < 0));
}

static inline void
key_put_chunk(uint8_t out[KEY_CHUNK_LEN], chunk_key k)
{
    store_be32(out, (uint32_t)k.day ^ 1u << 31);
    store_be32(out + 4, k.series);
    store_be64(out + 8, (uint64_t)k.first_us ^ 1ull << 63);
    store_be64(out + 16, (uint64_t)k.gen << 48 | k.lsn);
}

static inline chunk_key
key_get_chunk(const uint8_t in[KEY_CHUNK_LEN])
{
    return (chunk_key){ .day = (int32_t)(load_be32(in) ^ 1u << 31),
                        .series = load_be32(in + 4),
                        .first_us = (int64_t)(load_be64(in + 8) ^ 1ull << 63),
                        .gen = (uint16_t)(load_be64(in + 16) >> 48),
                        .lsn = load_be64(in + 16) & KEY_LSN_MAX };
}

static inline void
key_put_erased(uint8_t out[KEY_ERASED_LEN], uint64_t lsn, uint32_t series)
{
    store_be64(out, lsn);
    store_be32(out + 8, series);
}

typedef struct series_value {
    uint8_t  version;
    uint8_t  spare[3];
    uint32_t machine;
    uint32_t tenant;
    uint16_t metric_len;
    uint16_t unit_len;
    uint64_t defined_lsn;
} series_value;
_Static_assert(sizeof(series_value) == 24, "layout");

typedef struct latest_value {
    uint8_t  version;
    uint8_t  spare[7];
    int64_t  time_us;
    double   value;
    uint64_t lsn;
    uint64_t sealed_lsn;
} latest_value;
_Static_assert(sizeof(latest_value) == 40, "layout");

typedef struct meta_value {
    uint8_t  version;
    uint8_t  spare[7];
    uint64_t lsn;
} meta_value;
_Static_assert(sizeof(meta_value) == 16, "layout");

typedef struct erased_value {
    uint8_t  version;
    uint8_t  spare[7];
    int64_t  from_us, to_us;
} erased_value;
_Static_assert(sizeof(erased_value) == 24, "layout");

#endif
