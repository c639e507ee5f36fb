#include "transport/wire.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

enum { CAP = 4096, BIG = 65536, PATIENCE_MS = 20000 };

static const uuid generation = { { 9, 8, 7 } };
static addr       a;
static addr       b;

static uint64_t
now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* One end of a pair of lanes, as an actor has them. */
typedef struct end {
    void *ctx;
    wire *w;
    lane *out;
    lane *in;
    int   out_edge;
    int   in_edge;
} end;

static const char *
lane_file(addr from)
{
    return scratch_file(from == a ? "a-b" : "b-a");
}

static int
set_up(void **state)
{
    (void)state;
    a = addr_of(KIND_FRONT, 0);
    b = addr_of(KIND_INGEST, 3);
    return 0;
}

static void
new_world(uint64_t capacity)
{
    CHECK_OK(wire_slot_create(scratch_dir(), a));
    CHECK_OK(wire_slot_create(scratch_dir(), b));
    CHECK_OK(lane_create(lane_file(a), capacity, a, b, &generation));
    CHECK_OK(lane_create(lane_file(b), capacity, b, a, &generation));
}

static end
open_end(void *ctx, addr self, carrier c, bool same_process)
{
    addr peer = self == a ? b : a;
    end  e = { .ctx = ctx };

    CHECK_OK(wire_open(&e.w, ctx, scratch_dir(), self));
    CHECK_OK(lane_open(&e.out, lane_file(self), LANE_PRODUCER));
    if (c == CARRIER_RING)
        CHECK_OK(lane_open(&e.in, lane_file(peer), LANE_CONSUMER));
    e.out_edge = wire_add_out(e.w, e.out, c, same_process);
    CHECK_OK(e.out_edge);
    e.in_edge = wire_add_in(e.w, &e.in, peer, c, same_process, lane_capacity(e.out));
    CHECK_OK(e.in_edge);
    return e;
}

static void
close_end(end *e)
{
    wire_close(&e->w);
    lane_close(&e->out);
    lane_close(&e->in);
}

/* As a kernel does it: pump, look, say asleep, look again, sleep, awake.  `look` is what it waits
 * for. */
typedef bool looks(end *e);

static bool
has_more(end *e)
{
    return lane_has_more(e->in);
}

static bool
has_room(end *e)
{
    return lane_room(e->out) >= 128;
}

static bool
all_acked(end *e)
{
    return lane_head(e->out) == lane_tail(e->out);
}

static void
wait_until(end *e, looks *look)
{
    uint64_t until = now_ms() + PATIENCE_MS;

    for (;;) {
        (void)wire_pump(e->w);
        if (look(e))
            return;
        wire_sleep(e->w);
        if (!look(e))
            wire_wait(e->w, UINT64_C(5000000000), NULL, NULL, 0);
        wire_awake(e->w);
        if (now_ms() > until)
            fail_msg("nothing came");
    }
}

/* Until the peer has acknowledged all of it. */
static void
settle(end *e)
{
    lane_starve(e->out, true);
    wait_until(e, all_acked);
    lane_starve(e->out, false);
}

static void
say(end *e, uint64_t no)
{
    envelope env = { .len = 8, .corr = no, .type = 1 };

    while (lane_put(e->out, &env, &no) == E_FULL) {
        lane_starve(e->out, true);
        wait_until(e, has_room);
        lane_starve(e->out, false);
    }
    (void)lane_publish(e->out);
    wire_kick(e->w, e->out_edge);
}

/* The next message, acknowledged unless it is to be kept. */
static uint64_t
hear(end *e, bool keep)
{
    envelope    env;
    uint64_t    pos;
    uint64_t    pos_end;
    uint64_t    no;
    int         rc;
    const void *body;

    wait_until(e, has_more);
    body = lane_peek(e->in, &env, &pos, &pos_end, &rc);
    CHECK(body != NULL && env.len == 8);
    memcpy(&no, body, 8);
    CHECK_EQ(no, env.corr);
    lane_advance(e->in, pos_end);
    if (!keep)
        wire_acked(e->w, e->in_edge, lane_ack(e->in, pos_end));
    return no;
}

