/* node.c - the node: its plan, lanes and board; actors that start, die and start again; power cuts.
 *
 * The real plan, run directory, kernel loop and actor kinds.  The supervisor is modelled: it starts a process again
 * some milliseconds after its death, all actors of a group together, as actors/sup.c does it.  The worker is modelled
 * too: argon2id takes longer than a whole seed may.
 */
#include "tests/sim/sim.h"
#include "tests/sim/memrocks.h"

#include "actors/ak_internal.h"
#include "actors/alert_internal.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/log.h"
#include "proto/rows.h"
#include "proto/secrets.h"
#include "storage/part_inner.h"
#include "transport/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ACTORS_MAX = 24 };

typedef struct actor {
    addr           who;
    const ak_kind *kind;
    uint32_t       group;
    ak            *k;
    bool           running;
} actor;

typedef struct launch { /* of all actors, or of a group's */
    uint32_t group, stage, generation, number;
    bool     all;
} launch;

static struct {
    rundir   run;
    ak_host  host;
    options  options;
    char     scratch[64];
    actor    actor[ACTORS_MAX];
    uint32_t actors, groups;
    uint64_t messages, full, unjudged, forced; /* of generations that are gone */
    uint64_t killed_at;
    uint32_t generation;
    uint32_t launches[ACTORS_MAX + 1]; /* by group: how often it was started again */
    bool     down;
} node;

/* ---- the worker, modelled: the hash of a password is the password ---- */

static ak_verdict
on_work(ak *k, void *self, const ak_msg *m)
{
    uint8_t   body[sizeof(work_done) + 64];
    work_done done = { .rc = E_OK };
    work_ask  ask;

    (void)self;
    memcpy(&ask, m->body, sizeof ask);
    if (ask.op == WORK_HASH_PASSWORD)
        done.hash_len = (uint32_t)snprintf((char *)body + sizeof done, 64, "$argon2id$sim");
    memcpy(body, &done, sizeof done);
    ak_reply(k, m, MSG_WORK_DONE, body, (uint32_t)sizeof done + done.hash_len);
    return AK_DONE;
}

static const ak_on   worker_on[] = { { MSG_WORK, AK_READ, on_work }, { 0 } };
static const ak_kind model_worker = {
    .name = "worker", .self_size = 8, .number = KIND_WORKER, .on = worker_on
};

/* ---- the notifier, modelled: nobody is told ---- */

static ak_verdict
on_notify(ak *k, void *self, const ak_msg *m)
{
    (void)k;
    (void)self;
    (void)m;
    return AK_DONE;
}

static const ak_on notifier_on[] = { { MSG_NOTIFY, AK_READ, on_notify }, { 0 } };
const ak_kind      notifier_kind = {
    .name = "notifier", .self_size = 8, .number = KIND_NOTIFIER, .on = notifier_on
};

static const ak_kind *
kind_here(uint16_t number)
{
    return number == KIND_WORKER ? &model_worker : kind_of(number);
}

/* ---- actors ---- */

static actor *
actor_of(addr who)
{
    for (uint32_t i = 0; i < node.actors; i++)
        if (node.actor[i].who == who)
            return &node.actor[i];
    return NULL;
}

uint32_t
node_group_of(addr who)
{
    return actor_of(who)->group;
}

uint32_t
node_groups(void)
{
    return node.groups;
}

static void
group_died(void *arg)
{
    (void)node_kills((uint32_t)(uintptr_t)arg);
}

static void
actor_main(void *arg)
{
    actor *a = arg;
    int    rc = ak_open(&a->k, a->kind, addr_part(a->who), &node.host);

    if (rc >= 0)
        rc = ak_run(a->k);
    sim_say("%s.%u died: %s", a->kind->name, addr_part(a->who), err_text());
    err_clear();
    sim_after(0, group_died, (void *)(uintptr_t)a->group);
}

