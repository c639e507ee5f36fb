/* wire.c - bells, sleep, and the descriptor that stands for all of an actor's sockets.
 *
 *   peers' PUSH ───notes───▶ PULL (bell)                  ┐
 *   far ROUTER ◀──frames──▶ DEALER (road.c), one an edge  ├─▶ one epoll descriptor ─▶ wire_wait,
 *   far DEALER ◀──frames──▶ ROUTER (gate.c)               │                           a foreign loop
 *   helper threads ────────▶ eventfd                      ┘
 *
 * ZMQ_FD's rule: its signal may be consumed by any call on the socket.  So a socket is drained
 * until EAGAIN after every call on it, and nothing else calls it: then a signal not yet consumed is
 * there for epoll to see. A PULL socket is only ever received from, which makes that easy;
 * road.c and gate.c keep the rule for theirs.
 *
 * Notes come only to who said that it sleeps.  Awake, wire_pump() therefore costs one branch; a
 * late note costs one look.  An endpoint's name ends in the epoch of its owner's life, so a note or
 * a frame for a predecessor goes nowhere, and neither inproc (which does not reconnect) nor a stale
 * socket file matters.
 */
#include "transport/wire.h"
#include "transport/gate.h"
#include "transport/road.h"
#include "transport/slot.h"

#include "proto/err.h"
#include "proto/world.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum {
    WIRE_FOREIGN_MAX = 64,
    EVENTS_MAX = 64,
    NOTES_MAX = 4096,
    SOCKETS_MAX = 8192,
    BELL_HWM = 16,
    ENDPOINT_MAX = WIRE_ENDPOINT_MAX
};
enum { MISSED_AFTER_NS = 1000000000, NOTE_ON_ITS_WAY_NS = 50000000 };
enum {
    LOOK_NOTES = -1,
    LOOK_POKED = -2,
    LOOK_TIMER = -3,
    LOOK_GATE = -4
}; /* epoll data; else: an edge number */

typedef struct peer {
    addr     who;
    slot    *slot;
    void    *push; /* made at the first ring */
    uint64_t epoch;
    uint64_t rung; /* the parked value it was rung for last */
    bool     same_process;
} peer;

typedef struct edge {
    lane    *lane;
    peer    *peer;
    road    *road; /* zmq carrier, out */
    bool     in;
    carrier  carrier;
    uint32_t gate_number; /* zmq carrier, in */
    uint64_t tail_at_sleep;
} edge;

struct wire {
    void        *ctx;
    char        *dir;
    addr         self;
    slot        *slot;
    uint64_t     epoch;
    void        *pull;
    bool         reachable; /* ipc is bound too */
    int          epoll;
    int          poke_fd;
    _Atomic bool poked;
    bool         look; /* something may have come to the sockets */
    bool         notes_left;
    bool         has_roads;
    bool         armed; /* the timer */
    bool         gate_reachable;
    int          timer; /* of the roads */
    void        *bell;  /* of the world, where that has bells of its own */
    gate        *gate;
    peer       **peers;
    uint32_t     peer_count;
    edge        *edges;
    uint32_t     edge_count;
    wire_counts  counts;
};

/* ---- the process's context ---- */

void *
wire_context(void)
{
    void *ctx = zmq_ctx_new();

    ASSERT(ctx != NULL);
    (void)zmq_ctx_set(ctx, ZMQ_IO_THREADS, 1);
    (void)zmq_ctx_set(ctx, ZMQ_MAX_SOCKETS, SOCKETS_MAX);
    (void)zmq_ctx_set(ctx, ZMQ_BLOCKY, 0);
    return ctx;
}

void
wire_context_warm(void *zmq_ctx)
{
    void *socket = zmq_socket(zmq_ctx, ZMQ_PULL);

    if (socket != NULL)
        (void)zmq_close(socket);
}

void
wire_context_close(void *zmq_ctx)
{
    while (zmq_ctx_term(zmq_ctx) < 0 && errno == EINTR)
        ;
}

int
wire_slot_create(const char *run_dir, addr who)
{
    return slot_create(run_dir, who);
}

/* ---- endpoints ---- */

