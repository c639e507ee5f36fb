/* web.c - HTTP without sockets: the face of api/http.h for the real front, and requests for the clients.
 *
 *   client ─web_send─▶ queue ─http_turn─▶ exchange ─▶ call_begin() ... ─▶ http_answer ─▶ (latency) ─▶ done()
 *
 * Linked instead of api/http.c and api/ws.c: WebSockets have nobody who opens one here.
 */
#include "tests/sim/sim.h"

#include "api/front.h"
#include "proto/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { WEBS_MAX = 8 };

typedef struct flow {
    exchange     x;
    struct flow *next;
    web_request *r; /* NULL: the client left */
    uint16_t     status;
    bool         ended;
} flow;

struct http {
    http_config  config;
    addr         who;
    web_request *queue[256];
    uint32_t     queued;
    flow        *flows;
    bool         touched;
    bool         closed; /* takes nothing */
};

static http *webs[WEBS_MAX]; /* by front */

/* ---- clients ---- */

static void
tell(void *arg)
{
    web_request *r = arg;

    r->done(r);
}

static void
finish(web_request *r, uint16_t status)
{
    r->status = status;
    r->flow = NULL;
    sim_after(5 * US + sim_below(200 * US), tell, r);
}

bool
web_send(uint16_t number, web_request *r)
{
    http *h = webs[number];

    if (h == NULL || h->closed || h->queued == COUNT_OF(h->queue))
        return false;
    h->queue[h->queued++] = r;
    bell_knock(h->who);
    return true;
}

static void
unqueue(http *h, const web_request *r)
{
    for (uint32_t i = 0; i < h->queued; i++) {
        if (h->queue[i] != r)
            continue;
        h->queued--;
        memmove(h->queue + i, h->queue + i + 1, (h->queued - i) * sizeof(web_request *));
        return;
    }
}

void
web_leave(web_request *r)
{
    flow *f = r->flow;

    r->done = web_free; /* should the answer be on its way already */
    if (f != NULL)
        f->r = NULL;
    for (uint32_t w = 0; w < WEBS_MAX; w++)
        if (webs[w] != NULL)
            unqueue(webs[w], r);
    if (f != NULL)
        bell_knock(((http *)f->x.at)->who);
}

void
web_free(web_request *r)
{
    free(r->body);
    free(r->answer);
    free(r);
}

/* The connections break; what had been answered is on its way already. */
void
web_lost(uint16_t number)
{
    http *h = webs[number];

    webs[number] = NULL;
    if (h == NULL)
        return;
    for (uint32_t i = 0; i < h->queued; i++)
        finish(h->queue[i], 0);
    for (flow *f = h->flows; f != NULL; f = f->next)
        if (f->r != NULL)
            finish(f->r, 0);
}

/* ---- the front's side ---- */

int
http_open(http **out, const http_config *config)
{
    http *h = calloc(1, sizeof *h);

    ASSERT(h != NULL);
    h->config = *config;
    h->who = task_who(task_running());
    webs[addr_part(h->who)] = h;
    *out = h;
    return E_OK;
}

int
http_load_tls(http *h, const char *cert, const char *key)
{
    (void)h;
    (void)cert;
    (void)key;
    return E_OK;
}

void
http_close(http **hp)
{
    if (*hp != NULL && webs[addr_part((*hp)->who)] == *hp)
        webs[addr_part((*hp)->who)] = NULL;
    *hp = NULL;
}

static void
begin(http *h, web_request *r)
{
    flow *f = calloc(1, sizeof *f);

    ASSERT(f != NULL);
    f->r = r;
    r->flow = f;
    f->next = h->flows;
    h->flows = f;
    f->x = (exchange){ .method = view_str(r->method),
                       .path = view_str(r->path),
                       .query = view_str(r->query),
                       .body = view_of(r->body, r->body_len),
                       .has_body = r->body != NULL,
                       .at = h,
                       .raw = f };
    h->config.on_request(h->config.ctx, &f->x);
}

static bool
reap(http *h)
{
    bool any = false;

    for (flow **at = &h->flows; *at != NULL;) {
        flow *f = *at;

        if (f->r != NULL) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        any = true;
        if (f->x.gone != NULL)
            f->x.gone(f->x.owner);
        free(f);
    }
    return any;
}

void
http_turn(http *h, uint64_t wait_ns)
{
    bool any = h->queued > 0 || h->touched;

    if (!any && wait_ns > 0)
        bell_sleep(wait_ns);
    world_pause();
    h->touched = false;
    while (h->queued > 0) {
        web_request *r = h->queue[0];

        memmove(h->queue, h->queue + 1, --h->queued * sizeof(web_request *));
        begin(h, r);
        world_pause();
    }
    (void)reap(h);
}

