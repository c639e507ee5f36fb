/* http.c - HTTP/1.1 over H2O's event loop (http.h).
 *
 * H2O parses heads and reads bodies; everything is handled on one catch-all path.  What it does not
 * do is done here: connection and body budgets, answers that nobody reads, JSON for its own
 * refusals, a close that does not destroy the answer, and the checks of the raw head that request
 * smuggling lives on:
 *
 *   socket's input: | raw head (names lower-cased in place) | body ... | next request ...
 *                   ^ stays there until the answer is done
 *
 * Traps of H2O 2.2 minded here: a callback that a write schedules runs inside h2o_evloop_run()
 * only, behind its poll, so after a write from outside the next turn must not sleep (http_touch);
 * foreign descriptors are duplicated and never read from; h2o_evloop_run() fails on EINTR.
 */
#include "api/http.h"

#include "proto/err.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <h2o.h>
#include <h2o/http1.h>
#include <h2o/websocket.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCEPTS_A_TURN = 16,
    STREAM_HIGH = 65536, /* bytes waiting for a slow client before http_stream() says so */
    LINGERERS_MAX = 64,
    LINGER_MS = 2000,
    LINGER_BYTES = 64 << 20,
    STALL_MS = 60000, /* an answer of which nothing was taken for so long */
    TICK_MS = 1000,
    BUDGET_MS = 50,
    BODY_PAD = 16,
    SHED_MIN = 65536, /* requests smaller than this are never shed */
    HEAD_LINES_MAX = 128,
    HEAD_MAX = 65536, /* H2O itself takes some 400 KiB */
};

typedef struct conn { /* of a socket: what H2O does not keep */
    http *h;
    int   linger_fd; /* a duplicate that outlives H2O's close; -1 */
} conn;

typedef struct lingerer {
    h2o_socket_t *sock;
    uint64_t      until_ms;
    uint64_t      bytes;
} lingerer;

typedef struct handler { /* H2O's handler and filter objects, with the way back to us */
    h2o_handler_t super;
    http         *h;
} handler;

typedef struct filter {
    h2o_filter_t super;
    http        *h;
} filter;

typedef struct buffer {
    char  *at;
    size_t len;
    size_t room;
} buffer;

typedef struct flow { /* an exchange, with its private side */
    exchange        x;
    h2o_generator_t generator;
    h2o_linklist_t  link;
    uint64_t        progress_ms; /* when the last send began */
    bool            sending;
    bool            streaming;
    bool            ended;
    bool            aborted;
    bool            slow;
    buffer          filling;
    buffer          under_way;
} flow;

struct http {
    http_config      config;
    h2o_globalconf_t global;
    h2o_context_t    context;
    h2o_evloop_t    *loop;
    h2o_accept_ctx_t accept;
    h2o_socket_t    *listener;
    bool             paused;
    bool             in_turn;
    bool             touched;
    uint32_t         connections;
    uint64_t         tick_ms;
    uint64_t         budget_ms;
    h2o_linklist_t   flows;
    h2o_socket_t    *watched[16];
    uint32_t         watches;
    lingerer         lingerers[LINGERERS_MAX];
};

static uint64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static view
view_of_iovec(h2o_iovec_t v)
{
    return view_of(v.base, v.len);
}

static flow *
flow_of(exchange *x)
{
    return H2O_STRUCT_FROM_MEMBER(flow, x, x);
}

static h2o_req_t *
req_of(const exchange *x)
{
    return x->raw;
}

/* ---- connections ---- */

static void
drop_lingerer(http *h, lingerer *l)
{
    (void)h;
    h2o_socket_close(l->sock);
    l->sock = NULL;
}

/* Reads and forgets what the client still sends, so that its kernel keeps our answer. */
static void
on_lingering(h2o_socket_t *sock, const char *error)
{
    lingerer *l = sock->data;
    char      waste[16384];
    ssize_t   n = 0;

    (void)error;
    for (int i = 0; i < 16; i++) {
        n = read(h2o_socket_get_fd(sock), waste, sizeof waste);
        if (n <= 0)
            break;
        l->bytes += (uint64_t)n;
    }
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || l->bytes > LINGER_BYTES)
        drop_lingerer(NULL, l);
}

