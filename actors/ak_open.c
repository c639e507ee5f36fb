/* ak_open.c - an actor comes to be: its seat, wire, counters, board and lanes, then init(). */
#include "actors/ak_internal.h"

#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = RUNDIR_PATH_MAX + RUNDIR_NAME_MAX };

static int32_t
group_of(const plan *p, addr who)
{
    for (uint32_t i = 0; i < p->slots; i++)
        if (p->slot[i].who == who)
            return p->slot[i].group;
    return -1;
}

bool
ak_same_process(const ak *k, addr other)
{
    const plan *p = &k->host->run->plan;

    return group_of(p, k->me) == group_of(p, other);
}

bool
ak_look(const ak *k, addr who, ak_about *out)
{
    seat *s;

    if (plan_place(&k->host->run->plan, who) == PLAN_NOWHERE ||
        seat_open(&s, k->host->run->path, who, false) < 0)
        return false;
    out->pid = atomic_load(&s->pid);
    out->restarts = atomic_load(&s->restarts);
    out->ready = atomic_load(&s->ready) == atomic_load(&s->epoch) &&
                 atomic_load(&s->state) != SEAT_DOWN;
    seat_close(&s);
    return true;
}

bool
ak_lane_look(const ak *k, uint32_t i, ak_lane_about *out)
{
    const rundir    *r = k->host->run;
    const edge_plan *e = &r->plan.edge[i];
    char             path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];

    if (i >= r->plan.edges)
        return false;
    *out = (ak_lane_about){ .from = e->from, .to = e->to, .capacity = e->capacity };
    if (e->side == EDGE_COMES_IN)
        return true; /* its lane is where its producer is */
    rundir_lane_path(r, e, path);
    if (lane_depth(path, &out->bytes, &out->most) < 0) {
        out->bytes = UINT64_MAX;
        err_clear();
    }
    return true;
}

static const edge_plan *
edge_between(const plan *p, addr from, addr to)
{
    for (uint32_t i = 0; i < p->edges; i++)
        if (p->edge[i].from == from && p->edge[i].to == to)
            return &p->edge[i];
    return NULL;
}

ak_in *
ak__in_from(ak *k, addr from)
{
    for (uint32_t i = 0; i < k->ins; i++)
        if (k->in[i].from == from)
            return &k->in[i];
    return NULL;
}

/* What goes to other nodes goes by way of it. */
static const addr the_link = (addr)KIND_LINK << 32;

static int
open_in(ak *k, ak_in *in, const edge_plan *e, uint32_t cursor)
{
    char path[PATH_ROOM];
    int  rc;

    in->from = e->from;
    in->carrier = e->carrier;
    in->capacity = e->capacity;
    in->owed_limit = e->policy == EDGE_SHED || e->policy == EDGE_LATEST ? e->capacity / 2 : e->capacity;
    in->cursor = cursor;
    in->again_until = atomic_load_explicit(&k->seat->read[cursor], memory_order_relaxed);
    if (e->carrier == CARRIER_RING) {
        rundir_lane_path(k->host->run, e, path);
        if ((rc = lane_open(&in->lane, path, LANE_CONSUMER)) < 0)
            return rc;
    }
    in->far = e->side == EDGE_COMES_IN;
    if (in->far)
        in->again_until = 0; /* of which generation that was is not known: meet_successors() */
    if (in->far)
        in->edge = wire_add_in_far(k->wire, &in->lane, e->from, the_link,
                                   ak_same_process(k, the_link), e->capacity);
    else
        in->edge = wire_add_in(k->wire, &in->lane, e->from, e->carrier,
                               ak_same_process(k, e->from), e->capacity);
    if (in->edge < 0)
        return in->edge;
    in->acked = lane_head(in->lane);
    return E_OK;
}

