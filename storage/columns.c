/* columns.c - see columns.h. */
#include "storage/columns.h"

#include "storage/decimal.h"

#include <stdlib.h>

enum { WIDE = 8 };

struct columns {
    uint32_t count;
    uint32_t bytes; /* of all of it */
    int64_t  first_us;
    int64_t  step_us;    /* 0: irregular */
    int64_t  unit_us;    /* of offsets */
    uint8_t  time_width; /* 0, 4 or 8 */
    uint8_t  width;      /* of a value: 2, 4 or WIDE */
    int64_t  base;       /* what integers are above */
    double   power;
    uint8_t *values;     /* behind the times, both behind this */
    _Alignas(16) uint8_t at[];
};

static const int64_t units[] = { 1000000, 1000, 1 };

/* ---- made ---- */

static bool
is_regular(const int64_t *times, uint32_t count, int64_t *step)
{
    *step = count > 1 ? times[1] - times[0] : 1;
    for (uint32_t i = 2; i < count; i++)
        if (times[i] - times[i - 1] != *step)
            return false;
    return true;
}

/* The greatest that fits all in 32 bits; 0: none. */
static int64_t
unit_of(const int64_t *times, uint32_t count)
{
    for (size_t u = 0; u < COUNT_OF(units); u++) {
        bool good = (times[count - 1] - times[0]) / units[u] <= UINT32_MAX;

        for (uint32_t i = 1; i < count && good; i++)
            good = (times[i] - times[0]) % units[u] == 0;
        if (good)
            return units[u];
    }
    return 0;
}

static void
put_times(columns *c, const int64_t *times)
{
    if (c->time_width == 4)
        for (uint32_t i = 0; i < c->count; i++)
            ((uint32_t *)(void *)c->at)[i] = (uint32_t)((times[i] - times[0]) / c->unit_us);
    else if (c->time_width == 8)
        memcpy(c->at, times, c->count * sizeof *times);
}

/* Integers of 2 or 4 bytes; false: doubles. */
static bool
scale(const double *values, uint32_t count, int decimals, int64_t *scaled, int64_t *base, uint8_t *width)
{
    int64_t low = INT64_MAX, high = INT64_MIN;

    if (decimals < 0 || decimals > DECIMALS_MAX)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (!decimal_scale(values[i], (uint32_t)decimals, &scaled[i]))
            return false;
        low = scaled[i] < low ? scaled[i] : low;
        high = scaled[i] > high ? scaled[i] : high;
    }
    *base = low + (high - low) / 2;
    *width = high - low < UINT16_MAX ? 2 : 4;
    return high - low < UINT32_MAX;
}

static void
put_values(columns *c, const double *values, const int64_t *scaled)
{
    if (c->width == 2)
        for (uint32_t i = 0; i < c->count; i++)
            ((int16_t *)(void *)c->values)[i] = (int16_t)(scaled[i] - c->base);
    else if (c->width == 4)
        for (uint32_t i = 0; i < c->count; i++)
            ((int32_t *)(void *)c->values)[i] = (int32_t)(scaled[i] - c->base);
    else
        memcpy(c->values, values, c->count * sizeof *values);
}

columns *
columns_new(const int64_t *times, const double *values, uint32_t count, int decimals)
{
    int64_t  scaled[CHUNK_ROWS_MAX];
    columns  made = { .count = count, .first_us = times[0], .power = 1 };
    columns *c;
    size_t   times_len;

    ASSERT(count > 0 && count <= CHUNK_ROWS_MAX);
    if (!is_regular(times, count, &made.step_us)) {
        made.step_us = 0;
        made.unit_us = unit_of(times, count);
        made.time_width = made.unit_us > 0 ? 4 : 8;
    }
    if (scale(values, count, decimals, scaled, &made.base, &made.width))
        made.power = decimal_powers[decimals];
    else
        made.width = WIDE;
    times_len = (size_t)round_up((uint64_t)made.time_width * count, 16);
    made.bytes = (uint32_t)(sizeof *c + times_len + (size_t)made.width * count);
    c = malloc(made.bytes);
    ASSERT(c != NULL);
    *c = made;
    c->values = c->at + times_len;
    put_times(c, times);
    put_values(c, values, scaled);
    return c;
}

void
columns_free(columns **c)
{
    free(*c);
    *c = NULL;
}

