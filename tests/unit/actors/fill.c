/* Filling: only between readings, in either order, cut and gone on with without a loss or a repeat. */
#include "tests/unit/check.h"

#include "actors/fill.h"

#include <math.h>
#include <stdlib.h>

#define S 1000000LL

static const every second = { EVERY_SECOND, 1, NULL };

static result_point
at(int64_t s, double value)
{
    return (result_point){ .time_us = s * S, .value = value, .count = 1, .min = value, .max = value };
}

static void
expect(fill *f, int64_t s, double value, uint64_t count)
{
    result_point p;

    CHECK(fill_next(f, &p));
    CHECK_EQ(p.time_us, s * S);
    CHECK_EQ(p.count, count);
    CHECK(isnan(value) ? isnan(p.value) != 0 : fabs(p.value - value) < 1e-9);
    CHECK_EQ(count == 0, isnan(p.min) && isnan(p.max));
}

static void
expect_end(fill *f, int64_t next, int64_t anchor)
{
    result_point p;
    int64_t      got_next, got_anchor;

    CHECK(!fill_next(f, &p));
    fill_cursor(f, &got_next, &got_anchor);
    CHECK_EQ(got_next, next == INT64_MIN ? next : next * S);
    CHECK_EQ(got_anchor, anchor == INT64_MIN ? anchor : anchor * S);
}

static fill
opened(enum query_fill how, bool newest_first, const result_point *p, uint32_t count, bool more)
{
    fill f;

    fill_open(&f, &(fill_spec){ second, how, newest_first, INT64_MIN }, p, count, more);
    return f;
}

static void
nothing_is_made_before_the_first_or_after_the_last(void **state)
{
    const result_point p[] = { at(10, 1), at(13, 4) };
    fill               f = opened(FILL_PREVIOUS, false, p, 2, false);

    (void)state;
    expect(&f, 10, 1, 1);
    expect(&f, 11, 1, 0);
    expect(&f, 12, 1, 0);
    expect(&f, 13, 4, 1);
    expect_end(&f, INT64_MIN, INT64_MIN);
    f = opened(FILL_NONE, false, p, 2, false);
    expect(&f, 10, 1, 1);
    expect(&f, 13, 4, 1);
    expect_end(&f, INT64_MIN, INT64_MIN);
    f = opened(FILL_NULL, false, NULL, 0, false);
    expect_end(&f, INT64_MIN, INT64_MIN);
}

static void
newest_first_is_the_same_backwards(void **state)
{
    const result_point p[] = { at(13, 4), at(10, 1) };
    fill               f = opened(FILL_LINEAR, true, p, 2, false);

    (void)state;
    expect(&f, 13, 4, 1);
    expect(&f, 12, 3, 0);
    expect(&f, 11, 2, 0);
    expect(&f, 10, 1, 1);
    f = opened(FILL_PREVIOUS, true, p, 2, false);
    expect(&f, 13, 4, 1);
    expect(&f, 12, 1, 0);
    f = opened(FILL_NULL, true, p, 2, false);
    expect(&f, 13, 4, 1);
    expect(&f, 12, (double)NAN, 0);
}

static void
the_gap_in_front_of_the_next_page_belongs_to_this_one(void **state)
{
    const result_point p[] = { at(10, 1), at(12, 3) };
    fill               f = opened(FILL_LINEAR, false, p, 1, true);

    (void)state;
    expect(&f, 10, 1, 1);
    expect(&f, 11, 2, 0);
    expect_end(&f, 12, INT64_MIN);
}

static void
a_page_that_ends_in_a_gap_names_its_anchor_and_is_gone_on_with(void **state)
{
    const result_point p[] = { at(0, 0), at(25000, 25000) };
    fill               f = opened(FILL_LINEAR, false, p, 2, false);

    (void)state;
    for (uint32_t page = 0; page < 3; page++) {
        int64_t from = page * FILL_POINTS_MAX;

        if (page > 0)
            fill_open(&f, &(fill_spec){ second, FILL_LINEAR, false, from * S }, p, 2, false);
        for (int64_t s = from; s < from + FILL_POINTS_MAX && s <= 25000; s++)
            expect(&f, s, (double)s, s == 0 || s == 25000);
        if (page < 2)
            expect_end(&f, from + FILL_POINTS_MAX, 0);
        else
            expect_end(&f, INT64_MIN, INT64_MIN);
    }
}

static void
readings_that_came_late_into_what_has_gone_out_are_passed_over(void **state)
{
    const result_point p[] = { at(0, 0), at(5, 50), at(20, 20) };
    fill               f;

    (void)state;
    fill_open(&f, &(fill_spec){ second, FILL_PREVIOUS, false, 10 * S }, p, 3, false);
    expect(&f, 10, 50, 0);
    fill_open(&f, &(fill_spec){ second, FILL_PREVIOUS, false, 10 * S }, p, 1, true);
    expect_end(&f, 10, 5);
}

static void
extremes_do_not_overflow(void **state)
{
    const result_point p[] = { at(0, -1.7e308), at(2, 1.7e308), at(4, (double)NAN) };
    fill               f = opened(FILL_LINEAR, false, p, 3, false);

    (void)state;
    expect(&f, 0, -1.7e308, 1);
    expect(&f, 1, 0, 0);
    expect(&f, 2, 1.7e308, 1);
    expect(&f, 3, (double)NAN, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_made_before_the_first_or_after_the_last),
        TEST(newest_first_is_the_same_backwards),
        TEST(the_gap_in_front_of_the_next_page_belongs_to_this_one),
        TEST(a_page_that_ends_in_a_gap_names_its_anchor_and_is_gone_on_with),
        TEST(readings_that_came_late_into_what_has_gone_out_are_passed_over),
        TEST(extremes_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