static int
open_out(ak *k, ak_out *o, const edge_plan *e)
{
    const plan      *p = &k->host->run->plan;
    const edge_plan *back = edge_between(p, e->to, e->from);
    char             path[PATH_ROOM];
    int              rc;

    o->to = e->to;
    o->policy = e->policy;
    o->capacity = e->capacity;
    o->late_end = &o->late;
    o->back = ak__in_from(k, e->to);
    if ((e->policy == EDGE_SHED || e->policy == EDGE_LATEST) && back != NULL && back->policy == EDGE_WAIT)
        o->shed_below = e->capacity / 2;
    count_edge_open(k->counters, (uint32_t)(o - k->out), e->to);
    rundir_lane_path(k->host->run, e, path);
    if ((rc = seat_open(&o->peer, k->host->run->path, e->to, false)) < 0 ||
        (rc = lane_open(&o->lane, path, LANE_PRODUCER)) < 0)
        return rc;
    o->far = e->side == EDGE_GOES_OUT;
    o->edge = o->far ? wire_add_out_far(k->wire, o->lane, the_link, ak_same_process(k, the_link))
                     : wire_add_out(k->wire, o->lane, e->carrier, ak_same_process(k, e->to));
    return o->edge < 0 ? o->edge : E_OK;
}

static int
by_capacity(const void *a, const void *b)
{
    const edge_plan *x = *(const edge_plan *const *)a;
    const edge_plan *y = *(const edge_plan *const *)b;

    if (x->capacity != y->capacity)
        return x->capacity < y->capacity ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Small lanes, which carry control and answers, come first in every round. */
static int
open_ins(ak *k)
{
    const plan       *p = &k->host->run->plan;
    const edge_plan **edge = calloc(p->edges + 1, sizeof(edge_plan *));
    int               rc = E_OK;

    if (edge == NULL)
        return err(E_NOMEM, "lanes");
    for (uint32_t i = 0; i < p->edges; i++)
        if (p->edge[i].to == k->me)
            edge[k->ins++] = &p->edge[i];
    qsort(edge, k->ins, sizeof(edge_plan *), by_capacity);
    while (k->controls < k->ins && edge[k->controls]->capacity <= AK_CONTROL_LANE)
        k->controls++;
    k->in = calloc(k->ins + 1, sizeof *k->in);
    if (k->in == NULL) {
        free(edge);
        return err(E_NOMEM, "lanes");
    }
    if (k->ins > SEAT_LANES)
        rc = err(E_CONFIG, "%s has %u inbound lanes, more than %d", k->name, k->ins, SEAT_LANES);
    for (uint32_t i = 0; i < k->ins && rc >= 0; i++)
        rc = open_in(k, &k->in[i], edge[i], i);
    free(edge);
    return rc;
}

static int
open_outs(ak *k)
{
    const plan *p = &k->host->run->plan;
    int         rc = E_OK;

    k->out = calloc(p->edges + 1, sizeof *k->out);
    if (k->out == NULL)
        return err(E_NOMEM, "lanes");
    for (uint32_t i = 0; i < p->edges && rc >= 0; i++) {
        const edge_plan *e = &p->edge[i];
        uint16_t         kind = addr_kind(e->to);

        if (e->from != k->me)
            continue;
        ASSERT(kind < KIND_MAX && addr_part(e->to) < p->parts[kind]);
        if (k->out_of[kind] == NULL)
            k->out_of[kind] = calloc(p->parts[kind], sizeof(ak_out *));
        if (k->out_of[kind] == NULL)
            return err(E_NOMEM, "lanes");
        k->out_of[kind][addr_part(e->to)] = &k->out[k->outs];
        rc = open_out(k, &k->out[k->outs++], e);
    }
    return rc;
}

static int
open_board(ak *k)
{
    char        path[PATH_ROOM];
    struct stat st;

    (void)snprintf(path, sizeof path, "%s/board", k->host->run->path);
    return stat(path, &st) < 0 ? E_OK : board_open(&k->board, path, k->me);
}

static int
open_all(ak *k)
{
    const char *dir = k->host->run->path;
    int         rc;

    if ((rc = counters_open(&k->counters, dir, k->me, true)) < 0 ||
        (rc = trail_open(&k->trail, dir, k->me, true)) < 0 ||
        (rc = wire_open(&k->wire, k->host->zmq, dir, k->me)) < 0 || (rc = open_ins(k)) < 0 ||
        (rc = open_outs(k)) < 0 || (rc = open_board(k)) < 0 || (rc = ak__crew_open(k)) < 0)
        return rc;
    k->untimed = 1;
    k->commit_done = k->commit_until = trail_next(k->trail);
    count_set(k->counters, COUNT_RESTARTS, atomic_load(&k->seat->restarts));
    return E_OK;
}

static void
set_handlers(ak *k)
{
    for (const ak_on *on = k->kind->on; on->fn != NULL; on++) {
        ASSERT(on->type < MSG_MAX);
        k->on[on->type] = *on;
    }
}

static int
init_self(ak *k)
{
    int rc;

    (void)the_world->chance(&k->random, sizeof k->random);
    k->ask_seq = (uint32_t)ak_random(k); /* no ask is taken for one of an earlier life of the node */
    k->now_ns = ak__clock_ns();
    k->self = aligned_alloc(128, round_up(k->kind->self_size + 1, 128));
    if (k->self == NULL)
        return err(E_NOMEM, "state of the actor");
    memset(k->self, 0, k->kind->self_size);
    rc = k->kind->init == NULL ? E_OK : k->kind->init(k, k->self);
    return rc < 0 ? rc : k->dead;
}

int
ak_open(ak **out, const ak_kind *kind, uint16_t part, ak_host *host)
{
    ak *k = aligned_alloc(128, round_up(sizeof *k, 128));
    int rc;

    *out = NULL;
    if (k == NULL)
        return err(E_NOMEM, "actor");
    memset(k, 0, sizeof *k);
    ASSERT(!(kind->ordered && kind->holds));
    k->kind = kind;
    k->host = host;
    k->me = addr_of(kind->number, part);
    (void)snprintf(k->name, sizeof k->name, "%s.%u", kind->name, part);
    log_actor(k->name);
    set_handlers(k);
    if ((rc = seat_open(&k->seat, host->run->path, k->me, true)) < 0)
        goto fail;
    k->epoch = (uint16_t)atomic_load(&k->seat->epoch);
    atomic_store(&k->seat->tid, (int32_t)gettid());
    atomic_store(&k->seat->state, SEAT_STARTING);
    ak__careful_open(k);
    if ((rc = open_all(k)) < 0 || (rc = init_self(k)) < 0) {
        seat_fail(k->seat, rc, err_text());
        goto fail;
    }
    ak__publish(k); /* what init() staged */
    atomic_store(&k->seat->ready, atomic_load(&k->seat->epoch));
    *out = k;
    return E_OK;
fail:
    ak_close(&k);
    return rc;
}

static void
ins_free(ak *k)
{
    for (uint32_t i = 0; i < k->ins && k->in != NULL; i++) {
        lane_close(&k->in[i].lane);
        free(k->in[i].held);
    }
    free(k->in);
}

void
ak_close(ak **kp)
{
    ak *k = *kp;

    if (k == NULL)
        return;
    *kp = NULL;
    ak__crew_close(k);
    ak__replay_close(k);
    ak__monitors_close(k);
    wire_close(&k->wire);
    ins_free(k);
    ak__outs_free(k);
    if (k->board != NULL)
        board_close(&k->board);
    counters_close(&k->counters);
    trail_close(&k->trail);
    seat_close(&k->seat);
    free(k->dues.due);
    free(k->dues.heap);
    free(k->ask);
    free(k->stream);
    free(k->self);
    free(k);
    log_actor(NULL);
}