size_t
columns_bytes(const columns *c)
{
    return c->bytes;
}

uint32_t
columns_count(const columns *c)
{
    return c->count;
}

/* ---- times ---- */

int64_t
columns_time(const columns *c, uint32_t i)
{
    if (c->step_us > 0)
        return c->first_us + i * c->step_us;
    if (c->time_width == 4)
        return c->first_us + ((const uint32_t *)(const void *)c->at)[i] * c->unit_us;
    return ((const int64_t *)(const void *)c->at)[i];
}

uint32_t
columns_at(const columns *c, int64_t time_us)
{
    uint32_t low = 0, high = c->count;

    if (time_us <= c->first_us)
        return 0;
    if (c->step_us > 0) {
        uint64_t steps = ((uint64_t)time_us - (uint64_t)c->first_us - 1) / (uint64_t)c->step_us + 1;

        return steps < c->count ? (uint32_t)steps : c->count;
    }
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (columns_time(c, mid) < time_us)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* ---- rows ---- */

static double
value_at(const columns *c, uint32_t i)
{
    if (c->width == 2)
        return (double)(c->base + ((const int16_t *)(const void *)c->values)[i]) / c->power;
    if (c->width == 4)
        return (double)(c->base + ((const int32_t *)(const void *)c->values)[i]) / c->power;
    return ((const double *)(const void *)c->values)[i];
}

void
columns_rows(const columns *c, uint32_t from, uint32_t to, int64_t *times, double *values)
{
    ASSERT(from <= to && to <= c->count);
    for (uint32_t i = from; i < to; i++)
        times[i - from] = columns_time(c, i);
    if (c->width == WIDE)
        memcpy(values, c->values + (size_t)from * WIDE, (size_t)(to - from) * WIDE);
    else
        for (uint32_t i = from; i < to; i++)
            values[i - from] = value_at(c, i);
}

/* ---- figures ---- */

typedef struct figures {
    int64_t sum, squares, min, max;
} figures;

static figures
of_narrow(const int16_t *v, uint32_t n)
{
    int32_t sum = 0; /* 4096 of 2^15 */
    int16_t min = v[0], max = v[0];

    for (uint32_t i = 0; i < n; i++) {
        sum += v[i];
        min = v[i] < min ? v[i] : min;
        max = v[i] > max ? v[i] : max;
    }
    return (figures){ .sum = sum, .min = min, .max = max };
}

static int64_t
squares_of_narrow(const int16_t *v, uint32_t n)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += (int32_t)v[i] * v[i];
    return sum;
}

static figures
of_middle(const int32_t *v, uint32_t n)
{
    int64_t sum = 0;
    int32_t min = v[0], max = v[0];

    for (uint32_t i = 0; i < n; i++) {
        sum += v[i];
        min = v[i] < min ? v[i] : min;
        max = v[i] > max ? v[i] : max;
    }
    return (figures){ .sum = sum, .min = min, .max = max };
}

bool
columns_sum_up(const columns *c, bool with_spread)
{
    return c->width == 2 || (c->width == 4 && !with_spread);
}

/* Integers below 2^62 throughout: nothing is rounded before the last division. */
chunk_summary
columns_sum(const columns *c, uint32_t from, uint32_t to, bool with_spread)
{
    const int16_t *narrow = (const int16_t *)(const void *)c->values + from;
    const int32_t *middle = (const int32_t *)(const void *)c->values + from;
    uint32_t       n = to - from;
    figures        f;

    ASSERT(from < to && to <= c->count && columns_sum_up(c, with_spread));
    f = c->width == 2 ? of_narrow(narrow, n) : of_middle(middle, n);
    chunk_summary s = { .count = n,
                        .first_us = columns_time(c, from),
                        .last_us = columns_time(c, to - 1),
                        .first = value_at(c, from),
                        .last = value_at(c, to - 1),
                        .min = (double)(c->base + f.min) / c->power,
                        .max = (double)(c->base + f.max) / c->power,
                        .sum = (double)(c->base * (int64_t)n + f.sum) / c->power };
    if (with_spread) {
        /* n * squares - sum^2 < 2^12 * 2^42 */
        int64_t m2 = (int64_t)n * squares_of_narrow(narrow, n) - f.sum * f.sum;

        s.m2 = (double)((long double)m2 / n / ((long double)c->power * c->power));
    }
    return s;
}
