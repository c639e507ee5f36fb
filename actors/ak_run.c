/* ak_run.c - sleeping and waking, the kernel's loop, foreign file descriptors.
 *
 * Going to sleep: say "asleep", then look at every inbound lane and every starved outbound one once
 * more.  Whoever publishes looks at that word after the store of tail; both are sequentially consistent.
 * Before that it may spin for a while (kernel.spin_us).
 */
#include "actors/ak_internal.h"

#include "actors/options.h"
#include "proto/err.h"
#include "proto/log.h"
#include "proto/world.h"

#include <poll.h>

enum {
    STEP_BUDGET = 1024,
    SPIN_LOOKS = 32,       /* between two looks at the clock */
    SPIN_MISSES = 8,       /* spins in vain, one after the other, before it leaves off, */
    SPIN_PROBE_EVERY = 32, /* sleeps until it tries again */
};
static const uint64_t WAIT_RETRY_NS = 10000000;     /* AK_WAIT is offered again after that at the latest */
static const uint64_t SAFETY_LOOK_NS = 2000000000;  /* a lost bell costs that much, and is counted */
static const uint64_t BELL_ON_ITS_WAY_NS = 20000000;

/* ---- park ---- */

static bool
something_waits(ak *k)
{
    for (uint32_t i = 0; i < k->ins; i++)
        if (ak__in_waits(&k->in[i]))
            return true;
    return ak__room_now(k);
}

static uint64_t
sleep_ns(const ak *k, uint64_t now)
{
    bool     short_nap = k->waiting > 0 || atomic_load(&k->stop) || k->notes_due > 0 ||
                         atomic_load(&k->replay) != NULL;
    uint64_t ns = short_nap ? WAIT_RETRY_NS : SAFETY_LOOK_NS;
    uint64_t next = ak__due_next(k);

    if (next <= now)
        return 0;
    return min_u64(ns, next - now);
}

static void
export_wire(ak *k)
{
    const wire_counts *c = wire_count(k->wire);

    count_set(k->counters, COUNT_BELLS, c->bells_rung);
    if (c->bells_missed > 0)
        count_set(k->counters, COUNT_BELLS_MISSED, c->bells_missed);
}

#if defined(__x86_64__)
static inline void
relax(void)
{
    __builtin_ia32_pause();
}
#elif defined(__aarch64__)
static inline void
relax(void)
{
    __asm__ volatile("yield");
}
#else
static inline void
relax(void)
{
}
#endif

/* Without saying that anybody should ring. */
static bool
something_came(ak *k)
{
    for (uint32_t i = 0; i < k->ins; i++)
        if (ak__in_waits(&k->in[i]))
            return true;
    return wire_pump(k->wire) || ak__room_seen(k);
}

/* Looks for kernel.spin_us before it sleeps: a message that comes meanwhile saves both sides the bell and the
 * scheduler.  Where nothing comes for some times running it is left off, and tried again now and then: an
 * actor without such traffic does not burn its core. */
static bool
spin(ak *k, uint64_t now)
{
    const options *o = ak_options(k);
    uint64_t       until = o == NULL ? 0 : now + o->kernel_spin_us * 1000;

    if (until <= now || k->waiting > 0 || atomic_load(&k->stop))
        return false;
    if (k->spin_misses >= SPIN_MISSES && ++k->spin_skipped % SPIN_PROBE_EVERY != 0)
        return false;
    count_add(k->counters, COUNT_SPINS, 1);
    until = min_u64(until, ak__due_next(k));
    do {
        for (int i = 0; i < SPIN_LOOKS; i++) {
            if (something_came(k)) {
                k->spin_misses = 0;
                count_add(k->counters, COUNT_SPINS_PAID, 1);
                return true;
            }
            relax();
        }
    } while (ak__clock_ns() < until && !atomic_load(&k->stop));
    k->spin_misses += k->spin_misses < SPIN_MISSES;
    return true; /* time has passed: its caller looks at everything anew */
}

uint64_t
ak_park(ak *k)
{
    uint64_t now = ak__clock_ns();
    uint64_t ns = sleep_ns(k, now);

    ASSERT(!k->in_step && !k->parked);
    if (ns == 0 || k->dead != 0 || something_waits(k))
        return 0;
    ak__publish(k); /* a loop of its own may have sent something behind its step: nobody sleeps before that is heard */
    if (spin(k, now)) {
        now = ak__clock_ns();
        ns = sleep_ns(k, now);
        if (ns == 0 || something_waits(k))
            return 0;
    }
    export_wire(k);
    world_pause();
    wire_sleep(k->wire);
    if (something_waits(k)) {
        wire_awake(k->wire);
        return 0;
    }
    k->parked = true;
    k->parked_at_ns = now;
    k->bells_at_park = wire_count(k->wire)->bells_heard;
    atomic_store_explicit(&k->seat->state, SEAT_PARKED, memory_order_relaxed);
    count_add(k->counters, COUNT_PARKS, 1);
    return ns;
}

static bool
lane_waits(const ak *k)
{
    for (uint32_t i = 0; i < k->ins; i++)
        if (k->in[i].carrier == CARRIER_RING && ak__in_waits(&k->in[i]))
            return true;
    return false;
}

