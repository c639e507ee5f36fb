/* The topology: what the settings make, and what is refused. */
#include "tests/unit/check.h"

#include "actors/plan.h"

#include <stdlib.h>

static options
defaults(void)
{
    options o;

    CHECK_OK(options_load(&o, NULL, 0, NULL));
    return o;
}

static uint64_t
lane_bytes_of(const plan *p)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < p->edges; i++)
        sum += p->edge[i].capacity;
    return sum;
}

static void
a_default_node_is_one_process(void **state)
{
    options o = defaults();
    plan   *p = calloc(1, sizeof *p);

    (void)state;
    CHECK_OK(plan_make(p, &o, 0));
    CHECK(p->parts[KIND_FRONT] >= 1 && p->parts[KIND_INGEST] >= 1);
    for (uint32_t i = 0; i < p->slots; i++)
        CHECK_EQ(p->slot[i].group, 0);
    CHECK(lane_bytes_of(p) <= 32u << 20);
    free(p);
    options_free(&o);
}

static void
every_record_fits_into_its_lane(void **state)
{
    options o = defaults();
    plan   *p = calloc(1, sizeof *p);

    (void)state;
    o.front_count = 8;
    o.ingest_count = 8;
    CHECK_OK(plan_make(p, &o, 0));
    CHECK(lane_bytes_of(p) <= 32u << 20);
    for (uint32_t i = 0; i < p->edges; i++) {
        CHECK((p->edge[i].capacity & (p->edge[i].capacity - 1)) == 0);
        CHECK(p->edge[i].capacity >= 16384);
    }
    free(p);
    options_free(&o);
}

static void
partitions_on_disk_rule(void **state)
{
    options o = defaults();
    plan   *p = calloc(1, sizeof *p);

    (void)state;
    o.ingest_count = 2;
    CHECK_OK(plan_make(p, &o, 5));
    CHECK_EQ(p->parts[KIND_INGEST], 5);
    free(p);
    options_free(&o);
}

static void
processes_get_groups_of_their_own(void **state)
{
    options o = defaults();
    plan   *p = calloc(1, sizeof *p);

    (void)state;
    o.server_processes = true;
    CHECK_OK(plan_make(p, &o, 2));
    for (uint32_t i = 0; i < p->slots; i++)
        for (uint32_t j = 0; j < i; j++)
            CHECK(p->slot[i].group != p->slot[j].group);
    o.server_processes = false;
    o.front_mode = MODE_PROCESS;
    CHECK_OK(plan_make(p, &o, 2));
    CHECK(p->slot[0].group != 0);
    CHECK_EQ(p->slot[p->slots - 1].group, 0);
    free(p);
    options_free(&o);
}

static void
a_kind_of_the_zmq_carrier_has_no_ring(void **state)
{
    options o = defaults();
    plan   *p = calloc(1, sizeof *p);

    (void)state;
    o.ingest_carrier = CARRIER_ZMQ;
    CHECK_OK(plan_make(p, &o, 1));
    for (uint32_t i = 0; i < p->edges; i++) {
        bool touches = addr_kind(p->edge[i].from) == KIND_INGEST ||
                       addr_kind(p->edge[i].to) == KIND_INGEST;

        CHECK_EQ(p->edge[i].carrier, touches ? CARRIER_ZMQ : CARRIER_RING);
    }
    free(p);
    options_free(&o);
}

static void
too_many_lanes_are_refused_with_a_table(void **state)
{
    options o = defaults();
    plan   *p = calloc(1, sizeof *p);

    (void)state;
    o.front_count = 64;
    o.ingest_count = 64;
    CHECK_EQ(plan_make(p, &o, 0), E_CONFIG);
    CHECK(strstr(err_text(), "front-ingest 64 x 64") != NULL);
    err_clear();
    free(p);
    options_free(&o);
}

static void
cores_go_round_the_parts(void **state)
{
    options o = defaults();
    plan   *p = calloc(1, sizeof *p);
    char   *empty = o.ingest_core;

    (void)state;
    o.ingest_core = (char[]){ "0,2" };
    CHECK_OK(plan_make(p, &o, 3));
    for (uint32_t i = 0; i < p->slots; i++)
        if (addr_kind(p->slot[i].who) == KIND_INGEST)
            CHECK_EQ(p->slot[i].core, addr_part(p->slot[i].who) == 1 ? 2 : 0);
    o.ingest_core = (char[]){ "0,x" };
    CHECK_EQ(plan_make(p, &o, 3), E_CONFIG);
    err_clear();
    o.ingest_core = empty;
    free(p);
    options_free(&o);
}

