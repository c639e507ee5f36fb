#include "bench/push.h"

#include "bench/client.h"
#include "bench/out.h"
#include "proto/err.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ANSWER_ROOM = 1 << 20, REFUSED_MAX = 10000 };
#define NO_BODY UINT64_MAX
#define SILENCE_NS (30ull * 1000000000)

typedef struct connection {
    int      fd;
    uint64_t number; /* of the body that is under way; NO_BODY */
    view     body;
    char    *text; /* owned: where a body is written that was not made before */
    size_t   sent; /* of head and body */
    size_t   head_len;
    char     head[512];
    char    *in; /* owned, ANSWER_ROOM */
    size_t   in_len;
    uint64_t began_ns;
} connection;

typedef struct run {
    push      *p;
    int        epoll;
    uint64_t   next;
    uint64_t   began_ns, moved_ns;
    connection c[PUSH_CONNECTIONS_MAX];
} run;

static uint64_t
due_ns(const run *r, uint64_t body)
{
    double at = r->p->rate > 0 ? (double)(body - r->p->first) * r->p->g->per_body / r->p->rate : 0;

    return r->began_ns + (uint64_t)(at * 1e9);
}

static bool
is_stopped(const run *r)
{
    return r->p->stop != NULL && atomic_load(r->p->stop);
}

/* Gives an idle connection its next body, if one is due. */
static void
next_request(run *r, connection *c, uint64_t now)
{
    const generated *g = r->p->g;

    if (c->number == NO_BODY) {
        if (r->next == r->p->first + r->p->bodies || is_stopped(r) ||
            (r->p->rate > 0 && due_ns(r, r->next) > now))
            return;
        c->number = r->next++;
        c->body = generate_body(g, c->number, c->text);
        c->began_ns = r->p->rate > 0 ? due_ns(r, c->number) : now;
    }
    c->head_len = (size_t)snprintf(c->head, sizeof c->head,
                                   "POST /api/v1/ingest HTTP/1.1\r\nHost: %s\r\nX-API-Key: %s\r\n"
                                   "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n",
                                   r->p->where, r->p->key, generate_content_type(g), c->body.len);
    c->sent = 0;
    c->in_len = 0;
}

/* Sends what the socket takes.  False: the connection broke. */
static bool
send_some(connection *c)
{
    while (c->sent < c->head_len + c->body.len) {
        size_t        in_head = min_u64(c->sent, c->head_len), in_body = c->sent - in_head;
        struct iovec  v[2] = { { c->head + in_head, c->head_len - in_head },
                               { (uint8_t *)(uintptr_t)c->body.at + in_body, c->body.len - in_body } };
        struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };
        ssize_t       n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0)
            return errno == EAGAIN;
        c->sent += (size_t)n;
    }
    return true;
}

static uint64_t
readings_of(const run *r, uint64_t body)
{
    uint64_t in_round = body % r->p->g->bodies * r->p->g->per_body;

    return min_u64(r->p->g->per_body, r->p->g->readings - in_round);
}

/* All accepted?  The answer starts {"accepted_count":N,... */
static bool
all_accepted(const run *r, const connection *c, int status, view body)
{
    static const char mark[] = "\"accepted_count\":";
    const char       *at = status == 207 ? memmem(body.at, body.len, mark, sizeof mark - 1) : NULL;

    return at != NULL && strtoull(at + sizeof mark - 1, NULL, 10) == readings_of(r, c->number);
}

static void
count_answer(run *r, connection *c, int status, view body)
{
    push    *p = r->p;
    uint64_t now = bench_now_ns();

    r->moved_ns = now;
    if (!all_accepted(r, c, status, body)) {
        if (p->refused++ == 0 && !p->quiet)
            fprintf(stderr, "bench: first refusal: %.*s\n", (int)min_u64(c->in_len, 600), c->in);
        return;
    }
    p->latency_ns[p->answered++] = now - c->began_ns;
    p->accepted += readings_of(r, c->number);
    if (p->landed != NULL)
        atomic_store_explicit(p->landed, p->accepted, memory_order_relaxed);
    c->number = NO_BODY;
}

/* Takes what came.  False: the connection broke. */
static bool
take_some(run *r, connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, ANSWER_ROOM - c->in_len, MSG_DONTWAIT);
    int     status = 0;
    view    body = view_of(NULL, 0);
    size_t  chunk_at = 0;
    int64_t len;

    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->in_len += (size_t)n;
    len = client_answer_len(view_of(c->in, c->in_len), &status, &body, &chunk_at);
    if (len < 0)
        return false;
    if (len == 0)
        return c->in_len < ANSWER_ROOM;
    count_answer(r, c, status, body);
    next_request(r, c, bench_now_ns());
    return true;
}

