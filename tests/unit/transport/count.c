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
    for (uint64_t ns = 1; ns < UINT64_C(1) << HIST_POWER_MAX; ns += ns / 2 + 1) {
        counters *w = fresh(true, part++);
        hist      h = { 0 };
        uint64_t  got;

        hist_add(w, HIST_FLUSH, ns);
        hist_read(&h, w, HIST_FLUSH);
        got = hist_quantile_ns(&h, 0.5);
        CHECK(got >= ns && got - ns <= ns / 8);
        CHECK_EQ(hist_below(&h, ns), 1);
        CHECK_EQ(hist_below(&h, ns - ns / 7 - 1), 0);
        CHECK_EQ(h.sum_ns, ns);
        counters_close(&w);
    }
}

static void
quantiles_split_the_readings(void **state)
{
    counters *w = fresh(true, 2);
    hist      h = { 0 };

    (void)state;
    CHECK_EQ(hist_quantile_ns(&h, 0.5), 0);
    for (uint64_t i = 1; i <= 1000; i++)
        hist_add(w, HIST_REQUEST, i * 1000);
    hist_add(w, HIST_REQUEST, UINT64_MAX / 2); /* the last bucket has room for it */
    hist_read(&h, w, HIST_REQUEST);
    CHECK_EQ(h.count, 1001);
    CHECK(hist_quantile_ns(&h, 0.5) >= 500000);
    CHECK(hist_quantile_ns(&h, 0.5) <= 563000);
    CHECK_EQ(hist_quantile_ns(&h, 1), (UINT64_C(1) << HIST_POWER_MAX) - 1);
    CHECK_EQ(hist_below(&h, UINT64_MAX), 1001);
    CHECK_EQ(hist_below(&h, (UINT64_C(1) << 20) - 1), 1000);
    counters_close(&w);
}

static void
what_came_since_is_the_difference(void **state)
{
    counters *w = fresh(true, 5);
    hist      before = { 0 };
    hist      now = { 0 };

    (void)state;
    hist_add(w, HIST_FLUSH, 100);
    hist_add(w, HIST_FLUSH, 1000000);
    hist_read(&before, w, HIST_FLUSH);
    hist_add(w, HIST_FLUSH, 100);
    hist_read(&now, w, HIST_FLUSH);
    hist_less(&now, &before);
    CHECK_EQ(now.count, 1);
    CHECK_EQ(now.sum_ns, 100);
    CHECK_EQ(hist_below(&now, 127), 1);
    counters_close(&w);
}

static void
each_type_of_message_has_its_own(void **state)
{
    counters *w = fresh(true, 6);
    uint32_t  seven = count_type_place(w, 7);
    uint32_t  nine = count_type_place(w, 9);
    hist      h = { 0 };
    uint16_t  type;

    (void)state;
    CHECK(seven != nine && seven != 0 && nine != 0);
    hist_add_type(w, HIST_QUEUEING, seven, 1000, 1);
    hist_add_type(w, HIST_HANDLING, nine, 5, 1);
    counters_close(&w);
    w = fresh(true, 6); /* its successor */
    CHECK_EQ(count_type_place(w, 9), nine);
    hist_add_type(w, HIST_QUEUEING, nine, 3000, 1);
    CHECK(count_type_at(w, seven, &type) && type == 7);
    hist_read_type(&h, w, HIST_QUEUEING, seven);
    CHECK(h.count == 1 && h.sum_ns == 1000);
    hist_read_type(&h, w, HIST_QUEUEING, nine);
    CHECK(h.count == 2 && h.sum_ns == 4000);
    h = (hist){ 0 };
    hist_read(&h, w, HIST_QUEUEING);
    CHECK(h.count == 2 && h.sum_ns == 4000);
    counters_close(&w);
}

static void
types_beyond_the_fifteenth_share_a_place(void **state)
{
    counters *w = fresh(true, 7);
    uint16_t  type = 1;

    (void)state;
    CHECK(!count_type_at(w, 0, &type));
    for (uint16_t i = 1; i < COUNT_TYPES; i++)
        CHECK(count_type_place(w, i) != 0);
    CHECK_EQ(count_type_place(w, 40), 0);
    CHECK_EQ(count_type_place(w, 41), 0);
    CHECK(count_type_at(w, 0, &type) && type == 0);
    counters_close(&w);
}

static void
an_edge_counts_what_it_refused_and_dropped(void **state)
{
    counters  *w = fresh(true, 8);
    count_edge e;

    (void)state;
    CHECK(!count_edge_to(w, addr_of(KIND_ALERT, 0), &e));
    count_edge_open(w, 0, addr_of(KIND_FRONT, 0));
    count_edge_open(w, 1, addr_of(KIND_ALERT, 0));
    count_edge_full(w, 0);
    count_edge_shed(w, 1);
    count_edge_shed(w, 1);
    count_edge_shed(w, COUNT_EDGES); /* beyond: in the actor's sum only */
    count_edge_open(w, 1, addr_of(KIND_ALERT, 0)); /* its successor counts on */
    CHECK(count_edge_to(w, addr_of(KIND_ALERT, 0), &e) && e.shed == 2 && e.full == 0);
    CHECK(count_edge_to(w, addr_of(KIND_FRONT, 0), &e) && e.shed == 0 && e.full == 1);
    count_edge_open(w, 1, addr_of(KIND_QUERY, 0));
    CHECK(count_edge_to(w, addr_of(KIND_QUERY, 0), &e) && e.shed == 0);
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
        TEST(counters_of_somebody_else_are_refused),      TEST(what_came_since_is_the_difference),
        TEST(each_type_of_message_has_its_own),           TEST(types_beyond_the_fifteenth_share_a_place),
        TEST(an_edge_counts_what_it_refused_and_dropped),
    };

    return cmocka_run_group_tests_name("transport/count", tests, NULL, NULL);
}
