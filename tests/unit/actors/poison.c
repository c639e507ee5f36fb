/* Poison: an actor in a real process that dies of one message, again and again.  Its supervisor is this test:
 * reap, judge, start again.  What it applied is in shared memory, with the watermark, as a store has it.
 *
 * Claims: the third death buries exactly that message, its asker hears so, everybody else's messages are applied
 * once; SIGKILL counts for nothing; a death in the commit, in a helper, or while a message is held is that
 * message's.
 */
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include "actors/ak_internal.h"
#include "actors/crash.h"
#include "proto/crypto.h"
#include "proto/log.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LANE_BYTES = 65536, NUMBERS_MAX = 1024, LIVES_MAX = 16, LETTERS_MAX = 8 };
static const addr asker0 = (uint64_t)KIND_FRONT << 32;
static const addr eater0 = (uint64_t)KIND_INGEST << 32;

/* How a body kills. */
enum fate { EATEN, KILLS_HANDLER, KILLS_COMMIT, KILLS_HELPER, KILLS_TIMER_WHILE_HELD, KILLS_ALWAYS_BY_KILL };

typedef struct body {
    uint32_t number;
    uint32_t fate;
    uint32_t spare[6];
} body;

typedef struct world {
    _Atomic uint64_t mark; /* applied up to */
    _Atomic uint32_t applied[NUMBERS_MAX];
    _Atomic uint32_t letters;
    _Atomic uint32_t fail_burials; /* so many times */
    struct {
        uint64_t pos;
        uint32_t number;
        uint32_t attempts;
        int32_t  signal;
        char     reason[DEAD_REASON_MAX];
    } letter[LETTERS_MAX];
} world;

static world *shared;
static rundir run;

/* ---- the eater ---- */

typedef struct eater {
    uint32_t count;
    uint32_t worst; /* of the batch */
    ak_msg   ask[NUMBERS_MAX];
    uint32_t number[NUMBERS_MAX];
    ak_msg   held;
} eater;

static void
die(void)
{
    volatile int *nowhere = NULL;

    *nowhere = 1;
}

static ak_verdict
on_body(ak *k, void *self, const ak_msg *m)
{
    eater *e = self;
    body   b;

    memcpy(&b, m->body, sizeof b);
    if (b.fate == KILLS_HANDLER)
        die();
    if (b.fate == KILLS_ALWAYS_BY_KILL)
        (void)raise(SIGKILL);
    if (b.fate == KILLS_TIMER_WHILE_HELD) {
        e->held = *m;
        (void)ak_timer(k, 5000000, &e->held);
        return AK_HOLD;
    }
    e->worst = (uint32_t)max_u64(e->worst, b.fate);
    e->number[e->count] = b.number;
    e->ask[e->count] = *m;
    e->ask[e->count++].body = NULL;
    return AK_DONE;
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    (void)k;
    if (m->ctx == &((eater *)self)->held)
        die();
    return AK_DONE;
}

static void
apply(eater *e)
{
    for (uint32_t i = 0; i < e->count; i++)
        if (e->ask[i].pos >= atomic_load(&shared->mark)) {
            atomic_fetch_add(&shared->applied[e->number[i]], 1);
            atomic_store(&shared->mark, e->ask[i].pos_end);
        }
}

static void
write_batch(void *job)
{
    eater *e = job;

    if (e->worst == KILLS_HELPER)
        die();
    apply(e);
}

static void
written(ak *k, void *self, void *job)
{
    eater *e = self;

    (void)job;
    for (uint32_t i = 0; i < e->count; i++)
        ak_reply(k, &e->ask[i], MSG_STORED, (const uint8_t[16]){ 0 }, 16);
    e->count = 0;
    ak_flushed(k, E_OK);
}

static int
flush(ak *k, void *self)
{
    eater *e = self;
    int    rc;

    if (e->worst == KILLS_COMMIT)
        die();
    rc = ak_help(k, write_batch, written, e);
    return rc < 0 ? rc : AK_PENDING;
}

static const ak_on   eater_on[] = { { MSG_READINGS, 0, on_body }, { MSG_TIMER, AK_READ, on_timer }, { 0 } };
static const ak_kind eater_kind = { .name = "ingest",
                                    .number = KIND_INGEST,
                                    .helpers = 1,
                                    .holds = true,
                                    .self_size = sizeof(eater),
                                    .on = eater_on,
                                    .flush = flush };

