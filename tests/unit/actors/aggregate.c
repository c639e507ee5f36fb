#include "tests/unit/check.h"

#include "actors/aggregate.h"
#include "proto/instant.h"

#include <math.h>
#include <stdlib.h>

static const every RAW = { EVERY_RAW, 1 };

static int64_t
at(const char *text)
{
    int64_t us = 0;

    CHECK(instant_parse(view_str(text), &us));
    return us;
}

/* ---- buckets ---- */

static const struct {
    every       e;
    const char *time, *start, *end;
} bucket_cases[] = {
    { { EVERY_SECOND, 1 }, "2026-03-01T00:00:00.999999Z", "2026-03-01T00:00:00Z", "2026-03-01T00:00:01Z" },
    { { EVERY_MINUTE, 5 }, "2026-03-01T00:07:00Z", "2026-03-01T00:05:00Z", "2026-03-01T00:10:00Z" },
    { { EVERY_HOUR, 1 }, "2026-03-01T23:59:59Z", "2026-03-01T23:00:00Z", "2026-03-02T00:00:00Z" },
    { { EVERY_DAY, 1 }, "2024-02-29T12:00:00Z", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z" },
    { { EVERY_DAY, 2 }, "1970-01-04T00:00:00Z", "1970-01-03T00:00:00Z", "1970-01-05T00:00:00Z" },
    { { EVERY_WEEK, 1 }, "1970-01-04T23:59:59Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z" },
    { { EVERY_WEEK, 1 }, "2026-11-22T23:59:59Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z" },
    { { EVERY_MONTH, 1 }, "2024-02-29T23:59:59.999999Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z" },
    { { EVERY_MONTH, 1 }, "1969-12-31T00:00:00Z", "1969-12-01T00:00:00Z", "1970-01-01T00:00:00Z" },
    { { EVERY_MONTH, 3 }, "2026-11-23T00:00:00Z", "2026-10-01T00:00:00Z", "2027-01-01T00:00:00Z" },
    { { EVERY_MONTH, 12 }, "1900-06-01T00:00:00Z", "1900-01-01T00:00:00Z", "1901-01-01T00:00:00Z" },
    { { EVERY_HOUR, 1 }, "1969-12-31T23:30:00Z", "1969-12-31T23:00:00Z", "1970-01-01T00:00:00Z" },
};

static void
a_time_lies_in_the_bucket_that_the_calendar_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bucket_cases); i++) {
        int64_t start = bucket_start(bucket_cases[i].e, at(bucket_cases[i].time));

        CHECK_EQ(start, at(bucket_cases[i].start));
        CHECK_EQ(bucket_end(bucket_cases[i].e, start), at(bucket_cases[i].end));
    }
}

static void
buckets_are_seamless_over_four_centuries(void **state)
{
    static const every es[] = { { EVERY_MONTH, 1 }, { EVERY_MONTH, 5 }, { EVERY_WEEK, 3 }, { EVERY_DAY, 7 } };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(es); i++) {
        int64_t t = bucket_start(es[i], at("1800-01-01T00:00:00Z"));

        while (t < at("2200-01-01T00:00:00Z")) {
            int64_t end = bucket_end(es[i], t);

            CHECK(end > t);
            CHECK_EQ(bucket_start(es[i], t), t);
            CHECK_EQ(bucket_start(es[i], end - 1), t);
            CHECK_EQ(bucket_start(es[i], end), end);
            t = end;
        }
    }
}

static void
an_absurd_interval_is_refused(void **state)
{
    (void)state;
    CHECK(!bucket_is_valid((every){ EVERY_HOUR, 0 }));
    CHECK(!bucket_is_valid((every){ EVERY_MONTH + 1, 1 }));
    CHECK(!bucket_is_valid((every){ EVERY_WEEK, UINT32_MAX }));
    CHECK(!bucket_is_valid((every){ EVERY_MONTH, UINT32_MAX }));
    CHECK(bucket_is_valid((every){ EVERY_SECOND, UINT32_MAX }));
}

/* ---- figures ---- */

#define S 1000000LL

static fold_spec
spec_of(enum aggregation how, every e, int64_t start, int64_t end)
{
    return (fold_spec){ .how = how, .every = e, .start_us = start, .end_us = end, .limit = 10000 };
}

