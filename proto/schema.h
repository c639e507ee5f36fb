/* schema.h - tables that say what a body or a query string may hold; one walk finds every fault.
 *
 * The same rows make the 422 answers and the OpenAPI document.
 */
#ifndef HALTLESS_PROTO_SCHEMA_H
#define HALTLESS_PROTO_SCHEMA_H

#include "proto/base.h"
#include "proto/json.h"

typedef enum field_type {
    FIELD_END,
    FIELD_STRING,  /* min, max: characters (code points) */
    FIELD_NUMBER,  /* min, max: value (when min < max); always finite */
    FIELD_INTEGER,
    FIELD_BOOLEAN,
    FIELD_UUID,
    FIELD_TIME,    /* RFC 3339 */
    FIELD_EMAIL,
    FIELD_ENUM,    /* words: "a|b|c" */
    FIELD_ARRAY,   /* min, max: items; of: one row for each item */
    FIELD_OBJECT,  /* of: the member rows, or NULL for any */
    FIELD_ANY,
} field_type;

enum field_flags { FIELD_REQUIRED = 1, FIELD_NULL = 2 /* null is allowed */ };

typedef struct field {
    const char         *name;
    field_type          type;
    uint32_t            flags;
    double              min;
    double              max;
    const char         *words;
    const struct field *of;
    const char         *brief;
} field; /* a table ends with { 0 } */

typedef struct schema {
    const char  *name; /* "MachineCreate": its name in the OpenAPI document */
    const field *fields;
} schema;

/* Appends {"loc":[...],"msg":...,"type":...} items to `faults` (an open JSON array).  Returns how many. */
uint32_t schema_check(const schema *s, const cJSON *body, json_out *faults);

/* A query string (raw, percent-encoded) as an object of the schema's types: strings become numbers, booleans, ...
 * where a row says so; an ARRAY row takes repeats and comma-separated values.  Faults have loc ["query", name].
 * NULL on a malformed encoding. Unknown names are ignored. */
cJSON *schema_query(const schema *s, view query_string, json_out *faults, uint32_t *fault_count);

#endif