static int
bury(const char *dir, const dead_letter *l, char id[DEAD_ID_MAX], uint32_t *dropped)
{
    uint32_t at = atomic_load(&shared->letters);

    (void)dir;
    *dropped = 0;
    id[0] = '\0';
    if (atomic_load(&shared->fail_burials) > 0) {
        atomic_fetch_sub(&shared->fail_burials, 1);
        return err(E_NOSPACE, "test");
    }
    shared->letter[at].pos = l->pos;
    memcpy(&shared->letter[at].number, l->body.at, sizeof(uint32_t));
    shared->letter[at].attempts = l->attempts;
    shared->letter[at].signal = l->signal;
    memcpy(shared->letter[at].reason, l->reason, sizeof l->reason);
    atomic_store(&shared->letters, at + 1);
    return E_OK;
}

/* ---- the asker: stepped by the test ---- */

typedef struct asker {
    uint32_t answers[NUMBERS_MAX];
    int32_t  failed[NUMBERS_MAX];
} asker;

static ak_verdict
on_answer(ak *k, void *self, const ak_msg *m)
{
    asker    *a = self;
    uintptr_t number = (uintptr_t)m->ctx;

    (void)k;
    a->answers[number]++;
    if (m->type == MSG_FAIL)
        memcpy(&a->failed[number], m->body, sizeof(int32_t));
    else if (m->type != MSG_STORED)
        a->failed[number] = E_LATE;
    return AK_DONE;
}

static const ak_on   asker_on[] = { { MSG_STORED, 0, on_answer },
                                    { MSG_FAIL, 0, on_answer },
                                    { MSG_LATE, 0, on_answer },
                                    { 0 } };
static const ak_kind asker_kind = { .name = "front",
                                    .number = KIND_FRONT,
                                    .self_size = sizeof(asker),
                                    .on = asker_on };

/* ---- the scene ---- */

typedef struct scene {
    ak_host  host;
    ak      *k;
    asker   *asker;
    seat    *seat;
    uint32_t asked;
    uint32_t lives;
    carrier  carrier;
} scene;

static void
scene_open(scene *s, carrier c)
{
    const edge_plan there = { asker0, eater0, c, EDGE_WAIT, LANE_BYTES };
    const edge_plan back = { eater0, asker0, c, EDGE_REPLY, LANE_BYTES };

    memset(&run, 0, sizeof run);
    *s = (scene){ .carrier = c };
    run.plan = (plan){ .edge = { there, back }, .edges = 2, .slots = 2 };
    run.plan.slot[0] = (slot_plan){ .who = asker0, .group = 1, .core = -1 };
    run.plan.slot[1] = (slot_plan){ .who = eater0, .group = 2, .core = -1 };
    run.plan.parts[KIND_FRONT] = run.plan.parts[KIND_INGEST] = 1;
    run.listen_fd = -1;
    (void)snprintf(run.path, sizeof run.path, "%s/poison-XXXXXX", scratch_dir());
    CHECK(mkdtemp(run.path) != NULL);
    CHECK_OK(crypto_start());
    CHECK_OK(rundir_make(&run));
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    CHECK_OK(seat_open(&s->seat, run.path, eater0, true));
}

/* The asker lives here; it is opened after the first fork, because ZeroMQ contexts do not survive one. */
static void
asker_open(scene *s)
{
    seat *mine;

    CHECK_OK(seat_open(&mine, run.path, asker0, true));
    atomic_store(&mine->epoch, 1);
    seat_close(&mine);
    s->host = (ak_host){ .run = &run, .zmq = wire_context() };
    CHECK_OK(ak_open(&s->k, &asker_kind, 0, &s->host));
    s->asker = s->k->self;
}

static void
scene_close(scene *s)
{
    ak_close(&s->k);
    wire_context_close(s->host.zmq);
    seat_close(&s->seat);
    (void)munmap(shared, sizeof *shared);
    rundir_remove(run.path);
}

