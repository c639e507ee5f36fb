/* route.h - a REST endpoint is one row; what a handler sees of a request.
 *
 * Before a handler runs, generic code has matched the row, bounded the body, authenticated, checked role or
 * scope, parsed and validated query and body against the row's schemas, and bound the tenant.  A handler turns
 * parameters into one ask and names the function that turns the reply into an answer.
 *
 * Each noun's file owns its rows (`machines_routes`, ended by { 0 }); routes.c is the list of those lists.
 */
#ifndef HALTLESS_API_ROUTE_H
#define HALTLESS_API_ROUTE_H

#include "actors/ak.h"
#include "actors/options.h"
#include "proto/json.h"
#include "proto/pack.h"
#include "proto/reg_ops.h"
#include "proto/schema.h"
#include "transport/board.h"

typedef struct call call; /* one request under way; lives in the request's pool, may outlive the client */
typedef void route_fn(call *c);

enum method { GET = 1, POST, PUT, PATCH, DELETE_, METHODS };

/* route.who: least role in the low bits, scopes that also open it above them. */
#define WHO_OPEN     0u /* no credentials looked at */
#define WHO_VIEWER   1u
#define WHO_OPERATOR 2u
#define WHO_ADMIN    3u
#define WHO_NOBODY   7u /* only by scope */
#define WHO_ROLE(w)  ((w) & 7u)
#define WHO_SCOPE(s) ((uint32_t)(s) << 8) /* API keys with this scope too */

typedef struct route {
    uint8_t       method;
    uint16_t      status;    /* of success */
    uint32_t      who;
    uint32_t      body_max;  /* bytes; 0: takes no body */
    uint32_t      within_ms; /* for the asks it makes */
    const char   *path;      /* below /api/v1 unless it starts with '!'; {name} binds one segment */
    const schema *query;
    const schema *body; /* NULL with body_max: the handler reads the bytes itself */
    route_fn     *fn;
    uint16_t      op; /* the registry's operation, when that is all it does (api/registry.h) */
    const char   *brief; /* goes into the API description as it stands */
} route;

/* Who asks, after authentication. */
typedef struct caller {
    uint32_t tenant;
    uint32_t user; /* 0 for an API key */
    uint32_t key;  /* 0 for a user */
    uint32_t scopes;
    uint16_t role; /* ROLE_NONE for a key */
    uuid     tenant_id;
    uuid     user_id;
    uuid     jti;
    int64_t  expires_us; /* of the token or key; 0: never */
} caller;

ak           *call_ak(const call *c);
const route  *call_route(const call *c);
const caller *call_who(const call *c);
const options *call_options(const call *c);
board        *call_board(const call *c);
view          call_param(const call *c, const char *name); /* {name} of the path; decoded */
bool          call_param_uuid(const call *c, const char *name, uuid *out);
const cJSON  *call_query(const call *c); /* object of the row's query schema; NULL when the row has none */
const cJSON  *call_body(const call *c);  /* validated object */
view          call_bytes(const call *c); /* the raw body (inflated) */
view          call_header(const call *c, const char *lower_case_name); /* empty: none */
view          call_cookie(const call *c, const char *name);
view          call_address(const call *c); /* of the client, text */
void         *call_alloc(call *c, size_t len); /* zeroed, gone with the request */
/* A per-request pointer of the handler's own, and what frees it when the call ends, however it ends. */
void          call_keep(call *c, void *state, void (*drop)(void *state));
void         *call_kept(const call *c);

/* ---- answering: exactly once ---- */
json_out *call_json(call *c);                   /* an empty buffer of the front, for call_send_json */
void call_send_json(call *c, uint16_t status);  /* what was written to call_json() */
void call_send_empty(call *c, uint16_t status); /* 204 */
void call_fail(call *c, uint16_t status, const char *detail); /* {"detail": ...} (or problem+json) */
void call_fail_fields(call *c, json_out *faults);             /* 422 with its items */
void call_fail_field(call *c, const char *where, const char *field, const char *msg, const char *type); /* 422, one item */
void call_add_header(call *c, const char *name, view value); /* before answering; copied */

/* ---- streaming ---- */
void call_stream_begin(call *c, uint16_t status, const char *content_type);
/* Copies.  False: the client is slow; then() of call_stream_then is called once when more may come. */
bool call_stream(call *c, view bytes);
void call_stream_end(call *c);
void call_stream_abort(call *c); /* broken off: the client sees an incomplete answer */
void call_stream_drained(call *c, route_fn *then);

/* ---- asking: `then` runs with the reply; NULL reply never: a failed or late ask has been answered with 503 ----
 * For streamed replies `then` runs for every part (m->flags & ENV_MORE) and the end. */
typedef void call_then(call *c, const ak_msg *reply);
void call_ask(call *c, addr to, uint16_t type, const void *body, uint32_t len, call_then *then);
void call_ask_stream(call *c, addr to, uint16_t type, const void *body, uint32_t len, uint32_t window, call_then *then);
/* Asks the registry on behalf of the caller; params: a MessagePack map. */
void call_registry(call *c, uint16_t op, view params, call_then *then);
/* Head and MessagePack value of a reply; false (and answered 503) when malformed. */
bool call_reg_reply(call *c, const ak_msg *reply, reg_done *head, view *value);

/* The reply of the registry as the answer: detail for >= 400, JSON otherwise; 204 without a body. */
void route_registry_answer(call *c, const ak_msg *reply);

extern const route *const all_routes[]; /* the list of the lists, ended by NULL */

#endif
