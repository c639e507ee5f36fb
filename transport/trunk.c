/* trunk.c - see trunk.h.
 *
 * One thread, one descriptor: every socket is drained until EAGAIN, again and again until a round moved
 * nothing, so that no signal of a ZMQ_FD is lost (wire.c has the rule).
 *
 * Memory: what waits in sockets is bounded by the lanes whose frames it is; a word waits only while less
 * than WORDS_AHEAD bytes are on their way; frames that wait for words are PENDING_MAX a peer.
 */
#include "transport/trunk.h"
#include "transport/frame.h"
#include "transport/trunk_frame.h"
#include "transport/slot.h"
#include "transport/wire.h"

#include "proto/err.h"
#include "proto/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    TARGETS_MAX = 512,
    ROADS_MAX = 1024,
    IDENTITY_ROOM = 64,
    PENDING_MAX = 1024,
    WORDS_AHEAD = 4 << 20,
    SEEN_EVERY = 256 * 1024,
    TAKE_MAX = 1024, /* of one socket in one round */
    ROUNDS_MAX = 32,
    TCP_HWM = 20000,
    BODY_MAX = (4 << 20), /* the longest record of any lane, and its heads */
    HANDSHAKE_MS = 5000,
    BEAT_MS = 1000,
    BEAT_LOST_MS = 3000,
    AGAIN_MS = 50,
    AGAIN_MAX_MS = 1000,
};
#define AWAY_NS   UINT64_C(3500000000)
#define PING_NS   UINT64_C(1000000000)
#define REOPEN_NS UINT64_C(200000000)

/* An actor here that frames from afar are for. */
typedef struct target {
    addr     who;
    bool     same_process;
    slot    *slot;
    void    *dealer;
    uint64_t epoch;
} target;

/* A road here that answers from afar are for. */
typedef struct back_way {
    addr    from, to;
    uint8_t identity[IDENTITY_ROOM];
    size_t  identity_len;
} back_way;

typedef struct peer {
    const trunk_peer *is;
    char             user[TRUST_TEXT_LEN + 1];
    void            *push;
    /* towards it */
    uint64_t   session; /* 0: none */
    uint64_t   next;
    uint64_t   opened_ns, pinged_ns;
    uint64_t   said, said_seen; /* bytes of words */
    zmq_msg_t *pending;         /* frames that wait until what comes before them is said */
    uint32_t   pending_count;
    /* from it */
    uint64_t in_session;
    uint64_t in_next;
    uint64_t in_words, in_words_told;
    uint64_t heard_ns, needed_ns;
    bool     met;
} peer;

struct trunk {
    trunk_spec   spec;
    char       *dir;
    int         epoll;
    trust_gate *trust;
    void       *pull;
    void       *router;
    peer        peer[TRUNK_PEERS_MAX];
    target      target[TARGETS_MAX];
    uint32_t    targets;
    back_way    back[ROADS_MAX];
    uint32_t    backs;
    trunk_counts counts;
};

/* ---- sending to a peer ---- */

static trunk_head
head_of(enum trunk_kind kind, uint64_t session, uint64_t no)
{
    return (trunk_head){ .magic = TRUNK_MAGIC,
                        .version = TRUNK_VERSION,
                        .kind = (uint16_t)kind,
                        .session = session,
                        .no = no };
}

static void
drop_pending(trunk *l, peer *p)
{
    for (uint32_t i = 0; i < p->pending_count; i++)
        (void)zmq_msg_close(&p->pending[i]);
    l->counts.frames_dropped += p->pending_count;
    p->pending_count = 0;
}

/* Something did not go: what follows would be out of order, so a new session has to begin. */
static void
break_session(trunk *l, peer *p)
{
    p->session = 0;
    drop_pending(l, p);
}

static bool
send_alone(peer *p, enum trunk_kind kind, uint64_t session, uint64_t no)
{
    trunk_head h = head_of(kind, session, no);

    return zmq_send(p->push, &h, sizeof h, ZMQ_DONTWAIT) >= 0;
}

