/* call.c - one request under way: what handlers see of it (route.h), and how it lives.
 *
 *   exchange (H2O's)  <-->  call  <-->  asks under way
 *
 * A call is gone when its exchange is gone and its last ask has ended: a reply may come after the
 * client has left, and is dropped then.  Streamed asks are cancelled when the client leaves.
 */
#include "api/auth.h"
#include "proto/err.h"
#include "proto/hash.h"
#include "proto/log.h"
#include "proto/squeeze.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WITHIN_MS = 5000, ARENA_CHUNK = 4096, EMAIL_MAX = 320, POSTPONED_MAX = 1024 };
#define NS_PER_MS    UINT64_C(1000000)
#define JSON_TYPE    "application/json"
#define PROBLEM_TYPE "application/problem+json"

struct arena_chunk {
    arena_chunk *next;
    size_t       used;
    size_t       room;
    _Alignas(16) uint8_t bytes[];
};

/* An ask for which there is no room now waits here: answers under way give their room back. */
struct postponed {
    postponed *next;
    ask       *a;
    addr       to;
    uint64_t   until_ns;
    uint32_t   window;
    uint32_t   len;
    uint16_t   type;
    _Alignas(16) uint8_t body[];
};

uint64_t
front_now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

int64_t
front_wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- life ---- */

static call *
call_new(front *f)
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
    return c;
}

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

static void
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
    for (ask *a = f->free_asks, *next; a != NULL; a = next) {
        next = a->next;
        free(a);
    }
    for (postponed *p = f->postponed, *next; p != NULL; p = next) {
        next = p->next;
        free(p);
    }
    f->free_calls = NULL;
    f->free_asks = NULL;
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

void *
call_kept(const call *c)
{
    return c->kept;
}

static uint64_t
within_ns(const call *c)
{
    return (c->route != NULL && c->route->within_ms != 0 ? c->route->within_ms : WITHIN_MS) *
           NS_PER_MS;
}

/* ---- answering ---- */

/* Is `what` one of the comma-separated entries, parameters (";q=...") aside? */
static bool
list_has(view list, view what)
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

bool
call_wants(const call *c, const char *media_type)
{
    return list_has(call_header(c, "accept"), view_str(media_type));
}

