/* chunk.c - see chunk.h for the bytes.
 *
 * Decimal data is what machines send, and 70.12 is not short in binary: scaling by 10^k where that is exact for all
 * values of a chunk makes it two to four times smaller than XOR.  Exact means bit for bit, so -0 and NaN go by XOR.
 */
#include "storage/chunk.h"

#include <stdlib.h>

#include "proto/err.h"
#include "proto/hash.h"
#include "proto/squeeze.h"
#include "storage/decimal.h"

enum times_codec { TIMES_REGULAR, TIMES_GRID, TIMES_CHANGES };
enum values_codec { VALUES_RAW, VALUES_WALK, VALUES_LEVEL, VALUES_XOR };

enum {
    UNIT_BITS = 2, /* of the byte `times`: unit, above it the codec */
    BLOCK = 256,   /* rows that are decoded at a time: they stay in the first cache */
    SQUEEZE_LEVEL = 1,
    SQUEEZE_LEAST = 64, /* bytes */
};

static const int64_t units[] = { 1, 1000, 1000000 };

typedef struct chunk_head {
    uint8_t  version;
    uint8_t  times;
    uint8_t  values;
    uint8_t  decimals;
    uint32_t crc; /* of everything, with crc = 0 */
    uint32_t count;
    uint32_t whole;
    int64_t  first_us;
} chunk_head;
_Static_assert(sizeof(chunk_head) == CHUNK_HEAD, "layout");

struct chunk_scratch {
    squeezer      *squeezer;
    chunk_decimals decimals;
    bool           is_decimal;
    int64_t   scaled[CHUNK_ROWS_MAX];
    uint64_t  codes[CHUNK_ROWS_MAX];
    uint64_t  others[CHUNK_ROWS_MAX];
    uint8_t   columns[CHUNK_BYTES_MAX];
};

chunk_scratch *
chunk_scratch_new(void)
{
    chunk_scratch *s = malloc(sizeof *s);

    ASSERT(s != NULL);
    s->squeezer = squeezer_new();
    return s;
}

void
chunk_scratch_free(chunk_scratch **sp)
{
    chunk_scratch *s = *sp;

    if (s == NULL)
        return;
    squeezer_free(&s->squeezer);
    free(s);
    *sp = NULL;
}

const chunk_decimals *
chunk_decimals_of(const chunk_scratch *s)
{
    return s->is_decimal ? &s->decimals : NULL;
}

/* ---- planes ---- */

static uint32_t
width_of(const uint64_t *codes, uint32_t n)
{
    uint64_t all = 0;

    for (uint32_t i = 0; i < n; i++)
        all |= codes[i];
    return all == 0 ? 0 : (uint32_t)(71 - __builtin_clzll(all)) / 8;
}

static uint8_t *
put_planes(uint8_t *at, const uint64_t *codes, uint32_t n)
{
    uint32_t width = width_of(codes, n);

    *at++ = (uint8_t)width;
    for (uint32_t p = 0; p < width; p++, at += n)
        for (uint32_t i = 0; i < n; i++)
            at[i] = (uint8_t)(codes[i] >> 8 * p);
    return at;
}

typedef struct planes {
    const uint8_t *at;
    uint32_t       n, width;
} planes;

/* NULL: cut off. */
static const uint8_t *
get_planes(const uint8_t *at, const uint8_t *end, uint32_t n, planes *p)
{
    if (at == NULL || at >= end || *at > 8 || (size_t)(end - at) < 1 + (size_t)*at * n)
        return NULL;
    *p = (planes){ .at = at + 1, .n = n, .width = *at };
    return p->at + (size_t)p->width * n;
}

/* Codes [from, from + n), n <= BLOCK. */
static inline __attribute__((always_inline)) void
planes_read(const planes *p, uint32_t from, uint32_t n, uint64_t *restrict codes)
{
    const uint8_t *restrict a = p->at + from;

    if (p->width == 0)
        memset(codes, 0, n * sizeof *codes);
    else if (p->width == 1)
        for (uint32_t i = 0; i < n; i++)
            codes[i] = a[i];
    else
        for (uint32_t i = 0; i < n; i++)
            codes[i] = (uint64_t)a[i] | (uint64_t)a[p->n + i] << 8;
    for (uint32_t k = 2; k < p->width; k++) {
        const uint8_t *restrict b = a + (size_t)k * p->n;

        for (uint32_t i = 0; i < n; i++)
            codes[i] |= (uint64_t)b[i] << 8 * k;
    }
}

