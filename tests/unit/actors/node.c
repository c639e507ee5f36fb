/* A whole node of toy actors: this binary is its own `haltless actor`.  What is looked at is the run
 * directory, as `top` would. */
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include "actors/ak_internal.h"
#include "actors/ak_loop.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "proto/crypto.h"
#include "proto/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- toy kinds: the front asks every ingest again and again, whatever happens ---- */

static const uint64_t AGAIN_NS = 2000000;

/* Is this part told to do that, now and once? */
static bool
is_told(ak *k, const char *what)
{
    char path[4200];

    (void)snprintf(path, sizeof path, "%s/%s.%u", ak_data_dir(k), what, addr_part(ak_self(k)));
    return unlink(path) == 0;
}

static ak_verdict
on_probe(ak *k, void *self, const ak_msg *m)
{
    (void)self;
    while (is_told(k, "hang"))
        for (;;)
            (void)usleep(10000);
    if (is_told(k, "io")) {
        ak_io_begin(k);
        (void)usleep(7500000);
        ak_io_end(k);
    }
    ak_reply(k, m, MSG_PROBED, (const int32_t[1]){ 0 }, 4);
    return AK_DONE;
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    (void)self;
    (void)m;
    for (uint16_t i = 0; i < ak_parts(k, KIND_INGEST); i++)
        if (ak_ask(k, addr_of(KIND_INGEST, i), MSG_PROBE, NULL, 0, 100000000, NULL) == 0)
            count_add(ak_counters(k), COUNT_REQUESTS_5XX, 1);
    count_set(ak_counters(k), COUNT_FRAMES, ak_options(k)->limits_readings_per_request);
    (void)ak_timer(k, AGAIN_NS, NULL);
    return AK_DONE;
}

static ak_verdict
on_probed(ak *k, void *self, const ak_msg *m)
{
    (void)self;
    (void)m;
    count_add(ak_counters(k), COUNT_REQUESTS, 1);
    return AK_DONE;
}

static ak_verdict
on_down(ak *k, void *self, const ak_msg *m)
{
    (void)self;
    if (load_u64(m->body) == addr_of(KIND_INGEST, 0) && m->corr != 0)
        count_add(ak_counters(k), COUNT_SOCKETS, 1);
    return AK_DONE;
}

static int
front_init(ak *k, void *self)
{
    (void)self;
    CHECK_OK(ak_monitor(k, addr_of(KIND_INGEST, 0)));
    if (ak_monitor(k, addr_of(KIND_INGEST, 99)) != E_GONE)
        return err(E_BAD, "an actor that is none");
    if (ak_listen_fd(k) < 0 || fcntl(ak_listen_fd(k), F_GETFD) < 0)
        return err(E_BAD, "no listener");
    (void)ak_timer(k, 0, NULL);
    return E_OK;
}

/* The data directory tells it how to misbehave. */
static int
ingest_init(ak *k, void *self)
{
    char path[4200];

    (void)self;
    (void)snprintf(path, sizeof path, "%s/newer", ak_data_dir(k));
    if (access(path, F_OK) == 0)
        return err(E_NEWER, "partition %u", addr_part(ak_self(k)));
    (void)snprintf(path, sizeof path, "%s/crash", ak_data_dir(k));
    if (access(path, F_OK) == 0)
        abort();
    return E_OK;
}

/* Dies with its servant. */
static int
alert_init(ak *k, void *self)
{
    (void)self;
    return ak_link(k, addr_of(KIND_REGISTRY, 0));
}

/* A loop of its own, which may hang while the kernel takes it for asleep. */
static int
alert_run(ak *k, void *self)
{
    (void)self;
    while (!ak_stopping(k)) {
        (void)ak_step(k, 64);
        uint64_t ns = ak_park(k);

        while (is_told(k, "hang-asleep"))
            for (;;)
                (void)usleep(10000);
        (void)usleep((unsigned)(min_u64(ns, 10000000) / 1000));
        ak_unpark(k);
    }
    return E_OK;
}

static const ak_on asker_on[] = { { MSG_TIMER, 0, on_timer },
                                  { MSG_PROBED, 0, on_probed },
                                  { MSG_DOWN, 0, on_down },
                                  { 0, 0, NULL } };
