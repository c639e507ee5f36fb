/* plan.c - the topology of a node, made from the settings.
 *
 *   roads   which kinds talk, how wide the lanes are each way, who asks whom      a table
 *   plan    that table times the parts of each kind
 *
 * Lanes that carry readings shrink, down to a floor, until all lanes fit into 32 MiB; when the number of
 * fronts is left to us, there are fewer of them rather than no node.
 */
#include "actors/node.h"

#include "actors/plan.h"
#include "proto/err.h"
#include "proto/messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Both nodes make their end of a lane, and must make it alike, whatever else they have. */
enum { FAR_HALVINGS = 1 };
enum { KIB = 1024, MIB = 1024 * KIB, LANES_MAX_BYTES = 32 * MIB, CORES_MAX = 1024 };

/* clang-format off */
const plan_road plan_roads[] = {
/*   from           to             there      least      policy      back       least      policy      */
    { KIND_FRONT,    KIND_INGEST,   2 * MIB,   256 * KIB, EDGE_WAIT,  256 * KIB, 64 * KIB,  EDGE_LATEST }, /* READINGS, PROBE; STORED, FEED */
    { KIND_FRONT,    KIND_QUERY,    128 * KIB, 128 * KIB, EDGE_WAIT,  1 * MIB,   128 * KIB, EDGE_REPLY }, /* QUERY; RESULT */
    { KIND_FRONT,    KIND_REGISTRY, 256 * KIB, 128 * KIB, EDGE_WAIT,  1 * MIB,   256 * KIB, EDGE_SHED  }, /* REG; REG_DONE, EVENT */
    { KIND_FRONT,    KIND_WORKER,   64 * KIB,  16 * KIB,  EDGE_WAIT,  64 * KIB,  16 * KIB,  EDGE_REPLY }, /* WORK; WORK_DONE */
    { KIND_QUERY,    KIND_INGEST,   128 * KIB, 128 * KIB, EDGE_WAIT,  1 * MIB,   128 * KIB, EDGE_REPLY, SAME_NODE }, /* HEADS; HEAD_ROWS */
    { KIND_QUERY,    KIND_READER,   128 * KIB, 128 * KIB, EDGE_WAIT,  1 * MIB,   128 * KIB, EDGE_REPLY }, /* QUERY; RESULT: of far partitions */
    { KIND_READER,   KIND_INGEST,   128 * KIB, 128 * KIB, EDGE_WAIT,  1 * MIB,   128 * KIB, EDGE_REPLY, SAME_PART }, /* HEADS; HEAD_ROWS */
    { KIND_ALERT,    KIND_INGEST,   16 * KIB,  16 * KIB,  EDGE_WAIT,  256 * KIB, 128 * KIB, EDGE_SHED  }, /* CATCH_UP, JUDGED; CAUGHT, WATCHED */
    { KIND_ALERT,    KIND_REGISTRY, 128 * KIB, 128 * KIB, EDGE_WAIT,  256 * KIB, 128 * KIB, EDGE_REPLY }, /* REG; REG_DONE */
    { KIND_FRONT,    KIND_NOTIFIER, 128 * KIB, 128 * KIB, EDGE_WAIT,  16 * KIB,  16 * KIB,  EDGE_REPLY }, /* DELIVER; DELIVERED */
    { KIND_NOTIFIER, KIND_REGISTRY, 64 * KIB,  64 * KIB,  EDGE_WAIT,  256 * KIB, 256 * KIB, EDGE_SHED  }, /* REG; REG_DONE, NOTIFY */
    { 0 },
};
/* clang-format on */

/* ---- the graph of who waits for whom ---- */

enum { UNSEEN, ON_THE_WAY, SEEN };

typedef struct walk {
    const plan_road *roads;
    uint8_t          mark[KIND_MAX];
    uint16_t         way[KIND_MAX + 1];
    uint32_t         depth;
} walk;