static void
linger(http *h, int fd)
{
    for (uint32_t i = 0; i < LINGERERS_MAX; i++) {
        lingerer *l = &h->lingerers[i];

        if (l->sock != NULL)
            continue;
        shutdown(fd, SHUT_WR);
        l->sock = h2o_evloop_socket_create(h->loop, fd, H2O_SOCKET_FLAG_DONT_READ);
        l->sock->data = l;
        l->until_ms = now_ms() + LINGER_MS;
        l->bytes = 0;
        h2o_socket_read_start(l->sock, on_lingering);
        return;
    }
    close(fd);
}

static void on_connect(h2o_socket_t *listener, const char *error);

static void
on_socket_close(void *data)
{
    conn *c = data;
    http *h = c->h;

    h->connections--;
    if (c->linger_fd >= 0)
        linger(h, c->linger_fd);
    free(c);
}

/* The connection will be closed with input unread: without this its answer would be lost to a
 * reset. */
static void
keep_for_lingering(h2o_req_t *req)
{
    h2o_socket_t *sock = req->conn->callbacks->get_socket(req->conn);
    conn         *c = sock->on_close.data;

    if (c != NULL && c->linger_fd < 0)
        c->linger_fd = fcntl(h2o_socket_get_fd(sock), F_DUPFD_CLOEXEC, 3);
}

static void
pause_accepting(http *h)
{
    if (h->listener != NULL && !h->paused)
        h2o_socket_read_stop(h->listener);
    h->paused = true;
}

static void
resume_accepting(http *h)
{
    if (h->listener == NULL || !h->paused || h->connections >= h->config.connections)
        return;
    h->paused = false;
    h2o_socket_read_start(h->listener, on_connect);
}

static void
on_connect(h2o_socket_t *listener, const char *error)
{
    http *h = listener->data;

    if (error != NULL)
        return;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        h2o_socket_t *sock;
        conn         *c;

        if (h->connections >= h->config.connections) {
            pause_accepting(h);
            return;
        }
        errno = 0;
        sock = h2o_evloop_socket_accept(listener);
        if (sock == NULL) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                pause_accepting(h); /* out of descriptors: the tick tries again */
            return;
        }
        c = h2o_mem_alloc(sizeof *c);
        *c = (conn){ h, -1 };
        sock->on_close.cb = on_socket_close;
        sock->on_close.data = c;
        h->connections++;
        h2o_accept(&h->accept, sock);
    }
}

/* ---- the raw head ---- */

static bool
line_is(const char *at, size_t len, const char *name)
{
    size_t n = strlen(name);

    return len > n && at[n] == ':' && memcmp(at, name, n) == 0;
}

/* What the parser lets through and a careful server does not: two lengths, a length beside a
 * transfer encoding, folded lines, no Host or two.  Names were lower-cased in place by the parser.
 */
static const char *
head_fault(const h2o_req_t *req, const char *at, size_t len, size_t *head_len)
{
    const char *begin = at;
    const char *end = at + len;
    uint32_t    lengths = 0, encodings = 0, hosts = 0;
    bool        first = true;

    for (int line = 0; line < HEAD_LINES_MAX; line++) {
        const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        size_t      n;

        if (stop == NULL)
            return "Request head is malformed.";
        n = (size_t)(stop - at);
        if (n > 0 && at[n - 1] == '\r')
            n--;
        if (n == 0 && !first)
            break;
        if (!first && (at[0] == ' ' || at[0] == '\t'))
            return "Folded header lines are not accepted.";
        lengths += line_is(at, n, "content-length");
        encodings += line_is(at, n, "transfer-encoding");
        hosts += line_is(at, n, "host");
        first = first && n == 0; /* one empty line may come before the request line */
        at = stop + 1;
    }
    *head_len = (size_t)(at - begin);
    if (lengths > 1 || encodings > 1 || (lengths > 0 && encodings > 0))
        return "Request has more than one body length.";
    if (encodings > 0 && req->version < 0x101)
        return "HTTP/1.0 has no transfer encodings.";
    if (hosts > 1 || (hosts == 0 && req->version >= 0x101))
        return "Request must have one Host header.";
    return NULL;
}

