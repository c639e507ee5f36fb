/* Token buckets. */
#include "tests/unit/check.h"

#include "api/limits.h"

#define S UINT64_C(1000000000)

static void
a_minutes_worth_may_come_at_once_and_then_one_at_a_time(void **state)
{
    limits      *l = limits_new();
    limits_state s;

    (void)state;
    for (int i = 0; i < 60; i++)
        CHECK(limits_take(l, LIMIT_TENANT, 7, 60, 100 * S, &s));
    CHECK_EQ(s.remaining, 0);
    CHECK(!limits_take(l, LIMIT_TENANT, 7, 60, 100 * S, &s));
    CHECK_EQ(s.limit, 60);
    CHECK(s.retry_s >= 1 && s.retry_s <= 2);
    CHECK(s.reset_s >= 60 && s.reset_s <= 62);
    CHECK(limits_take(l, LIMIT_TENANT, 7, 60, 101 * S, &s));
    CHECK(!limits_take(l, LIMIT_TENANT, 7, 60, 101 * S, &s));
    limits_free(l);
}

static void
one_key_does_not_count_for_another(void **state)
{
    limits      *l = limits_new();
    limits_state s;

    (void)state;
    CHECK(limits_take(l, LIMIT_ADDRESS, 1, 1, S, &s));
    CHECK(!limits_take(l, LIMIT_ADDRESS, 1, 1, S, &s));
    CHECK(limits_take(l, LIMIT_ADDRESS, 2, 1, S, &s));
    CHECK(limits_take(l, LIMIT_ACCOUNT, 1, 1, S, &s));
    limits_free(l);
}

static void
zero_is_unlimited(void **state)
{
    limits      *l = limits_new();
    limits_state s;

    (void)state;
    for (int i = 0; i < 1000; i++)
        CHECK(limits_take(l, LIMIT_TENANT, 1, 0, S, &s));
    CHECK_EQ(s.limit, 0);
    limits_free(l);
}

static void
a_million_addresses_do_not_make_it_forget_who_comes_now(void **state)
{
    limits      *l = limits_new();
    limits_state s;

    (void)state;
    for (uint64_t i = 0; i < 1000000; i++)
        (void)limits_take(l, LIMIT_ADDRESS, i, 20, i, &s);
    CHECK(limits_take(l, LIMIT_ADDRESS, 5, 1, 1000000, &s));
    CHECK(!limits_take(l, LIMIT_ADDRESS, 5, 1, 1000000, &s));
    limits_free(l);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_minutes_worth_may_come_at_once_and_then_one_at_a_time),
        TEST(one_key_does_not_count_for_another),
        TEST(zero_is_unlimited),
        TEST(a_million_addresses_do_not_make_it_forget_who_comes_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
