/* count.c - counters and histograms of one actor, in a file that anybody of ours may read.
 *
 *   offset 0   constant page   magic, abi, who
 *   4096       u64 counter[COUNTERS]
 *              HISTOGRAMS x { u64 count, sum_ns, bucket[BUCKETS] }
 *
 * A bucket is a power of two cut into eight: 0..7 ns have one each, then 8 steps for each doubling.
 * One thread writes, with plain aligned loads and stores; readers see each word whole, the set as
 * it comes.
 */
#include "transport/count.h"
#include "transport/pages.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STEPS = 8, BUCKETS = STEPS + (64 - 3) * STEPS, COUNT_VERSION = 1 };
#define COUNT_MAGIC UINT64_C(0x746e756f6374616c) /* "latcount" */
#define COUNT_ABI   ((uint64_t)COUNT_VERSION << 32 | (uint64_t)COUNTERS << 16 | (uint64_t)HISTOGRAMS)

typedef _Atomic uint64_t word;

typedef struct counts_constant {
    uint64_t magic;
    uint64_t abi;
    addr     who;
} counts_constant;

typedef struct counts_histogram {
    word count;
    word sum_ns;
    word bucket[BUCKETS];
} counts_histogram;

typedef struct counts_values {
    word             counter[COUNTERS];
    counts_histogram histogram[HISTOGRAMS];
} counts_values;

#define VALUES_LEN round_up(sizeof(counts_values), PAGE_LEN)
#define FILE_LEN   (PAGE_LEN + VALUES_LEN)

struct counters {
    counts_values *v;
    bool           writer;
};

static void
file_name(char path[PAGES_PATH_MAX], const char *dir, addr who)
{
    (void)snprintf(path, PAGES_PATH_MAX, "%s/count.%s.%u", dir, kind_name(addr_kind(who)),
                   addr_part(who));
}

static int
open_checked(const char *path, addr who, bool write, int *fd)
{
    counts_constant c;
    uint64_t        len = 0;
    int             rc = pages_open(path, write, fd, &len);

    if (rc < 0)
        return rc;
    if (len != FILE_LEN || pread(*fd, &c, sizeof c, 0) != (ssize_t)sizeof c ||
        c.magic != COUNT_MAGIC || c.abi != COUNT_ABI || c.who != who) {
        (void)close(*fd);
        *fd = -1;
        return err(E_BAD, "%s: not counters of this version", path);
    }
    return E_OK;
}

int
counters_create(const char *dir, addr who)
{
    counts_constant c = { COUNT_MAGIC, COUNT_ABI, who };
    char            path[PAGES_PATH_MAX];
    int             fd = -1;
    int             rc;

    file_name(path, dir, who);
    if (open_checked(path, who, true, &fd) == E_OK) {
        (void)close(fd);
        return E_OK;
    }
    err_clear();
    rc = pages_make(path, FILE_LEN, FILE_LEN, &fd);
    if (rc < 0)
        return err(rc, "counters");
    if (pwrite(fd, &c, sizeof c, 0) != (ssize_t)sizeof c)
        rc = err(E_IO, "write");
    rc = pages_land(path, &fd, rc);
    return rc < 0 ? err(rc, "counters %s", path) : E_OK;
}

int
counters_open(counters **out, const char *dir, addr who, bool writer)
{
    counters *c = calloc(1, sizeof *c);
    char      path[PAGES_PATH_MAX];
    int       fd = -1;
    int       rc;

    *out = NULL;
    file_name(path, dir, who);
    if (c == NULL)
        return err(E_NOMEM, "counters");
    rc = open_checked(path, who, writer, &fd);
    if (rc == E_OK) {
        c->writer = writer;
        c->v = pages_map(fd, PAGE_LEN, VALUES_LEN, writer);
        (void)close(fd);
        if (c->v == NULL)
            rc = err(E_NOMEM, "map %s", path);
    }
    if (rc < 0) {
        counters_close(&c);
        return err(rc, "counters");
    }
    *out = c;
    return E_OK;
}

void
counters_close(counters **cp)
{
    counters *c = *cp;

    if (c == NULL)
        return;
    *cp = NULL;
    pages_unmap(c->v, VALUES_LEN);
    free(c);
}

/* One writer: no locked instruction. */
static inline void
add(word *w, uint64_t n)
{
    atomic_store_explicit(w, atomic_load_explicit(w, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

static inline uint64_t
get(const word *w)
{
    return atomic_load_explicit(w, memory_order_relaxed);
}

void
count_add(counters *c, enum counter which, uint64_t n)
{
    ASSERT(c->writer && which < COUNTERS);
    add(&c->v->counter[which], n);
}

void
count_set(counters *c, enum counter which, uint64_t n)
{
    ASSERT(c->writer && which < COUNTERS);
    atomic_store_explicit(&c->v->counter[which], n, memory_order_relaxed);
}

uint64_t
count_get(const counters *c, enum counter which)
{
    ASSERT(which < COUNTERS);
    return get(&c->v->counter[which]);
}

/* 8..15 -> 8..15, 16..31 -> 16..23 in steps of two, and so on. */
static uint32_t
bucket_of(uint64_t ns)
{
    uint32_t power;

    if (ns < STEPS)
        return (uint32_t)ns;
    power = 63 - (uint32_t)__builtin_clzll(ns);
    return (power - 2) * STEPS + (uint32_t)((ns >> (power - 3)) & (STEPS - 1));
}

/* The greatest value of a bucket. */
static uint64_t
bucket_top(uint32_t bucket)
{
    uint32_t shift;

    if (bucket < 2 * STEPS)
        return bucket;
    shift = bucket / STEPS - 1;
    return ((uint64_t)(STEPS + bucket % STEPS) << shift) + ((UINT64_C(1) << shift) - 1);
}

void
hist_add_many(counters *c, enum histogram which, uint64_t ns, uint64_t times)
{
    counts_histogram *h;

    ASSERT(c->writer && which < HISTOGRAMS);
    h = &c->v->histogram[which];
    add(&h->bucket[bucket_of(ns)], times);
    add(&h->count, times);
    add(&h->sum_ns, ns * times);
}

void
hist_add(counters *c, enum histogram which, uint64_t ns)
{
    hist_add_many(c, which, ns, 1);
}

uint64_t
hist_count(const counters *c, enum histogram which)
{
    ASSERT(which < HISTOGRAMS);
    return get(&c->v->histogram[which].count);
}

uint64_t
hist_sum_ns(const counters *c, enum histogram which)
{
    ASSERT(which < HISTOGRAMS);
    return get(&c->v->histogram[which].sum_ns);
}

uint64_t
hist_below(const counters *c, enum histogram which, uint64_t ns)
{
    uint32_t last = bucket_of(ns);
    uint64_t sum = 0;

    ASSERT(which < HISTOGRAMS);
    for (uint32_t i = 0; i <= last; i++)
        sum += get(&c->v->histogram[which].bucket[i]);
    return sum;
}

uint64_t
hist_quantile_ns(const counters *c, enum histogram which, double q)
{
    const counts_histogram *h = &c->v->histogram[which];
    uint64_t                want;
    uint64_t                seen = 0;
    uint32_t                last = 0;

    ASSERT(which < HISTOGRAMS && q >= 0 && q <= 1);
    want = (uint64_t)(q * (double)get(&h->count));
    for (uint32_t i = 0; i < BUCKETS; i++) {
        uint64_t n = get(&h->bucket[i]);

        if (n == 0)
            continue;
        seen += n;
        last = i;
        if (seen > want)
            break;
    }
    return bucket_top(last);
}
