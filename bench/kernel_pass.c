/* kernel_pass.c - the bytes of records, copied by one core and looked at by another, with nothing that makes a queue of it.
 *
 * Two windows, each half a lane: one side copies records into one while the other reads a word of each line of the other window.
 * A word a window says that it is full, another that it is free: that is all they share.  On a machine of one socket this is
 * close to memcpy where both cores share a cache, and a tenth of it where they do not: a virtual machine's cores may be moved
 * from one to the other between two runs.
 */
#include "bench/kernel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { ENVELOPE = 64, LINE = 64, WINDOW = KERNEL_LANE / 2, SPINS = 4096 };
static const uint64_t PASS_NS = 40000000;

typedef struct pass {
    const kernel_bench *b;
    uint8_t            *data;
    uint32_t            record;
    _Alignas(128) _Atomic uint64_t full;  /* windows written */
    _Alignas(128) _Atomic uint64_t freed; /* windows read */
    _Alignas(128) _Atomic bool     over;
    uint64_t            sum; /* so that what was read was read */
} pass;

static bool
wait_for(pass *p, _Atomic uint64_t *word, uint64_t least)
{
    for (uint32_t i = 1; atomic_load_explicit(word, memory_order_acquire) < least; i++) {
        if (atomic_load_explicit(&p->over, memory_order_relaxed))
            return false;
        if (i % SPINS == 0)
            (void)sched_yield();
        __builtin_ia32_pause();
    }
    return true;
}

static void *
look(void *arg)
{
    pass    *p = arg;
    uint64_t sum = 0;

    kernel_place(p->b, 1, true);
    for (uint64_t n = 0; wait_for(p, &p->full, n + 1); n++) {
        const uint8_t *at = p->data + n % 2 * WINDOW;

        for (uint32_t i = 0; i < WINDOW; i += LINE)
            sum += *(const volatile uint32_t *)(const volatile void *)(at + i);
        atomic_store_explicit(&p->freed, n + 1, memory_order_release);
    }
    p->sum = sum;
    return NULL;
}

static uint64_t
write_windows(pass *p, const uint8_t *from)
{
    uint64_t begun = bench_now_ns();
    uint64_t n = 0;

    while (bench_now_ns() - begun < PASS_NS) {
        uint8_t *to = p->data + n % 2 * WINDOW;

        if (n >= 2 && !wait_for(p, &p->freed, n - 1))
            break;
        for (uint32_t at = 0; at + p->record <= WINDOW; at += p->record)
            memcpy(to + at, from, p->record);
        atomic_store_explicit(&p->full, ++n, memory_order_release);
    }
    (void)wait_for(p, &p->freed, n);
    return n;
}

double
kernel_pass_rate(const kernel_bench *b, uint32_t body)
{
    pass      p = { .b = b, .record = ENVELOPE + (uint32_t)round_up(body, LINE) };
    uint8_t  *from = aligned_alloc(LINE, p.record);
    pthread_t peer;
    uint64_t  begun;
    uint64_t  windows;
    double    took;

    p.data = aligned_alloc(4096, KERNEL_LANE);
    ASSERT(from != NULL && p.data != NULL);
    memset(p.data, 1, KERNEL_LANE);
    memset(from, 2, p.record);
    kernel_place(b, 0, true);
    if (pthread_create(&peer, NULL, look, &p) != 0) {
        free(from);
        free(p.data);
        return 0;
    }
    begun = bench_now_ns();
    windows = write_windows(&p, from);
    took = (double)(bench_now_ns() - begun) / 1e9;
    atomic_store(&p.over, true);
    (void)pthread_join(peer, NULL);
    free(from);
    free(p.data);
    return (double)windows * (WINDOW / p.record) / took;
}
