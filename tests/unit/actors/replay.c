/* A rule over stored readings: what the alerts would have been. */
#include "tests/unit/check.h"

#include "actors/replay.h"

#include <stdlib.h>

#define S INT64_C(1000000)

static board_rule
rule_of(enum rule_type type)
{
    return (board_rule){ .no = 1, .tenant = 1, .flags = BOARD_LIVE, .type = (uint8_t)type, .op = CMP_GT, .threshold = 80,
                         .clear_threshold = 80, .version = 1, .window_s = 60, .sensitivity = 3 };
}

static replay *
replay_of(const board_rule *rule, view conditions)
{
    replay *r = malloc(sizeof *r);

    assert_non_null(r);
    CHECK(replay_rule(r, rule, VIEW_LIT("t"), conditions));
    replay_begin(r);
    return r;
}

static void
check_alert(const replay *r, uint32_t i, int64_t opened_s, int64_t resolved_s, double value, double peak)
{
    CHECK(i < r->kept);
    CHECK_EQ(r->alerts[i].opened_us, opened_s * S);
    CHECK_EQ(r->alerts[i].resolved_us, resolved_s < 0 ? INT64_MIN : resolved_s * S);
    CHECK(r->alerts[i].value == value);
    CHECK(r->alerts[i].peak == peak);
}

static void
alerts_are_counted_timed_and_kept(void **state)
{
    static const double values[] = { 50, 81, 99, 85, 80, 81, 10, 90 };
    board_rule          rule = rule_of(RULE_THRESHOLD);
    replay             *r = replay_of(&rule, (view){ 0 });

    (void)state;
    for (size_t i = 0; i < COUNT_OF(values); i++)
        replay_reading(r, 0, (int64_t)i * 400 * S, values[i]);
    replay_end(r, 3000 * S);
    CHECK_EQ(r->readings, COUNT_OF(values));
    CHECK_EQ(r->fired, 3);
    CHECK_EQ(r->flaps, 2);
    CHECK_EQ(r->fired_us, (1200 + 400 + 200) * S);
    CHECK_EQ(r->kept, 3);
    check_alert(r, 0, 400, 1600, 81, 99);
    check_alert(r, 1, 2000, 2400, 81, 81);
    check_alert(r, 2, 2800, -1, 90, 90);
    replay_begin(r);
    replay_end(r, 9000 * S);
    CHECK_EQ(r->fired + r->kept + r->readings, 0);
    free(r);
}

static void
a_flap_is_raised_again_before_ten_minutes_are_over(void **state)
{
    board_rule rule = rule_of(RULE_THRESHOLD);
    replay    *r = replay_of(&rule, (view){ 0 });
    int64_t    us = 0;

    (void)state;
    for (int64_t gap_s = REPLAY_FLAP_S - 1; gap_s <= REPLAY_FLAP_S + 1; gap_s++) {
        replay_reading(r, 0, us, 99);
        replay_reading(r, 0, us + S, 1);
        us += (1 + gap_s) * S;
    }
    replay_reading(r, 0, us, 99);
    replay_end(r, us + S);
    CHECK_EQ(r->fired, 4);
    CHECK_EQ(r->flaps, 1);
    free(r);
}

static void
what_is_over_the_bound_is_counted(void **state)
{
    board_rule rule = rule_of(RULE_THRESHOLD);
    replay    *r = replay_of(&rule, (view){ 0 });

    (void)state;
    for (int64_t i = 0; i < 2 * (REPLAY_ALERTS_MAX + 7); i++)
        replay_reading(r, 0, i * S, i % 2 == 0 ? 99 : 1);
    replay_end(r, 9000 * S);
    CHECK_EQ(r->kept, REPLAY_ALERTS_MAX);
    CHECK_EQ(r->fired, REPLAY_ALERTS_MAX + 7);
    CHECK_EQ(r->fired_us, (REPLAY_ALERTS_MAX + 7) * S);
    free(r);
}

static void
silence_opens_when_it_is_due_and_ends_with_a_reading(void **state)
{
    board_rule rule = rule_of(RULE_NO_DATA);
    replay    *r;

    (void)state;
    rule.duration_s = 60;
    r = replay_of(&rule, (view){ 0 });
    replay_expect(r, 0);
    replay_reading(r, 0, 60 * S, 1); /* just in time */
    replay_reading(r, 0, 121 * S, 1);
    replay_end(r, 200 * S);
    CHECK_EQ(r->fired, 2);
    check_alert(r, 0, 120, 121, 60, 60);
    check_alert(r, 1, 181, -1, 60, 60);
    CHECK_EQ(r->fired_us, (1 + 19) * S);

    replay_begin(r); /* never heard of before its first reading */
    replay_reading(r, 0, 500 * S, 1);
    replay_end(r, 560 * S);
    CHECK_EQ(r->fired, 0);
    free(r);
}

static void
silence_waits_for_the_cooldown(void **state)
{
    board_rule rule = rule_of(RULE_NO_DATA);
    replay    *r;

    (void)state;
    rule.duration_s = 10;
    rule.cooldown_s = 100;
    r = replay_of(&rule, (view){ 0 });
    replay_expect(r, 0);
    replay_reading(r, 0, 20 * S, 1);
    replay_end(r, 1000 * S);
    CHECK_EQ(r->fired, 2);
    check_alert(r, 0, 10, 20, 10, 10);
    check_alert(r, 1, 120, -1, 100, 100);
    free(r);
}

static void
each_metric_of_the_conditions_is_named_once(void **state)
{
    static const rule_condition conditions[] = {
        { 10, { (const uint8_t *)"u", 1 }, CMP_GT },
        { 20, { (const uint8_t *)"u", 1 }, CMP_LT },
        { 5, { (const uint8_t *)"v", 1 }, CMP_GT },
    };
    uint8_t    packed[RULE_CONDITIONS_BYTES];
    size_t     len = rule_conditions_pack(conditions, COUNT_OF(conditions), packed);
    board_rule rule = rule_of(RULE_THRESHOLD);
    replay    *r = replay_of(&rule, view_of(packed, len));

    (void)state;
    CHECK_EQ(r->metric_count, 2);
    CHECK(view_eq(r->metrics[0], VIEW_LIT("u")) && view_eq(r->metrics[1], VIEW_LIT("v")));
    CHECK_EQ(r->which[1], 2);
    replay_reading(r, 0, 1 * S, 15);
    replay_reading(r, 1, 2 * S, 6);
    replay_reading(r, 0, 3 * S, 25);
    replay_end(r, 9 * S);
    CHECK_EQ(r->fired, 1);
    check_alert(r, 0, 2, 3, 15, 15);
    free(r);
}

static void
what_is_no_rule_is_refused(void **state)
{
    board_rule rule = rule_of(RULE_THRESHOLD);
    replay    *r = malloc(sizeof *r);

    (void)state;
    assert_non_null(r);
    CHECK(!replay_rule(r, &rule, (view){ 0 }, (view){ 0 }));
    CHECK(!replay_rule(r, &rule, VIEW_LIT("t"), VIEW_LIT("broken")));
    rule.type = RULE_TYPES;
    CHECK(!replay_rule(r, &rule, VIEW_LIT("t"), (view){ 0 }));
    free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(alerts_are_counted_timed_and_kept),
        TEST(a_flap_is_raised_again_before_ten_minutes_are_over),
        TEST(what_is_over_the_bound_is_counted),
        TEST(silence_opens_when_it_is_due_and_ends_with_a_reading),
        TEST(silence_waits_for_the_cooldown),
        TEST(each_metric_of_the_conditions_is_named_once),
        TEST(what_is_no_rule_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
