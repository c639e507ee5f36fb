/* The trail of an actor: a ring that readers may look at while it is written. */
#include "transport/trail.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { RECORDS = 16 };

static trail *
fresh(bool writer, uint16_t part)
{
    trail *t;

    CHECK_OK(trail_create(scratch_dir(), addr_of(KIND_QUERY, part), RECORDS));
    CHECK_OK(trail_open(&t, scratch_dir(), addr_of(KIND_QUERY, part), writer));
    return t;
}

static void
a_step_is_seen_before_it_is_done(void **state)
{
    trail     *w = fresh(true, 0);
    trail     *r = fresh(false, 0);
    trail_step s = { .trace = 5, .from = addr_of(KIND_FRONT, 1), .sent_ns = 10, .at_ns = 20, .len = 99, .type = 17 };
    trail_step got;
    uint64_t   n = trail_add(w, &s);

    (void)state;
    CHECK_EQ(trail_next(r), n + 1);
    CHECK(trail_read(r, n, &got));
    CHECK(got.trace == 5 && got.from == s.from && got.sent_ns == 10 && got.at_ns == 20 && got.done_ns == 0);
    CHECK(got.len == 99 && got.type == 17 && got.flags == 0);
    trail_done(w, n, 30, TRAIL_COMMITS);
    trail_flushed(w, n, n + 1, 40);
    CHECK(trail_read(r, n, &got) && got.done_ns == 30 && got.flushed_ns == 40 && got.flags == TRAIL_COMMITS);
    trail_close(&w);
    trail_close(&r);
}

static void
the_oldest_make_room_and_successors_go_on(void **state)
{
    trail     *w = fresh(true, 1);
    trail_step got;

    (void)state;
    for (uint64_t i = 0; i < RECORDS + 3; i++)
        (void)trail_add(w, &(trail_step){ .trace = i + 1 });
    trail_close(&w);
    w = fresh(true, 1);
    CHECK_EQ(trail_next(w), RECORDS + 3);
    CHECK_EQ(trail_first(w), 3);
    CHECK(!trail_read(w, 2, &got));
    CHECK(trail_read(w, 3, &got) && got.trace == 4);
    trail_done(w, 2, 7, 0); /* written over meanwhile: nobody else's is touched */
    CHECK(trail_read(w, 2 + RECORDS, &got) && got.done_ns == 0);
    trail_flushed(w, 0, RECORDS + 3, 9); /* none of them takes part in a commit */
    CHECK(trail_read(w, 5, &got) && got.flushed_ns == 0);
    trail_close(&w);
}

typedef struct race {
    trail      *w;
    atomic_bool stop;
} race;

static void *
write_on(void *arg)
{
    race *r = arg;

    for (uint64_t i = 1; !atomic_load(&r->stop); i++)
        (void)trail_add(r->w, &(trail_step){ .trace = i, .from = i, .sent_ns = i, .at_ns = i, .len = (uint32_t)i });
    return NULL;
}

static void
what_a_reader_gets_was_never_half_written(void **state)
{
    race       r = { .w = fresh(true, 2) };
    trail     *reader = fresh(false, 2);
    pthread_t  thread;
    trail_step s;
    uint32_t   good = 0;

    (void)state;
    CHECK_EQ(pthread_create(&thread, NULL, write_on, &r), 0);
    for (uint32_t tries = 0; good < 20000 && tries < 50000000; tries++) {
        uint64_t n = trail_first(reader) + tries % RECORDS;

        if (!trail_read(reader, n, &s))
            continue;
        good++;
        CHECK(s.trace == n + 1 && s.from == n + 1 && s.sent_ns == n + 1 && s.at_ns == n + 1 &&
              s.len == (uint32_t)(n + 1));
    }
    atomic_store(&r.stop, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(good > 0);
    trail_close(&r.w);
    trail_close(&reader);
}

static void
a_request_of_any_name_has_a_trace(void **state)
{
    (void)state;
    CHECK_EQ(trail_id(VIEW_LIT("00000000deadbeef")), 0xdeadbeef);
    CHECK_EQ(trail_id(VIEW_LIT("0000000000000000")), 1);
    CHECK(trail_id(VIEW_LIT("00000000DEADBEEF")) != 0xdeadbeef);
    CHECK(trail_id(VIEW_LIT("order 7")) != trail_id(VIEW_LIT("order 8")));
    CHECK(trail_id(VIEW_LIT("")) != 0);
}

static void
what_is_no_trail_is_refused(void **state)
{
    trail   *t = fresh(true, 3);
    uint32_t huge = 1u << 30;
    int      fd;

    (void)state;
    trail_close(&t);
    fd = open(scratch_file("trail.query.3"), O_RDWR);
    CHECK(fd >= 0 && pwrite(fd, &huge, sizeof huge, 12) == (ssize_t)sizeof huge);
    CHECK_EQ(trail_open(&t, scratch_dir(), addr_of(KIND_QUERY, 3), false), E_BAD);
    CHECK_EQ(ftruncate(fd, 100), 0);
    CHECK_EQ(trail_open(&t, scratch_dir(), addr_of(KIND_QUERY, 3), false), E_BAD);
    CHECK_EQ(close(fd), 0);
    t = fresh(true, 3); /* made anew */
    trail_close(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_step_is_seen_before_it_is_done),          TEST(the_oldest_make_room_and_successors_go_on),
        TEST(what_a_reader_gets_was_never_half_written), TEST(a_request_of_any_name_has_a_trace),
        TEST(what_is_no_trail_is_refused),
    };

    return cmocka_run_group_tests_name("transport/trail", tests, NULL, NULL);
}