static void
start_actor(actor *a)
{
    seat *s;

    ASSERT(seat_open(&s, node.run.path, a->who, true) == E_OK);
    atomic_store(&s->epoch, atomic_load(&s->epoch) + 1);
    seat_close(&s);
    a->running = true;
    the_tally.starts++;
    (void)task_start(actor_main, a, a->group, a->who);
}

/* One kind after the other, as the node starts them: the next when those before are open, or dead. */
static bool
is_mine(const launch *l, const actor *a, uint32_t stage)
{
    return addr_kind(a->who) == node_start_order[stage] && (l->all || a->group == l->group) &&
           (!l->all || node.launches[a->group] == 0);
}

static void
launch_on(void *arg)
{
    launch *l = arg;
    bool    wait = false;

    if (l->generation != node.generation || (!l->all && node.launches[l->group] != l->number)) {
        free(l); /* another one is about it */
        return;
    }
    for (uint32_t i = 0; l->stage > 0 && i < node.actors; i++)
        wait |= is_mine(l, &node.actor[i], l->stage - 1) && node.actor[i].running &&
                node.actor[i].k == NULL;
    for (uint32_t i = 0; !wait && i < node.actors; i++)
        if (is_mine(l, &node.actor[i], l->stage) && !node.actor[i].running)
            start_actor(&node.actor[i]);
    l->stage += !wait;
    if (l->stage < NODE_KINDS)
        sim_after(wait ? 50 * US : US, launch_on, l);
    else
        free(l);
}

static void
launch_in(uint64_t ns, uint32_t group, bool everything)
{
    launch *l = calloc(1, sizeof *l);

    ASSERT(l != NULL);
    *l = (launch){ .group = group, .all = everything, .generation = node.generation };
    if (!everything)
        l->number = ++node.launches[group];
    sim_after(ns, launch_on, l);
}

static void
forget_files(const actor *a)
{
    char dir[512];

    if (addr_kind(a->who) == KIND_INGEST) {
        (void)snprintf(dir, sizeof dir, "%.400s/part.%u", node.run.data_dir, addr_part(a->who));
        memrocks_die(dir);
        part_db_lose(dir);
    } else if (addr_kind(a->who) == KIND_REGISTRY) {
        (void)snprintf(dir, sizeof dir, "%.400s/registry", node.run.data_dir);
        memrocks_die(dir);
    }
}

static bool
kill_group(uint32_t group)
{
    bool any = false;

    group_kill(group);
    disk_settle();
    for (uint32_t i = 0; i < node.actors; i++) {
        actor *a = &node.actor[i];

        if (a->group != group || !a->running)
            continue;
        any = true;
        a->running = false;
        ak_close(&a->k);
        a->k = NULL;
        if (addr_kind(a->who) == KIND_FRONT)
            web_lost(addr_part(a->who));
        forget_files(a);
    }
    return any;
}

bool
node_kills(uint32_t group)
{
    bool any = kill_group(group);

    node.killed_at = sim_now();
    if (any)
        launch_in(300 * US + sim_below(8 * MS), group, false);
    return any;
}

/* ---- making a run directory ---- */

static uint64_t
lane_size(const edge_plan *e)
{
    uint16_t from = addr_kind(e->from), to = addr_kind(e->to);

    if (to == KIND_INGEST && from == KIND_FRONT)
        return sim_seed() % 3 == 0 ? 16 << 10 : 64 << 10;
    if (from == KIND_INGEST && to == KIND_FRONT)
        return 16 << 10;
    return min_u64(e->capacity, 256 << 10);
}