static int
say_cycle(const walk *w, uint16_t again)
{
    char     text[256] = "";
    size_t   len = 0;
    uint32_t i = 0;

    while (w->way[i] != again)
        i++;
    for (; i < w->depth && len < sizeof text - 32; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s -> ", kind_name(w->way[i]));
    return err(E_CONFIG, "actors wait for each other in a circle: %s%s", text, kind_name(again));
}

static int
visit(walk *w, uint16_t kind)
{
    int rc = E_OK;

    if (w->mark[kind] == SEEN)
        return E_OK;
    if (w->mark[kind] == ON_THE_WAY)
        return say_cycle(w, kind);
    w->mark[kind] = ON_THE_WAY;
    w->way[w->depth++] = kind;
    for (const plan_road *r = w->roads; r->from != 0 && rc >= 0; r++)
        if (r->from == kind && r->policy == EDGE_WAIT)
            rc = visit(w, r->to);
    w->depth--;
    w->mark[kind] = SEEN;
    return rc;
}

int
plan_check_roads(const plan_road *roads)
{
    walk w = { .roads = roads };
    int  rc = E_OK;

    for (uint16_t kind = 1; kind < KIND_MAX && rc >= 0; kind++)
        rc = visit(&w, kind);
    return rc;
}

/* ---- parts ---- */

static uint32_t
cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : (uint32_t)min_u64((uint64_t)n, CORES_MAX);
}

typedef struct kind_options {
    uint16_t    kind;
    uint64_t    count;
    uint32_t    mode;
    carrier     carrier;
    const char *core;
    uint32_t    restart;
    uint32_t    strategy;
} kind_options;

enum { KINDS = NODE_KINDS };

/* What a plan is made of. */
typedef struct ground {
    nodes        n;
    kind_options kind[KINDS];
} ground;

static int
read_ground(ground *g, const options *o, uint16_t partitions)
{
    uint64_t parts = partitions != 0 ? partitions : o->ingest_count;
    uint64_t fronts = o->front_count != 0 ? o->front_count : min_u64(64, max_u64(1, cores() / 2));
    int      rc = nodes_read(&g->n, o);

    if (rc < 0)
        return rc;
    if (parts == 0)
        parts = min_u64(16, max_u64(1, cores() / 4));
    if (g->n.many) { /* what every node must count alike */
        parts = g->n.parts;
        fronts = max_u64(1, o->front_count);
    }
#define KIND_ROW(KIND, name, n)                                                                    \
    (kind_options)                                                                                 \
    {                                                                                              \
        KIND, n, o->name##_mode, o->name##_carrier == CARRIER_ZMQ ? CARRIER_ZMQ : CARRIER_RING,    \
            o->name##_core, o->name##_restart, o->name##_strategy                                  \
    }
    /* In the order of a clean stop. */
    g->kind[0] = KIND_ROW(KIND_FRONT, front, fronts);
    g->kind[1] = KIND_ROW(KIND_QUERY, query, o->query_count);
    g->kind[2] = KIND_ROW(KIND_READER, query, g->n.many ? parts : 0);
    g->kind[3] = KIND_ROW(KIND_INGEST, ingest, parts);
    g->kind[4] = KIND_ROW(KIND_ALERT, alert, 1);
    g->kind[5] = KIND_ROW(KIND_REGISTRY, registry, 1);
    g->kind[6] = KIND_ROW(KIND_LINK, registry, g->n.many ? 1 : 0);
    g->kind[7] = KIND_ROW(KIND_WORKER, worker, o->worker_count);
    g->kind[8] = KIND_ROW(KIND_NOTIFIER, notifier, 1);
#undef KIND_ROW
    return E_OK;
}