static double
one_value(enum aggregation how, const int64_t *t, const double *v, uint32_t n, int64_t start, int64_t end)
{
    fold                f = { 0 };
    fold_spec           s = spec_of(how, (every){ EVERY_HOUR, 1 }, start, end);
    const result_point *p;
    uint32_t            count;
    int64_t             next;
    double              value;

    fold_open(&f, &s);
    fold_member(&f);
    for (uint32_t i = 0; i < n; i++) /* one by one: spans must not matter */
        fold_rows(&f, t + i, v + i, 1);
    fold_member_end(&f);
    CHECK_OK(fold_finish(&f, &p, &count, &next));
    CHECK_EQ(count, 1);
    value = p[0].value;
    fold_close(&f);
    return value;
}

static void
a_percentile_interpolates_between_ranks_as_r_type_7(void **state)
{
    double v[] = { 4, 1, 3, 2 };
    double w[101];

    (void)state;
    CHECK(agg_percentile(v, 4, 50) == 2.5);
    CHECK(agg_percentile(v, 4, 90) == 3 + (3 * 0.9 - 2) * (4 - 3));
    CHECK(agg_percentile(v, 1, 99) == 1);
    for (int i = 0; i <= 100; i++)
        w[i] = 100 - i;
    CHECK(agg_percentile(w, 101, 95) == 95);
    CHECK(agg_percentile(w, 101, 99) == 99);
    double far[] = { -1.7e308, 1.7e308 };
    CHECK(agg_percentile(far, 2, 50) == 0);
}

static void
a_fall_of_a_counter_is_a_reset(void **state)
{
    int64_t t[] = { 0, 10 * S, 20 * S, 30 * S };
    double  v[] = { 5, 8, 2, 4 };

    (void)state;
    CHECK(one_value(AGG_RATE, t, v, 4, 0, 3600 * S) == (3.0 + 2.0 + 2.0) / 30);
    CHECK(one_value(AGG_DELTA, t, v, 4, 0, 3600 * S) == -1);
    CHECK(isnan(one_value(AGG_RATE, t, v, 1, 0, 3600 * S)));
}

static void
a_time_weighted_average_carries_in_and_holds_at_most_an_hour(void **state)
{
    int64_t t[] = { 1800 * S, 3600 * S + 600 * S };
    double  v[] = { 10, 20 };
    int64_t gap[] = { 0, 7200 * S + 1800 * S };

    (void)state;
    /* 10 holds for the first ten minutes of the second hour, 20 for fifty. */
    CHECK(one_value(AGG_TIME_WEIGHTED_AVG, t, v, 2, 3600 * S, 7200 * S) == (10.0 * 600 + 20.0 * 3000) / 3600);
    /* What was read more than an hour ago holds no longer. */
    CHECK(one_value(AGG_TIME_WEIGHTED_AVG, gap, v, 2, 7200 * S, 10800 * S) == 20);
    /* The range cuts the bucket. */
    CHECK(one_value(AGG_TIME_WEIGHTED_AVG, t, v, 2, 4000 * S, 4400 * S) == (10.0 * 200 + 20.0 * 200) / 400);
}

static void
sums_neither_cancel_nor_overflow_on_the_way(void **state)
{
    int64_t t[] = { 0, 1, 2, 3 };
    double  cancel[] = { 1e100, 1, -1e100, 1 };
    double  large[] = { 1.7e308, 1.7e308, -1.7e308, 1.5e308 };

    (void)state;
    CHECK(one_value(AGG_SUM, t, cancel, 4, 0, 3600 * S) == 2);
    CHECK(one_value(AGG_AVG, t, large, 2, 0, 3600 * S) == 1.7e308);
    CHECK(one_value(AGG_STDDEV, t, large, 2, 0, 3600 * S) == 0);
    CHECK(isinf(one_value(AGG_SUM, t, large, 4, 0, 3600 * S)));
}

static void
stddev_is_of_the_population_and_keeps_small_spreads_of_large_values(void **state)
{
    int64_t t[] = { 0, 1, 2, 3 };
    double  v[] = { 1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16 };

    (void)state;
    CHECK(fabs(one_value(AGG_STDDEV, t, v, 4, 0, 3600 * S) - sqrt(22.5)) < 1e-12);
}

