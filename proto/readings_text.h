/* readings_text.h - what the one-go and the walking JSON decoder share: spaces, strings, their state.  Nobody else's business. */
#ifndef HALTLESS_PROTO_READINGS_TEXT_H
#define HALTLESS_PROTO_READINGS_TEXT_H

#include "proto/readings_fields.h"

#include <emmintrin.h>

enum { NESTING_MAX = 64 };

/* readings_decoder.state */
enum { BEFORE, FIRST, MORE, LINES, ENDED, BROKEN, MISFIT };

typedef const uint8_t *place;

static inline bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline bool
at_char(place p, place end, uint8_t c)
{
    return p < end && *p == c;
}

/* Which of the 16 bytes at p end a run of plain ASCII: a quote, a backslash, a control character,
 * or one above 0x7f (which is below a blank when compared as signed). */
static inline uint32_t
stops(place p)
{
    __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
    __m128i other = _mm_cmplt_epi8(x, _mm_set1_epi8(' '));

    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), other));
}

/* The end of the run at p; may lie behind the end of the body.  Short and long strings are mixed at
 * random, so a first step of 32 bytes, which most end in, saves a branch that the CPU cannot
 * foresee. */
static inline place
plain_run(place p, place end)
{
    uint32_t mask;

    if (LIKELY(end - p >= 32)) {
        mask = stops(p) | stops(p + 16) << 16;
        if (LIKELY(mask != 0))
            return p + __builtin_ctz(mask);
        p += 32;
    }
    do {
        mask = stops(p);
        if (mask != 0)
            return p + __builtin_ctz(mask);
        p += 16;
    } while (p < end);
    return end;
}

/* A string that had escapes, put together in its slot.  Without a slot it is only counted. */
typedef struct built {
    uint8_t *slot; /* READINGS_SLOT bytes or NULL */
    size_t   len;
    size_t   chars;
    bool     copied; /* it is in the slot, as far as it fits */
    bool     cut;
} built;

static inline void
built_append(built *t, place from, size_t len)
{
    size_t room = READINGS_SLOT - t->len;

    if (!t->copied || t->cut)
        return;
    if (len > room) { /* keep the start, up to a whole character */
        t->cut = true;
        for (len = room; len > 0 && (from[len] & 0xc0) == 0x80; len--)
            ;
    }
    memcpy(t->slot + t->len, from, len);
    t->len += len;
}

static inline place
four_hex(place p, place end, uint32_t *code)
{
    *code = 0;
    if (end - p < 4)
        return NULL;
    for (int i = 0; i < 4; i++) {
        uint32_t c = p[i];
        uint32_t letter = (c | 0x20) - 'a';

        if (c - '0' > 9 && letter > 5)
            return NULL;
        *code = *code << 4 | (c - '0' <= 9 ? c - '0' : letter + 10);
    }
    return p + 4;
}

/* Behind "\u": one code unit, or two that make a pair. */
static inline place
unicode_escape(place p, place end, uint32_t *code)
{
    uint32_t low;

    p = four_hex(p, end, code);
    if (p == NULL || *code - 0xd800 >= 0x800)
        return p;
    if (*code >= 0xdc00 || end - p < 2 || p[0] != '\\' || p[1] != 'u')
        return NULL;
    p = four_hex(p + 2, end, &low);
    if (p == NULL || low - 0xdc00 >= 0x400)
        return NULL;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return p;
}

static inline size_t
put_utf8(uint8_t out[4], uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* Behind a backslash. */
static inline place
escape(place p, place end, built *t)
{
    static const uint8_t plain[256] = { ['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                        ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t' };
    uint8_t  utf8[4];
    uint32_t code;

    if (p >= end)
        return NULL;
    code = plain[*p];
    if (*p == 'u')
        p = unicode_escape(p + 1, end, &code);
    else
        p = code != 0 ? p + 1 : NULL;
    if (p == NULL)
        return NULL;
    built_append(t, utf8, put_utf8(utf8, code));
    t->chars++;
    return p;
}

/* A character above ASCII at p; control characters are broken syntax. */
static inline place
other_char(place p, place end, built *t)
{
    size_t len = *p < ' ' ? 0 : fields_utf8_len(p, end);

    if (len == 0)
        return NULL;
    built_append(t, p, len);
    t->chars++;
    return p + len;
}

static inline place
word(place p, place end, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(end - p) < len || memcmp(p, text, len) != 0)
        return NULL;
    return p + len;
}

/* NaN and the infinities pass as `value` alone, to be told so.  NULL: none of them. */
static inline place
infinite_word(place p, place end)
{
    static const char *const words[] = { "NaN", "Infinity", "-Infinity" };
    place                    behind = NULL;

    for (size_t i = 0; i < COUNT_OF(words) && behind == NULL; i++)
        behind = word(p, end, words[i]);
    return behind;
}

#endif