/* ---- requests ---- */

static void
flow_gone(void *data)
{
    flow *f = data;

    h2o_linklist_unlink(&f->link);
    free(f->filling.at);
    free(f->under_way.at);
    if (f->x.gone != NULL)
        f->x.gone(f->x.owner);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req);

static void
on_stop(h2o_generator_t *generator, h2o_req_t *req)
{
    (void)req;
    H2O_STRUCT_FROM_MEMBER(flow, generator, generator)->x.answered = true;
}

/* "GET http://host/path": what a proxy is asked for, and a server must take too (RFC 9112, 3.2.2). */
static void
strip_authority(h2o_req_t *req)
{
    h2o_url_t url;

    if (req->path.len == 0 || req->path.base[0] == '/')
        return;
    for (size_t i = 0; i < req->path.len && req->path.base[i] != ':'; i++)
        req->path.base[i] = (char)h2o_tolower(req->path.base[i]); /* schemes have no case */
    if (h2o_url_parse(req->path.base, req->path.len, &url) != 0)
        return;
    req->path = url.path;
    req->path_normalized =
        h2o_url_normalize_path(&req->pool, req->path.base, req->path.len, &req->query_at,
                               &req->norm_indexes);
}

static flow *
flow_new(http *h, h2o_req_t *req)
{
    flow               *f = h2o_mem_alloc_shared(&req->pool, sizeof *f, flow_gone);
    const h2o_socket_t *sock = req->conn->callbacks->get_socket(req->conn);
    const h2o_buffer_t *in = sock->input;
    size_t              query_at;

    strip_authority(req);
    query_at = req->query_at == SIZE_MAX ? req->path.len : req->query_at + 1;
    memset(f, 0, sizeof *f);
    f->generator.proceed = on_proceed;
    f->generator.stop = on_stop;
    h2o_linklist_insert(&h->flows, &f->link);
    f->x.at = h;
    f->x.raw = req;
    f->x.method = view_of_iovec(req->method);
    f->x.path = view_of_iovec(req->path_normalized);
    f->x.query = view_of(req->path.base + query_at, req->path.len - query_at);
    f->x.body = view_of_iovec(req->entity);
    f->x.has_body = req->entity.base != NULL;
    f->x.is_head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD"));
    f->x.body_padded =
        f->x.has_body && in->bytes != NULL &&
        (size_t)(in->_buf + in->capacity - (req->entity.base + req->entity.len)) >= BODY_PAD;
    return f;
}

static int
on_req(h2o_handler_t *self, h2o_req_t *req)
{
    http               *h = ((handler *)self)->h;
    const h2o_socket_t *sock = req->conn->callbacks->get_socket(req->conn);
    flow               *f = flow_new(h, req);
    const char         *fault = "Request head is malformed.";
    size_t              head_len = 0;
    uint16_t            status = 400;

    if (sock->input->bytes != NULL)
        fault = head_fault(req, sock->input->bytes, sock->input->size, &head_len);
    if (fault == NULL && head_len > HEAD_MAX) {
        fault = "Request head is too large.";
        status = 431;
    }
    if (fault != NULL) {
        char text[128];
        int  n = snprintf(text, sizeof text, "{\"detail\":\"%s\"}", fault);

        http_refuse(&f->x, status, "application/json", view_of(text, (size_t)n));
        return 0;
    }
    h->config.on_request(h->config.ctx, &f->x);
    return 0;
}

view
http_header(const exchange *x, const char *lower_case_name)
{
    size_t at = 0;
    view   value = { 0 };

    if (!http_next_header(x, lower_case_name, &at, &value))
        return (view){ 0 };
    return value;
}

bool
http_next_header(const exchange *x, const char *lower_case_name, size_t *at, view *value)
{
    const h2o_headers_t *headers = &req_of(x)->headers;
    size_t               len = strlen(lower_case_name);

    for (; *at < headers->size; ++*at) {
        const h2o_header_t *header = &headers->entries[*at];

        if (header->name->len != len || memcmp(header->name->base, lower_case_name, len) != 0)
            continue;
        *value = view_of_iovec(header->value);
        ++*at;
        return true;
    }
    return false;
}

