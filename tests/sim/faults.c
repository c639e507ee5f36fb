/* faults.c - what goes wrong, and when.
 *
 * A seed has its own mix: every kind of fault is there in three seeds of four, so that each is met with and without
 * the others.  Those of the disk come in episodes, the rest one by one, some milliseconds apart.
 */
#include "tests/sim/sim.h"
#include "tests/sim/memrocks.h"

#include "proto/messages.h"

static struct {
    bool     have[FAULT_COUNT];
    bool     going;
    bool     commit_armed;
    bool     store_ill;
    uint64_t every_ns;
    enum fault kinds[FAULT_COUNT];
    uint32_t count;
} mix;

static void
kill_now(void *arg)
{
    sim_fault(FAULT_KILL);
    (void)node_kills((uint32_t)(uintptr_t)arg);
}

static void
kill_commit_now(void *arg)
{
    sim_fault(FAULT_KILL_COMMIT);
    (void)node_kills((uint32_t)(uintptr_t)arg);
}

void
faults_committed(addr who)
{
    uint32_t group;

    if (!mix.commit_armed || !mix.going || addr_kind(who) != KIND_INGEST)
        return;
    mix.commit_armed = false;
    group = node_group_of(who);
    group_kill_at(group, 1 + (uint32_t)sim_below(sim_one_in(2) ? 12 : 60), kill_commit_now,
                  (void *)(uintptr_t)group);
}

static void
speed_up(void *arg)
{
    group_slow((uint32_t)(uintptr_t)arg, 1);
}

/* The registry's is spared: what it cannot store it refuses, and the rest of the system is not about that. */
static bool
store_fails(const char *path)
{
    if (!mix.store_ill || strstr(path, "/part.") == NULL)
        return false;
    mix.store_ill = false;
    sim_fault(FAULT_STORE);
    return true;
}

static void
disk_well(void *arg)
{
    (void)arg;
    disk_set((disk_rates){ 0 });
}

static void
disk_ill(enum fault kind)
{
    disk_rates r = { 0 };

    if (kind == FAULT_WRITE)
        r.fail = 40000;
    else if (kind == FAULT_TORN)
        r.torn = 40000;
    else
        r.sync = 60000;
    disk_set(r);
    sim_after(3 * MS + sim_below(20 * MS), disk_well, NULL);
}

static void
strike(enum fault kind)
{
    uint32_t group = (uint32_t)sim_below(node_groups());

    sim_say("fault %u, group %u", kind, group);
    switch (kind) {
    case FAULT_KILL:
        group_kill_at(group, 1 + (uint32_t)sim_below(400), kill_now, (void *)(uintptr_t)group);
        break;
    case FAULT_KILL_COMMIT:
        mix.commit_armed = true;
        break;
    case FAULT_POWER:
        node_power_cut();
        break;
    case FAULT_STALL:
        sim_fault(kind);
        group_stall(group, sim_now() + sim_below(sim_one_in(8) ? 300 * MS : 20 * MS));
        break;
    case FAULT_SLOW:
        sim_fault(kind);
        group_slow(group, 1000);
        sim_after(sim_below(30 * MS), speed_up, (void *)(uintptr_t)group);
        break;
    case FAULT_CLOCK:
        sim_fault(kind);
        sim_jump_wall((int64_t)sim_below(7200000000) - 3600000000);
        break;
    case FAULT_WRITE:
    case FAULT_TORN:
    case FAULT_SYNC:
        disk_ill(kind);
        break;
    case FAULT_STORE:
        mix.store_ill = true; /* the next write or sync there is */
        break;
    default:
        break;
    }
}

static void
next(void *arg)
{
    (void)arg;
    if (!mix.going)
        return;
    if (mix.count > 0) {
        enum fault kind = mix.kinds[sim_below(mix.count)];

        /* A power cut takes a whole start to get over: fewer of them. */
        if (kind != FAULT_POWER || sim_one_in(2))
            strike(kind);
    }
    sim_after(mix.every_ns / 4 + sim_below(mix.every_ns * 3 / 2), next, NULL);
}

bool
faults_have(enum fault which)
{
    return mix.have[which];
}

void
faults_begin(void)
{
    static const enum fault struck[] = { FAULT_KILL,  FAULT_KILL_COMMIT, FAULT_POWER,
                                         FAULT_STALL, FAULT_SLOW,        FAULT_CLOCK,
                                         FAULT_WRITE, FAULT_TORN,        FAULT_SYNC,
                                         FAULT_STORE };

    mix.going = true;
    memrocks_fails = store_fails;
    for (uint32_t i = 0; i < FAULT_COUNT; i++)
        mix.have[i] = !sim_one_in(4);
    for (uint32_t i = 0; i < COUNT_OF(struck); i++)
        if (mix.have[struck[i]])
            mix.kinds[mix.count++] = struck[i];
    mix.every_ns = (14 + sim_below(40)) * MS;
    bell_faults(mix.have[FAULT_BELL_DROP] && sim_one_in(2) ? 2000 : 0,
                mix.have[FAULT_BELL_DELAY] ? 20000 : 0);
    next(NULL);
}

void
faults_end(void)
{
    mix.going = false;
    mix.commit_armed = mix.store_ill = false;
    bell_faults(0, 0);
    disk_set((disk_rates){ 0 });
    for (uint32_t g = 0; g < node_groups(); g++) {
        group_slow(g, 1);
        group_stall(g, 0);
        group_kill_at(g, 0, NULL, NULL);
    }
}
