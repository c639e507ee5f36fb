/* ak_timer.c - timers and the deadlines of asks: one binary heap over a table with stable ids.
 *
 *   heap   [0] earliest ...          indices of due[]; due[i].heap_at points back
 *   id     sequence << 20 | index    a used-up id never hits the next user of the index
 */
#include "actors/ak_internal.h"

#include <stdlib.h>

enum { DUE_BITS = 20, DUES_FIRST = 64, DUES_STEP_MAX = 4096 };

static void
heap_put(ak_dues *d, uint32_t at, uint32_t index)
{
    d->heap[at] = index;
    d->due[index].heap_at = at;
}

static void
heap_up(ak_dues *d, uint32_t at)
{
    uint32_t index = d->heap[at];

    while (at > 0) {
        uint32_t above = (at - 1) / 2;

        if (d->due[d->heap[above]].at_ns <= d->due[index].at_ns)
            break;
        heap_put(d, at, d->heap[above]);
        at = above;
    }
    heap_put(d, at, index);
}

static void
heap_down(ak_dues *d, uint32_t at)
{
    uint32_t index = d->heap[at];

    for (;;) {
        uint32_t below = 2 * at + 1;

        if (below >= d->heap_count)
            break;
        if (below + 1 < d->heap_count &&
            d->due[d->heap[below + 1]].at_ns < d->due[d->heap[below]].at_ns)
            below++;
        if (d->due[index].at_ns <= d->due[d->heap[below]].at_ns)
            break;
        heap_put(d, at, d->heap[below]);
        at = below;
    }
    heap_put(d, at, index);
}

static void
heap_remove(ak_dues *d, uint32_t at)
{
    uint32_t last = d->heap[--d->heap_count];

    if (at == d->heap_count)
        return;
    heap_put(d, at, last);
    heap_up(d, at);
    heap_down(d, d->due[last].heap_at);
}

static void
dues_grow(ak_dues *d)
{
    uint32_t room = d->room == 0 ? DUES_FIRST : d->room * 2;

    ASSERT(room <= 1u << DUE_BITS);
    d->due = realloc(d->due, room * sizeof *d->due);
    d->heap = realloc(d->heap, room * sizeof *d->heap);
    ASSERT(d->due != NULL && d->heap != NULL);
    d->room = room;
}

static uint32_t
due_take(ak_dues *d)
{
    uint32_t index;

    if (d->free != 0) {
        index = d->free - 1;
        d->free = d->due[index].next_free;
        return index;
    }
    if (d->used == d->room)
        dues_grow(d);
    return d->used++;
}

static void
due_give(ak_dues *d, uint32_t index)
{
    d->due[index].id = 0;
    d->due[index].next_free = d->free;
    d->free = index + 1;
}

uint64_t
ak__due_add(ak *k, uint64_t at_ns, uint64_t corr, void *ctx)
{
    ak_dues *d = &k->dues;
    uint32_t index = due_take(d);
    uint64_t id = ++d->seq << DUE_BITS | index;

    d->due[index] = (ak_due){ .at_ns = at_ns, .id = id, .corr = corr, .ctx = ctx };
    d->heap[d->heap_count] = index;
    heap_up(d, d->heap_count++);
    return id;
}

void
ak__due_cancel(ak *k, uint64_t id)
{
    ak_dues *d = &k->dues;
    uint32_t index = (uint32_t)(id & ((1u << DUE_BITS) - 1));

    if (id == 0 || index >= d->used || d->due[index].id != id)
        return;
    heap_remove(d, d->due[index].heap_at);
    due_give(d, index);
}

uint64_t
ak__due_next(const ak *k)
{
    const ak_dues *d = &k->dues;

    return d->heap_count == 0 ? UINT64_MAX : d->due[d->heap[0]].at_ns;
}

/* Bounded: a handler that sets a timer of 0 ns does not hold the step. */
uint32_t
ak__dues_run(ak *k)
{
    ak_dues *d = &k->dues;
    uint32_t ran = 0;

    while (ran < DUES_STEP_MAX && d->heap_count > 0 && k->dead == 0) {
        uint32_t index = d->heap[0];
        ak_due   due = d->due[index];

        if (due.at_ns > k->now_ns)
            break;
        heap_remove(d, 0);
        due_give(d, index);
        ran++;
        if (due.corr != 0)
            ak__ask_late(k, due.corr);
        else
            ak__call_local(k, MSG_TIMER, k->me, due.id, due.ctx);
    }
    return ran;
}

uint64_t
ak_timer(ak *k, uint64_t after_ns, void *ctx)
{
    return ak__due_add(k, ak__now(k) + after_ns, 0, ctx);
}

void
ak_timer_cancel(ak *k, uint64_t id)
{
    ak__due_cancel(k, id);
}
