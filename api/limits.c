/* limits.c - rates in a table that all fronts share (limits.h).
 *
 *   DIR/limits:   | id | full at |  id | full at | ...     16 bytes a slot, all words atomic
 *
 *   slot = hash(what, key); the next WAYS slots are looked at: the one found, or the one that is or
 *   will be full first is taken over
 *
 * A bucket is one word: when it will be full again.  Taking n moves that instant by n intervals; an
 * instant in the past means full, so what is forgotten then costs nothing, an all-zero file is an
 * empty table, and a front that dies between any two steps leaves a sound one.
 */
#include "api/limits.h"

#include "proto/err.h"
#include "proto/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SLOTS = 16384, WAYS = 8, TRIES = 64 };
#define NS_PER_S UINT64_C(1000000000)

typedef struct slot {
    _Atomic uint64_t id; /* hash of (what, key), never 0 */
    _Atomic uint64_t full_ns;
} slot;

struct limits {
    slot *slots; /* SLOTS of them, shared */
};

static int
map_table(const char *dir, slot **out)
{
    const size_t bytes = SLOTS * sizeof(slot);
    int          flags = MAP_SHARED | (dir == NULL ? MAP_ANONYMOUS : 0);
    int          fd = -1;
    void        *at;
    char         path[PATH_MAX];

    if (dir != NULL) {
        if (snprintf(path, sizeof path, "%s/limits", dir) >= (int)sizeof path)
            return err(E_RANGE, "%s/limits", dir);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0) {
            int rc = err_errno(errno, "%s", path);

            if (fd >= 0)
                close(fd);
            return rc;
        }
    }
    at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    if (fd >= 0)
        close(fd);
    if (at == MAP_FAILED)
        return err_errno(errno, "map the rate limits");
    *out = at;
    return E_OK;
}

int
limits_open(limits **l, const char *dir)
{
    limits *made = calloc(1, sizeof *made);
    int     rc;

    if (made == NULL)
        return err(E_NOMEM, "rate limits");
    if ((rc = map_table(dir, &made->slots)) < 0) {
        free(made);
        return rc;
    }
    *l = made;
    return E_OK;
}

void
limits_close(limits **l)
{
    if (*l != NULL)
        munmap((*l)->slots, SLOTS * sizeof(slot));
    free(*l);
    *l = NULL;
}

/* The slot of that id: found, or taken over from the one that is fullest. */
static slot *
slot_of(limits *l, uint64_t id)
{
    slot    *best = NULL;
    uint64_t best_full = UINT64_MAX;
    uint64_t was = 0;

    for (uint64_t i = 0; i < WAYS; i++) {
        slot    *s = &l->slots[(id + i) % SLOTS];
        uint64_t have = atomic_load_explicit(&s->id, memory_order_relaxed);
        uint64_t full = atomic_load_explicit(&s->full_ns, memory_order_relaxed);

        if (have == id)
            return s;
        if (best == NULL || full < best_full) {
            best = s;
            best_full = full;
            was = have;
        }
    }
    if (atomic_compare_exchange_strong(&best->id, &was, id))
        atomic_store_explicit(&best->full_ns, 0, memory_order_relaxed);
    return best; /* lost a race: one count goes to the winner's bucket */
}

static uint64_t
ceil_s(uint64_t ns)
{
    return (ns + NS_PER_S - 1) / NS_PER_S;
}

static void
describe(limits_rate rate, uint64_t debt_ns, double interval_ns, uint64_t needs_ns,
         limits_state *out)
{
    uint64_t left_ns = debt_ns < rate.period_ns ? rate.period_ns - debt_ns : 0;

    out->limit = rate.count;
    out->remaining = (uint64_t)((double)left_ns / interval_ns + 1e-6);
    out->retry_s =
        debt_ns + needs_ns > rate.period_ns ? ceil_s(debt_ns + needs_ns - rate.period_ns) : 0;
    out->reset_s = ceil_s(debt_ns);
}

bool
limits_take(limits *l, enum limits_what what, uint64_t key, limits_rate rate, uint64_t n,
            uint64_t now_ns, limits_state *out)
{
    double   interval_ns = rate.count == 0 ? 0 : (double)rate.period_ns / (double)rate.count;
    uint64_t takes_ns = (uint64_t)((double)n * interval_ns);
    uint64_t needs_ns = (uint64_t)((double)min_u64(max_u64(n, 1), rate.count) * interval_ns);
    slot    *s;
    uint64_t full;

    *out = (limits_state){ 0 };
    if (rate.count == 0)
        return true;
    s = slot_of(l, hash64(what, &key, sizeof key) | 1);
    full = atomic_load(&s->full_ns);
    for (int i = 0; i < TRIES; i++) { /* another front may come between */
        uint64_t debt_ns = full > now_ns ? full - now_ns : 0;

        if (debt_ns + needs_ns > rate.period_ns) {
            describe(rate, debt_ns, interval_ns, needs_ns, out);
            return false;
        }
        if (n == 0 || atomic_compare_exchange_weak(&s->full_ns, &full, now_ns + debt_ns + takes_ns)) {
            describe(rate, debt_ns + takes_ns, interval_ns, 0, out);
            return true;
        }
    }
    describe(rate, 0, interval_ns, 0, out);
    return true; /* a bucket that is that busy is somebody's who is within the limit */
}
