/* kill -9 at random instants: a producer and a consumer as processes, the consumer with a commit that ends
 * later, in a helper thread.  Its "disk" is shared memory with one commit word: a batch of numbers and the
 * watermark are there together or not at all.
 *
 * Claims: every number is on the disk once, whatever was killed when; every ask is answered once.
 */
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include "actors/ak_internal.h"
#include "proto/crypto.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILLS = 50, KILLS_MOST = 10 * KILLS, NUMBERS_MAX = 400000, BATCH_MAX = 512, LANE_BYTES = 65536, PATIENCE_MS = 60000 };

static const addr producer0 = (uint64_t)KIND_FRONT << 32;
static const addr consumer0 = (uint64_t)KIND_INGEST << 32;

typedef struct disk {
    _Atomic uint64_t commit; /* watermark:44 length:20 in one word */
    _Atomic uint32_t enough; /* the producer may come to its end */
    _Atomic uint32_t asked;
    _Atomic uint32_t answered;
    _Atomic uint32_t again; /* deliveries with AK_AGAIN */
    uint32_t         number[NUMBERS_MAX];
} disk;

static disk *shared;
static rundir run;

static uint64_t
disk_mark(void)
{
    return atomic_load(&shared->commit) >> 20;
}

static uint32_t
disk_len(void)
{
    return (uint32_t)(atomic_load(&shared->commit) & ((1u << 20) - 1));
}

/* ---- consumer ---- */

typedef struct batch {
    uint32_t count;
    uint32_t asks;
    uint32_t number[BATCH_MAX];
    ak_msg   ask[BATCH_MAX];
    uint64_t mark;
} batch;

typedef struct consumer {
    batch    two[2];
    uint32_t gathers; /* which of the two */
} consumer;

static ak_verdict
on_number(ak *k, void *self, const ak_msg *m)
{
    consumer *c = self;
    batch    *b = &c->two[c->gathers];

    (void)k;
    if (b->asks == BATCH_MAX)
        return AK_WAIT;
    if ((m->flags & AK_AGAIN) != 0)
        atomic_fetch_add(&shared->again, 1);
    if (m->pos >= disk_mark() && m->pos >= c->two[c->gathers ^ 1].mark) {
        b->number[b->count++] = load_u32(m->body);
        b->mark = m->pos_end;
    }
    b->ask[b->asks] = *m;
    b->ask[b->asks++].body = NULL;
    return AK_DONE;
}

static void
write_batch(void *job)
{
    batch   *b = job;
    uint32_t len = disk_len();

    (void)usleep(300);
    if (b->count == 0)
        return;
    memcpy(&shared->number[len], b->number, b->count * sizeof b->number[0]);
    atomic_store(&shared->commit, b->mark << 20 | (len + b->count));
}

static void
batch_written(ak *k, void *self, void *job)
{
    consumer *c = self;
    batch    *b = job;

    (void)c;
    for (uint32_t i = 0; i < b->asks; i++)
        ak_reply(k, &b->ask[i], MSG_STORED, (const uint8_t[16]){ 0 }, 16);
    b->count = b->asks = 0;
    ak_flushed(k, E_OK);
}

static int
flush(ak *k, void *self)
{
    consumer *c = self;
    batch    *b = &c->two[c->gathers];
    int       rc = ak_help(k, write_batch, batch_written, b);

    c->gathers ^= 1;
    return rc < 0 ? rc : AK_PENDING;
}

static const ak_on   consumer_on[] = { { MSG_READINGS, 0, on_number }, { 0, 0, NULL } };
static const ak_kind consumer_kind = { .name = "ingest",
                                       .number = KIND_INGEST,
                                       .helpers = 1,
                                       .self_size = sizeof(consumer),
                                       .on = consumer_on,
                                       .flush = flush };

/* ---- producer ---- */

typedef struct producer {
    uint32_t asked;
    uint32_t answered;
    uint8_t  answers[NUMBERS_MAX];
} producer;

static ak_verdict
on_stored(ak *k, void *self, const ak_msg *m)
{
    producer *p = self;
    uintptr_t number = (uintptr_t)m->ctx;

    (void)k;
    if (m->type != MSG_STORED || ++p->answers[number] != 1)
        _exit(9); /* late, or answered twice */
    p->answered++;
    atomic_store(&shared->answered, p->answered);
    return AK_DONE;
}

static const ak_on   producer_on[] = { { MSG_STORED, 0, on_stored },
                                       { MSG_LATE, 0, on_stored },
                                       { MSG_FAIL, 0, on_stored },
                                       { 0, 0, NULL } };
static const ak_kind producer_kind = { .name = "front",
                                       .number = KIND_FRONT,
                                       .self_size = sizeof(producer),
                                       .on = producer_on };

static bool
ask_next(ak *k, producer *p)
{
    uint8_t body[32] = { 0 };

    memcpy(body, &p->asked, sizeof p->asked);
    if (p->asked == NUMBERS_MAX || ak_ask(k, consumer0, MSG_READINGS, body, sizeof body,
                                          60000000000ull, (void *)(uintptr_t)p->asked) == 0)
        return false;
    p->asked++;
    return true;
}