/* Takes the body when it goes. */
static bool
send_numbered(trunk *l, peer *p, enum trunk_kind kind, zmq_msg_t *body)
{
    trunk_head h = head_of(kind, p->session, p->next);
    size_t    len = zmq_msg_size(body);

    if (zmq_send(p->push, &h, sizeof h, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ||
        zmq_msg_send(body, p->push, ZMQ_DONTWAIT) < 0) {
        break_session(l, p);
        return false;
    }
    p->next++;
    l->counts.bytes_out += len + sizeof h;
    return true;
}

static bool
send_bytes(trunk *l, peer *p, enum trunk_kind kind, view body)
{
    zmq_msg_t m;
    bool      sent;

    ASSERT(zmq_msg_init_size(&m, body.len) == 0);
    if (body.len > 0)
        memcpy(zmq_msg_data(&m), body.at, body.len);
    sent = send_numbered(l, p, kind, &m);
    if (!sent)
        (void)zmq_msg_close(&m);
    return sent;
}

static void
begin_session(trunk *l, peer *p, uint64_t now)
{
    drop_pending(l, p);
    do
        ASSERT(the_world->chance(&p->session, sizeof p->session) == 0);
    while (p->session == 0);
    p->next = p->said = p->said_seen = 0;
    p->opened_ns = now;
    if (!send_bytes(l, p, TRUNK_OPEN, l->spec.card))
        return;
    l->counts.sessions++;
    l->spec.calls.begin(l->spec.calls.ctx, (uint32_t)(p - l->peer));
}

bool
trunk_say(trunk *l, uint32_t number, view word)
{
    peer *p = &l->peer[number];

    ASSERT(number < l->spec.peer_count && word.len <= TRUNK_WORD_MAX);
    if (p->session == 0 || p->said - p->said_seen > WORDS_AHEAD ||
        !send_bytes(l, p, TRUNK_WORD, word))
        return false;
    p->said += word.len;
    l->counts.words_out++;
    return true;
}

/* What comes before a frame is said before it. */
static bool
say_first(trunk *l, peer *p)
{
    return p->session != 0 && l->spec.calls.say(l->spec.calls.ctx, (uint32_t)(p - l->peer)) &&
           p->session != 0;
}

static void
send_pending(trunk *l, peer *p)
{
    uint32_t at = 0;

    if (p->session == 0 || !say_first(l, p))
        return;
    while (at < p->pending_count && send_numbered(l, p, TRUNK_ROAD, &p->pending[at]))
        at++;
    l->counts.frames_out += at;
    if (p->session == 0)
        return; /* the rest was dropped, and those that went are closed all the same */
    for (uint32_t i = 0; i < at; i++)
        (void)zmq_msg_close(&p->pending[i]);
    p->pending_count = 0;
}

/* Takes the message, whatever becomes of it. */
static void
pass_to_peer(trunk *l, peer *p, zmq_msg_t *m)
{
    if (p->session == 0 || p->pending_count == PENDING_MAX) {
        l->counts.frames_dropped++;
        (void)zmq_msg_close(m);
        return;
    }
    (void)zmq_msg_init(&p->pending[p->pending_count]);
    (void)zmq_msg_move(&p->pending[p->pending_count++], m);
    (void)zmq_msg_close(m);
    send_pending(l, p);
}

/* ---- sockets towards actors of this node ---- */

static int
watch(trunk *l, void *socket)
{
    struct epoll_event ev = { .events = EPOLLIN };
    int                fd = -1;
    size_t             len = sizeof fd;

    if (zmq_getsockopt(socket, ZMQ_FD, &fd, &len) < 0 ||
        epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &ev) < 0)
        return err_errno(errno, "watch a socket");
    return E_OK;
}

static target *
target_of(trunk *l, addr who, bool same_process)
{
    target *t;

    for (uint32_t i = 0; i < l->targets; i++)
        if (l->target[i].who == who)
            return &l->target[i];
    if (l->targets == TARGETS_MAX)
        return NULL;
    t = &l->target[l->targets];
    *t = (target){ .who = who, .same_process = same_process };
    if (slot_open(&t->slot, l->dir, who, false) < 0) {
        err_clear();
        return NULL;
    }
    l->targets++;
    return t;
}

