/* The log of distinct faults. */
#include "transport/faults.h"
#include "proto/err.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

static faults *
opened(const char *name, bool writer)
{
    faults *f;

    CHECK_OK(faults_open(&f, scratch_dir(), name, writer));
    return f;
}

static fault
fault_of(const char *event, const char *place, const char *actor, int64_t at)
{
    fault f = { .first_us = at };

    (void)snprintf(f.event, sizeof f.event, "%s", event);
    (void)snprintf(f.place, sizeof f.place, "%s", place);
    (void)snprintf(f.actor, sizeof f.actor, "%s", actor);
    (void)snprintf(f.text, sizeof f.text, "at=%d", (int)at);
    return f;
}

static void
the_same_again_is_counted(void **state)
{
    faults *w = opened("a", true);
    faults *r = opened("a", false);
    fault   first = fault_of("disk.full", "a.c:1", "ingest.0", 100);
    fault   later = fault_of("disk.full", "a.c:1", "ingest.0", 300);
    fault   other = fault_of("disk.full", "a.c:1", "ingest.1", 200);
    fault   got;

    (void)state;
    CHECK_EQ(faults_count(r), 0);
    faults_note(w, &first);
    faults_note(w, &other);
    faults_close(&w);
    w = opened("a", true); /* the next life of that process */
    faults_note(w, &later);
    CHECK_EQ(faults_count(r), 2);
    CHECK(faults_read(r, 0, &got));
    CHECK(got.count == 2 && got.first_us == 100 && got.last_us == 300);
    CHECK(strcmp(got.text, "at=100") == 0 && strcmp(got.event, "disk.full") == 0);
    CHECK(faults_read(r, 1, &got) && got.count == 1 && strcmp(got.actor, "ingest.1") == 0);
    faults_close(&w);
    faults_close(&r);
}

static void
tally(void *ctx, const char *name, const fault *f)
{
    uint64_t *sum = ctx;

    CHECK(strcmp(name, "a") == 0 && f->count > 0);
    *sum += f->count;
}

static void
all_of_a_directory_are_found(void **state)
{
    uint64_t sum = 0;
    int      fd = open(scratch_file("faults.torn"), O_RDWR | O_CREAT, 0600);

    (void)state;
    CHECK(fd >= 0 && close(fd) == 0);
    faults_each(scratch_dir(), tally, &sum);
    CHECK_EQ(sum, 3);
}

static void
a_flood_of_different_ones_is_bounded(void **state)
{
    faults *w = opened("b", true);
    char    place[FAULT_PLACE_MAX];
    fault   f;

    (void)state;
    for (int i = 0; i < FAULTS_ROWS + 10; i++) {
        (void)snprintf(place, sizeof place, "b.c:%d", i);
        f = fault_of("x", place, "", i);
        faults_note(w, &f);
    }
    CHECK_EQ(faults_count(w), FAULTS_ROWS);
    CHECK_EQ(faults_lost(w), 10);
    CHECK(!faults_read(w, FAULTS_ROWS, &f));
    faults_close(&w);
}

static void *
note_many(void *w)
{
    fault f = fault_of("y", "c.c:1", "front.0", 1);

    for (int i = 0; i < 5000; i++)
        faults_note(w, &f);
    return NULL;
}

static void
threads_may_note_at_once(void **state)
{
    faults   *w = opened("c", true);
    pthread_t thread[4];
    fault     f;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(thread); i++)
        CHECK_EQ(pthread_create(&thread[i], NULL, note_many, w), 0);
    for (size_t i = 0; i < COUNT_OF(thread); i++)
        CHECK_EQ(pthread_join(thread[i], NULL), 0);
    CHECK_EQ(faults_count(w), 1);
    CHECK(faults_read(w, 0, &f) && f.count == 20000);
    faults_close(&w);
}

static void
what_is_none_is_refused_and_made_anew_by_a_writer(void **state)
{
    faults *f = opened("d", true);
    int     fd;

    (void)state;
    faults_close(&f);
    fd = open(scratch_file("faults.d"), O_RDWR);
    CHECK(fd >= 0 && pwrite(fd, "?", 1, 0) == 1);
    CHECK_EQ(close(fd), 0);
    CHECK_EQ(faults_open(&f, scratch_dir(), "d", false), E_BAD);
    CHECK_EQ(faults_open(&f, scratch_dir(), "e", false), E_NOTFOUND);
    f = opened("d", true);
    faults_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_again_is_counted),
        TEST(all_of_a_directory_are_found),
        TEST(a_flood_of_different_ones_is_bounded),
        TEST(threads_may_note_at_once),
        TEST(what_is_none_is_refused_and_made_anew_by_a_writer),
    };

    return cmocka_run_group_tests_name("transport/faults", tests, NULL, NULL);
}