typedef struct job {
    void    *ctx;
    carrier  c;
    uint64_t count;
    bool     same_process;
} job;

static void
echo(const job *j)
{
    end e = open_end(j->ctx, b, j->c, j->same_process);

    for (uint64_t i = 0; i < j->count; i++) {
        CHECK_EQ(hear(&e, false), i);
        say(&e, i);
    }
    settle(&e);
    CHECK_EQ(wire_count(e.w)->bells_missed, 0);
    close_end(&e);
}

static void *
echo_thread(void *arg)
{
    echo(arg);
    return NULL;
}

static void
ask_all(end *e, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        say(e, i);
        CHECK_EQ(hear(e, false), i);
    }
    CHECK_EQ(wire_count(e->w)->bells_missed, 0);
}

/* Keeps acknowledgements flowing to a peer that waits for its last one. */
static void
linger(end *e, const int *status, pid_t pid)
{
    for (int i = 0; i < 200 && waitpid(pid, (int *)(uintptr_t)status, WNOHANG) == 0; i++) {
        (void)wire_pump(e->w);
        wire_wait(e->w, 50000000, NULL, NULL, 0);
    }
}

static void
threads_talk(carrier c, uint64_t count)
{
    void     *ctx = wire_context();
    job       j = { ctx, c, count, true };
    pthread_t thread;
    end       e;

    new_world(CAP);
    e = open_end(ctx, a, c, true);
    CHECK_EQ(pthread_create(&thread, NULL, echo_thread, &j), 0);
    ask_all(&e, count);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close_end(&e);
    wire_context_close(ctx);
}

/* A child whose check fails dies of it, instead of going on with the parent's tests. */
static pid_t
fork_child(void)
{
    pid_t pid = fork();

    CHECK(pid >= 0);
    if (pid == 0)
        (void)setenv("CMOCKA_TEST_ABORT", "1", 1);
    return pid;
}

static void
processes_talk(carrier c, uint64_t count)
{
    int   status = -1;
    pid_t pid;
    void *ctx;
    end   e;

    new_world(CAP);
    pid = fork_child(); /* before there is any context */
    if (pid == 0) {
        job j = { wire_context(), c, count, false };

        echo(&j);
        wire_context_close(j.ctx);
        _exit(0);
    }
    ctx = wire_context();
    e = open_end(ctx, a, c, false);
    ask_all(&e, count);
    linger(&e, &status, pid);
    CHECK_EQ(status, 0);
    close_end(&e);
    wire_context_close(ctx);
}

static void
threads_wake_each_other_by_notes(void **state)
{
    (void)state;
    threads_talk(CARRIER_RING, 3000);
}

static void
processes_wake_each_other_by_notes(void **state)
{
    (void)state;
    processes_talk(CARRIER_RING, 1000);
}

static void
threads_talk_over_zmq(void **state)
{
    (void)state;
    threads_talk(CARRIER_ZMQ, 3000);
}

static void
processes_talk_over_zmq(void **state)
{
    (void)state;
    processes_talk(CARRIER_ZMQ, 1000);
}

static void *
flood_thread(void *arg)
{
    job *j = arg;
    end  e = open_end(j->ctx, a, j->c, true);

    for (uint64_t i = 0; i < j->count; i++)
        say(&e, i);
    settle(&e);
    CHECK_EQ(wire_count(e.w)->bells_missed, 0);
    close_end(&e);
    return NULL;
}

/* The lane is full most of the time: the producer sleeps until there is room. */
static void
flood(carrier c)
{
    void     *ctx = wire_context();
    job       j = { ctx, c, 30000, true };
    pthread_t thread;
    end       e;

    new_world(CAP);
    e = open_end(ctx, b, c, true);
    CHECK_EQ(pthread_create(&thread, NULL, flood_thread, &j), 0);
    for (uint64_t i = 0; i < j.count; i++)
        CHECK_EQ(hear(&e, false), i);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(wire_count(e.w)->bells_missed, 0);
    close_end(&e);
    wire_context_close(ctx);
}

