/* registry.h - handlers of rows whose work is one operation of the registry. */
#ifndef HALTLESS_API_REGISTRY_H
#define HALTLESS_API_REGISTRY_H

#include "api/route.h"

/* A whole handler: path parameters, query and body members as one map to the row's operation. */
void registry_route(call *c);
/* The same for GET of a single thing: with a strong ETag; 304 when the client has these bytes. */
void registry_get(call *c);
/* A whole handler for lists: comes again for the rest of a page that is too long for one answer. */
void registry_list(call *c);

/* The second half: a refusal of the registry for a member (422) names the member, as the schema's refusals do. */
void registry_answer(call *c, const ak_msg *reply);

/* The first half, for handlers that add members of their own: opens a map of the request's members and `more` others,
 * which the caller packs next.  Members named password, new_password and current_password are left out. */
void registry_params(const call *c, pack *p, uint32_t more);

/* Places of fields that several nouns' schemas have. */
#define REGISTRY_PAGE_FIELDS                                                                       \
    { "page", FIELD_INTEGER, 0, 1, 1000000000, NULL, NULL, "From 1" },                             \
    { "page_size", FIELD_INTEGER, 0, 1, 100, NULL, NULL, "Items of a page; default 20" }

extern const schema registry_page_schema;

enum { REGISTRY_WITHIN_MS = 5000, REGISTRY_BODY_MAX = 32768 };

#endif