/* A peer's number, PLAN_HERE or PLAN_NOWHERE: partitions are where the settings say, the rest is at home. */
static int
place_of(const nodes *n, uint16_t kind, uint32_t part)
{
    bool partitioned = kind == KIND_INGEST || kind == KIND_READER;

    if (!n->many || kind == KIND_LINK)
        return PLAN_HERE;
    if (!partitioned)
        return n->is_home ? PLAN_HERE : 0;
    if ((n->own >> part & 1) != 0) /* at home the query actors read them themselves */
        return kind == KIND_READER && n->is_home ? PLAN_NOWHERE : PLAN_HERE;
    for (uint32_t i = 0; i < n->peers; i++)
        if ((n->peer_parts[i] >> part & 1) != 0)
            return (int)i;
    return PLAN_NOWHERE;
}

/* "0,2,4": part 0 to core 0, part 1 to core 2, ..., round and round.  Empty: not pinned. */
static int
core_of(const kind_options *k, uint32_t part, int32_t *core)
{
    long        at[64];
    uint32_t    n = 0;
    const char *s = k->core == NULL ? "" : k->core;
    char       *end;

    *core = -1;
    while (*s != '\0' && n < COUNT_OF(at)) {
        at[n] = strtol(s, &end, 10);
        if (end == s || at[n] < 0 || at[n] >= CORES_MAX || (*end != ',' && *end != '\0'))
            return err(E_CONFIG, "%s.core = \"%s\": not a list of cores", kind_name(k->kind), k->core);
        n++;
        s = *end == ',' ? end + 1 : end;
    }
    if (n > 0)
        *core = (int32_t)at[part % n];
    return E_OK;
}

static int
add_slot(plan *p, const kind_options *k, uint32_t part, int32_t group)
{
    slot_plan *s;

    if (p->slots == SLOTS_MAX)
        return err(E_CONFIG, "more than %d actors", SLOTS_MAX);
    s = &p->slot[p->slots++];
    s->who = addr_of(k->kind, (uint16_t)part);
    s->group = group;
    s->restart = (enum plan_restart)k->restart;
    s->strategy = (enum plan_strategy)k->strategy;
    return core_of(k, part, &s->core);
}

static int
add_far(plan *p, addr who, int peer)
{
    if (p->fars == FARS_MAX)
        return err(E_CONFIG, "more than %d actors on other nodes", FARS_MAX);
    p->far[p->fars++] = (far_plan){ .who = who, .peer = (uint32_t)peer };
    return E_OK;
}

static int
add_slots(plan *p, const ground *g, bool processes)
{
    int32_t group = 1;
    int     rc = E_OK;

    p->peers = g->n.peers;
    for (uint32_t i = 0; i < KINDS; i++) {
        const kind_options *k = &g->kind[i];
        bool                own = processes || k->mode == MODE_PROCESS;

        p->parts[k->kind] = (uint16_t)k->count;
        for (uint32_t part = 0; part < k->count && rc >= 0; part++) {
            int place = place_of(&g->n, k->kind, part);

            if (place == PLAN_HERE)
                rc = add_slot(p, k, part, own ? group++ : 0);
            else if (place != PLAN_NOWHERE)
                rc = add_far(p, addr_of(k->kind, (uint16_t)part), place);
        }
    }
    return rc;
}

int
plan_place(const plan *p, addr who)
{
    for (uint32_t i = 0; i < p->fars; i++)
        if (p->far[i].who == who)
            return (int)p->far[i].peer;
    for (uint32_t i = 0; i < p->slots; i++)
        if (p->slot[i].who == who)
            return PLAN_HERE;
    return PLAN_NOWHERE;
}

/* ---- lanes ---- */

static uint64_t
shrunk(uint64_t bytes, uint64_t least, uint32_t halvings)
{
    for (; halvings > 0 && bytes / 2 >= least; halvings--)
        bytes /= 2;
    return bytes;
}

