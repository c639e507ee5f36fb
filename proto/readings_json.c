/* readings_json.c - {"readings":[...]} as JSON, one pass, the hot loop of ingest.
 *
 * Strict RFC 8259 and UTF-8.  What makes it fast:
 *   - strings go 16 or 32 bytes a step; three compares find quotes, backslashes, control
 *     characters and the start of anything that is not ASCII.  Only the last of these, and escapes, take the slow way.
 *   - a member's name is known by a hash of two letters and two 16-byte compares, in any order of
 *     members.
 *   - the judgement (readings.c) comes after the object, in a fixed order that the CPU can foresee.
 *
 * That is for readings that end within a window; what is longer, or stands around the readings, is walked over in
 * bounded steps (readings_walk.c), with the same result.
 *
 * Bounds: `end` is where the body ends.  A step may look at 16 bytes from any p <= end, which the
 * caller provides, but takes nothing from there: whoever moves on compares with `end`.  Functions
 * take p, return where they have come to, NULL for broken syntax.
 */
#include "proto/num_fast.h"
#include "proto/readings_walk.h"

#include <math.h>

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

/* A value that is neither string nor number. */
static __attribute__((noinline)) place
other_value(place p, place end, uint32_t member, fields *f)
{
    place behind = member == MEMBER_VALUE ? infinite_word(p, end) : NULL;

    if (behind != NULL) {
        f->kind[MEMBER_VALUE] = FOUND_DOUBLE;
        f->value = INFINITY;
        return behind;
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
object(readings_decoder *d, place p, place end, fields *f)
{
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

/* One element at p, which ends before `end`.  NULL: broken, or not so. */
static inline place
element(readings_decoder *d, place p, place end, reading *out)
{
    fields f;

    if (UNLIKELY(!at_char(p, end, '{'))) {
        place behind = skip_value(p, end);

        if (behind == NULL || (behind == end && end < d->end)) /* a number may go on */
            return NULL;
        fields_not_object(out);
        return behind;
    }
    fields_init(&f);
    p = object(d, p + 1, end, &f);
    if (LIKELY(p != NULL))
        fields_judge(&f, out);
    return p;
}

/* How far one call may look. */
static inline place
window(const readings_decoder *d)
{
    return (size_t)(d->end - d->at) > d->window ? d->at + d->window : d->end;
}

/* It is broken, or longer than the window: the walk finds out, from where it began. */
static __attribute__((noinline)) enum readings_next
go_slowly(readings_decoder *d, place end, reading *out)
{
    if (end == d->end)
        return ends(d, NULL, BROKEN);
    readings_walk_element(d);
    return readings_walk(d, out);
}

static enum readings_next
next_line(readings_decoder *d, reading *out)
{
    place end = window(d);
    place p = skip_spaces(d->at, end);

    if (p == d->end)
        return ends(d, p, ENDED);
    if (p == end || (p = element(d, p, end, out)) == NULL)
        return go_slowly(d, end, out);
    for (; p < end && *p != '\n'; p++)
        if (!is_space(*p))
            return ends(d, p, BROKEN);
    if (p == end && end < d->end)
        return go_slowly(d, end, out);
    d->at = p;
    return READINGS_ITEM;
}

static enum readings_next
next_element(readings_decoder *d, reading *out)
{
    place end = window(d);
    place p = skip_space(d->at, end);

    if (UNLIKELY(at_char(p, end, ']'))) {
        readings_walk_array_ended(d, p + 1);
        return readings_walk(d, out);
    }
    if (d->state == MORE) {
        if (UNLIKELY(!at_char(p, end, ',')))
            return go_slowly(d, end, out);
        p = skip_space(p + 1, end);
    }
    p = element(d, p, end, out);
    if (UNLIKELY(p == NULL))
        return go_slowly(d, end, out);
    d->at = p;
    d->state = MORE;
    return READINGS_ITEM;
}

static void
start(readings_decoder *d, view body, uint32_t state)
{
    d->at = d->start = body.at;
    d->end = body.at + body.len;
    d->state = state;
    d->left = d->members = 0;
    d->found = false;
    d->walking = false;
    d->schema = NULL;
    d->window = READINGS_WINDOW;
    if (state == BEFORE)
        readings_walk_body(d);
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
    if (UNLIKELY(d->walking)) {
        enum readings_next got = readings_walk(d, out);

        if (got != READINGS_PAUSE || d->walking)
            return got;
    }
    switch (d->state) {
    case FIRST:
    case MORE:
        return next_element(d, out);
    case LINES:
        return next_line(d, out);
    default:
        return ends(d, NULL, d->state);
    }
}
