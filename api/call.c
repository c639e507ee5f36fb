/* call.c - one request under way: what handlers see of it (route.h), and how it lives.
 *
 *   exchange (H2O's)  <-->  call  <-->  asks under way
 *
 *   call_begin.c   how it arrives: limits, who, query, body, and the route that fits
 *   call_ask.c     what it asks of other actors
 *
 * A call is gone when its exchange is gone and its last ask has ended: a reply may come after the
 * client has left, and is dropped then.  Streamed asks are cancelled when the client leaves.
 */
#include "api/front.h"
#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { WITHIN_MS = 5000, ARENA_CHUNK = 4096, TAKEN_FROM = 64 << 10 };
#define NS_PER_MS    UINT64_C(1000000)
#define JSON_TYPE    "application/json"
#define PROBLEM_TYPE "application/problem+json"

struct arena_chunk {
    arena_chunk *next;
    size_t       used;
    size_t       room;
    _Alignas(16) uint8_t bytes[];
};

uint64_t
front_now_ns(void)
{
    return the_world->now_ns();
}

int64_t
front_wall_us(void)
{
    return the_world->wall_us();
}

/* ---- life ---- */

static void
call_free(call *c)
{
    front *f = c->f;

    if (c->drop != NULL)
        c->drop(c->kept);
    cJSON_Delete(c->query);
    cJSON_Delete(c->body);
    free(c->inflated);
    for (arena_chunk *a = c->arena, *next; a != NULL; a = next) {
        next = a->next;
        free(a);
    }
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        f->calls = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    f->calls_under_way--;
    c->next = f->free_calls;
    f->free_calls = c;
}

void
call_free_if_over(call *c)
{
    if (c->x == NULL && c->asks == NULL && !c->helped)
        call_free(c);
}

/* The exchange is gone: all was sent, or the client left. */
static void
on_gone(void *owner)
{
    call *c = owner;
    ask  *next;

    c->x = NULL;
    for (ask *a = c->asks; a != NULL; a = next) {
        next = a->next;
        if (!a->stream || a->corr == 0)
            continue;
        ak_cancel(c->f->k, a->corr);
        call_unexpect(a);
    }
    call_free_if_over(c);
}

call *
call_new(front *f, exchange *x)
{
    call *c = f->free_calls;

    if (c != NULL)
        f->free_calls = c->next;
    else
        c = malloc(sizeof *c);
    ASSERT(c != NULL);
    memset(c, 0, offsetof(call, request_id));
    c->f = f;
    c->next = f->calls;
    if (f->calls != NULL)
        f->calls->prev = c;
    f->calls = c;
    f->calls_under_way++;
    c->x = x;
    c->began_ns = front_now_ns();
    x->owner = c;
    x->gone = on_gone;
    return c;
}

static void
on_drained(void *owner)
{
    call     *c = owner;
    route_fn *then = c->drained;

    c->drained = NULL;
    if (then != NULL)
        then(c);
}