int
wire_endpoint(char out[WIRE_ENDPOINT_MAX], const char *run_dir, const char *what, addr of,
              uint64_t epoch, bool same_process)
{
    size_t room = same_process ? ENDPOINT_MAX
                               : sizeof "ipc://" + sizeof((struct sockaddr_un *)0)->sun_path - 1;
    int    n = snprintf(out, ENDPOINT_MAX, "%s%s/%s.%s.%u.%llu",
                        same_process ? "inproc://" : "ipc://", run_dir, what,
                        kind_name(addr_kind(of)), addr_part(of), (unsigned long long)epoch);

    return n > 0 && (size_t)n < room ? E_OK
                                     : err(E_RANGE, "%s is too long for a socket's path", run_dir);
}

static int
endpoint(const wire *w, char out[ENDPOINT_MAX], const char *what, addr of, uint64_t epoch,
         bool same_process)
{
    return wire_endpoint(out, w->dir, what, of, epoch, same_process);
}

uint64_t
wire_epoch(const wire *w)
{
    return w->epoch;
}

static int
bind_at(wire *w, void *socket, const char *what, bool same_process)
{
    char name[ENDPOINT_MAX];
    int  rc = endpoint(w, name, what, w->self, w->epoch, same_process);

    if (rc < 0)
        return rc;
    if (w->gate != NULL)
        gate_touched(w->gate);
    return zmq_bind(socket, name) == 0 ? E_OK : err_errno(zmq_errno(), "bind %s", name);
}

/* What a killed predecessor left. */
static void
forget_predecessor(const wire *w)
{
    static const char *const names[] = { "bell", "road" };
    char                     name[ENDPOINT_MAX];

    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (w->epoch > 1 && endpoint(w, name, names[i], w->self, w->epoch - 1, false) == E_OK)
            (void)unlink(name + strlen("ipc://"));
}

/* Peers in other processes will want to reach us. */
static int
be_reachable(wire *w)
{
    int rc = E_OK;

    if (w->bell != NULL)
        return E_OK;
    if (!w->reachable)
        rc = bind_at(w, w->pull, "bell", false);
    w->reachable = rc == E_OK;
    w->notes_left = w->look = true; /* the call may have consumed a signal */
    return rc;
}

/* ---- opening and closing ---- */

static void
set_int(void *socket, int option, int value)
{
    ASSERT(zmq_setsockopt(socket, option, &value, sizeof value) == 0);
}

static int
watch(wire *w, int fd, int32_t what)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.u32 = (uint32_t)what };

    return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &ev) == 0 ? E_OK
                                                            : err_errno(errno, "watch a socket");
}

static int
watch_socket(wire *w, void *socket, int32_t what)
{
    int    fd = -1;
    size_t len = sizeof fd;

    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &len) < 0)
        return err_errno(zmq_errno(), "descriptor of a socket");
    return watch(w, fd, what);
}

static int
open_sockets(wire *w)
{
    int rc;

    if (the_world->bells != NULL) {
        w->bell = the_world->bells->open(w->self, w->epoch);
        return w->bell != NULL ? E_OK : err(E_NOMEM, "bell");
    }
    w->epoll = epoll_create1(EPOLL_CLOEXEC);
    w->poke_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->pull = zmq_socket(w->ctx, ZMQ_PULL);
    if (w->epoll < 0 || w->poke_fd < 0 || w->pull == NULL)
        return err_errno(errno, "sockets");
    set_int(w->pull, ZMQ_LINGER, 0);
    set_int(w->pull, ZMQ_RCVHWM, BELL_HWM);
    rc = bind_at(w, w->pull, "bell", true);
    if (rc == E_OK)
        rc = watch_socket(w, w->pull, LOOK_NOTES);
    if (rc == E_OK)
        rc = watch(w, w->poke_fd, LOOK_POKED);
    return rc;
}

