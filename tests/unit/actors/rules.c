#include "tests/unit/check.h"

#include "actors/rules.h"
#include "proto/err.h"

#include <math.h>

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

/* ---- conditions ---- */
static uint32_t
two_conditions(rule_condition out[2])
{
    static uint8_t packed[RULE_CONDITIONS_BYTES];
    rule_condition given[] = { { .op = CMP_GT, .threshold = 90, .metric = VIEW_LIT("temperature") },
                               { .op = CMP_LT, .threshold = 5, .metric = VIEW_LIT("flow") } };
    rule_condition read[RULE_CONDITIONS_MAX];
    uint32_t       count;

    count = rule_conditions_read(view_of(packed, rule_conditions_pack(given, 2, packed)), read);
    memcpy(out, read, 2 * sizeof *out);
    return count;
}

static void
conditions_come_back_as_they_were_packed(void **state)
{
    rule_condition c[RULE_CONDITIONS_MAX];
    uint8_t        bytes[64] = { CMP_GT, 0, 255, 255 };

    (void)state;
    CHECK_EQ(two_conditions(c), 2);
    CHECK_VIEW(c[1].metric, "flow");
    CHECK(c[0].threshold == 90 && c[1].op == CMP_LT);
    CHECK_EQ(rule_conditions_read(view_of(bytes, sizeof bytes), c), 0); /* longer than it is */
    bytes[0] = 99;
    CHECK_EQ(rule_conditions_read(view_of(bytes, sizeof bytes), c), 0);
    CHECK_EQ(rule_conditions_read(view_of(bytes, 5), c), 0);
    CHECK_EQ(rule_conditions_read((view){ 0 }, c), 0);
}

static void
and_wants_all_conditions_or_wants_any(void **state)
{
    board_rule     r = rule_of(CMP_GT, 90);
    rule_condition c[2];
    rule_state     s = { 0 }, t = { 0 };
    double         shown;

    (void)state;
    CHECK_EQ(two_conditions(c), 2);
    CHECK_EQ(rule_judge_part(&r, c, 2, 0, &s, 1 * S, 95, &shown), RULE_STAYS); /* flow is not known yet */
    CHECK_EQ(rule_judge_part(&r, c, 2, 1, &s, 2 * S, 7, &shown), RULE_STAYS);
    CHECK_EQ(rule_judge_part(&r, c, 2, 1, &s, 3 * S, 4, &shown), RULE_OPENS);
    CHECK(shown == 95);
    CHECK_EQ(rule_judge_part(&r, c, 2, 0, &s, 2 * S, 10, &shown), RULE_CLOSES); /* newer than its own newest */
    CHECK_EQ(rule_judge_part(&r, c, 2, 0, &s, 1 * S, 99, &shown), RULE_STAYS);  /* late */
    r.logic = LOGIC_OR;
    CHECK_EQ(rule_judge_part(&r, c, 2, 1, &t, 1 * S, 4, &shown), RULE_OPENS);
    CHECK_EQ(rule_judge_part(&r, c, 2, 0, &t, 2 * S, 95, &shown), RULE_STAYS);
    CHECK_EQ(rule_judge_part(&r, c, 2, 1, &t, 3 * S, 6, &shown), RULE_STAYS);
    CHECK_EQ(rule_judge_part(&r, c, 2, 0, &t, 4 * S, 50, &shown), RULE_CLOSES);
}

static void
two_conditions_of_one_metric_are_judged_together(void **state)
{
    board_rule     r = rule_of(CMP_GT, 10);
    rule_condition c[2] = { { .op = CMP_GT, .threshold = 10, .metric = VIEW_LIT("x") },
                            { .op = CMP_LT, .threshold = 20, .metric = VIEW_LIT("x") } };
    rule_state     s = { 0 };
    double         shown;

    (void)state;
    CHECK_EQ(rule_judge_part(&r, c, 2, 0, &s, 1 * S, 5, &shown), RULE_STAYS);
    CHECK_EQ(rule_judge_part(&r, c, 2, 0, &s, 2 * S, 25, &shown), RULE_STAYS);
    CHECK_EQ(rule_judge_part(&r, c, 2, 0, &s, 3 * S, 15, &shown), RULE_OPENS);
}