static void
produce(ak_host *host)
{
    ak       *k;
    producer *p;
    uint32_t  slow = 0;

    if (ak_open(&k, &producer_kind, 0, host) < 0)
        _exit(8);
    p = k->self;
    while (atomic_load(&shared->enough) == 0 || p->answered < p->asked) {
        /* 16 at a time, then a breath: the disk is finite, and 50 kills take a while. */
        for (int i = 0; i < 16 && atomic_load(&shared->enough) == 0; i++)
            if (!ask_next(k, p))
                break;
        (void)ak_step(k, 1024);
        if (++slow % 2 == 0)
            (void)usleep(200);
    }
    atomic_store(&shared->asked, p->asked);
    _exit(0);
}

/* ---- processes ---- */

static void
new_life(addr who)
{
    seat *s;

    CHECK_OK(seat_open(&s, run.path, who, true));
    atomic_store(&s->epoch, atomic_load(&s->epoch) + 1);
    seat_close(&s);
}

static pid_t
spawn(bool producing)
{
    ak_host host = { .run = &run };
    pid_t   pid;
    ak     *k;

    new_life(producing ? producer0 : consumer0);
    pid = fork();
    if (pid != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    host.zmq = wire_context();
    if (producing)
        produce(&host);
    if (ak_open(&k, &consumer_kind, 0, &host) < 0 || ak_run(k) < 0)
        _exit(7);
    _exit(0);
}

static void
kill_and_reap(pid_t pid)
{
    int status;

    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status)); /* not dead of something else before */
}

static int
wait_end(pid_t pid)
{
    int status;

    for (uint32_t ms = 0; ms < PATIENCE_MS; ms++) {
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        (void)usleep(1000);
    }
    kill_and_reap(pid);
    return -1;
}

static void
make_run(carrier c)
{
    const edge_plan there = { producer0, consumer0, c, EDGE_WAIT, LANE_BYTES };
    const edge_plan back = { consumer0, producer0, c, EDGE_REPLY, LANE_BYTES };

    memset(&run, 0, sizeof run);
    run.plan.edge[0] = there;
    run.plan.edge[1] = back;
    run.plan.edges = 2;
    run.plan.slot[0] = (slot_plan){ .who = producer0, .group = 1, .core = -1 };
    run.plan.slot[1] = (slot_plan){ .who = consumer0, .group = 2, .core = -1 };
    run.plan.slots = 2;
    run.plan.parts[KIND_FRONT] = run.plan.parts[KIND_INGEST] = 1;
    run.listen_fd = -1;
    (void)snprintf(run.path, sizeof run.path, "%s/crash-XXXXXX", scratch_dir());
    CHECK(mkdtemp(run.path) != NULL);
    CHECK_OK(crypto_start());
    CHECK_OK(rundir_make(&run));
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
}

static void
check_disk(void)
{
    uint32_t asked = atomic_load(&shared->asked);
    uint32_t len = disk_len();
    uint8_t *times = calloc(1, NUMBERS_MAX);

    CHECK_EQ(len, asked);
    for (uint32_t i = 0; i < len; i++)
        times[shared->number[i]]++;
    for (uint32_t i = 0; i < asked; i++)
        CHECK_EQ(times[i], 1);
    for (uint32_t i = 1; i < len; i++)
        CHECK(shared->number[i - 1] < shared->number[i]); /* and in order */
    free(times);
}

static void
killed_consumers_lose_nothing_and_apply_nothing_twice(void **state)
{
    carrier c = *(const carrier *)*state;
    pid_t   producer_pid;
    pid_t   consumer_pid;
    uint32_t seed = 1;

    make_run(c);
    producer_pid = spawn(true);
    consumer_pid = spawn(false);
    /* More, and later ones, where a slow machine has let none live long enough to have read something. */
    for (uint32_t i = 0; i < KILLS || (i < KILLS_MOST && atomic_load(&shared->again) == 0); i++) {
        seed = seed * 1103515245 + 12345;
        (void)usleep((5000 + seed / 65536 % 25000) * (1 + i / KILLS));
        kill_and_reap(consumer_pid);
        consumer_pid = spawn(false);
    }
    atomic_store(&shared->enough, 1);
    CHECK_EQ(wait_end(producer_pid), 0);
    kill_and_reap(consumer_pid);
    CHECK(atomic_load(&shared->asked) > KILLS);
    CHECK_EQ(atomic_load(&shared->answered), atomic_load(&shared->asked));
    CHECK(atomic_load(&shared->again) > 0); /* some were delivered again, or this shows nothing */
    check_disk();
    print_message("%u numbers, %u delivered again\n", atomic_load(&shared->asked),
                  atomic_load(&shared->again));
    (void)munmap(shared, sizeof *shared);
    rundir_remove(run.path);
}

static carrier ring = CARRIER_RING;
static carrier zmq = CARRIER_ZMQ;

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(killed_consumers_lose_nothing_and_apply_nothing_twice, &ring),
        cmocka_unit_test_prestate(killed_consumers_lose_nothing_and_apply_nothing_twice, &zmq),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