static void
a_summary_counts_as_its_rows(void **state)
{
    static const enum aggregation hows[] = { AGG_AVG, AGG_MIN, AGG_MAX, AGG_SUM, AGG_COUNT, AGG_FIRST,
                                             AGG_LAST, AGG_STDDEV, AGG_DELTA };
    int64_t t[] = { 1, 2, 3, 4, 5, 6 };
    double  v[] = { 3, 1, 2, 8, 5, 5 };
    /* rows 2..4 as a summary: 2 8 5, mean 5, squares 9 + 9 + 0 */
    agg_summary s = { .count = 3, .first_us = 3, .last_us = 5, .first = 2, .last = 5, .min = 2, .max = 8,
                      .sum = 15, .m2 = 18 };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(hows); i++) {
        fold                f = { 0 };
        fold_spec           spec = spec_of(hows[i], (every){ EVERY_DAY, 1 }, 0, 86400 * S);
        const result_point *p;
        uint32_t            n;
        int64_t             next;

        CHECK(agg_takes_summary(hows[i]));
        fold_open(&f, &spec);
        fold_member(&f);
        fold_rows(&f, t, v, 2);
        CHECK(fold_may_skip(&f, 3, 5));
        fold_summary(&f, &s);
        fold_rows(&f, t + 5, v + 5, 1);
        fold_member_end(&f);
        CHECK_OK(fold_finish(&f, &p, &n, &next));
        CHECK_EQ(n, 1);
        CHECK_EQ(p[0].count, 6);
        CHECK(p[0].min == 1 && p[0].max == 8);
        CHECK(p[0].value == one_value(hows[i], t, v, 6, 0, 3600 * S));
        fold_close(&f);
    }
}

static void
a_run_over_two_buckets_or_over_the_edge_is_not_skipped(void **state)
{
    fold      f = { 0 };
    fold_spec s = spec_of(AGG_AVG, (every){ EVERY_HOUR, 1 }, 100, 7200 * S);

    (void)state;
    fold_open(&f, &s);
    CHECK(fold_may_skip(&f, 100, 3600 * S - 1));
    CHECK(!fold_may_skip(&f, 99, 3600 * S - 1));
    CHECK(!fold_may_skip(&f, 100, 3600 * S));
    CHECK(!fold_may_skip(&f, 7100 * S, 7200 * S));
    s.how = AGG_P50;
    fold_open(&f, &s);
    CHECK(!fold_may_skip(&f, 100, 200));
    fold_close(&f);
}

/* ---- limits and order ---- */

static void
check_points(fold *f, const int64_t *times, uint32_t n, int64_t next)
{
    const result_point *p;
    uint32_t            count;
    int64_t             cursor;

    CHECK_OK(fold_finish(f, &p, &count, &cursor));
    CHECK_EQ(count, n);
    for (uint32_t i = 0; i < n; i++)
        CHECK_EQ(p[i].time_us, times[i]);
    CHECK_EQ(cursor, next);
}

static void
the_cursor_is_the_first_point_that_did_not_fit(void **state)
{
    fold      f = { 0 };
    int64_t   t[100];
    double    v[100] = { 0 };
    fold_spec s = { .every = RAW, .start_us = 0, .end_us = 1000, .limit = 3 };

    (void)state;
    for (int i = 0; i < 100; i++)
        t[i] = i;
    fold_open(&f, &s);
    fold_member(&f);
    fold_rows(&f, t, v, 100);
    CHECK(fold_is_full(&f));
    fold_member_end(&f);
    check_points(&f, (int64_t[]){ 0, 1, 2 }, 3, 3);

    s.newest_first = true;
    fold_open(&f, &s);
    fold_member(&f);
    fold_rows(&f, t, v, 100);
    CHECK(!fold_is_full(&f));
    fold_member_end(&f);
    check_points(&f, (int64_t[]){ 99, 98, 97 }, 3, 96);

    s.newest_first = false;
    s.limit = 100;
    fold_open(&f, &s);
    fold_member(&f);
    fold_rows(&f, t, v, 100);
    fold_member_end(&f);
    check_points(&f, t, 100, INT64_MIN);
    fold_close(&f);
}

