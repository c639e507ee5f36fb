/* kernel_copy.c - the bytes of a record, envelope and body, copied once: what no queue can beat.
 *
 * The source lies in the cache, the target is a window as large as a lane; the middle one of the rounds. */
#include "bench/kernel.h"

#include <stdlib.h>

enum { ENVELOPE = 64, COPIES_ROUND = 256, KNOWN_MAX = 8, ROUNDS_MAX = 4096 };
static const uint64_t COPY_NS = 50000000;
static const uint32_t sizes[] = { 64, 256, 1024, 65536 };

static double
measure(uint32_t record)
{
    uint8_t *to = aligned_alloc(64, 2 * KERNEL_LANE);
    uint8_t *from = aligned_alloc(64, record);
    uint64_t ns[ROUNDS_MAX];
    uint64_t begun = bench_now_ns();
    uint32_t count = 0;
    uint32_t at = 0;

    ASSERT(to != NULL && from != NULL);
    memset(to, 1, 2 * KERNEL_LANE);
    memset(from, 2, record);
    for (; count < ROUNDS_MAX && bench_now_ns() - begun < COPY_NS; count++) {
        uint64_t from_ns = bench_now_ns();

        for (uint32_t i = 0; i < COPIES_ROUND; i++) {
            memcpy(from, &i, sizeof i);
            memcpy(to + at, from, record);
            at = (at + record) % KERNEL_LANE;
            __asm__ volatile("" ::"r"(to) : "memory");
        }
        ns[count] = bench_now_ns() - from_ns;
    }
    free(to);
    free(from);
    bench_sort(ns, count);
    return COPIES_ROUND * 1e9 / (double)bench_quantile(ns, count, 0.5);
}

double
kernel_copy_rate(uint32_t body)
{
    static struct {
        uint32_t body;
        double   rate;
    } known[KNOWN_MAX];
    static uint32_t count;

    for (uint32_t i = 0; i < count; i++)
        if (known[i].body == body)
            return known[i].rate;
    ASSERT(count < KNOWN_MAX);
    known[count].body = body;
    known[count].rate = measure(ENVELOPE + (uint32_t)round_up(body, 64));
    return known[count++].rate;
}

int
kernel_copies(const kernel_bench *b)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char size[16];
        char name[32];

        kernel_size_name(size, sizes[i]);
        (void)snprintf(name, sizeof name, "copy/%s", size);
        if (!kernel_wants(b, name))
            continue;
        bench_row(&b->out, name, "throughput", kernel_copy_rate(sizes[i]), "msg/s");
        bench_row(&b->out, name, "bytes", kernel_copy_rate(sizes[i]) * sizes[i], "B/s");
    }
    return 0;
}
