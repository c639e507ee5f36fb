/* Rows that are kept are the rows that were given, and what is said of any run of them is true. */
#include "tests/unit/check.h"

#include <math.h>
#include <stdlib.h>

#include "storage/columns.h"
#include "storage/days.h"
#include "storage/rollup.h"

enum { ROWS = 3000, RUNS = 300 };

static uint64_t seed = 88172645463325252ull;
static int64_t  times[ROWS], got_times[ROWS];
static double   values[ROWS], got_values[ROWS];
static head_row rows[ROWS];

static uint64_t
next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static void
make_times(int64_t step_us, int64_t jitter_us, int64_t unit_us)
{
    for (uint32_t i = 0; i < ROWS; i++) {
        int64_t off = jitter_us > 0 ? (int64_t)(next_random() % (uint64_t)jitter_us) / unit_us * unit_us : 0;

        times[i] = 1775260800000000 + i * step_us + off;
    }
}

static void
make_decimals(double power, int64_t step)
{
    int64_t n = 0;

    for (uint32_t i = 0; i < ROWS; i++) {
        n += (int64_t)(next_random() % (uint64_t)(2 * step + 1)) - step;
        values[i] = (double)n / power;
    }
}

static void
check_runs(const columns *c, bool with_spread)
{
    CHECK(columns_sum_up(c, with_spread));
    for (uint32_t n = 0; n < RUNS; n++) {
        uint32_t      from = (uint32_t)(next_random() % ROWS), to = from + 1 + (uint32_t)(next_random() % (ROWS - from));
        chunk_summary is = columns_sum(c, from, to, with_spread), ought = rollup_sum(rows + from, to - from, with_spread);
        double        all = 0;

        for (uint32_t i = from; i < to; i++)
            all += fabs(values[i]);
        CHECK_EQ(is.count, ought.count);
        CHECK_EQ(is.first_us, ought.first_us);
        CHECK_EQ(is.last_us, ought.last_us);
        CHECK_EQ(memcmp(&is.first, &ought.first, 4 * sizeof(double)), 0); /* first, last, min, max */
        CHECK(fabs(is.sum - ought.sum) <= 4 * 0x1p-53 * all);
        CHECK(!with_spread || fabs(is.m2 - ought.m2) <= 1e-9 * (1 + ought.m2));
    }
}

static columns *
check_rows(int decimals)
{
    columns *c = columns_new(times, values, ROWS, decimals);

    for (uint32_t i = 0; i < ROWS; i++)
        rows[i] = (head_row){ times[i], values[i] };
    CHECK_EQ(columns_count(c), ROWS);
    for (uint32_t n = 0; n < RUNS; n++) {
        uint32_t from = (uint32_t)(next_random() % ROWS), to = from + (uint32_t)(next_random() % (ROWS - from + 1));

        columns_rows(c, from, to, got_times, got_values);
        CHECK_EQ(memcmp(got_times, times + from, (to - from) * sizeof *times), 0);
        CHECK_EQ(memcmp(got_values, values + from, (to - from) * sizeof *values), 0);
        for (int64_t off = -1; off <= 1; off++) {
            uint32_t at = columns_at(c, times[from] + off);

            CHECK(at == ROWS || times[at] >= times[from] + off);
            CHECK(at == 0 || times[at - 1] < times[from] + off);
        }
    }
    return c;
}

static void
rows_and_runs_are_what_was_given(void **state)
{
    static const struct {
        int64_t step_us, jitter_us, unit_us;
    } rhythms[] = { { 10000000, 0, 1 }, { 10000000, 9000000, 1000000 }, { 1000000, 900000, 1000 }, { 40, 39, 1 },
                    { 9000000000, 8999999999, 1 } };
    static const struct {
        int     decimals;
        double  power;
        int64_t step;
        bool    narrow;
    } walks[] = { { 2, 100, 5, true }, { 0, 1, 3, true }, { 3, 1e3, 100000, false }, { 6, 1e6, 300000, false } };

    (void)state;
    for (size_t r = 0; r < COUNT_OF(rhythms); r++)
        for (size_t w = 0; w < COUNT_OF(walks); w++) {
            columns *c;

            make_times(rhythms[r].step_us, rhythms[r].jitter_us, rhythms[r].unit_us);
            make_decimals(walks[w].power, walks[w].step);
            c = check_rows(walks[w].decimals);
            check_runs(c, false);
            CHECK_EQ(columns_sum_up(c, true), walks[w].narrow);
            if (walks[w].narrow)
                check_runs(c, true);
            columns_free(&c);
        }
}

