/* deadlines.c - see deadlines.h. */
#include "actors/deadlines.h"

#include <stdlib.h>

static void
swap(deadline *a, deadline *b)
{
    deadline was = *a;

    *a = *b;
    *b = was;
}

void
deadlines_add(deadlines *d, deadline one)
{
    uint32_t i = d->count;

    if (d->count == d->room) {
        d->room = d->room == 0 ? 256 : d->room * 2;
        d->at = realloc(d->at, d->room * sizeof *d->at);
        ASSERT(d->at != NULL);
    }
    d->at[d->count++] = one;
    for (; i > 0 && d->at[i].at_us < d->at[(i - 1) / 2].at_us; i = (i - 1) / 2)
        swap(&d->at[i], &d->at[(i - 1) / 2]);
}

bool
deadlines_due(const deadlines *d, int64_t now_us)
{
    return d->count > 0 && d->at[0].at_us <= now_us;
}

deadline
deadlines_take(deadlines *d)
{
    deadline top;
    uint32_t i = 0;

    ASSERT(d->count > 0);
    top = d->at[0];
    d->at[0] = d->at[--d->count];
    for (;;) {
        uint32_t least = i;

        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < d->count; child++)
            if (d->at[child].at_us < d->at[least].at_us)
                least = child;
        if (least == i)
            return top;
        swap(&d->at[i], &d->at[least]);
        i = least;
    }
}

void
deadlines_fini(deadlines *d)
{
    free(d->at);
    *d = (deadlines){ 0 };
}
