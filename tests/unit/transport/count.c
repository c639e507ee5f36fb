#include "transport/count.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

static counters *
fresh(bool writer, uint16_t part)
{
    counters *c;
    addr      who = addr_of(KIND_INGEST, part);

    CHECK_OK(counters_create(scratch_dir(), who));
    CHECK_OK(counters_open(&c, scratch_dir(), who, writer));
    return c;
}

static void
a_reader_sees_what_the_writer_counts(void **state)
{
    counters *w = fresh(true, 0);
    counters *r = fresh(false, 0);

    (void)state;
    count_add(w, COUNT_MESSAGES, 3);
    count_add(w, COUNT_MESSAGES, 4);
    count_set(w, COUNT_BELLS, 9);
    CHECK_EQ(count_get(r, COUNT_MESSAGES), 7);
    CHECK_EQ(count_get(r, COUNT_BELLS), 9);
    counters_close(&w);
    counters_close(&r);
}

static void
creating_again_keeps_the_counts(void **state)
{
    counters *w = fresh(true, 1);

    (void)state;
    count_add(w, COUNT_MESSAGES, 5);
    counters_close(&w);
    w = fresh(true, 1);
    CHECK_EQ(count_get(w, COUNT_MESSAGES), 5);
    counters_close(&w);
}

/* Every value's bucket has a top at or above it, by less than an eighth. */
static void
a_quantile_is_wrong_by_less_than_an_eighth(void **state)
{
    uint16_t part = 10;

    (void)state;
    for (uint64_t ns = 1; ns < UINT64_MAX / 3; ns += ns / 2 + 1) {
        counters *w = fresh(true, part++);
        uint64_t  got;

        hist_add(w, HIST_FLUSH, ns);
        got = hist_quantile_ns(w, HIST_FLUSH, 0.5);
        CHECK(got >= ns && got - ns <= ns / 8);
        CHECK_EQ(hist_below(w, HIST_FLUSH, ns), 1);
        CHECK_EQ(hist_below(w, HIST_FLUSH, ns - ns / 7 - 1), 0);
        CHECK_EQ(hist_sum_ns(w, HIST_FLUSH), ns);
        counters_close(&w);
    }
}

static void
quantiles_split_the_readings(void **state)
{
    counters *w = fresh(true, 2);

    (void)state;
    CHECK_EQ(hist_quantile_ns(w, HIST_REQUEST, 0.5), 0);
    for (uint64_t i = 1; i <= 1000; i++)
        hist_add(w, HIST_REQUEST, i * 1000);
    hist_add(w, HIST_REQUEST, UINT64_MAX); /* the last bucket has room for it */
    CHECK_EQ(hist_count(w, HIST_REQUEST), 1001);
    CHECK(hist_quantile_ns(w, HIST_REQUEST, 0.5) >= 500000);
    CHECK(hist_quantile_ns(w, HIST_REQUEST, 0.5) <= 563000);
    CHECK_EQ(hist_quantile_ns(w, HIST_REQUEST, 1), UINT64_MAX);
    CHECK_EQ(hist_below(w, HIST_REQUEST, UINT64_MAX), 1001);
    counters_close(&w);
}

static void
counters_of_somebody_else_are_refused(void **state)
{
    counters *c = fresh(true, 3);

    (void)state;
    counters_close(&c);
    CHECK_EQ(rename(scratch_file("count.ingest.3"), scratch_file("count.ingest.4")), 0);
    CHECK_EQ(counters_open(&c, scratch_dir(), addr_of(KIND_INGEST, 4), false), E_BAD);
    CHECK_EQ(counters_open(&c, scratch_dir(), addr_of(KIND_INGEST, 3), false), E_NOTFOUND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_reader_sees_what_the_writer_counts),       TEST(creating_again_keeps_the_counts),
        TEST(a_quantile_is_wrong_by_less_than_an_eighth), TEST(quantiles_split_the_readings),
        TEST(counters_of_somebody_else_are_refused),
    };

    return cmocka_run_group_tests_name("transport/count", tests, NULL, NULL);
}