static void
a_circle_of_waiting_is_refused_and_printed(void **state)
{
    static const plan_road circle[] = {
        { KIND_FRONT, KIND_QUERY, 4096, 4096, EDGE_WAIT, 4096, 4096, EDGE_REPLY },
        { KIND_QUERY, KIND_INGEST, 4096, 4096, EDGE_WAIT, 4096, 4096, EDGE_REPLY },
        { KIND_INGEST, KIND_QUERY, 4096, 4096, EDGE_WAIT, 4096, 4096, EDGE_REPLY },
        { 0 },
    };
    plan_road shed[COUNT_OF(circle)];

    (void)state;
    CHECK_OK(plan_check_roads(plan_roads));
    CHECK_EQ(plan_check_roads(circle), E_CONFIG);
    CHECK(strstr(err_text(), "query -> ingest -> query") != NULL);
    err_clear();
    memcpy(shed, circle, sizeof shed);
    shed[2].policy = EDGE_SHED; /* waits for nobody */
    CHECK_OK(plan_check_roads(shed));
}

#define KEY "abababababababababababababababababababababababababababababababab"

static void
plan_of(plan *p, char **flags, int count)
{
    options o;

    CHECK_OK(options_load(&o, NULL, count, flags));
    CHECK_OK(plan_make(p, &o, 0));
    options_free(&o);
}

static const edge_plan *
edge_of(const plan *p, addr from, addr to)
{
    for (uint32_t i = 0; i < p->edges; i++)
        if (p->edge[i].from == from && p->edge[i].to == to)
            return &p->edge[i];
    return NULL;
}

/* What leaves one node comes in at the other, in a lane of the same size; each actor is on one of them. */
static void
two_nodes_have_the_two_ends_of_the_same_edges(void **state)
{
    char *home[] = { "--node-name", "a", "--node-key-file", "k", "--node-listen", "127.0.0.1:1", "--front-count", "4",
                     "--node-partitions", "0-7", "--node-peers", "b 127.0.0.1:2 " KEY " 8,9" };
    char *away[] = { "--node-name", "b", "--node-key-file", "k", "--node-listen", "127.0.0.1:2", "--front-count", "4",
                     "--node-partitions", "8-9", "--node-home", "a", "--node-peers", "a 127.0.0.1:1 " KEY };
    plan    *p[2] = { calloc(1, sizeof(plan)), calloc(1, sizeof(plan)) };
    uint32_t far = 0;

    (void)state;
    plan_of(p[0], home, (int)COUNT_OF(home));
    plan_of(p[1], away, (int)COUNT_OF(away));
    for (int n = 0; n < 2; n++) {
        for (uint32_t i = 0; i < p[n]->edges; i++) {
            const edge_plan *e = &p[n]->edge[i], *other = edge_of(p[1 - n], e->from, e->to);

            CHECK_EQ(other != NULL, e->side != EDGE_HERE);
            if (other == NULL)
                continue;
            far++;
            CHECK_EQ(e->side == EDGE_GOES_OUT, other->side == EDGE_COMES_IN);
            CHECK_EQ(e->capacity, other->capacity);
            CHECK_EQ(e->policy, other->policy);
            CHECK(e->carrier == CARRIER_ZMQ && other->carrier == CARRIER_ZMQ);
        }
        for (uint32_t i = 0; i < p[n]->slots; i++)
            if (addr_kind(p[n]->slot[i].who) != KIND_LINK)
                CHECK(plan_place(p[1 - n], p[n]->slot[i].who) != PLAN_HERE);
    }
    /* twice: front x ingest and back, query x reader and back, alert x ingest and back */
    CHECK_EQ(far, 2 * (4 * 2 * 2 + 1 * 2 * 2 + 1 * 2 * 2));
    CHECK_EQ(plan_place(p[0], addr_of(KIND_INGEST, 9)), 0);
    CHECK_EQ(plan_place(p[0], addr_of(KIND_INGEST, 7)), PLAN_HERE);
    CHECK_EQ(plan_place(p[1], addr_of(KIND_INGEST, 7)), PLAN_NOWHERE);
    CHECK_EQ(plan_place(p[0], addr_of(KIND_READER, 7)), PLAN_NOWHERE);
    free(p[0]);
    free(p[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_default_node_is_one_process),
        TEST(every_record_fits_into_its_lane),
        TEST(partitions_on_disk_rule),
        TEST(processes_get_groups_of_their_own),
        TEST(a_kind_of_the_zmq_carrier_has_no_ring),
        TEST(too_many_lanes_are_refused_with_a_table),
        TEST(cores_go_round_the_parts),
        TEST(a_circle_of_waiting_is_refused_and_printed),
        TEST(two_nodes_have_the_two_ends_of_the_same_edges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
