/* instant.c - RFC 3339 in and out.
 *
 *   0123456789012345678
 *   YYYY-MM-DDTHH:MM:SS[.fffffffff](Z|+HH:MM|-HH:MM)
 *
 * The calendar is the proleptic Gregorian one; the epoch is 1970-01-01T00:00:00Z.  Every character
 * is looked at: what is not of the form above is refused.
 */
#include "proto/instant.h"

enum { DATE_TIME_LEN = 19, FRACTION_DIGITS_MAX = 9, FRACTION_DIGITS_KEPT = 6 };

#define US_PER_SECOND INT64_C(1000000)
#define SECONDS_PER_DAY INT64_C(86400)
#define SECOND_FIRST INT64_C(-62135596800) /* 0001-01-01T00:00:00Z */
#define SECOND_LAST INT64_C(253402300799)  /* 9999-12-31T23:59:59Z */

static inline uint32_t
two_digits(const uint8_t *p, uint32_t *bad)
{
    uint32_t tens = (uint32_t)p[0] - '0';
    uint32_t ones = (uint32_t)p[1] - '0';

    *bad |= (uint32_t)(tens > 9) | (uint32_t)(ones > 9);
    return tens * 10 + ones;
}

static inline bool
is_leap(uint32_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static inline bool
is_date(uint32_t year, uint32_t month, uint32_t day)
{
    static const uint8_t days[16] = { 0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    if (year == 0 || month - 1 > 11 || day == 0)
        return false;
    return day <= (uint32_t)days[month] + (uint32_t)(month == 2 && is_leap(year));
}

/* Days since 1970-01-01.  Years are counted from March, so that the leap day comes last. */
static inline int64_t
days_of(uint32_t year, uint32_t month, uint32_t day)
{
    uint32_t y = year - (uint32_t)(month <= 2);
    uint32_t from_march = month > 2 ? month - 3 : month + 9;
    uint32_t day_of_year = (153 * from_march + 2) / 5 + day - 1;

    return (int64_t)(y * 365 + y / 4 - y / 100 + y / 400 + day_of_year) - 719468;
}

/* ".fff" at p: microseconds, and where it ends; NULL when it is none. */
static const uint8_t *
fraction_of(const uint8_t *p, const uint8_t *end, int64_t *us)
{
    static const int64_t scale[FRACTION_DIGITS_KEPT + 1] = { 1000000, 100000, 10000, 1000,
                                                             100,     10,     1 };
    int64_t              kept = 0;
    size_t               digits = 0;

    for (p++; p < end && (uint32_t)*p - '0' <= 9; p++, digits++)
        if (digits < FRACTION_DIGITS_KEPT)
            kept = kept * 10 + (*p - '0');
    if (digits == 0 || digits > FRACTION_DIGITS_MAX)
        return NULL;
    *us = kept * scale[digits < FRACTION_DIGITS_KEPT ? digits : FRACTION_DIGITS_KEPT];
    return p;
}

/* "Z" or "+HH:MM", which must be all of [p, end). */
static bool
offset_of(const uint8_t *p, const uint8_t *end, int64_t *seconds)
{
    uint32_t bad = 0;
    uint32_t hours;
    uint32_t minutes;

    *seconds = 0;
    if (end - p == 1)
        return *p == 'Z' || *p == 'z';
    if (end - p != 6 || (*p != '+' && *p != '-') || p[3] != ':')
        return false;
    hours = two_digits(p + 1, &bad);
    minutes = two_digits(p + 4, &bad);
    if (bad != 0 || hours > 23 || minutes > 59)
        return false;
    *seconds = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    if (*p == '-')
        *seconds = -*seconds;
    return true;
}

static inline bool
is_between(uint8_t c)
{
    return c == 'T' || c == 't' || c == ' ';
}

bool
instant_has_second(int64_t second)
{
    return second >= SECOND_FIRST && second <= SECOND_LAST;
}

bool
instant_parse(view s, int64_t *us)
{
    const uint8_t *p = s.at;
    const uint8_t *end = p + s.len;
    uint32_t       bad = 0;
    int64_t        fraction = 0;
    int64_t        offset;

    if (s.len <= DATE_TIME_LEN)
        return false;
    uint32_t year = two_digits(p, &bad) * 100 + two_digits(p + 2, &bad);
    uint32_t month = two_digits(p + 5, &bad);
    uint32_t day = two_digits(p + 8, &bad);
    uint32_t hour = two_digits(p + 11, &bad);
    uint32_t minute = two_digits(p + 14, &bad);
    uint32_t second = two_digits(p + 17, &bad);

    bad |= (uint32_t)(p[4] != '-') | (uint32_t)(p[7] != '-') | (uint32_t)(p[13] != ':') |
           (uint32_t)(p[16] != ':');
    if (bad != 0 || !is_between(p[10]) || !is_date(year, month, day) || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    p += DATE_TIME_LEN;
    if (*p == '.' && (p = fraction_of(p, end, &fraction)) == NULL)
        return false;
    if (!offset_of(p, end, &offset))
        return false;
    if (second == 60) /* a leap second has no place of its own: it is the next second's start */
        fraction = 0;
    int64_t at = days_of(year, month, day) * SECONDS_PER_DAY +
                 (int64_t)(hour * 3600 + minute * 60 + second) - offset;

    if (!instant_has_second(at))
        return false;
    *us = at * US_PER_SECOND + fraction;
    return true;
}

typedef struct civil {
    uint32_t year;
    uint32_t month;
    uint32_t day;
} civil;

/* The inverse of days_of(): eras of 400 years, years from March. */
static civil
civil_of(int64_t days)
{
    uint32_t shifted = (uint32_t)(days + 719468); /* since 0000-03-01: not negative */
    uint32_t era = shifted / 146097;
    uint32_t in_era = shifted % 146097;
    uint32_t year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint32_t day_of_year = in_era - (365 * year + year / 4 - year / 100);
    uint32_t from_march = (5 * day_of_year + 2) / 153;
    uint32_t month = from_march < 10 ? from_march + 3 : from_march - 9;

    return (civil){ .year = year + era * 400 + (uint32_t)(month <= 2),
                    .month = month,
                    .day = day_of_year - (153 * from_march + 2) / 5 + 1 };
}

/* v < 100 */
static inline char *
put_pair(char *out, uint32_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";

    memcpy(out, pairs + 2 * v, 2);
    return out + 2;
}

static char *
put_digits(char *out, uint32_t v, int digits)
{
    for (int i = digits - 1; i >= 0; i--, v /= 10)
        out[i] = (char)('0' + v % 10);
    return out + digits;
}

static char *
put_fraction(char *out, uint32_t us)
{
    if (us == 0)
        return out;
    *out++ = '.';
    return us % 1000 == 0 ? put_digits(out, us / 1000, 3) : put_digits(out, us, 6);
}

size_t
instant_format(int64_t us, char out[INSTANT_TEXT_MAX])
{
    /* Beyond the years that can be written: the nearest that can. */
    if (us < SECOND_FIRST * US_PER_SECOND)
        us = SECOND_FIRST * US_PER_SECOND;
    if (us > SECOND_LAST * US_PER_SECOND + US_PER_SECOND - 1)
        us = SECOND_LAST * US_PER_SECOND + US_PER_SECOND - 1;
    uint64_t since = (uint64_t)(us - SECOND_FIRST * US_PER_SECOND); /* so that division floors */
    uint64_t seconds = since / (uint64_t)US_PER_SECOND;
    uint32_t of_day = (uint32_t)(seconds % (uint64_t)SECONDS_PER_DAY);
    civil    c = civil_of((int64_t)(seconds / (uint64_t)SECONDS_PER_DAY) +
                          SECOND_FIRST / SECONDS_PER_DAY);
    char    *p = put_pair(put_pair(out, c.year / 100), c.year % 100);

    *p++ = '-';
    p = put_pair(p, c.month);
    *p++ = '-';
    p = put_pair(p, c.day);
    *p++ = 'T';
    p = put_pair(p, of_day / 3600);
    *p++ = ':';
    p = put_pair(p, of_day / 60 % 60);
    *p++ = ':';
    p = put_pair(p, of_day % 60);
    p = put_fraction(p, (uint32_t)(since % (uint64_t)US_PER_SECOND));
    *p++ = 'Z';
    return (size_t)(p - out);
}
