#include "transport/lane.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { CAP = 4096, CELLS = CAP / 64 };

static const uuid generation = { { 1, 2, 3 } };

static uint8_t pattern[2 * CAP];

static int
set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i * 7 + (i >> 8));
    return 0;
}

static const char *
new_lane(uint64_t capacity)
{
    const char *path = scratch_file("lane");

    CHECK_OK(
        lane_create(path, capacity, addr_of(KIND_FRONT, 0), addr_of(KIND_INGEST, 1), &generation));
    return path;
}

static lane *
open_lane(const char *path, enum lane_role role)
{
    lane *l;

    CHECK_OK(lane_open(&l, path, role));
    return l;
}

/* A record of `cells` cells whose body is the pattern from `seed` on. */
static int
put(lane *l, uint32_t cells, uint32_t seed)
{
    envelope e = { .len = (cells - 1) * 64, .type = 16, .corr = seed };

    return lane_put(l, &e, pattern + seed % 64);
}

/* The next record is the one of put(), whole; it is read and acknowledged. */
static void
take(lane *l, uint32_t cells, uint32_t seed)
{
    envelope    e;
    uint64_t    pos;
    uint64_t    end;
    int         rc;
    const void *body = lane_peek(l, &e, &pos, &end, &rc);

    CHECK(body != NULL);
    CHECK_EQ(e.len, (cells - 1) * 64);
    CHECK_EQ(e.corr, seed);
    CHECK_EQ(end - pos, cells * 64);
    CHECK_EQ((uintptr_t)body % 64, 0);
    CHECK(memcmp(body, pattern + seed % 64, e.len) == 0);
    lane_advance(l, end);
    (void)lane_ack(l, end);
}

static bool
is_empty(lane *l)
{
    envelope e;
    uint64_t pos;
    uint64_t end;
    int      rc;
    bool     none = lane_peek(l, &e, &pos, &end, &rc) == NULL;

    CHECK_EQ(rc, E_OK);
    return none;
}

/* Every head cell, every fill, every length: a record is taken exactly when it fits, and comes out
 * whole; what lay before it comes out whole too.  The oracle is one line: used + need <= CELLS. */
static void
every_head_tail_and_length_of_a_small_ring_is_right(void **state)
{
    lane *l;

    (void)state;
    CHECK_OK(lane_make_private(&l, CAP, 0, 0, 0));
    for (uint32_t head = 0; head < CELLS; head++)
        for (uint32_t used = 0; used <= CELLS; used++)
            for (uint32_t need = 1; need <= CELLS + 2; need++) {
                bool fits = used + need <= CELLS;

                lane_restart(l, (uint64_t)head * 64, 0, &generation);
                if (used > 0)
                    CHECK_EQ(put(l, used, head + 1), E_OK);
                CHECK_EQ(put(l, need, head + used), fits ? E_OK : E_FULL);
                CHECK_EQ(lane_publish(l), used > 0 || fits);
                if (used > 0)
                    take(l, used, head + 1);
                if (fits)
                    take(l, need, head + used);
                CHECK(is_empty(l));
            }
    lane_close(&l);
}

/* The case that cost others years: neither the end nor the start has room for the record. */
static void
no_room_at_either_end_is_full_and_harms_nothing(void **state)
{
    const char *path = new_lane(CAP);
    lane       *out = open_lane(path, LANE_PRODUCER);
    lane       *in = open_lane(path, LANE_CONSUMER);

    (void)state;
    for (uint32_t i = 0; i < CELLS / 4; i++)
        CHECK_EQ(put(out, 4, i), E_OK);
    CHECK(lane_publish(out));
    take(in, 4, 0); /* four cells are free, at the start only */
    CHECK_EQ(put(out, 5, 99), E_FULL);
    CHECK(lane_reserve(out, 5 * 64) == NULL);
    CHECK_EQ(put(out, 4, 100), E_OK);
    CHECK_EQ(put(out, 1, 101), E_FULL);
    CHECK(lane_publish(out));
    for (uint32_t i = 1; i < CELLS / 4; i++)
        take(in, 4, i);
    take(in, 4, 100);
    CHECK(is_empty(in));
    lane_close(&out);
    lane_close(&in);
}

