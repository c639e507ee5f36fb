/* forget.h - the pages of long copies of bodies are given back in slices: freed at once, ten megabytes hold the loop
 * for a millisecond. */
#ifndef HALTLESS_API_FORGET_H
#define HALTLESS_API_FORGET_H

#include "proto/base.h"

#include <sys/mman.h>

enum { FORGET_STEP = 256 << 10, FORGET_FROM = 512 << 10 /* bytes of a body that is worth it */ };

/* body's bytes [from, until) are no longer wanted: one step of them is zero then.  Returns where it came to. */
static inline size_t
forget_some(view body, size_t from, size_t until)
{
    enum { PAGE = 4096 };
    size_t    to = (size_t)min_u64(until, from + FORGET_STEP);
    uintptr_t first = round_up((uintptr_t)body.at + from, PAGE); /* a page that is partly somebody else's stays */
    uintptr_t last = ((uintptr_t)body.at + to) / PAGE * PAGE;

    if (to - from < FORGET_STEP && to < body.len)
        return from; /* not worth a call yet */
    if (last > first)
        (void)madvise((void *)first, last - first, MADV_DONTNEED);
    return to == body.len ? to : (size_t)(last - (uintptr_t)body.at);
}

#endif