void
call_release_all(front *f)
{
    for (call *c = f->free_calls, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    call_release_asks(f);
    f->free_calls = NULL;
}

void
call_end_all(front *f)
{
    for (call *c = f->calls; c != NULL; c = c->next)
        if (c->x != NULL && !c->answered)
            call_unavailable(c, addr_kind(ak_self(f->k)), E_GONE);
}

/* ---- what a handler sees ---- */

ak *
call_ak(const call *c)
{
    return c->f->k;
}

const route *
call_route(const call *c)
{
    return c->route;
}

const caller *
call_who(const call *c)
{
    return &c->who;
}

const options *
call_options(const call *c)
{
    return c->f->options;
}

board *
call_board(const call *c)
{
    return c->f->board;
}

view
call_param(const call *c, const char *name)
{
    for (uint32_t i = 0; i < c->param_count; i++)
        if (view_eq(c->param_names[i], view_str(name)))
            return c->params[i];
    return (view){ 0 };
}

bool
call_param_uuid(const call *c, const char *name, uuid *out)
{
    return uuid_parse(call_param(c, name), out);
}

const cJSON *
call_query(const call *c)
{
    return c->query;
}

const cJSON *
call_body(const call *c)
{
    return c->body;
}

view
call_bytes(const call *c)
{
    return c->bytes;
}

view
call_header(const call *c, const char *lower_case_name)
{
    return c->x == NULL ? (view){ 0 } : http_header(c->x, lower_case_name);
}

static view
cookie_in(view header, view name)
{
    size_t at = 0;

    while (at < header.len) {
        const uint8_t *stop;
        size_t         end;

        while (at < header.len && (header.at[at] == ' ' || header.at[at] == ';'))
            at++;
        stop = at < header.len ? memchr(header.at + at, ';', header.len - at) : NULL;
        end = stop == NULL ? header.len : (size_t)(stop - header.at);
        if (end - at > name.len && header.at[at + name.len] == '=' &&
            memcmp(header.at + at, name.at, name.len) == 0)
            return view_of(header.at + at + name.len + 1, end - at - name.len - 1);
        at = end;
    }
    return (view){ 0 };
}

view
call_cookie(const call *c, const char *name)
{
    size_t at = 0;
    view   header;

    while (c->x != NULL && http_next_header(c->x, "cookie", &at, &header)) {
        view value = cookie_in(header, view_str(name));

        if (value.at != NULL)
            return value;
    }
    return (view){ 0 };
}

view
call_address(const call *c)
{
    call *self = (call *)c; /* only remembers what it was asked */

    if (!c->address_known && c->x != NULL) {
        self->address_len = (uint8_t)http_address(c->x, self->address);
        self->address_known = true;
    }
    return view_of(c->address, c->address_len);
}

void *
call_alloc(call *c, size_t len)
{
    arena_chunk *a = c->arena;
    void        *at;

    len = (size_t)round_up(len, 16);
    if (a == NULL || a->room - a->used < len) {
        size_t room = (size_t)max_u64(len, ARENA_CHUNK);

        a = malloc(sizeof *a + room);
        ASSERT(a != NULL);
        *a = (arena_chunk){ .next = c->arena, .room = room };
        c->arena = a;
    }
    at = a->bytes + a->used;
    a->used += len;
    return memset(at, 0, len);
}

void
call_keep(call *c, void *state, void (*drop)(void *state))
{
    ASSERT(c->kept == NULL);
    c->kept = state;
    c->drop = drop;
}

void
call_let_go(call *c)
{
    c->kept = NULL;
    c->drop = NULL;
}

void *
call_kept(const call *c)
{
    return c->kept;
}

uint64_t
call_within_ns(const call *c)
{
    return (c->route != NULL && c->route->within_ms != 0 ? c->route->within_ms : WITHIN_MS) *
           NS_PER_MS;
}

/* ---- answering ---- */

/* Is `what` one of the comma-separated entries, parameters (";q=...") aside? */
bool
call_lists(view list, view what)
{
    size_t at = 0;

    while (at < list.len) {
        const uint8_t *comma = memchr(list.at + at, ',', list.len - at);
        size_t         end = comma == NULL ? list.len : (size_t)(comma - list.at);
        size_t         stop;

        while (at < end && list.at[at] == ' ')
            at++;
        for (stop = at; stop < end && list.at[stop] != ';' && list.at[stop] != ' ';)
            stop++;
        if (view_eq(view_of(list.at + at, stop - at), what))
            return true;
        at = end + 1;
    }
    return false;
}

/* Media types have no case (RFC 9110, 8.3.1); parameters do not matter. */
bool
call_type_is(view type, const char *what)
{
    size_t n = strlen(what);

    return type.len >= n && strncasecmp((const char *)type.at, what, n) == 0 &&
           (type.len == n || type.at[n] == ';' || type.at[n] == ' ' || type.at[n] == '\t');
}

bool
call_wants(const call *c, const char *media_type)
{
    return call_lists(call_header(c, "accept"), view_str(media_type));
}

bool
call_origin_allowed(const call *c, view origin)
{
    const char *allowed = c->f->options->http_cors_origins;

    if (origin.len == 0 || allowed == NULL || allowed[0] == '\0')
        return false;
    return call_lists(view_str(allowed), origin) || call_lists(view_str(allowed), VIEW_LIT("*"));
}

static void
add_common_headers(call *c)
{
    view origin = http_header(c->x, "origin");

    http_add_static(c->x, "X-Content-Type-Options", "nosniff");
    http_add_static(c->x, "Cache-Control", "no-store");
    http_add_header(c->x, "X-Request-Id", view_of(c->request_id, c->request_id_len));
    if (c->f->options->http_cors_origins != NULL && c->f->options->http_cors_origins[0] != '\0')
        http_add_static(c->x, "Vary", "Origin");
    if (call_origin_allowed(c, origin)) {
        http_add_header(c->x, "Access-Control-Allow-Origin", origin);
        http_add_static(c->x, "Access-Control-Expose-Headers",
                        "X-Request-Id, X-Durability, X-RateLimit-Limit, X-RateLimit-Remaining, "
                        "X-RateLimit-Reset, "
                        "Retry-After");
    }
}

/* Counts, logs, and adds what every answer carries.  False: nobody is there to answer. */
static bool
answer_begin(call *c, uint16_t status)
{
    front   *f = c->f;
    uint64_t took = front_now_ns() - c->began_ns;

    if (c->x == NULL)
        return false;
    ASSERT(!c->answered);
    c->answered = true;
    count_add(f->counters, COUNT_REQUESTS, 1);
    if (status >= 400)
        count_add(f->counters, status >= 500 ? COUNT_REQUESTS_5XX : COUNT_REQUESTS_4XX, 1);
    hist_add(f->counters, HIST_REQUEST, took);
    ak_mark(f->k, c->trace, c->began_ns);
    if (status >= 500 || log_wants(LOG_DEBUG))
        log_at(status >= 500 ? LOG_WARN : LOG_DEBUG, "http.request",
                 "method=%.*s path=%s status=%u took_us=%llu request_id=%s",
                 (int)min_u64(c->x->method.len, 16), (const char *)c->x->method.at,
                 log_quote(c->x->path), status, (unsigned long long)(took / 1000),
                 log_quote(view_of(c->request_id, c->request_id_len)));
    add_common_headers(c);
    return true;
}

json_out *
call_json(call *c)
{
    json_reset(&c->f->json);
    return &c->f->json;
}

void
call_send_text(call *c, uint16_t status, const char *content_type, view body)
{
    if (answer_begin(c, status))
        http_answer(c->x, status, content_type, body);
}

void
call_send_json(call *c, uint16_t status)
{
    const json_out *j = &c->f->json;

    if (j->failed) {
        call_fail(c, 500, "The answer is too large.");
        return;
    }
    call_send_text(c, status, JSON_TYPE, view_of(j->at, j->len));
}

void
call_send_static(call *c, uint16_t status, const char *content_type, view body)
{
    if (answer_begin(c, status))
        http_answer_static(c->x, status, content_type, body);
}

void
call_send_taken(call *c, uint16_t status, json_out *j, size_t from)
{
    if (j->failed) {
        call_fail(c, 500, "The answer is too large.");
    } else if (j->len - from <= TAKEN_FROM) {
        call_send_text(c, status, JSON_TYPE, view_of(j->at + from, j->len - from));
    } else if (answer_begin(c, status)) {
        http_answer_taken(c->x, status, JSON_TYPE, &j->at, from, j->len - from);
        *j = (json_out){ .max = j->max };
    }
}

void
call_send_empty(call *c, uint16_t status)
{
    if (answer_begin(c, status))
        http_answer(c->x, status, NULL, (view){ 0 });
}

/* RFC 9457, for who asks for it. */
static void
send_problem(call *c, uint16_t status, const char *detail, view items)
{
    json_out *j = call_json(c);

    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("about:blank"));
    json_name_string(j, "title", view_str(http_reason(status)));
    json_name_int(j, "status", status);
    json_name_string(j, "detail", view_str(detail));
    if (items.len > 0) {
        json_name(j, VIEW_LIT("errors"));
        json_raw(j, items);
    }
    json_close(j, '}');
    call_send_text(c, status, PROBLEM_TYPE, view_of(j->at, j->len));
}