bool
call_origin_allowed(const call *c, view origin)
{
    const char *allowed = c->f->options->http_cors_origins;

    if (origin.len == 0 || allowed == NULL || allowed[0] == '\0')
        return false;
    return list_has(view_str(allowed), origin) || list_has(view_str(allowed), VIEW_LIT("*"));
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
    if (status >= 500 || log_wants(LOG_DEBUG))
        log_line(status >= 500 ? LOG_WARN : LOG_DEBUG, "http.request",
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

/* ---- asking ---- */

ask *
call_expect(call *c, call_then *then, bool raw)
{
    ask *a = c->f->free_asks;

    if (a != NULL)
        c->f->free_asks = a->next;
    else
        a = malloc(sizeof *a);
    ASSERT(a != NULL);
    *a = (ask){ .c = c, .then = then, .raw = raw, .next = c->asks };
    c->asks = a;
    return a;
}

void
call_unexpect(ask *a)
{
    call *c = a->c;
    ask **at = &c->asks;

    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    a->c = NULL;
    a->next = c->f->free_asks;
    c->f->free_asks = a;
}

static int
fail_code(const ak_msg *m)
{
    int32_t rc = E_LATE;

    if (m->type == MSG_FAIL && m->len >= sizeof rc)
        memcpy(&rc, m->body, sizeof rc);
    return rc;
}

void
call_on_reply(front *f, const ak_msg *m)
{
    ask       *a = m->ctx;
    call      *c;
    call_then *then;
    bool       failed = m->type == MSG_FAIL || m->type == MSG_LATE;
    bool       raw;

    if (a == NULL || a->c == NULL)
        return;
    c = a->c;
    then = a->then;
    raw = a->raw;
    c->reply_tag = a->tag;
    ASSERT(c->f == f);
    if (!(m->flags & ENV_MORE))
        call_unexpect(a);
    ak_trace(f->k, c->trace);
    if (c->x == NULL)
        call_free_if_over(c);
    else if (failed && !raw)
        call_unavailable(c, addr_kind(m->from), fail_code(m));
    else
        then(c, m);
}

static bool
try_ask(front *f, const postponed *p, const void *body, uint64_t wait_ns)
{
    if (p->window == 0)
        p->a->corr = ak_ask(f->k, p->to, p->type, body, p->len, wait_ns, p->a);
    else
        p->a->corr = ak_ask_stream(f->k, p->to, p->type, body, p->len, wait_ns, p->a, p->window);
    return p->a->corr != 0;
}

static void
give_up_ask(const postponed *p)
{
    call *c = p->a->c;

    call_unexpect(p->a);
    if (c->x == NULL)
        call_free_if_over(c);
    else
        call_unavailable(c, addr_kind(p->to), E_FULL);
}

/* Once a turn.  What waits longest comes first; a destination that is full holds up its own only.
 */
void
call_retry_asks(front *f)
{
    postponed **at = &f->postponed;
    uint64_t    now = f->postponed == NULL ? 0 : front_now_ns();
    uint32_t    full = 0;

    while (*at != NULL) {
        postponed *p = *at;
        bool       gone = p->a->c->x == NULL || p->until_ns <= now;
        uint32_t   kind = 1u << addr_kind(p->to);

        if (!gone && ((full & kind) != 0 || !try_ask(f, p, p->body, p->until_ns - now))) {
            full |= kind;
            at = &p->next;
            continue;
        }
        *at = p->next;
        if (*at == NULL)
            f->postponed_tail = at;
        f->postponed_count--;
        if (gone)
            give_up_ask(p);
        free(p);
    }
}

static void
start_ask(call *c, const postponed *p, const void *body)
{
    front     *f = c->f;
    postponed *later;

    if (f->postponed == NULL && try_ask(f, p, body, within_ns(c)))
        return;
    if (f->postponed_count >= POSTPONED_MAX) {
        give_up_ask(p);
        return;
    }
    later = malloc(sizeof *later + p->len);
    ASSERT(later != NULL);
    *later = *p;
    later->next = NULL;
    later->until_ns = front_now_ns() + within_ns(c);
    if (p->len > 0)
        memcpy(later->body, body, p->len);
    *f->postponed_tail = later;
    f->postponed_tail = &later->next;
    f->postponed_count++;
}

void
call_ask(call *c, addr to, uint16_t type, const void *body, uint32_t len, call_then *then)
{
    ask *a = call_expect(c, then, false);

    start_ask(c, &(postponed){ .a = a, .to = to, .type = type, .len = len }, body);
}

void
call_ask_stream(call *c, addr to, uint16_t type, const void *body, uint32_t len, uint32_t window,
                call_then *then)
{
    ask *a = call_expect(c, then, true);

    a->stream = true;
    start_ask(c, &(postponed){ .a = a, .to = to, .type = type, .len = len, .window = window },
              body);
}

void
call_cancel(call *c, uint64_t corr)
{
    ask *a = c->asks;

    while (a != NULL && a->corr != corr)
        a = a->next;
    if (a == NULL)
        return;
    ak_cancel(c->f->k, corr);
    call_unexpect(a);
}

void
call_registry(call *c, uint16_t op, view params, call_then *then)
{
    reg_ask  head = { op, c->who.key != 0 ? ROLE_NONE : c->who.role, c->who.tenant, c->who.user,
                      c->who.key };
    uint32_t len = (uint32_t)(sizeof head + params.len);
    uint8_t *body;

    if (len > msg_row_of(MSG_REG)->body_max) {
        call_fail(c, 413, "Request body is too large.");
        return;
    }
    body = call_alloc(c, len);
    memcpy(body, &head, sizeof head);
    if (params.len > 0)
        memcpy(body + sizeof head, params.at, params.len);
    call_ask(c, addr_of(KIND_REGISTRY, 0), MSG_REG, body, len, then);
}

bool
call_reg_reply(call *c, const ak_msg *reply, reg_done *head, view *value)
{
    if (reply->type != MSG_REG_DONE || reply->len < sizeof *head)
        goto bad;
    memcpy(head, reply->body, sizeof *head);
    *value = view_of((const uint8_t *)reply->body + sizeof *head, reply->len - sizeof *head);
    if (head->status >= 200 && head->status <= 599)
        return true;
bad:
    call_unavailable(c, KIND_REGISTRY, E_BAD);
    return false;
}

/* ---- the reply of the registry as an answer ---- */

static void
fail_with_packed(call *c, uint16_t status, view value)
{
    pack_doc d;
    char     detail[512] = "";

    if (pack_open(&d, value) < 0) {
        call_fail(c, status, http_reason(status));
        return;
    }
    if (pack_root(&d)->type == MSGPACK_OBJECT_STR)
        snprintf(detail, sizeof detail, "%.*s",
                 (int)min_u64(pack_root(&d)->via.str.size, sizeof detail - 1),
                 pack_root(&d)->via.str.ptr);
    pack_doc_close(&d);
    call_fail(c, status, detail);
}

void
route_registry_answer(call *c, const ak_msg *reply)
{
    reg_done head;
    view     value;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status >= 400) {
        if (head.status == 503)
            call_add_header(c, "Retry-After", VIEW_LIT("1"));
        fail_with_packed(c, head.status, value);
    } else if (head.status == 204) {
        call_send_empty(c, 204);
    } else if (!json_from_pack(call_json(c), value)) {
        call_unavailable(c, KIND_REGISTRY, E_BAD);
    } else {
        call_send_json(c, head.status);
    }
}

/* ---- a request arrives ---- */

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

    c->trace = ak_random(c->f->k);
    ak_trace(c->f->k, c->trace);
    if (is_sane_id(given)) {
        memcpy(c->request_id, given.at, given.len);
        c->request_id_len = (uint8_t)given.len;
        return;
    }
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

/* False: answered with 429. */
static bool
within_limit(call *c, enum limits_what what, uint64_t key, uint64_t per_minute)
{
    limits_state s;
    bool         ok = limits_take(c->f->limits, what, key, per_minute, front_now_ns(), &s);
    char         detail[96];

    if (s.limit == 0)
        return true;
    if (what == LIMIT_TENANT || !ok) {
        add_number_header(c, "X-RateLimit-Limit", s.limit);
        add_number_header(c, "X-RateLimit-Remaining", s.remaining);
    }
    if (ok)
        return true;
    add_number_header(c, "Retry-After", s.retry_s);
    add_number_header(c, "X-RateLimit-Reset", (uint64_t)(front_wall_us() / 1000000) + s.reset_s);
    snprintf(detail, sizeof detail, "Rate limit exceeded: %llu requests per minute%s.",
             (unsigned long long)s.limit,
             what == LIMIT_ADDRESS   ? " per address"
             : what == LIMIT_ACCOUNT ? " per account"
                                     : "");
    call_fail(c, 429, detail);
    return false;
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
        view address;

        if (c->route->method == GET || c->f->options->limits_rate_open == 0)
            return true;
        address = call_address(c);
        return within_limit(c, LIMIT_ADDRESS, hash64(0, address.at, address.len),
                            c->f->options->limits_rate_open);
    }
    v = auth_request(c->f, c->x, &c->who);
    if (v.status == 0) {
        /* Readings are counted apart, not as requests. */
        if (WHO_ROLE(c->route->who) != WHO_NOBODY &&
            !within_limit(c, LIMIT_TENANT, c->who.tenant, tier_limit(c->f->options, v.tier)))
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

/* A compressed body is inflated by a helper thread: ten megabytes would hold the loop for too long.
 */
typedef struct inflation {
    call        *c;
    squeeze_kind kind;
    int          rc;
    uint8_t     *out;
    size_t       room;
    size_t       len;
    size_t       in_len;
    uint8_t      in[];
} inflation;

static void
inflate_work(void *job)
{
    inflation *i = job;

    i->rc = squeeze_inflate(i->kind, view_of(i->in, i->in_len), i->out, i->room, &i->len);
    err_clear(); /* of this thread; it is the client's fault */
}

static void
inflate_done(ak *k, void *self, void *job)
{
    inflation *i = job;
    call      *c = i->c;

    (void)k;
    (void)self;
    c->helped = false;
    c->f->inflating -= i->room;
    if (c->x == NULL || c->answered) {
        free(i->out);
        call_free_if_over(c);
    } else if (i->rc < 0) {
        free(i->out);
        call_fail(c, i->rc == E_LIMIT ? 413 : 400,
                  i->rc == E_LIMIT ? "Request body is too large."
                                   : "Request body cannot be decompressed.");
    } else {
        c->inflated = realloc(i->out, i->len + 16); /* pages that were not needed */
        c->inflated = c->inflated == NULL ? i->out : c->inflated;
        c->bytes = view_of(c->inflated, i->len);
        have_bytes(c);
    }
    free(i);
}

static void
inflate_start(call *c, squeeze_kind kind, size_t room)
{
    inflation *i;

    if (c->f->inflating + room > c->f->options->limits_bodies_mb << 20) {
        http_add_static(c->x, "Retry-After", "1");
        call_fail(c, 503, "The server is busy; retry.");
        return;
    }
    i = malloc(sizeof *i + c->bytes.len);
    ASSERT(i != NULL);
    *i = (inflation){
        .c = c, .kind = kind, .room = room, .in_len = c->bytes.len, .out = malloc(room + 16)
    };
    ASSERT(i->out != NULL);
    if (c->bytes.len > 0)
        memcpy(i->in, c->bytes.at, c->bytes.len);
    if (ak_help(c->f->k, inflate_work, inflate_done, i) < 0) {
        free(i->out);
        free(i);
        call_unavailable(c, KIND_FRONT, E_FULL);
        return;
    }
    c->helped = true;
    c->f->inflating += room;
}

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
        inflate_start(c, kind, most);
    else
        call_fail(c, 415, "Content encoding is not supported.");
    return false;
}

static bool
is_json_type(view type)
{
    return type.len == 0 || list_has(type, VIEW_LIT(JSON_TYPE));
}

static bool
within_account_limit(call *c)
{
    const cJSON *email = cJSON_GetObjectItemCaseSensitive(c->body, "email");
    char         lower[EMAIL_MAX];
    size_t       n = 0;

    if (WHO_ROLE(c->route->who) != WHO_OPEN || !cJSON_IsString(email))
        return true;
    for (; email->valuestring[n] != '\0' && n < sizeof lower; n++) {
        char ch = email->valuestring[n];

        lower[n] = ch >= 'A' && ch <= 'Z' ? (char)(ch | 0x20) : ch;
    }
    return within_limit(c, LIMIT_ACCOUNT, hash64(1, lower, n), c->f->options->limits_rate_open);
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
    call *c = call_new(f);

    c->x = x;
    c->began_ns = front_now_ns();
    x->owner = c;
    x->gone = on_gone;
    name_request(c);
    if (f->stopping) {
        call_unavailable(c, KIND_FRONT, E_GONE);
        return;
    }
    if (match(c) && admit(c) && take_query(c) && take_bytes(c))
        have_bytes(c);
}