static const ak_on server_on[] = { { MSG_PROBE, AK_READ, on_probe }, { 0, 0, NULL } };
static const ak_on deaf[] = { { 0, 0, NULL } };

const ak_kind front_kind = { .name = "front", .number = KIND_FRONT, .on = asker_on, .init = front_init };
const ak_kind ingest_kind = { .name = "ingest", .number = KIND_INGEST, .on = server_on, .init = ingest_init };
const ak_kind query_kind = { .name = "query", .number = KIND_QUERY, .on = deaf };
const ak_kind reader_kind = { .name = "reader", .number = KIND_READER, .on = deaf };
const ak_kind alert_kind = {
    .name = "alert", .number = KIND_ALERT, .on = deaf, .init = alert_init, .run = alert_run
};
const ak_kind registry_kind = { .name = "registry", .number = KIND_REGISTRY, .on = deaf };
const ak_kind worker_kind = { .name = "worker", .number = KIND_WORKER, .on = deaf };

/* ---- a server ---- */

typedef struct server {
    char  base[64]; /* temporary directory: data, run */
    char  data[96];
    char  run[96];
    char  config[96];
    pid_t pid;
    bool  processes;
    bool  zmq;
    const char *flags[16]; /* more of them, NULL-ended */
} server;

static void
server_config(const server *s, int readings, int heads_mb)
{
    FILE *f = fopen(s->config, "w");

    CHECK(f != NULL);
    (void)fprintf(f, "[limits]\nreadings_per_request = %d\n[storage]\nheads_mb = %d\n", readings,
                  heads_mb);
    CHECK_EQ(fclose(f), 0);
}

static void
server_new(server *s, bool processes)
{
    *s = (server){ .processes = processes };
    (void)snprintf(s->base, sizeof s->base, "%s/node-XXXXXX", scratch_dir());
    CHECK(mkdtemp(s->base) != NULL);
    (void)snprintf(s->data, sizeof s->data, "%s/data", s->base);
    (void)snprintf(s->run, sizeof s->run, "%s/run", s->base);
    (void)snprintf(s->config, sizeof s->config, "%s/haltless.toml", s->base);
    server_config(s, 100, 512);
}

static void
server_start(server *s)
{
    char   *argv[] = { (char[]){ "--data" }, s->data, (char[]){ "--run-dir" }, s->run,
                       (char[]){ "--listen" }, (char[]){ "127.0.0.1:0" }, (char[]){ "--ingest-count" },
                       (char[]){ "2" }, (char[]){ "--ingest-carrier" },
                       s->zmq ? (char[]){ "zmq" } : (char[]){ "ring" },
                       (char[]){ "--limits-machines" }, (char[]){ "16" }, (char[]){ "--processes" }, NULL };
    int     argc = s->processes ? 13 : 12;
    char   *all[COUNT_OF(argv) + COUNT_OF(s->flags)];
    options o;

    s->pid = fork();
    if (s->pid != 0)
        return;
    memcpy(all, argv, sizeof argv);
    for (size_t i = 0; s->flags[i] != NULL; i++)
        all[argc++] = strdup(s->flags[i]);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (options_load(&o, s->config, argc, all) < 0) {
        (void)fprintf(stderr, "%s\n", err_text());
        _exit(99);
    }
    _exit(node_serve(&o, s->config, argc, all));
}

static int
server_end(server *s, uint32_t within_ms)
{
    int status;

    for (uint32_t ms = 0; ms < within_ms; ms += 5) {
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        (void)usleep(5000);
    }
    return -1;
}

static int
server_stop(server *s)
{
    CHECK_EQ(kill(s->pid, SIGTERM), 0);
    return server_end(s, 15000);
}

static void
server_free(server *s)
{
    if (s->pid != 0) {
        (void)kill(s->pid, SIGKILL);
        (void)waitpid(s->pid, NULL, 0);
    }
    rundir_remove(s->base);
}

/* ---- looking ---- */

static bool
seat_of(const server *s, uint16_t kind, uint16_t part, seat *copy)
{
    seat *at;
    bool  ready;

    if (seat_open(&at, s->run, addr_of(kind, part), false) < 0) {
        err_clear();
        return false;
    }
    memcpy(copy, at, sizeof *copy);
    ready = atomic_load(&at->ready) == atomic_load(&at->epoch) && atomic_load(&at->pid) != 0;
    seat_close(&at);
    return ready;
}