/* ---- rate of change ---- */
static void
a_rate_is_taken_over_the_window(void **state)
{
    board_rule r = rule_of(CMP_GT, 2);
    rule_state s = { 0 };
    double     shown;

    (void)state;
    r.type = RULE_RATE;
    r.window_s = 10;
    for (int i = 0; i <= 30; i++) /* 1 a second, and a spike of one reading */
        CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, i * S, i == 15 ? 20 : i, &shown), RULE_STAYS);
    for (int i = 31; i < 37; i++) /* 5 a second */
        CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, i * S, 30 + 5 * (i - 30), &shown), i == 34 ? RULE_OPENS : RULE_STAYS);
    CHECK(s.open && shown > 2);
    CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, 100 * S, 60, &shown), RULE_STAYS); /* not known over a gap */
    CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, 110 * S, 60, &shown), RULE_CLOSES);
    CHECK(shown == 0);
}

static void
a_falling_value_has_a_negative_rate(void **state)
{
    board_rule r = rule_of(CMP_LT, -1);
    rule_state s = { 0 };
    double     shown;

    (void)state;
    r.type = RULE_RATE;
    r.window_s = 4;
    CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, 0, 100, &shown), RULE_STAYS);
    CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, 4 * S, 92, &shown), RULE_OPENS);
    CHECK(shown == -2 && s.peak == -2);
}

/* ---- anomalies ---- */
static void
an_unusual_value_is_one_far_from_the_mean(void **state)
{
    board_rule r = rule_of(CMP_GT, 0);
    rule_state s = { 0 };

    (void)state;
    r.type = RULE_ANOMALY;
    r.sensitivity = 3;
    CHECK_EQ(rule_judge(&r, &s, 0, 1e9), RULE_STAYS); /* nothing is known yet */
    s = (rule_state){ 0 };
    for (int i = 0; i < 100; i++)
        CHECK_EQ(rule_judge(&r, &s, i * S, i % 2 == 0 ? 9 : 11), RULE_STAYS);
    CHECK(fabs(s.usual.mean - 10) < 1e-9 && fabs(s.usual.variance - 1) < 1e-9);
    CHECK_EQ(rule_judge(&r, &s, 100 * S, 12.9), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 101 * S, 14), RULE_OPENS);
    CHECK_EQ(rule_judge(&r, &s, 102 * S, 20), RULE_STAYS);
    CHECK(s.peak == 20 && fabs(s.usual.mean - 10) < 0.1); /* it learns nothing from them */
    CHECK_EQ(rule_judge(&r, &s, 103 * S, 10), RULE_CLOSES);
}

static void
ewma_takes_a_new_level_for_usual(void **state)
{
    board_rule r = rule_of(CMP_GT, 0);
    rule_state s = { 0 };
    int        closed_after = 0;

    (void)state;
    r.type = RULE_ANOMALY;
    r.method = METHOD_EWMA;
    r.sensitivity = 3;
    for (int i = 0; i < 200; i++)
        CHECK_EQ(rule_judge(&r, &s, i * S, i % 2 == 0 ? 9 : 11), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 200 * S, 30), RULE_OPENS);
    while (s.open && closed_after < 100)
        (void)rule_judge(&r, &s, (201 + closed_after++) * S, 30);
    CHECK(closed_after > 0 && closed_after < 100);
}

static void
a_constant_makes_any_other_value_unusual(void **state)
{
    board_rule r = rule_of(CMP_GT, 0);
    rule_state s = { 0 };

    (void)state;
    r.type = RULE_ANOMALY;
    r.sensitivity = 20;
    for (int i = 0; i < RULE_SEEN_MIN; i++)
        CHECK_EQ(rule_judge(&r, &s, i * S, 7), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 40 * S, 7), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 41 * S, 7.5), RULE_OPENS);
}

/* ---- silence ---- */
static void
silence_opens_and_a_reading_closes(void **state)
{
    board_rule r = rule_of(CMP_GT, 0);
    rule_state s = { 0 };
    double     shown;

    (void)state;
    r.type = RULE_NO_DATA;
    r.duration_s = 60;
    r.cooldown_s = 100;
    CHECK_EQ(rule_heard(&r, &s, 1000 * S), RULE_STAYS);
    CHECK_EQ(rule_silent(&r, &s, 1060 * S - 1, &shown), RULE_STAYS);
    CHECK_EQ(rule_silent(&r, &s, 1060 * S, &shown), RULE_OPENS);
    CHECK(shown == 60);
    CHECK_EQ(rule_silent(&r, &s, 1100 * S, &shown), RULE_STAYS);
    CHECK_EQ(rule_heard(&r, &s, 1200 * S), RULE_CLOSES);
    CHECK_EQ(rule_silent(&r, &s, 1270 * S, &shown), RULE_STAYS); /* cooling down */
    CHECK_EQ(rule_silent(&r, &s, 1300 * S, &shown), RULE_OPENS);
}