static void
a_full_lane_wakes_its_producer_when_there_is_room(void **state)
{
    (void)state;
    flood(CARRIER_RING);
}

static void
a_full_zmq_edge_holds_its_producer_back(void **state)
{
    (void)state;
    flood(CARRIER_ZMQ);
}

static void *
poke_thread(void *arg)
{
    (void)usleep(20000);
    wire_poke(arg);
    return NULL;
}

static void
a_poke_wakes_a_waiting_wire(void **state)
{
    void     *ctx = wire_context();
    uint64_t  begun = now_ms();
    pthread_t thread;
    end       e;

    (void)state;
    new_world(CAP);
    e = open_end(ctx, a, CARRIER_RING, true);
    (void)wire_pump(e.w);
    CHECK_EQ(pthread_create(&thread, NULL, poke_thread, e.w), 0);
    while (!wire_pump(e.w))
        wire_wait(e.w, UINT64_C(5000000000), NULL, NULL, 0);
    CHECK(now_ms() - begun < 4000);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close_end(&e);
    wire_context_close(ctx);
}

static void
foreign_descriptors_end_a_wait(void **state)
{
    void *ctx = wire_context();
    int   pipes[2][2];
    bool  ready[2] = { true, true };
    int   fds[2];
    end   e;

    (void)state;
    new_world(CAP);
    e = open_end(ctx, a, CARRIER_RING, true);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(pipe(pipes[i]), 0);
        fds[i] = pipes[i][0];
    }
    CHECK_EQ(write(pipes[1][1], "x", 1), 1);
    while (!ready[1] || ready[0]) /* the first may end at once for the sockets' own start */
        wire_wait(e.w, UINT64_C(5000000000), fds, ready, 2);
    for (int i = 0; i < 2; i++) {
        (void)close(pipes[i][0]);
        (void)close(pipes[i][1]);
    }
    close_end(&e);
    wire_context_close(ctx);
}

/* Everything again from the acknowledged position, nothing twice below it, nothing lost, in order.
 */
static void
successors_go_on(carrier c)
{
    void    *ctx = wire_context();
    uint64_t said = 0;
    uint64_t done = 0;
    end      from;
    end      to;

    new_world(CAP);
    from = open_end(ctx, a, c, true);
    to = open_end(ctx, b, c, true);
    for (int life = 0; life < 60; life++) {
        for (int i = 0; i < 10; i++)
            say(&from, said++);
        if (life % 3 == 1) { /* the producer dies */
            close_end(&from);
            from = open_end(ctx, a, c, true);
        }
        for (int i = 0; i < 10; i++) {
            (void)wire_pump(from.w); /* one thread plays both */
            while (!lane_has_more(to.in)) {
                (void)wire_pump(from.w);
                (void)wire_pump(to.w);
                (void)usleep(200);
            }
            CHECK_EQ(hear(&to, i >= 4 && life % 3 == 2), done + (uint64_t)i);
        }
        done += 10;
        if (life % 3 == 2) { /* the consumer dies with six messages in hand */
            close_end(&to);
            to = open_end(ctx, b, c, true);
            done -= 6;
            for (uint64_t deadline = now_ms() + 5000;
                 !lane_has_more(to.in) && now_ms() < deadline;) {
                wire_kick(from.w, from.out_edge);
                (void)wire_pump(from.w);
                (void)wire_pump(to.w);
            }
            for (int i = 0; i < 6; i++)
                CHECK_EQ(hear(&to, false), done++);
        }
    }
    CHECK_EQ(done, said);
    for (uint64_t deadline = now_ms() + 5000; !all_acked(&from) && now_ms() < deadline;)
        (void)wire_pump(from.w);
    CHECK(all_acked(&from));
    close_end(&from);
    close_end(&to);
    wire_context_close(ctx);
}

static void
a_successor_goes_on_where_a_ring_was(void **state)
{
    (void)state;
    successors_go_on(CARRIER_RING);
}

