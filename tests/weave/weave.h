/* weave.h - every schedule of a few threads, within a budget, on the code that really runs.
 *
 * The threads are coroutines of one process.  Each atomic operation is a point (atomic.h) with choices:
 *
 *     go on  |  turn to another thread  |  hold this store back (unless it is seq_cst)  |  kill this thread
 *
 * Going on is free, any other choice costs one of the budget; a thread that sleeps or ends is left for free.
 * Stores that were held back lie in their thread's buffer, in order, as on x86: the thread itself reads them,
 * others see them when it does something seq_cst, sleeps, ends, or is killed.
 *
 * A run is named by its choices; the next one differs in the last choice that has another option.  A run
 * fails when a scene says so (weave_fail), or when threads sleep and nobody is left to wake them.
 */
#ifndef HALTLESS_TESTS_WEAVE_WEAVE_H
#define HALTLESS_TESTS_WEAVE_WEAVE_H

#include <stdbool.h>
#include <stdint.h>

enum { WEAVE_THREADS = 2, WEAVE_WEAK_MAX = 4 };

typedef void weave_fn(void);

typedef struct weave_scene {
    const char *name;
    weave_fn   *reset;                /* before each run */
    weave_fn   *run[WEAVE_THREADS];
    weave_fn   *check;                /* after each run that ended */
    weave_fn   *reborn[WEAVE_THREADS]; /* what goes on in place of a killed thread; NULL: it is not killed */
} weave_scene;

typedef struct weave_result {
    uint64_t    runs;
    const char *failed; /* NULL: no run did */
} weave_result;

/* All runs of at most `budget` turns, delays and kills (at most one kill a run); stops at the first that fails. */
weave_result weave_explore(const weave_scene *s, uint32_t budget);

/* For mutants: stores to that word are release, whatever the code says. */
void weave_weaken(const volatile void *word);
void weave_weaken_none(void);

/* ---- inside a scene ---- */
void weave_fail(const char *why); /* ends the run */
/* Sleeps until somebody calls weave_wake for this thread; a wake that came before is not lost. */
void weave_sleep(void);
void weave_wake(uint32_t thread);

#endif