static void
an_edit_forgets_what_was_gathered(void **state)
{
    board_rule r = rule_of(CMP_GT, 2);
    rule_state s = { 0 };
    double     shown;

    (void)state;
    r.type = RULE_RATE;
    r.window_s = 4;
    CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, 0, 0, &shown), RULE_STAYS);
    r.version = 2;
    CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, 4 * S, 100, &shown), RULE_STAYS);
    CHECK_EQ(rule_judge_part(&r, NULL, 0, 0, &s, 8 * S, 200, &shown), RULE_OPENS);
}

/* ---- what is handed on ---- */

static uint64_t dice;

static uint64_t
below(uint64_t n)
{
    dice = dice * 6364136223846793005ull + 1442695040888963407ull;
    return (dice >> 33) % n;
}

/* Rules of any operator, hysteresis (also the wrong way round), duration and cooldown over few values, so that all of
 * them meet. */
static board_rule
any_rule(uint32_t no)
{
    static const enum compare ops[] = { CMP_GT, CMP_GTE, CMP_LT, CMP_LTE };
    board_rule r = rule_of(ops[below(4)], (double)below(10));

    r.no = no;
    r.clear_threshold = below(2) == 0 ? r.threshold : (double)below(10);
    r.duration_s = below(3) == 0 ? (uint32_t)below(5) : 0;
    r.cooldown_s = below(3) == 0 ? (uint32_t)below(8) : 0;
    return r;
}

static void
what_is_left_out_changes_no_turn(void **state)
{
    uint64_t rows = 0, handed = 0;

    (void)state;
    for (dice = 1; dice < 400000; dice += 100) {
        uint64_t    seed = dice;
        uint32_t    count = 1 + (uint32_t)below(4);
        board_rule  r[4];
        rule_state  full[4] = { 0 }, part[4] = { 0 };
        rule_bounds b;
        bool        hot = true;
        int64_t     newest = INT64_MIN;

        rule_bounds_init(&b);
        for (uint32_t i = 0; i < count; i++) {
            r[i] = any_rule(i + 1);
            rule_bounds_add(&b, &r[i], 0);
        }
        CHECK(!b.every);
        for (int64_t n = 0; n < 60; n++) {
            int64_t time_us = (n - (below(6) == 0 ? (int64_t)below(6) : 0)) * S; /* some are late */
            double  value = (double)below(10);
            bool    wanted = time_us >= newest && rule_bounds_want(&b, &hot, value);

            newest = time_us > newest ? time_us : newest;
            rows++;
            handed += wanted;
            for (uint32_t i = 0; i < count; i++) {
                enum rule_turn all = rule_judge(&r[i], &full[i], time_us, value);
                enum rule_turn some = wanted ? rule_judge(&r[i], &part[i], time_us, value) : RULE_STAYS;

                CHECK_EQ(all, some);
                CHECK(full[i].open == part[i].open && full[i].holding == part[i].holding);
                CHECK(!full[i].open || full[i].peak == part[i].peak);
            }
        }
        dice = seed;
    }
    CHECK(handed < rows * 9 / 10 && handed > rows / 10);
}

static void
a_rule_that_needs_every_reading_gets_it(void **state)
{
    board_rule  r[] = { rule_of(CMP_EQ, 5), rule_of(CMP_NE, 5), rule_of(CMP_GT, 5), rule_of(CMP_GT, 5), rule_of(CMP_GT, 5) };
    rule_bounds b;
    bool        hot = false;

    (void)state;
    r[2].type = RULE_RATE;
    r[3].type = RULE_ANOMALY;
    r[4].type = RULE_NO_DATA;
    for (size_t i = 0; i < COUNT_OF(r); i++) {
        rule_bounds_init(&b);
        rule_bounds_add(&b, &r[i], 0);
        CHECK(rule_bounds_want(&b, &hot, 0));
    }
    rule_bounds_init(&b);
    r[0] = rule_of(CMP_GT, 5);
    rule_bounds_add(&b, &r[0], 2); /* two conditions: each one's newest value counts */
    CHECK(rule_bounds_want(&b, &hot, 0));
}