/* The whole sleep is over and there is something, but nobody rang?  A bell may still be on its way. */
static void
safety_look(ak *k)
{
    if (ak__clock_ns() - k->parked_at_ns < SAFETY_LOOK_NS - 1000000 || !lane_waits(k))
        return;
    (void)wire_pump(k->wire);
    if (wire_count(k->wire)->bells_heard != k->bells_at_park)
        return;
    wire_wait(k->wire, BELL_ON_ITS_WAY_NS, NULL, NULL, 0);
    (void)wire_pump(k->wire);
    if (wire_count(k->wire)->bells_heard != k->bells_at_park)
        return;
    count_add(k->counters, COUNT_BELLS_MISSED, 1);
    log_warn("bell.missed", "slept_ms=%d", (int)(SAFETY_LOOK_NS / 1000000));
}

void
ak_unpark(ak *k)
{
    if (!k->parked)
        return;
    safety_look(k);
    wire_awake(k->wire);
    k->parked = false;
}

/* ---- descriptors ---- */

int
ak_watch_fd(ak *k, int fd, ak_fd_fn *fn)
{
    uint32_t i;

    ASSERT(fd >= 0);
    for (i = 0; i < k->watches; i++)
        if (k->watch[i].fd == fd)
            break;
    if (fn == NULL) {
        if (i < k->watches)
            k->watch[i] = k->watch[--k->watches];
        return E_OK;
    }
    if (i == AK_FDS_WATCHED)
        return err(E_FULL, "watch a descriptor");
    if (i == k->watches)
        k->watches++;
    k->watch[i].fd = fd;
    k->watch[i].fn = fn;
    return E_OK;
}

uint32_t
ak__watches_run(ak *k)
{
    struct pollfd p[AK_FDS_WATCHED];
    uint32_t      n = k->watches;
    uint32_t      ran = 0;

    if (n == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        p[i] = (struct pollfd){ .fd = k->watch[i].fd, .events = POLLIN };
    if (poll(p, n, 0) <= 0)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = 0;

        while (at < k->watches && k->watch[at].fd != p[i].fd)
            at++;
        if (p[i].revents == 0 || at == k->watches || k->dead != 0)
            continue; /* forgotten by an earlier one */
        k->watch[at].fn(k, k->self, p[i].fd);
        ran++;
    }
    return ran;
}

uint32_t
ak_fds(ak *k, int fds[AK_FDS_MAX])
{
    uint32_t n = wire_fds(k->wire, fds, AK_FDS_MAX);

    for (uint32_t i = 0; i < k->watches && n < AK_FDS_MAX; i++)
        fds[n++] = k->watch[i].fd;
    return n;
}

/* ---- waiting for the disk ---- */

static void
state_turn(ak *k, uint32_t from, uint32_t to)
{
    if (atomic_load_explicit(&k->seat->state, memory_order_relaxed) == from)
        atomic_store_explicit(&k->seat->state, to, memory_order_relaxed);
}

void
ak_io_begin(ak *k)
{
    if (k->io++ == 0)
        state_turn(k, SEAT_RUN, SEAT_IO);
}

/* The time it took is not held against what comes next. */
void
ak_io_end(ak *k)
{
    ASSERT(k->io > 0);
    if (--k->io > 0)
        return;
    atomic_store_explicit(&k->seat->tick, k->seat->tick + 1, memory_order_relaxed);
    state_turn(k, SEAT_IO, SEAT_RUN);
}

/* ---- the loop ---- */

bool
ak_stopping(const ak *k)
{
    return k->dead != 0 || atomic_load(&k->stop);
}

void
ak_stop(ak *k)
{
    atomic_store(&k->stop, true);
    wire_poke(k->wire);
}

static void
sleep_until_called(ak *k)
{
    int      fds[AK_FDS_WATCHED];
    bool     ready[AK_FDS_WATCHED];
    uint64_t ns = ak_park(k);

    if (ns == 0)
        return;
    for (uint32_t i = 0; i < k->watches; i++)
        fds[i] = k->watch[i].fd;
    wire_wait(k->wire, ns, fds, ready, k->watches);
    ak_unpark(k);
}

/* Nothing that came in, is being committed, or is with a helper. */
static bool
is_drained(const ak *k)
{
    for (uint32_t i = 0; i < k->ins; i++)
        if (!k->in[i].bad && lane_has_more(k->in[i].lane))
            return false;
    for (uint32_t i = 0; i < k->outs; i++)
        if (k->out[i].late != NULL)
            return false;
    return !k->pending && ak__crew_idle(k);
}

static void
loop(ak *k)
{
    while (k->dead == 0) {
        if (ak_step(k, STEP_BUDGET) > 0 && (atomic_load(&k->stop) || something_waits(k)))
            continue;
        if (atomic_load(&k->stop) && is_drained(k))
            return;
        sleep_until_called(k);
    }
}

static int
end(ak *k, int rc)
{
    if (rc < 0)
        ak__die(k, rc);
    if (k->dead != 0) {
        seat_fail(k->seat, k->dead, err_text());
        return k->dead;
    }
    ak_io_begin(k);
    if (k->kind->stop != NULL)
        k->kind->stop(k, k->self);
    ak__publish(k);
    export_wire(k);
    atomic_store(&k->seat->state, SEAT_STOPPED);
    return E_OK;
}

int
ak_run(ak *k)
{
    int rc = E_OK;

    if (k->kind->run != NULL)
        rc = k->kind->run(k, k->self);
    if (rc >= 0)
        loop(k);
    return end(k, rc);
}
