/* A LATEST edge: who is behind gets, of each key, the newest. */
#include "tests/unit/actors/rig.h"
#include "tests/unit/check.h"

#include "actors/ak_internal.h"

enum { LANE = 4096, KEYS = 8, VERSIONS = 1000 };

static const addr gauge0 = (uint64_t)KIND_INGEST << 32;
static const addr screen0 = (uint64_t)KIND_FRONT << 32;

static const ak_on   gauge_on[] = { { 0 } };
static const ak_kind gauge_kind = {
    .name = "ingest", .number = KIND_INGEST, .self_size = 8, .on = gauge_on
};

typedef struct screen {
    uint64_t shown[64]; /* the newest of each key */
    uint32_t taken;
    bool     backwards;
} screen;

static ak_verdict
show(ak *k, void *self, const ak_msg *m)
{
    screen        *s = self;
    const uint64_t key = load_u64(m->body);
    const uint64_t version = load_u64((const uint8_t *)m->body + 8);

    (void)k;
    CHECK(key < COUNT_OF(s->shown));
    s->backwards = s->backwards || version <= s->shown[key];
    s->shown[key] = version;
    s->taken++;
    return AK_DONE;
}

static const ak_on   screen_on[] = { { MSG_FEED, 0, show }, { 0 } };
static const ak_kind screen_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = sizeof(screen), .on = screen_on
};

static rig    *r;
static ak     *gauge;
static ak     *front;
static screen *seen;

static int
open_both(void **state)
{
    const edge_plan edges[] = { { gauge0, screen0, CARRIER_RING, EDGE_LATEST, LANE }, { 0 } };

    (void)state;
    r = rig_new(edges, NULL);
    gauge = rig_hand(r, &gauge_kind, 0);
    front = rig_hand(r, &screen_kind, 0);
    seen = rig_self(front);
    return 0;
}

static int
close_both(void **state)
{
    (void)state;
    rig_free(&r);
    return 0;
}

static void
tell(uint64_t key, uint64_t version)
{
    uint64_t body[2] = { key, version };

    CHECK_OK(ak_send_latest(gauge, screen0, MSG_FEED, key, body, sizeof body));
}

static void
drain(void)
{
    for (int i = 0; i < 50; i++) {
        (void)ak_step(gauge, 64);
        (void)ak_step(front, 64);
    }
}

static void
who_is_behind_gets_the_newest_of_each_key(void **state)
{
    (void)state;
    for (uint64_t v = 1; v <= VERSIONS; v++)
        for (uint64_t key = 0; key < KEYS; key++)
            tell(key, v);
    CHECK(ak__latest_waits(&gauge->out[0]));
    drain();
    for (uint32_t key = 0; key < KEYS; key++)
        CHECK_EQ(seen->shown[key], VERSIONS);
    CHECK(!seen->backwards);
    CHECK(!ak__latest_waits(&gauge->out[0]));
    CHECK_EQ(seen->taken, LANE / 128 + KEYS); /* what the lane held, and one of each */
    CHECK_EQ(count_get(ak_counters(gauge), COUNT_REPLACED), KEYS * VERSIONS - seen->taken);
    CHECK_EQ(count_get(ak_counters(gauge), COUNT_SHED), 0);
}

static void
nothing_goes_past_what_waits(void **state)
{
    uint64_t body[2] = { 0, 999 };

    (void)state;
    for (uint64_t v = 1; v <= 40; v++)
        tell(0, v);
    (void)ak_step(gauge, 1);
    (void)ak_step(front, 64); /* there is room again, and one waits */
    CHECK_EQ(ak_send(gauge, screen0, MSG_FEED, body, sizeof body), E_FULL);
    tell(0, 41);
    drain();
    CHECK_EQ(seen->shown[0], 41);
    CHECK(!seen->backwards);
    CHECK_OK(ak_send(gauge, screen0, MSG_FEED, body, sizeof body));
    drain();
    CHECK_EQ(seen->shown[0], 999);
}

/* As many bytes as the lane has; more keys than that are shed, and counted. */
static void
what_waits_is_bounded(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < LANE / 128; i++)
        tell(0, i + 1); /* the lane is full */
    for (uint64_t key = 0; key < 64; key++)
        tell(key, 1000);
    CHECK_EQ(count_get(ak_counters(gauge), COUNT_SHED), 64 - LANE / 128);
    drain();
    for (uint32_t key = 0; key < 64; key++)
        CHECK_EQ(seen->shown[key], key < LANE / 128 ? 1000 : 0);
}

/* It sleeps until there is room, and is woken for it. */
static void
a_sender_with_something_waiting_asks_for_room(void **state)
{
    (void)state;
    for (uint64_t v = 1; v <= 40; v++)
        tell(3, v);
    (void)ak_step(gauge, 1);
    CHECK(ak_park(gauge) > 0);
    (void)ak_step(front, 64);
    ak_unpark(gauge);
    CHECK_EQ(ak_park(gauge), 0); /* room: no sleep */
    drain();
    CHECK_EQ(seen->shown[3], 40);
}

#define BOTH(fn) cmocka_unit_test_setup_teardown(fn, open_both, close_both)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(who_is_behind_gets_the_newest_of_each_key),
        BOTH(nothing_goes_past_what_waits),
        BOTH(what_waits_is_bounded),
        BOTH(a_sender_with_something_waiting_asks_for_room),
    };

    return cmocka_run_group_tests_name("actors/latest", tests, NULL, NULL);
}
