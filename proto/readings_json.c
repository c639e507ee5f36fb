/* readings_json.c - {"readings":[...]} as JSON, one pass, the hot loop of ingest.
 *
 * Strict RFC 8259 and UTF-8.  What makes it fast:
 *   - strings go 16 or 32 bytes a step; three compares find quotes, backslashes, control
 *     characters and the start of anything that is not ASCII.  Only the last of these, and escapes, take the slow way.
 *   - a member's name is known by a hash of two letters and two 16-byte compares, in any order of
 *     members.
 *   - the judgement (readings.c) comes after the object, in a fixed order that the CPU can foresee.
 *
 * Bounds: `end` is where the body ends.  A step may look at 16 bytes from any p <= end, which the
 * caller provides, but takes nothing from there: whoever moves on compares with `end`.  Functions
 * take p, return where they have come to, NULL for broken syntax.
 */
#include "proto/num_fast.h"
#include "proto/readings.h"
#include "proto/readings_fields.h"

#include <emmintrin.h>
#include <math.h>

enum { NESTING_MAX = 64 };

enum { BEFORE, FIRST, MORE, LINES, ENDED, BROKEN, MISFIT };

typedef const uint8_t *place;

static inline bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static __attribute__((noinline)) place
skip_spaces(place p, place end)
{
    while (p < end && is_space(*p))
        p++;
    return p;
}

