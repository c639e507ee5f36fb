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
 * Writing: the smallest k <= 9 for which v * 10^k is an integer of up to 15 digits that reads back
 * the same; otherwise the fewest digits that do, by trying 15, 16, 17 of them.  Layout as
 * JavaScript has it: plain from 1e-6 to below 1e21.
 */
#include "proto/num.h"

#include "proto/num_fast.h"

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
enum { DIGITS_SHORT = 15, DIGITS_MAX = 17, PLAIN_POINT_MIN = -5, PLAIN_POINT_MAX = 21 };
enum { FIVES_MAX = 27 }; /* 5^27 < 2^63 */

#define SCALED_MIN 1e-9

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

/* The positive number n * 10^e10, n of up to DIGITS_MAX digits. */
typedef struct decimal {
    uint64_t n;
    int      e10;
} decimal;

static double
decimal_value(decimal d)
{
    char   text[DIGITS_MAX + 2 + EXPONENT_TEXT_MAX];
    double v;

    if (read_extended(d.n, d.e10, &v))
        return v;
    snprintf(text, sizeof text, "%" PRIu64 "e%d", d.n, d.e10);
    return strtod_c(text);
}

/* v * 10^k as an integer, correctly rounded: v = m * 2^e2, so it is m * 5^k * 2^(e2 + k),
 * and m * 5^k has at most 53 + 63 bits. */
static uint64_t
scaled(double v, int k)
{
    static const uint64_t five[FIVES_MAX + 1] = {
        UINT64_C(1), UINT64_C(5), UINT64_C(25), UINT64_C(125), UINT64_C(625), UINT64_C(3125),
        UINT64_C(15625), UINT64_C(78125), UINT64_C(390625), UINT64_C(1953125), UINT64_C(9765625),
        UINT64_C(48828125), UINT64_C(244140625), UINT64_C(1220703125), UINT64_C(6103515625),
        UINT64_C(30517578125), UINT64_C(152587890625), UINT64_C(762939453125),
        UINT64_C(3814697265625),
        UINT64_C(19073486328125), UINT64_C(95367431640625), UINT64_C(476837158203125),
        UINT64_C(2384185791015625), UINT64_C(11920928955078125), UINT64_C(59604644775390625),
        UINT64_C(298023223876953125), UINT64_C(1490116119384765625), UINT64_C(7450580596923828125),
    };
    uint64_t bits;

    memcpy(&bits, &v, sizeof bits);
    int               shift = (int)(bits >> 52) - 1075 + k; /* v is normal */
    uint64_t          m = (bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1) << 52;
    unsigned __int128 product = (unsigned __int128)m * five[k];

    if (shift >= 0)
        return (uint64_t)(product << shift);
    unsigned __int128 half = (unsigned __int128)1 << (-shift - 1);
    uint64_t          n = (uint64_t)(product >> -shift);
    unsigned __int128 rest = product - ((unsigned __int128)n << -shift);

    return n + (uint64_t)(rest > half || (rest == half && (n & 1) != 0));
}

/* v with `count` digits, correctly rounded. The locale may have any decimal point: only digits are
 * taken. */
static decimal
decimal_printed(double v, int count)
{
    char        text[64];
    decimal     d = { 0 };
    const char *p = text;

    snprintf(text, sizeof text, "%.*e", count - 1, v);
    for (; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            d.n = d.n * 10 + (uint64_t)(*p - '0');
    d.e10 = atoi(p + 1) + 1 - count;
    return d;
}

/* The same.  `point` is where v's decimal point stands behind its first digit:
 * 10^(point-1) <= v < 10^point. */
static decimal
decimal_of(double v, int count, int point)
{
    int k = count - point;

    if (v < SCALED_MIN || k < 0 || k > FIVES_MAX)
        return decimal_printed(v, count);
    return (decimal){ .n = scaled(v, k), .e10 = -k };
}

/* 10^(point-1) <= v < 10^point, for v that decimal_of() scales.  The negative powers are not exact,
 * but a v that equals one is written with the single digit 1 on either side. */
static int
point_of(double v)
{
    static const double below_one[] = { 1e0,  1e-1, 1e-2, 1e-3, 1e-4,
                                        1e-5, 1e-6, 1e-7, 1e-8, SCALED_MIN };
    int                 point = 0;

    if (v >= 1) {
        while (point < (int)COUNT_OF(num_powers) && v >= num_powers[point])
            point++;
        return point;
    }
    while (point > 1 - (int)COUNT_OF(below_one) && v < below_one[1 - point])
        point--;
    return point;
}

static decimal
shortest(double v)
{
    int point = point_of(v);

    for (int count = v < DBL_MIN ? 1 : DIGITS_SHORT; count < DIGITS_MAX; count++) {
        decimal d = decimal_of(v, count, point);

        if (decimal_value(d) == v)
            return d;
        /* Above a power of two lies twice the room of below: the nearest may miss below, its
         * neighbour not. */
        d.n++;
        if (decimal_value(d) == v)
            return d;
    }
    return decimal_of(v, DIGITS_MAX, point);
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

static char *
put_decimal(char *out, decimal d)
{
    char digits[20];

    for (; d.n % 10 == 0; d.n /= 10)
        d.e10++;
    int count = (int)(put_u64(digits, d.n) - digits);
    int point = count + d.e10;

    if (point >= PLAIN_POINT_MIN && point <= PLAIN_POINT_MAX)
        return put_plain(out, digits, count, point);
    return put_exponent(out, digits, count, point);
}

/* v in [1e-6, 1e15) with few decimals: i / 10^k.  Up to 15 digits every decimal has a double of its
 * own, so reading back the same means that it is the shortest.  NULL: it has more. */
static char *
put_short(char *out, double v)
{
    for (int k = 0; k <= 9; k++) {
        double scaled = v * num_powers[k];

        if (scaled >= 1e15)
            return NULL;
        uint64_t i = (uint64_t)(scaled + 0.5);

        if ((double)i / num_powers[k] != v)
            continue;
        uint64_t whole = i / (uint64_t)num_powers[k];
        uint64_t part = i % (uint64_t)num_powers[k];

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
        end = put_decimal(p, shortest(v));
    return (size_t)(end - out);
}