static void
members_are_folded_bucket_by_bucket(void **state)
{
    int64_t             ta[] = { 0, 2 * S, 5 * S }, tb[] = { 1, 3 * S, 5 * S };
    double              va[] = { 1, 2, 3 }, vb[] = { 10, 20, 30 };
    fold                f = { 0 };
    const result_point *p;
    uint32_t            n;
    int64_t             next;

    (void)state;
    for (int newest = 0; newest < 2; newest++) {
        fold_spec s = { .how = AGG_LAST, .every = { EVERY_SECOND, 1 }, .start_us = 0, .end_us = 100 * S,
                        .limit = 3, .newest_first = newest, .many = true };

        fold_open(&f, &s);
        fold_member(&f);
        fold_rows(&f, ta, va, 3);
        fold_member_end(&f);
        fold_member(&f);
        fold_rows(&f, tb, vb, 3);
        fold_member_end(&f);
        CHECK_OK(fold_finish(&f, &p, &n, &next));
        CHECK_EQ(n, 3);
        CHECK_EQ(next, newest ? 0 : 5 * S);
        CHECK_EQ(p[0].time_us, newest ? 5 * S : 0);
        CHECK(p[0].value == (newest ? 30 : 10));
        CHECK_EQ(p[0].count, 2);
        CHECK(p[2].value == (newest ? 2 : 20));
    }
    fold_close(&f);
}

static void
percentiles_over_members_pool_their_readings(void **state)
{
    int64_t             t[] = { 0, 1 };
    double              va[] = { 1, 4 }, vb[] = { 2, 3 };
    fold                f = { 0 };
    fold_spec           s = spec_of(AGG_P50, (every){ EVERY_SECOND, 1 }, 0, S);
    const result_point *p;
    uint32_t            n;
    int64_t             next;

    (void)state;
    s.many = true;
    fold_open(&f, &s);
    fold_member(&f);
    fold_rows(&f, t, va, 2);
    fold_member_end(&f);
    fold_member(&f);
    fold_rows(&f, t, vb, 2);
    fold_member_end(&f);
    CHECK_OK(fold_finish(&f, &p, &n, &next));
    CHECK_EQ(n, 1);
    CHECK_EQ(p[0].count, 4);
    CHECK(p[0].value == 2.5);
    fold_close(&f);
}

static void
raw_readings_of_members_come_by_time(void **state)
{
    int64_t   ta[] = { 1, 3, 5 }, tb[] = { 2, 3, 4 };
    double    v[] = { 0, 0, 0 };
    fold      f = { 0 };
    fold_spec s = { .every = RAW, .start_us = 0, .end_us = 100, .limit = 4, .many = true };

    (void)state;
    for (int newest = 0; newest < 2; newest++) {
        s.newest_first = newest;
        fold_open(&f, &s);
        fold_member(&f);
        fold_rows(&f, ta, v, 3);
        fold_member_end(&f);
        fold_member(&f);
        fold_rows(&f, tb, v, 3);
        fold_member_end(&f);
        check_points(&f, newest ? (int64_t[]){ 5, 4, 3, 3 } : (int64_t[]){ 1, 2, 3, 3 }, 4, newest ? 2 : 4);
    }
    fold_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_time_lies_in_the_bucket_that_the_calendar_says),
        TEST(buckets_are_seamless_over_four_centuries),
        TEST(an_absurd_interval_is_refused),
        TEST(a_percentile_interpolates_between_ranks_as_r_type_7),
        TEST(a_fall_of_a_counter_is_a_reset),
        TEST(a_time_weighted_average_carries_in_and_holds_at_most_an_hour),
        TEST(sums_neither_cancel_nor_overflow_on_the_way),
        TEST(stddev_is_of_the_population_and_keeps_small_spreads_of_large_values),
        TEST(a_summary_counts_as_its_rows),
        TEST(a_run_over_two_buckets_or_over_the_edge_is_not_skipped),
        TEST(the_cursor_is_the_first_point_that_did_not_fit),
        TEST(members_are_folded_bucket_by_bucket),
        TEST(percentiles_over_members_pool_their_readings),
        TEST(raw_readings_of_members_come_by_time),
    };

    return cmocka_run_group_tests_name("actors/aggregate", tests, NULL, NULL);
}
