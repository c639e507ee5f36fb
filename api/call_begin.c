/* call_begin.c - a request arrives: named, matched, admitted, its query and body taken, handed to its route.
 *
 *   id -> route (404, 405) -> who and how often (401, 403, 429) -> query (422) -> body (413, 415, 400, 422) -> handler
 *                                                                  \ compressed: inflated by a helper first
 */
#include "api/auth.h"
#include "api/inflate.h"
#include "proto/err.h"
#include "transport/trail.h"
#include "proto/hash.h"

#include <stdio.h>
#include <stdlib.h>

enum { EMAIL_MAX = 320 };

static bool
is_sane_id(view id)
{
    if (id.len == 0 || id.len > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.at[i] <= ' ' || id.at[i] > '~')
            return false;
    return true;
}

static void
name_request(call *c)
{
    static const char digits[] = "0123456789abcdef";
    view              given = http_header(c->x, "x-request-id");

    if (is_sane_id(given)) {
        memcpy(c->request_id, given.at, given.len);
        c->request_id_len = (uint8_t)given.len;
        c->trace = trail_id(given);
        ak_trace(c->f->k, c->trace);
        return;
    }
    c->trace = max_u64(ak_random(c->f->k), 1);
    ak_trace(c->f->k, c->trace);
    for (int i = 0; i < 16; i++)
        c->request_id[i] = digits[c->trace >> (60 - 4 * i) & 15];
    c->request_id_len = 16;
}

static void
add_number_header(call *c, const char *name, uint64_t v)
{
    char text[24];
    int  n = snprintf(text, sizeof text, "%llu", (unsigned long long)v);

    http_add_header(c->x, name, view_of(text, (size_t)n));
}

/* What fired, in words. */
static const struct {
    const char *unit;
    const char *whose;
    bool        shown; /* in the headers of every answer */
} limit_words[] = {
    [LIMIT_TENANT] = { "requests per minute", "", true },
    [LIMIT_ADDRESS] = { "requests per minute", " per address", false },
    [LIMIT_ACCOUNT] = { "requests per minute", " per account", false },
    [LIMIT_FAILED] = { "failed log-ins per minute", "", false },
    [LIMIT_READINGS] = { "readings per second", "", true },
};

bool
call_within_limit(call *c, enum limits_what what, uint64_t key, limits_rate rate, uint64_t n)
{
    limits_state s;
    bool         ok = limits_take(c->f->limits, what, key, rate, n, front_now_ns(), &s);
    char         detail[96];

    if (s.limit == 0 || c->x == NULL)
        return true;
    if ((limit_words[what].shown && n > 0) || !ok) {
        add_number_header(c, "X-RateLimit-Limit", s.limit);
        add_number_header(c, "X-RateLimit-Remaining", s.remaining);
    }
    if (ok)
        return true;
    add_number_header(c, "Retry-After", max_u64(s.retry_s, 1));
    add_number_header(c, "X-RateLimit-Reset", (uint64_t)(front_wall_us() / 1000000) + s.reset_s);
    snprintf(detail, sizeof detail, "Rate limit exceeded: %llu %s%s.", (unsigned long long)s.limit,
             limit_words[what].unit, limit_words[what].whose);
    call_fail(c, 429, detail);
    return false;
}

uint64_t
call_address_key(const call *c)
{
    view address = call_address(c);

    return hash64(0, address.at, address.len);
}

uint64_t
call_account_key(const char *email)
{
    char   lower[EMAIL_MAX];
    size_t n = 0;

    for (; email[n] != '\0' && n < sizeof lower; n++)
        lower[n] = email[n] >= 'A' && email[n] <= 'Z' ? (char)(email[n] | 0x20) : email[n];
    return hash64(1, lower, n);
}

static uint64_t
tier_limit(const options *o, uint8_t tier)
{
    return tier == TIER_FREE  ? o->limits_rate_free
           : tier == TIER_PRO ? o->limits_rate_pro
                              : o->limits_rate_enterprise;
}

/* False: answered. */
static bool
admit(call *c)
{
    auth_verdict v;

    if (WHO_ROLE(c->route->who) == WHO_OPEN) {
        if (c->route->method == GET || c->f->options->limits_rate_open == 0)
            return true;
        return call_within_limit(c, LIMIT_ADDRESS, call_address_key(c),
                                 limits_a_minute(c->f->options->limits_rate_open), 1);
    }
    v = auth_request(c->f, c->x, &c->who);
    if (v.status == 0) {
        /* Readings are counted apart, not as requests. */
        if (WHO_ROLE(c->route->who) != WHO_NOBODY &&
            !call_within_limit(c, LIMIT_TENANT, c->who.tenant,
                               limits_a_minute(tier_limit(c->f->options, v.tier)), 1))
            return false;
        v = auth_allows(c->route->who, &c->who);
    }
    if (v.status != 0)
        call_fail(c, v.status, v.detail);
    return v.status == 0;
}