int
wire_open(wire **out, void *zmq_ctx, const char *run_dir, addr self)
{
    wire *w = calloc(1, sizeof *w);
    int   rc;

    *out = NULL;
    if (w == NULL || (w->dir = strdup(run_dir)) == NULL) {
        free(w);
        return err(E_NOMEM, "wire");
    }
    w->ctx = zmq_ctx;
    w->self = self;
    w->epoll = w->poke_fd = w->timer = -1;
    w->notes_left = w->look = true;
    rc = slot_open(&w->slot, run_dir, self, true);
    if (rc == E_OK) {
        w->epoch = slot_epoch(w->slot) + 1;
        forget_predecessor(w);
        rc = open_sockets(w);
    }
    if (rc < 0) {
        wire_close(&w);
        return err(rc, "wire of %s.%u", kind_name(addr_kind(self)), addr_part(self));
    }
    slot_new_epoch(w->slot, w->epoch); /* bound: peers may come */
    *out = w;
    return E_OK;
}

static void
close_socket(void *socket)
{
    if (socket != NULL)
        (void)zmq_close(socket);
}

void
wire_close(wire **wp)
{
    wire *w = *wp;

    if (w == NULL)
        return;
    *wp = NULL;
    for (uint32_t i = 0; i < w->edge_count; i++)
        road_close(&w->edges[i].road);
    gate_close(&w->gate);
    for (uint32_t i = 0; i < w->peer_count; i++) {
        close_socket(w->peers[i]->push);
        slot_close(&w->peers[i]->slot);
        free(w->peers[i]);
    }
    close_socket(w->pull);
    if (w->bell != NULL)
        the_world->bells->close(w->bell);
    if (w->epoll >= 0)
        (void)close(w->epoll);
    if (w->poke_fd >= 0)
        (void)close(w->poke_fd);
    if (w->timer >= 0)
        (void)close(w->timer);
    slot_close(&w->slot);
    free(w->peers);
    free(w->edges);
    free(w->dir);
    free(w);
}

/* ---- edges ---- */

static int
peer_of(wire *w, addr who, bool same_process, peer **out)
{
    peer **grown;
    peer  *p;
    int    rc;

    for (uint32_t i = 0; i < w->peer_count; i++)
        if (w->peers[i]->who == who) {
            *out = w->peers[i];
            return E_OK;
        }
    grown = realloc(w->peers, (w->peer_count + 1) * sizeof *grown);
    p = calloc(1, sizeof *p);
    if (grown != NULL)
        w->peers = grown;
    if (grown == NULL || p == NULL) {
        free(p);
        return err(E_NOMEM, "peer");
    }
    p->who = who;
    p->same_process = same_process;
    rc = slot_open(&p->slot, w->dir, who, false);
    if (rc < 0) {
        free(p);
        return rc;
    }
    w->peers[w->peer_count++] = p;
    *out = p;
    return E_OK;
}

static int
add_edge(wire *w, addr who, bool same_process, const edge *e)
{
    edge *grown = realloc(w->edges, (w->edge_count + 1) * sizeof *grown);
    int   rc;

    if (grown == NULL)
        return err(E_NOMEM, "edge");
    w->edges = grown;
    grown[w->edge_count] = *e;
    rc = peer_of(w, who, same_process, &grown[w->edge_count].peer);
    if (rc == E_OK && !same_process)
        rc = be_reachable(w);
    return rc < 0 ? rc : (int)w->edge_count++;
}

static int
open_gate(wire *w, bool same_process)
{
    int rc = E_OK;

    if (w->gate == NULL) {
        rc = gate_open(&w->gate, w->ctx, &w->counts);
        if (rc == E_OK)
            rc = bind_at(w, gate_socket(w->gate), "road", true);
        if (rc == E_OK)
            rc = watch_socket(w, gate_socket(w->gate), LOOK_GATE);
    }
    if (rc == E_OK && !same_process && !w->gate_reachable) {
        rc = bind_at(w, gate_socket(w->gate), "road", false);
        w->gate_reachable = rc == E_OK;
    }
    return rc;
}

