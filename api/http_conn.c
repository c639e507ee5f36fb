/* http_conn.c - connections (http_inner.h): accepted, watched, closed without losing the last answer.
 *
 *   accept ─▶ (TLS handshake) ─▶ idle ─▶ a request arrives ─▶ being answered ─▶ idle ...
 *                                 │            │
 *             request_timeout ────┴────────────┴── the same, and a second more for each 50 kB that came:
 *                                                  whoever trickles is closed, with a 408 where one can be said
 *
 * H2O has one timer for all of a request, which would cut an honest slow body; it is set so high that
 * only what is told here decides.
 */
#include "api/http_inner.h"
#include "proto/err.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ACCEPTS_A_TURN = 16,
    HANDSHAKES_A_TURN = 2, /* a signature takes 30 us with a key of P-256, 700 us with RSA of 2048 bits */
    LINGER_MS = 2000,
    LINGER_BYTES = 64 << 20,
    SWEEP_MIN = 512,  /* connections of one sweep; or ... */
    SWEEP_SHARE = 20, /* ... a twentieth: all are seen within a second */
    BODY_BYTES_PER_S = 50000,
    INPUT_STEP = 8192,
};

static const char too_slow[] = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: "
                               "application/json\r\nContent-Length: 44\r\n\r\n"
                               "{\"detail\":\"The request arrives too slowly.\"}";

static void
drop_lingerer(lingerer *l)
{
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
        drop_lingerer(l);
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
    if (h->next_conn == &c->link)
        h->next_conn = c->link.next;
    h2o_linklist_unlink(&c->link);
    http_bulk_forget(c);
    if (c->linger_fd >= 0)
        linger(h, c->linger_fd);
    free(c);
}

conn *
http_conn_of(h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

void
http_conn_linger(h2o_req_t *req)
{
    conn *c = http_conn_of(req);

    if (c->linger_fd < 0 && !c->multiplexed)
        c->linger_fd = fcntl(h2o_socket_get_fd(c->sock), F_DUPFD_CLOEXEC, 3);
}

void
http_conn_hang_up(h2o_socket_t *sock)
{
    shutdown(h2o_socket_get_fd(sock), SHUT_RDWR);
}

static void
pause_accepting(http *h)
{
    if (h->listener != NULL && !h->paused)
        h2o_socket_read_stop(h->listener);
    h->paused = true;
}

void
http_conn_resume(http *h)
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
    int   most = h->tls == NULL ? ACCEPTS_A_TURN : HANDSHAKES_A_TURN;

    if (error != NULL)
        return;
    for (int i = 0; i < most; i++) {
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
        *c = (conn){ .h = h, .sock = sock, .since_ms = now_ms(), .linger_fd = -1 };
        sock->on_close.cb = on_socket_close;
        sock->on_close.data = c;
        h->connections++;
        h2o_linklist_insert(&h->conns, &c->link);
        h->accept.ssl_ctx = h->tls;
        http_bulk_watch(c);
        h2o_accept(&h->accept, sock);
    }
}

int
http_conn_listen(http *h, int fd)
{
    int own;

    if (fd < 0)
        return E_OK;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0)
        return err_errno(errno, "duplicate the listener");
    http_bulk_listen(own);
    h->listener = h2o_evloop_socket_create(h->loop, own, H2O_SOCKET_FLAG_DONT_READ);
    h->listener->data = h;
    h2o_socket_read_start(h->listener, on_connect);
    return E_OK;
}

/* ---- those that are slow ---- */

/* A request that arrives has had its time, and a second more for each 50 kB that came. */
static bool
is_in_time(const http *h, conn *c, uint64_t now)
{
    size_t got = c->sock->input == NULL ? 0 : c->sock->input->size;

    if (got > 0 && !c->arriving)
        c->since_ms = now;
    c->arriving = got > 0;
    return now - c->since_ms <= h->config.request_timeout_ms + got * 1000 / BODY_BYTES_PER_S;
}

/* What it takes of memory: pages behind the bytes that came were not touched yet. */
static size_t
input_bytes(const h2o_socket_t *sock)
{
    return (size_t)min_u64(sock->input->capacity, sock->input->size + INPUT_STEP);
}

static void
look_at(http *h, conn *c, uint64_t now)
{
    if (c->upgraded)
        return;
    if (c->sock->input != NULL && c->requests == 0)
        h->pass_bytes += input_bytes(c->sock);
    if (c->doomed) {
        http_conn_hang_up(c->sock);
        return;
    }
    if (c->requests > 0 || c->multiplexed || is_in_time(h, c, now))
        return;
    if (c->arriving && c->sock->ssl == NULL) /* nothing else is being written to it */
        (void)send(h2o_socket_get_fd(c->sock), too_slow, sizeof too_slow - 1,
                   MSG_DONTWAIT | MSG_NOSIGNAL);
    http_conn_hang_up(c->sock);
}

void
http_conn_sweep(http *h, uint64_t now)
{
    uint64_t most = max_u64(SWEEP_MIN, h->connections / SWEEP_SHARE + 1);

    for (; most > 0; most--) {
        if (h->next_conn == &h->conns) { /* a pass is over */
            h->arriving_bytes = h->pass_bytes;
            h->pass_bytes = 0;
            h->next_conn = h->conns.next;
            return;
        }
        conn *c = H2O_STRUCT_FROM_MEMBER(conn, link, h->next_conn);

        h->next_conn = c->link.next;
        look_at(h, c, now);
    }
}

void
http_conn_drop_lingerers(http *h, uint64_t now)
{
    for (uint32_t i = 0; i < LINGERERS_MAX; i++)
        if (h->lingerers[i].sock != NULL && now >= h->lingerers[i].until_ms)
            drop_lingerer(&h->lingerers[i]);
}
