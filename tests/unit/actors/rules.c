#include "tests/unit/check.h"

#include "actors/rules.h"

#define S 1000000LL

static board_rule
rule_of(enum compare op, double threshold)
{
    return (board_rule){ .no = 1, .tenant = 1, .flags = BOARD_LIVE, .op = (uint8_t)op,
                         .threshold = threshold, .clear_threshold = threshold, .version = 1 };
}

static void
each_operator_compares_as_its_name_says(void **state)
{
    static const struct { enum compare op; bool below, at, above; } cases[] = {
        { CMP_GT, false, false, true }, { CMP_GTE, false, true, true }, { CMP_LT, true, false, false },
        { CMP_LTE, true, true, false }, { CMP_EQ, false, true, false }, { CMP_NE, true, false, true },
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQ(rule_compare(cases[i].op, 1, 2), cases[i].below);
        CHECK_EQ(rule_compare(cases[i].op, 2, 2), cases[i].at);
        CHECK_EQ(rule_compare(cases[i].op, 3, 2), cases[i].above);
    }
}

static void
an_alert_opens_once_and_closes_when_the_condition_clears(void **state)
{
    board_rule r = rule_of(CMP_GT, 80);
    rule_state s = { 0 };

    (void)state;
    CHECK_EQ(rule_judge(&r, &s, 1 * S, 80), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 2 * S, 81), RULE_OPENS);
    CHECK_EQ(rule_judge(&r, &s, 3 * S, 95), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 4 * S, 82), RULE_STAYS);
    CHECK(s.peak == 95);
    CHECK_EQ(rule_judge(&r, &s, 5 * S, 80), RULE_CLOSES);
    CHECK_EQ(rule_judge(&r, &s, 6 * S, 79), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 7 * S, 90), RULE_OPENS);
    CHECK(s.peak == 90);
}

static void
an_open_alert_clears_at_the_clear_threshold(void **state)
{
    board_rule r = rule_of(CMP_LT, 10);
    rule_state s = { 0 };

    (void)state;
    r.clear_threshold = 15;
    CHECK_EQ(rule_judge(&r, &s, 1 * S, 9), RULE_OPENS);
    CHECK_EQ(rule_judge(&r, &s, 2 * S, 12), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 3 * S, 4), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 4 * S, 15), RULE_CLOSES);
    CHECK(s.peak == 4);
    CHECK_EQ(rule_judge(&r, &s, 5 * S, 12), RULE_STAYS);
}

static void
the_condition_must_hold_for_the_duration_in_the_readings_time(void **state)
{
    board_rule r = rule_of(CMP_GTE, 5);
    rule_state s = { 0 };

    (void)state;
    r.duration_s = 60;
    CHECK_EQ(rule_judge(&r, &s, 0, 5), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 59 * S, 6), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 59 * S + 1, 4), RULE_STAYS); /* starts anew */
    CHECK_EQ(rule_judge(&r, &s, 70 * S, 7), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 130 * S - 1, 7), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 130 * S, 7), RULE_OPENS);
}

static void
no_alert_comes_again_within_the_cooldown(void **state)
{
    board_rule r = rule_of(CMP_GT, 5);
    rule_state s = { 0 };

    (void)state;
    r.cooldown_s = 100;
    CHECK_EQ(rule_judge(&r, &s, 1 * S, 6), RULE_OPENS);
    CHECK_EQ(rule_judge(&r, &s, 2 * S, 5), RULE_CLOSES);
    CHECK_EQ(rule_judge(&r, &s, 3 * S, 6), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 101 * S, 6), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 102 * S, 6), RULE_OPENS);
}

static void
a_late_reading_neither_raises_nor_clears(void **state)
{
    board_rule r = rule_of(CMP_GT, 5);
    rule_state s = { 0 };

    (void)state;
    CHECK_EQ(rule_judge(&r, &s, 10 * S, 1), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 9 * S, 6), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 11 * S, 6), RULE_OPENS);
    CHECK_EQ(rule_judge(&r, &s, 10 * S, 1), RULE_STAYS);
    CHECK(s.open);
    CHECK_EQ(rule_judge(&r, &s, 11 * S, 2), RULE_CLOSES); /* the same time again: the later one counts */
}

static void
an_edited_rule_starts_its_duration_anew_but_keeps_its_alert(void **state)
{
    board_rule r = rule_of(CMP_GT, 5);
    rule_state s = { 0 };

    (void)state;
    r.duration_s = 10;
    CHECK_EQ(rule_judge(&r, &s, 0, 6), RULE_STAYS);
    r.version = 2;
    CHECK_EQ(rule_judge(&r, &s, 10 * S, 6), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 20 * S, 6), RULE_OPENS);
    r.version = 3;
    CHECK_EQ(rule_judge(&r, &s, 21 * S, 6), RULE_OPENS); /* asked for again: it may have been off */
    CHECK_EQ(rule_judge(&r, &s, 22 * S, 6), RULE_STAYS);
    r.version = 4;
    r.threshold = r.clear_threshold = 7;
    CHECK_EQ(rule_judge(&r, &s, 23 * S, 6), RULE_CLOSES);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_operator_compares_as_its_name_says),
        TEST(an_alert_opens_once_and_closes_when_the_condition_clears),
        TEST(an_open_alert_clears_at_the_clear_threshold),
        TEST(the_condition_must_hold_for_the_duration_in_the_readings_time),
        TEST(no_alert_comes_again_within_the_cooldown),
        TEST(a_late_reading_neither_raises_nor_clears),
        TEST(an_edited_rule_starts_its_duration_anew_but_keeps_its_alert),
    };

    return cmocka_run_group_tests_name("actors/rules", tests, NULL, NULL);
}
