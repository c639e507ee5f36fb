/* Who has a turn when: many lanes into one actor, all of them always full. */
#include "tests/unit/actors/rig.h"
#include "tests/unit/check.h"

#include "actors/ak_internal.h"

enum { SENDERS = 12, LANE = 1024 * 1024, CONTROL = 64 * 1024 };

static const addr taker0 = (uint64_t)KIND_INGEST << 32;

static const ak_on   sender_on[] = { { 0 } };
static const ak_kind sender_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = 8, .on = sender_on
};
static const ak_kind control_kind = {
    .name = "query", .number = KIND_QUERY, .self_size = 8, .on = sender_on
};

/* Counts by sender: parts of front, then the one of control. */
typedef struct taker {
    uint32_t count[SENDERS + 1];
    uint64_t bytes[SENDERS + 1];
    uint32_t taken;
    uint32_t control_at; /* how many others came before the first of control */
} taker;

static ak_verdict
take(ak *k, void *self, const ak_msg *m)
{
    taker   *t = self;
    uint32_t i = addr_kind(m->from) == KIND_QUERY ? SENDERS : addr_part(m->from);

    (void)k;
    if (i == SENDERS && t->count[i] == 0)
        t->control_at = t->taken;
    t->taken++;
    t->count[i]++;
    t->bytes[i] += m->pos_end - m->pos;
    return AK_DONE;
}

static const ak_on   taker_on[] = { { MSG_READINGS, 0, take }, { 0 } };
static const ak_kind taker_kind = {
    .name = "ingest", .number = KIND_INGEST, .self_size = sizeof(taker), .on = taker_on
};

static rig   *r;
static ak    *sender[SENDERS + 1];
static ak    *server;
static taker *seen;

static void
open_many(uint32_t senders, bool control)
{
    edge_plan edges[SENDERS + 2] = { 0 };
    uint32_t  n = 0;

    for (uint16_t i = 0; i < senders; i++)
        edges[n++] = (edge_plan){ addr_of(KIND_FRONT, i), taker0, CARRIER_RING, EDGE_WAIT, LANE };
    if (control)
        edges[n++] = (edge_plan){ addr_of(KIND_QUERY, 0), taker0, CARRIER_RING, EDGE_WAIT, CONTROL };
    r = rig_new(edges, NULL);
    for (uint16_t i = 0; i < senders; i++)
        sender[i] = rig_hand(r, &sender_kind, i);
    if (control)
        sender[SENDERS] = rig_hand(r, &control_kind, 0);
    server = rig_hand(r, &taker_kind, 0);
    seen = rig_self(server);
}

/* The lane holds `count` messages of that body again. */
static void
fill(ak *k, uint32_t len, uint32_t count)
{
    static const uint8_t body[65536];

    for (uint32_t i = 0; i < count; i++)
        if (ak_send(k, taker0, MSG_READINGS, body, len) != E_OK)
            break;
    (void)ak_step(k, 1);
}

static int
close_many(void **state)
{
    (void)state;
    rig_free(&r);
    return 0;
}

/* More lanes than a step's messages reach: those behind have their turn all the same. */
static void
no_lane_waits_for_ever_behind_busy_ones(void **state)
{
    uint32_t least = UINT32_MAX;
    uint32_t most = 0;

    (void)state;
    open_many(SENDERS, false);
    for (int round = 0; round < 60; round++) {
        for (uint32_t i = 0; i < SENDERS; i++)
            fill(sender[i], 64, 200);
        CHECK_EQ(ak_step(server, 64), 64);
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        least = (uint32_t)min_u64(least, seen->count[i]);
        most = (uint32_t)max_u64(most, seen->count[i]);
    }
    CHECK(least >= 60 * 64 / SENDERS / 2);
    CHECK(most <= 60 * 64 / SENDERS * 2);
}

/* Turns are counted in bytes: great messages do not crowd out small ones. */
static void
a_lane_of_great_messages_gets_no_more_than_its_share(void **state)
{
    (void)state;
    open_many(2, false);
    for (int round = 0; round < 200; round++) {
        fill(sender[0], 60000, 16);
        fill(sender[1], 1000, 600);
        (void)ak_step(server, 100);
    }
    CHECK(seen->bytes[0] > 0 && seen->bytes[1] > 0);
    CHECK(seen->bytes[0] < 2 * seen->bytes[1] + 1024 * 1024);
    CHECK(seen->bytes[1] < 2 * seen->bytes[0] + 1024 * 1024);
}

/* ... and when nobody else has anything they pass at full speed. */
static void
a_lane_alone_is_not_held_back_by_its_debt(void **state)
{
    (void)state;
    open_many(2, false);
    fill(sender[0], 60000, 16);
    CHECK_EQ(ak_step(server, 100), 16);
}

static void
control_comes_first_and_leaves_room_for_data(void **state)
{
    (void)state;
    open_many(4, true);
    for (int round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < 4; i++)
            fill(sender[i], 64, 200);
        fill(sender[SENDERS], 64, 400);
        CHECK_EQ(ak_step(server, 64), 64);
    }
    CHECK_EQ(seen->control_at, 0);
    CHECK(seen->count[SENDERS] >= 10 * 20);
    CHECK(seen->taken - seen->count[SENDERS] >= 10 * 20);
}

/* A front's slices send behind its step, and there may be none before it sleeps: such a body waited for the next tick. */
static void
what_is_sent_behind_a_step_is_heard_before_the_sleep(void **state)
{
    (void)state;
    open_many(1, false);
    CHECK_EQ(ak_step(sender[0], 64), 0);
    CHECK_OK(ak_send(sender[0], taker0, MSG_READINGS, (uint8_t[64]){ 0 }, 64));
    CHECK(ak_park(sender[0]) > 0);
    CHECK_EQ(ak_step(server, 64), 1);
    ak_unpark(sender[0]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(no_lane_waits_for_ever_behind_busy_ones, close_many),
        cmocka_unit_test_teardown(a_lane_of_great_messages_gets_no_more_than_its_share, close_many),
        cmocka_unit_test_teardown(a_lane_alone_is_not_held_back_by_its_debt, close_many),
        cmocka_unit_test_teardown(control_comes_first_and_leaves_room_for_data, close_many),
        cmocka_unit_test_teardown(what_is_sent_behind_a_step_is_heard_before_the_sleep, close_many),
    };

    return cmocka_run_group_tests_name("actors/turns", tests, NULL, NULL);
}
