/* core.c - tasks on stacks of their own, the heap of events, and the world they see: clocks, chance, threads, bells.
 *
 *   scheduler: earliest event ─▶ resume its task ─▶ ... world_pause(): is another one's time earlier? ─▶ scheduler
 *                              └▶ call its function
 *
 * Time moves when a task pauses or blocks; what runs costs virtual time a pause, a thousand times as much when slowed.
 * A switch is a _setjmp and a _longjmp; makecontext only builds the first frame of a stack.
 */
#include "tests/sim/sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sodium.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { STACK_BYTES = 1 << 20, TASKS_MAX = 256, GROUPS_MAX = 64, BELLS_MAX = 64, POOL_MAX = 64 };
#define WALL_START INT64_C(1767225600000000) /* 2026-01-01 */

struct task {
    jmp_buf   at;
    sim_fn   *fn;
    void     *arg;
    uint8_t  *stack;
    addr      who;
    uint32_t  group;
    uint32_t  number;
    uint64_t  token; /* only the event with it resumes the task */
    const void *waits_for; /* a condition, a task, a bell */
    bool      began, ended, rung;
};

typedef struct event {
    uint64_t at, number, token;
    task    *t; /* or */
    sim_fn  *fn;
    void    *arg;
} event;

typedef struct group {
    uint32_t slow; /* times */
    uint32_t kill_in;
    sim_fn  *then;
    void    *then_arg;
    uint64_t stalled_until;
} group;

typedef struct bell {
    addr     who;
    uint64_t epoch;
    uint64_t rung;
    uint32_t due; /* on their way */
    bool     lost; /* one was dropped, and none was heard since */
    bool     poked;
    bool     open;
} bell;

static struct {
    uint64_t seed, random[2], now, numbers;
    int64_t  wall_us;
    event   *heap;
    uint32_t events, room;
    task     task[TASKS_MAX];
    uint32_t tasks;
    task    *running;
    jmp_buf  scheduler;
    uint8_t *pool[POOL_MAX];
    uint32_t pooled;
    uint8_t *to_pool; /* the stack of who just ended: free once we are off it */
    group    group[GROUPS_MAX];
    bell     bell[BELLS_MAX];
    uint32_t bells;
    uint32_t drop_ppm, delay_ppm;
    char     trouble[1024];
} sim;

tally the_tally;
bool  sim_talks;

/* ---- talk ---- */

void
sim_say(const char *fmt, ...)
{
    va_list ap;

    if (!sim_talks)
        return;
    fprintf(stderr, "%12.6f %-3d ", (double)sim.now / 1e9,
            sim.running != NULL ? (int)sim.running->number : -1);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static const char *const oracle_names[] = {
#define X(ORACLE, name, what) name,
    ORACLES(X)
#undef X
};

void
sim_fail(enum oracle which, const char *fmt, ...)
{
    va_list ap;
    int     n;

    n = snprintf(sim.trouble, sizeof sim.trouble, "seed %llu at %.6f s: %s: ",
                 (unsigned long long)sim.seed, (double)sim.now / 1e9, oracle_names[which]);
    va_start(ap, fmt);
    vsnprintf(sim.trouble + n, sizeof sim.trouble - (size_t)n, fmt, ap);
    va_end(ap);
    printf("%s\n", sim.trouble);
    fflush(NULL);
    _exit(3);
}

void
sim_saw(enum oracle which, uint64_t times)
{
    the_tally.oracles[which] += times;
}

void
sim_fault(enum fault which)
{
    the_tally.faults[which]++;
    sim_mix(which + 1);
}

void
sim_mix(uint64_t what)
{
    uint64_t h = the_tally.hash ^ what;

    h *= 0x9e3779b97f4a7c15ull;
    the_tally.hash = h ^ h >> 29;
}

/* ---- chance: xorshift128+ ---- */

uint64_t
sim_random(void)
{
    uint64_t a = sim.random[0], b = sim.random[1];

    sim.random[0] = b;
    a ^= a << 23;
    sim.random[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return sim.random[1] + b;
}

uint64_t
sim_below(uint64_t n)
{
    return (uint64_t)(((unsigned __int128)sim_random() * n) >> 64);
}

bool
sim_one_in(uint64_t n)
{
    return sim_below(n) == 0;
}

static int
chance(void *out, size_t len)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t r = sim_random();

        memcpy((uint8_t *)out + i, &r, len - i < 8 ? len - i : 8);
    }
    return 0;
}

static void
sodium_bytes(void *const out, const size_t len)
{
    (void)chance(out, len);
}

static uint32_t
sodium_word(void)
{
    return (uint32_t)sim_random();
}

