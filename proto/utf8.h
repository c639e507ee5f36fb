/* utf8.h - is it UTF-8, and how many code points.  Overlong forms, surrogates and values above
 * U+10FFFF are not. */
#ifndef HALTLESS_PROTO_UTF8_H
#define HALTLESS_PROTO_UTF8_H

#include "proto/base.h"

/* Bytes of the well-formed sequence at p (1..4), 0 when there is none in the `left` bytes. */
static inline size_t
utf8_step(const uint8_t *p, size_t left)
{
    uint8_t c = left > 0 ? p[0] : 0xff;
    uint8_t low = 0x80, high = 0xbf; /* of the second byte: RFC 3629, table 3-7 of Unicode */
    size_t  len = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (len < 2)
        return left > 0 ? len : 0;
    low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : low;
    high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : high;
    if (len > left || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

static inline bool
utf8_is_valid(view s)
{
    for (size_t i = 0, step; i < s.len; i += step)
        if ((step = utf8_step(s.at + i, s.len - i)) == 0)
            return false;
    return true;
}

/* Code points of well-formed text. */
static inline size_t
utf8_count(view s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++)
        n += (s.at[i] & 0xc0) != 0x80;
    return n;
}

#endif