size_t
http_address(const exchange *x, char out[64])
{
    struct sockaddr_storage name;
    h2o_conn_t             *c = req_of(x)->conn;
    socklen_t               len = c->callbacks->get_peername(c, (void *)&name);
    char                    text[NI_MAXHOST];
    size_t                  n;

    if (len == 0)
        return 0;
    n = h2o_socket_getnumerichost((void *)&name, len, text);
    if (n == SIZE_MAX || n > 64)
        return 0;
    memcpy(out, text, n);
    return n;
}

bool
http_wants_upgrade(const exchange *x)
{
    const h2o_req_t *req = req_of(x);

    return req->upgrade.base != NULL &&
           h2o_lcstris(req->upgrade.base, req->upgrade.len, H2O_STRLIT("websocket"));
}

const char *
http_upgrade_key(const exchange *x)
{
    const char *key = NULL;

    if (h2o_is_websocket_handshake(req_of(x), &key) != 0)
        return NULL;
    return key;
}

/* ---- answers ---- */

static const struct {
    uint16_t    status;
    const char *reason;
} reasons[] = {
    { 200, "OK" },
    { 201, "Created" },
    { 204, "No Content" },
    { 207, "Multi-Status" },
    { 304, "Not Modified" },
    { 400, "Bad Request" },
    { 401, "Unauthorized" },
    { 402, "Payment Required" },
    { 403, "Forbidden" },
    { 404, "Not Found" },
    { 405, "Method Not Allowed" },
    { 408, "Request Timeout" },
    { 409, "Conflict" },
    { 413, "Content Too Large" },
    { 415, "Unsupported Media Type" },
    { 417, "Expectation Failed" },
    { 422, "Unprocessable Content" },
    { 426, "Upgrade Required" },
    { 429, "Too Many Requests" },
    { 431, "Request Header Fields Too Large" },
    { 500, "Internal Server Error" },
    { 503, "Service Unavailable" },
    { 507, "Insufficient Storage" },
};

const char *
http_reason(uint16_t status)
{
    for (size_t i = 0; i < COUNT_OF(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Status";
}

void
http_touch(http *h)
{
    if (!h->in_turn)
        h->touched = true;
}

bool
http_is_touched(const http *h)
{
    return h->touched;
}

void
http_add_header(exchange *x, const char *name, view value)
{
    h2o_req_t  *req = req_of(x);
    h2o_iovec_t n = h2o_strdup(&req->pool, name, SIZE_MAX);
    h2o_iovec_t v = h2o_strdup(&req->pool, (const char *)value.at, value.len);

    h2o_add_header_by_str(&req->pool, &req->res.headers, n.base, n.len, 0, NULL, v.base, v.len);
}

void
http_add_static(exchange *x, const char *name, const char *value)
{
    h2o_req_t *req = req_of(x);

    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 0, NULL, value,
                          strlen(value));
}

static void
answer_begin(flow *f, uint16_t status, const char *content_type)
{
    h2o_req_t *req = req_of(&f->x);

    ASSERT(!f->x.answered);
    f->x.answered = true;
    f->progress_ms = now_ms();
    f->sending = true;
    req->res.status = status;
    req->res.reason = http_reason(status);
    if (content_type != NULL)
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, content_type,
                       strlen(content_type));
    http_touch(f->x.at);
}

void
http_answer(exchange *x, uint16_t status, const char *content_type, view body)
{
    flow       *f = flow_of(x);
    h2o_req_t  *req = req_of(x);
    h2o_iovec_t bytes = h2o_iovec_init(NULL, 0);

    answer_begin(f, status, content_type);
    if (status != 204 && status != 304)
        req->res.content_length = body.len;
    if (body.len > 0 && !x->is_head) {
        bytes.base = h2o_mem_alloc_pool(&req->pool, body.len);
        bytes.len = body.len;
        memcpy(bytes.base, body.at, body.len);
    }
    h2o_start_response(req, &f->generator);
    h2o_send(req, &bytes, bytes.len > 0, H2O_SEND_STATE_FINAL);
}

