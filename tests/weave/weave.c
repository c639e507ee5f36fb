/* weave.c - see weave.h. */
#include "tests/weave/weave.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "tests/weave/atomic.h"

enum { STACK = 128 * 1024, POINTS_MAX = 4096, BUFFER = 8 };
enum { GO_ON, TURN, DELAY, KILL };
enum state { RUNS, SLEEPS, ENDED };

typedef struct held {
    volatile void *at;
    unsigned       size;
    uint64_t       value;
} held;

typedef struct thread {
    ucontext_t context;
    uint8_t   *stack;
    enum state state;
    bool       woken;
    held       buffer[BUFFER];
    uint32_t   buffered;
} thread;

typedef struct point {
    uint8_t options[4]; /* GO_ON first */
    uint8_t count;
    uint8_t taken; /* index of options[] */
    const volatile void *at;
} point;

static const weave_scene   *scene;
static thread               threads[WEAVE_THREADS];
static uint32_t             current;
static ucontext_t           home;
static bool                 inside; /* a scene's thread runs */
static point                points[POINTS_MAX];
static uint32_t             point_count, point_at;
static uint32_t             budget, spent;
static bool                 killed;
static const char          *failure;
static const volatile void *weak[WEAVE_WEAK_MAX];
static uint32_t             weak_count;

void
weave_weaken(const volatile void *word)
{
    weak[weak_count++] = word;
}

void
weave_weaken_none(void)
{
    weak_count = 0;
}

static bool
is_weak(const volatile void *at)
{
    for (uint32_t i = 0; i < weak_count; i++)
        if (weak[i] == at)
            return true;
    return false;
}

/* ---- memory ---- */

static uint64_t
memory_load(const volatile void *at, unsigned size)
{
    return size == 8 ? *(const volatile uint64_t *)at : *(const volatile uint32_t *)at;
}

static void
memory_store(volatile void *at, unsigned size, uint64_t value)
{
    if (size == 8)
        *(volatile uint64_t *)at = value;
    else
        *(volatile uint32_t *)at = (uint32_t)value;
}

static void
drain(thread *t)
{
    for (uint32_t i = 0; i < t->buffered; i++)
        memory_store(t->buffer[i].at, t->buffer[i].size, t->buffer[i].value);
    t->buffered = 0;
}

/* ---- turning ---- */

/* To whoever can run; home when nobody can. */
static void
leave(void)
{
    thread *from = &threads[current];

    for (uint32_t i = 1; i <= WEAVE_THREADS; i++) {
        uint32_t next = (current + i) % WEAVE_THREADS;

        if (threads[next].state != RUNS)
            continue;
        if (next == current)
            return;
        current = next;
        (void)swapcontext(&from->context, &threads[next].context);
        return;
    }
    (void)swapcontext(&from->context, &home);
}

void
weave_fail(const char *why)
{
    failure = why;
    if (!inside)
        return;
    (void)setcontext(&home);
    abort();
}

static void
thread_main(void)
{
    uint32_t me = current;

    scene->run[me]();
    drain(&threads[me]);
    threads[me].state = ENDED;
    for (;;)
        leave();
}

static void
reborn_main(void)
{
    uint32_t me = current;

    scene->reborn[me]();
    drain(&threads[me]);
    threads[me].state = ENDED;
    for (;;)
        leave();
}

static void
prepare(thread *t, weave_fn *entry)
{
    (void)getcontext(&t->context);
    t->context.uc_stack.ss_sp = t->stack;
    t->context.uc_stack.ss_size = STACK;
    t->context.uc_link = NULL;
    makecontext(&t->context, entry, 0);
    t->state = RUNS;
    t->woken = false;
    t->buffered = 0;
}

/* ---- choices ---- */

static bool
other_runs(void)
{
    for (uint32_t i = 0; i < WEAVE_THREADS; i++)
        if (i != current && threads[i].state == RUNS)
            return true;
    return false;
}

static uint32_t
choose(const volatile void *at, bool may_delay)
{
    point   *p = &points[point_at];
    uint32_t what;

    if (point_at == POINTS_MAX)
        weave_fail("the run does not end");
    if (point_at == point_count) { /* new ground: what is there to choose? */
        p->taken = p->count = 0;
        p->at = at;
        p->options[p->count++] = GO_ON;
        if (spent < budget && other_runs())
            p->options[p->count++] = TURN;
        if (spent < budget && may_delay && threads[current].buffered < BUFFER)
            p->options[p->count++] = DELAY;
        if (spent < budget && !killed && scene->reborn[current] != NULL)
            p->options[p->count++] = KILL;
        point_count++;
    }
    if (p->at != at && !killed) /* a successor's mappings lie where they come to lie */
        weave_fail("the same choices led elsewhere: something outside of the run has changed");
    point_at++;
    what = p->options[p->taken];
    spent += what != GO_ON;
    return what;
}

