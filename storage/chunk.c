/* chunk.c - see chunk.h for the bytes.
 *
 * Decimal data is what machines send, and 70.12 is not short in binary: scaling by 10^k where that is exact for all
 * values of a chunk makes it two to four times smaller than XOR.  Exact means bit for bit, so -0 and NaN go by XOR.
 */
#include "storage/chunk.h"

#include <math.h>

#include "proto/err.h"
#include "proto/hash.h"

enum value_codec { VALUES_RAW, VALUES_DECIMAL, VALUES_XOR };

enum { DECIMALS_MAX = 6, VARINT_MAX = 10 };

static const int64_t units[] = { 1, 1000, 1000000 };
static const double  powers[DECIMALS_MAX + 1] = { 1, 10, 100, 1e3, 1e4, 1e5, 1e6 };

typedef struct chunk_head {
    uint8_t  version;
    uint8_t  times; /* index into units */
    uint8_t  values;
    uint8_t  decimals;
    uint32_t crc; /* of everything, with crc = 0 */
} chunk_head;
_Static_assert(sizeof(chunk_head) == 8, "layout");

/* ---- varints ---- */

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

/* NULL: cut off, or longer than 64 bits. */
static inline const uint8_t *
get_varint(const uint8_t *at, const uint8_t *end, uint64_t *n)
{
    uint64_t v = 0;

    if (LIKELY(at < end && *at < 0x80)) {
        *n = *at;
        return at + 1;
    }
    for (uint32_t shift = 0; shift < 64 && at < end; shift += 7) {
        uint8_t b = *at++;

        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *n = v;
            return at;
        }
    }
    return NULL;
}

/* ---- times ---- */

static uint8_t
unit_of(const head_row *rows, uint32_t count)
{
    uint8_t unit = COUNT_OF(units) - 1;

    for (uint32_t i = 1; i < count && unit > 0; i++)
        while (unit > 0 && (rows[i].time_us - rows[i - 1].time_us) % units[unit] != 0)
            unit--;
    return unit;
}

static uint8_t *
put_times(uint8_t *at, const head_row *rows, uint32_t count, int64_t unit)
{
    int64_t  step = 0;
    uint32_t zeros = 0;

    for (uint32_t i = 1; i < count; i++) {
        int64_t next = (rows[i].time_us - rows[i - 1].time_us) / unit;
        int64_t change = next - step;

        step = next;
        if (change == 0) {
            zeros++;
            continue;
        }
        if (zeros > 0) {
            *at++ = 0;
            at = put_varint(at, zeros - 1);
            zeros = 0;
        }
        at = put_varint(at, zigzag(change));
    }
    if (zeros > 0) {
        *at++ = 0;
        at = put_varint(at, zeros - 1);
    }
    return at;
}

/* NULL: malformed.  All sums wrap: what is wrong shows at the end, where the last time must be the summary's. */
static const uint8_t *
get_times(const uint8_t *at, const uint8_t *end, const chunk_summary *s, uint64_t unit,
          int64_t *times)
{
    uint64_t time = (uint64_t)s->first_us;
    uint64_t step = 0;
    uint64_t code, more;

    times[0] = s->first_us;
    for (uint32_t i = 1; i < s->count;) {
        at = get_varint(at, end, &code);
        if (at == NULL)
            return NULL;
        step += (uint64_t)unzigzag(code);
        times[i++] = (int64_t)(time += step * unit);
        if (code != 0)
            continue;
        at = get_varint(at, end, &more);
        if (at == NULL || more > s->count - i)
            return NULL;
        while (more-- > 0)
            times[i++] = (int64_t)(time += step * unit);
    }
    return times[s->count - 1] == s->last_us ? at : NULL;
}

/* ---- values ---- */

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

/* The integer that is v * 10^k, when v is exactly that integer / 10^k again. */
static inline bool
scale(double v, uint32_t k, int64_t *out)
{
    double scaled = v * powers[k];

    if (!(scaled > -0x1p53 && scaled < 0x1p53)) /* NaN too */
        return false;
    *out = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
    return bits_of((double)*out / powers[k]) == bits_of(v);
}

