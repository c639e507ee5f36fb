/* Transitions with their positions: each is made once. */
#include "tests/unit/actors/registry_rig.h"

#include "actors/rules.h"

/* The alert actor judges readings again after a crash: what they led to was made already. */
static void
a_transition_is_made_once_however_often_it_is_told(void **state)
{
    static const struct {
        enum reg_op op;
        int         pos;
        uint16_t    first, again;
    } told[] = { { REG_ALERT_OPEN, 10, 201, 200 },
                 { REG_ALERT_CLOSE, 14, 200, 404 },
                 { REG_ALERT_OPEN, 20, 201, 200 },
                 { REG_ALERT_CLOSE, 24, 200, 404 },
                 { REG_ALERT_OPEN, 31, 201, 200 } };
    rig *g = *state;
    char json[128];

    register_ada(g);
    make_hot_rule(g, "");
    for (uint32_t upto = 0; upto < COUNT_OF(told); upto++) {
        for (uint32_t i = 0; i <= upto; i++) {
            snprintf(json, sizeof json, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5,\"pos\":%d}", told[i].pos);
            CHECK_EQ(system_ask(g, told[i].op, json), i == upto ? told[i].first : told[i].again);
        }
        reopen(g);
        CHECK_EQ(ask(g, REG_ALERT_LIST, "{}"), 200);
        CHECK_EQ(number(g, "total"), upto / 2 + 1);
    }
}

static void
what_was_decided_behind_a_position_is_told_with_what_stands(void **state)
{
    rig                  *g = *state;
    const msgpack_object *a;
    int64_t               pos = 0;
    bool                  stands = true;

    register_ada(g);
    make_hot_rule(g, "");
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5,\"pos\":10}"), 201);
    CHECK_EQ(system_ask(g, REG_ALERT_CLOSE, "{\"rule\":1,\"machine\":1,\"time_us\":6,\"pos\":14}"), 200);
    reopen(g);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN_ALL, "{\"judged\":[7]}"), 200);
    CHECK_EQ(root(g)->via.array.size, 0);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN_ALL, "{\"judged\":[6]}"), 200);
    CHECK_EQ(root(g)->via.array.size, 1);
    a = &root(g)->via.array.ptr[0];
    CHECK(pack_get_int(a, "pos", &pos) && pos == 14);
    CHECK(pack_get_bool(a, "stands", &stands) && !stands);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":7,\"pos\":20}"), 201);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN_ALL, "{\"judged\":[6]}"), 200);
    CHECK_EQ(root(g)->via.array.size, 1); /* the last of rule and machine alone */
    a = &root(g)->via.array.ptr[0];
    CHECK(pack_get_int(a, "pos", &pos) && pos == 20);
}

/* Silence has no reading of its own: a rule that was off in between may find it again. */
static void
a_silence_is_told_again_after_the_rule_was_off(void **state)
{
    static const char open[] = "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5,\"pos\":11}";
    rig              *g = *state;
    char              rule[40];

    register_ada(g);
    make_hot_rule(g, "");
    snprintf(rule, sizeof rule, "%s", text(g, "id"));
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, open), 201);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, open), 200);
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"is_active\":false}", rule), 200);
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"is_active\":true}", rule), 200);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, open), 201);
}

/* What a rule was is remembered with it, for readings that are judged late; the last few times. */
static void
versions_of_a_rule_are_told_by_when_they_ended(void **state)
{
    rig     *g = *state;
    char     rule[40];
    view     bytes;
    ruleset  set = { 0 };
    uint64_t first;

    register_ada(g);
    make_hot_rule(g, "");
    snprintf(rule, sizeof rule, "%s", text(g, "id"));
    first = g->r.rules_seq;
    for (int i = 1; i <= 6; i++)
        CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"threshold\":%d}", rule, 100 + i), 200);
    CHECK_EQ(g->r.rules_seq, first + 6);
    reopen(g);
    CHECK_EQ(g->r.rules_seq, first + 6);
    CHECK_EQ(system_ask(g, REG_RULE_VERSIONS, "{\"since\":0}"), 200);
    CHECK_EQ(number(g, "rules_seq"), (int64_t)first + 6);
    CHECK_EQ(number(g, "next"), 0);
    CHECK(pack_get_bin(root(g), "versions", &bytes));
    CHECK_OK(ruleset_from(&set, bytes));
    CHECK_EQ(set.count, REG_VERSIONS);
    for (uint32_t i = 0; i < set.count; i++) { /* one after the other, up to the one in force */
        CHECK_EQ(set.rules[i].rule.until, set.rules[i].rule.changed + 1);
        CHECK(set.rules[i].rule.threshold == 100 + (double)(set.rules[i].rule.changed - first));
    }
    ruleset_free(&set);
    CHECK_EQ(ask_f(g, REG_RULE_DELETE, "{\"id\":\"%s\"}", rule), 204);
    reopen(g);
    char json[64];
    snprintf(json, sizeof json, "{\"since\":%d}", (int)first + 6);
    CHECK_EQ(system_ask(g, REG_RULE_VERSIONS, json), 200);
    CHECK(pack_get_bin(root(g), "versions", &bytes));
    CHECK_OK(ruleset_from(&set, bytes));
    CHECK_EQ(set.count, 1); /* the last one, and it was there until it was deleted */
    CHECK_EQ(set.rules[0].rule.until, first + 7);
    ruleset_free(&set);
}

static void
a_version_of_before_the_rule_was_off_opens_nothing(void **state)
{
    rig    *g = *state;
    char    rule[40], json[128];
    int64_t version;

    register_ada(g);
    make_hot_rule(g, "");
    snprintf(rule, sizeof rule, "%s", text(g, "id"));
    version = number(g, "version");
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"is_active\":false}", rule), 200);
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"is_active\":true}", rule), 200);
    snprintf(json, sizeof json, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5,\"pos\":10,\"version\":%d}", (int)version);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, json), 404);
    snprintf(json, sizeof json, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5,\"pos\":10,\"version\":%d}",
             (int)version + 2);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, json), 201);
}

/* An edit that closes an alert has its place behind the reading that opened it. */
static void
what_an_edit_closed_was_opened_for_the_alert_actor(void **state)
{
    rig *g = *state;
    char rule[40];
    bool stands = true, cleared = true;

    register_ada(g);
    make_hot_rule(g, "");
    snprintf(rule, sizeof rule, "%s", text(g, "id"));
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5,\"pos\":10}"), 201);
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"is_active\":false}", rule), 200);
    reopen(g);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN_ALL, "{\"judged\":[4]}"), 200);
    CHECK_EQ(root(g)->via.array.size, 1);
    CHECK(pack_get_bool(&root(g)->via.array.ptr[0], "stands", &stands) && !stands);
    CHECK(pack_get_bool(&root(g)->via.array.ptr[0], "cleared", &cleared) && !cleared);
}

int
main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_transition_is_made_once_however_often_it_is_told),
        CASE(what_was_decided_behind_a_position_is_told_with_what_stands),
        CASE(a_silence_is_told_again_after_the_rule_was_off),
        CASE(versions_of_a_rule_are_told_by_when_they_ended),
        CASE(a_version_of_before_the_rule_was_off_opens_nothing),
        CASE(what_an_edit_closed_was_opened_for_the_alert_actor),
    };

    return cmocka_run_group_tests_name("actors/registry_alerts", tests, NULL, NULL);
}