/* The thread is gone; its successor begins when it is its turn, which is now or later. */
static void
kill_current(void)
{
    thread *t = &threads[current];

    drain(t);
    killed = true;
    t->stack += STACK; /* we still stand on the first */
    prepare(t, reborn_main);
    (void)setcontext(&t->context);
}

static uint32_t
at_point(const volatile void *at, bool may_delay)
{
    uint32_t what = choose(at, may_delay);

    if (what == TURN)
        leave();
    else if (what == KILL)
        kill_current();
    return what;
}

void
weave_sleep(void)
{
    thread *t = &threads[current];

    (void)at_point(NULL, false); /* between its last look and the sleep, which is a fence */
    drain(t);
    if (!t->woken) {
        t->state = SLEEPS;
        leave();
    }
    t->woken = false;
}

void
weave_wake(uint32_t who)
{
    threads[who].woken = true;
    if (threads[who].state == SLEEPS)
        threads[who].state = RUNS;
}

uint64_t
weave_load(const volatile void *at, unsigned size)
{
    const thread *t = &threads[current];

    if (!inside)
        return memory_load(at, size);
    (void)at_point(at, false);
    for (uint32_t i = t->buffered; i-- > 0;)
        if (t->buffer[i].at == at)
            return t->buffer[i].value;
    return memory_load(at, size);
}

void
weave_store(volatile void *at, unsigned size, uint64_t value, memory_order order)
{
    thread *t = &threads[current];
    bool    fenced = order == memory_order_seq_cst && !is_weak(at);

    if (!inside) {
        memory_store(at, size, value);
        return;
    }
    if (at_point(at, !fenced && t->buffered == 0) == DELAY || (!fenced && t->buffered > 0)) {
        if (t->buffered == BUFFER)
            drain(t);
        t->buffer[t->buffered++] = (held){ at, size, value };
        return;
    }
    drain(t);
    memory_store(at, size, value);
}

uint64_t
weave_exchange(volatile void *at, unsigned size, uint64_t value)
{
    uint64_t before;

    if (inside)
        (void)at_point(at, false);
    drain(&threads[current]);
    before = memory_load(at, size);
    memory_store(at, size, value);
    return before;
}

/* ---- runs ---- */

static void
run_once(void)
{
    static uint8_t stacks[WEAVE_THREADS][2 * STACK];

    failure = NULL;
    point_at = spent = 0;
    killed = false;
    scene->reset();
    for (uint32_t i = 0; i < WEAVE_THREADS; i++) {
        threads[i].stack = stacks[i];
        prepare(&threads[i], thread_main);
    }
    current = 0;
    inside = true;
    (void)swapcontext(&home, &threads[0].context);
    inside = false;
    for (uint32_t i = 0; i < WEAVE_THREADS && failure == NULL; i++)
        if (threads[i].state != ENDED)
            failure = "a thread sleeps and nobody is left to wake it";
    if (failure == NULL && scene->check != NULL)
        scene->check();
}

/* False: that was the last. */
static bool
next_run(void)
{
    while (point_count > 0) {
        point *p = &points[point_count - 1];

        if (p->taken + 1 < p->count) {
            p->taken++;
            return true;
        }
        point_count--;
    }
    return false;
}

static void
print_run(const char *why)
{
    static const char *const words[] = { "go on", "turn", "delay", "kill" };

    (void)printf("    %s: %s after", scene->name, why);
    for (uint32_t i = 0; i < point_at; i++)
        if (points[i].taken != 0)
            (void)printf(" %s at %u,", words[points[i].options[points[i].taken]], i);
    (void)printf(" of %u points\n", point_at);
}

weave_result
weave_explore(const weave_scene *s, uint32_t most)
{
    weave_result r = { 0, NULL };

    scene = s;
    budget = most;
    point_count = 0;
    do {
        run_once();
        r.runs++;
        r.failed = failure;
    } while (failure == NULL && next_run());
    if (failure != NULL)
        print_run(failure);
    return r;
}