static void
unacked_messages_come_again_after_a_crash(void **state)
{
    const char *path = new_lane(CAP);
    lane       *out = open_lane(path, LANE_PRODUCER);
    lane       *in = open_lane(path, LANE_CONSUMER);
    envelope    e;
    uint64_t    pos;
    uint64_t    end;
    int         rc;

    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        CHECK_EQ(put(out, 2, i), E_OK);
    CHECK(lane_publish(out));
    take(in, 2, 0);
    for (int i = 0; i < 2; i++) {
        CHECK(lane_peek(in, &e, &pos, &end, &rc) != NULL); /* seen, not acknowledged */
        lane_advance(in, end);
    }
    lane_close(&in); /* the consumer dies here */
    in = open_lane(path, LANE_CONSUMER);
    CHECK_EQ(lane_seen_before(in), 6 * 64);
    for (uint32_t i = 1; i < 4; i++)
        take(in, 2, i);
    CHECK(is_empty(in));
    lane_close(&out);
    lane_close(&in);
}

static void
unpublished_records_die_with_their_producer(void **state)
{
    const char *path = new_lane(CAP);
    lane       *out = open_lane(path, LANE_PRODUCER);
    lane       *in = open_lane(path, LANE_CONSUMER);

    (void)state;
    CHECK_EQ(put(out, 2, 1), E_OK);
    CHECK(lane_publish(out));
    CHECK_EQ(put(out, 3, 2), E_OK);
    CHECK_EQ(lane_staged_len(out), 3 * 64);
    lane_close(&out);
    out = open_lane(path, LANE_PRODUCER);
    CHECK_EQ(lane_tail(out), 2 * 64);
    CHECK_EQ(put(out, 1, 3), E_OK);
    lane_unstage(out);
    CHECK(!lane_publish(out));
    CHECK_EQ(put(out, 1, 4), E_OK);
    CHECK(lane_publish(out));
    take(in, 2, 1);
    take(in, 1, 4);
    CHECK(is_empty(in));
    lane_close(&out);
    lane_close(&in);
}

static void
a_rewound_record_is_offered_again(void **state)
{
    lane    *l;
    envelope e;
    uint64_t pos;
    uint64_t end;
    int      rc;

    (void)state;
    CHECK_OK(lane_make_private(&l, CAP, 1, 2, 640));
    CHECK_EQ(put(l, 2, 1), E_OK);
    CHECK(lane_publish(l));
    CHECK(lane_has_more(l));
    CHECK(lane_peek(l, &e, &pos, &end, &rc) != NULL);
    CHECK_EQ(pos, 640);
    lane_advance(l, end);
    CHECK(!lane_has_more(l));
    lane_rewind(l, pos);
    CHECK(lane_has_more(l));
    take(l, 2, 1);
    lane_close(&l);
}

static void
pads_are_skipped(void **state)
{
    lane    *l;
    envelope pad = { .len = 100, .flags = ENV_PAD };
    void    *at;

    (void)state;
    CHECK_OK(lane_make_private(&l, CAP, 1, 2, 0));
    at = lane_reserve(l, 1000);
    CHECK(at != NULL);
    lane_stage(l, &pad);
    CHECK_EQ(put(l, 2, 7), E_OK);
    CHECK(lane_publish(l));
    take(l, 2, 7);
    lane_close(&l);
}

static void
a_waiting_producer_is_told_of_room(void **state)
{
    const char *path = new_lane(CAP);
    lane       *out = open_lane(path, LANE_PRODUCER);
    lane       *in = open_lane(path, LANE_CONSUMER);
    envelope    e;
    uint64_t    pos;
    uint64_t    end;
    int         rc;

    (void)state;
    CHECK_EQ(put(out, CELLS, 1), E_OK);
    CHECK(lane_publish(out));
    CHECK(lane_peek(in, &e, &pos, &end, &rc) != NULL);
    lane_advance(in, end);
    CHECK(!lane_ack(in, pos));
    lane_starve(out, true);
    CHECK_EQ(lane_room(out), 0);
    CHECK(lane_ack(in, end));
    CHECK_EQ(lane_room(out), CAP);
    lane_starve(out, false);
    CHECK(!lane_ack(in, end));
    lane_close(&out);
    lane_close(&in);
}

static void
what_is_no_lane_is_refused(void **state)
{
    const char *path = new_lane(CAP);
    lane       *l;

    (void)state;
    CHECK_EQ(lane_create(path, 5000, 0, 0, &generation), E_RANGE);
    CHECK_EQ(lane_open(&l, scratch_file("none"), LANE_CONSUMER), E_NOTFOUND);
    CHECK_EQ(truncate(path, 3 * 4096 + 64), 0); /* else: a SIGBUS later */
    CHECK_EQ(lane_open(&l, path, LANE_CONSUMER), E_BAD);
    CHECK(l == NULL);
    CHECK_EQ(truncate(path, 10), 0);
    CHECK_EQ(lane_open(&l, path, LANE_WATCHER), E_BAD);
}