static int
reconnect(run *r, connection *c)
{
    struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
    client             address;
    int                rc = client_open(&address, r->p->where);

    if (c->fd >= 0)
        close(c->fd);
    c->fd = rc < 0 ? rc : client_connect(address.host, address.port);
    if (c->fd < 0)
        return c->fd;
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
        return err_errno(errno, "epoll");
    next_request(r, c, bench_now_ns());
    return E_OK;
}

static int
turn(run *r, connection *c)
{
    for (;;) { /* edge-triggered: until nothing moves */
        size_t   sent = c->sent, got = c->in_len;
        uint64_t number = c->number;

        if (number == NO_BODY)
            return E_OK;
        if (!send_some(c) || !take_some(r, c))
            return ++r->p->refused < REFUSED_MAX ? reconnect(r, c) : err(E_GONE, "connections keep breaking");
        if (c->sent == sent && c->in_len == got && c->number == number)
            return E_OK;
    }
}

/* Bodies that came due while connections were idle.  *busy: something is under way. */
static int
start_due(run *r, bool *busy)
{
    uint64_t now = bench_now_ns();
    int      rc = E_OK;

    *busy = false;
    for (uint32_t i = 0; i < r->p->connections && rc == E_OK; i++) {
        connection *c = &r->c[i];

        if (c->number == NO_BODY) {
            next_request(r, c, now);
            if (c->number != NO_BODY)
                rc = turn(r, c);
        }
        *busy |= c->number != NO_BODY;
    }
    return rc;
}

static int
drive(run *r)
{
    struct epoll_event events[64];
    bool               busy = true;
    int                rc = E_OK;

    for (uint32_t i = 0; i < r->p->connections && rc == E_OK; i++)
        rc = reconnect(r, &r->c[i]);
    while (rc == E_OK && r->p->answered < r->p->bodies) {
        struct timespec wait = { .tv_sec = 1 };
        uint64_t        now = bench_now_ns();
        int             n;

        if (r->p->rate > 0 && r->next < r->p->first + r->p->bodies) {
            uint64_t due = due_ns(r, r->next);

            wait.tv_sec = 0;
            wait.tv_nsec = (long)(due > now ? min_u64(due - now, 999999999) : 0);
        }
        n = epoll_pwait2(r->epoll, events, (int)COUNT_OF(events), &wait, NULL);
        for (int i = 0; i < n && rc == E_OK; i++)
            rc = turn(r, events[i].data.ptr);
        if (rc == E_OK && (r->p->rate > 0 || n <= 0))
            rc = start_due(r, &busy);
        if (!busy && is_stopped(r))
            break;
        if (rc == E_OK && busy && bench_now_ns() - r->moved_ns > SILENCE_NS)
            rc = err(E_LATE, "no answer for 30 s");
    }
    return rc;
}

static int
prepare(run *r)
{
    push *p = r->p;

    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    p->latency_ns = calloc(p->bodies, sizeof *p->latency_ns);
    if (r->epoll < 0 || p->latency_ns == NULL)
        return err(E_NOMEM, "%" PRIu64 " bodies", p->bodies);
    for (uint32_t i = 0; i < p->connections; i++) {
        connection *c = &r->c[i];

        c->fd = -1;
        c->number = NO_BODY;
        c->in = malloc(ANSWER_ROOM);
        c->text = malloc(generate_body_max(p->g));
        if (c->in == NULL || c->text == NULL)
            return err(E_NOMEM, "connections");
    }
    return E_OK;
}

int
push_run(push *p)
{
    run *r = calloc(1, sizeof *r);
    int  rc;

    ASSERT(r != NULL && p->connections > 0 && p->connections <= PUSH_CONNECTIONS_MAX);
    r->p = p;
    r->next = p->first;
    p->answered = p->accepted = p->refused = 0;
    rc = prepare(r);
    r->began_ns = r->moved_ns = bench_now_ns();
    if (rc == E_OK)
        rc = drive(r);
    p->seconds = (double)(bench_now_ns() - r->began_ns) / 1e9;
    for (uint32_t i = 0; i < p->connections; i++) {
        if (r->c[i].fd > 0)
            close(r->c[i].fd);
        free(r->c[i].in);
        free(r->c[i].text);
    }
    if (r->epoll > 0)
        close(r->epoll);
    free(r);
    return rc;
}

void
push_free(push *p)
{
    free(p->latency_ns);
    p->latency_ns = NULL;
}