/* Connected to the life its actor is in. */
static bool
target_ready(trunk *l, target *t)
{
    uint64_t epoch = slot_epoch(t->slot);
    char     name[WIRE_ENDPOINT_MAX];

    if (epoch == 0)
        return false;
    if (t->dealer != NULL && t->epoch == epoch)
        return true;
    if (t->dealer != NULL)
        (void)zmq_close(t->dealer);
    t->epoch = epoch;
    t->dealer = frame_socket(l->spec.zmq_ctx, ZMQ_DEALER);
    if (t->dealer != NULL &&
        wire_endpoint(name, l->dir, "road", t->who, epoch, t->same_process) == E_OK &&
        zmq_connect(t->dealer, name) == 0 && watch(l, t->dealer) == E_OK)
        return true;
    err_clear();
    if (t->dealer != NULL)
        (void)zmq_close(t->dealer);
    t->dealer = NULL;
    return false;
}

static back_way *
back_of(trunk *l, addr from, addr to, bool make)
{
    for (uint32_t i = 0; i < l->backs; i++)
        if (l->back[i].from == from && l->back[i].to == to)
            return &l->back[i];
    if (!make || l->backs == ROADS_MAX)
        return NULL;
    l->back[l->backs] = (back_way){ .from = from, .to = to };
    return &l->back[l->backs++];
}

/* ---- frames ---- */

static bool
is_answer(const frame *f)
{
    return f->kind == FRAME_STATE || f->kind == FRAME_ACK;
}

/* From an actor here. */
static void
take_frame(trunk *l, zmq_msg_t *identity, zmq_msg_t *m)
{
    frame     f;
    bool      ignored;
    int       whose;
    back_way *back;

    if (!frame_read(m, &f))
        return;
    whose = l->spec.calls.whose(l->spec.calls.ctx, is_answer(&f) ? f.from : f.to, &ignored);
    if (whose < 0 || (uint32_t)whose >= l->spec.peer_count)
        return;
    if (!is_answer(&f)) {
        back = back_of(l, f.from, f.to, true);
        if (back == NULL || zmq_msg_size(identity) > IDENTITY_ROOM)
            return;
        back->identity_len = zmq_msg_size(identity);
        memcpy(back->identity, zmq_msg_data(identity), back->identity_len);
    }
    pass_to_peer(l, &l->peer[whose], m);
}

static bool
is_theirs(trunk *l, const peer *p, const frame *f, bool *same_process)
{
    addr there = is_answer(f) ? f->to : f->from, here = is_answer(f) ? f->from : f->to;
    bool ignored;

    return l->spec.calls.whose(l->spec.calls.ctx, there, &ignored) == (int)(p - l->peer) &&
           l->spec.calls.whose(l->spec.calls.ctx, here, same_process) == TRUNK_HERE;
}

/* From a peer, for an actor here.  What does not go is asked for again. */
static void
give_frame(trunk *l, peer *p, zmq_msg_t *m)
{
    bool      same_process = false;
    back_way *back;
    target   *t;
    frame     f;

    if (!frame_read(m, &f) || !is_theirs(l, p, &f, &same_process)) {
        l->counts.bad++;
        return;
    }
    l->counts.frames_in++;
    if (is_answer(&f)) {
        back = back_of(l, f.from, f.to, false);
        if (back != NULL && zmq_send(l->router, back->identity, back->identity_len,
                                     ZMQ_DONTWAIT | ZMQ_SNDMORE) >= 0)
            (void)zmq_msg_send(m, l->router, ZMQ_DONTWAIT);
        return;
    }
    t = target_of(l, f.to, same_process);
    if (t != NULL && target_ready(l, t) && zmq_msg_send(m, t->dealer, ZMQ_DONTWAIT) < 0)
        l->counts.frames_dropped++;
}

/* ---- what a peer says ---- */

static void
need(peer *p, uint64_t now)
{
    p->met = false;
    if (now - p->needed_ns < REOPEN_NS)
        return;
    p->needed_ns = now;
    (void)send_alone(p, TRUNK_NEED, p->in_session, 0);
}