/* via: who its notes and frames come from, when that is another than `from`; 0: it is not. */
static int
add_in(wire *w, lane **l, addr from, addr via, const edge *wanted, bool same_process,
       uint64_t capacity)
{
    edge e = *wanted;
    int  rc = E_OK;

    if (e.carrier == CARRIER_ZMQ) {
        rc = open_gate(w, same_process);
        if (rc == E_OK)
            rc = lane_make_private(l, capacity, from, w->self, 0);
        if (rc == E_OK)
            rc = gate_add(w->gate, *l);
        e.gate_number = rc < 0 ? 0 : (uint32_t)rc;
    }
    e.lane = *l;
    if (rc >= 0 && via != 0)
        gate_far(w->gate, e.gate_number);
    if (rc >= 0)
        rc = add_edge(w, via != 0 ? via : from, same_process, &e);
    return rc < 0 ? err(rc, "edge from %s.%u", kind_name(addr_kind(from)), addr_part(from)) : rc;
}

int
wire_add_in_far(wire *w, lane **l, addr from, addr via, bool same_process, uint64_t capacity)
{
    return add_in(w, l, from, via, &(edge){ .in = true, .carrier = CARRIER_ZMQ }, same_process,
                  capacity);
}

/* Ticks come while something waits for an acknowledgement. */
static void
arm(wire *w)
{
    struct itimerspec in = { .it_value = { .tv_nsec = ROAD_TICK_MS * 1000000L } };

    if (!w->armed)
        ASSERT(timerfd_settime(w->timer, 0, &in, NULL) == 0);
    w->armed = true;
}

/* Connects to the life the consumer is in; not again while that lasts. */
static void
travel(wire *w, edge *e)
{
    uint64_t epoch = slot_epoch(e->peer->slot);
    char     name[ENDPOINT_MAX];
    int      rc;

    if (epoch == 0 || epoch == road_epoch(e->road))
        return;
    rc = endpoint(w, name, "road", e->peer->who, epoch, e->peer->same_process);
    if (rc == E_OK)
        rc = road_connect(e->road, w->ctx, name,
                          epoch); /* closing the last socket took its descriptor out */
    if (rc == E_OK)
        rc = watch_socket(w, road_socket(e->road), (int32_t)(e - w->edges));
    if (rc < 0)
        err_clear(); /* out of sockets: the next tick tries again */
}

static int
add_out(wire *w, lane *l, addr to, carrier c, bool same_process)
{
    edge e = { .lane = l, .carrier = c };
    int  rc = E_OK;

    if (c == CARRIER_ZMQ) {
        if (w->timer < 0)
            w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        if (w->timer < 0)
            return err_errno(errno, "timer");
        if (!w->has_roads)
            rc = watch(w, w->timer, LOOK_TIMER);
        if (rc == E_OK)
            rc = road_open(&e.road, l, &w->counts);
        w->has_roads |= rc == E_OK;
    }
    if (rc == E_OK)
        rc = add_edge(w, to, same_process, &e);
    if (rc < 0) {
        road_close(&e.road);
        return err(rc, "edge to %s.%u", kind_name(addr_kind(to)), addr_part(to));
    }
    /* Our predecessor may have been killed between publishing and ringing for it. */
    if (e.road != NULL || lane_tail(l) != lane_head(l))
        wire_kick(w, rc);
    return rc;
}

int
wire_add_out(wire *w, lane *l, carrier c, bool same_process)
{
    return add_out(w, l, lane_to(l), c, same_process);
}

int
wire_add_out_far(wire *w, lane *l, addr via, bool same_process)
{
    return add_out(w, l, via, CARRIER_ZMQ, same_process);
}

/* ---- ringing ---- */

static bool
bell_ready(wire *w, peer *p)
{
    uint64_t epoch = slot_epoch(p->slot);
    char     name[ENDPOINT_MAX];

    if (p->push != NULL && epoch == p->epoch)
        return true;
    close_socket(p->push);
    p->push = zmq_socket(w->ctx, ZMQ_PUSH);
    if (p->push == NULL)
        return false;
    set_int(p->push, ZMQ_LINGER, 0);
    set_int(p->push, ZMQ_SNDHWM, BELL_HWM);
    set_int(p->push, ZMQ_RECONNECT_IVL, 10);
    set_int(p->push, ZMQ_RECONNECT_IVL_MAX, 200);
    if (endpoint(w, name, "bell", p->who, epoch, p->same_process) == E_OK &&
        zmq_connect(p->push, name) == 0) {
        p->epoch = epoch;
        return true;
    }
    err_clear();
    close_socket(p->push);
    p->push = NULL;
    return false;
}