/* Mostly there is none, or one blank behind a colon or comma. */
static inline place
skip_space(place p, place end)
{
    if (LIKELY(*p > ' '))
        return p;
    if (LIKELY(p < end && *p == ' ' && p[1] > ' '))
        return p + 1;
    return skip_spaces(p, end);
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

static void
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

static place
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
static place
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

static size_t
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
static place
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
static place
other_char(place p, place end, built *t)
{
    size_t len = *p < ' ' ? 0 : fields_utf8_len(p, end);

    if (len == 0)
        return NULL;
    built_append(t, p, len);
    t->chars++;
    return p + len;
}

/* On from `p`, where the plain run of the string that started at `start` ended with something but
 * its quote. */
static __attribute__((noinline)) place
string_slowly(place start, place p, place end, built *t)
{
    t->chars = (size_t)(p - start);
    while (p < end && *p != '"') {
        if (*p == '\\') {
            if (!t->copied && t->slot != NULL) {
                t->copied = true;
                built_append(t, start, (size_t)(p - start));
            }
            p = escape(p + 1, end, t);
        } else {
            p = other_char(p, end, t);
        }
        if (p == NULL)
            return NULL;
        place run = p;

        p = plain_run(p, end);
        built_append(t, run, (size_t)(p - run));
        t->chars += (size_t)(p - run);
    }
    return p < end ? p + 1 : NULL;
}

/* Behind the opening quote; comes back behind the closing one. */
static inline place
string(place p, place end, uint8_t *slot, view *out, size_t *chars)
{
    place stop = plain_run(p, end);

    if (LIKELY(at_char(stop, end, '"'))) {
        *out = view_of(p, (size_t)(stop - p));
        *chars = out->len;
        return stop + 1;
    }
    if (stop >= end)
        return NULL;
    built t = { .slot = slot };
    place behind = string_slowly(p, stop, end, &t);

    if (behind == NULL)
        return NULL;
    *out = t.copied ? view_of(slot, t.len) : view_of(p, (size_t)(behind - 1 - p));
    *chars = t.chars;
    return behind;
}

static place
skip_string(place p, place end)
{
    view   text_of;
    size_t chars;

    return string(p, end, NULL, &text_of, &chars);
}

static place
word(place p, place end, const char *text)
{
    size_t len = strlen(text);

    if ((size_t)(end - p) < len || memcmp(p, text, len) != 0)
        return NULL;
    return p + len;
}

/* A string, number or literal at p < end. */
static place
skip_scalar(place p, place end)
{
    num_scanned n;

    switch (*p) {
    case '"':
        return skip_string(p + 1, end);
    case 't':
        return word(p, end, "true");
    case 'f':
        return word(p, end, "false");
    case 'n':
        return word(p, end, "null");
    default:
        return num_scan(&n, p, end) ? n.end : NULL;
    }
}

/* "name": and comes to the value. */
static place
skip_name(place p, place end)
{
    if (!at_char(p, end, '"') || (p = skip_string(p + 1, end)) == NULL)
        return NULL;
    p = skip_spaces(p, end);
    return at_char(p, end, ':') ? skip_spaces(p + 1, end) : NULL;
}

/* What is open around the value that is skipped: a bit for each level, 1 for an object. */
typedef struct nest {
    uint64_t objects;
    uint32_t depth;
} nest;

/* Down to the first scalar, or to behind an empty container. */
static place
skip_down(place p, place end, nest *n)
{
    while (p < end && (*p == '{' || *p == '[')) {
        bool object = *p == '{';

        if (n->depth == NESTING_MAX)
            return NULL;
        n->objects = n->objects << 1 | object;
        n->depth++;
        p = skip_spaces(p + 1, end);
        if (at_char(p, end, object ? '}' : ']'))
            return p; /* skip_up() closes it */
        if (object && (p = skip_name(p, end)) == NULL)
            return NULL;
    }
    return p < end ? skip_scalar(p, end) : NULL;
}

/* Behind a value: closes what ends here.  Comes to the next value, or depth is 0. */
static place
skip_up(place p, place end, nest *n)
{
    while (n->depth > 0) {
        bool object = (n->objects & 1) != 0;

        p = skip_spaces(p, end);
        if (at_char(p, end, ',')) {
            p = skip_spaces(p + 1, end);
            return object ? skip_name(p, end) : p;
        }
        if (!at_char(p, end, object ? '}' : ']'))
            return NULL;
        p++;
        n->objects >>= 1;
        n->depth--;
    }
    return p;
}

/* Any value at p, checked in full. */
static __attribute__((noinline)) place
skip_value(place p, place end)
{
    nest n = { 0 };

    do {
        p = skip_down(p, end, &n);
        if (p == NULL)
            return NULL;
        p = skip_up(p, end, &n);
    } while (p != NULL && n.depth > 0);
    return p;
}

/* Behind a name's opening quote, and comes behind the closing one. */
static inline place
member_name(place p, place end, uint8_t *slot, uint32_t *member)
{
    view   name;
    size_t chars;

    if (LIKELY(end - p >= FIELDS_LOOKAHEAD)) {
        const fields_row *row = fields_row_at(p);

        if (LIKELY(row != NULL && p[row->len] == '"')) {
            *member = row->member;
            return p + row->len + 1;
        }
    }
    p = string(p, end, slot, &name, &chars);
    if (p != NULL)
        *member = fields_member(name);
    return p;
}

/* A value that is neither string nor number.  NaN and the infinities pass as `value` alone, to be
 * told so. */
static __attribute__((noinline)) place
other_value(place p, place end, uint32_t member, fields *f)
{
    static const char *const infinite[] = { "NaN", "Infinity", "-Infinity" };

    for (size_t i = 0; member == MEMBER_VALUE && i < COUNT_OF(infinite); i++) {
        place behind = word(p, end, infinite[i]);

        if (behind != NULL) {
            f->kind[MEMBER_VALUE] = FOUND_DOUBLE;
            f->value = INFINITY;
            return behind;
        }
    }
    f->kind[member] = FOUND_OTHER;
    return skip_value(p, end);
}

static inline place
number(place p, place end, uint32_t member, fields *f)
{
    num_scanned n;

    if (UNLIKELY(!num_scan(&n, p, end)))
        return other_value(p, end, member, f);
    if (LIKELY(member == MEMBER_VALUE)) {
        f->kind[MEMBER_VALUE] = FOUND_DOUBLE;
        f->value = num_value(&n);
    } else {
        f->kind[member] = FOUND_OTHER;
    }
    return n.end;
}

static inline place
member_value(place p, place end, uint32_t member, fields *f, readings_decoder *d)
{
    if (UNLIKELY(member == MEMBER_UNKNOWN))
        return skip_value(p, end);
    if (UNLIKELY(f->kind[member] != FOUND_NONE)) {
        if (f->duplicate == MEMBER_UNKNOWN)
            f->duplicate = (uint8_t)member;
        return skip_value(p, end);
    }
    if (*p == '"') {
        f->kind[member] = member == MEMBER_VALUE ? FOUND_OTHER : FOUND_TEXT;
        return string(p + 1, end, d->scratch[member], &f->text[member], &f->chars[member]);
    }
    if ((uint32_t)*p - '0' <= 9 || *p == '-')
        return number(p, end, member, f);
    return other_value(p, end, member, f);
}

/* Behind the '{' of a reading; comes behind its '}'. */
static place
object(readings_decoder *d, place p, fields *f)
{
    place    end = d->end;
    uint32_t member = MEMBER_UNKNOWN;

    p = skip_space(p, end);
    if (at_char(p, end, '}'))
        return p + 1;
    /* Each round takes bytes: it ends with the body. */
    for (; at_char(p, end, '"'); p = skip_space(p + 1, end)) {
        p = member_name(p + 1, end, d->scratch[SLOT_NAME], &member);
        if (p == NULL)
            return NULL;
        p = skip_space(p, end);
        if (!at_char(p, end, ':'))
            return NULL;
        p = skip_space(p + 1, end);
        if (p >= end || (p = member_value(p, end, member, f, d)) == NULL)
            return NULL;
        p = skip_space(p, end);
        if (p >= end || *p != ',')
            return at_char(p, end, '}') ? p + 1 : NULL;
    }
    return NULL;
}

static enum readings_next
ends(readings_decoder *d, place p, uint32_t state)
{
    if (p != NULL)
        d->at = p;
    d->state = state;
    return state == ENDED ? READINGS_END : state == MISFIT ? READINGS_SCHEMA : READINGS_SYNTAX;
}

/* One element of the array at p. */
static inline enum readings_next
element(readings_decoder *d, place p, reading *out)
{
    fields f;

    if (UNLIKELY(!at_char(p, d->end, '{'))) {
        place behind = skip_value(p, d->end);

        if (behind == NULL)
            return ends(d, p, BROKEN);
        fields_not_object(out);
        d->at = behind;
        return READINGS_ITEM;
    }
    fields_init(&f);
    p = object(d, p + 1, &f);
    if (UNLIKELY(p == NULL))
        return ends(d, NULL, BROKEN);
    fields_judge(&f, out);
    d->at = p;
    return READINGS_ITEM;
}

/* Behind the outermost value: only white space may follow. */
static enum readings_next
body_ends(readings_decoder *d, place p)
{
    p = skip_spaces(p, d->end);
    if (p < d->end)
        return ends(d, p, BROKEN);
    return ends(d, p, d->schema != NULL ? MISFIT : ENDED);
}

/* The value of an outer member.  True: it is the array of readings, and d->at stands behind its
 * '['. */
static bool
outer_value(readings_decoder *d, place *p, bool is_readings)
{
    if (is_readings) {
        d->found = true;
        if (at_char(*p, d->end, '[')) {
            d->at = *p + 1;
            d->state = FIRST;
            return true;
        }
        d->schema = "array_type";
    }
    *p = skip_value(*p, d->end);
    return false;
}

/* Outer members from the name at p on.  READINGS_ITEM: the array of readings has begun. */
static enum readings_next
outer_members(readings_decoder *d, place p)
{
    place end = d->end;

    for (;;) { /* each round takes bytes: ends with the body */
        view   name;
        size_t chars;
        place  from = p;

        if (!at_char(p, end, '"') ||
            (p = string(p + 1, end, d->scratch[SLOT_NAME], &name, &chars)) == NULL)
            return ends(d, from, BROKEN);
        p = skip_spaces(p, end);
        if (!at_char(p, end, ':'))
            return ends(d, p, BROKEN);
        bool is_readings = view_eq(name, VIEW_LIT("readings"));

        if (is_readings && d->found)
            return ends(d, from, BROKEN);
        from = p = skip_spaces(p + 1, end);
        if (outer_value(d, &p, is_readings))
            return READINGS_ITEM;
        if (p == NULL)
            return ends(d, from, BROKEN);
        p = skip_spaces(p, end);
        if (!at_char(p, end, ','))
            break;
        p = skip_spaces(p + 1, end);
    }
    if (!at_char(p, end, '}'))
        return ends(d, p, BROKEN);
    if (!d->found)
        d->schema = "missing";
    return body_ends(d, p + 1);
}

static enum readings_next
body_begins(readings_decoder *d)
{
    place p = skip_spaces(d->at, d->end);

    if (!at_char(p, d->end, '{')) {
        place behind = skip_value(p, d->end);

        d->schema = "object_type";
        return behind == NULL ? ends(d, p, BROKEN) : body_ends(d, behind);
    }
    p = skip_spaces(p + 1, d->end);
    if (at_char(p, d->end, '}')) {
        d->schema = "missing";
        return body_ends(d, p + 1);
    }
    return outer_members(d, p);
}

/* Behind the ']' of the readings. */
static enum readings_next
array_ended(readings_decoder *d, place p)
{
    p = skip_spaces(p, d->end);
    if (at_char(p, d->end, ','))
        return outer_members(d, skip_spaces(p + 1, d->end));
    return at_char(p, d->end, '}') ? body_ends(d, p + 1) : ends(d, p, BROKEN);
}

static enum readings_next
next_line(readings_decoder *d, reading *out)
{
    place p = skip_spaces(d->at, d->end);

    if (p == d->end)
        return ends(d, p, ENDED);
    enum readings_next got = element(d, p, out);

    if (got != READINGS_ITEM)
        return got;
    for (p = d->at; p < d->end && *p != '\n'; p++)
        if (!is_space(*p))
            return ends(d, p, BROKEN);
    d->at = p;
    return READINGS_ITEM;
}

static enum readings_next
next_element(readings_decoder *d, reading *out)
{
    place p = skip_space(d->at, d->end);

    if (UNLIKELY(at_char(p, d->end, ']')))
        return array_ended(d, p + 1);
    if (d->state == MORE) {
        if (UNLIKELY(!at_char(p, d->end, ',')))
            return ends(d, p, BROKEN);
        p = skip_space(p + 1, d->end);
    }
    d->state = MORE;
    return element(d, p, out);
}

static void
start(readings_decoder *d, view body, uint32_t state)
{
    d->at = d->start = body.at;
    d->end = body.at + body.len;
    d->state = state;
    d->left = d->members = 0;
    d->found = false;
    d->schema = NULL;
}

void
readings_json_start(readings_decoder *d, view body)
{
    start(d, body, BEFORE);
}

void
readings_ndjson_start(readings_decoder *d, view body)
{
    start(d, body, LINES);
}

enum readings_next
readings_json_next(readings_decoder *d, reading *out)
{
    if (LIKELY(d->state == MORE || d->state == FIRST))
        return next_element(d, out);
    switch (d->state) {
    case LINES:
        return next_line(d, out);
    case BEFORE: {
        enum readings_next got = body_begins(d);

        return got == READINGS_ITEM ? next_element(d, out) : got;
    }
    default:
        return ends(d, NULL, d->state);
    }
}
