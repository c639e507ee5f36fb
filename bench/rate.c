#include "bench/rate.h"

#include "bench/client.h"
#include "bench/out.h"
#include "proto/err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_ROOM = 1 << 16, ANSWER_MAX = 64 << 20, SILENCE_MS = 30000 };

typedef struct connection {
    int    fd;
    char   out[2048];
    size_t out_len, sent;
    char  *in; /* owned */
    size_t in_len, in_room;
    size_t chunk_at;
} connection;

typedef struct run {
    rate      *r;
    int        epoll;
    uint64_t   until_ns;
    uint32_t   asking; /* connections with a question under way */
    connection c[RATE_CONNECTIONS_MAX];
} run;

static void
next_question(run *r, connection *c)
{
    question q = { .method = "GET" };

    c->sent = c->in_len = c->chunk_at = 0;
    r->r->ask(r->r->ctx, &q);
    c->out_len = (size_t)snprintf(c->out, sizeof c->out,
                                  "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                                  "Content-Length: %zu\r\n%s\r\n%s",
                                  q.method, q.path, r->r->where, strlen(q.body), r->r->auth, q.body);
    ASSERT(c->out_len < sizeof c->out);
}

static int
send_some(connection *c)
{
    while (c->sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->sent, c->out_len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN ? E_OK : err_errno(errno, "send");
        c->sent += (size_t)n;
    }
    return E_OK;
}

static int
make_room(connection *c)
{
    char *more;

    if (c->in_len + 1 < c->in_room)
        return E_OK;
    more = c->in_room >= ANSWER_MAX ? NULL : realloc(c->in, c->in_room * 2 + ANSWER_ROOM);
    if (more == NULL)
        return err(E_LIMIT, "an answer of more than %zu bytes", c->in_len);
    c->in = more;
    c->in_room = c->in_room * 2 + ANSWER_ROOM;
    return E_OK;
}

/* An answer that is whole is judged, and the next question goes out while there is time. */
static int
take_answer(run *r, connection *c)
{
    int     status = 0, rc = E_OK;
    view    body = view_of(NULL, 0);
    int64_t len = client_answer_len(view_of(c->in, c->in_len), &status, &body, &c->chunk_at);

    if (len <= 0)
        return len < 0 ? err(E_BAD, "an answer is not HTTP") : E_OK;
    if (!r->r->judge(r->r->ctx, status, body))
        return err(E_BAD, "a wrong answer: %d %.*s", status, (int)min_u64(body.len, 200), (const char *)body.at);
    r->r->answered++;
    if (bench_now_ns() >= r->until_ns) {
        r->asking--;
        c->out_len = c->sent = c->in_len = 0;
        return E_OK;
    }
    next_question(r, c);
    rc = send_some(c);
    return rc;
}

/* Edge-triggered: until nothing is left to take. */
static int
turn(run *r, connection *c)
{
    int rc = send_some(c);

    while (rc == E_OK) {
        ssize_t n;

        if ((rc = make_room(c)) < 0)
            break;
        n = recv(c->fd, c->in + c->in_len, c->in_room - c->in_len - 1, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return err(E_GONE, "the server closed a connection");
        c->in_len += (size_t)n;
        c->in[c->in_len] = '\0';
        rc = take_answer(r, c);
    }
    return rc;
}

static int
open_one(run *r, connection *c)
{
    struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
    client             address;
    int                rc = client_open(&address, r->r->where);

    c->fd = rc < 0 ? rc : client_connect(address.host, address.port);
    if (c->fd < 0)
        return c->fd;
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    next_question(r, c);
    r->asking++;
    return epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0 ? err_errno(errno, "epoll") : E_OK;
}

static int
drive(run *r)
{
    struct epoll_event events[RATE_CONNECTIONS_MAX];
    uint64_t           pause = r->r->pause_ns, due = bench_now_ns() + pause;
    int                rc = E_OK;

    while (rc == E_OK && r->asking > 0) {
        int n = epoll_wait(r->epoll, events, (int)COUNT_OF(events), SILENCE_MS);

        if (n == 0)
            return err(E_LATE, "no answer for %d s", SILENCE_MS / 1000);
        for (int i = 0; i < n && rc == E_OK; i++)
            rc = turn(r, events[i].data.ptr);
        if (rc == E_OK && pause > 0 && bench_now_ns() >= due) {
            due += pause;
            rc = r->r->meanwhile(r->r->ctx);
        }
    }
    return rc;
}

int
rate_run(rate *what)
{
    run     *r = calloc(1, sizeof *r);
    uint64_t began = bench_now_ns();
    int      rc = E_OK;

    ASSERT(r != NULL && what->connections > 0 && what->connections <= RATE_CONNECTIONS_MAX);
    r->r = what;
    r->until_ns = began + (uint64_t)(what->seconds * 1e9);
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    what->answered = 0;
    if (r->epoll < 0)
        rc = err_errno(errno, "epoll");
    for (uint32_t i = 0; i < what->connections; i++)
        r->c[i].fd = -1;
    for (uint32_t i = 0; i < what->connections && rc == E_OK; i++)
        rc = open_one(r, &r->c[i]);
    if (rc == E_OK)
        rc = drive(r);
    what->took = (double)(bench_now_ns() - began) / 1e9;
    for (uint32_t i = 0; i < what->connections; i++) {
        if (r->c[i].fd >= 0)
            close(r->c[i].fd);
        free(r->c[i].in);
    }
    if (r->epoll >= 0)
        close(r->epoll);
    free(r);
    return rc;
}
