/* main.c - sim: seeds, one process each; hashes compared, counts printed.
 *
 *   sim --seed N [--seeds M] [--minutes T] [--jobs J] ...
 *
 * Every seed's process hands its tally back through a pipe.  Exit status 0: everything held; 1: something did not, and
 * the command that repeats it is printed.
 */
#include "tests/sim/sim.h"

#include "actors/rundir.h"
#include "api/describe.h"
#include "api/front.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/log.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DRAIN_NS (60 * SEC)

typedef struct order {
    uint64_t first, count, messages, jobs, least;
    double   minutes;
    bool     twice;
} order;

static const char *const fault_names[] = {
#define X(FAULT, name, what) name,
    FAULTS(X)
#undef X
};
static const char *const fault_texts[] = {
#define X(FAULT, name, what) what,
    FAULTS(X)
#undef X
};
static const char *const oracle_names[] = {
#define X(ORACLE, name, what) name,
    ORACLES(X)
#undef X
};
static const char *const oracle_texts[] = {
#define X(ORACLE, name, what) what,
    ORACLES(X)
#undef X
};

/* ---- one seed ---- */

typedef bool until_fn(void);

static void
run_until(until_fn *done, uint64_t within, const char *what)
{
    uint64_t until = sim_now() + within;
    uint32_t n = 0;

    while (n++ % 16 != 0 || !done()) {
        if (!sim_turn() || sim_now() > until)
            sim_fail(ORACLE_DRAIN, "%s after %llu ms", what, (unsigned long long)(within / MS));
    }
    sim_saw(ORACLE_DRAIN, 1);
}

static uint64_t enough, even_from;

static bool
has_enough(void)
{
    static uint32_t looks;

    return ++looks % 64 == 0 && node_messages() >= enough;
}

static bool
is_drained(void)
{
    return clients_idle() && node_is_quiet();
}

/* Whoever missed the last readings hears of them within a second. */
static bool
is_even(void)
{
    return sim_now() > even_from && is_drained() && node_alerts_are_even();
}

static void
run_seed(uint64_t seed, uint64_t messages, const char *scratch)
{
    uint64_t full;

    sim_open(seed);
    if (crypto_start() < 0 || routes_build() < 0 || describe_build() < 0)
        sim_fail(ORACLE_DRAIN, "no start");
    disk_open(!sim_one_in(3));
    node_start(scratch);
    clients_begin();
    run_until(clients_ready, 20 * SEC, "not set up");
    faults_begin();
    enough = messages;
    run_until(has_enough, 3600 * SEC, "too few messages");
    faults_end();
    clients_stop();
    run_until(is_drained, DRAIN_NS, "not drained");
    even_from = sim_now() + 3 * SEC;
    run_until(is_even, DRAIN_NS, "not all judged");
    full = node_full();
    clients_judge();
    run_until(is_drained, DRAIN_NS, "not drained after the last questions");
    disk_judge();
    the_tally.faults[FAULT_FILL] = full;
    the_tally.messages = node_messages();
    the_tally.virtual_ns = sim_now();
    sim_mix(the_tally.messages);
    sim_mix(the_tally.accepted);
}

/* ---- many ---- */

enum { JOBS_MAX = 64 };

typedef struct job { /* a seed in a process of its own */
    uint64_t seed;
    pid_t    child; /* 0: none */
    int      from;
    uint64_t first_hash; /* of the first of two runs */
    bool     second;
    char     scratch[32];
} job;

static const char *program;

static void
start(job *j, const order *o)
{
    int ends[2];

    (void)snprintf(j->scratch, sizeof j->scratch, "/dev/shm/haltless-sim-XXXXXX");
    ASSERT(pipe(ends) == 0 && mkdtemp(j->scratch) != NULL);
    fflush(NULL);
    j->child = fork();
    ASSERT(j->child >= 0);
    if (j->child == 0) {
        (void)close(ends[0]);
        if (!sim_talks && freopen("/dev/null", "w", stderr) == NULL)
            _exit(4);
        run_seed(j->seed, o->messages, j->scratch);
        _exit(write(ends[1], &the_tally, sizeof the_tally) == (ssize_t)sizeof the_tally ? 0 : 4);
    }
    (void)close(ends[1]);
    j->from = ends[0];
}

