/* readings.h - the ingest decoders: one pass over a request body, reading by reading.
 *
 * A pull parser: no allocation, bounded time a call, may be left and resumed between readings (long bodies
 * are decoded in slices).  Strings are views into the body or, when they had escapes, into the decoder's scratch
 * (valid until the next call).  A bad reading is an outcome with its exact text; only broken syntax ends it.
 */
#ifndef HALTLESS_PROTO_READINGS_H
#define HALTLESS_PROTO_READINGS_H

#include "proto/base.h"

/* X(CODE, "text inside the 207"), in the order of the fields: the first failing one is reported.
 * READING_UNKNOWN_MACHINE, _FUTURE and _OLD are the front's to find (it knows machines and the clock). */
#define READING_ERRORS(X)                                                                          \
    X(READING_NOT_OBJECT, "Reading must be an object")                                             \
    X(READING_DUPLICATE, "Duplicate member: %s")                                                   \
    X(READING_MACHINE_MISSING, "Machine identifier is required")                                   \
    X(READING_MACHINE_TYPE, "Machine identifier must be a string")                                 \
    X(READING_UNKNOWN_MACHINE, "Machine not found")                                                \
    X(READING_TIME_MISSING, "Timestamp is required")                                               \
    X(READING_TIME_TYPE, "Timestamp must be a string")                                             \
    X(READING_TIME_FORMAT, "Timestamp is not RFC 3339")                                            \
    X(READING_TIME_FUTURE, "Timestamp is more than 5 minutes in the future")                       \
    X(READING_TIME_OLD, "Timestamp is older than 3650 days")                                       \
    X(READING_METRIC_MISSING, "Metric name is required")                                           \
    X(READING_METRIC_TYPE, "Metric name must be a string")                                         \
    X(READING_METRIC_LEN, "Metric name must have 1 to 255 characters")                             \
    X(READING_VALUE_MISSING, "Value is required")                                                  \
    X(READING_VALUE_FINITE, "Value must be finite")                                                \
    X(READING_VALUE_TYPE, "Value must be a number")                                                \
    X(READING_UNIT_MISSING, "Unit is required")                                                    \
    X(READING_UNIT_TYPE, "Unit must be a string")                                                  \
    X(READING_UNIT_LEN, "Unit must have at most 64 characters")                                    \
    X(READING_TAG_TYPE, "Raw tag must be a string")                                                \
    X(READING_TAG_LEN, "Raw tag must have at most 255 characters")

enum reading_error {
    READING_OK,
#define X(CODE, text) CODE,
    READING_ERRORS(X)
#undef X
};

/* The text; `member` fills the %s of READING_DUPLICATE.  Returns the length written (cut at room). */
size_t reading_error_text(enum reading_error code, view member, char *out, size_t room);

/* One reading as found.  What is good is filled in, also when `error` is set; what is missing or bad is empty
 * or 0.  `error` is the first in the table's order that a decoder can see, so the front's own findings win by
 * order:
 *     if (r.error == READING_OK || r.error > READING_UNKNOWN_MACHINE) look the machine up;
 *     if (r.error == READING_OK || r.error > READING_TIME_FUTURE)     look at the clock. */
typedef struct reading {
    enum reading_error error;
    view    machine; /* any string; its first READINGS_SLOT bytes, about */
    view    metric;
    view    unit;
    view    member; /* READING_DUPLICATE: which */
    int64_t time_us;
    double  value;
} reading;

/* READINGS_PAUSE: nothing yet; a bounded part of something long was walked over.  Call again. */
enum readings_next { READINGS_PAUSE = 2, READINGS_ITEM = 1, READINGS_END = 0, READINGS_SYNTAX = -1, READINGS_SCHEMA = -2 };

enum {
    READINGS_SLOT = 1280, /* holds 255 characters of any string */
    READINGS_SLOTS = 6,
    READINGS_WINDOW = 8 << 10,  /* bytes that one call may walk over */
    READINGS_WALK = 160,        /* words of state of a walk over what is longer */
};

typedef struct readings_decoder {
    const uint8_t *at; /* private from here on, but `walking`: it still refers to bytes far behind */
    const uint8_t *end;
    const uint8_t *start;
    uint32_t       state;
    uint32_t       left;    /* MessagePack: readings to come */
    uint32_t       members; /* MessagePack: members of the outer object to come */
    uint32_t       window;  /* READINGS_WINDOW; tests have it smaller */
    bool           found;   /* there was a member `readings` */
    bool           walking; /* something longer than the window is walked over, or something beside the readings */
    const char    *schema;  /* the fault of READINGS_SCHEMA */
    uint64_t       walk[READINGS_WALK];
    uint8_t        scratch[READINGS_SLOTS][READINGS_SLOT];
} readings_decoder;

/* JSON: {"readings":[...]}.  `body` needs 16 readable bytes behind its end (any content).  Nothing is to be kept
 * of a body before READINGS_END was returned: a syntax error may come last.  The last three results repeat. */
void readings_json_start(readings_decoder *d, view body);
/* JSON lines: a reading a line, for readings_json_next too; empty lines are skipped. */
void readings_ndjson_start(readings_decoder *d, view body);
enum readings_next readings_json_next(readings_decoder *d, reading *out);
/* The same object in MessagePack; a timestamp may also be its timestamp extension.  Needs nothing behind it. */
void readings_msgpack_start(readings_decoder *d, view body);
enum readings_next readings_msgpack_next(readings_decoder *d, reading *out);
/* READINGS_SCHEMA: why (for a 422): "missing" or "array_type" or "object_type". */
const char *readings_schema_type(const readings_decoder *d);
/* Byte offset the decoder has come to: for slices and for the 400's text. */
size_t readings_offset(const readings_decoder *d);

#endif
