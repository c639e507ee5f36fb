/* link.c - the actor of a node that speaks to the other nodes.
 *
 * The sockets are a trunk (transport/trunk.h), what it has to say is a mirror (mirror.h).  It has no lanes: frames of
 * other actors pass through it and are nobody's when it dies, because lanes hold what is under way until the far
 * consumer is done with it.  What the board has is said before the frames that come after: who gets an
 * answer sees what the answer is about.
 */
#include "actors/ak_internal.h"
#include "actors/kinds.h"
#include "actors/mirror.h"
#include "actors/options.h"
#include "proto/err.h"
#include "proto/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { CARD_ROOM = 256 };
#define TICK_NS UINT64_C(200000000)

typedef struct link_self {
    ak        *k;
    nodes      n;
    trunk     *t;
    mirror    *m;
    trust_pair own;
    bool       up[TRUNK_PEERS_MAX];
    bool       strange[TRUNK_PEERS_MAX]; /* its card was refused; said once */
    char       card[CARD_ROOM];
    trunk_counts last; /* what the counters have seen */
    bool       more; /* timers: pump again, */
    bool       tick; /* look at the peers */
} link_self;

/* ---- what the trunk asks ---- */

static int
whose(void *ctx, addr who, bool *same_process)
{
    const link_self *l = ctx;
    int              place = plan_place(&l->k->host->run->plan, who);

    if (place == PLAN_HERE)
        *same_process = ak_same_process(l->k, who);
    return place == PLAN_HERE ? TRUNK_HERE : place == PLAN_NOWHERE ? TRUNK_NOBODY : place;
}

/* Both must count actors and numbers alike, or lanes lead nowhere. */
static bool
meet(void *ctx, uint32_t peer, view card)
{
    link_self *l = ctx;

    if (view_eq(card, view_str(l->card))) {
        l->strange[peer] = false;
        return true;
    }
    if (!l->strange[peer])
        log_error("link.strange", "node=%s says=%s here=%s", l->n.peer[peer].name, log_quote(card),
                  log_quote(view_str(l->card)));
    l->strange[peer] = true;
    return false;
}

static void
heard(void *ctx, uint32_t peer, view word)
{
    link_self *l = ctx;

    if (!mirror_hear(l->m, peer, word))
        count_add(ak_counters(l->k), COUNT_BAD, 1);
}

static void
begin(void *ctx, uint32_t peer)
{
    mirror_begin(((link_self *)ctx)->m, peer);
}

static bool
say_new(void *ctx, uint32_t peer)
{
    return mirror_say(((link_self *)ctx)->m, peer);
}

static bool
say_word(void *ctx, uint32_t peer, view word)
{
    return trunk_say(((link_self *)ctx)->t, peer, word);
}

/* ---- turns ---- */

static void
count_since(link_self *l, enum counter which, uint64_t now, uint64_t *before)
{
    if (now > *before)
        count_add(ak_counters(l->k), which, now - *before);
    *before = now;
}

static void
count_all(link_self *l)
{
    const trunk_counts *c = trunk_count(l->t);

    if (c->refused > l->last.refused)
        log_warn("link.refused", "visitors=%" PRIu64, c->refused - l->last.refused);
    count_since(l, COUNT_LINK_BYTES, c->bytes_in, &l->last.bytes_in);
    count_since(l, COUNT_LINK_SESSIONS, c->sessions, &l->last.sessions);
    count_since(l, COUNT_LINK_REFUSED, c->refused, &l->last.refused);
    count_since(l, COUNT_LINK_DROPPED, c->frames_dropped, &l->last.frames_dropped);
    count_since(l, COUNT_BAD, c->bad, &l->last.bad);
}

static void
look_at_peers(link_self *l)
{
    for (uint32_t i = 0; i < l->n.peers; i++) {
        bool up = trunk_is_up(l->t, i);

        if (up == l->up[i])
            continue;
        l->up[i] = up;
        log_info(up ? "link.up" : "link.away", "node=%s", l->n.peer[i].name);
        if (up)
            mirror_back(l->m, i);
        else
            mirror_away(l->m, i);
    }
}

static void
pump(link_self *l)
{
    bool more = trunk_pump(l->t);

    if (!more || l->more)
        return;
    l->more = true;
    ak_timer(l->k, 0, &l->more);
}

static void
on_fd(ak *k, void *self, int fd)
{
    (void)k;
    (void)fd;
    pump(self);
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    link_self *l = self;

    (void)k;
    if (m->ctx == &l->more) {
        l->more = false;
    } else {
        (void)trunk_tick(l->t);
        look_at_peers(l);
        count_all(l);
        ak_timer(l->k, TICK_NS, &l->tick);
    }
    for (uint32_t i = 0; i < l->n.peers; i++)
        if (l->up[i])
            (void)mirror_say(l->m, i);
    pump(l);
    return AK_DONE;
}

/* ---- life ---- */

static bool
has_other_processes(const link_self *l)
{
    const plan *p = &l->k->host->run->plan;

    for (uint32_t i = 0; i < p->slots; i++)
        if (!ak_same_process(l->k, p->slot[i].who))
            return true;
    return false;
}

static int
open_trunk(link_self *l)
{
    const options *o = ak_options(l->k);
    trunk_spec     s = { .zmq_ctx = l->k->host->zmq,
                         .run_dir = l->k->host->run->path,
                         .self = ak_self(l->k),
                         .epoch = wire_epoch(l->k->wire),
                         .ipc = has_other_processes(l),
                         .listen = l->n.listen,
                         .own = &l->own,
                         .peers = l->n.peer,
                         .peer_count = l->n.peers,
                         .card = view_str(l->card),
                         .calls = { l, whose, meet, heard, begin, say_new } };
    int            rc = trust_load(o->node_key_file, &l->own);

    for (uint32_t i = 0; i < l->n.peers && rc == E_OK; i++)
        if (memcmp(l->n.peer[i].key, l->own.public, TRUST_KEY_LEN) == 0)
            rc = err(E_CONFIG, "node.peers: %s has the key of this node", l->n.peer[i].name);
    return rc < 0 ? rc : trunk_open(&l->t, &s);
}

static void
stop(ak *k, void *self)
{
    link_self *l = self;

    (void)k;
    trunk_close(&l->t);
    mirror_close(&l->m);
    explicit_bzero(&l->own, sizeof l->own);
}

static int
init(ak *k, void *self)
{
    link_self     *l = self;
    const options *o = ak_options(k);
    int            rc;

    l->k = k;
    if ((rc = nodes_read(&l->n, o)) < 0)
        return rc;
    (void)snprintf(l->card, sizeof l->card, "haltless 1 front.count=%u query.count=%u limits.machines=%" PRIu64,
                   ak_parts(k, KIND_FRONT), ak_parts(k, KIND_QUERY), o->limits_machines);
    if ((rc = mirror_open(&l->m, k->host->run, &l->n, say_word, l)) < 0 || (rc = open_trunk(l)) < 0 ||
        (rc = ak_watch_fd(k, trunk_fd(l->t), on_fd)) < 0) {
        stop(k, self);
        return rc;
    }
    ak_timer(k, 0, &l->tick);
    return E_OK;
}

static const ak_on on[] = {
    { MSG_TIMER, AK_READ, on_timer },
    { 0 },
};

const ak_kind link_kind = {
    .name = "link",
    .self_size = sizeof(link_self),
    .number = KIND_LINK,
    .on = on,
    .init = init,
    .stop = stop,
};
