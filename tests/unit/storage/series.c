#include "tests/unit/check.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/heads.h"
#include "storage/series.h"

static series_name
name_of(uint32_t machine, char *text, uint32_t metric, const char *unit)
{
    snprintf(text, 32, "metric-%u", metric);
    return (series_name){ machine, machine % 3, view_str(text), view_str(unit) };
}

static void
each_name_has_one_number_and_keeps_it(void **state)
{
    series_map *m = series_new();
    char        text[32];

    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        series_name n = name_of(1 + i / 10, text, i % 10, "C");

        CHECK_EQ(series_find(m, n.machine, n.metric), 0);
        CHECK_EQ(series_add(m, 0, &n), i + 1);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        series_name n = name_of(1 + i / 10, text, i % 10, "C");

        CHECK_EQ(series_find(m, n.machine, n.metric), i + 1);
        CHECK(view_eq(series_metric(m, i + 1), n.metric));
        CHECK_VIEW(series_unit(m, i + 1), "C");
    }
    CHECK_EQ(series_find(m, 1, view_str("metric-10")), 0);
    CHECK_EQ(series_find(m, 2001, view_str("metric-1")), 0);
    CHECK_EQ(series_count(m), 20000);
    CHECK_EQ(series_of_tenant(m, 0) + series_of_tenant(m, 1) + series_of_tenant(m, 2), 20000);
    CHECK_EQ(series_of_tenant(m, 3), 0);
    series_free(&m);
}

static void
units_that_change_all_the_time_take_no_room(void **state)
{
    series_map *m = series_new();
    char        text[32], unit[32];
    series_name n = name_of(1, text, 1, "C");

    (void)state;
    series_add(m, 0, &n);
    n = name_of(2, text, 1, "C");
    series_add(m, 0, &n);
    for (uint32_t i = 0; i < 100000; i++) {
        snprintf(unit, sizeof unit, "unit-%u", i);
        series_set_unit(m, 1, view_str(unit));
        CHECK_VIEW(series_unit(m, 1), unit);
    }
    CHECK_VIEW(series_unit(m, 2), "C");
    series_set_unit(m, 1, view_str(""));
    CHECK_VIEW(series_unit(m, 1), "");
    CHECK_EQ(series_find(m, 2, view_str("metric-1")), 2);
    series_free(&m);
}

static void
a_reserved_number_is_not_given_again(void **state)
{
    series_map *m = series_new();
    char        text[32];
    series_name n = name_of(1, text, 1, "");

    (void)state;
    CHECK(series_reserve(m, 9000));
    CHECK(!series_reserve(m, SERIES_MAX + 1));
    CHECK_EQ(series_add(m, 0, &n), 9001);
    CHECK_EQ(series_at(m, 4097)->machine, 0);
    series_free(&m);
}

/* Against plain arrays: random appends, drops of the oldest and of the ripest. */
static void
heads_keep_their_rows_and_their_order(void **state)
{
    enum { SERIES = 40, ROWS = 3000 };
    static head_row truth[SERIES + 1][ROWS];
    uint32_t        count[SERIES + 1] = { 0 }, at[SERIES + 1] = { 0 };
    uint64_t        first[SERIES + 1] = { 0 };
    heads          *h = heads_new();
    uint64_t        total = 0, seed = 1;

    (void)state;
    for (uint64_t lsn = 1; lsn < 60000; lsn++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        uint32_t s = 1 + (uint32_t)((seed >> 33) % SERIES);
        if (seed % 3 == 0)
            s = 1; /* a busy one */
        uint32_t drop = lsn % 500 == 0 ? heads_oldest(h) : lsn % 4000 == 1 ? heads_ripest(h) : 0;

        if (drop != 0) {
            const head *d = heads_at(h, drop);
            uint32_t    number = d->series;

            CHECK_EQ(d->count, count[number]);
            CHECK_EQ(memcmp(d->rows, truth[number], d->count * sizeof(head_row)), 0);
            CHECK_EQ(d->first_lsn, first[number]);
            for (uint32_t i = 1; lsn % 500 == 0 && i <= SERIES; i++)
                CHECK(count[i] == 0 || first[i] >= first[number]);
            total -= d->count;
            heads_drop(h, drop);
            count[number] = at[number] = 0;
        }
        if (count[s] == ROWS)
            continue;
        head_row row = { (int64_t)lsn, (double)s };
        first[s] = count[s] == 0 ? lsn : first[s];
        truth[s][count[s]++] = row;
        at[s] = heads_append(h, at[s], s, &row, lsn);
        CHECK_EQ(heads_rows(h), ++total);
    }
    while (heads_oldest(h) != 0) {
        CHECK(heads_count(h) > 0);
        heads_drop(h, heads_oldest(h));
    }
    CHECK_EQ(heads_ripest(h), 0);
    CHECK_EQ(heads_rows(h), 0);
    CHECK_EQ(heads_bytes(h), 0);
    heads_free(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_name_has_one_number_and_keeps_it),
        TEST(units_that_change_all_the_time_take_no_room),
        TEST(a_reserved_number_is_not_given_again),
        TEST(heads_keep_their_rows_and_their_order),
    };

    return cmocka_run_group_tests_name("storage/series", tests, NULL, NULL);
}