static void
a_successor_goes_on_where_a_zmq_edge_was(void **state)
{
    (void)state;
    successors_go_on(CARRIER_ZMQ);
}

/* Life after life of a consumer process is killed; its successor hears all that was not
 * acknowledged. */
static void
consume_for_ever(carrier c, int report)
{
    end e = open_end(wire_context(), b, c, false);

    for (;;) {
        uint64_t no = hear(&e, true);

        if (write(report, &no, sizeof no) != (ssize_t)sizeof no)
            _exit(1);
        wire_acked(e.w, e.in_edge, lane_ack(e.in, lane_read_pos(e.in)));
    }
}

static pid_t
spawn_consumer(carrier c, int report)
{
    pid_t pid = fork_child();

    if (pid == 0) {
        consume_for_ever(c, report);
        _exit(0);
    }
    return pid;
}

/* What the lives reported: from 0 on without a gap; a repeat only of the one whose acknowledgement
 * was under way. */
static void
check_reports(int fd, uint64_t count)
{
    uint64_t next = 0;
    uint64_t no;

    while (next < count && read(fd, &no, sizeof no) == (ssize_t)sizeof no) {
        if (no > next)
            fail_msg("%llu is missing", (unsigned long long)next);
        next = no + 1;
    }
    CHECK_EQ(next, count);
}

/* This process forks before it has a context; the producer is a process of its own as well. */
static void
killed_consumers_lose_nothing(carrier c)
{
    enum { COUNT = 4000, LIVES = 12 };
    int   report[2];
    int   status;
    pid_t producer;
    pid_t consumer;

    new_world(BIG);
    CHECK_EQ(pipe(report), 0);
    producer = fork_child();
    if (producer == 0) {
        end e = open_end(wire_context(), a, c, false);

        for (uint64_t i = 0; i < COUNT; i++)
            say(&e, i);
        settle(&e);
        _exit(0);
    }
    for (int life = 0; life < LIVES; life++) {
        consumer = spawn_consumer(c, report[1]);
        (void)usleep(15000 + (useconds_t)life * 1500);
        CHECK_EQ(kill(consumer, SIGKILL), 0);
        CHECK_EQ(waitpid(consumer, &status, 0), consumer);
    }
    consumer = spawn_consumer(c, report[1]);
    check_reports(report[0], COUNT);
    CHECK_EQ(waitpid(producer, &status, 0), producer);
    CHECK_EQ(status, 0);
    CHECK_EQ(kill(consumer, SIGKILL), 0);
    CHECK_EQ(waitpid(consumer, &status, 0), consumer);
    (void)close(report[0]);
    (void)close(report[1]);
}

static void
killed_consumers_of_a_ring_lose_nothing(void **state)
{
    (void)state;
    killed_consumers_lose_nothing(CARRIER_RING);
}

static void
killed_consumers_of_a_zmq_edge_lose_nothing(void **state)
{
    (void)state;
    killed_consumers_lose_nothing(CARRIER_ZMQ);
}

/* The producer is killed over and over; it says the numbers from its lane's tail on. */
static void
killed_producers_lose_nothing(carrier c)
{
    enum { COUNT = 4000, LIVES = 12 };
    int   report[2];
    int   status;
    pid_t consumer;

    new_world(BIG);
    CHECK_EQ(pipe(report), 0);
    consumer = spawn_consumer(c, report[1]);
    for (int life = 0; life <= LIVES; life++) {
        pid_t producer = fork_child();

        if (producer == 0) {
            end e = open_end(wire_context(), a, c, false);

            for (uint64_t i = lane_tail(e.out) / 128; i < COUNT; i++)
                say(&e, i);
            settle(&e);
            _exit(0);
        }
        if (life < LIVES) {
            (void)usleep(10000 + (useconds_t)life * 1500);
            CHECK_EQ(kill(producer, SIGKILL), 0);
        }
        CHECK_EQ(waitpid(producer, &status, 0), producer);
    }
    check_reports(report[0], COUNT);
    CHECK_EQ(kill(consumer, SIGKILL), 0);
    CHECK_EQ(waitpid(consumer, &status, 0), consumer);
    (void)close(report[0]);
    (void)close(report[1]);
}