void
http_refuse(exchange *x, uint16_t status, const char *content_type, view body)
{
    req_of(x)->http1_is_persistent = 0;
    keep_for_lingering(req_of(x));
    http_answer(x, status, content_type, body);
}

/* ---- streams: one buffer is filled while the other is under way ---- */

static void
stream_push(flow *f)
{
    h2o_req_t       *req = req_of(&f->x);
    buffer           swap = f->under_way;
    h2o_send_state_t state = f->ended ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS;
    h2o_iovec_t      bytes;

    if (f->sending || (f->filling.len == 0 && !f->ended && !f->aborted))
        return;
    if (f->aborted)
        state = H2O_SEND_STATE_ERROR;
    f->under_way = f->filling;
    f->filling = swap;
    f->filling.len = 0;
    f->sending = true;
    f->progress_ms = now_ms();
    bytes = h2o_iovec_init(f->under_way.at, f->under_way.len);
    http_touch(f->x.at);
    h2o_send(req, &bytes, bytes.len > 0, state);
}

static void
on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    flow *f = H2O_STRUCT_FROM_MEMBER(flow, generator, generator);

    (void)req;
    f->sending = false;
    f->under_way.len = 0;
    stream_push(f);
    if (f->slow && f->filling.len < STREAM_HIGH / 2) {
        f->slow = false;
        if (f->x.drained != NULL)
            f->x.drained(f->x.owner);
    }
}

void
http_stream_begin(exchange *x, uint16_t status, const char *content_type)
{
    flow      *f = flow_of(x);
    h2o_req_t *req = req_of(x);

    answer_begin(f, status, content_type);
    f->sending = false;
    f->streaming = true;
    if (req->version < 0x101)
        req->http1_is_persistent = 0;
    h2o_start_response(req, &f->generator);
}

bool
http_stream(exchange *x, view bytes)
{
    flow   *f = flow_of(x);
    buffer *b = &f->filling;

    ASSERT(f->streaming && !f->ended && !f->aborted);
    if (!x->is_head && bytes.len > 0) {
        if (b->len + bytes.len > b->room) {
            b->room = (size_t)max_u64(b->room * 2, round_up(b->len + bytes.len, 4096));
            b->at = h2o_mem_realloc(b->at, b->room);
        }
        memcpy(b->at + b->len, bytes.at, bytes.len);
        b->len += bytes.len;
    }
    stream_push(f);
    f->slow = f->filling.len >= STREAM_HIGH;
    return !f->slow;
}

void
http_stream_end(exchange *x)
{
    flow *f = flow_of(x);

    ASSERT(f->streaming && !f->ended && !f->aborted);
    f->ended = true;
    f->slow = false;
    stream_push(f);
}

void
http_stream_abort(exchange *x)
{
    flow *f = flow_of(x);

    ASSERT(f->streaming && !f->ended && !f->aborted);
    f->aborted = true;
    f->slow = false;
    req_of(x)->http1_is_persistent = 0;
    stream_push(f);
}

/* ---- what H2O answers itself, in JSON ---- */

typedef struct rewrite {
    h2o_ostream_t super;
    h2o_iovec_t   body;
} rewrite;

static void
rewrite_send(h2o_ostream_t *self, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
             h2o_send_state_t state)
{
    bool head = h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));

    (void)bufs;
    (void)count;
    h2o_ostream_send_next(self, req, &((rewrite *)self)->body, !head, state);
}

static const char *
own_error_body(int status)
{
    switch (status) {
    case 413:
        return "{\"detail\":\"Request body is too large.\"}";
    case 417:
        return "{\"detail\":\"Expectation cannot be met.\"}";
    case 503:
        return "{\"detail\":\"The server is busy; retry.\"}";
    default:
        return "{\"detail\":\"Bad request.\"}";
    }
}