static void
tell(scene *s, enum fate fate)
{
    body b = { .number = s->asked, .fate = fate };

    CHECK(ak_ask(s->k, eater0, MSG_READINGS, &b, sizeof b, 60000000000ull,
                 (void *)(uintptr_t)s->asked) != 0);
    s->asked++;
}

static bool
all_answered(const scene *s)
{
    for (uint32_t i = 0; i < s->asked; i++)
        if (s->asker->answers[i] == 0)
            return false;
    return true;
}

static pid_t
start_life(scene *s)
{
    const struct rlimit no_core = { 0, 0 };
    ak_host             host = { .run = &run, .bury = bury };
    ak                 *k;
    pid_t               pid;

    atomic_store(&s->seat->epoch, atomic_load(&s->seat->epoch) + 1);
    s->lives++;
    if ((pid = fork()) != 0)
        return pid;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    host.zmq = wire_context();
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer would make an exit of it */
    crash_install("test");
    crash_enter("ingest.0", s->seat);
    if (ak_open(&k, &eater_kind, 0, &host) < 0 || ak_run(k) < 0)
        _exit(7);
    _exit(0);
}

static void
reap(const scene *s, int status)
{
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;

    CHECK(number != 0);
    if (number != SIGKILL)
        CHECK(seat_is_fault(number));
    seat_judge(s->seat, number, seat_is_fault(number) ? SEAT_GUILTY : SEAT_INNOCENT);
}

