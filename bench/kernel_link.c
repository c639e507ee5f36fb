/* kernel_link.c - see kernel_link.h.  The link is the one that nodes have between them (transport/trunk.h), on a thread
 * of its own as its actor would have it. */
#include "bench/kernel_link.h"

#include "bench/out.h"
#include "proto/err.h"
#include "transport/trunk.h"
#include "transport/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct host {
    char        dir[96];
    trust_pair  key;
    trunk_peer  peer;
    char        listen[64];
    addr        me, other;
    void       *ctx;
    wire       *link_wire; /* the link's slot and epoch */
    trunk      *t;
    pthread_t   thread;
    bool        runs;
    atomic_bool stop;
};

static const addr links = (addr)KIND_WORKER << 32;

/* ---- what the trunk asks ---- */

static int
whose(void *ctx, addr who, bool *same_process)
{
    const host *h = ctx;

    *same_process = true;
    return who == h->me ? TRUNK_HERE : who == h->other ? 0 : TRUNK_NOBODY;
}

static bool
meet(void *ctx, uint32_t peer, view card)
{
    (void)ctx, (void)peer, (void)card;
    return true;
}

static void
heard(void *ctx, uint32_t peer, view word)
{
    (void)ctx, (void)peer, (void)word;
}

static void
begin(void *ctx, uint32_t peer)
{
    (void)ctx, (void)peer;
}

static bool
say(void *ctx, uint32_t peer)
{
    (void)ctx, (void)peer;
    return true;
}

/* ---- making ---- */

static int
free_port(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len = sizeof at;
    int                fd = socket(AF_INET, SOCK_STREAM, 0);
    int                port = -1;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 &&
        getsockname(fd, (struct sockaddr *)&at, &len) == 0)
        port = ntohs(at.sin_port);
    if (fd >= 0)
        (void)close(fd);
    return port;
}

static int
make_host(host *h, const char *dir, int number)
{
    char path[112];
    int  port = free_port();
    int  rc;

    (void)snprintf(h->dir, sizeof h->dir, "%s/%d", dir, number);
    if (port < 0 || mkdir(h->dir, 0700) < 0)
        return err_errno(errno, "make %s", h->dir);
    (void)snprintf(h->listen, sizeof h->listen, "tcp://127.0.0.1:%d", port);
    (void)snprintf(path, sizeof path, "%s/key", h->dir);
    rc = trust_make(path, &h->key);
    if (rc >= 0)
        rc = wire_slot_create(h->dir, links);
    return rc >= 0 ? wire_slot_create(h->dir, h->me) : rc;
}

static void
introduce(host *h, const host *to)
{
    (void)snprintf(h->peer.name, sizeof h->peer.name, "other");
    (void)snprintf(h->peer.endpoint, sizeof h->peer.endpoint, "%s", to->listen);
    memcpy(h->peer.key, to->key.public, TRUST_KEY_LEN);
}

int
kernel_hosts_make(host *both[2], const char *dir, addr me, addr other)
{
    int rc = E_OK;

    for (int i = 0; i < 2; i++)
        both[i] = calloc(1, sizeof *both[i]);
    if (both[0] == NULL || both[1] == NULL)
        rc = err(E_NOMEM, "hosts");
    for (int i = 0; i < 2 && rc >= 0; i++) {
        both[i]->me = i == 0 ? me : other;
        both[i]->other = i == 0 ? other : me;
        rc = make_host(both[i], dir, i);
    }
    if (rc < 0) {
        kernel_hosts_free(both);
        return rc;
    }
    introduce(both[0], both[1]);
    introduce(both[1], both[0]);
    return E_OK;
}

void
kernel_hosts_free(host *both[2])
{
    for (int i = 0; i < 2; i++) {
        free(both[i]);
        both[i] = NULL;
    }
}

const char *
kernel_host_dir(const host *h)
{
    return h->dir;
}

addr
kernel_host_link(const host *h)
{
    (void)h;
    return links;
}

/* ---- the link's thread ---- */

static int
open_trunk(host *h)
{
    trunk_spec s = { .zmq_ctx = h->ctx,
                     .run_dir = h->dir,
                     .self = links,
                     .listen = h->listen,
                     .own = &h->key,
                     .peers = &h->peer,
                     .peer_count = 1,
                     .card = VIEW_LIT("bench"),
                     .calls = { h, whose, meet, heard, begin, say } };
    int        rc = wire_open(&h->link_wire, h->ctx, h->dir, links);

    if (rc < 0)
        return rc;
    s.epoch = wire_epoch(h->link_wire);
    return trunk_open(&h->t, &s);
}

static void *
run(void *arg)
{
    host         *h = arg;
    struct pollfd p = { .fd = trunk_fd(h->t), .events = POLLIN };
    uint64_t      tick_at = 0;
    uint64_t      tick_ns = TRUNK_TICK_MS * UINT64_C(1000000);

    while (!atomic_load(&h->stop)) {
        (void)poll(&p, 1, TRUNK_TICK_MS);
        while (trunk_pump(h->t) && !atomic_load(&h->stop))
            ;
        if (bench_now_ns() < tick_at)
            continue;
        tick_at = bench_now_ns() + tick_ns;
        (void)trunk_tick(h->t);
    }
    return NULL;
}

int
kernel_host_start(host *h, void *zmq_ctx)
{
    int rc;

    h->ctx = zmq_ctx;
    atomic_store(&h->stop, false);
    rc = open_trunk(h);
    if (rc >= 0 && pthread_create(&h->thread, NULL, run, h) != 0)
        rc = err(E_NOMEM, "thread");
    h->runs = rc >= 0;
    if (rc < 0)
        kernel_host_stop(h);
    return rc;
}

void
kernel_host_stop(host *h)
{
    atomic_store(&h->stop, true);
    if (h->runs)
        (void)pthread_join(h->thread, NULL);
    h->runs = false;
    trunk_close(&h->t);
    wire_close(&h->link_wire);
}