/* A refusal may only mean that libzmq has not looked for a millisecond what the peer took: look,
 * and try again. */
static bool
send_note(void *push)
{
    int    events;
    size_t len = sizeof events;

    if (zmq_send(push, "", 0, ZMQ_DONTWAIT) == 0)
        return true;
    (void)zmq_getsockopt(push, ZMQ_EVENTS, &events, &len);
    return zmq_send(push, "", 0, ZMQ_DONTWAIT) == 0;
}

/* Once for each sleep of the peer.  The look at its word comes after our store of tail or head. */
static void
ring(wire *w, peer *p)
{
    uint64_t parked = slot_asks(p->slot, p->rung);

    if (parked == 0)
        return;
    if (w->bell != NULL ? !the_world->bells->ring(p->who, slot_epoch(p->slot))
                        : !bell_ready(w, p) || !send_note(p->push))
        return; /* it is gone, or has not taken earlier notes: those wake it */
    p->rung = parked;
    w->counts.bells_rung++;
}

void
wire_kick(wire *w, int out_edge)
{
    edge *e = &w->edges[out_edge];

    ASSERT(out_edge >= 0 && (uint32_t)out_edge < w->edge_count && !e->in);
    if (e->carrier == CARRIER_RING) {
        ring(w, e->peer);
        return;
    }
    travel(w, e);
    road_send(e->road);
    if (road_is_busy(e->road))
        arm(w);
}

void
wire_acked(wire *w, int in_edge, bool producer_starved)
{
    edge *e = &w->edges[in_edge];

    ASSERT(in_edge >= 0 && (uint32_t)in_edge < w->edge_count && e->in);
    if (e->carrier == CARRIER_ZMQ)
        gate_acked(w->gate, e->gate_number);
    else if (producer_starved)
        ring(w, e->peer);
}

int
wire_add_in(wire *w, lane **l, addr from, carrier c, bool same_process, uint64_t capacity)
{
    int rc = add_in(w, l, from, 0, &(edge){ .in = true, .carrier = c }, same_process, capacity);

    /* Our predecessor may have been killed between moving head and ringing for it. */
    if (rc >= 0 && c == CARRIER_RING)
        wire_acked(w, rc, lane_ack(*l, lane_head(*l)));
    return rc;
}

/* ---- draining ---- */

static bool
take_notes(wire *w)
{
    uint64_t heard = w->counts.bells_heard;
    char     note[8];

    w->notes_left = true; /* until EAGAIN says that there are none */
    for (int i = 0; i < NOTES_MAX && w->notes_left; i++)
        if (zmq_recv(w->pull, note, sizeof note, ZMQ_DONTWAIT) >= 0)
            w->counts.bells_heard++;
        else
            w->notes_left = zmq_errno() == EINTR;
    return w->counts.bells_heard != heard;
}

/* The world's own bell instead of sockets. */
static bool
pump_bell(wire *w)
{
    uint64_t heard = the_world->bells->heard(w->bell);
    bool     poked = atomic_exchange(&w->poked, false);

    w->counts.bells_heard += heard;
    return heard > 0 || poked;
}

static void
take_count(int fd)
{
    uint64_t n;

    (void)!read(fd, &n, sizeof n);
}

/* Roads that wait: reconnect to a successor, or ask what is missing. */
static void
tick(wire *w)
{
    bool busy = false;

    take_count(w->timer);
    w->armed = false;
    for (uint32_t i = 0; i < w->edge_count; i++) {
        edge *e = &w->edges[i];

        if (e->road == NULL || !road_is_busy(e->road))
            continue;
        travel(w, e);
        road_tick(e->road);
        busy = true;
    }
    if (busy)
        arm(w);
}

static bool
on_ready(wire *w, int32_t what)
{
    switch (what) {
    case LOOK_NOTES:
        return take_notes(w);
    case LOOK_POKED:
        take_count(w->poke_fd);
        return true;
    case LOOK_TIMER:
        tick(w);
        return false;
    case LOOK_GATE:
        return gate_drain(w->gate, true);
    default:
        return road_drain(w->edges[what].road, true);
    }
}