static void
on_open(trunk *l, peer *p, const trunk_head *h, view card)
{
    p->in_session = h->session;
    p->in_next = h->no + 1;
    p->in_words = p->in_words_told = 0;
    p->met = h->no == 0 && l->spec.calls.meet(l->spec.calls.ctx, (uint32_t)(p - l->peer), card);
    l->counts.bad += !p->met;
}

static void
on_word(trunk *l, peer *p, view word)
{
    p->in_words += word.len;
    l->counts.words_in++;
    l->spec.calls.heard(l->spec.calls.ctx, (uint32_t)(p - l->peer), word);
    if (p->in_words - p->in_words_told < SEEN_EVERY)
        return;
    p->in_words_told = p->in_words;
    (void)send_alone(p, TRUNK_SEEN, p->in_session, p->in_words);
}

static void
on_need(trunk *l, peer *p, const trunk_head *h, uint64_t now)
{
    if (p->session == 0 || h->session == p->session || now - p->opened_ns > REOPEN_NS)
        begin_session(l, p, now);
}

static void
on_numbered(trunk *l, peer *p, const trunk_head *h, zmq_msg_t *body, uint64_t now)
{
    if (h->kind == TRUNK_OPEN) {
        on_open(l, p, h, view_of(zmq_msg_data(body), zmq_msg_size(body)));
        return;
    }
    if (h->session != p->in_session || h->no != p->in_next) {
        need(p, now);
        return;
    }
    p->in_next++;
    if (!p->met)
        return;
    if (h->kind == TRUNK_WORD)
        on_word(l, p, view_of(zmq_msg_data(body), zmq_msg_size(body)));
    else
        give_frame(l, p, body);
}

static void
on_alone(trunk *l, peer *p, const trunk_head *h, uint64_t now)
{
    switch (h->kind) {
    case TRUNK_PING:
        if (h->session != p->in_session || h->no != p->in_next)
            need(p, now);
        break;
    case TRUNK_SEEN:
        if (h->session == p->session && h->no > p->said_seen && h->no <= p->said)
            p->said_seen = h->no;
        break;
    case TRUNK_NEED:
        on_need(l, p, h, now);
        break;
    default:
        l->counts.bad++;
    }
}

/* Whose connection that came on: libzmq says it, not the message. */
static peer *
peer_of(trunk *l, zmq_msg_t *m)
{
    const char *user = zmq_msg_gets(m, "User-Id");

    for (uint32_t i = 0; user != NULL && i < l->spec.peer_count; i++)
        if (strcmp(user, l->peer[i].user) == 0)
            return &l->peer[i];
    return NULL;
}

/* part[0] a head; part[1] a body, if there is one. */
static void
take_message(trunk *l, zmq_msg_t part[2], int parts)
{
    uint64_t  now = the_world->now_ns();
    peer     *p = peer_of(l, &part[0]);
    trunk_head h;

    if (p == NULL || !trunk_head_read(zmq_msg_data(&part[0]), zmq_msg_size(&part[0]), &h)) {
        l->counts.bad++;
        return;
    }
    p->heard_ns = now;
    l->counts.bytes_in += zmq_msg_size(&part[0]) + zmq_msg_size(&part[1]);
    if (parts == 2 && (h.kind == TRUNK_OPEN || h.kind == TRUNK_WORD || h.kind == TRUNK_ROAD))
        on_numbered(l, p, &h, &part[1], now);
    else
        on_alone(l, p, &h, now);
}

/* ---- draining ---- */

/* Two parts at most are kept of a message; the rest is read and forgotten.  False: there is none. */
static bool
receive(void *socket, zmq_msg_t part[2], int *parts)
{
    bool more = true;

    *parts = 0;
    (void)zmq_msg_init(&part[0]);
    (void)zmq_msg_init(&part[1]);
    while (more) {
        zmq_msg_t beyond;
        zmq_msg_t *to = *parts < 2 ? &part[*parts] : &beyond;

        if (to == &beyond)
            (void)zmq_msg_init(&beyond);
        if (zmq_msg_recv(to, socket, ZMQ_DONTWAIT) < 0) {
            if (to == &beyond)
                (void)zmq_msg_close(&beyond);
            break;
        }
        more = zmq_msg_more(to);
        if (to == &beyond)
            (void)zmq_msg_close(&beyond);
        (*parts)++;
    }
    return *parts > 0;
}