void
call_fail(call *c, uint16_t status, const char *detail)
{
    json_out *j;

    if (c->x == NULL)
        return;
    if (status == 401)
        http_add_static(c->x, "WWW-Authenticate", "Bearer");
    if (call_wants(c, PROBLEM_TYPE)) {
        send_problem(c, status, detail, (view){ 0 });
        return;
    }
    j = call_json(c);
    json_open(j, '{');
    json_name_string(j, "detail", view_str(detail));
    json_close(j, '}');
    call_send_text(c, status, JSON_TYPE, view_of(j->at, j->len));
}

void
call_fail_fields(call *c, json_out *faults)
{
    json_out *j;

    if (c->x == NULL)
        return;
    if (faults->len > 0 && (faults->len == 1 || faults->at[faults->len - 1] != ']'))
        json_close(faults, ']');
    if (faults->failed) {
        call_fail(c, 422, "Request does not satisfy the schema.");
        return;
    }
    if (call_wants(c, PROBLEM_TYPE)) {
        send_problem(c, 422, "Request does not satisfy the schema.",
                     view_of(faults->at, faults->len));
        return;
    }
    j = call_json(c);
    json_open(j, '{');
    json_name(j, VIEW_LIT("detail"));
    json_raw(j, view_of(faults->at, faults->len));
    json_close(j, '}');
    call_send_text(c, 422, JSON_TYPE, view_of(j->at, j->len));
}