static bool
take_query(call *c)
{
    json_out *faults = &c->f->faults;
    uint32_t  count = 0;

    if (c->route->query == NULL)
        return true;
    json_reset(faults);
    json_open(faults, '[');
    c->query = schema_query(c->route->query, c->x->query, faults, &count);
    if (c->query == NULL && count == 0) {
        call_fail(c, 400, "Query string is not valid.");
        return false;
    }
    if (count > 0)
        call_fail_fields(c, faults);
    return count == 0;
}

static void have_bytes(call *c);

/* False: answered, or under way. */
static bool
take_bytes(call *c)
{
    view         coding = http_header(c->x, "content-encoding");
    size_t       most = (size_t)min_u64(c->route->body_max, c->f->options->limits_body_bytes);
    squeeze_kind kind;

    if (c->route->body_max == 0)
        return true;
    c->bytes = c->x->body;
    if (c->bytes.len > most) {
        call_fail(c, 413, "Request body is too large.");
        return false;
    }
    if (coding.len == 0 || view_eq(coding, VIEW_LIT("identity")))
        return true;
    if (squeeze_kind_of(coding, &kind))
        inflate_start(c, kind, most, have_bytes);
    else
        call_fail(c, 415, "Content encoding is not supported.");
    return false;
}

static bool
is_json_type(view type)
{
    return type.len == 0 || call_type_is(type, "application/json");
}

static bool
within_account_limit(call *c)
{
    const cJSON *email = cJSON_GetObjectItemCaseSensitive(c->body, "email");

    if (WHO_ROLE(c->route->who) != WHO_OPEN || !cJSON_IsString(email))
        return true;
    return call_within_limit(c, LIMIT_ACCOUNT, call_account_key(email->valuestring),
                             limits_a_minute(c->f->options->limits_rate_open), 1);
}

static bool
take_body(call *c)
{
    json_out *faults = &c->f->faults;

    if (c->route->body == NULL)
        return true;
    if (!is_json_type(http_header(c->x, "content-type"))) {
        call_fail(c, 415, "Content type must be application/json.");
        return false;
    }
    c->body = json_parse(c->bytes);
    if (c->body == NULL) {
        call_fail(c, 400, "Request body is not valid JSON.");
        return false;
    }
    json_reset(faults);
    json_open(faults, '[');
    if (schema_check(c->route->body, c->body, faults) > 0) {
        call_fail_fields(c, faults);
        return false;
    }
    return within_account_limit(c);
}

static void
have_bytes(call *c)
{
    if (take_body(c))
        c->route->fn(c);
}

static void
answer_options(call *c, const char *allow)
{
    http_add_header(c->x, "Allow", view_str(allow));
    if (call_origin_allowed(c, http_header(c->x, "origin"))) {
        http_add_header(c->x, "Access-Control-Allow-Methods", view_str(allow));
        http_add_static(c->x, "Access-Control-Allow-Headers",
                        "Authorization, Content-Type, X-API-Key, X-Request-Id");
        http_add_static(c->x, "Access-Control-Max-Age", "600");
    }
    call_send_empty(c, 204);
}

static bool
below_api(view *path)
{
    static const char prefix[] = "/api/v1/";

    if (path->len < sizeof prefix - 1 || memcmp(path->at, prefix, sizeof prefix - 1) != 0)
        return false;
    *path = view_of(path->at + sizeof prefix - 2, path->len - (sizeof prefix - 2));
    return true;
}

/* False: answered (404, 405, OPTIONS). */
static bool
match(call *c)
{
    view         path = c->x->path;
    bool         outside = !below_api(&path);
    routes_match m;

    if (view_eq(c->x->method, VIEW_LIT("OPTIONS")) && view_eq(path, VIEW_LIT("/*"))) { /* H2O puts the slash there */
        answer_options(c, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"); /* of the server as a whole */
        return false;
    }
    routes_find(outside, path, c->x->is_head ? VIEW_LIT("GET") : c->x->method, &m);
    if (m.row == NULL && m.allow[0] == '\0') {
        call_fail(c, 404, "Not found.");
    } else if (m.row == NULL && view_eq(c->x->method, VIEW_LIT("OPTIONS"))) {
        answer_options(c, m.allow);
    } else if (m.row == NULL) {
        http_add_header(c->x, "Allow", view_str(m.allow));
        call_fail(c, 405, "Method not allowed.");
    }
    if (m.row == NULL)
        return false;
    c->route = m.row;
    c->param_count = m.param_count;
    memcpy(c->param_names, m.names, sizeof m.names);
    memcpy(c->params, m.params, sizeof m.params);
    return true;
}

void
call_begin(front *f, exchange *x)
{
    call *c = call_new(f, x);

    name_request(c);
    if (f->stopping) {
        call_unavailable(c, KIND_FRONT, E_GONE);
        return;
    }
    if (match(c) && admit(c) && take_query(c) && take_bytes(c))
        have_bytes(c);
}
