/* describe.h - what the API description says beyond the rows: bodies of answers, and of requests
 * that a handler reads itself. */
#ifndef HALTLESS_API_DESCRIBE_H
#define HALTLESS_API_DESCRIBE_H

#include "api/route.h"

/* More of one row.  A row without one has no described body. */
typedef struct description {
    uint8_t       method;
    const char   *path;
    const schema *answer;
    const schema *request;     /* of a row without a body schema */
    const char   *media_types; /* of `request`: "a|b"; NULL: application/json */
} description;

extern const description   descriptions[];      /* ended by { 0 } */
extern const schema *const described_objects[]; /* what answers hold; ended by NULL */

/* The document, made once a process; the same bytes always.  E_EXISTS: two schemas of one name. */
NODISCARD int describe_build(void);
view          describe_document(void);

#endif