/* The fewest decimals that are exact for all values, or more than DECIMALS_MAX. */
static uint32_t
decimals_of(const head_row *rows, uint32_t count)
{
    uint32_t k = 0;
    int64_t  ignored;

    for (uint32_t i = 0; i < count && k <= DECIMALS_MAX; i++)
        while (k <= DECIMALS_MAX && !scale(rows[i].value, k, &ignored))
            k++;
    return k;
}

/* NULL: not exact for all after all (a large value that fitted with fewer decimals). */
static uint8_t *
put_decimals(uint8_t *at, const head_row *rows, uint32_t count, uint32_t k)
{
    int64_t before = 0;

    for (uint32_t i = 0; i < count; i++) {
        int64_t n;

        if (!scale(rows[i].value, k, &n))
            return NULL;
        at = put_varint(at, zigzag(n - before));
        before = n;
    }
    return at;
}

static const uint8_t *
get_decimals(const uint8_t *at, const uint8_t *end, const chunk_summary *s, uint32_t k,
             double *values)
{
    uint64_t n = 0;
    uint64_t code;
    double   power = powers[k];

    for (uint32_t i = 0; i < s->count; i++) {
        at = get_varint(at, end, &code);
        if (at == NULL)
            return NULL;
        n += (uint64_t)unzigzag(code);
        values[i] = (double)(int64_t)n / power;
    }
    return at;
}

static uint8_t *
put_xors(uint8_t *at, const head_row *rows, uint32_t count)
{
    uint64_t before = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t x = bits_of(rows[i].value) ^ before;
        uint32_t leading = x != 0 ? (uint32_t)__builtin_clzll(x) / 8 : 8;
        uint32_t trailing = x != 0 ? (uint32_t)__builtin_ctzll(x) / 8 : 0;
        uint32_t kept = 8 - leading - trailing;

        before ^= x;
        *at++ = (uint8_t)(leading << 4 | kept);
        x >>= 8 * trailing;
        memcpy(at, &x, 8); /* there is room: CHUNK_BYTES_MAX counts 20 bytes a row */
        at += kept;
    }
    return at;
}

static const uint8_t *
get_xors(const uint8_t *at, const uint8_t *end, const chunk_summary *s, double *values)
{
    uint64_t bits = 0;

    for (uint32_t i = 0; i < s->count; i++) {
        uint32_t leading, kept;
        uint64_t x = 0;

        if (at >= end)
            return NULL;
        leading = *at >> 4;
        kept = *at++ & 15;
        if (leading + kept > 8 || kept > (size_t)(end - at))
            return NULL;
        memcpy(&x, at, kept);
        at += kept;
        if (kept > 0)
            x <<= 8 * (8 - leading - kept);
        bits ^= x;
        values[i] = double_of(bits);
    }
    return at;
}

static uint8_t *
put_raws(uint8_t *at, const head_row *rows, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, at += 8)
        memcpy(at, &rows[i].value, 8);
    return at;
}

static const uint8_t *
get_raws(const uint8_t *at, const uint8_t *end, const chunk_summary *s, double *values)
{
    if ((size_t)(end - at) < (size_t)s->count * 8)
        return NULL;
    memcpy(values, at, (size_t)s->count * 8);
    return at + (size_t)s->count * 8;
}

static uint8_t *
put_values(uint8_t *at, const head_row *rows, uint32_t count, chunk_head *h)
{
    uint32_t k = decimals_of(rows, count);
    uint8_t *end = k <= DECIMALS_MAX ? put_decimals(at, rows, count, k) : NULL;

    h->values = VALUES_DECIMAL;
    h->decimals = (uint8_t)(end != NULL ? k : 0);
    if (end != NULL)
        return end;
    h->values = VALUES_XOR;
    end = put_xors(at, rows, count);
    if ((size_t)(end - at) < (size_t)count * 8)
        return end;
    h->values = VALUES_RAW;
    return put_raws(at, rows, count);
}

/* ---- whole chunks ---- */