uint64_t
http_turn_cpu_ns(const http *h)
{
    (void)h;
    return 0;
}

int
http_watch(http *h, int fd)
{
    (void)h;
    (void)fd;
    return E_OK;
}

void
http_stop_accepting(http *h)
{
    h->closed = true;
}

void
http_touch(http *h)
{
    h->touched = true;
}

bool
http_is_touched(const http *h)
{
    return h->touched;
}

uint32_t
http_connections(const http *h)
{
    (void)h;
    return 0;
}

/* ---- the request ---- */

view
http_header(const exchange *x, const char *name)
{
    static char        bearer[2048];
    const flow        *f = x->raw;
    const web_request *r = f->r;

    if (r == NULL)
        return (view){ 0 };
    if (r->key != NULL && strcmp(name, "x-api-key") == 0)
        return view_str(r->key);
    if (r->token != NULL && strcmp(name, "authorization") == 0) {
        (void)snprintf(bearer, sizeof bearer, "Bearer %s", r->token);
        return view_str(bearer);
    }
    return strcmp(name, "content-type") == 0 ? VIEW_LIT("application/json") : (view){ 0 };
}

bool
http_next_header(const exchange *x, const char *name, size_t *at, view *value)
{
    (void)x;
    (void)name;
    (void)at;
    (void)value;
    return false;
}

size_t
http_address(const exchange *x, char out[64])
{
    (void)x;
    (void)snprintf(out, 64, "192.0.2.1");
    return strlen(out);
}

const char *
http_upgrade_key(const exchange *x)
{
    (void)x;
    return NULL;
}

bool
http_wants_upgrade(const exchange *x)
{
    (void)x;
    return false;
}

/* ---- the answer ---- */

void
http_add_header(exchange *x, const char *name, view value)
{
    (void)x;
    (void)name;
    (void)value;
}

void
http_add_static(exchange *x, const char *name, const char *value)
{
    (void)x;
    (void)name;
    (void)value;
}

static void
append(flow *f, view bytes)
{
    web_request *r = f->r;

    if (r == NULL)
        return;
    r->answer = realloc(r->answer, r->answer_len + bytes.len + 1);
    ASSERT(r->answer != NULL);
    if (bytes.len > 0)
        memcpy(r->answer + r->answer_len, bytes.at, bytes.len);
    r->answer_len += bytes.len;
    r->answer[r->answer_len] = '\0';
}

static void
end(flow *f, uint16_t status)
{
    if (f->r != NULL)
        finish(f->r, status);
    f->r = NULL; /* its client's again */
    f->ended = true;
    http_touch(f->x.at);
}

void
http_answer(exchange *x, uint16_t status, const char *content_type, view body)
{
    flow *f = x->raw;

    (void)content_type;
    ASSERT(!x->answered);
    x->answered = true;
    append(f, body);
    end(f, status);
}

void
http_answer_static(exchange *x, uint16_t status, const char *content_type, view body)
{
    http_answer(x, status, content_type, body);
}

void
http_answer_taken(exchange *x, uint16_t status, const char *content_type, char **bytes, size_t from, size_t len)
{
    http_answer(x, status, content_type, view_of(*bytes + from, len));
    free(*bytes);
    *bytes = NULL;
}

void
http_refuse(exchange *x, uint16_t status, const char *content_type, view body)
{
    http_answer(x, status, content_type, body);
}

void
http_stream_begin(exchange *x, uint16_t status, const char *content_type)
{
    (void)content_type;
    x->answered = true;
    ((flow *)x->raw)->status = status;
}

bool
http_stream(exchange *x, view bytes)
{
    append(x->raw, bytes);
    http_touch(x->at);
    return true;
}

void
http_stream_end(exchange *x)
{
    flow *f = x->raw;

    end(f, f->status);
}

void
http_stream_abort(exchange *x)
{
    end(x->raw, 0);
}

const char *
http_reason(uint16_t status)
{
    (void)status;
    return "Reason";
}

/* ---- WebSockets: none ---- */

ws *
ws_new(front *f)
{
    return (ws *)f;
}

void
ws_free(ws *w)
{
    (void)w;
}

void
ws_on_feed(ws *w, const ak_msg *m)
{
    (void)w;
    (void)m;
}

void
ws_on_event(ws *w, const ak_msg *m)
{
    (void)w;
    (void)m;
}

bool
ws_on_reply(ws *w, const ak_msg *m)
{
    (void)w;
    (void)m;
    return false;
}

void
ws_tick(ws *w)
{
    (void)w;
}

void
ws_turn(ws *w)
{
    (void)w;
}

void
ws_close_all(ws *w)
{
    (void)w;
}

extern const route ws_routes[];
const route        ws_routes[] = { { 0 } };