static void
release(zmq_msg_t part[2])
{
    (void)zmq_msg_close(&part[0]);
    (void)zmq_msg_close(&part[1]);
}

static bool
drain_pull(trunk *l)
{
    zmq_msg_t part[2];
    int       n = 0, parts;

    for (; n < TAKE_MAX && receive(l->pull, part, &parts); n++) {
        if (parts <= 2)
            take_message(l, part, parts);
        else
            l->counts.bad++;
        release(part);
    }
    if (n < TAKE_MAX)
        release(part);
    return n > 0;
}

static bool
drain_router(trunk *l)
{
    zmq_msg_t part[2];
    int       n = 0, parts;

    for (; n < TAKE_MAX && receive(l->router, part, &parts); n++) {
        if (parts == 2)
            take_frame(l, &part[0], &part[1]);
        release(part);
    }
    if (n < TAKE_MAX)
        release(part);
    return n > 0;
}

static bool
drain_target(trunk *l, target *t)
{
    zmq_msg_t part[2];
    int       n = 0, parts;

    if (t->dealer == NULL)
        return false;
    for (; n < TAKE_MAX && receive(t->dealer, part, &parts); n++) {
        if (parts == 1)
            take_frame(l, &part[1], &part[0]);
        release(part);
    }
    if (n < TAKE_MAX)
        release(part);
    return n > 0;
}

bool
trunk_pump(trunk *l)
{
    bool moved = true;

    for (int round = 0; moved && round < ROUNDS_MAX; round++) {
        uint32_t refused = trust_answer(l->trust);

        l->counts.refused += refused;
        moved = refused > 0;
        moved |= drain_pull(l);
        moved |= drain_router(l);
        for (uint32_t i = 0; i < l->targets; i++)
            moved |= drain_target(l, &l->target[i]);
    }
    for (uint32_t i = 0; i < l->spec.peer_count; i++)
        send_pending(l, &l->peer[i]);
    return moved;
}

/* ---- time ---- */

bool
trunk_is_up(const trunk *l, uint32_t number)
{
    const peer *p = &l->peer[number];

    ASSERT(number < l->spec.peer_count);
    return p->met && p->session != 0 && the_world->now_ns() - p->heard_ns < AWAY_NS;
}

bool
trunk_tick(trunk *l)
{
    uint64_t now = the_world->now_ns();
    bool     away = false;

    for (uint32_t i = 0; i < l->spec.peer_count; i++) {
        peer *p = &l->peer[i];

        if (p->session == 0)
            begin_session(l, p, now);
        if (now - p->pinged_ns >= PING_NS && send_alone(p, TRUNK_PING, p->session, p->next))
            p->pinged_ns = now;
        if (p->in_words != p->in_words_told &&
            send_alone(p, TRUNK_SEEN, p->in_session, p->in_words))
            p->in_words_told = p->in_words;
        away |= !trunk_is_up(l, i);
    }
    return away;
}

const trunk_counts *
trunk_count(const trunk *l)
{
    return &l->counts;
}

/* ---- opening and closing ---- */

