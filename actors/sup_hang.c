/* sup_hang.c - an actor that says it runs and makes no step for five seconds hangs: its process is aborted.
 *
 *   state of its seat    RUN, the same tick at five looks a second apart    SIGABRT, a second later SIGKILL
 *                        PARKED, the same at eight                          likewise
 *                        STARTING, IO                                       never
 *
 * Whoever sleeps steps every 2 s, bell or no bell: one that does not hangs in its own loop, as a front may in a
 * callback of its HTTP library.
 *
 * Looks are counted, not time: a machine that slept, or a supervisor that was starved, costs one look.  A process
 * that somebody stopped or debugs is left alone.  What follows is what follows any death.
 */
#include "actors/sup_internal.h"

#include "proto/log.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LOOKS_MAX = 5, LOOKS_PARKED_MAX = 8 };
static const uint64_t LOOK_NS = 1000000000;

static child *
child_with(sup *s, int32_t group)
{
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].group == group)
            return &s->child[i];
    return NULL;
}

/* Stopped, or traced. */
static bool
is_held(pid_t pid)
{
    char path[64];
    char line[256];
    char state = 0;
    int  tracer = 0;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if ((f = fopen(path, "re")) == NULL)
        return true;
    while (fgets(line, sizeof line, f) != NULL) {
        (void)sscanf(line, "State: %c", &state);
        (void)sscanf(line, "TracerPid: %d", &tracer);
    }
    (void)fclose(f);
    return state == 'T' || state == 't' || tracer != 0;
}

static bool
stands_still(sup *s, uint32_t slot)
{
    uint64_t tick = atomic_load(&s->seat[slot]->tick);
    uint32_t state = atomic_load(&s->seat[slot]->state);
    bool     still = (state == SEAT_RUN || state == SEAT_PARKED) && tick == s->still[slot].tick;

    s->still[slot].tick = tick;
    s->still[slot].looks = still ? s->still[slot].looks + 1 : 0;
    return s->still[slot].looks >= (state == SEAT_PARKED ? LOOKS_PARKED_MAX : LOOKS_MAX);
}

/* To the thread that hangs: its report then shows where. */
static void
abort_actor(sup *s, child *c, uint32_t slot)
{
    addr who = s->run.plan.slot[slot].who;

    log_error("actor.hangs", "hung=%s.%u pid=%d seconds=%d", kind_name(addr_kind(who)), addr_part(who),
              (int)c->pid, (int)s->still[slot].looks);
    c->aborted = true;
    if (syscall(SYS_tgkill, c->pid, atomic_load(&s->seat[slot]->tid), SIGABRT) < 0)
        (void)kill(c->pid, SIGABRT);
}

void
sup__hangs_look(sup *s, uint64_t now)
{
    if (now < s->hang_look_ns)
        return;
    s->hang_look_ns = now + LOOK_NS;
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].pid != 0 && s->child[i].aborted) /* a second ago */
            (void)kill(s->child[i].pid, SIGKILL);
    for (uint32_t i = 0; i < s->run.plan.slots; i++) {
        child *c = child_with(s, s->run.plan.slot[i].group);

        if (c == NULL || c->pid == 0 || c->aborted || !stands_still(s, i))
            continue;
        if (is_held(c->pid))
            s->still[i].looks = 0;
        else
            abort_actor(s, c, i);
    }
}
