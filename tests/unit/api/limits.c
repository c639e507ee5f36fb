/* Token buckets. */
#include "tests/unit/check.h"

#include "api/limits.h"

#include "tests/unit/scratch.h"

#include <sys/wait.h>
#include <unistd.h>

#define S UINT64_C(1000000000)

static limits_rate
a_minute(uint64_t count)
{
    return (limits_rate){ count, 60 * S };
}

static limits *
open_own(void)
{
    limits *l = NULL;

    CHECK_OK(limits_open(&l, NULL));
    return l;
}

static void
a_minutes_worth_may_come_at_once_and_then_one_at_a_time(void **state)
{
    limits      *l = open_own();
    limits_state s;

    (void)state;
    for (int i = 0; i < 60; i++)
        CHECK(limits_take(l, LIMIT_TENANT, 7, a_minute(60), 1, 100 * S, &s));
    CHECK_EQ(s.remaining, 0);
    CHECK(!limits_take(l, LIMIT_TENANT, 7, a_minute(60), 1, 100 * S, &s));
    CHECK_EQ(s.limit, 60);
    CHECK(s.retry_s >= 1 && s.retry_s <= 2);
    CHECK(s.reset_s >= 60 && s.reset_s <= 62);
    CHECK(limits_take(l, LIMIT_TENANT, 7, a_minute(60), 1, 101 * S, &s));
    CHECK(!limits_take(l, LIMIT_TENANT, 7, a_minute(60), 1, 101 * S, &s));
    limits_close(&l);
}

static void
one_key_does_not_count_for_another(void **state)
{
    limits      *l = open_own();
    limits_state s;

    (void)state;
    CHECK(limits_take(l, LIMIT_ADDRESS, 1, a_minute(1), 1, S, &s));
    CHECK(!limits_take(l, LIMIT_ADDRESS, 1, a_minute(1), 1, S, &s));
    CHECK(limits_take(l, LIMIT_ADDRESS, 2, a_minute(1), 1, S, &s));
    CHECK(limits_take(l, LIMIT_ACCOUNT, 1, a_minute(1), 1, S, &s));
    limits_close(&l);
}

static void
zero_is_unlimited(void **state)
{
    limits      *l = open_own();
    limits_state s;

    (void)state;
    for (int i = 0; i < 1000; i++)
        CHECK(limits_take(l, LIMIT_TENANT, 1, a_minute(0), 1, S, &s));
    CHECK_EQ(s.limit, 0);
    limits_close(&l);
}

static void
a_million_addresses_do_not_make_it_forget_who_comes_now(void **state)
{
    limits      *l = open_own();
    limits_state s;

    (void)state;
    for (uint64_t i = 0; i < 1000000; i++)
        (void)limits_take(l, LIMIT_ADDRESS, i, a_minute(20), 1, i, &s);
    CHECK(limits_take(l, LIMIT_ADDRESS, 5, a_minute(1), 1, 1000000, &s));
    CHECK(!limits_take(l, LIMIT_ADDRESS, 5, a_minute(1), 1, 1000000, &s));
    limits_close(&l);
}

static void
a_look_takes_nothing(void **state)
{
    limits      *l = open_own();
    limits_state s;

    (void)state;
    for (int i = 0; i < 10; i++)
        CHECK(limits_take(l, LIMIT_FAILED, 1, a_minute(1), 0, S, &s));
    CHECK(limits_take(l, LIMIT_FAILED, 1, a_minute(1), 1, S, &s));
    CHECK(!limits_take(l, LIMIT_FAILED, 1, a_minute(1), 0, S, &s));
    CHECK(s.retry_s >= 60);
    limits_close(&l);
}

static void
more_than_a_bucket_holds_is_lent_and_made_up_for(void **state)
{
    const limits_rate rate = { 1000, S }; /* a second */
    limits           *l = open_own();
    limits_state      s;

    (void)state;
    CHECK(limits_take(l, LIMIT_READINGS, 1, rate, 5000, S, &s));
    CHECK_EQ(s.remaining, 0);
    CHECK_EQ(s.reset_s, 5);
    CHECK(!limits_take(l, LIMIT_READINGS, 1, rate, 1, 2 * S, &s));
    CHECK_EQ(s.retry_s, 4);
    CHECK(!limits_take(l, LIMIT_READINGS, 1, rate, 5000, 5 * S, &s));
    CHECK(limits_take(l, LIMIT_READINGS, 1, rate, 1000, 6 * S, &s));
    limits_close(&l);
}

/* Two processes take from one bucket as fast as they can: together they get what it holds. */
static void
processes_share_a_bucket(void **state)
{
    const limits_rate rate = { 10000, 3600 * S };
    const char       *dir = scratch_dir();
    int               got[2] = { 0 };
    int               pipes[2];

    (void)state;
    CHECK_EQ(pipe(pipes), 0);
    for (int p = 0; p < 2; p++) {
        if (fork() != 0)
            continue;
        limits      *l = NULL;
        limits_state s;
        int          n = 0;

        if (limits_open(&l, dir) < 0)
            _exit(1);
        for (int i = 0; i < 10000; i++)
            n += limits_take(l, LIMIT_TENANT, 3, rate, 1, S, &s);
        _exit(write(pipes[1], &n, sizeof n) != sizeof n);
    }
    for (int p = 0; p < 2; p++) {
        int status = 0;

        CHECK_EQ(read(pipes[0], &got[p], sizeof got[p]), (long)sizeof got[p]);
        CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    CHECK_EQ(got[0] + got[1], 10000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_minutes_worth_may_come_at_once_and_then_one_at_a_time),
        TEST(one_key_does_not_count_for_another),
        TEST(zero_is_unlimited),
        TEST(a_look_takes_nothing),
        TEST(more_than_a_bucket_holds_is_lent_and_made_up_for),
        TEST(processes_share_a_bucket),
        TEST(a_million_addresses_do_not_make_it_forget_who_comes_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