/* About the bits that an entropy coder will spend. */
static uint64_t
cost_of(const uint64_t *codes, uint32_t n)
{
    uint64_t bits = 0;

    for (uint32_t i = 0; i < n; i++)
        bits += 64 - (uint64_t)__builtin_clzll(codes[i] | 1);
    return bits;
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

/* All arithmetic on times wraps: what is exact modulo 2^64 is exact. */
static inline uint64_t
step_at(const head_row *rows, uint32_t i, int64_t unit)
{
    return (uint64_t)((rows[i].time_us - rows[i - 1].time_us) / unit);
}

static uint64_t
rhythm_of(const head_row *rows, uint32_t count, int64_t unit)
{
    uint64_t span = ((uint64_t)rows[count - 1].time_us - (uint64_t)rows[0].time_us) / (uint64_t)unit;

    return (span + (count - 1) / 2) / (count - 1);
}

static uint8_t *
put_times(uint8_t *at, const head_row *rows, uint32_t count, chunk_head *h, chunk_scratch *s)
{
    int64_t  unit = units[h->times];
    uint64_t rhythm, before, grid = 0;
    bool     regular = true;

    if (count == 1)
        return at;
    before = rhythm = rhythm_of(rows, count, unit);
    for (uint32_t i = 1; i < count; i++) {
        uint64_t step = step_at(rows, i, unit);

        grid += step - rhythm;
        s->codes[i - 1] = zigzag((int64_t)grid);
        s->others[i - 1] = zigzag((int64_t)(step - before));
        before = step;
        regular &= step == rhythm;
    }
    at = put_varint(at, rhythm);
    if (regular)
        return at;
    if (cost_of(s->codes, count - 1) <= cost_of(s->others, count - 1)) {
        h->times |= TIMES_GRID << UNIT_BITS;
        return put_planes(at, s->codes, count - 1);
    }
    h->times |= TIMES_CHANGES << UNIT_BITS;
    return put_planes(at, s->others, count - 1);
}

static void
read_times(const planes *p, enum times_codec codec, uint64_t rhythm, uint64_t unit, int64_t *times)
{
    uint64_t codes[BLOCK];
    uint64_t time = (uint64_t)times[0];
    uint64_t step = rhythm;

    for (uint32_t from = 0; from < p->n; from += BLOCK) {
        uint32_t n = p->n - from < BLOCK ? p->n - from : BLOCK;
        int64_t *out = times + 1 + from;

        planes_read(p, from, n, codes);
        if (codec == TIMES_GRID) {
            for (uint32_t i = 0; i < n; i++)
                out[i] = (int64_t)((uint64_t)times[0] +
                                   ((from + i + 1) * rhythm + (uint64_t)unzigzag(codes[i])) * unit);
            continue;
        }
        for (uint32_t i = 0; i < n; i++) {
            step += (uint64_t)unzigzag(codes[i]);
            out[i] = (int64_t)(time += step * unit);
        }
    }
}

static void
regular_times(int64_t *times, uint32_t count, uint64_t time, uint64_t step)
{
    for (uint32_t i = 1; i < count; i++)
        times[i] = (int64_t)(time += step);
}

/* Which need no look: a step forwards, and not so many that they run over. */
static bool
is_known_to_increase(const chunk_head *h, const int64_t *times)
{
    uint64_t span = (uint64_t)times[h->count - 1] - (uint64_t)times[0];

    return h->times >> UNIT_BITS == TIMES_REGULAR && h->count > 1 && times[0] < times[1] && times[0] < times[h->count - 1] &&
           span / (h->count - 1) == (uint64_t)times[1] - (uint64_t)times[0];
}

/* NULL: malformed. */
static const uint8_t *
get_times(const uint8_t *at, const uint8_t *end, const chunk_head *h, int64_t *times)
{
    enum times_codec codec = h->times >> UNIT_BITS;
    uint64_t         unit = (uint64_t)units[h->times & ((1 << UNIT_BITS) - 1)];
    uint64_t         rhythm = 0;
    planes           p;

    times[0] = h->first_us;
    if (h->count == 1)
        return at;
    at = get_varint(at, end, &rhythm);
    if (codec == TIMES_REGULAR && at != NULL)
        regular_times(times, h->count, (uint64_t)h->first_us, rhythm * unit);
    if (codec == TIMES_REGULAR)
        return at;
    at = get_planes(at, end, h->count - 1, &p);
    if (at != NULL)
        read_times(&p, codec, rhythm, unit, times);
    return at;
}

/* ---- values ---- */

static uint8_t *
put_decimals(uint8_t *at, uint32_t count, chunk_head *h, chunk_scratch *s)
{
    at = put_varint(at, zigzag(s->scaled[0]));
    for (uint32_t i = 1; i < count; i++) {
        s->codes[i - 1] = zigzag(s->scaled[i] - s->scaled[i - 1]);
        s->others[i - 1] = zigzag(s->scaled[i] - s->scaled[0]);
    }
    if (cost_of(s->codes, count - 1) <= cost_of(s->others, count - 1)) {
        h->values = VALUES_WALK;
        return put_planes(at, s->codes, count - 1);
    }
    h->values = VALUES_LEVEL;
    return put_planes(at, s->others, count - 1);
}

/* |n| < 2^51, which sound chunks keep to: as the low bits of a double of known exponent, without a conversion. */
static inline double
double_of_int(uint64_t n)
{
    return double_of(n + 0x4338000000000000ull) - 6755399441055744.0;
}

static inline __attribute__((always_inline)) void
decimals_of_planes(const planes *p, bool walk, uint64_t first, double power, double *values)
{
    uint64_t n[BLOCK];
    uint64_t before = first;

    values[0] = double_of_int(first) / power;
    for (uint32_t from = 0; from < p->n; from += BLOCK) {
        uint32_t many = p->n - from < BLOCK ? p->n - from : BLOCK;
        double *restrict out = values + 1 + from;

        planes_read(p, from, many, n);
        for (uint32_t i = 0; i < many; i++)
            n[i] = (uint64_t)unzigzag(n[i]);
        if (walk)
            for (uint32_t i = 0; i < many; i++)
                before = n[i] += before;
        else
            for (uint32_t i = 0; i < many; i++)
                n[i] += first;
        for (uint32_t i = 0; i < many; i++)
            out[i] = double_of_int(n[i]) / power;
    }
}

static __attribute__((target("avx2"))) void
read_decimals_avx2(const planes *p, bool walk, uint64_t first, double power, double *values)
{
    decimals_of_planes(p, walk, first, power, values);
}

static void
read_decimals_plain(const planes *p, bool walk, uint64_t first, double power, double *values)
{
    decimals_of_planes(p, walk, first, power, values);
}

static void
read_decimals(const planes *p, bool walk, uint64_t first, double power, double *values)
{
    if (__builtin_cpu_supports("avx2"))
        read_decimals_avx2(p, walk, first, power, values);
    else
        read_decimals_plain(p, walk, first, power, values);
}

static const uint8_t *
get_decimals(const uint8_t *at, const uint8_t *end, const chunk_head *h, double *values)
{
    int64_t first;
    planes  p;

    at = get_planes(get_zigzag(at, end, &first), end, h->count - 1, &p);
    if (at != NULL)
        read_decimals(&p, h->values == VALUES_WALK, (uint64_t)first, decimal_powers[h->decimals],
                      values);
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
        memcpy(at, &x, 8); /* there is room: CHUNK_BYTES_MAX counts 9 and 8 more */
        at += kept;
    }
    return at;
}

