/* sup_child.c - the process of a group: started, dead, started again.
 *
 * Death is what the pidfd says: exact, immediate, and the pid cannot be somebody else's.  The first
 * restart is at once; then 10 ms, doubling up to 5 s, with jitter; a group that keeps dying is down: whoever asks it is
 * refused at once, and it is tried every 5 s for ever.  A process that lives for 10 s has a clean slate.
 *
 * SIGKILL comes from outside: the actor did nothing wrong, and its clients wait.  Such deaths are counted
 * apart.  Whoever was killed after a while of work is started at once; in its first moments, after at most 20 ms; until there
 * are so many that it must be a loop after all (memory).
 *
 * When the supervisor is killed its children end as for SIGTERM (PR_SET_PDEATHSIG): they drain what they can, and the
 * next supervisor takes their lanes over.
 */
#include "actors/sup_internal.h"

#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLS_BORNE = 64, KILL_COUNTS_AS = 3 };
static const uint64_t CLEAN_SLATE_NS = 10000000000ull;
static const uint64_t SETTLED_NS = 200000000;
static const uint64_t AGAIN_FIRST_NS = 10000000;
static const uint64_t AGAIN_MOST_NS = 5000000000ull;

/* ---- groups ---- */

static uint32_t
rank_of(const node_app *app, uint16_t kind)
{
    for (uint32_t i = 0; i < app->kinds; i++)
        if (app->order[i] == kind)
            return i;
    return 0;
}

static child *
child_of(sup *s, int32_t group)
{
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].group == group)
            return &s->child[i];
    s->child[s->children] = (child){ .group = group, .pidfd = -1, .restart = RESTART_TEMPORARY };
    return &s->child[s->children++];
}

void
sup__children_make(sup *s)
{
    for (uint32_t i = 0; i < s->run.plan.slots; i++) {
        const slot_plan *p = &s->run.plan.slot[i];
        child           *c = child_of(s, p->group);
        size_t           len = strlen(c->names);

        sup__tree_join(c, p);
        c->rank = (uint32_t)max_u64(c->rank, rank_of(s->app, addr_kind(p->who)));
        c->fronts = c->fronts || addr_kind(p->who) == KIND_FRONT;
        (void)snprintf(c->names + len, sizeof c->names - len, "%s%s.%u", len == 0 ? "" : ",",
                       kind_name(addr_kind(p->who)), addr_part(p->who));
    }
}

typedef void seat_fn(sup *s, child *c, seat *at);

static void
each_seat(sup *s, child *c, seat_fn *fn)
{
    for (uint32_t i = 0; i < s->run.plan.slots; i++)
        if (s->run.plan.slot[i].group == c->group)
            fn(s, c, s->seat[i]);
}

/* ---- start ---- */

static void
seat_new_life(sup *s, child *c, seat *at)
{
    uint32_t epoch = atomic_load(&at->epoch);

    (void)c;
    if (epoch == 0)
        epoch = s->run.epoch_base;
    atomic_store(&at->restarts, epoch - s->run.epoch_base);
    atomic_store(&at->state, SEAT_STARTING);
    atomic_store(&at->epoch, epoch + 1);
}

static void
seat_pid(sup *s, child *c, seat *at)
{
    (void)s;
    atomic_store(&at->pid, c->pid);
}

/* Between fork and exec: nothing but system calls. */
static _Noreturn void
become(const sup *s, const child *c, pid_t parent, char *group)
{
    char     run[RUNDIR_PATH_MAX];
    char    *argv[] = { (char[]){ "haltless" }, (char[]){ "actor" }, run, group, NULL };
    sigset_t none;

    memcpy(run, s->run.path, sizeof run);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
        _exit(127);
    if (c->fronts)
        (void)fcntl(s->run.listen_fd, F_SETFD, 0);
    (void)execv("/proc/self/exe", argv);
    _exit(127);
}

