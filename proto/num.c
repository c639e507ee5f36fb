/* num.c - doubles and integers to text and back.
 *
 * Reading: the digits become a 64-bit integer m and a power of ten, value = m * 10^e10.  Three
 * ways, the first that is exact wins:
 *   1. m <= 2^53, |e10| <= 22: both are doubles without error, so one operation rounds once
 *      (Clinger).
 *   2. m < 10^19, |e10| <= 27: both are exact as 80-bit extended numbers; the result is rounded to
 *      64 bits, then to 53.  The second rounding can only go wrong when the first left exactly a
 *      half.
 *   3. strtod in the C locale on a copy of at most NUM_DIGITS_KEPT digits.
 *
 * Writing: the smallest k <= 4 for which v * 10^k is an integer of up to 15 digits that reads back
 * the same, which is what sensors send; otherwise the fewest digits that do (num_short.h).  Layout
 * as JavaScript has it: plain from 1e-6 to below 1e21.
 */
#include "proto/num.h"

#include "proto/num_fast.h"
#include "proto/num_short.h"

#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* NUM_DIGITS_KEPT: a half-way point between two doubles has at most 767 digits; behind them it only matters whether
 * all are 0. */
enum { EXPONENT_TEXT_MAX = 12, EXPONENT_SURE = 20000 };
enum { SHORT_DECIMALS = 4, PLAIN_POINT_MIN = -5, PLAIN_POINT_MAX = 21 };

_Static_assert(LDBL_MANT_DIG == 64, "the second way needs x87 extended precision");

static locale_t       c_locale;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    ASSERT(c_locale != (locale_t)0); /* "C" is built in: it takes no file and no memory */
}

static double
strtod_c(const char *text)
{
    pthread_once(&once, make_locale);
    return strtod_l(text, NULL, c_locale);
}

/* ---- the third way ---- */

enum phase { AT_SIGN, AT_FIRST, IN_ZERO, IN_INTEGER, AT_FRACTION, IN_FRACTION, AT_EXPONENT, AT_EXPONENT_DIGIT, IN_EXPONENT, OVER };

void
num_long_begin(num_long *n)
{
    memset(n, 0, offsetof(num_long, text));
}

static void
keep_digit(num_long *n, uint8_t digit)
{
    if (n->len == 0 && digit == '0')
        return;
    if (n->len < NUM_DIGITS_KEPT) {
        n->text[n->len++] = (char)digit;
    } else {
        n->rest |= digit != '0';
        n->e10++;
    }
}

/* Behind a digit of the mantissa, or where none is. */
static uint8_t
mantissa_goes_on(uint8_t c, uint8_t phase)
{
    if (c == '.' && phase != IN_FRACTION)
        return AT_FRACTION;
    return (c | 0x20) == 'e' ? AT_EXPONENT : OVER;
}

/* The phase after c; OVER: c does not belong to the number, or nothing may stand there. */
static uint8_t
phase_after(num_long *n, uint8_t c)
{
    bool digit = (uint32_t)c - '0' <= 9;

    switch (n->phase) {
    case AT_SIGN:
        n->negative = c == '-';
        if (n->negative)
            return AT_FIRST;
        /* fallthrough */
    case AT_FIRST:
        if (digit)
            keep_digit(n, c);
        return !digit ? OVER : c == '0' ? IN_ZERO : IN_INTEGER;
    case IN_ZERO: /* stands alone */
        return mantissa_goes_on(c, IN_ZERO);
    case IN_INTEGER:
        if (!digit)
            return mantissa_goes_on(c, IN_INTEGER);
        keep_digit(n, c);
        return IN_INTEGER;
    case AT_FRACTION:
    case IN_FRACTION:
        if (!digit)
            return n->phase == IN_FRACTION ? mantissa_goes_on(c, IN_FRACTION) : OVER;
        n->e10--;
        keep_digit(n, c);
        return IN_FRACTION;
    case AT_EXPONENT:
        n->exponent_negative = c == '-';
        if (c == '-' || c == '+')
            return AT_EXPONENT_DIGIT;
        /* fallthrough */
    default: /* stays at the cap, which no body can make up for in zeros */
        if (digit && n->exponent < NUM_EXPONENT_CAP)
            n->exponent = n->exponent * 10 + (c - '0');
        return digit ? IN_EXPONENT : OVER;
    }
}

const uint8_t *
num_long_feed(num_long *n, const uint8_t *p, const uint8_t *end)
{
    for (; p < end; p++) {
        uint8_t next = phase_after(n, *p);

        if (next == OVER)
            break;
        n->phase = next;
    }
    return p;
}

bool
num_long_ends(const num_long *n)
{
    return n->phase == IN_ZERO || n->phase == IN_INTEGER || n->phase == IN_FRACTION || n->phase == IN_EXPONENT;
}

double
num_long_value(num_long *n)
{
    int64_t e10 = n->e10 + (n->exponent_negative ? -n->exponent : n->exponent);
    double  v;

    if (n->len == 0)
        return n->negative ? -0.0 : 0.0;
    if (n->rest) { /* stands for all that was cut: more than nothing, less than a half */
        n->text[n->len++] = '1';
        e10--;
    }
    if (e10 > EXPONENT_SURE || e10 < -EXPONENT_SURE)
        e10 = e10 > 0 ? EXPONENT_SURE : -EXPONENT_SURE;
    snprintf(n->text + n->len, sizeof n->text - n->len, "e%d", (int)e10);
    v = strtod_c(n->text);
    return n->negative ? -v : v;
}

/* [p, end) is a number without its sign that num_scan() has been through. */
static double
read_slowly(const uint8_t *p, const uint8_t *end)
{
    num_long n;

    num_long_begin(&n);
    (void)num_long_feed(&n, p, end);
    return num_long_value(&n);
}