static void
make_plan(void)
{
    static const board_limits limits = { .tenants = 16, .users = 16, .keys = 16, .blocked = 16,
                                         .machines = 64, .rules = 64, .series = 256, .parts = 2 };
    board_limits              l = limits;
    char                      path[RUNDIR_PATH_MAX + 16];

    memset(&node.run, 0, sizeof node.run);
    (void)snprintf(node.run.path, sizeof node.run.path, "%s/run", node.scratch);
    (void)snprintf(node.run.data_dir, sizeof node.run.data_dir, "%s/data", node.scratch);
    node.run.listen_fd = -1;
    node.run.loopback = 1;
    ASSERT(mkdir(node.run.path, 0700) == 0);
    ASSERT(plan_make(&node.run.plan, &node.options, 0) == E_OK);
    for (uint32_t i = 0; i < node.run.plan.edges; i++)
        node.run.plan.edge[i].capacity = lane_size(&node.run.plan.edge[i]);
    ASSERT(rundir_make(&node.run) == E_OK);
    (void)snprintf(path, sizeof path, "%s/board", node.run.path);
    ASSERT(mkdir(path, 0700) == 0);
    l.parts = node_parts();
    ASSERT(board_create(path, &l) == E_OK);
}

static void
take_actors(void)
{
    const plan *p = &node.run.plan;

    node.actors = 0;
    node.groups = 0;
    for (uint32_t i = 0; i < p->slots; i++) {
        const ak_kind *kind = kind_here(addr_kind(p->slot[i].who));

        if (kind == NULL)
            continue;
        ASSERT(node.actors < ACTORS_MAX);
        node.actor[node.actors++] =
            (actor){ .who = p->slot[i].who, .kind = kind, .group = (uint32_t)p->slot[i].group };
        node.groups = (uint32_t)max_u64(node.groups, (uint64_t)p->slot[i].group + 1);
    }
}

static void
boot(void)
{
    the_tally.generations++;
    make_plan();
    take_actors();
    node.down = false;
    memset(node.launches, 0, sizeof node.launches);
    launch_in(0, 0, true);
}

/* Ingest in a seed of three has its actors as threads of one process. */
static void
set_options(void)
{
    options *o = &node.options;

    ASSERT(options_load(o, NULL, 0, NULL) == E_OK);
    o->server_processes = sim_seed() % 3 != 0;
    o->front_count = 1 + sim_seed() % 2;
    o->ingest_count = 2;
    o->query_count = 1;
    o->worker_count = 1;
    o->auth_registration = REGISTRATION_OPEN;
    o->limits_rate_free = o->limits_rate_open = o->limits_rate_pro = 0;
    o->limits_machines = 64;
    o->storage_journal_mb = 12;
    o->storage_heads_mb = 16;
    o->storage_cache_mb = 8;
    o->storage_reserve_mb = 0;
}

void
node_start(const char *scratch)
{
    secrets secret;

    (void)snprintf(node.scratch, sizeof node.scratch, "%s", scratch);
    set_options();
    (void)snprintf(node.run.path, sizeof node.run.path, "%s/data", node.scratch);
    ASSERT(mkdir(node.run.path, 0700) == 0);
    ASSERT(secrets_load(&secret, node.run.path) == E_OK);
    node.host.run = &node.run;
    atomic_store(&node.host.options, &node.options);
    boot();
}

/* ---- power ---- */

static void
power_back(void *arg)
{
    (void)arg;
    boot();
}

void
node_power_cut(void)
{
    uint64_t lost;

    if (node.down)
        return;
    sim_fault(FAULT_POWER);
    node.messages = node_messages();
    node.full = node_full();
    node.unjudged = node_unjudged();
    node.forced = node_forced_trims();
    node.down = true;
    node.generation++; /* no launch goes on */
    clients_power_cut();
    /* First the disk, whose writes are under way; then those who wait for them. */
    disk_cut();
    for (uint32_t g = 0; g < node.groups; g++)
        (void)kill_group(g);
    lost = memrocks_cut(sim_below);
    for (uint64_t i = 0; i < lost; i++)
        sim_fault(FAULT_CUT_TAIL);
    rundir_remove(node.run.path);
    node.actors = 0;
    sim_after(5 * MS + sim_below(20 * MS), power_back, NULL);
}

/* ---- questions ---- */

