#include "bench/slow.h"

#include "bench/client.h"
#include "proto/err.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BYTE_MS = 1000, ROUNDS = 20, NICE = 10 }; /* a byte a second each, a twentieth of them at a time */

static const char head[] = "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ";
static const char body[] = "POST /api/v1/ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: none\r\nContent-Length: 1000000\r\n\r\n";

static int
connect_one(slow *s, uint32_t i)
{
    view begin = i % 2 == 0 ? view_of(head, sizeof head - 1) : view_of(body, sizeof body - 1);
    int  fd = client_connect(s->host, s->port);

    if (fd < 0)
        return fd;
    s->fds[i] = fd;
    (void)!send(fd, begin.at, begin.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return E_OK;
}

/* The next byte; a connection that the server has closed is made anew. */
static void
trickle(slow *s, uint32_t i)
{
    char    waste[512];
    ssize_t n = recv(s->fds[i], waste, sizeof waste, MSG_DONTWAIT);

    if (n != 0 && (n > 0 || errno == EAGAIN) && send(s->fds[i], "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1)
        return;
    s->closed++;
    close(s->fds[i]);
    s->fds[i] = -1;
    if (connect_one(s, i) < 0)
        err_clear(); /* tried again when its turn comes */
}

static void *
run(void *arg)
{
    slow *s = arg;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICE);
    for (uint32_t round = 0; !atomic_load(&s->stop); round = (round + 1) % ROUNDS) {
        struct timespec t = { .tv_nsec = BYTE_MS * 1000000L / ROUNDS };

        for (uint32_t i = round; i < s->connections; i += ROUNDS)
            trickle(s, i);
        nanosleep(&t, NULL);
    }
    return NULL;
}

int
slow_start(slow *s)
{
    int rc = E_OK;

    s->fds = calloc(s->connections, sizeof *s->fds);
    ASSERT(s->fds != NULL);
    for (uint32_t i = 0; i < s->connections; i++)
        s->fds[i] = -1;
    for (uint32_t i = 0; i < s->connections && rc == E_OK; i++)
        rc = connect_one(s, i);
    if (rc == E_OK && pthread_create(&s->thread, NULL, run, s) != 0)
        rc = err(E_NOMEM, "a thread");
    if (rc < 0)
        atomic_store(&s->stop, true);
    return rc;
}

void
slow_end(slow *s)
{
    if (s->fds == NULL)
        return;
    if (!atomic_exchange(&s->stop, true))
        pthread_join(s->thread, NULL);
    for (uint32_t i = 0; i < s->connections; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    free(s->fds);
    s->fds = NULL;
}