/* Answers that carry our generator are ours; H2O's own has no proceed(). */
static void
on_setup_ostream(h2o_filter_t *self, h2o_req_t *req, h2o_ostream_t **slot)
{
    rewrite *r;

    (void)self;
    if (req->_generator != NULL && req->_generator->proceed == NULL && req->res.status >= 400) {
        memset(&req->res.headers, 0, sizeof req->res.headers);
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                       H2O_STRLIT("application/json"));
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL,
                       H2O_STRLIT("no-store"));
        h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("X-Content-Type-Options"),
                              0, NULL, H2O_STRLIT("nosniff"));
        if (req->res.status == 503)
            h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_RETRY_AFTER, NULL,
                           H2O_STRLIT("1"));
        req->res.reason = http_reason((uint16_t)req->res.status);
        req->http1_is_persistent = 0;
        keep_for_lingering(req);
        r = (rewrite *)h2o_add_ostream(req, sizeof *r, slot);
        r->super.do_send = rewrite_send;
        r->body = h2o_iovec_init(own_error_body(req->res.status),
                                 strlen(own_error_body(req->res.status)));
        req->res.content_length = r->body.len;
        slot = &r->super.next;
    }
    h2o_setup_next_ostream(req, slot);
}

/* ---- budgets ---- */

typedef struct arriving {
    uint64_t   bytes;
    size_t     largest;
    h2o_req_t *req;
} arriving;

static int
count_arriving(h2o_req_t *req, void *data)
{
    arriving           *a = data;
    const h2o_socket_t *sock = req->conn->callbacks->get_socket(req->conn);

    if (sock == NULL || sock->input->bytes == NULL || h2o_socket_is_writing((h2o_socket_t *)sock))
        return 0; /* what is being answered will be gone */
    a->bytes += sock->input->capacity;
    if (req->pathconf == NULL && req->version != 0 && sock->input->size > a->largest) {
        a->largest = sock->input->size;
        a->req = req;
    }
    return 0;
}

/* Bodies that arrive may not take more memory together than is allowed: the largest is sent away.
 */
static void
keep_body_budget(http *h)
{
    for (int i = 0; i < 16; i++) {
        arriving      a = { .largest = SHED_MIN };
        h2o_socket_t *sock;

        H2O_HTTP1_CALLBACKS.foreach_request(&h->context, count_arriving, &a);
        if (a.bytes <= h->config.bodies_bytes || a.req == NULL)
            return;
        sock = a.req->conn->callbacks->get_socket(a.req->conn);
        h2o_socket_read_stop(sock);
        h2o_send_error_503(a.req, "Service Unavailable", "busy",
                           H2O_SEND_ERROR_HTTP1_CLOSE_CONNECTION);
        http_touch(h);
    }
}

static void
drop_stalled(http *h, uint64_t now)
{
    for (h2o_linklist_t *node = h->flows.next; node != &h->flows; node = node->next) {
        flow *f = H2O_STRUCT_FROM_MEMBER(flow, link, node);

        if (!f->sending || now - f->progress_ms < STALL_MS)
            continue;
        /* H2O sees a write error and lets go of everything. */
        shutdown(h2o_socket_get_fd(req_of(&f->x)->conn->callbacks->get_socket(req_of(&f->x)->conn)),
                 SHUT_RDWR);
    }
    for (uint32_t i = 0; i < LINGERERS_MAX; i++)
        if (h->lingerers[i].sock != NULL && now >= h->lingerers[i].until_ms)
            drop_lingerer(h, &h->lingerers[i]);
}

static void
tick(http *h)
{
    uint64_t now = now_ms();

    if (now - h->budget_ms >= BUDGET_MS) {
        h->budget_ms = now;
        if ((uint64_t)h->connections * 4 * h->config.body_bytes > h->config.bodies_bytes)
            keep_body_budget(h);
        resume_accepting(h);
    }
    if (now - h->tick_ms >= TICK_MS) {
        h->tick_ms = now;
        drop_stalled(h, now);
    }
}

/* ---- the loop ---- */

void
http_turn(http *h, uint64_t wait_ns)
{
    uint64_t wait_ms = min_u64((wait_ns + 999999) / 1000000, TICK_MS);

    if (h->touched)
        wait_ms = 0;
    h->touched = false;
    h->in_turn = true;
    if (h2o_evloop_run(h->loop, (int32_t)wait_ms) != 0 && errno != EINTR)
        log_warn("http.loop", "error=%s", log_quote(view_str(strerror(errno))));
    h->in_turn = false;
    tick(h);
}

