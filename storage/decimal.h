/* decimal.h - the small arithmetic that the codecs of chunks and rollups share: varints, and doubles that are exactly
 * an integer / 10^k.
 *
 * Integers stay below 2^50, so that 4096 of them add up exactly and that the conversion back has a form without a
 * branch. */
#ifndef HALTLESS_STORAGE_DECIMAL_H
#define HALTLESS_STORAGE_DECIMAL_H

#include "proto/base.h"
#include "proto/rows.h"

enum { DECIMALS_MAX = 6, VARINT_LEN_MAX = 10 };

static const double decimal_powers[DECIMALS_MAX + 1] = { 1, 10, 100, 1e3, 1e4, 1e5, 1e6 };

static inline uint64_t
zigzag(int64_t n)
{
    return (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
}

static inline int64_t
unzigzag(uint64_t n)
{
    return (int64_t)(n >> 1 ^ (0 - (n & 1)));
}

static inline uint8_t *
put_varint(uint8_t *at, uint64_t n)
{
    while (n >= 0x80) {
        *at++ = (uint8_t)n | 0x80;
        n >>= 7;
    }
    *at++ = (uint8_t)n;
    return at;
}

/* NULL: cut off, or longer than 64 bits; NULL stays NULL. */
static inline const uint8_t *
get_varint(const uint8_t *at, const uint8_t *end, uint64_t *n)
{
    uint64_t v = 0;

    if (LIKELY(at != NULL && at < end && *at < 0x80)) {
        *n = *at;
        return at + 1;
    }
    for (uint32_t shift = 0; at != NULL && shift < 64 && at < end; shift += 7) {
        uint8_t b = *at++;

        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *n = v;
            return at;
        }
    }
    return NULL;
}

static inline const uint8_t *
get_zigzag(const uint8_t *at, const uint8_t *end, int64_t *n)
{
    uint64_t code = 0;

    at = get_varint(at, end, &code);
    *n = unzigzag(code);
    return at;
}

static inline uint64_t
bits_of(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline double
double_of(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The integer that is v * 10^k, when v is exactly, bit for bit, that integer / 10^k again. */
static inline bool
decimal_scale(double v, uint32_t k, int64_t *out)
{
    double scaled = v * decimal_powers[k];

    if (!(scaled > -0x1p50 && scaled < 0x1p50)) /* NaN too */
        return false;
    *out = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
    return bits_of((double)*out / decimal_powers[k]) == bits_of(v);
}

/* All of count values as integers / 10^k, with the fewest decimals that are exact for each: k, or -1. */
static inline int32_t
decimal_scale_all(const head_row *rows, uint32_t count, int64_t *out)
{
    uint32_t k = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t before = k;

        while (k <= DECIMALS_MAX && !decimal_scale(rows[i].value, k, &out[i]))
            k++;
        if (k > DECIMALS_MAX)
            return -1;
        if (k == before)
            continue;
        for (uint32_t j = 0; j < i; j++) /* a large one may fit with fewer decimals only */
            if (!decimal_scale(rows[j].value, k, &out[j]))
                return -1;
    }
    return (int32_t)k;
}

#endif