/* Do these two talk, and is one of them here? */
static bool
are_joined(const nodes *n, const plan_road *r, uint32_t i, uint32_t j, enum edge_side *side)
{
    int a = place_of(n, r->from, i), b = place_of(n, r->to, j);

    if (a == PLAN_NOWHERE || b == PLAN_NOWHERE || (a != PLAN_HERE && b != PLAN_HERE))
        return false;
    if ((r->where != ANYWHERE && a != b) || (r->where == SAME_PART && i != j))
        return false;
    *side = a != PLAN_HERE ? EDGE_COMES_IN : b != PLAN_HERE ? EDGE_GOES_OUT : EDGE_HERE;
    return true;
}

static uint64_t
road_bytes(const plan *p, const nodes *n, const plan_road *r, uint32_t halvings)
{
    enum edge_side side;
    uint64_t       sum = 0;

    for (uint16_t i = 0; i < p->parts[r->from]; i++) {
        for (uint16_t j = 0; j < p->parts[r->to]; j++) {
            uint32_t times = halvings;

            if (!are_joined(n, r, i, j, &side))
                continue;
            if (side != EDGE_HERE)
                times = FAR_HALVINGS;
            sum += shrunk(r->there, r->there_least, times) + shrunk(r->back, r->back_least, times);
        }
    }
    return sum;
}

static uint64_t
total_bytes(const plan *p, const nodes *n, uint32_t halvings)
{
    uint64_t sum = 0;

    for (const plan_road *r = plan_roads; r->from != 0; r++)
        sum += road_bytes(p, n, r, halvings);
    return sum;
}

static uint32_t
edge_count(const plan *p, const nodes *n)
{
    enum edge_side ignored;
    uint32_t       count = 0;

    for (const plan_road *r = plan_roads; r->from != 0; r++)
        for (uint16_t i = 0; i < p->parts[r->from]; i++)
            for (uint16_t j = 0; j < p->parts[r->to]; j++)
                count += are_joined(n, r, i, j, &ignored) ? (r->back != 0 ? 2u : 1u) : 0;
    return count;
}

static int
too_much(const plan *p, const nodes *n)
{
    char   text[512] = "";
    size_t len = 0;

    for (const plan_road *r = plan_roads; r->from != 0 && len < sizeof text - 64; r++)
        len += (size_t)snprintf(text + len, sizeof text - len, "; %s-%s %u x %u x %" PRIu64 "K",
                                kind_name(r->from), kind_name(r->to), p->parts[r->from],
                                p->parts[r->to], (r->there_least + r->back_least) / KIB);
    return err(E_CONFIG, "%u lanes of %" PRIu64 "M at least, more than %d or %dM%s", edge_count(p, n),
               total_bytes(p, n, 32) / MIB, EDGES_MAX, LANES_MAX_BYTES / MIB, text);
}

static void
add_edge(plan *p, addr from, addr to, edge_plan e)
{
    ASSERT(p->edges < EDGES_MAX);
    e.from = from;
    e.to = to;
    p->edge[p->edges++] = e;
}

static carrier
carrier_of(const kind_options kinds[KINDS], const plan_road *r)
{
    for (uint32_t i = 0; i < KINDS; i++)
        if ((kinds[i].kind == r->from || kinds[i].kind == r->to) && kinds[i].carrier == CARRIER_ZMQ)
            return CARRIER_ZMQ;
    return CARRIER_RING;
}

static void
add_pair(plan *p, const plan_road *r, addr from, addr to, edge_plan there, edge_plan back)
{
    add_edge(p, from, to, there);
    back.side = there.side == EDGE_GOES_OUT  ? EDGE_COMES_IN
                : there.side == EDGE_COMES_IN ? EDGE_GOES_OUT
                                              : EDGE_HERE;
    if (r->back != 0)
        add_edge(p, to, from, back);
}

static edge_plan
lane_plan(carrier c, enum edge_policy policy, uint64_t bytes, uint64_t least, uint32_t halvings)
{
    return (edge_plan){ .carrier = c, .policy = policy, .capacity = shrunk(bytes, least, halvings) };
}