static void
killed_producers_of_a_ring_lose_nothing(void **state)
{
    (void)state;
    killed_producers_lose_nothing(CARRIER_RING);
}

static void
killed_producers_of_a_zmq_edge_lose_nothing(void **state)
{
    (void)state;
    killed_producers_lose_nothing(CARRIER_ZMQ);
}

/* A loop that polls wire_fds alone, with a long time-out, never stalls. */
static void *
foreign_loop_thread(void *arg)
{
    job          *j = arg;
    end           e = open_end(j->ctx, b, j->c, true);
    struct pollfd p = { .events = POLLIN };
    uint64_t      heard = 0;

    CHECK_EQ(wire_fds(e.w, &p.fd, 1), 1);
    while (heard < j->count) {
        (void)wire_pump(e.w);
        if (lane_has_more(e.in)) {
            CHECK_EQ(hear(&e, false), heard);
            say(&e, heard++);
            continue;
        }
        wire_sleep(e.w);
        if (!lane_has_more(e.in) && poll(&p, 1, 3000) == 0)
            fail_msg("stalled after %llu", (unsigned long long)heard);
        wire_awake(e.w);
    }
    settle(&e);
    close_end(&e);
    return NULL;
}

static void
a_foreign_loop_never_stalls(void **state)
{
    pthread_t thread;

    (void)state;
    for (carrier c = CARRIER_RING; c <= CARRIER_ZMQ; c++) {
        void *ctx = wire_context();
        job   j = { ctx, c, 2000, true };
        end   e;

        new_world(CAP);
        e = open_end(ctx, a, c, true);
        CHECK_EQ(pthread_create(&thread, NULL, foreign_loop_thread, &j), 0);
        ask_all(&e, j.count);
        CHECK_EQ(pthread_join(thread, NULL), 0);
        close_end(&e);
        wire_context_close(ctx);
    }
}

static void
a_publish_without_a_note_is_counted_as_missed(void **state)
{
    void    *ctx = wire_context();
    envelope env = { 0 };
    end      from;
    end      to;

    (void)state;
    new_world(CAP);
    from = open_end(ctx, a, CARRIER_RING, true);
    to = open_end(ctx, b, CARRIER_RING, true);
    for (int i = 0; i < 3; i++) { /* the sockets' own start */
        (void)wire_pump(to.w);
        wire_wait(to.w, 10000000, NULL, NULL, 0);
    }
    (void)wire_pump(to.w);
    wire_sleep(to.w);
    CHECK_OK(lane_put(from.out, &env, NULL));
    CHECK(lane_publish(from.out)); /* and no wire_kick */
    wire_wait(to.w, UINT64_C(1000000000), NULL, NULL, 0);
    wire_awake(to.w);
    CHECK_EQ(wire_count(to.w)->bells_missed, 1);
    close_end(&from);
    close_end(&to);
    wire_context_close(ctx);
}

static void
a_sleeper_is_rung_once(void **state)
{
    void    *ctx = wire_context();
    envelope env = { 0 };
    end      from;
    end      to;

    (void)state;
    new_world(CAP);
    from = open_end(ctx, a, CARRIER_RING, true);
    to = open_end(ctx, b, CARRIER_RING, true);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(lane_put(from.out, &env, NULL));
        CHECK(lane_publish(from.out));
        wire_kick(from.w, from.out_edge); /* awake: no note */
        if (i == 1)
            wire_sleep(to.w);
    }
    CHECK_EQ(wire_count(from.w)->bells_rung, 1);
    wire_awake(to.w);
    close_end(&from);
    close_end(&to);
    wire_context_close(ctx);
}

/* Everything that has to do with its opening has been heard. */
static void
calm(end *e)
{
    for (int i = 0; i < 5; i++) {
        (void)wire_pump(e->w);
        wire_wait(e->w, 10000000, NULL, NULL, 0);
    }
    (void)wire_pump(e->w);
}