bool
wire_pump(wire *w)
{
    struct epoll_event ev[EVENTS_MAX];
    bool               news = false;
    int                n;

    if (atomic_load_explicit(&w->poked, memory_order_relaxed))
        w->look = true;
    if (!w->look && !w->has_roads && w->gate == NULL)
        return false;
    w->look = false;
    if (w->bell != NULL)
        return pump_bell(w);
    n = epoll_wait(w->epoll, ev, EVENTS_MAX, 0);
    for (int i = 0; i < n; i++)
        news |= on_ready(w, (int32_t)ev[i].data.u32);
    if (w->notes_left)
        news |= take_notes(w);
    w->look = w->notes_left || n == EVENTS_MAX;
    if (w->gate != NULL)
        news |= gate_drain(w->gate, false);
    for (uint32_t i = 0; w->has_roads && i < w->edge_count; i++)
        if (w->edges[i].road != NULL)
            news |= road_drain(w->edges[i].road, false);
    /* After the read of its descriptor: who pokes from here on writes it again. */
    if (atomic_load_explicit(&w->poked, memory_order_relaxed))
        news |= atomic_exchange(&w->poked, false);
    return news;
}

/* ---- sleeping ---- */

void
wire_sleep(wire *w)
{
    slot_park(w->slot);
    for (uint32_t i = 0; i < w->edge_count; i++)
        if (w->edges[i].in)
            w->edges[i].tail_at_sleep = lane_tail(w->edges[i].lane);
    w->look = true;
    /* Our own sends may have consumed a signal: look, and if something came, do not sleep on it. */
    if ((w->has_roads || w->gate != NULL) && wire_pump(w))
        wire_poke(w);
    w->look = true;
}

void
wire_awake(wire *w)
{
    slot_unpark(w->slot);
}

/* Something was published while we slept, and no note comes for it. */
static void
count_missed(wire *w)
{
    struct pollfd   p = { .fd = w->epoll, .events = POLLIN };
    struct timespec wait = { .tv_nsec = NOTE_ON_ITS_WAY_NS };
    bool            missed = false;

    for (uint32_t i = 0; i < w->edge_count; i++) {
        const edge *e = &w->edges[i];

        missed |= e->in && e->carrier == CARRIER_RING && lane_tail(e->lane) != e->tail_at_sleep;
    }
    if (missed && ppoll(&p, 1, &wait, NULL) == 0)
        w->counts.bells_missed++;
}

void
wire_wait(wire *w, uint64_t ns, const int *fds, bool *ready, uint32_t fd_count)
{
    struct pollfd   p[1 + WIRE_FOREIGN_MAX] = { { .fd = w->epoll, .events = POLLIN } };
    struct timespec wait = { .tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000) };
    int             n;

    ASSERT(fd_count <= WIRE_FOREIGN_MAX);
    if (w->bell != NULL) {
        the_world->bells->wait(w->bell, ns);
        memset(ready, 0, fd_count * sizeof *ready);
        w->look = true;
        return;
    }
    for (uint32_t i = 0; i < fd_count; i++)
        p[1 + i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
    n = ppoll(p, 1 + fd_count, ns == UINT64_MAX ? NULL : &wait, NULL);
    for (uint32_t i = 0; i < fd_count; i++)
        ready[i] = n > 0 && p[1 + i].revents != 0;
    w->look = true;
    if (n == 0 && ns >= MISSED_AFTER_NS)
        count_missed(w);
}

void
wire_poke(wire *w)
{
    uint64_t one = 1;

    if (atomic_exchange(&w->poked, true))
        return;
    if (w->bell != NULL)
        the_world->bells->poke(w->bell);
    else
        (void)!write(w->poke_fd, &one, sizeof one);
}

uint32_t
wire_fds(const wire *w, int *fds, uint32_t room)
{
    if (room == 0 || w->bell != NULL)
        return 0;
    fds[0] = w->epoll;
    return 1;
}

const wire_counts *
wire_count(const wire *w)
{
    return &w->counts;
}