static bool
spawn(sup *s, child *c)
{
    char  group[16];
    pid_t parent = getpid();
    pid_t pid;

    (void)snprintf(group, sizeof group, "%d", c->group);
    pid = fork();
    if (pid == 0)
        become(s, c, parent, group);
    if (pid > 0)
        c->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pid < 0 || c->pidfd < 0) {
        log_error("actor.not_started", "actors=%s reason=%s", c->names,
                  log_quote(view_str(strerror(errno))));
        if (pid > 0) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
        }
        return false;
    }
    (void)fcntl(c->pidfd, F_SETFD, FD_CLOEXEC);
    c->pid = pid;
    return true;
}

void
sup__child_start(sup *s, child *c)
{
    bool stood_by;

    each_seat(s, c, seat_new_life);
    c->again_ns = 0;
    c->ready = c->aborted = c->recalled = false;
    c->started_ns = sup__clock_ns();
    stood_by = sup__standby_take(s, c);
    if (!stood_by && !spawn(s, c)) {
        c->again_ns = c->started_ns + AGAIN_MOST_NS;
        return;
    }
    each_seat(s, c, seat_pid);
    log_info("actor.start", "actors=%s pid=%d%s", c->names, (int)c->pid, stood_by ? " standby=yes" : "");
}

/* ---- death ---- */

/* Which of its actors was it?  The fault handler marked the seat of the thread; where it could not, an actor alone in
 * its process is meant, and of several nobody knows. */
static void
judge_all(sup *s, const child *c, int status)
{
    int      number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    uint32_t actors = 0;
    bool     marked = false;

    for (uint32_t i = 0; i < s->run.plan.slots; i++)
        if (s->run.plan.slot[i].group == c->group) {
            marked = marked || seat_has_crashed(s->seat[i]);
            actors++;
        }
    for (uint32_t i = 0; i < s->run.plan.slots; i++) {
        enum seat_guilt guilt = SEAT_INNOCENT;

        if (s->run.plan.slot[i].group != c->group)
            continue;
        if (seat_is_fault(number) && (seat_has_crashed(s->seat[i]) || (!marked && actors == 1)))
            guilt = SEAT_GUILTY;
        else if (seat_is_fault(number) && !marked)
            guilt = SEAT_PERHAPS;
        seat_judge(s->seat[i], number, guilt);
    }
}

/* The how-manieth death in a row this counts as. */
static uint32_t
note_death(child *c, bool killed, uint64_t lived_ns)
{
    if (lived_ns > CLEAN_SLATE_NS)
        c->deaths = c->kills = 0;
    if (!killed)
        return ++c->deaths;
    if (++c->kills > KILLS_BORNE)
        return c->kills - KILLS_BORNE + KILL_COUNTS_AS;
    return lived_ns > SETTLED_NS ? 1 : (uint32_t)min_u64(c->kills, KILL_COUNTS_AS);
}

static uint64_t
pause_ns(uint32_t deaths)
{
    uint64_t jitter;
    uint64_t ns = AGAIN_FIRST_NS;

    if (deaths <= 1)
        return 0;
    for (uint32_t i = 2; i < deaths && ns < AGAIN_MOST_NS; i++)
        ns *= 2;
    ns = min_u64(ns, AGAIN_MOST_NS);
    crypto_random(&jitter, sizeof jitter);
    return ns / 2 + jitter % (ns / 2);
}

static void
log_exit(const child *c, int status)
{
    if (WIFSIGNALED(status))
        log_warn("actor.exit", "actors=%s pid=%d signal=%s core=%s", c->names, (int)c->pid,
                 sigabbrev_np(WTERMSIG(status)), WCOREDUMP(status) ? "yes" : "no");
    else
        log_warn("actor.exit", "actors=%s pid=%d status=%d", c->names, (int)c->pid,
                 WEXITSTATUS(status));
}

/* What no restart cures, when it happens before the server was ever ready. */
static bool
is_final(int rc)
{
    return rc == E_LOCKED || rc == E_NEWER || rc == E_OLDER || rc == E_PERM || rc == E_CONFIG;
}

static void
seat_last_words(sup *s, child *c, seat *at)
{
    int rc = atomic_load(&at->rc);

    (void)c;
    atomic_store(&at->state, SEAT_DOWN);
    if (atomic_load(&at->failed) != atomic_load(&at->epoch))
        return;
    if (s->announced || !is_final(rc) || s->fatal != 0 || atomic_load(&at->ready) != 0)
        return;
    s->fatal = rc;
    (void)snprintf(s->why, sizeof s->why, "%.*s", (int)sizeof at->error, at->error);
}