static const char *
sodium_name(void)
{
    return "sim";
}

static randombytes_implementation sodium_chance = {
    .implementation_name = sodium_name, .random = sodium_word, .buf = sodium_bytes
};

/* ---- events ---- */

static bool
earlier(const event *a, const event *b)
{
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void
put_event(event e)
{
    uint32_t at = sim.events++;

    if (sim.events > sim.room) {
        sim.room = sim.room == 0 ? 1024 : 2 * sim.room;
        sim.heap = realloc(sim.heap, sim.room * sizeof *sim.heap);
        ASSERT(sim.heap != NULL);
    }
    e.number = ++sim.numbers;
    while (at > 0 && earlier(&e, &sim.heap[(at - 1) / 2])) {
        sim.heap[at] = sim.heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    sim.heap[at] = e;
}

static event
take_event(void)
{
    event    first = sim.heap[0];
    event    e = sim.heap[--sim.events];
    uint32_t at = 0;

    for (;;) {
        uint32_t below = 2 * at + 1;

        if (below + 1 < sim.events && earlier(&sim.heap[below + 1], &sim.heap[below]))
            below++;
        if (below >= sim.events || !earlier(&sim.heap[below], &e))
            break;
        sim.heap[at] = sim.heap[below];
        at = below;
    }
    sim.heap[at] = e;
    return first;
}

void
sim_after(uint64_t ns, sim_fn *fn, void *arg)
{
    put_event((event){ .at = sim.now + ns, .fn = fn, .arg = arg });
}

static void
resume_at(task *t, uint64_t at)
{
    put_event((event){ .at = at, .t = t, .token = ++t->token });
}

/* ---- tasks ---- */

static _Noreturn void
to_scheduler(void)
{
    sim.running = NULL;
    _longjmp(sim.scheduler, 1);
}

/* Until an event with the task's token. */
static void
switch_away(void)
{
    task *t = sim.running;

    if (_setjmp(t->at) == 0)
        to_scheduler();
}

static void
trampoline(void)
{
    task *t = sim.running;

    t->fn(t->arg);
    t->ended = true;
    t->token++;
    sim.to_pool = t->stack;
    t->stack = NULL;
    for (uint32_t i = 0; i < sim.tasks; i++)
        if (sim.task[i].waits_for == t && !sim.task[i].ended)
            resume_at(&sim.task[i], sim.now);
    to_scheduler();
}

static uint8_t *
stack_take(void)
{
    uint8_t *s;

    if (sim.pooled > 0)
        return sim.pool[--sim.pooled];
    s = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    ASSERT(s != MAP_FAILED);
    return s;
}

static void
stack_give(uint8_t *s)
{
    if (s == NULL)
        return;
    if (sim.pooled < POOL_MAX)
        sim.pool[sim.pooled++] = s;
    else
        (void)munmap(s, STACK_BYTES);
}

task *
task_start(sim_fn *fn, void *arg, uint32_t in, addr who)
{
    static uint32_t numbers;
    task           *t = NULL;

    for (uint32_t i = 0; i < sim.tasks && t == NULL; i++)
        if (sim.task[i].ended && sim.task[i].stack == NULL)
            t = &sim.task[i];
    if (t == NULL) {
        ASSERT(sim.tasks < TASKS_MAX);
        t = &sim.task[sim.tasks++];
    }
    *t = (task){ .fn = fn, .arg = arg, .group = in, .who = who, .number = ++numbers,
                 .token = t->token, .stack = stack_take() };
    resume_at(t, sim.now + sim_below(5 * US));
    return t;
}

task *
task_running(void)
{
    return sim.running;
}

addr
task_who(const task *t)
{
    return t->who;
}

bool
task_ended(const task *t)
{
    return t->ended;
}

static void
enter(task *t)
{
    ucontext_t first;

    if (t->began)
        _longjmp(t->at, 1);
    t->began = true;
    ASSERT(getcontext(&first) == 0);
    first.uc_stack.ss_sp = t->stack;
    first.uc_stack.ss_size = STACK_BYTES;
    first.uc_link = NULL;
    makecontext(&first, trampoline, 0);
    (void)setcontext(&first);
    abort();
}

static void
run(task *t)
{
    the_tally.switches++;
    sim_mix(sim.now ^ (uint64_t)t->number << 48);
    if (_setjmp(sim.scheduler) == 0) {
        sim.running = t;
        enter(t);
    }
    stack_give(sim.to_pool);
    sim.to_pool = NULL;
}

static void
judge_kill(task *t)
{
    group *g = &sim.group[t->group];

    /* `then` kills the group from the scheduler's side, at this very moment: this is never resumed. */
    if (g->kill_in == 0 || --g->kill_in > 0)
        return;
    sim_say("kill in a pause, group %u", t->group);
    t->token++;
    put_event((event){ .at = sim.now, .fn = g->then, .arg = g->then_arg });
    to_scheduler();
}

static void
pause_here(void)
{
    task    *t = sim.running;
    uint64_t cost;

    if (t == NULL)
        return;
    judge_kill(t);
    cost = (50 + (sim_random() & 255)) * sim.group[t->group].slow;
    if (sim.group[t->group].stalled_until > sim.now)
        cost += sim.group[t->group].stalled_until - sim.now;
    if (sim.events == 0 || sim.heap[0].at > sim.now + cost) {
        sim.now += cost;
        return;
    }
    resume_at(t, sim.now + cost);
    switch_away();
}

void
task_sleep(uint64_t ns)
{
    task *t = sim.running;

    ASSERT(t != NULL);
    resume_at(t, sim.now + ns * (sim.group[t->group].slow > 1 ? 4 : 1));
    switch_away();
    judge_kill(t);
}

bool
sim_turn(void)
{
    event e;

    if (sim.events == 0)
        return false;
    e = take_event();
    if (e.at > sim.now)
        sim.now = e.at;
    if (e.t == NULL) {
        sim_mix(sim.now);
        e.fn(e.arg);
    } else if (!e.t->ended && e.t->token == e.token) {
        if (sim.group[e.t->group].stalled_until > sim.now)
            resume_at(e.t, sim.group[e.t->group].stalled_until);
        else
            run(e.t);
    }
    return true;
}

/* ---- groups ---- */

void
group_kill(uint32_t in)
{
    ASSERT(sim.running == NULL);
    for (uint32_t i = 0; i < sim.tasks; i++) {
        task *t = &sim.task[i];

        if (t->group != in || t->ended)
            continue;
        t->ended = true;
        t->token++;
        stack_give(t->stack);
        t->stack = NULL;
    }
    sim.group[in].kill_in = 0;
    sim.group[in].stalled_until = 0;
    sim.group[in].slow = 1;
}

void
group_kill_at(uint32_t in, uint32_t points, sim_fn *then, void *arg)
{
    sim.group[in].kill_in = points;
    sim.group[in].then = then;
    sim.group[in].then_arg = arg;
}

void
group_slow(uint32_t in, uint32_t times)
{
    sim.group[in].slow = times;
}

void
group_stall(uint32_t in, uint64_t until_ns)
{
    sim.group[in].stalled_until = until_ns;
}

/* ---- clocks ---- */

static uint64_t
now_ns(void)
{
    if (sim.running != NULL)
        sim.now += 20; /* so that who waits for it to pass gets there */
    return sim.now;
}

static int64_t
wall_us(void)
{
    return sim.wall_us + (int64_t)(sim.now / 1000);
}

uint64_t
sim_now(void)
{
    return sim.now;
}

uint64_t
sim_seed(void)
{
    return sim.seed;
}

void
sim_jump_wall(int64_t us)
{
    sim.wall_us += us;
}

/* ---- helper threads ---- */

typedef struct thread_arg {
    void *(*fn)(void *);
    void *arg;
} thread_arg;

static void
thread_main(void *arg)
{
    thread_arg *a = arg;

    (void)a->fn(a->arg);
}

static int
thread_start(pthread_t *t, void *(*fn)(void *), void *arg, const char *title)
{
    thread_arg *a = malloc(sizeof *a);
    task       *me = sim.running;

    (void)title;
    ASSERT(a != NULL && me != NULL);
    *a = (thread_arg){ fn, arg };
    *t = (pthread_t)(uintptr_t)task_start(thread_main, a, me->group, me->who);
    return 0;
}

static void
thread_join(pthread_t id)
{
    task *t = (task *)(uintptr_t)id;

    if (t->ended || sim.running == NULL) /* killed with its actor */
        return;
    sim.running->waits_for = t;
    switch_away();
    sim.running->waits_for = NULL;
}

static void
cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
    (void)pthread_mutex_unlock(m);
    sim.running->waits_for = c;
    switch_away();
    sim.running->waits_for = NULL;
    (void)pthread_mutex_lock(m);
}

static void
cond_wake(pthread_cond_t *c, bool all)
{
    for (uint32_t i = 0; i < sim.tasks; i++) {
        task *t = &sim.task[i];

        if (t->ended || t->waits_for != c)
            continue;
        t->waits_for = NULL;
        resume_at(t, sim.now + 500 + sim_below(20 * US));
        if (!all)
            return;
    }
}

/* ---- bells ---- */

static bell *
bell_of(addr who)
{
    for (uint32_t i = 0; i < sim.bells; i++)
        if (sim.bell[i].who == who)
            return &sim.bell[i];
    return NULL;
}

static void *
bell_open(uint64_t owner, uint64_t epoch)
{
    bell *b = bell_of(owner);

    if (b == NULL) {
        ASSERT(sim.bells < BELLS_MAX);
        b = &sim.bell[sim.bells++];
    }
    *b = (bell){ .who = owner, .epoch = epoch, .open = true };
    return b;
}

static void
bell_close(void *arg)
{
    bell *b = arg;

    b->open = false;
}

static void
bell_wake(bell *b)
{
    for (uint32_t i = 0; i < sim.tasks; i++) {
        task *t = &sim.task[i];

        if (t->ended || t->waits_for != b)
            continue;
        t->waits_for = NULL;
        t->rung = true;
        resume_at(t, sim.now + 200 + sim_below(5 * US));
    }
}

static void
bell_arrives(void *arg)
{
    bell *b = arg;

    if (b->due == 0) /* its owner was started anew meanwhile */
        return;
    b->due--;
    b->lost = false;
    b->rung++;
    bell_wake(b);
}

static bool
bell_ring(uint64_t whom, uint64_t epoch)
{
    bell    *b = bell_of(whom);
    uint64_t dice = sim_below(1000000);

    if (b == NULL || !b->open || b->epoch != epoch)
        return true; /* into the void: its successor looks */
    if (dice < sim.drop_ppm) {
        sim_fault(FAULT_BELL_DROP);
        b->lost = true;
        return true;
    }
    b->due++;
    if (dice < sim.drop_ppm + sim.delay_ppm) {
        sim_fault(FAULT_BELL_DELAY);
        sim_after(sim_below(20 * MS), bell_arrives, b);
    } else {
        sim_after(500 + sim_below(10 * US), bell_arrives, b);
    }
    return true;
}

static uint64_t
bell_heard(void *arg)
{
    bell    *b = arg;
    uint64_t n = b->rung;

    b->rung = 0;
    b->poked = false;
    return n;
}

bool
bell_is_due(addr who)
{
    const bell *b = bell_of(who);

    return b == NULL || b->due > 0 || b->rung > 0 || b->poked || b->lost;
}

static void
bell_wait(void *arg, uint64_t ns)
{
    bell *b = arg;
    task *t = sim.running;

    if (b->rung > 0 || b->poked)
        return;
    node_check_sleep(b->who, false);
    t->waits_for = b;
    t->rung = false;
    if (ns != UINT64_MAX)
        resume_at(t, sim.now + ns);
    switch_away();
    t->waits_for = NULL;
    judge_kill(t);
    if (!t->rung)
        node_check_sleep(b->who, true);
}

static void
bell_poke(void *arg)
{
    bell *b = arg;

    b->poked = true;
    bell_wake(b);
}

void
bell_knock(addr who)
{
    bell *b = bell_of(who);

    if (b != NULL && b->open)
        bell_poke(b);
}

void
bell_sleep(uint64_t ns)
{
    bell *b = bell_of(sim.running->who);

    ASSERT(b != NULL);
    bell_wait(b, ns);
}

void
bell_faults(uint32_t drop_ppm, uint32_t delay_ppm)
{
    sim.drop_ppm = drop_ppm;
    sim.delay_ppm = delay_ppm;
}

static const world_bells bells = {
    .open = bell_open,
    .close = bell_close,
    .ring = bell_ring,
    .heard = bell_heard,
    .wait = bell_wait,
    .poke = bell_poke,
};

/* ---- opening ---- */

void
sim_open(uint64_t seed)
{
    static world w;

    sim.seed = seed;
    sim.random[0] = (seed + 1) * 0x9e3779b97f4a7c15ull;
    sim.random[1] = (seed ^ 0x94d049bb133111ebull) * 0xbf58476d1ce4e5b9ull | 1;
    for (int i = 0; i < 16; i++)
        (void)sim_random();
    sim.now = SEC;
    sim.wall_us = WALL_START;
    for (uint32_t i = 0; i < GROUPS_MAX; i++)
        sim.group[i].slow = 1;
    w = disk_calls;
    w.name = "sim";
    w.now_ns = now_ns;
    w.wall_us = wall_us;
    w.chance = chance;
    w.thread_start = thread_start;
    w.thread_join = thread_join;
    w.wait = cond_wait;
    w.wake = cond_wake;
    w.bells = &bells;
    w.pause = pause_here;
    world_set(&w);
    (void)randombytes_set_implementation(&sodium_chance);
}