/* It sleeps, and is woken by a note. */
static void
check_rung(end *sleeper)
{
    uint64_t before = wire_count(sleeper->w)->bells_heard;

    wire_wait(sleeper->w, UINT64_C(1000000) * PATIENCE_MS, NULL, NULL, 0);
    wire_awake(sleeper->w);
    (void)wire_pump(sleeper->w);
    CHECK_EQ(wire_count(sleeper->w)->bells_heard, before + 1);
}

/* Killed between publish and ring, between acknowledge and ring: tests/weave found both. */
static void
a_successor_rings_for_what_its_predecessor_did_last(void **state)
{
    void    *ctx = wire_context();
    envelope env = { .len = CAP - 64 };
    uint8_t  body[CAP] = { 0 };
    uint64_t pos, pos_end;
    int      rc;
    end      from;
    end      to;

    (void)state;
    new_world(CAP);
    from = open_end(ctx, a, CARRIER_RING, true);
    to = open_end(ctx, b, CARRIER_RING, true);
    calm(&to);
    wire_sleep(to.w);
    CHECK_OK(lane_put(from.out, &env, body));
    CHECK(lane_publish(from.out));
    close_end(&from); /* dies here */
    from = open_end(ctx, a, CARRIER_RING, true);
    check_rung(&to);
    calm(&from);
    lane_starve(from.out, true);
    wire_sleep(from.w);
    CHECK(lane_peek(to.in, &env, &pos, &pos_end, &rc) != NULL);
    lane_advance(to.in, pos_end);
    CHECK(lane_ack(to.in, pos_end));
    close_end(&to); /* dies here */
    to = open_end(ctx, b, CARRIER_RING, true);
    check_rung(&from);
    close_end(&from);
    close_end(&to);
    wire_context_close(ctx);
}

static void
a_path_too_long_for_a_socket_is_refused(void **state)
{
    void *ctx = wire_context();
    char  dir[256];
    wire *w;
    lane *l;

    (void)state;
    (void)snprintf(dir, sizeof dir, "%s/%080d", scratch_dir(), 0);
    CHECK_EQ(mkdir(dir, 0700), 0);
    CHECK_OK(wire_slot_create(dir, a));
    CHECK_OK(wire_slot_create(dir, b));
    CHECK_OK(lane_create(lane_file(a), CAP, a, b, &generation));
    CHECK_OK(lane_open(&l, lane_file(a), LANE_PRODUCER));
    CHECK_OK(wire_open(&w, ctx, dir, a));
    CHECK_OK(wire_add_out(w, l, CARRIER_RING, true)); /* threads need no socket file */
    CHECK_EQ(wire_add_out(w, l, CARRIER_RING, false), E_RANGE);
    wire_close(&w);
    lane_close(&l);
    wire_context_close(ctx);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        /* those that fork come first: a context does not survive it */
        TEST(processes_wake_each_other_by_notes),
        TEST(processes_talk_over_zmq),
        TEST(killed_consumers_of_a_ring_lose_nothing),
        TEST(killed_consumers_of_a_zmq_edge_lose_nothing),
        TEST(killed_producers_of_a_ring_lose_nothing),
        TEST(killed_producers_of_a_zmq_edge_lose_nothing),
        TEST(threads_wake_each_other_by_notes),
        TEST(threads_talk_over_zmq),
        TEST(a_full_lane_wakes_its_producer_when_there_is_room),
        TEST(a_full_zmq_edge_holds_its_producer_back),
        TEST(a_poke_wakes_a_waiting_wire),
        TEST(foreign_descriptors_end_a_wait),
        TEST(a_successor_goes_on_where_a_ring_was),
        TEST(a_successor_goes_on_where_a_zmq_edge_was),
        TEST(a_foreign_loop_never_stalls),
        TEST(a_publish_without_a_note_is_counted_as_missed),
        TEST(a_sleeper_is_rung_once),
        TEST(a_successor_rings_for_what_its_predecessor_did_last),
        TEST(a_path_too_long_for_a_socket_is_refused),
    };

    return cmocka_run_group_tests_name("transport/wire", tests, set_up, NULL);
}
