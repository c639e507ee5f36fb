/* http.c - the loop of http.h: turns, budgets, settings; connections are http_conn.c's, requests
 * and answers http_exchange.c's.
 *
 * Traps of H2O 2.2 minded here: a callback that a write schedules runs inside h2o_evloop_run()
 * only, behind its poll, so after a write from outside the next turn must not sleep (http_touch);
 * foreign descriptors are duplicated and never read from; h2o_evloop_run() fails on EINTR.
 */
#include "api/http_inner.h"
#include "api/tls.h"
#include "proto/err.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <h2o/http1.h>
#include <h2o/http2.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    STALL_MS = 60000, /* an answer of which nothing was taken for so long */
    TICK_MS = 1000,
    BUDGET_MS = 50,
    SHED_MIN = 65536,       /* requests smaller than this are never shed */
    BODY_BYTES_PER_MS = 50, /* the slowest body, for H2O's own timer */
};

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
    a->bytes += sock->input->size;
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
        http_conn_hang_up(f->conn->sock);
    }
    http_conn_drop_lingerers(h, now);
}

static void
tick(http *h)
{
    uint64_t now = now_ms();

    if (now - h->budget_ms >= BUDGET_MS) {
        h->budget_ms = now;
        http_conn_sweep(h, now);
        if (h->arriving_bytes > h->config.bodies_bytes)
            keep_body_budget(h);
        http_conn_resume(h);
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
    uint64_t cpu_ns = thread_cpu_ns();

    h->turn_cpu_ns = h->cpu_ns == 0 ? 0 : cpu_ns - h->cpu_ns;
    h->cpu_ns = cpu_ns;

    http_exchange_push(h);
    http_bulk_turn(h);
    if (h->touched)
        wait_ms = 0;
    h->touched = false;
    h->in_turn = true;
    h->turns++;
    if (h2o_evloop_run(h->loop, (int32_t)wait_ms) != 0 && errno != EINTR)
        log_warn("http.loop", "error=%s", log_quote(view_str(strerror(errno))));
    h->in_turn = false;
    tick(h);
}

uint64_t
http_turn_cpu_ns(const http *h)
{
    return h->turn_cpu_ns;
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

static void
configure(http *h)
{
    h2o_hostconf_t *host;

    h2o_config_init(&h->global);
    h->global.server_name = h2o_iovec_init(H2O_STRLIT(""));
    h->global.max_request_entity_size =
        h->config.body_bytes + 1; /* chunked bodies are refused at, not above it */
    h->global.handshake_timeout = h->config.request_timeout_ms;
    h->global.http1.req_timeout = 2 * h->config.request_timeout_ms +
                                  h->config.body_bytes / BODY_BYTES_PER_MS; /* see http_conn.c */
    h->global.http1.upgrade_to_http2 = h->config.http2;
    h->global.http2.idle_timeout = h->config.request_timeout_ms;
    h->global.http2.graceful_shutdown_timeout = h->config.request_timeout_ms;
    h->global.http2.max_concurrent_requests_per_connection = STREAMS_MAX;
    host = h2o_config_register_host(&h->global, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    http_exchange_setup(h, host);
}

int
http_load_tls(http *h, const char *cert, const char *key)
{
    SSL_CTX *fresh = NULL;
    int      rc = tls_open(&fresh, cert, key, h->config.http2);

    if (rc < 0)
        return rc;
    tls_close(&h->tls); /* connections hold on to theirs */
    h->tls = fresh;
    return E_OK;
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
    h2o_linklist_init_anchor(&h->due);
    h2o_linklist_init_anchor(&h->bulk);
    h2o_linklist_init_anchor(&h->unwatched);
    h2o_linklist_init_anchor(&h->conns);
    h->next_conn = &h->conns;
    http_bulk_open(h);
    configure(h);
    h2o_context_init(&h->context, h->loop, &h->global);
    h->accept.ctx = &h->context;
    h->accept.hosts = h->global.hosts;
    rc = config->cert == NULL ? E_OK : http_load_tls(h, config->cert, config->key);
    if (rc == E_OK)
        rc = http_conn_listen(h, config->listener);
    *out = h;
    return rc;
}

void
http_stop_accepting(http *h)
{
    if (h->listener != NULL)
        h2o_socket_close(h->listener);
    h->listener = NULL;
    if (h->config.http2)
        h2o_context_request_shutdown(&h->context);
    h->context.shutdown_requested = 1; /* answers close their connections */
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
        for (h2o_linklist_t *at = h->conns.next; at != &h->conns; at = at->next)
            http_conn_hang_up(H2O_STRUCT_FROM_MEMBER(conn, link, at)->sock);
        http_turn(h, 0);
    }
    http_conn_drop_lingerers(h, UINT64_MAX);
    for (uint32_t i = 0; i < h->watches; i++)
        h2o_socket_close(h->watched[i]);
    http_turn(h, 0);
    if (h->connections == 0) { /* else: a request is held by somebody; the process ends anyway */
        void *queue = h->context.queue; /* H2O empties it and forgets it */

        h2o_context_dispose(&h->context);
        free(queue);
        h2o_config_dispose(&h->global);
        h2o_evloop_destroy(h->loop);
        http_bulk_close(h);
        tls_close(&h->tls);
        free(h);
    }
    *h_p = NULL;
}