static void
the_full_width_of_two_and_four_bytes_holds(void **state)
{
    static const int64_t spans[] = { 65534, 65535, 4294967294, 4294967295 };

    (void)state;
    make_times(1000000, 0, 1);
    for (size_t i = 0; i < COUNT_OF(spans); i++) {
        columns *c;

        for (uint32_t n = 0; n < ROWS; n++)
            values[n] = (double)(-7 + (n % 3 == 0 ? 0 : n % 3 == 1 ? spans[i] : (int64_t)(next_random() % 65000)));
        c = check_rows(0);
        CHECK_EQ(columns_sum_up(c, false), i < 3);
        if (i < 3)
            check_runs(c, i == 0);
        columns_free(&c);
    }
}

static void
what_is_no_decimal_stays_as_it_is(void **state)
{
    static const double odd[] = { -0.0, 0.1, 1e300, -1e-300, 5e-324, 3 };
    columns            *c;

    (void)state;
    make_times(1000000, 0, 1);
    for (uint32_t n = 0; n < ROWS; n++)
        values[n] = odd[n % COUNT_OF(odd)];
    for (int decimals = -1; decimals < 3; decimals++) {
        c = check_rows(decimals);
        CHECK(!columns_sum_up(c, false));
        columns_free(&c);
    }
}

/* ---- days ---- */

static day_chunk *
add_day(days *d, uint32_t number, uint64_t version, uint64_t lsn)
{
    rollup    r = { .whole = { .lsn = lsn, .count = ROWS, .first_us = 5 }, .hours = 2 };
    kept_day *of = day_new(number, 20000, version);

    day_add(of, &r);
    return days_add(d, &of)->chunk;
}

static void
a_day_of_another_version_is_not_found_but_gives_its_columns(void **state)
{
    days      *d = days_new(1 << 20);
    columns   *c, *kept;
    day_chunk *chunk;

    (void)state;
    make_times(1000000, 0, 1);
    make_decimals(100, 5);
    c = kept = columns_new(times, values, ROWS, 2);
    chunk = add_day(d, 7, 100, 1);
    days_set_columns(d, days_find(d, 7, 20000, 100), chunk, &c);
    CHECK(days_find(d, 7, 20000, 100) != NULL);
    CHECK(days_find(d, 7, 20000, 101) == NULL);
    CHECK(days_find(d, 7, 20001, 100) == NULL);
    CHECK(days_find(d, 8, 20000, 100) == NULL);
    CHECK(add_day(d, 7, 101, 1)->columns == kept); /* the same chunk */
    CHECK(days_find(d, 7, 20000, 100) == NULL);
    CHECK(add_day(d, 7, 102, 2)->columns == NULL); /* a merged one */
    days_free(&d);
}

static void
what_is_used_least_goes_first(void **state)
{
    days     *d = days_new(8 << 10);
    uint32_t  there = 0;

    (void)state;
    for (uint32_t n = 1; n <= 1000; n++) {
        add_day(d, n, 1, 1);
        CHECK(days_find(d, 1, 20000, 1) != NULL); /* used each time */
    }
    for (uint32_t n = 1; n <= 1000; n++)
        there += days_find(d, n, 20000, 1) != NULL;
    CHECK(there > 5);
    CHECK(there < 100);
    CHECK(days_find(d, 1000, 20000, 1) != NULL);
    days_free(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_runs_are_what_was_given),
        cmocka_unit_test(the_full_width_of_two_and_four_bytes_holds),
        cmocka_unit_test(what_is_no_decimal_stays_as_it_is),
        cmocka_unit_test(a_day_of_another_version_is_not_found_but_gives_its_columns),
        cmocka_unit_test(what_is_used_least_goes_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
