/* count.c - counters and histograms of one actor, in a file that anybody of ours may read.
 *
 *   offset 0   constant page   magic, abi, who
 *   4096       u64 counter[COUNTERS]
 *              rows of scope ACTOR     { u64 sum_ns, bucket[HIST_BUCKETS] }
 *              COUNT_TYPES places      { u64 type + 1, and the rows of scope TYPE }
 *              COUNT_EDGES             { u64 to, full, shed }
 *
 * A bucket is a power of two cut into eight: 0..7 ns have one each, then 8 steps for each doubling; the last
 * one takes all that is longer.  One thread writes, with plain aligned loads and stores; readers see each
 * word whole, the set as it comes.
 */
#include "transport/count.h"
#include "transport/pages.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COUNT_VERSION = 2 };
#define COUNT_MAGIC UINT64_C(0x746e756f6374616c) /* "latcount" */
#define COUNT_ABI   ((uint64_t)COUNT_VERSION << 32 | (uint64_t)COUNTERS << 16 | (uint64_t)HISTOGRAMS)

const counter_row counter_rows[COUNTERS] = {
#define X(COUNTER, name, unit, brief) { name, brief },
#include "transport/counters.def"
#undef X
};

/* Each row's place among those of its scope. */
#define X(HISTOGRAM, name, scope, brief) IF_##scope(AT_##HISTOGRAM)
#define IF_ACTOR(at)
#define IF_TYPE(at) at,
enum {
#include "transport/histograms.def"
    TYPE_ROWS
};
#undef IF_ACTOR
#undef IF_TYPE
#define IF_ACTOR(at) at,
#define IF_TYPE(at)
enum {
#include "transport/histograms.def"
    ACTOR_ROWS
};
#undef IF_ACTOR
#undef IF_TYPE
#undef X

enum { ACTOR, TYPE };
const histogram_row histogram_rows[HISTOGRAMS] = {
#define X(HISTOGRAM, name, scope, brief) { name, brief, scope == TYPE },
#include "transport/histograms.def"
#undef X
};
static const uint8_t row_at[HISTOGRAMS] = {
#define X(HISTOGRAM, name, scope, brief) AT_##HISTOGRAM,
#include "transport/histograms.def"
#undef X
};

typedef _Atomic uint64_t word;

typedef struct counts_constant {
    uint64_t magic;
    uint64_t abi;
    addr     who;
} counts_constant;

typedef struct counts_histogram {
    word sum_ns;
    word bucket[HIST_BUCKETS];
} counts_histogram;

typedef struct counts_type {
    word             taken; /* type + 1; 0: free */
    counts_histogram row[TYPE_ROWS];
} counts_type;

typedef struct counts_edge {
    word to;
    word full;
    word shed;
} counts_edge;

typedef struct counts_values {
    word             counter[COUNTERS];
    counts_histogram row[ACTOR_ROWS];
    counts_type      type[COUNT_TYPES];
    counts_edge      edge[COUNT_EDGES];
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

static inline void
set(word *w, uint64_t n)
{
    atomic_store_explicit(w, n, memory_order_relaxed);
}

static inline uint64_t
get(const word *w)
{
    return atomic_load_explicit(w, memory_order_relaxed);
}

/* ---- counters ---- */

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
    set(&c->v->counter[which], n);
}

uint64_t
count_get(const counters *c, enum counter which)
{
    ASSERT(which < COUNTERS);
    return get(&c->v->counter[which]);
}

bool
counter_grows(enum counter which)
{
    static const char end[] = "_total";
    size_t            len = strlen(counter_rows[which].name);

    return len > strlen(end) && strcmp(counter_rows[which].name + len - strlen(end), end) == 0;
}

/* ---- edges ---- */

void
count_edge_open(counters *c, uint32_t edge, addr to)
{
    counts_edge *e = &c->v->edge[edge < COUNT_EDGES ? edge : 0];

    ASSERT(c->writer);
    if (edge >= COUNT_EDGES || get(&e->to) == to)
        return;
    set(&e->full, 0);
    set(&e->shed, 0);
    set(&e->to, to);
}

void
count_edge_full(counters *c, uint32_t edge)
{
    if (edge < COUNT_EDGES)
        add(&c->v->edge[edge].full, 1);
}

void
count_edge_shed(counters *c, uint32_t edge)
{
    if (edge < COUNT_EDGES)
        add(&c->v->edge[edge].shed, 1);
}

bool
count_edge_to(const counters *c, addr to, count_edge *out)
{
    for (uint32_t i = 0; i < COUNT_EDGES; i++) {
        const counts_edge *e = &c->v->edge[i];

        if (get(&e->to) != to)
            continue;
        *out = (count_edge){ .to = to, .full = get(&e->full), .shed = get(&e->shed) };
        return true;
    }
    return false;
}