static void
set_tcp(void *socket)
{
    int64_t most = BODY_MAX;

    frame_set(socket, ZMQ_LINGER, 0);
    frame_set(socket, ZMQ_SNDHWM, TCP_HWM);
    frame_set(socket, ZMQ_RCVHWM, TCP_HWM);
    frame_set(socket, ZMQ_RECONNECT_IVL, AGAIN_MS);
    frame_set(socket, ZMQ_RECONNECT_IVL_MAX, AGAIN_MAX_MS);
    frame_set(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    frame_set(socket, ZMQ_HEARTBEAT_IVL, BEAT_MS);
    frame_set(socket, ZMQ_HEARTBEAT_TIMEOUT, BEAT_LOST_MS);
    frame_set(socket, ZMQ_HEARTBEAT_TTL, BEAT_LOST_MS);
    frame_set(socket, ZMQ_CONNECT_TIMEOUT, BEAT_LOST_MS);
    frame_set(socket, ZMQ_IPV6, 1);
    ASSERT(zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0);
}

static int
open_peer(trunk *l, uint32_t number)
{
    peer            *p = &l->peer[number];
    const trunk_peer *is = &l->spec.peers[number];

    p->is = is;
    trust_text(is->key, p->user);
    p->pending = calloc(PENDING_MAX, sizeof *p->pending);
    p->push = zmq_socket(l->spec.zmq_ctx, ZMQ_PUSH);
    if (p->pending == NULL || p->push == NULL)
        return err(E_NOMEM, "peer %s", is->name);
    set_tcp(p->push);
    frame_set(p->push, ZMQ_IMMEDIATE, 1); /* nothing waits for who is not there */
    trust_visit(p->push, l->spec.own, is->key);
    if (zmq_connect(p->push, is->endpoint) < 0)
        return err(E_CONFIG, "peer %s: %s is no address", is->name, is->endpoint);
    return trust_allow(l->trust, is->key);
}

static int
open_local(trunk *l)
{
    char name[WIRE_ENDPOINT_MAX];

    l->router = frame_socket(l->spec.zmq_ctx, ZMQ_ROUTER);
    if (l->router == NULL)
        return err_errno(zmq_errno(), "socket");
    for (int same = 0; same < 2; same++) {
        int rc;

        if (same == 0 && !l->spec.ipc)
            continue;
        rc = wire_endpoint(name, l->dir, "road", l->spec.self, l->spec.epoch, same);
        if (rc < 0)
            return rc;
        if (zmq_bind(l->router, name) < 0)
            return err_errno(zmq_errno(), "bind %s", name);
    }
    return watch(l, l->router);
}

static int
open_tcp(trunk *l)
{
    l->pull = zmq_socket(l->spec.zmq_ctx, ZMQ_PULL);
    if (l->pull == NULL)
        return err_errno(zmq_errno(), "socket");
    set_tcp(l->pull);
    trust_serve(l->pull, l->spec.own);
    if (zmq_bind(l->pull, l->spec.listen) < 0)
        return zmq_errno() == EADDRINUSE || zmq_errno() == EADDRNOTAVAIL
                   ? err(E_CONFIG, "node.listen: %s: %s", l->spec.listen, zmq_strerror(zmq_errno()))
                   : err_errno(zmq_errno(), "node.listen: %s", l->spec.listen);
    return watch(l, l->pull);
}

int
trunk_open(trunk **out, const trunk_spec *spec)
{
    trunk *l = calloc(1, sizeof *l);
    int   rc;

    *out = NULL;
    ASSERT(spec->peer_count <= TRUNK_PEERS_MAX);
    if (l == NULL || (l->dir = strdup(spec->run_dir)) == NULL) {
        free(l);
        return err(E_NOMEM, "link");
    }
    l->spec = *spec;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    rc = l->epoll < 0 ? err_errno(errno, "epoll") : trust_open(&l->trust, spec->zmq_ctx);
    if (rc == E_OK)
        rc = watch(l, trust_socket(l->trust));
    for (uint32_t i = 0; i < spec->peer_count && rc == E_OK; i++)
        rc = open_peer(l, i);
    if (rc == E_OK && (rc = open_local(l)) == E_OK)
        rc = open_tcp(l);
    if (rc < 0) {
        trunk_close(&l);
        return rc;
    }
    *out = l;
    return E_OK;
}

static void
close_socket(void *socket)
{
    if (socket != NULL)
        (void)zmq_close(socket);
}

void
trunk_close(trunk **lp)
{
    trunk *l = *lp;

    if (l == NULL)
        return;
    *lp = NULL;
    close_socket(l->pull);
    close_socket(l->router);
    for (uint32_t i = 0; i < l->targets; i++) {
        close_socket(l->target[i].dealer);
        slot_close(&l->target[i].slot);
    }
    for (uint32_t i = 0; i < l->spec.peer_count; i++) {
        if (l->peer[i].pending != NULL)
            drop_pending(l, &l->peer[i]);
        close_socket(l->peer[i].push);
        free(l->peer[i].pending);
    }
    trust_close(&l->trust);
    if (l->epoll >= 0)
        (void)close(l->epoll);
    free(l->dir);
    free(l);
}

int
trunk_fd(const trunk *l)
{
    return l->epoll;
}