static chunk_summary
summarise(uint64_t lsn, const head_row *rows, uint32_t count)
{
    chunk_summary s = { .lsn = lsn,
                        .count = count,
                        .first_us = rows[0].time_us,
                        .last_us = rows[count - 1].time_us,
                        .first = rows[0].value,
                        .last = rows[count - 1].value,
                        .min = rows[0].value,
                        .max = rows[0].value };
    double        mean, low = 0;

    for (uint32_t i = 0; i < count; i++) {
        double v = rows[i].value;
        double sum = s.sum + v;
        double back = sum - s.sum;

        low += (s.sum - (sum - back)) + (v - back); /* what the sum could not take */
        s.sum = sum;
        s.min = v < s.min ? v : s.min;
        s.max = v > s.max ? v : s.max;
    }
    if (isfinite(low))
        s.sum += low;
    mean = s.sum / count;
    for (uint32_t i = 0; i < count; i++)
        s.m2 += (rows[i].value - mean) * (rows[i].value - mean);
    return s;
}

static uint32_t
checksum(const chunk_head *h, const uint8_t *rest, size_t len)
{
    chunk_head judged = *h;

    judged.crc = 0;
    return crc32c(crc32c(0, &judged, sizeof judged), rest, len);
}

size_t
chunk_encode(uint8_t *out, uint64_t lsn, const head_row *rows, uint32_t count)
{
    chunk_head    h = { .version = CHUNK_VERSION };
    chunk_summary s;
    uint8_t      *at = out + CHUNK_HEAD;

    ASSERT(count > 0 && count <= CHUNK_ROWS_MAX);
    s = summarise(lsn, rows, count);
    h.times = unit_of(rows, count);
    at = put_times(at, rows, count, units[h.times]);
    at = put_values(at, rows, count, &h);
    ASSERT(at <= out + CHUNK_BYTES_MAX);
    memcpy(out + sizeof h, &s, sizeof s);
    h.crc = checksum(&h, out + sizeof h, (size_t)(at - out) - sizeof h);
    memcpy(out, &h, sizeof h);
    return (size_t)(at - out);
}

int
chunk_read(view chunk, chunk_summary *s)
{
    chunk_head h;

    if (chunk.len < CHUNK_HEAD)
        return err(E_BAD, "a chunk of %zu bytes", chunk.len);
    memcpy(&h, chunk.at, sizeof h);
    memcpy(s, chunk.at + sizeof h, sizeof *s);
    if (h.version != CHUNK_VERSION)
        return err(h.version > CHUNK_VERSION ? E_NEWER : E_BAD, "a chunk of version %u", h.version);
    if (checksum(&h, chunk.at + sizeof h, chunk.len - sizeof h) != h.crc)
        return err(E_BAD, "a chunk's checksum is wrong");
    if (s->count == 0 || s->count > CHUNK_ROWS_MAX || s->first_us > s->last_us ||
        h.times >= COUNT_OF(units) || h.values > VALUES_XOR || h.decimals > DECIMALS_MAX)
        return err(E_BAD, "a chunk's summary is out of bounds");
    return E_OK;
}

int
chunk_decode(view chunk, int64_t *times, double *values)
{
    const uint8_t *at = chunk.at + CHUNK_HEAD;
    const uint8_t *end = chunk.at + chunk.len;
    chunk_head     h;
    chunk_summary  s;

    ASSERT(chunk.len >= CHUNK_HEAD);
    memcpy(&h, chunk.at, sizeof h);
    memcpy(&s, chunk.at + sizeof h, sizeof s);
    at = get_times(at, end, &s, (uint64_t)units[h.times], times);
    if (at != NULL && h.values == VALUES_DECIMAL)
        at = get_decimals(at, end, &s, h.decimals, values);
    else if (at != NULL && h.values == VALUES_XOR)
        at = get_xors(at, end, &s, values);
    else if (at != NULL)
        at = get_raws(at, end, &s, values);
    if (at != end)
        return err(E_BAD, "a chunk's columns do not fit its length");
    return E_OK;
}