/* ---- histograms ---- */

/* 8..15 -> 8..15, 16..31 -> 16..23 in steps of two, and so on. */
static inline uint32_t
bucket_of(uint64_t ns)
{
    uint32_t power;

    if (ns < HIST_STEPS)
        return (uint32_t)ns;
    power = 63 - (uint32_t)__builtin_clzll(ns);
    if (power >= HIST_POWER_MAX)
        return HIST_BUCKETS - 1;
    return (power - 2) * HIST_STEPS + (uint32_t)((ns >> (power - 3)) & (HIST_STEPS - 1));
}

/* The greatest value of a bucket. */
static uint64_t
bucket_top(uint32_t bucket)
{
    uint32_t shift;

    if (bucket < 2 * HIST_STEPS)
        return bucket;
    shift = bucket / HIST_STEPS - 1;
    return ((uint64_t)(HIST_STEPS + bucket % HIST_STEPS) << shift) + ((UINT64_C(1) << shift) - 1);
}

static inline void
hist_put(counts_histogram *h, uint64_t ns, uint64_t times)
{
    add(&h->bucket[bucket_of(ns)], times);
    add(&h->sum_ns, ns * times);
}

void
hist_add(counters *c, enum histogram which, uint64_t ns)
{
    ASSERT(c->writer && which < HISTOGRAMS && !histogram_rows[which].by_type);
    hist_put(&c->v->row[row_at[which]], ns, 1);
}

uint32_t
count_type_place(counters *c, uint16_t type)
{
    ASSERT(c->writer);
    for (uint32_t i = 1; i < COUNT_TYPES; i++) {
        word *taken = &c->v->type[i].taken;

        if (get(taken) == 0)
            set(taken, (uint64_t)type + 1);
        if (get(taken) == (uint64_t)type + 1)
            return i;
    }
    set(&c->v->type[0].taken, 1);
    return 0;
}

bool
count_type_at(const counters *c, uint32_t place, uint16_t *type)
{
    uint64_t taken = place < COUNT_TYPES ? get(&c->v->type[place].taken) : 0;

    *type = taken == 0 ? 0 : (uint16_t)(taken - 1);
    return taken != 0;
}

void
hist_add_type(counters *c, enum histogram which, uint32_t place, uint64_t ns, uint64_t times)
{
    ASSERT(c->writer && which < HISTOGRAMS && place < COUNT_TYPES && histogram_rows[which].by_type);
    hist_put(&c->v->type[place].row[row_at[which]], ns, times);
}

static void
hist_gather(hist *h, const counts_histogram *from)
{
    h->sum_ns += get(&from->sum_ns);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        uint64_t n = get(&from->bucket[i]);

        h->bucket[i] += n;
        h->count += n;
    }
}

void
hist_read_type(hist *h, const counters *c, enum histogram which, uint32_t place)
{
    ASSERT(which < HISTOGRAMS && place < COUNT_TYPES && histogram_rows[which].by_type);
    hist_gather(h, &c->v->type[place].row[row_at[which]]);
}

void
hist_read(hist *h, const counters *c, enum histogram which)
{
    uint16_t type;

    ASSERT(which < HISTOGRAMS);
    if (!histogram_rows[which].by_type) {
        hist_gather(h, &c->v->row[row_at[which]]);
        return;
    }
    for (uint32_t i = 0; i < COUNT_TYPES; i++)
        if (count_type_at(c, i, &type))
            hist_read_type(h, c, which, i);
}

void
hist_less(hist *h, const hist *before)
{
    h->count = 0;
    h->sum_ns -= min_u64(h->sum_ns, before->sum_ns);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        h->bucket[i] -= min_u64(h->bucket[i], before->bucket[i]);
        h->count += h->bucket[i];
    }
}

uint64_t
hist_below(const hist *h, uint64_t ns)
{
    uint32_t last = bucket_of(ns);
    uint64_t sum = 0;

    for (uint32_t i = 0; i <= last; i++)
        sum += h->bucket[i];
    return sum;
}

uint64_t
hist_quantile_ns(const hist *h, double q)
{
    uint64_t want = (uint64_t)(q * (double)h->count);
    uint64_t seen = 0;
    uint32_t last = 0;

    ASSERT(q >= 0 && q <= 1);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        if (h->bucket[i] == 0)
            continue;
        seen += h->bucket[i];
        last = i;
        if (seen > want)
            break;
    }
    return bucket_top(last);
}
