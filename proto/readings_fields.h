/* readings_fields.h - what the two ingest decoders share: the members of a reading as they were found, and the
 * judgement of them (readings.c).  Nobody else's business.
 */
#ifndef HALTLESS_PROTO_READINGS_FIELDS_H
#define HALTLESS_PROTO_READINGS_FIELDS_H

#include "proto/readings.h"

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
    size_t  chars[MEMBER_COUNT]; /* code points; more than the text shows when it was cut to its slot */
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

uint32_t fields_member(view name); /* MEMBER_UNKNOWN when it is none of ours */
void     fields_judge(const fields *f, reading *out);
void     fields_not_object(reading *out);
/* The bytes of the UTF-8 character at p, 0 when it is none (RFC 3629: no surrogates, nothing overlong). */
size_t fields_utf8_len(const uint8_t *p, const uint8_t *end);

#endif