static void
add(tally *sum, const tally *t, uint64_t seed)
{
    for (uint32_t i = 0; i < FAULT_COUNT; i++)
        sum->faults[i] += t->faults[i];
    for (uint32_t i = 0; i < ORACLE_KINDS; i++)
        sum->oracles[i] += t->oracles[i];
    sum->messages += t->messages;
    sum->requests += t->requests;
    sum->accepted += t->accepted;
    sum->virtual_ns += t->virtual_ns;
    sum->switches += t->switches;
    sum->generations += t->generations;
    sum->starts += t->starts;
    sum->hash += t->hash * (2 * seed + 1); /* in whatever order they end */
}

/* How a child ended: true: as it should, with its tally. */
static bool
judge(const job *j, const order *o, int status, tally *t)
{
    bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0 &&
                read(j->from, t, sizeof *t) == (ssize_t)sizeof *t;

    if (WIFSIGNALED(status))
        printf("seed %llu: killed by signal %d\n", (unsigned long long)j->seed, WTERMSIG(status));
    if (good && j->second && t->hash != j->first_hash) {
        printf("seed %llu: two runs, two hashes: %016llx %016llx\n", (unsigned long long)j->seed,
               (unsigned long long)j->first_hash, (unsigned long long)t->hash);
        good = false;
    }
    if (!good)
        printf("again: %s --seed %llu --messages %llu --twice --verbose\n", program,
               (unsigned long long)j->seed, (unsigned long long)o->messages);
    return good;
}

/* Waits for one of them; false: it failed.  One whose seed is to be run twice goes on at once. */
static bool
wait_one(job *jobs, const order *o, tally *sum)
{
    tally t;
    int   status = 0;
    pid_t child = waitpid(-1, &status, 0);
    job  *j = jobs;
    bool  good;

    while (j < jobs + JOBS_MAX && j->child != child)
        j++;
    ASSERT(child > 0 && j < jobs + JOBS_MAX);
    good = judge(j, o, status, &t);
    (void)close(j->from);
    rundir_remove(j->scratch);
    j->child = 0;
    if (good && o->twice && !j->second) {
        j->second = true;
        j->first_hash = t.hash;
        start(j, o);
    } else if (good) {
        add(sum, &t, j->seed);
    }
    return good;
}

static job *
free_job(job *jobs, const order *o)
{
    for (uint64_t i = 0; i < o->jobs; i++)
        if (jobs[i].child == 0)
            return &jobs[i];
    return NULL;
}