/* Lives and deaths until everybody has an answer. */
static void
live_on(scene *s, pid_t pid, uint32_t lives_max)
{
    int status;

    for (uint32_t ms = 0; !all_answered(s); ms++) {
        if (ms > 30000)
            fail_msg("not answered after %u lives", s->lives);
        (void)ak_step(s->k, 1024);
        (void)usleep(1000);
        if (waitpid(pid, &status, WNOHANG) != pid)
            continue;
        reap(s, status);
        if (s->lives == lives_max)
            return;
        pid = start_life(s);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void
check_applied(const scene *s, uint32_t poison)
{
    for (uint32_t i = 0; i < s->asked; i++) {
        CHECK_EQ(atomic_load(&shared->applied[i]), i == poison ? 0 : 1);
        CHECK_EQ(s->asker->answers[i], 1);
        CHECK_EQ(s->asker->failed[i], i == poison ? E_BAD : 0);
    }
}

/* Forty around one. */
static void
poison_scene(scene *s, carrier c, enum fate fate)
{
    pid_t pid;

    scene_open(s, c);
    pid = start_life(s);
    asker_open(s);
    for (int i = 0; i < 20; i++)
        tell(s, EATEN);
    tell(s, fate);
    for (int i = 0; i < 20; i++)
        tell(s, EATEN);
    live_on(s, pid, LIVES_MAX);
}

/* ---- the claims ---- */

static void
the_third_death_buries_the_message_and_everybody_else_is_served_once(void **state)
{
    scene s;

    poison_scene(&s, *(const carrier *)*state, KILLS_HANDLER);
    check_applied(&s, 20);
    CHECK_EQ(s.lives, 4);
    CHECK_EQ(atomic_load(&shared->letters), 1);
    CHECK_EQ(shared->letter[0].number, 20);
    CHECK_EQ(shared->letter[0].attempts, 3);
    CHECK_EQ(shared->letter[0].signal, SIGSEGV);
    CHECK(strstr(shared->letter[0].reason, "killed ingest.0 3 times, the last by SIGSEGV") != NULL);
    scene_close(&s);
}

/* The first of these deaths is that of a whole batch, and names nobody. */
static void
a_death_in_the_commit_or_in_a_helper_is_found_by_going_one_by_one(void **state)
{
    static const enum fate fates[] = { KILLS_COMMIT, KILLS_HELPER };
    scene                  s;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(fates); i++) {
        poison_scene(&s, CARRIER_RING, fates[i]);
        check_applied(&s, 20);
        CHECK(s.lives == 4 || s.lives == 5);
        CHECK_EQ(atomic_load(&shared->letters), 1);
        CHECK_EQ(shared->letter[0].number, 20);
        scene_close(&s);
    }
}

static void
a_death_while_a_message_is_held_is_that_messages(void **state)
{
    scene s;

    (void)state;
    poison_scene(&s, CARRIER_RING, KILLS_TIMER_WHILE_HELD);
    check_applied(&s, 20);
    CHECK_EQ(atomic_load(&shared->letters), 1);
    CHECK_EQ(shared->letter[0].number, 20);
    scene_close(&s);
}

static void
sigkill_counts_for_nothing(void **state)
{
    scene s;
    pid_t pid;

    (void)state;
    scene_open(&s, CARRIER_RING);
    pid = start_life(&s);
    asker_open(&s);
    tell(&s, KILLS_ALWAYS_BY_KILL);
    live_on(&s, pid, 8); /* eight lives, and it still comes again */
    CHECK_EQ(s.asker->answers[0], 0);
    CHECK_EQ(atomic_load(&shared->letters), 0);
    CHECK(atomic_load(&s.seat->careful) == 0);
    scene_close(&s);
}

static void
as_long_as_the_letter_cannot_be_written_the_message_stays(void **state)
{
    scene s;

    (void)state;
    scene_open(&s, CARRIER_RING);
    atomic_store(&shared->fail_burials, 2);
    pid_t pid = start_life(&s);

    asker_open(&s);
    tell(&s, KILLS_HANDLER);
    tell(&s, EATEN);
    live_on(&s, pid, LIVES_MAX);
    check_applied(&s, 0);
    CHECK_EQ(atomic_load(&shared->fail_burials), 0);
    CHECK_EQ(atomic_load(&shared->letters), 1);
    CHECK_EQ(s.lives, 4);
    scene_close(&s);
}

static void
of_several_actors_the_one_whose_thread_it_was_is_charged(void **state)
{
    seat two[2] = { 0 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        atomic_store(&two[i].epoch, 5);
        atomic_store(&two[i].at_type, MSG_READINGS);
        atomic_store(&two[i].at_exact, 1);
        atomic_store(&two[i].at_from, asker0);
        atomic_store(&two[i].at_pos, 128);
    }
    atomic_store(&two[1].crashed, 5);
    CHECK(!seat_has_crashed(&two[0]) && seat_has_crashed(&two[1]));
    seat_judge(&two[0], SIGSEGV, SEAT_INNOCENT);
    seat_judge(&two[1], SIGSEGV, SEAT_GUILTY);
    CHECK(seat_suspect_of(&two[0], asker0, 128) == NULL);
    CHECK_EQ(atomic_load(&two[0].careful), 0);
    CHECK_EQ(atomic_load(&seat_suspect_of(&two[1], asker0, 128)->deaths), 1);
    CHECK_EQ(atomic_load(&two[1].careful), 6);
    seat_judge(&two[0], SIGSEGV, SEAT_PERHAPS); /* nobody's thread: watched, not charged */
    CHECK(seat_suspect_of(&two[0], asker0, 128) == NULL);
    CHECK_EQ(atomic_load(&two[0].careful), 6);
}

static void
a_careful_life_that_is_killed_leaves_its_care_to_the_next(void **state)
{
    seat s = { 0 };

    (void)state;
    atomic_store(&s.epoch, 5);
    atomic_store(&s.careful, 5);
    seat_judge(&s, SIGKILL, SEAT_INNOCENT);
    CHECK_EQ(atomic_load(&s.careful), 6);
    atomic_store(&s.epoch, 6);
    atomic_store(&s.soothed, 6);
    seat_judge(&s, SIGKILL, SEAT_INNOCENT);
    CHECK_EQ(atomic_load(&s.careful), 6); /* epoch 7 is not */
}

static carrier ring = CARRIER_RING;
static carrier zmq = CARRIER_ZMQ;

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(the_third_death_buries_the_message_and_everybody_else_is_served_once, &ring),
        cmocka_unit_test_prestate(the_third_death_buries_the_message_and_everybody_else_is_served_once, &zmq),
        TEST(a_death_in_the_commit_or_in_a_helper_is_found_by_going_one_by_one),
        TEST(a_death_while_a_message_is_held_is_that_messages),
        TEST(sigkill_counts_for_nothing),
        TEST(as_long_as_the_letter_cannot_be_written_the_message_stays),
        TEST(of_several_actors_the_one_whose_thread_it_was_is_charged),
        TEST(a_careful_life_that_is_killed_leaves_its_care_to_the_next),
    };

    log_setup(LOG_ERROR - 1, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
