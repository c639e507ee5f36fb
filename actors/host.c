/* host.c - see host.h: the tables become a plan, the rest is what every node is. */
#include "actors/host.h"

#include "actors/crash.h"
#include "actors/plan.h"
#include "actors/sup_internal.h"
#include "proto/err.h"
#include "proto/log.h"
#include "proto/own.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { KIB = 1024, KIB_DEFAULT = 64, KIB_MIN = 4, KIB_MAX = 64 * 1024, ARGS_MAX = 64 };

static const host *now; /* one a process */
static uint16_t    order[OWN_KINDS];

static const ak_kind *
kind_of_own(uint16_t number)
{
    for (const host_kind *k = now->kinds; k->kind != NULL; k++)
        if (k->kind->number == number)
            return k->kind;
    return NULL;
}

/* ---- the tables are judged ---- */

static int
know_kinds(const host *h, node_app *app)
{
    for (const host_kind *k = h->kinds; k->kind != NULL; k++) {
        if (app->kinds == OWN_KINDS)
            return err(E_CONFIG, "more than %d kinds", OWN_KINDS);
        for (uint32_t i = 0; i < app->kinds; i++)
            if (order[i] == k->kind->number)
                return err(E_CONFIG, "kind %u is there twice", order[i]);
        if (k->parts == 0 || !own_kind(k->kind->number, k->kind->name))
            return err(E_CONFIG, "kind %u, \"%s\": number, name or parts cannot be so", k->kind->number,
                       k->kind->name);
        order[app->kinds++] = k->kind->number;
    }
    return app->kinds == 0 ? err(E_CONFIG, "no kinds") : E_OK;
}

static int
know_messages(const host *h)
{
    for (const host_message *m = h->messages; m->type != 0; m++)
        if (!own_message(m->type, m->name, m->body_min, m->body_max, m->reply_max))
            return err(E_CONFIG, "message %u, \"%s\": number, name or bounds cannot be so", m->type, m->name);
    return E_OK;
}

static uint64_t
road_bytes(const host_road *r)
{
    return (uint64_t)(r->kib == 0 ? KIB_DEFAULT : r->kib) * KIB;
}

static int
check_roads(const host *h)
{
    plan_road rows[OWN_KINDS * OWN_KINDS + 1] = { 0 };
    uint32_t  n = 0;

    for (const host_road *r = h->roads; r->from != 0; r++) {
        uint64_t kib = road_bytes(r) / KIB;

        if (n == OWN_KINDS * OWN_KINDS || kind_of_own(r->from) == NULL || kind_of_own(r->to) == NULL)
            return err(E_CONFIG, "road %u -> %u: no such kinds, or too many roads", r->from, r->to);
        if (kib < KIB_MIN || kib > KIB_MAX || (kib & (kib - 1)) != 0)
            return err(E_CONFIG, "road %s -> %s: %u KiB is no power of two from %d to %d",
                       kind_name(r->from), kind_name(r->to), r->kib, KIB_MIN, KIB_MAX);
        rows[n++] = (plan_road){ .from = r->from,
                                 .to = r->to,
                                 .policy = r->shed ? EDGE_SHED : EDGE_WAIT };
    }
    return plan_check_roads(rows);
}

/* ---- the plan ---- */

static int
add_slots(plan *p, const host *h, bool processes)
{
    int32_t group = 1;

    for (const host_kind *k = h->kinds; k->kind != NULL; k++) {
        if (p->slots + k->parts > SLOTS_MAX)
            return err(E_CONFIG, "more than %d actors", SLOTS_MAX);
        p->parts[k->kind->number] = k->parts;
        for (uint16_t part = 0; part < k->parts; part++)
            p->slot[p->slots++] = (slot_plan){ .who = addr_of(k->kind->number, part),
                                               .group = processes || k->process ? group++ : 0,
                                               .core = -1 };
    }
    return E_OK;
}

static int
add_edge(plan *p, addr from, addr to, const host_road *r, enum edge_policy policy)
{
    if (p->edges == EDGES_MAX)
        return err(E_CONFIG, "more than %d lanes", EDGES_MAX);
    p->edge[p->edges++] = (edge_plan){ .from = from,
                                       .to = to,
                                       .carrier = r->zmq ? CARRIER_ZMQ : CARRIER_RING,
                                       .policy = policy,
                                       .capacity = road_bytes(r) };
    return E_OK;
}

static int
add_road(plan *p, const host_road *r)
{
    int rc = E_OK;

    for (uint16_t i = 0; i < p->parts[r->from] && rc >= 0; i++) {
        for (uint16_t j = 0; j < p->parts[r->to] && rc >= 0; j++) {
            addr from = addr_of(r->from, i);
            addr to = addr_of(r->to, j);

            rc = add_edge(p, from, to, r, r->shed ? EDGE_SHED : EDGE_WAIT);
            if (rc >= 0 && !r->shed)
                rc = add_edge(p, to, from, r, EDGE_REPLY);
        }
    }
    return rc;
}

static int
open_host(sup *s)
{
    plan *p = &s->run.plan;
    char  full[PATH_MAX];
    int   rc;

    if (realpath(s->o->server_data, full) == NULL)
        return err_errno(errno, "directory %s", s->o->server_data);
    (void)snprintf(s->run.data_dir, sizeof s->run.data_dir, "%s", full);
    (void)snprintf(s->listen, sizeof s->listen, "none");
    if ((rc = add_slots(p, now, s->o->server_processes)) < 0)
        return rc;
    for (const host_road *r = now->roads; r->from != 0 && rc >= 0; r++)
        rc = add_road(p, r);
    if (rc < 0 || (rc = rundir_name(s->run.path, s->o->server_run_dir, full)) < 0 ||
        (rc = sup__run_begin(s)) < 0)
        return rc;
    return sup__run_end(s);
}

/* ---- main ---- */

static int
failed(void)
{
    (void)fprintf(stderr, "%s\n", err_text());
    return 2;
}

/* What stands first is the default: a later word of the same flag wins. */
static int
supervise(const node_app *app, int argc, char **argv)
{
    char    here[PATH_MAX] = ".";
    char   *words[ARGS_MAX] = { (char[]){ "--data" }, here };
    int     count = 2;
    options o;
    int     status;

    for (int i = 1; i < argc && count < ARGS_MAX; i++)
        words[count++] = argv[i];
    (void)!realpath(".", here);
    if (options_load(&o, NULL, count, words) < 0)
        return failed();
    status = node_run(app, &o, NULL, count, words);
    options_free(&o);
    return status;
}

int
host_main(const host *h, int argc, char **argv)
{
    node_app app = { .order = order, .kind_of = kind_of_own, .open = open_host };

    ASSERT(now == NULL);
    now = h;
    if (know_kinds(h, &app) < 0 || know_messages(h) < 0 || check_roads(h) < 0)
        return failed();
    if (argc < 2 || strcmp(argv[1], "actor") != 0)
        return supervise(&app, argc, argv);
    crash_install(NULL);
    return node_host(&app, argc - 2, argv + 2);
}
