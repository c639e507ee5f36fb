/* The outbox and escalation, with a clock that the tests set. */
#include "tests/unit/actors/registry_rig.h"

#include "actors/registry_notify.h"

#define SECOND INT64_C(1000000)

static void
make_hook(rig *g, const char *name, char id[40])
{
    CHECK_EQ(ask_f(g, REG_CHANNEL_CREATE,
                   "{\"name\":\"%s\",\"type\":\"webhook\",\"config\":{\"url\":\"https://example.com/%s\"}}", name, name),
             201);
    snprintf(id, 40, "%s", text(g, "id"));
}

static void
open_on(rig *g, uint32_t machine)
{
    char json[96];

    snprintf(json, sizeof json, "{\"rule\":1,\"machine\":%u,\"value\":95,\"time_us\":5}", machine);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, json), 201);
}

/* The numbers that were given out. */
static uint32_t
take(rig *g, bool fresh, int64_t no[], uint32_t room)
{
    const msgpack_object *list;
    uint32_t              n;

    CHECK_EQ(system_ask(g, REG_OUTBOX_TAKE, fresh ? "{\"max\":32,\"fresh\":true}" : "{\"max\":32}"), 200);
    list = pack_get(root(g), "deliveries");
    n = list->via.array.size;
    assert_true(n <= room);
    for (uint32_t i = 0; i < n; i++)
        assert_true(pack_get_int(&list->via.array.ptr[i], "no", &no[i]));
    return n;
}

static void
done(rig *g, int64_t no, bool ok)
{
    char json[128];

    snprintf(json, sizeof json, "{\"no\":%lld,\"ok\":%s,\"http_status\":%d,\"error\":\"%s\"}", (long long)no,
             ok ? "true" : "false", ok ? 200 : 500, ok ? "" : "Answered 500.");
    CHECK_EQ(system_ask(g, REG_OUTBOX_DONE, json), 204);
}

static void
an_alert_is_in_the_outbox_of_each_channel_in_its_own_batch(void **state)
{
    rig    *g = *state;
    char    id[40];
    int64_t no[8];

    register_ada(g);
    make_hot_rule(g, "");
    make_hook(g, "a", id);
    make_hook(g, "b", id);
    open_on(g, 1);
    reopen(g);
    CHECK_EQ(take(g, true, no, 8), 2);
    CHECK_EQ(take(g, false, no, 8), 0);
    CHECK_EQ(take(g, true, no, 8), 2); /* a notifier that was started anew */
    done(g, no[0], true);
    CHECK_EQ(take(g, true, no, 8), 1);
}

static void
tries_are_a_second_apart_then_two_and_end_after_a_day(void **state)
{
    rig     *g = *state;
    char     id[40];
    int64_t  no[8];
    uint32_t tries = 0;
    int64_t  pause = 1, made;

    register_ada(g);
    make_hot_rule(g, "");
    make_hook(g, "a", id);
    made = g->r.now_us;
    open_on(g, 1);
    for (;;) {
        if (take(g, false, no, 8) == 0)
            break;
        tries++;
        done(g, no[0], false);
        g->r.now_us += pause * SECOND - 1;
        CHECK_EQ(take(g, false, no, 8), 0);
        g->r.now_us += 1;
        pause = pause * 2 > 3600 ? 3600 : pause * 2;
    }
    CHECK(g->r.now_us - made >= 86400 * SECOND - 3600 * SECOND);
    CHECK(tries > 30 && tries < 40);
    CHECK_EQ(ask_f(g, REG_DELIVERY_LIST, "{\"id\":\"%s\"}", id), 200);
    assert_string_equal(text_in(&items(g)->via.array.ptr[0], "status"), "dead");
    assert_string_equal(text_in(&items(g)->via.array.ptr[0], "error"), "Answered 500.");
    reopen(g);
    CHECK_EQ(g->r.outbox.count, 0);
}

static void
a_channel_has_four_out_at_a_time_and_holds_up_no_other(void **state)
{
    rig    *g = *state;
    char    id[40], json[96];
    int64_t no[32];

    register_ada(g);
    make_hot_rule(g, "");
    make_hook(g, "a", id);
    for (uint32_t i = 2; i <= 10; i++) {
        snprintf(json, sizeof json, "{\"name\":\"P\",\"machine_identifier\":\"M%u\",\"protocol\":\"json\"}", i);
        CHECK_EQ(ask(g, REG_MACHINE_CREATE, json), 201);
        open_on(g, i);
    }
    CHECK_EQ(take(g, false, no, 32), 4);
    make_hook(g, "b", id);
    open_on(g, 1);
    CHECK_EQ(take(g, false, no, 32), 1);
    CHECK_EQ(g->r.outbox.count, 11);
}

static void
more_alerts_than_the_limit_are_one_message_that_counts_them(void **state)
{
    rig                  *g = *state;
    char                  id[40], json[96];
    int64_t               no[32];
    const msgpack_object *list;

    register_ada(g);
    make_hot_rule(g, "");
    make_hook(g, "a", id);
    g->r.storm_alerts = 2;
    for (uint32_t i = 2; i <= 9; i++) {
        snprintf(json, sizeof json, "{\"name\":\"P\",\"machine_identifier\":\"M%u\",\"protocol\":\"json\"}", i);
        CHECK_EQ(ask(g, REG_MACHINE_CREATE, json), 201);
        open_on(g, i);
    }
    CHECK_EQ(take(g, false, no, 32), 2);
    done(g, no[0], true);
    done(g, no[1], true);
    reopen(g);
    g->r.storm_alerts = 2;
    g->r.now_us += 60 * SECOND;
    CHECK_EQ(system_ask(g, REG_OUTBOX_TAKE, "{\"max\":32}"), 200);
    list = pack_get(root(g), "deliveries");
    CHECK_EQ(list->via.array.size, 1);
    cJSON *body = cJSON_Parse(text_in(&list->via.array.ptr[0], "body"));
    assert_non_null(body);
    assert_string_equal(cJSON_GetObjectItem(body, "event")->valuestring, "alert.storm");
    CHECK_EQ(cJSON_GetObjectItem(cJSON_GetObjectItem(body, "storm"), "triggered_count")->valueint, 6);
    CHECK_EQ(cJSON_GetObjectItem(cJSON_GetObjectItem(body, "storm"), "critical_count")->valueint, 6);
    cJSON_Delete(body);
    open_on(g, 1); /* a new minute */
    CHECK_EQ(take(g, false, no, 32), 1);
}