static void
set_down(sup *s, child *c, bool down)
{
    c->down = down;
    for (uint32_t i = 0; i < s->run.plan.slots; i++)
        if (s->run.plan.slot[i].group == c->group)
            atomic_store(&s->seat[i]->down, down);
}

/* Those that are to start anew with it end first. */
static void
recall_team(sup *s, const child *dead, uint64_t now)
{
    for (uint32_t i = 0; i < s->children; i++) {
        child *c = &s->child[i];

        if (c->pid == 0 || c->recalled || !sup__tree_takes_along(dead, c))
            continue;
        log_info("actor.recalled", "actors=%s pid=%d because_of=%s", c->names, (int)c->pid, dead->names);
        c->recalled = true;
        c->recall_ns = now + STOP_CHILD_MS * 1000000ull;
        (void)kill(c->pid, SIGTERM);
    }
}

static void
tell_others(sup *s, const child *dead)
{
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].pid != 0 && &s->child[i] != dead &&
            control_tell(s->control, (uint32_t)s->child[i].group, CONTROL_DEATH) < 0)
            err_clear(); /* it starts just now */
}

static void
retire(sup *s, child *c, int status)
{
    c->retired = true;
    c->again_ns = 0;
    set_down(s, c, true);
    log_warn("actor.retired", "actors=%s status=%d", c->names, status);
}

/* When is it started again? */
static void
plan_next_life(sup *s, child *c, int status, uint64_t now)
{
    bool     killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !c->aborted;
    uint32_t deaths = note_death(c, killed, now - c->started_ns);
    uint64_t within_ns = s->o->server_restarts_within_s * 1000000000ull;
    bool     over = !killed && sup__tree_is_over(c, now, (uint32_t)s->o->server_restarts, within_ns);

    c->again_ns = now + (over ? AGAIN_MOST_NS : pause_ns(deaths));
    if (c->again_ns - now < AGAIN_MOST_NS / 2)
        return;
    set_down(s, c, true);
    log_error("actor.down", "actors=%s deaths=%u retry_ms=%" PRIu64, c->names, deaths,
              (c->again_ns - now) / 1000000);
}

static void
go_on_without(sup *s, child *c, int status, uint64_t now)
{
    bool recalled = c->recalled;

    c->pid = 0;
    c->ready = c->recalled = false;
    if (recalled)
        c->again_ns = now;
    else if (sup__tree_restarts(c, status))
        plan_next_life(s, c, status, now);
    else
        retire(s, c, status);
    if (s->stop)
        return;
    tell_others(s, c);
    if (!recalled && !c->retired)
        recall_team(s, c, now);
}

void
sup__child_ended(sup *s, child *c)
{
    int status = 0;

    if (waitpid(c->pid, &status, WNOHANG) != c->pid)
        return;
    (void)close(c->pidfd);
    c->pidfd = -1;
    if ((!s->stop && !c->recalled) || status != 0)
        log_exit(c, status);
    for (uint32_t i = 0; i < s->run.plan.slots; i++)
        if (s->run.plan.slot[i].group == c->group)
            atomic_store(&s->seat[i]->last_exit, status);
    each_seat(s, c, seat_last_words);
    judge_all(s, c, status);
    go_on_without(s, c, status, sup__clock_ns());
}

/* ---- ready ---- */

static void
seat_ready(sup *s, child *c, seat *at)
{
    (void)s;
    c->ready = c->ready && atomic_load(&at->ready) == atomic_load(&at->epoch);
}

void
sup__child_look(sup *s, child *c)
{
    if (c->ready || c->pid == 0)
        return;
    c->ready = true;
    each_seat(s, c, seat_ready);
    if (c->ready && c->down)
        set_down(s, c, false);
    if (c->ready)
        log_info("actor.ready", "actors=%s pid=%d ms=%" PRIu64, c->names, (int)c->pid,
                 (sup__clock_ns() - c->started_ns) / 1000000);
}