static void
on_watched(h2o_socket_t *sock, const char *error)
{
    (void)sock;
    (void)error; /* waking up is all: whoever owns the descriptor drains it */
}

int
http_watch(http *h, int fd)
{
    int own;

    if (h->watches == COUNT_OF(h->watched))
        return err(E_FULL, "watch a descriptor");
    own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0)
        return err_errno(errno, "duplicate a descriptor");
    h->watched[h->watches] = h2o_evloop_socket_create(h->loop, own, H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(h->watched[h->watches++], on_watched);
    return E_OK;
}

uint32_t
http_connections(const http *h)
{
    return h->connections;
}

static int
listen_on(http *h, int fd)
{
    int own;

    if (fd < 0)
        return E_OK;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0)
        return err_errno(errno, "duplicate the listener");
    h->listener = h2o_evloop_socket_create(h->loop, own, H2O_SOCKET_FLAG_DONT_READ);
    h->listener->data = h;
    h2o_socket_read_start(h->listener, on_connect);
    return E_OK;
}

static void
configure(http *h)
{
    h2o_hostconf_t *host;
    handler        *on_all;
    filter         *json;

    h2o_config_init(&h->global);
    h->global.server_name = h2o_iovec_init(H2O_STRLIT(""));
    h->global.max_request_entity_size =
        h->config.body_bytes + 1; /* chunked bodies are refused at, not above it */
    h->global.http1.req_timeout = h->config.request_timeout_ms;
    h->global.http1.upgrade_to_http2 = 0;
    host = h2o_config_register_host(&h->global, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    on_all = (handler *)h2o_create_handler(&host->fallback_path, sizeof *on_all);
    on_all->super.on_req = on_req;
    on_all->h = h;
    json = (filter *)h2o_create_filter(&host->fallback_path, sizeof *json);
    json->super.on_setup_ostream = on_setup_ostream;
    json->h = h;
}

int
http_open(http **out, const http_config *config)
{
    http *h = calloc(1, sizeof *h);
    int   rc;

    if (h == NULL)
        return err(E_NOMEM, "http");
    signal(SIGPIPE, SIG_IGN);
    h->config = *config;
    h->loop = h2o_evloop_create();
    h2o_linklist_init_anchor(&h->flows);
    configure(h);
    h2o_context_init(&h->context, h->loop, &h->global);
    h->accept.ctx = &h->context;
    h->accept.hosts = h->global.hosts;
    rc = listen_on(h, config->listener);
    *out = h;
    return rc;
}

void
http_stop_accepting(http *h)
{
    if (h->listener != NULL)
        h2o_socket_close(h->listener);
    h->listener = NULL;
    h->context.shutdown_requested =
        1; /* answers close their connections; the call for it starts HTTP/2 timers */
}

static int
hang_up(h2o_req_t *req, void *data)
{
    (void)data;
    shutdown(h2o_socket_get_fd(req->conn->callbacks->get_socket(req->conn)), SHUT_RDWR);
    return 0;
}

/* H2O has no way to close idle connections: their sockets are shut, and it finds out in the next
 * turns. */
void
http_close(http **h_p)
{
    http *h = *h_p;

    if (h == NULL)
        return;
    http_stop_accepting(h);
    for (int i = 0; i < 8 && h->connections > 0; i++) {
        H2O_HTTP1_CALLBACKS.foreach_request(&h->context, hang_up, NULL);
        http_turn(h, 0);
    }
    for (uint32_t i = 0; i < LINGERERS_MAX; i++)
        if (h->lingerers[i].sock != NULL)
            drop_lingerer(h, &h->lingerers[i]);
    for (uint32_t i = 0; i < h->watches; i++)
        h2o_socket_close(h->watched[i]);
    http_turn(h, 0);
    if (h->connections == 0) { /* else: a request is held by somebody; the process ends anyway */
        void *queue = h->context.queue; /* H2O empties it and forgets it */

        h2o_context_dispose(&h->context);
        free(queue);
        h2o_config_dispose(&h->global);
        h2o_evloop_destroy(h->loop);
        free(h);
    }
    *h_p = NULL;
}