static void
a_rule_that_was_off_begins_anew(void **state)
{
    board_rule r = rule_of(CMP_GT, 80);
    rule_state s = { 0 };

    (void)state;
    CHECK_EQ(rule_judge(&r, &s, 10 * S, 90), RULE_OPENS);
    r.version = 3; /* off and on again: its alert was closed */
    r.live_from = 3;
    r.duration_s = 5;
    CHECK_EQ(rule_judge(&r, &s, 11 * S, 90), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 15 * S, 90), RULE_STAYS);
    CHECK_EQ(rule_judge(&r, &s, 16 * S, 90), RULE_OPENS);
}

static void
rules_as_bytes_are_found_as_they_were(void **state)
{
    uint8_t        bytes[3 * RULE_PACKED_MAX], conditions[RULE_CONDITIONS_BYTES];
    rule_condition c[2] = { { 1, VIEW_LIT("b"), CMP_GT }, { 2, VIEW_LIT("a"), CMP_LT } };
    board_rule     r = rule_of(CMP_GT, 80);
    ruleset        set = { 0 };
    size_t         len = rule_pack(&r, VIEW_LIT("b"), (view){ 0 }, bytes);
    rule_run       run[RULE_RUNS];

    (void)state;
    r.no = 2;
    r.until = 7;
    len += rule_pack(&r, VIEW_LIT("x"), view_of(conditions, rule_conditions_pack(c, 2, conditions)), bytes + len);
    CHECK_OK(ruleset_from(&set, view_of(bytes, len)));
    memset(bytes, 0xee, sizeof bytes); /* the set has its own */
    CHECK_EQ(set.count, 3);
    ruleset_find(&set, 1, VIEW_LIT("b"), 5, run);
    CHECK_EQ(run[0].count, 2);
    CHECK_EQ(run[1].count, 0);
    CHECK_EQ(set.rules[run[0].first].rule.no, 1);
    CHECK_EQ(set.rules[run[0].first + 1].rule.until, 7);
    CHECK_EQ(set.rules[run[0].first + 1].which, 0);
    ruleset_find(&set, 1, VIEW_LIT("a"), 5, run);
    CHECK_EQ(run[0].count, 1);
    CHECK_EQ(set.rules[run[0].first].which, 1);
    CHECK(set.rules[run[0].first].conditions[1].threshold == 2);
    for (size_t cut = 1; cut < len; cut += 7)
        CHECK_EQ(ruleset_from(&set, view_of(bytes, cut)), E_BAD);
    err_clear();
    CHECK_EQ(set.count, 3);
    ruleset_free(&set);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_left_out_changes_no_turn),
        TEST(a_rule_that_needs_every_reading_gets_it),
        TEST(each_operator_compares_as_its_name_says),
        TEST(an_alert_opens_once_and_closes_when_the_condition_clears),
        TEST(an_open_alert_clears_at_the_clear_threshold),
        TEST(the_condition_must_hold_for_the_duration_in_the_readings_time),
        TEST(no_alert_comes_again_within_the_cooldown),
        TEST(a_late_reading_neither_raises_nor_clears),
        TEST(an_edited_rule_starts_its_duration_anew_but_keeps_its_alert),
        cmocka_unit_test(conditions_come_back_as_they_were_packed),
        cmocka_unit_test(and_wants_all_conditions_or_wants_any),
        cmocka_unit_test(two_conditions_of_one_metric_are_judged_together),
        cmocka_unit_test(a_rate_is_taken_over_the_window),
        cmocka_unit_test(a_falling_value_has_a_negative_rate),
        cmocka_unit_test(an_unusual_value_is_one_far_from_the_mean),
        cmocka_unit_test(ewma_takes_a_new_level_for_usual),
        cmocka_unit_test(a_constant_makes_any_other_value_unusual),
        cmocka_unit_test(silence_opens_and_a_reading_closes),
        cmocka_unit_test(an_edit_forgets_what_was_gathered),
        cmocka_unit_test(a_rule_that_was_off_begins_anew),
        cmocka_unit_test(rules_as_bytes_are_found_as_they_were),
    };

    return cmocka_run_group_tests_name("actors/rules", tests, NULL, NULL);
}