bool
node_alerts_are_even(void)
{
    const actor *a = actor_of((addr)KIND_ALERT << 32);
    const alert *self = a->running && a->k != NULL ? a->k->self : NULL;
    bool         even = self != NULL && self->loaded && self->turns_first == self->turns_end;

    for (uint32_t i = 0; even && i < TURNS_FLYING_MAX; i++)
        even = !self->flying[i].used;
    for (uint32_t i = 0; even && i < self->feed_count; i++)
        even = self->feeds[i].placed && !self->feeds[i].fresh && !self->feeds[i].behind;
    return even;
}

bool
node_is_up(void)
{
    for (uint32_t i = 0; i < node.actors; i++)
        if (node.actor[i].k == NULL)
            return false;
    return !node.down;
}

uint16_t
node_parts(void)
{
    return node.run.plan.parts[KIND_INGEST];
}

uint16_t
node_fronts(void)
{
    return node.run.plan.parts[KIND_FRONT];
}

static uint64_t
sum(enum counter which)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < node.actors; i++)
        n += node_count(node.actor[i].who, which);
    return n;
}

uint64_t
node_count(addr who, uint32_t which)
{
    const actor *a = actor_of(who);
    counters    *c;
    uint64_t     n;

    if (a == NULL)
        return 0;
    if (a->k != NULL)
        return count_get(a->k->counters, which);
    if (counters_open(&c, node.run.path, who, false) < 0) {
        err_clear();
        return 0;
    }
    n = count_get(c, which);
    counters_close(&c);
    return n;
}

uint64_t
node_messages(void)
{
    return node.messages + (node.down ? 0 : sum(COUNT_MESSAGES));
}

uint64_t
node_full(void)
{
    return node.full + (node.down ? 0 : sum(COUNT_FULL) + sum(COUNT_SHED));
}

uint64_t
node_unjudged(void)
{
    return node.unjudged + (node.down ? 0 : sum(COUNT_ALERT_LOST));
}

uint64_t
node_forced_trims(void)
{
    return node.forced + (node.down ? 0 : sum(COUNT_FORCED_TRIMS));
}

uint64_t
node_readings(void)
{
    uint64_t n = 0;

    for (uint16_t p = 0; p < node_parts(); p++)
        n += node_count(addr_of(KIND_INGEST, p), COUNT_READINGS);
    return n;
}

bool
node_has_died(void)
{
    return node.killed_at > 0 || the_tally.generations > 1;
}

bool
node_is_quiet(void)
{
    if (!node_is_up())
        return false;
    for (uint32_t i = 0; i < node.actors; i++) {
        const ak *k = node.actor[i].k;

        if (!k->parked)
            return false;
        for (uint32_t j = 0; j < k->ins; j++)
            if (lane_head(k->in[j].lane) != lane_tail(k->in[j].lane))
                return false;
    }
    return true;
}

/* What waits in a lane of the ring carrier, although its consumer sleeps and no bell is under way?  When it falls
 * asleep: nothing may.  When it wakes by the clock: nothing that its producer, itself asleep by now, has finished. */
void
node_check_sleep(addr who, bool overslept)
{
    const actor *a = actor_of(who);

    if (a == NULL || a->k == NULL || (overslept && bell_is_due(who)))
        return;
    for (uint32_t i = 0; i < a->k->ins; i++) {
        const ak_in *in = &a->k->in[i];
        const actor *from = actor_of(in->from);

        sim_saw(ORACLE_WAKE, 1);
        if (!ak__in_waits(in) || bell_is_due(who))
            continue;
        if (overslept && (from == NULL || from->k == NULL || !from->k->parked ||
                          sim_now() - node.killed_at < 5 * SEC))
            continue;
        sim_fail(ORACLE_WAKE, "%s.%u %s, but %s.%u has put something into its lane",
                 a->kind->name, addr_part(who), overslept ? "overslept" : "falls asleep",
                 kind_name(addr_kind(in->from)), addr_part(in->from));
    }
}
