/* readings.c - the rules of a reading, the same for every encoding, and their texts. */
#include "proto/readings.h"

#include "proto/instant.h"
#include "proto/readings_fields.h"

#include <math.h>

enum { METRIC_CHARS_MAX = 255, UNIT_CHARS_MAX = 64, TAG_CHARS_MAX = 255 };

_Static_assert((int)READINGS_SLOT / 4 > (int)METRIC_CHARS_MAX,
               "what is cut is too long for any field");

static const view error_texts[] = {
    [READING_OK] = { (const uint8_t *)"", 0 },
#define X(CODE, text) [CODE] = { (const uint8_t *)text, sizeof(text) - 1 },
    READING_ERRORS(X)
#undef X
};

static const view member_names[] = {
#define X(MEMBER, name) [MEMBER] = { (const uint8_t *)name, sizeof(name) - 1 },
    READING_MEMBERS(X)
#undef X
};

static size_t
append(char *out, size_t room, size_t at, view text)
{
    size_t len = text.len < room - at ? text.len : room - at;

    if (len > 0)
        memcpy(out + at, text.at, len);
    return at + len;
}

size_t
reading_error_text(enum reading_error code, view member, char *out, size_t room)
{
    ASSERT((size_t)code < COUNT_OF(error_texts));
    view           text = error_texts[code];
    const uint8_t *hole = memchr(text.at, '%', text.len);

    if (hole == NULL)
        return append(out, room, 0, text);
    size_t before = (size_t)(hole - text.at);
    size_t len = append(out, room, 0, view_of(text.at, before));

    len = append(out, room, len, member);
    return append(out, room, len, view_of(hole + 2, text.len - before - 2));
}

const char *
readings_schema_type(const readings_decoder *d)
{
    return d->schema;
}

size_t
readings_offset(const readings_decoder *d)
{
    return (size_t)(d->at - d->start);
}

/* clang-format off */
/* Head and tail disagree on byte 8: no name matches. */
#define ROW_NONE { .head = { [8] = 1 }, .mask = UINT32_MAX }

const fields_row fields_rows[FIELDS_ROWS] = {
    [FIELDS_HASH('m', 'a')] = { "machine_identifi", "identifier", 0x03ffffff, 18, MEMBER_MACHINE },
    [FIELDS_HASH('t', 'i')] = { "timestamp", "", 0x1ff, 9, MEMBER_TIME },
    [FIELDS_HASH('m', 'e')] = { "metric_name", "", 0x7ff, 11, MEMBER_METRIC },
    [FIELDS_HASH('v', 'a')] = { "value", "", 0x1f, 5, MEMBER_VALUE },
    [FIELDS_HASH('u', 'n')] = { "unit", "", 0xf, 4, MEMBER_UNIT },
    [FIELDS_HASH('r', 'a')] = { "raw_tag", "", 0x7f, 7, MEMBER_TAG },
    [2] = ROW_NONE,
    [6] = ROW_NONE,
};
/* clang-format on */

uint32_t
fields_member(view name)
{
    for (uint32_t i = 0; i < MEMBER_COUNT; i++)
        if (view_eq(name, member_names[i]))
            return i;
    return MEMBER_UNKNOWN;
}

static inline bool
is_tail(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

size_t
fields_utf8_len(const uint8_t *p, const uint8_t *end)
{
    size_t  room = (size_t)(end - p);
    uint8_t c = p[0];

    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4 || room < 2 || !is_tail(p[1]))
        return 0;
    if (c < 0xe0)
        return 2;
    if (room < 3 || !is_tail(p[2]) || (c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f))
        return 0;
    if (c < 0xf0)
        return 3;
    if (room < 4 || !is_tail(p[3]) || (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return 4;
}

static inline void
fault(reading *out, enum reading_error code)
{
    if (out->error == READING_OK)
        out->error = code;
}

/* An identifier is said again in the answer, and none is as long as a slot: it is cut there, before a character. */
static inline view
cut(view text)
{
    if (UNLIKELY(text.len > READINGS_SLOT))
        for (text.len = READINGS_SLOT; is_tail(text.at[text.len]); text.len--)
            ;
    return text;
}

static inline void
judge_machine(const fields *f, reading *out)
{
    if (LIKELY(f->kind[MEMBER_MACHINE] == FOUND_TEXT))
        out->machine = cut(f->text[MEMBER_MACHINE]);
    else
        fault(out, f->kind[MEMBER_MACHINE] == FOUND_NONE ? READING_MACHINE_MISSING
                                                         : READING_MACHINE_TYPE);
}

static inline void
judge_time(const fields *f, reading *out)
{
    switch (f->kind[MEMBER_TIME]) {
    case FOUND_TEXT:
        if (!instant_parse(f->text[MEMBER_TIME], &out->time_us))
            fault(out, READING_TIME_FORMAT);
        break;
    case FOUND_INSTANT:
        out->time_us = f->time_us;
        break;
    case FOUND_NO_INSTANT:
        fault(out, READING_TIME_FORMAT);
        break;
    case FOUND_NONE:
        fault(out, READING_TIME_MISSING);
        break;
    default:
        fault(out, READING_TIME_TYPE);
    }
}

static inline void
judge_metric(const fields *f, reading *out)
{
    if (f->kind[MEMBER_METRIC] != FOUND_TEXT)
        fault(out, f->kind[MEMBER_METRIC] == FOUND_NONE ? READING_METRIC_MISSING
                                                        : READING_METRIC_TYPE);
    else if (f->chars[MEMBER_METRIC] - 1 >= METRIC_CHARS_MAX)
        fault(out, READING_METRIC_LEN);
    else
        out->metric = f->text[MEMBER_METRIC];
}

static inline void
judge_value(const fields *f, reading *out)
{
    if (f->kind[MEMBER_VALUE] != FOUND_DOUBLE)
        fault(out,
              f->kind[MEMBER_VALUE] == FOUND_NONE ? READING_VALUE_MISSING : READING_VALUE_TYPE);
    else if (!isfinite(f->value))
        fault(out, READING_VALUE_FINITE);
    else
        out->value = f->value;
}

static inline void
judge_unit(const fields *f, reading *out)
{
    if (f->kind[MEMBER_UNIT] != FOUND_TEXT)
        fault(out, f->kind[MEMBER_UNIT] == FOUND_NONE ? READING_UNIT_MISSING : READING_UNIT_TYPE);
    else if (f->chars[MEMBER_UNIT] > UNIT_CHARS_MAX)
        fault(out, READING_UNIT_LEN);
    else
        out->unit = f->text[MEMBER_UNIT];
}

static inline void
judge_tag(const fields *f, reading *out)
{
    if (f->kind[MEMBER_TAG] == FOUND_NONE)
        return;
    if (f->kind[MEMBER_TAG] != FOUND_TEXT)
        fault(out, READING_TAG_TYPE);
    else if (f->chars[MEMBER_TAG] > TAG_CHARS_MAX)
        fault(out, READING_TAG_LEN);
}

void
fields_judge(const fields *f, reading *out)
{
    memset(out, 0, sizeof *out);
    if (UNLIKELY(f->duplicate != MEMBER_UNKNOWN)) {
        out->error = READING_DUPLICATE;
        out->member = member_names[f->duplicate];
    }
    judge_machine(f, out);
    judge_time(f, out);
    judge_metric(f, out);
    judge_value(f, out);
    judge_unit(f, out);
    judge_tag(f, out);
}

void
fields_not_object(reading *out)
{
    memset(out, 0, sizeof *out);
    out->error = READING_NOT_OBJECT;
}
