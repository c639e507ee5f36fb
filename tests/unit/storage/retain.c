#include "tests/unit/check.h"

#include "storage/retain.h"

static bool
matches(const char *pattern, const char *metric)
{
    return retain_matches(view_str(pattern), view_str(metric));
}

static void
a_pattern_is_of_stars_and_question_marks(void **state)
{
    (void)state;
    CHECK(matches("*", ""));
    CHECK(matches("*", "temperature"));
    CHECK(matches("temp*", "temperature"));
    CHECK(matches("*ture", "temperature"));
    CHECK(matches("t*e*e", "temperature"));
    CHECK(matches("temperat?re", "temperature"));
    CHECK(matches("a*b*c", "aXbbXbc"));
    CHECK(!matches("temp", "temperature"));
    CHECK(!matches("temp?", "temp"));
    CHECK(!matches("a*b", "abc"));
    CHECK(!matches("", "a"));
    CHECK(matches("", ""));
    /* No way to make it slow. */
    CHECK(!matches("*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

static size_t
put(uint8_t *out, uint32_t raw, uint32_t rollups, const char *pattern)
{
    retain_row r = { raw, rollups, (uint32_t)strlen(pattern) };

    memcpy(out, &r, sizeof r);
    memcpy(out + sizeof r, pattern, r.pattern_len);
    return sizeof r + r.pattern_len;
}

static void
the_first_rule_that_fits_counts_and_bad_ones_are_refused(void **state)
{
    retain_rule rules[RETAIN_RULES_MAX];
    uint8_t     bytes[4096];
    uint32_t    count;
    size_t      len = put(bytes, 3, 9, "temp*");

    (void)state;
    len += put(bytes + len, 5, 0, "*");
    CHECK_OK(retain_read(view_of(bytes, len), rules, &count));
    CHECK_EQ(count, 2);
    CHECK_EQ(retain_rule_of(rules, count, VIEW_LIT("temperature"))->rollup_days, 9);
    CHECK_EQ(retain_rule_of(rules, count, VIEW_LIT("pressure"))->raw_days, 5);
    CHECK(retain_rule_of(rules, 1, VIEW_LIT("pressure")) == NULL);
    CHECK_EQ(retain_read(view_of(bytes, len - 1), rules, &count), E_BAD);
    CHECK_EQ(retain_read(view_of(bytes, put(bytes, 9, 3, "*")), rules, &count), E_BAD);
    CHECK_EQ(retain_read(view_of(bytes, put(bytes, 0, 3, "*")), rules, &count), E_BAD);
    CHECK_EQ(retain_read(view_of(bytes, put(bytes, RETAIN_DAYS_MAX + 1, 0, "*")), rules, &count), E_BAD);
    CHECK_EQ(retain_read(view_of(bytes, put(bytes, 1, 1, "")), rules, &count), E_BAD);
    len = 0;
    for (int i = 0; i <= RETAIN_RULES_MAX; i++)
        len += put(bytes + len, 1, 1, "x");
    CHECK_EQ(retain_read(view_of(bytes, len), rules, &count), E_BAD);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pattern_is_of_stars_and_question_marks),
        TEST(the_first_rule_that_fits_counts_and_bad_ones_are_refused),
    };

    return cmocka_run_group_tests_name("storage/retain", tests, NULL, NULL);
}
