/* num_fast.h - the part of num.c that decoders want inline: walking over a number, and the
 * one-operation case.
 *
 *   -?(0|[1-9][0-9]*)(.[0-9]+)?([eE][+-]?[0-9]+)?        RFC 8259
 */
#ifndef HALTLESS_PROTO_NUM_FAST_H
#define HALTLESS_PROTO_NUM_FAST_H

#include "proto/base.h"

typedef struct num_scanned {
    const uint8_t *digits;   /* behind the sign */
    const uint8_t *end;      /* behind the number */
    uint64_t       mantissa; /* the number is mantissa * 10^e10 when exact */
    int32_t        e10;
    bool           negative;
    bool           exact; /* the digits were few enough, and the exponent small */
} num_scanned;

enum { NUM_DIGITS_EXACT = 19, NUM_EXPONENT_CAP = 1000000000 };

static const double num_powers[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                     1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                     1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

static inline bool
num_is_digit(const uint8_t *p, const uint8_t *end)
{
    return p < end && (uint32_t)*p - '0' <= 9;
}

/* Behind the 'e' of a number that is well formed.  Stays at the cap, which no body can make up for
 * in zeros. */
static inline int64_t
num_exponent(const uint8_t *p, const uint8_t *end)
{
    bool    negative = p < end && *p == '-';
    int64_t e = 0;

    if (p < end && (*p == '-' || *p == '+'))
        p++;
    for (; num_is_digit(p, end); p++)
        if (e < NUM_EXPONENT_CAP)
            e = e * 10 + (*p - '0');
    return negative ? -e : e;
}

/* The exponent part at p ("e-3"): where it ends, NULL when it is broken. */
static inline const uint8_t *
num_scan_exponent(num_scanned *n, const uint8_t *p, const uint8_t *end)
{
    const uint8_t *first = p + 1;

    if (first < end && (*first == '+' || *first == '-'))
        first++;
    const uint8_t *q = first;

    while (num_is_digit(q, end))
        q++;
    if (q == first)
        return NULL;
    int64_t e10 = num_exponent(p + 1, end) + n->e10;

    n->exact = n->exact && e10 > -1000 && e10 < 1000;
    n->e10 = n->exact ? (int32_t)e10 : 0;
    return q;
}

/* A number at p.  False: none, or a broken one ("-", "1.", "1e").  "01" ends behind its 0. */
static inline bool
num_scan(num_scanned *n, const uint8_t *p, const uint8_t *end)
{
    uint64_t       m = 0;
    const uint8_t *first;
    size_t         digits;

    n->negative = p < end && *p == '-';
    p += n->negative;
    n->digits = first = p;
    if (p < end && *p == '0') /* a leading 0 stands alone */
        p++;
    else
        for (; num_is_digit(p, end); p++)
            m = m * 10 + (uint64_t)(*p - '0');
    digits = (size_t)(p - first);
    if (digits == 0)
        return false;
    n->e10 = 0;
    if (p < end && *p == '.') {
        const uint8_t *fraction = ++p;

        for (; num_is_digit(p, end); p++)
            m = m * 10 + (uint64_t)(*p - '0');
        if (p == fraction)
            return false;
        digits += (size_t)(p - fraction);
        n->e10 = digits <= NUM_DIGITS_EXACT ? -(int32_t)(p - fraction) : 0;
    }
    n->mantissa = m;
    n->exact = digits <= NUM_DIGITS_EXACT; /* more may have wrapped m */
    if (p < end && (*p | 0x20) == 'e' && (p = num_scan_exponent(n, p, end)) == NULL)
        return false;
    n->end = p;
    return true;
}

/* A number of any length, piece by piece; what num_scan() does in one go. */
enum { NUM_DIGITS_KEPT = 770, NUM_LONG_TEXT = NUM_DIGITS_KEPT + 14 };

typedef struct num_long {
    int64_t  e10;
    int64_t  exponent;
    uint32_t len;   /* of text */
    uint8_t  phase; /* of the grammar */
    bool     negative;
    bool     exponent_negative;
    bool     rest; /* a digit that was cut is not 0 */
    char     text[NUM_LONG_TEXT]; /* the first digits that count */
} num_long;

void num_long_begin(num_long *n);
/* Takes what belongs to the number, and comes behind it. */
const uint8_t *num_long_feed(num_long *n, const uint8_t *p, const uint8_t *end);
bool           num_long_ends(const num_long *n); /* it may end here */
double         num_long_value(num_long *n);      /* when it has ended */

/* The value without its sign when one operation does not do (num.c). */
double num_read(const num_scanned *n);

static inline double
num_value(const num_scanned *n)
{
    double v;

    if (LIKELY(n->exact && n->mantissa <= (UINT64_C(1) << 53) && n->e10 >= -22 && n->e10 <= 22)) {
        v = (double)(int64_t)n->mantissa;
        v = n->e10 < 0 ? v / num_powers[-n->e10] : v * num_powers[n->e10];
    } else {
        v = num_read(n);
    }
    return n->negative ? -v : v;
}

#endif