void
call_fail_field(call *c, const char *where, const char *name, const char *msg, const char *type)
{
    json_out *j = &c->f->faults;

    json_reset(j);
    json_open(j, '[');
    json_open(j, '{');
    json_name(j, VIEW_LIT("loc"));
    json_open(j, '[');
    json_string(j, view_str(where));
    if (name != NULL)
        json_string(j, view_str(name));
    json_close(j, ']');
    json_name_string(j, "msg", view_str(msg));
    json_name_string(j, "type", view_str(type));
    json_close(j, '}');
    call_fail_fields(c, j);
}

void
call_add_header(call *c, const char *name, view value)
{
    if (c->x != NULL)
        http_add_header(c->x, name, value);
}

void
call_unavailable(call *c, uint16_t kind, int rc)
{
    if (c->x == NULL)
        return;
    if (rc == E_NOSPACE) {
        call_fail(c, 507, "Storage is full.");
        return;
    }
    if (rc == E_BAD || rc == E_RANGE) {
        call_fail(c, 500, "Internal error.");
        return;
    }
    http_add_static(c->x, "Retry-After", "1");
    call_fail(c, 503,
              kind == KIND_INGEST || kind == KIND_QUERY ? "The partition is restarting; retry."
                                                        : "The service is restarting; retry.");
}

/* ---- streaming ---- */

void
call_stream_begin(call *c, uint16_t status, const char *content_type)
{
    if (!answer_begin(c, status))
        return;
    c->x->drained = on_drained;
    http_stream_begin(c->x, status, content_type);
}

bool
call_stream(call *c, view bytes)
{
    return c->x == NULL || http_stream(c->x, bytes);
}

void
call_stream_end(call *c)
{
    if (c->x != NULL)
        http_stream_end(c->x);
}

void
call_stream_abort(call *c)
{
    if (c->x != NULL)
        http_stream_abort(c->x);
}

void
call_stream_drained(call *c, route_fn *then)
{
    c->drained = then;
}
