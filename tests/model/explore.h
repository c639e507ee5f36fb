/* explore.h - every reachable state of a small model: a set of 64-bit states and a list of those to
 * visit. */
#ifndef HALTLESS_TESTS_MODEL_EXPLORE_H
#define HALTLESS_TESTS_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXPLORE_MAX = 1 << 20 };

typedef struct explore {
    uint64_t *seen; /* open addressing; 0 is free: states are stored + 1 */
    uint64_t *frontier;
    uint32_t  count;
    uint32_t  next;
} explore;

static inline explore
explore_from(uint64_t first)
{
    explore x = { calloc(2 * EXPLORE_MAX, sizeof(uint64_t)), calloc(EXPLORE_MAX, sizeof(uint64_t)),
                  1, 0 };

    if (x.seen == NULL || x.frontier == NULL)
        abort();
    x.frontier[0] = first;
    return x;
}

static inline void
explore_reach(explore *x, uint64_t state)
{
    uint64_t at = state * UINT64_C(0x9e3779b97f4a7c15) >> 43; /* 21 bits */

    for (; x->seen[at] != 0; at = (at + 1) & (2 * EXPLORE_MAX - 1))
        if (x->seen[at] == state + 1)
            return;
    if (x->count == EXPLORE_MAX) {
        (void)fprintf(stderr, "too many states\n");
        exit(2);
    }
    x->seen[at] = state + 1;
    x->frontier[x->count++] = state;
}

static inline bool
explore_next(explore *x, uint64_t *state)
{
    if (x->next == x->count)
        return false;
    *state = x->frontier[x->next++];
    return true;
}

static inline void
explore_end(explore *x)
{
    free(x->seen);
    free(x->frontier);
}

#endif