static void
add_road(plan *p, const ground *g, const plan_road *r, uint32_t halvings)
{
    carrier        near = carrier_of(g->kind, r);
    enum edge_side side;

    for (uint16_t i = 0; i < p->parts[r->from]; i++) {
        for (uint16_t j = 0; j < p->parts[r->to]; j++) {
            carrier   c = near;
            uint32_t  times = halvings;
            edge_plan there, back;

            if (!are_joined(&g->n, r, i, j, &side))
                continue;
            if (side != EDGE_HERE) {
                c = CARRIER_ZMQ;
                times = FAR_HALVINGS;
            }
            there = lane_plan(c, r->policy, r->there, r->there_least, times);
            back = lane_plan(c, r->back_policy, r->back, r->back_least, times);
            there.side = side;
            add_pair(p, r, addr_of(r->from, i), addr_of(r->to, j), there, back);
        }
    }
}

static bool
fits(const plan *p, const nodes *n, uint32_t *halvings)
{
    for (*halvings = 0; *halvings < 8; (*halvings)++)
        if (total_bytes(p, n, *halvings) <= LANES_MAX_BYTES)
            return edge_count(p, n) <= EDGES_MAX;
    return false;
}

int
plan_make(plan *p, const options *o, uint16_t partitions)
{
    ground   g;
    uint32_t halvings;
    int      rc = plan_check_roads(plan_roads);

    if (rc < 0)
        return rc;
    memset(p, 0, sizeof *p);
    if ((rc = read_ground(&g, o, partitions)) < 0)
        return rc;
    for (uint32_t i = 0; i < KINDS; i++)
        p->parts[g.kind[i].kind] = (uint16_t)g.kind[i].count;
    while (!fits(p, &g.n, &halvings)) {
        if (o->front_count != 0 || g.kind[0].count == 1)
            return too_much(p, &g.n);
        p->parts[KIND_FRONT] = (uint16_t)--g.kind[0].count;
    }
    if ((rc = add_slots(p, &g, o->server_processes)) < 0)
        return rc;
    for (const plan_road *r = plan_roads; r->from != 0; r++)
        add_road(p, &g, r, halvings);
    return E_OK;
}

void
plan_describe_peers(const nodes *n, char *out, size_t room)
{
    size_t len = 0;
    char   parts[256];

    out[0] = '\0';
    for (uint32_t i = 0; i < n->peers && len < room; i++) {
        nodes_parts_text(n->peer_parts[i], parts, sizeof parts);
        len += (size_t)snprintf(out + len, room - len, "node %s at %s: %s%s\n", n->peer[i].name,
                                n->peer[i].endpoint, n->is_home ? "partitions " : "home, with the fronts", parts);
    }
}

/* Actors of a kind on this node. */
static uint32_t
here(const plan *p, uint16_t kind)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < p->slots; i++)
        n += addr_kind(p->slot[i].who) == kind;
    return n;
}

void
plan_describe(const plan *p, char *out, size_t room)
{
    size_t   len = 0;
    uint32_t processes = 0;
    uint32_t zmq = 0;
    bool     shared = false;

    out[0] = '\0';
    for (uint32_t i = 0; i < p->slots; i++) {
        shared = shared || p->slot[i].group == 0;
        processes += p->slot[i].group != 0;
    }
    for (uint32_t i = 0; i < p->edges; i++)
        zmq += p->edge[i].carrier == CARRIER_ZMQ;
    for (uint16_t kind = 1; kind < KIND_MAX && len < room; kind++)
        if (here(p, kind) != 0)
            len += (size_t)snprintf(out + len, room - len, "%s:%u ", kind_name(kind), here(p, kind));
    if (len < room)
        len += (size_t)snprintf(out + len, room - len, "processes:%u lanes:%u zmq:%u",
                                processes + shared, p->edges, zmq);
    if (len < room && p->peers > 0)
        (void)snprintf(out + len, room - len, " nodes:%u", p->peers + 1);
}