static bool
all_ready(const server *s)
{
    static const uint16_t kinds[] = { KIND_FRONT, KIND_INGEST, KIND_QUERY,
                                      KIND_ALERT, KIND_REGISTRY, KIND_WORKER };
    seat                  at;

    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (!seat_of(s, kinds[i], 0, &at))
            return false;
    return seat_of(s, KIND_INGEST, 1, &at);
}

static uint64_t
front_counts(const server *s, enum counter which)
{
    counters *c;
    uint64_t  n;

    CHECK_OK(counters_open(&c, s->run, addr_of(KIND_FRONT, 0), false));
    n = count_get(c, which);
    counters_close(&c);
    return n;
}

static uint64_t
answers(const server *s)
{
    return front_counts(s, COUNT_REQUESTS);
}

#define WITHIN(ms_, what)                                                                          \
    do {                                                                                           \
        uint32_t waited_ = 0;                                                                      \
        while (!(what)) {                                                                          \
            if ((waited_ += 2) > (ms_))                                                            \
                fail_msg("not within %d ms: %s", (ms_), #what);                                    \
            (void)usleep(2000);                                                                    \
        }                                                                                          \
    } while (0)

static bool
more_answers(const server *s)
{
    static uint64_t before;
    uint64_t        now = answers(s);
    bool            more = now > before + 20 || now < before;

    if (more)
        before = now;
    return more;
}

static pid_t
pid_of(const server *s, uint16_t kind, uint16_t part)
{
    seat at;

    CHECK(seat_of(s, kind, part, &at));
    return atomic_load(&at.pid);
}

static bool
is_restarted(const server *s, uint16_t kind, pid_t before)
{
    seat at;

    return seat_of(s, kind, 0, &at) && atomic_load(&at.pid) != before;
}

static bool
is_gone(pid_t pid)
{
    char  path[64];
    char  state = '\0';
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if ((f = fopen(path, "r")) == NULL)
        return true;
    (void)!fscanf(f, "%*d %*s %c", &state);
    (void)fclose(f);
    return state == 'Z'; /* dead, whoever reaps it */
}

/* ---- the claims ---- */

static void
actors_are_threads_of_one_process_by_default(void **state)
{
    server s;

    (void)state;
    server_new(&s, false);
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    CHECK_EQ(pid_of(&s, KIND_FRONT, 0), pid_of(&s, KIND_WORKER, 0));
    CHECK(pid_of(&s, KIND_FRONT, 0) != s.pid);
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(server_stop(&s), 0);
    CHECK(access(s.run, F_OK) < 0);
    server_free(&s);
}

static void
a_killed_actor_is_back_at_once_and_the_others_live(void **state)
{
    server s;
    pid_t  front;
    pid_t  victim;
    seat   at;

    server_new(&s, true);
    s.zmq = *(const bool *)*state;
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    front = pid_of(&s, KIND_FRONT, 0);
    for (int i = 0; i < 3; i++) {
        victim = pid_of(&s, KIND_INGEST, 0);
        WITHIN(5000, more_answers(&s));
        CHECK(victim != front);
        CHECK_EQ(kill(victim, SIGKILL), 0);
        WITHIN(2000, is_restarted(&s, KIND_INGEST, victim));
    }
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(pid_of(&s, KIND_FRONT, 0), front);
    WITHIN(5000, front_counts(&s, COUNT_SOCKETS) == 3); /* it was told of each death */
    CHECK(seat_of(&s, KIND_INGEST, 0, &at));
    CHECK_EQ(atomic_load(&at.restarts), 3);
    CHECK_EQ(atomic_load(&at.epoch), 4);
    victim = front; /* the asker dies: what it asked is dropped, the next one asks anew */
    CHECK_EQ(kill(victim, SIGKILL), 0);
    WITHIN(2000, is_restarted(&s, KIND_FRONT, victim));
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(server_stop(&s), 0);
    server_free(&s);
}

static uuid
generation_of(const server *s)
{
    rundir *r = calloc(1, sizeof *r);
    uuid    g;

    CHECK(r != NULL);
    CHECK_OK(rundir_read(r, s->run));
    g = r->generation;
    free(r);
    return g;
}

static bool
same(uuid a, uuid b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Killed, and started beside what it left. */
static void
kill_and_start(server *s)
{
    pid_t front = pid_of(s, KIND_FRONT, 0);

    CHECK_EQ(kill(s->pid, SIGKILL), 0);
    CHECK_EQ(server_end(s, 2000), 128 + SIGKILL);
    server_start(s);
    WITHIN(20000, is_restarted(s, KIND_FRONT, front));
    WITHIN(2000, is_gone(front));
    WITHIN(10000, all_ready(s));
}

static void
a_killed_server_takes_its_actors_along_and_starts_again_in_its_lanes(void **state)
{
    server s;
    uuid   first;
    seat   at;

    (void)state;
    server_new(&s, true);
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    first = generation_of(&s);
    for (uint32_t i = 1; i < 3; i++) {
        WITHIN(5000, more_answers(&s));
        kill_and_start(&s);
        CHECK(same(generation_of(&s), first));
        CHECK(seat_of(&s, KIND_INGEST, 0, &at));
        CHECK_EQ(atomic_load(&at.epoch), i + 1); /* its lives go on */
    }
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(server_stop(&s), 0);
    CHECK(access(s.run, F_OK) < 0);
    server_free(&s);
}

static void
lanes_that_do_not_fit_are_a_new_generation(void **state)
{
    char   lane_path[160];
    server s;
    uuid   before;

    (void)state;
    server_new(&s, false);
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    before = generation_of(&s);
    s.flags[0] = "--query-count";
    s.flags[1] = "2";
    kill_and_start(&s);
    CHECK(!same(generation_of(&s), before)); /* another topology */
    before = generation_of(&s);
    (void)snprintf(lane_path, sizeof lane_path, "%s/lane.front.0.ingest.0", s.run);
    CHECK_EQ(kill(s.pid, SIGSTOP), 0); /* it is not to see this */
    CHECK_EQ(truncate(lane_path, 100), 0);
    kill_and_start(&s);
    CHECK(!same(generation_of(&s), before));
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(server_stop(&s), 0);
    server_free(&s);
}

/* Not a crash loop: the actor did nothing wrong, and its clients wait. */
static void
twenty_kills_from_outside_are_no_crash_loop(void **state)
{
    server s;
    pid_t  victim;
    seat   at;

    (void)state;
    server_new(&s, true);
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    for (int i = 0; i < 20; i++) {
        victim = pid_of(&s, KIND_INGEST, 0);
        CHECK_EQ(kill(victim, SIGKILL), 0);
        WITHIN(10000, is_restarted(&s, KIND_INGEST, victim));
        CHECK(seat_of(&s, KIND_INGEST, 0, &at));
        CHECK_EQ(atomic_load(&at.down), 0); /* as a crash loop would be, which pauses 2.5 to 5 s */
    }
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(server_stop(&s), 0);
    server_free(&s);
}

static void
touch(const server *s, const char *name)
{
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", s->data, name);
    (void)mkdir(s->data, 0700);
    CHECK(close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
}

static void
a_first_start_that_cannot_work_ends_the_server(void **state)
{
    server s;

    server_new(&s, *(const bool *)*state);
    touch(&s, "newer");
    server_start(&s);
    CHECK_EQ(server_end(&s, 15000), 1);
    CHECK(access(s.run, F_OK) < 0);
    server_free(&s);
}

static void
an_actor_that_keeps_dying_does_not_end_the_server(void **state)
{
    char   path[128];
    server s;
    seat   at;

    (void)state;
    server_new(&s, true);
    s.flags[0] = "--restarts";
    s.flags[1] = "3";
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    touch(&s, "crash");
    CHECK_EQ(kill(pid_of(&s, KIND_INGEST, 1), SIGKILL), 0);
    WITHIN(5000, (seat_of(&s, KIND_INGEST, 1, &at), atomic_load(&at.restarts) >= 4));
    WITHIN(5000, (seat_of(&s, KIND_INGEST, 1, &at), atomic_load(&at.down) == 1));
    WITHIN(5000, front_counts(&s, COUNT_REQUESTS_5XX) > 0); /* refused at once, not after its deadline */
    WITHIN(5000, more_answers(&s));                         /* the other part goes on */
    CHECK(seat_of(&s, KIND_FRONT, 0, &at));
    CHECK_EQ(atomic_load(&at.restarts), 0);
    (void)snprintf(path, sizeof path, "%s/crash", s.data);
    CHECK_EQ(unlink(path), 0);
    WITHIN(8000, seat_of(&s, KIND_INGEST, 1, &at));
    WITHIN(2000, (seat_of(&s, KIND_INGEST, 1, &at), atomic_load(&at.down) == 0));
    CHECK_EQ(server_stop(&s), 0);
    server_free(&s);
}

static void
an_actor_that_makes_no_step_is_aborted_one_that_waits_for_the_disk_or_sleeps_is_not(void **state)
{
    server s;
    pid_t  hangs;
    pid_t  waits;
    pid_t  sleeps;
    pid_t  dreams;
    seat   at;

    (void)state;
    server_new(&s, true);
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    hangs = pid_of(&s, KIND_INGEST, 0);
    waits = pid_of(&s, KIND_INGEST, 1);
    sleeps = pid_of(&s, KIND_WORKER, 0);
    CHECK_EQ(kill(sleeps, SIGSTOP), 0);
    touch(&s, "io.1");
    touch(&s, "hang.0");
    dreams = pid_of(&s, KIND_ALERT, 0);
    touch(&s, "hang-asleep.0");
    WITHIN(15000, is_restarted(&s, KIND_INGEST, hangs));
    CHECK(seat_of(&s, KIND_INGEST, 0, &at));
    CHECK_EQ(WTERMSIG(atomic_load(&at.last_exit)), SIGABRT);
    CHECK_EQ(atomic_load(&at.restarts), 1);
    WITHIN(8000, is_restarted(&s, KIND_ALERT, dreams));
    (void)usleep(3000000); /* the other is past its seven seconds */
    CHECK_EQ(kill(sleeps, SIGCONT), 0);
    CHECK_EQ(pid_of(&s, KIND_INGEST, 1), waits);
    CHECK_EQ(pid_of(&s, KIND_WORKER, 0), sleeps);
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(server_stop(&s), 0);
    server_free(&s);
}

static bool
is_down(const server *s, uint16_t kind)
{
    seat at;

    (void)seat_of(s, kind, 0, &at);
    return atomic_load(&at.down) == 1 && atomic_load(&at.state) == SEAT_DOWN;
}

static void
who_is_started_anew_is_a_matter_of_strategy(void **state)
{
    static const char *const flags[] = { "--ingest-strategy",   "one-for-all", "--registry-strategy", "rest-for-one",
                                         "--query-strategy",    "rest-for-one", "--worker-restart",   "temporary",
                                         "--alert-restart",     "transient" };
    server s;
    pid_t  pid[8][1];
    pid_t  other;

    (void)state;
    server_new(&s, true);
    memcpy(s.flags, flags, sizeof flags);
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    for (uint16_t kind = KIND_FRONT; kind <= KIND_WORKER; kind++) /* those numbers are one node's */
        pid[kind][0] = pid_of(&s, kind, 0);
    other = pid_of(&s, KIND_INGEST, 1);
    CHECK_EQ(kill(pid[KIND_WORKER][0], SIGKILL), 0); /* temporary: stays away */
    CHECK_EQ(kill(other, SIGKILL), 0);               /* one-for-all: the other part too */
    WITHIN(5000, is_restarted(&s, KIND_INGEST, pid[KIND_INGEST][0]));
    CHECK_EQ(kill(pid[KIND_REGISTRY][0], SIGKILL), 0); /* rest-for-one: the query actor, which starts after it */
    WITHIN(5000, is_restarted(&s, KIND_REGISTRY, pid[KIND_REGISTRY][0]));
    WITHIN(5000, is_restarted(&s, KIND_QUERY, pid[KIND_QUERY][0]));
    WITHIN(5000, is_restarted(&s, KIND_ALERT, pid[KIND_ALERT][0])); /* it was linked, and not for a clean end */
    pid[KIND_REGISTRY][0] = pid_of(&s, KIND_REGISTRY, 0);
    pid[KIND_QUERY][0] = pid_of(&s, KIND_QUERY, 0);
    CHECK_EQ(kill(pid[KIND_QUERY][0], SIGKILL), 0); /* nobody starts after it */
    WITHIN(5000, is_restarted(&s, KIND_QUERY, pid[KIND_QUERY][0]));
    CHECK_EQ(kill(pid_of(&s, KIND_ALERT, 0), SIGTERM), 0); /* transient: a clean end is for good */
    WITHIN(5000, is_down(&s, KIND_ALERT));
    CHECK(is_down(&s, KIND_WORKER));
    CHECK_EQ(pid_of(&s, KIND_REGISTRY, 0), pid[KIND_REGISTRY][0]);
    CHECK_EQ(pid_of(&s, KIND_FRONT, 0), pid[KIND_FRONT][0]);
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(server_stop(&s), 0);
    server_free(&s);
}

static uint64_t
limit_seen(const server *s)
{
    counters *c;
    uint64_t  n;

    CHECK_OK(counters_open(&c, s->run, addr_of(KIND_FRONT, 0), false));
    n = count_get(c, COUNT_FRAMES);
    counters_close(&c);
    return n;
}

static void
sighup_reaches_every_actor(void **state)
{
    server s;

    server_new(&s, *(const bool *)*state);
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    WITHIN(2000, limit_seen(&s) == 100);
    server_config(&s, 77, 256); /* the second needs a restart, and hinders nothing */
    CHECK_EQ(kill(s.pid, SIGHUP), 0);
    WITHIN(5000, limit_seen(&s) == 77);
    server_config(&s, -5, 256); /* not a setting: the old ones stay */
    CHECK_EQ(kill(s.pid, SIGHUP), 0);
    WITHIN(5000, more_answers(&s));
    CHECK_EQ(limit_seen(&s), 77);
    CHECK_EQ(server_stop(&s), 0);
    server_free(&s);
}

static void
a_second_server_on_the_same_data_is_refused(void **state)
{
    server s;
    server other;

    (void)state;
    server_new(&s, false);
    server_start(&s);
    WITHIN(10000, all_ready(&s));
    other = s;
    server_start(&other);
    CHECK_EQ(server_end(&other, 5000), 1);
    WITHIN(5000, more_answers(&s)); /* its run directory is untouched */
    CHECK_EQ(server_stop(&s), 0);
    server_free(&s);
}

static void
a_run_directory_that_holds_other_things_is_left_alone(void **state)
{
    char   path[128];
    server s;

    (void)state;
    server_new(&s, false);
    CHECK_EQ(mkdir(s.run, 0700), 0);
    (void)snprintf(path, sizeof path, "%s/precious", s.run);
    CHECK(close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
    server_start(&s);
    CHECK_EQ(server_end(&s, 5000), 1);
    CHECK_EQ(access(path, F_OK), 0);
    server_free(&s);
}

static bool no = false;
static bool yes = true;

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(actors_are_threads_of_one_process_by_default),
        cmocka_unit_test_prestate(a_killed_actor_is_back_at_once_and_the_others_live, &no),
        cmocka_unit_test_prestate(a_killed_actor_is_back_at_once_and_the_others_live, &yes),
        TEST(twenty_kills_from_outside_are_no_crash_loop),
        TEST(a_killed_server_takes_its_actors_along_and_starts_again_in_its_lanes),
        TEST(lanes_that_do_not_fit_are_a_new_generation),
        cmocka_unit_test_prestate(a_first_start_that_cannot_work_ends_the_server, &no),
        cmocka_unit_test_prestate(a_first_start_that_cannot_work_ends_the_server, &yes),
        TEST(an_actor_that_keeps_dying_does_not_end_the_server),
        TEST(an_actor_that_makes_no_step_is_aborted_one_that_waits_for_the_disk_or_sleeps_is_not),
        TEST(who_is_started_anew_is_a_matter_of_strategy),
        cmocka_unit_test_prestate(sighup_reaches_every_actor, &no),
        cmocka_unit_test_prestate(sighup_reaches_every_actor, &yes),
        TEST(a_second_server_on_the_same_data_is_refused),
        TEST(a_run_directory_that_holds_other_things_is_left_alone),
    };

    if (argc > 1 && strcmp(argv[1], "actor") == 0)
        return node_actor(argc - 2, argv + 2);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