static void
the_file_is_its_owners_alone(void **state)
{
    struct stat st;

    (void)state;
    CHECK_EQ(stat(new_lane(CAP), &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    CHECK_EQ(st.st_blocks * 512, 3 * 4096 + CAP); /* all of it is there already */
}

/* A child that writes into its peer's page dies of it. */
static void
a_peers_page_cannot_be_written(void **state)
{
    const char *path = new_lane(CAP);
    lane       *out = open_lane(path, LANE_PRODUCER);
    lane       *in = open_lane(path, LANE_CONSUMER);
    envelope    e;
    uint64_t    pos;
    uint64_t    end;
    int         rc;
    int         status = 0;
    pid_t       pid;

    (void)state;
    CHECK_EQ(put(out, 2, 1), E_OK);
    CHECK(lane_publish(out));
    pid = fork();
    if (pid == 0) {
        uint8_t *body = (uint8_t *)(uintptr_t)lane_peek(in, &e, &pos, &end, &rc);

        (void)signal(SIGSEGV, SIG_DFL);
        body[0] = 1;
        _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
    lane_close(&out);
    lane_close(&in);
}

static uint64_t
next_random(uint64_t *s)
{
    uint64_t z = *s += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The whole file as a hostile producer sees it: its own page and the data. */
static uint8_t *
map_raw(const char *path)
{
    int      fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t *raw = mmap(NULL, 3 * 4096 + CAP, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    CHECK(raw != MAP_FAILED);
    (void)close(fd);
    return raw;
}

/* Reads until nothing comes; sums the bodies so that every byte is touched.  True when it was
 * quarantined. */
static bool
read_all(lane *in, uint64_t *sum)
{
    envelope e;
    uint64_t pos;
    uint64_t end;
    int      rc;

    for (int i = 0; i < CELLS + 1; i++) {
        const uint8_t *body = lane_peek(in, &e, &pos, &end, &rc);

        if (body == NULL)
            return rc == E_BAD;
        for (uint32_t b = 0; b < e.len; b++)
            *sum += body[b];
        lane_advance(in, end);
        (void)lane_ack(in, end);
    }
    fail_msg("more records than the ring has cells");
    return false;
}

static void
a_hostile_producer_stops_its_lane_and_no_more(void **state)
{
    uint64_t seed = 42;
    uint64_t sum = 0;
    int      caught = 0;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        const char *path = new_lane(CAP);
        lane       *out = open_lane(path, LANE_PRODUCER);
        lane       *in = open_lane(path, LANE_CONSUMER);
        uint8_t    *raw = map_raw(path);

        for (uint32_t i = 0; i < 8; i++)
            CHECK_EQ(put(out, 1 + (uint32_t)(next_random(&seed) % 8), i), E_OK);
        CHECK(lane_publish(out));
        for (int i = 0; i < 200; i++)
            raw[3 * 4096 + next_random(&seed) % CAP] = (uint8_t)next_random(&seed);
        if (round % 4 == 0)
            memset(raw + 3 * 4096, (int)(next_random(&seed) & 255), CAP);
        if (round % 2 == 0)
            raw[4096 + next_random(&seed) % 8] = (uint8_t)next_random(&seed); /* tail */
        if (read_all(in, &sum)) {
            caught++;
            CHECK(!lane_has_more(in));
            CHECK(is_empty(in)); /* for ever */
        }
        (void)munmap(raw, 3 * 4096 + CAP);
        lane_close(&out);
        lane_close(&in);
    }
    CHECK(caught > 500);
}

static void
a_lying_consumer_gets_no_room_made(void **state)
{
    const char *path = new_lane(CAP);
    lane       *out = open_lane(path, LANE_PRODUCER);
    uint8_t    *raw = map_raw(path);
    uint64_t    lies[] = { 63, UINT64_MAX, CAP + 64, UINT64_C(1) << 63 };

    (void)state;
    CHECK_EQ(put(out, CELLS, 1), E_OK);
    CHECK(lane_publish(out));
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        memcpy(raw + 2 * 4096, &lies[i], 8);
        CHECK_EQ(lane_room(out), 0);
        CHECK_EQ(put(out, 1, 2), E_FULL);
    }
    (void)munmap(raw, 3 * 4096 + CAP);
    lane_close(&out);
}

static void
received_bytes_are_the_sent_ones_at_the_same_positions(void **state)
{
    const char *path = new_lane(CAP);
    lane       *out = open_lane(path, LANE_PRODUCER);
    lane       *far;

    (void)state;
    CHECK_OK(lane_take_consumer(out));
    CHECK_OK(lane_make_private(&far, CAP, lane_from(out), lane_to(out), 0));
    for (uint32_t i = 0; i < 40; i++) { /* several times round */
        uint64_t at = lane_tail(out);

        CHECK_EQ(put(out, 5 + i, i), E_OK);
        CHECK(lane_publish(out));
        CHECK_EQ(lane_receive(far, at + 64, lane_bytes(out, at, lane_tail(out))), E_BAD);
        CHECK_EQ(lane_receive(far, at, lane_bytes(out, at, lane_tail(out) - 64)), E_BAD);
        CHECK_OK(lane_receive(far, at, lane_bytes(out, at, lane_tail(out))));
        take(far, 5 + i, i);
        CHECK(!lane_confirm(out, lane_tail(out) + 64));
        CHECK(lane_confirm(out, lane_head(far)));
        CHECK_EQ(lane_head(out), lane_tail(out));
    }
    lane_close(&out);
    lane_close(&far);
}

enum { STRESS = 200000 };

static void *
produce(void *arg)
{
    lane    *out = arg;
    uint64_t seed = 7;

    for (uint32_t i = 0; i < STRESS;) {
        uint32_t cells = 1 + (uint32_t)(next_random(&seed) % 9);
        uint64_t before = seed;

        while (put(out, cells, i) == E_FULL) {
            (void)lane_publish(out);
            (void)sched_yield();
        }
        seed = before;
        if (++i % 16 == 0)
            (void)lane_publish(out);
    }
    (void)lane_publish(out);
    return NULL;
}

static void
two_threads_pass_every_record_in_order(void **state)
{
    const char *path = new_lane(CAP);
    lane       *out = open_lane(path, LANE_PRODUCER);
    lane       *in = open_lane(path, LANE_CONSUMER);
    uint64_t    seed = 7;
    pthread_t   thread;

    (void)state;
    CHECK_EQ(pthread_create(&thread, NULL, produce, out), 0);
    for (uint32_t i = 0; i < STRESS; i++) {
        while (!lane_has_more(in))
            (void)sched_yield();
        take(in, 1 + (uint32_t)(next_random(&seed) % 9), i);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(is_empty(in));
    lane_close(&out);
    lane_close(&in);
}

static void
a_watcher_sees_what_waits_and_what_was_just_taken(void **state)
{
    const char *path = new_lane(CAP);
    lane       *p = open_lane(path, LANE_PRODUCER);
    lane       *c = open_lane(path, LANE_CONSUMER);
    lane       *w = open_lane(path, LANE_WATCHER);
    uint64_t    head;
    uint64_t    tail;
    uint64_t    end;
    envelope    e;

    (void)state;
    CHECK_OK(put(p, 2, 1));
    CHECK_OK(put(p, 3, 2));
    CHECK_EQ(lane_look(w, 0, &e, &end), 0); /* staged is not published */
    (void)lane_publish(p);
    CHECK(lane_span(w, &head, &tail));
    CHECK_EQ(head, 0);
    CHECK_EQ(tail, 320);
    CHECK_EQ(lane_look(w, 0, &e, &end), 1);
    CHECK_EQ(end, 128);
    CHECK_EQ(lane_look(w, 128, &e, &end), 1);
    CHECK_EQ(e.corr, 2);
    CHECK_EQ(lane_look(w, end, &e, &end), 0);
    CHECK_EQ(lane_look(w, 384, &e, &end), E_BAD);
    take(c, 2, 1);
    take(c, 3, 2);
    CHECK_EQ(lane_most(w), 320);
    CHECK_EQ(lane_look(w, 128, &e, &end), 1); /* still whole */
    for (uint32_t i = 0; i < CELLS / 2; i++) {
        CHECK_OK(put(p, 2, i));
        (void)lane_publish(p);
        take(c, 2, i);
    }
    CHECK_EQ(lane_look(w, 128, &e, &end), E_GONE);
    CHECK_EQ(lane_most(w), 320);
    lane_close(&w);
    lane_close(&c);
    lane_close(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_watcher_sees_what_waits_and_what_was_just_taken),
        TEST(every_head_tail_and_length_of_a_small_ring_is_right),
        TEST(no_room_at_either_end_is_full_and_harms_nothing),
        TEST(unacked_messages_come_again_after_a_crash),
        TEST(unpublished_records_die_with_their_producer),
        TEST(a_rewound_record_is_offered_again),
        TEST(pads_are_skipped),
        TEST(a_waiting_producer_is_told_of_room),
        TEST(what_is_no_lane_is_refused),
        TEST(the_file_is_its_owners_alone),
        TEST(a_peers_page_cannot_be_written),
        TEST(a_hostile_producer_stops_its_lane_and_no_more),
        TEST(a_lying_consumer_gets_no_room_made),
        TEST(received_bytes_are_the_sent_ones_at_the_same_positions),
        TEST(two_threads_pass_every_record_in_order),
    };

    return cmocka_run_group_tests_name("transport/lane", tests, set_up, NULL);
}