/* The second way.  False: it cannot be sure. */
static bool
read_extended(uint64_t mantissa, int32_t e10, double *v)
{
    static const long double power[] = { 1e0L,  1e1L,  1e2L,  1e3L,  1e4L,  1e5L,  1e6L,
                                         1e7L,  1e8L,  1e9L,  1e10L, 1e11L, 1e12L, 1e13L,
                                         1e14L, 1e15L, 1e16L, 1e17L, 1e18L, 1e19L, 1e20L,
                                         1e21L, 1e22L, 1e23L, 1e24L, 1e25L, 1e26L, 1e27L };
    long double x = (long double)mantissa;
    uint64_t    bits;

    if (mantissa == 0 || e10 < -27 || e10 > 27)
        return false;
    x = e10 < 0 ? x / power[-e10] : x * power[e10];
    memcpy(&bits, &x, sizeof bits);
    *v = (double)x;
    return (bits & 0x7ff) != 0x400;
}

double
num_read(const num_scanned *n)
{
    double v;

    if (n->exact && n->mantissa == 0)
        return 0;
    if (n->exact && read_extended(n->mantissa, n->e10, &v))
        return v;
    return read_slowly(n->digits, n->end);
}

size_t
num_parse(view s, double *v)
{
    num_scanned n;

    if (!num_scan(&n, s.at, s.at + s.len))
        return 0;
    *v = num_value(&n);
    return (size_t)(n.end - s.at);
}

static char *
put_u64(char *out, uint64_t v)
{
    char   backwards[20];
    size_t len = 0;

    do {
        backwards[len++] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    while (len > 0)
        *out++ = backwards[--len];
    return out;
}

size_t
num_format_u64(uint64_t v, char out[NUM_TEXT_MAX])
{
    return (size_t)(put_u64(out, v) - out);
}

size_t
num_format_i64(int64_t v, char out[NUM_TEXT_MAX])
{
    char *p = out;

    if (v < 0)
        *p++ = '-';
    return (size_t)(put_u64(p, v < 0 ? -(uint64_t)v : (uint64_t)v) - out);
}

static char *
put(char *out, const char *from, int len)
{
    memcpy(out, from, (size_t)len);
    return out + len;
}

static char *
put_zeros(char *out, int count)
{
    memset(out, '0', (size_t)count);
    return out + count;
}

/* 0.DDD * 10^point */
static char *
put_plain(char *out, const char *digits, int count, int point)
{
    if (point <= 0) { /* 0.00DDD */
        out = put(out, "0.", 2);
        out = put_zeros(out, -point);
        return put(out, digits, count);
    }
    if (count <= point) { /* DDD00 */
        out = put(out, digits, count);
        return put_zeros(out, point - count);
    }
    out = put(out, digits, point); /* D.DD */
    *out++ = '.';
    return put(out, digits + point, count - point);
}

static char *
put_exponent(char *out, const char *digits, int count, int point) /* D.DDe+XX */
{
    int e10 = point - 1;

    *out++ = digits[0];
    if (count > 1) {
        *out++ = '.';
        out = put(out, digits + 1, count - 1);
    }
    *out++ = 'e';
    *out++ = e10 < 0 ? '-' : '+';
    return put_u64(out, (uint64_t)(e10 < 0 ? -e10 : e10));
}

/* Of a finite v > 0. */
static char *
put_shortest(char *out, double v)
{
    char        text[NUM_SHORTEST_MAX], digits[NUM_SHORTEST_MAX];
    const char *p = text, *end = text + num_shortest(v, text);
    int         count = 0, e10 = 0;
    bool        negative;

    for (; *p != 'e'; p++)
        if (*p != '.')
            digits[count++] = *p;
    negative = p[1] == '-';
    for (p += 2; p < end; p++)
        e10 = e10 * 10 + (*p - '0');
    int point = (negative ? -e10 : e10) + 1;

    if (point >= PLAIN_POINT_MIN && point <= PLAIN_POINT_MAX)
        return put_plain(out, digits, count, point);
    return put_exponent(out, digits, count, point);
}

/* v in [1e-6, 1e15) with few decimals: i / 10^k.  Up to 15 digits every decimal has a double of its
 * own, so reading back the same means that it is the shortest.  NULL: it has more. */
static char *
put_short(char *out, double v)
{
    for (int k = 0; k <= SHORT_DECIMALS; k++) {
        double scaled = v * num_powers[k];

        if (scaled >= 1e15)
            return NULL;
        int64_t i = (int64_t)(scaled + 0.5);

        /* Two roundings, of v and of the product, are not more than that: else it is not even near. */
        if (fabs(scaled - (double)i) > scaled * 4e-16 || (double)i / num_powers[k] != v)
            continue;
        uint64_t whole = (uint64_t)i / (uint64_t)num_powers[k];
        uint64_t part = (uint64_t)i % (uint64_t)num_powers[k];

        out = put_u64(out, whole);
        if (k == 0)
            return out;
        *out = '.';
        for (int at = k; at > 0; at--, part /= 10)
            out[at] = (char)('0' + part % 10);
        return out + k + 1;
    }
    return NULL;
}

size_t
num_format(double v, char out[NUM_TEXT_MAX])
{
    char *p = out;

    ASSERT(isfinite(v));
    if (signbit(v)) {
        *p++ = '-';
        v = -v;
    }
    if (v == 0) {
        *p++ = '0';
        return (size_t)(p - out);
    }
    char *end = v >= 1e-6 && v < 1e15 ? put_short(p, v) : NULL;

    if (end == NULL)
        end = put_shortest(p, v);
    return (size_t)(end - out);
}
