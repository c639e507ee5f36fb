/* http_exchange.c - a request and its answer (http_inner.h).
 *
 * H2O parses heads and reads bodies; what it lets through and a careful server does not is looked for
 * in the raw head:
 *
 *   socket's input: | raw head (names lower-cased in place) | body ... | next request ...
 *                   ^ stays there until the answer is done                (HTTP/1.x)
 */
#include "api/http_inner.h"
#include "proto/err.h"

#include <h2o/websocket.h>
#include <stdio.h>
#include <sys/socket.h>

enum {
    STREAM_HIGH = 65536, /* bytes waiting for a slow client before http_stream() says so */
    PIECE_LEN = 128 << 10, /* of a long answer that is sent in one turn */
    PIECES_A_TURN = 4,
    HEAD_LINES_MAX = 128,
    RESETS_MAX = 100, /* requests taken back within ... */
    RESETS_MS = 10000,
};
#define HTTP_2 0x200

static flow *
flow_of(exchange *x)
{
    return H2O_STRUCT_FROM_MEMBER(flow, x, x);
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

/* HTTP/2 lets a client take requests back as fast as it makes them, each having cost its work:
 *
 *   - those that wait for another actor are seen to be taken back unanswered
 *   - others were answered before their reset was read; but nobody can have seen so many answers in one
 *     turn as to be allowed more streams than twice the bound
 */
static void
note_request(http *h, conn *c, int version)
{
    c->requests++;
    c->multiplexed = c->multiplexed || version >= HTTP_2;
    c->of_turn = c->turn == h->turns ? c->of_turn + 1 : 1;
    c->turn = h->turns;
    if (c->multiplexed && c->of_turn > 2 * STREAMS_MAX)
        c->doomed = true;
}

static void
note_reset(conn *c)
{
    uint64_t now = now_ms();

    if (now - c->resets_ms > RESETS_MS) {
        c->resets_ms = now;
        c->resets = 0;
    }
    c->doomed = c->doomed || ++c->resets > RESETS_MAX;
}

static void
flow_gone(void *data)
{
    flow            *f = data;
    const h2o_req_t *req = req_of(&f->x);
    conn            *c = f->conn;

    c->requests--;
    c->since_ms = now_ms();
    c->arriving = false;
    c->upgraded = c->upgraded || req->res.status == 101;
    if (!c->upgraded && !c->multiplexed)
        http_bulk_watch(c);
    if (c->multiplexed && (!f->x.answered || f->stopped))
        note_reset(c);
    h2o_linklist_unlink(&f->link);
    if (h2o_linklist_is_linked(&f->due))
        h2o_linklist_unlink(&f->due);
    free(f->filling.at);
    free(f->under_way.at);
    free(f->taken);
    if (f->x.gone != NULL)
        f->x.gone(f->x.owner);
}

static void on_proceed(h2o_generator_t *generator, h2o_req_t *req);

static void
on_stop(h2o_generator_t *generator, h2o_req_t *req)
{
    flow *f = H2O_STRUCT_FROM_MEMBER(flow, generator, generator);

    (void)req;
    f->x.answered = true;
    f->stopped = true;
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
    f->conn = http_conn_of(req);
    note_request(h, f->conn, req->version);
    http_bulk_ends(f->conn);
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
        f->x.has_body && in->bytes != NULL && req->version < HTTP_2 &&
        (size_t)(in->_buf + in->capacity - (req->entity.base + req->entity.len)) >= BODY_PAD;
    return f;
}

/* HTTP/1.x; HTTP/2 has no such head, and H2O is strict with its own. */
static uint16_t
refusal_of(const h2o_req_t *req, const char **fault)
{
    const h2o_socket_t *sock = req->conn->callbacks->get_socket(req->conn);
    size_t              head_len = 0;

    *fault = NULL;
    if (req->version >= HTTP_2)
        return 0;
    *fault = sock->input->bytes == NULL ? "Request head is malformed."
                                        : head_fault(req, sock->input->bytes, sock->input->size, &head_len);
    if (*fault != NULL)
        return 400;
    *fault = "Request head is too large.";
    return head_len > HEAD_MAX ? 431 : 0;
}

static int
on_req(h2o_handler_t *self, h2o_req_t *req)
{
    http       *h = ((handler *)self)->h;
    flow       *f = flow_new(h, req);
    const char *fault;
    uint16_t    status = refusal_of(req, &fault);

    if (f->conn->doomed) {
        http_refuse(&f->x, 503, NULL, (view){ 0 });
    } else if (status != 0) {
        char text[128];
        int  n = snprintf(text, sizeof text, "{\"detail\":\"%s\"}", fault);

        http_refuse(&f->x, status, "application/json", view_of(text, (size_t)n));
    } else {
        h->config.on_request(h->config.ctx, &f->x);
    }
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
    http_conn_linger(req_of(x));
    http_answer(x, status, content_type, body);
}

/* ---- long answers: a piece a turn, so that one client's never holds the loop ---- */

static void
answer_long(exchange *x, uint16_t status, const char *content_type, view body)
{
    flow      *f = flow_of(x);
    h2o_req_t *req = req_of(x);

    answer_begin(f, status, content_type);
    f->sending = false;
    f->in_pieces = true;
    f->left = x->is_head ? view_of(body.at, 0) : body;
    req->res.content_length = body.len;
    h2o_start_response(req, &f->generator);
    h2o_linklist_insert(&x->at->due, &f->due);
}

void
http_answer_static(exchange *x, uint16_t status, const char *content_type, view body)
{
    answer_long(x, status, content_type, body);
}

void
http_answer_taken(exchange *x, uint16_t status, const char *content_type, char **bytes, size_t from, size_t len)
{
    flow_of(x)->taken = *bytes;
    answer_long(x, status, content_type, view_of(*bytes + from, len));
    *bytes = NULL;
}

static void
push_piece(flow *f)
{
    h2o_iovec_t piece = h2o_iovec_init(f->left.at, (size_t)min_u64(PIECE_LEN, f->left.len));

    f->left = view_of(f->left.at + piece.len, f->left.len - piece.len);
    f->sending = true;
    f->progress_ms = now_ms();
    http_touch(f->x.at);
    h2o_send(req_of(&f->x), &piece, piece.len > 0, f->left.len == 0 ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
}

void
http_exchange_push(http *h)
{
    for (int i = 0; i < PIECES_A_TURN && !h2o_linklist_is_empty(&h->due); i++) {
        flow *f = H2O_STRUCT_FROM_MEMBER(flow, due, h->due.next);

        h2o_linklist_unlink(&f->due);
        push_piece(f);
    }
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
    if (f->in_pieces) {
        h2o_linklist_insert(&f->x.at->due, &f->due);
        return;
    }
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
        http_conn_linger(req);
        r = (rewrite *)h2o_add_ostream(req, sizeof *r, slot);
        r->super.do_send = rewrite_send;
        r->body = h2o_iovec_init(own_error_body(req->res.status),
                                 strlen(own_error_body(req->res.status)));
        req->res.content_length = r->body.len;
        slot = &r->super.next;
    }
    h2o_setup_next_ostream(req, slot);
}

void
http_exchange_setup(http *h, h2o_hostconf_t *host)
{
    handler *on_all = (handler *)h2o_create_handler(&host->fallback_path, sizeof *on_all);
    filter  *json = (filter *)h2o_create_filter(&host->fallback_path, sizeof *json);

    on_all->super.on_req = on_req;
    on_all->h = h;
    json->super.on_setup_ostream = on_setup_ostream;
    json->h = h;
}
