#include "tests/unit/check.h"

#include "actors/merge.h"

#include <stdlib.h>

static uint64_t seed = 42;

static uint32_t
chance(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static void
of_equal_times_the_head_row_accepted_last_stays(void **state)
{
    head_row rows[] = { { 5, 1 }, { 3, 2 }, { 5, 3 }, { 1, 4 }, { 3, 5 } };
    int64_t  t[5];
    double   v[5];

    (void)state;
    CHECK_EQ(merge_sort_heads(rows, 5, t, v), 3);
    CHECK(t[0] == 1 && t[1] == 3 && t[2] == 5);
    CHECK(v[0] == 4 && v[1] == 5 && v[2] == 3);
    CHECK_EQ(merge_sort_heads(rows, 0, t, v), 0);
}

static void
add_run(merge *m, const int64_t *times, const double *values, uint32_t n, uint64_t lsn)
{
    int64_t *t;
    double  *v;

    CHECK_OK(merge_room(m, &t, &v));
    memcpy(t, times, n * sizeof *t);
    memcpy(v, values, n * sizeof *v);
    merge_add(m, 0, n, lsn);
}

static void
the_last_accepted_of_equal_times_is_taken(void **state)
{
    static const int64_t head_time = 3;
    static const double  head_value = 3;
    merge               *m = NULL;
    const int64_t       *t;
    const double        *v;

    (void)state;
    CHECK_OK(merge_new(&m, 16, 4));
    add_run(m, (int64_t[]){ 1, 2, 3 }, (double[]){ 1, 1, 1 }, 3, 7);
    add_run(m, (int64_t[]){ 2, 3, 4 }, (double[]){ 2, 2, 2 }, 3, 9);
    CHECK_OK(merge_add_borrowed(m, &head_time, &head_value, 1, MERGE_NEWEST));
    CHECK_EQ(merge_take(m, INT64_MAX, &t, &v), 4);
    CHECK(v[0] == 1 && v[1] == 2 && v[2] == 3 && v[3] == 2);
    CHECK_EQ(merge_first(m), INT64_MAX);
    merge_free(&m);
}

static void
too_many_runs_at_one_time_are_refused(void **state)
{
    merge   *m = NULL;
    int64_t *t;
    double  *v;

    (void)state;
    CHECK_OK(merge_new(&m, 16, 2));
    add_run(m, (int64_t[]){ 1 }, (double[]){ 1 }, 1, 1);
    add_run(m, (int64_t[]){ 1 }, (double[]){ 1 }, 1, 2);
    CHECK_EQ(merge_room(m, &t, &v), E_LIMIT);
    merge_reset(m);
    add_run(m, (int64_t[]){ 1 }, (double[]){ 1 }, 1, 1);
    merge_free(&m);
}

enum { TIMES = 4000, RUN = 300, RUNS = 60 };

/* Against a table indexed by time: runs join at their first time, as the chunk cursor gives them. */
static void
any_overlap_gives_what_a_table_by_time_gives(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        static double   want[TIMES];
        static uint64_t by[TIMES];
        static struct { int64_t t[RUN]; double v[RUN]; uint32_t n; uint64_t lsn; } run[RUNS];
        merge   *m = NULL;
        uint32_t runs = 1 + chance(RUNS), next = 0, seen = 0, expected = 0;
        int64_t  last = -1;

        memset(by, 0, sizeof by);
        for (uint32_t i = 0; i < runs; i++) {
            int64_t t = chance(TIMES / 2);
            uint32_t gap = 1 + chance(20);

            run[i].lsn = i + 1;
            run[i].n = 0;
            for (; run[i].n < RUN && t < TIMES; t += 1 + chance(gap)) {
                run[i].t[run[i].n] = t;
                run[i].v[run[i].n++] = chance(1000);
                want[t] = run[i].v[run[i].n - 1];
                by[t] = i + 1;
            }
        }
        for (int i = 0; i < TIMES; i++)
            expected += by[i] != 0;
        for (uint32_t i = 0; i < runs; i++) /* by first time */
            for (uint32_t j = i + 1; j < runs; j++)
                if (run[j].t[0] < run[i].t[0]) {
                    __typeof__(run[0]) swap = run[i];
                    run[i] = run[j];
                    run[j] = swap;
                }
        CHECK_OK(merge_new(&m, RUN, RUNS));
        while (next < runs || merge_first(m) != INT64_MAX) {
            const int64_t *t;
            const double  *v;
            uint32_t       n;

            while (next < runs && run[next].t[0] <= merge_first(m)) {
                add_run(m, run[next].t, run[next].v, run[next].n, run[next].lsn);
                next++;
            }
            n = merge_take(m, next < runs ? run[next].t[0] : INT64_MAX, &t, &v);
            CHECK(n > 0);
            for (uint32_t i = 0; i < n; i++) {
                CHECK(t[i] > last);
                CHECK(v[i] == want[t[i]]);
                last = t[i];
            }
            seen += n;
        }
        CHECK_EQ(seen, expected);
        merge_free(&m);
    }
}

static void
a_large_head_sorts_as_a_table_by_time_does(void **state)
{
    enum { N = 20000 };
    head_row *rows = malloc(N * sizeof *rows);
    int64_t  *t = malloc(N * sizeof *t);
    double   *v = malloc(N * sizeof *v), *want = calloc(N, sizeof *want);
    uint32_t  n;

    (void)state;
    for (int i = 0; i < N; i++) {
        rows[i] = (head_row){ chance(N / 2), i + 1 };
        want[rows[i].time_us] = i + 1;
    }
    n = merge_sort_heads(rows, N, t, v);
    for (uint32_t i = 0; i < n; i++) {
        CHECK(i == 0 || t[i] > t[i - 1]);
        CHECK(v[i] == want[t[i]]);
        want[t[i]] = 0;
    }
    for (int i = 0; i < N; i++)
        CHECK(want[i] == 0);
    free(rows);
    free(t);
    free(v);
    free(want);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(of_equal_times_the_head_row_accepted_last_stays),
        TEST(the_last_accepted_of_equal_times_is_taken),
        TEST(too_many_runs_at_one_time_are_refused),
        TEST(any_overlap_gives_what_a_table_by_time_gives),
        TEST(a_large_head_sorts_as_a_table_by_time_does),
    };

    return cmocka_run_group_tests_name("actors/merge", tests, NULL, NULL);
}