static double
seconds(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
print(const tally *t, uint64_t ran, uint64_t failed, double took)
{
    printf("%-12s %12llu  of them failed: %llu\n", "seeds", (unsigned long long)ran,
           (unsigned long long)failed);
    printf("%-12s %12llu  handled by actors, in %.1f s: %.0f a second\n", "messages",
           (unsigned long long)t->messages, took, (double)t->messages / took);
    printf("%-12s %12llu  of clients\n", "requests", (unsigned long long)t->requests);
    printf("%-12s %12llu  acknowledged\n", "readings", (unsigned long long)t->accepted);
    printf("%-12s %12llu  seconds of virtual time\n", "time",
           (unsigned long long)(t->virtual_ns / SEC));
    printf("%-12s %12llu  of actors, in %llu lives of a node\n", "starts",
           (unsigned long long)t->starts, (unsigned long long)t->generations);
    printf("%-12s %12llu\n", "switches", (unsigned long long)t->switches);
    printf("%-12s %016llx\n", "hash", (unsigned long long)t->hash);
    for (uint32_t i = 0; i < FAULT_COUNT; i++)
        printf("fault  %-12s %12llu  %s\n", fault_names[i], (unsigned long long)t->faults[i],
               fault_texts[i]);
    for (uint32_t i = 0; i < ORACLE_KINDS; i++)
        printf("oracle %-12s %12llu  %s\n", oracle_names[i], (unsigned long long)t->oracles[i],
               oracle_texts[i]);
}

/* Was everything met often enough to say something of it? */
static bool
was_enough(const tally *t, uint64_t least)
{
    bool enough_of_all = true;

    for (uint32_t i = 0; i < FAULT_COUNT; i++)
        enough_of_all = enough_of_all && t->faults[i] >= least;
    for (uint32_t i = 0; i < ORACLE_KINDS; i++)
        enough_of_all = enough_of_all && t->oracles[i] >= least;
    if (!enough_of_all)
        printf("some fault or oracle was met fewer than %llu times\n", (unsigned long long)least);
    return enough_of_all;
}

static int
run_all(const order *o)
{
    static job jobs[JOBS_MAX];
    tally      sum = { 0 };
    uint64_t   begun = 0, ended = 0, failed = 0;
    double     since = seconds();

    for (;;) {
        job *j = free_job(jobs, o);
        bool more = failed == 0 && (begun < o->count || seconds() - since < o->minutes * 60);

        if (more && j != NULL) {
            *j = (job){ .seed = o->first + begun++ };
            start(j, o);
            continue;
        }
        if (ended == begun)
            break;
        failed += !wait_one(jobs, o, &sum);
        ended = begun;
        for (uint64_t i = 0; i < o->jobs; i++)
            ended -= jobs[i].child != 0;
    }
    print(&sum, ended, failed, seconds() - since);
    return failed > 0 || !was_enough(&sum, o->least);
}

static int
say_usage(void)
{
    puts("sim --seed N [--seeds M] [--minutes T] [--jobs J] [--messages K] [--least L] [--twice] [--verbose]\n"
         "\n"
         "Runs a whole node on a virtual clock, with faults, in one thread; every seed is a run that can be\n"
         "repeated.  --seeds, --minutes: goes on with the next seeds, J of them at a time.  --messages: a seed\n"
         "ends behind so many (20000).  --least: it is an error when some fault or oracle was met less often.\n"
         "--twice: each seed is run twice, and its hashes compared.");
    return 2;
}

static bool
parse(int argc, char **argv, order *o)
{
    const struct {
        const char *name;
        uint64_t   *to;
    } numbers[] = { { "--seed", &o->first },        { "--seeds", &o->count }, { "--jobs", &o->jobs },
                    { "--messages", &o->messages }, { "--least", &o->least } };
    bool given = false;

    for (int i = 1; i < argc; i++) {
        size_t n = 0;

        if (strcmp(argv[i], "--twice") == 0 || strcmp(argv[i], "--verbose") == 0) {
            o->twice |= argv[i][2] == 't';
            sim_talks |= argv[i][2] == 'v';
            continue;
        }
        if (i + 1 == argc)
            return false;
        while (n < COUNT_OF(numbers) && strcmp(argv[i], numbers[n].name) != 0)
            n++;
        given |= n == 0;
        if (n < COUNT_OF(numbers))
            *numbers[n].to = strtoull(argv[++i], NULL, 0);
        else if (strcmp(argv[i], "--minutes") == 0)
            o->minutes = strtod(argv[++i], NULL);
        else
            return false;
    }
    return given && o->jobs >= 1 && o->jobs <= JOBS_MAX;
}

int
main(int argc, char **argv)
{
    order o = { .count = 1, .messages = 20000, .jobs = 1 };

    program = argv[0];
    if (!parse(argc, argv, &o))
        return say_usage();
    (void)mallopt(M_MMAP_THRESHOLD, 64 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, INT32_MAX);
    log_setup(LOG_WARN, LOG_LOGFMT);
    return run_all(&o);
}
