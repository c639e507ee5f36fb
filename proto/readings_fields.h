/* readings_fields.h - what the two ingest decoders share: the members of a reading as they were
 * found, and the judgement of them (readings.c).  Nobody else's business.
 */
#ifndef HALTLESS_PROTO_READINGS_FIELDS_H
#define HALTLESS_PROTO_READINGS_FIELDS_H

#include "proto/readings.h"

#include <emmintrin.h>

/* X(MEMBER, "name"), in the order of READING_ERRORS. */
#define READING_MEMBERS(X)                                                                         \
    X(MEMBER_MACHINE, "machine_identifier")                                                        \
    X(MEMBER_TIME, "timestamp")                                                                    \
    X(MEMBER_METRIC, "metric_name")                                                                \
    X(MEMBER_VALUE, "value")                                                                       \
    X(MEMBER_UNIT, "unit")                                                                         \
    X(MEMBER_TAG, "raw_tag")

enum {
#define X(MEMBER, name) MEMBER,
    READING_MEMBERS(X)
#undef X
    MEMBER_COUNT,
    MEMBER_UNKNOWN = MEMBER_COUNT,
};

enum found { FOUND_NONE, FOUND_TEXT, FOUND_DOUBLE, FOUND_INSTANT, FOUND_NO_INSTANT, FOUND_OTHER };

/* READINGS_SLOTS: one for each text member, one for a member's name that has escapes. */
enum { SLOT_NAME = MEMBER_VALUE };
_Static_assert((int)MEMBER_COUNT == (int)READINGS_SLOTS, "value needs no slot, names have it");

typedef struct fields {
    uint8_t kind[8]; /* enum found by member */
    view    text[MEMBER_COUNT];
    size_t  chars[MEMBER_COUNT]; /* code points, also those that a slot had no room for */
    double  value;
    int64_t time_us;
    uint8_t duplicate; /* the first member that came twice; MEMBER_UNKNOWN: none */
} fields;

static inline void
fields_init(fields *f)
{
    memset(f->kind, FOUND_NONE, sizeof f->kind);
    f->duplicate = MEMBER_UNKNOWN;
}

/* Names by a hash of their first two letters.  A name is compared in two steps of 16 bytes:
 *
 *   machine_identifier
 *   |--- head 16 --|
 *           |--- tail 16 --|       mask: which of the 32 bytes count
 */
typedef struct fields_row {
    uint8_t  head[16];
    uint8_t  tail[16];
    uint32_t mask;
    uint8_t  len;
    uint8_t  member;
} fields_row;

enum { FIELDS_ROWS = 8, FIELDS_LOOKAHEAD = 24 };
#define FIELDS_HASH(a, b) (((uint32_t)(a) + 7u * (uint32_t)(b)) % FIELDS_ROWS)

extern const fields_row fields_rows[FIELDS_ROWS];

/* The member whose name the bytes at p begin with, NULL when none.  Looks at FIELDS_LOOKAHEAD
 * bytes. */
static inline const fields_row *
fields_row_at(const uint8_t *p)
{
    const fields_row *row = &fields_rows[FIELDS_HASH(p[0], p[1])];
    __m128i           head = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i           tail = _mm_loadu_si128((const __m128i *)(const void *)(p + 8));

    head = _mm_cmpeq_epi8(head, _mm_loadu_si128((const __m128i *)(const void *)row->head));
    tail = _mm_cmpeq_epi8(tail, _mm_loadu_si128((const __m128i *)(const void *)row->tail));
    uint32_t equal = (uint32_t)_mm_movemask_epi8(head) | (uint32_t)_mm_movemask_epi8(tail) << 16;

    return LIKELY((equal & row->mask) == row->mask) ? row : NULL;
}

uint32_t fields_member(view name); /* MEMBER_UNKNOWN when it is none of ours */
void     fields_judge(const fields *f, reading *out);
void     fields_not_object(reading *out);
/* The bytes of the UTF-8 character at p, 0 when it is none (RFC 3629: no surrogates, nothing
 * overlong). */
size_t fields_utf8_len(const uint8_t *p, const uint8_t *end);

#endif