static void
make_policy(rig *g, const char *channel, uint32_t minutes, char id[40])
{
    CHECK_EQ(ask_f(g, REG_ESCALATION_CREATE,
                   "{\"name\":\"boss\",\"severity\":\"critical\",\"wait_minutes\":%u,\"channel_id\":\"%s\"}", minutes,
                   channel),
             201);
    snprintf(id, 40, "%s", text(g, "id"));
}

/* How many are in the outbox after time has done its work. */
static uint32_t
after(rig *g, int64_t seconds)
{
    g->r.now_us += seconds * SECOND;
    (void)reg_turn(&g->r);
    CHECK_OK(reg_commit(&g->r));
    return g->r.outbox.count;
}

static void
an_alert_nobody_took_up_is_escalated_once(void **state)
{
    rig *g = *state;
    char channel[40], policy[40];

    register_ada(g);
    make_hot_rule(g, "");
    make_hook(g, "a", channel);
    make_policy(g, channel, 10, policy);
    open_on(g, 1);
    CHECK_EQ(after(g, 599), 1);
    CHECK_EQ(after(g, 1), 2);
    reopen(g);
    CHECK_EQ(after(g, 3600), 2);
    cJSON *body = cJSON_Parse((const char *)((reg_delivery *)g->r.outbox.at[1])->body.at);
    assert_string_equal(cJSON_GetObjectItem(body, "event")->valuestring, "alert.escalated");
    CHECK_EQ(cJSON_GetObjectItem(cJSON_GetObjectItem(body, "escalation"), "wait_minutes")->valueint, 10);
    cJSON_Delete(body);
    make_policy(g, channel, 1, policy); /* another one fires of its own */
    CHECK_EQ(after(g, 0), 3);
}

static void
what_is_acknowledged_resolved_or_snoozed_is_not_escalated(void **state)
{
    rig *g = *state;
    char channel[40], policy[40], id[40], json[160];

    register_ada(g);
    make_hot_rule(g, "");
    make_hook(g, "a", channel);
    make_policy(g, channel, 10, policy);
    open_on(g, 1);
    snprintf(id, sizeof id, "%s", text_in(pack_get(root(g), "alert"), "id"));
    snprintf(json, sizeof json, "{\"id\":\"%s\",\"snooze_until\":\"2023-11-14T22:33:20Z\"}", id); /* in 20 minutes */
    CHECK_EQ(ask(g, REG_ALERT_SNOOZE, json), 200);
    CHECK_EQ(after(g, 1199), 1);
    CHECK_EQ(after(g, 1), 2);
    CHECK_EQ(ask_f(g, REG_ESCALATION_DELETE, "{\"id\":\"%s\"}", policy), 204);
    make_policy(g, channel, 30, policy); /* in the same slot: it has not fired yet */
    CHECK_EQ(ask_f(g, REG_ALERT_ACK, "{\"id\":\"%s\"}", id), 200);
    CHECK_EQ(after(g, 7200), 2);
}

static void
a_rule_for_a_group_closes_what_leaves_it(void **state)
{
    rig *g = *state;
    char group[40], machine[40];

    register_ada(g);
    CHECK_EQ(ask(g, REG_GROUP_CREATE, "{\"name\":\"Hall\"}"), 201);
    snprintf(group, sizeof group, "%s", text(g, "id"));
    CHECK_EQ(ask_f(g, REG_MACHINE_CREATE,
                   "{\"name\":\"Press\",\"machine_identifier\":\"M\",\"protocol\":\"json\",\"group_id\":\"%s\"}", group),
             201);
    snprintf(machine, sizeof machine, "%s", text(g, "id"));
    CHECK_EQ(ask_f(g, REG_RULE_CREATE,
                   "{\"metric_name\":\"t\",\"operator\":\"gt\",\"threshold\":90,\"severity\":\"critical\",\"group_id\":\"%s\"}",
                   group),
             201);
    assert_string_equal(text(g, "group_id"), group);
    open_on(g, 1);
    CHECK_EQ(ask_f(g, REG_GROUP_DELETE, "{\"id\":\"%s\"}", group), 400);
    CHECK_EQ(ask_f(g, REG_MACHINE_UPDATE, "{\"id\":\"%s\",\"group_id\":null}", machine), 200);
    CHECK_EQ(((reg_machine *)g->r.machines.at[0])->open_alerts, 0);
    reopen(g);
    CHECK(((reg_rule *)g->r.rules.at[0])->group == g->r.groups.at[0]);
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(an_alert_is_in_the_outbox_of_each_channel_in_its_own_batch),
        CASE(tries_are_a_second_apart_then_two_and_end_after_a_day),
        CASE(a_channel_has_four_out_at_a_time_and_holds_up_no_other),
        CASE(more_alerts_than_the_limit_are_one_message_that_counts_them),
        CASE(an_alert_nobody_took_up_is_escalated_once),
        CASE(what_is_acknowledged_resolved_or_snoozed_is_not_escalated),
        CASE(a_rule_for_a_group_closes_what_leaves_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