static const uint8_t *
get_xors(const uint8_t *at, const uint8_t *end, uint32_t count, double *values)
{
    uint64_t bits = 0;

    for (uint32_t i = 0; i < count; i++) {
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

static const uint8_t *
get_raws(const uint8_t *at, const uint8_t *end, uint32_t count, double *values)
{
    uint64_t bits[BLOCK];
    planes   p;

    at = get_planes(at, end, count, &p);
    for (uint32_t from = 0; at != NULL && from < count; from += BLOCK) {
        uint32_t n = count - from < BLOCK ? count - from : BLOCK;

        planes_read(&p, from, n, bits);
        memcpy(values + from, bits, n * sizeof *bits);
    }
    return at;
}

static uint8_t *
put_values(uint8_t *at, const head_row *rows, uint32_t count, chunk_head *h, chunk_scratch *s)
{
    int32_t  k = decimal_scale_all(rows, count, s->scaled);
    uint8_t *end;

    s->is_decimal = k >= 0;
    s->decimals = (chunk_decimals){ s->scaled, (uint32_t)k };
    h->decimals = (uint8_t)(k >= 0 ? k : 0);
    if (k >= 0)
        return put_decimals(at, count, h, s);
    h->values = VALUES_XOR;
    end = put_xors(at, rows, count);
    if ((size_t)(end - at) < (size_t)count * 8)
        return end;
    h->values = VALUES_RAW;
    for (uint32_t i = 0; i < count; i++)
        s->codes[i] = bits_of(rows[i].value);
    return put_planes(at, s->codes, count);
}

static const uint8_t *
get_values(const uint8_t *at, const uint8_t *end, const chunk_head *h, double *values)
{
    if (at == NULL)
        return NULL;
    switch ((enum values_codec)h->values) {
    case VALUES_WALK:
    case VALUES_LEVEL:
        return get_decimals(at, end, h, values);
    case VALUES_XOR:
        return get_xors(at, end, h->count, values);
    case VALUES_RAW:
        break;
    }
    return get_raws(at, end, h->count, values);
}

/* ---- whole chunks ---- */

static uint32_t
checksum(const chunk_head *h, const uint8_t *rest, size_t len)
{
    chunk_head judged = *h;

    judged.crc = 0;
    return crc32c(crc32c(0, &judged, sizeof judged), rest, len);
}

size_t
chunk_encode(uint8_t *out, const head_row *rows, uint32_t count, bool squeeze, chunk_scratch *s)
{
    chunk_head h = { .version = CHUNK_VERSION, .count = count, .first_us = rows[0].time_us };
    uint8_t   *columns = out + sizeof h;
    uint8_t   *at;
    size_t     len, squeezed = 0;

    ASSERT(count > 0 && count <= CHUNK_ROWS_MAX);
    h.times = unit_of(rows, count);
    at = put_times(columns, rows, count, &h, s);
    at = put_values(at, rows, count, &h, s);
    ASSERT(at <= out + CHUNK_BYTES_MAX);
    len = (size_t)(at - columns);
    if (squeeze && len >= SQUEEZE_LEAST)
        squeezed = squeezer_pack(s->squeezer, view_of(columns, len), s->columns, len - len / 8, SQUEEZE_LEVEL);
    if (squeezed > 0) {
        memcpy(columns, s->columns, squeezed);
        h.whole = (uint32_t)len;
        len = squeezed;
    }
    h.crc = checksum(&h, columns, len);
    memcpy(out, &h, sizeof h);
    return sizeof h + len;
}

int
chunk_read(view chunk, chunk_info *info)
{
    chunk_head h;

    if (chunk.len < sizeof h)
        return err(E_BAD, "a chunk of %zu bytes", chunk.len);
    memcpy(&h, chunk.at, sizeof h);
    if (h.version != CHUNK_VERSION)
        return err(h.version > CHUNK_VERSION ? E_NEWER : E_BAD, "a chunk of version %u", h.version);
    if (checksum(&h, chunk.at + sizeof h, chunk.len - sizeof h) != h.crc)
        return err(E_BAD, "a chunk's checksum is wrong");
    if (h.count == 0 || h.count > CHUNK_ROWS_MAX || (h.times & 3) >= COUNT_OF(units) ||
        h.times >> UNIT_BITS > TIMES_CHANGES || h.values > VALUES_XOR || h.decimals > DECIMALS_MAX ||
        h.whole > CHUNK_BYTES_MAX)
        return err(E_BAD, "a chunk's head is out of bounds");
    *info = (chunk_info){ .count = h.count,
                          .first_us = h.first_us,
                          .decimals = h.values == VALUES_WALK || h.values == VALUES_LEVEL ? h.decimals : -1 };
    return E_OK;
}

static bool
is_increasing(const int64_t *times, uint32_t count)
{
    bool good = true;

    for (uint32_t i = 1; i < count; i++)
        good &= times[i - 1] < times[i];
    return good;
}

int
chunk_decode(view chunk, chunk_scratch *s, int64_t *times, double *values)
{
    view           columns = view_of(chunk.at + CHUNK_HEAD, chunk.len - CHUNK_HEAD);
    const uint8_t *at;
    chunk_head     h;

    ASSERT(chunk.len >= CHUNK_HEAD);
    memcpy(&h, chunk.at, sizeof h);
    if (h.whole > 0) {
        if (!squeezer_unpack(s->squeezer, columns, s->columns, h.whole))
            return err(E_BAD, "a chunk's columns do not inflate");
        columns = view_of(s->columns, h.whole);
    }
    at = get_times(columns.at, columns.at + columns.len, &h, times);
    at = get_values(at, columns.at + columns.len, &h, values);
    if (at != columns.at + columns.len)
        return err(E_BAD, "a chunk's columns do not fit its length");
    return is_known_to_increase(&h, times) || is_increasing(times, h.count) ? E_OK : err(E_BAD, "a chunk's times do not increase");
}
