/* sup.c - the supervisor of a node: prepares it, starts its processes, keeps them running, stops them in order.
 *
 *   data directory (lock, secrets) ─ topology ─ run directory ─ listener ─ groups, rank by rank ─ loop
 *
 * The loop sleeps on signals, the control line and every child's pidfd.  It touches no lane.  Whatever
 * happens to a child, the server stays; only a first start that cannot work (locked, newer, not allowed,
 * settings) ends it, with one line.
 */
#include "actors/sup_internal.h"

#include "actors/ak_internal.h"
#include "actors/plan.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { READY_LOOK_MS = 20, STOP_MS = 10000, FIXED_FDS = 3, FILES_LEAST = 128, EXIT_BAD = 1 };
static const uint64_t RANK_WAIT_NS = 5000000000ull; /* then the next rank starts all the same */
static const uint64_t MS_NS = 1000000;

uint64_t
sup__clock_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- reload ---- */

static void
tell_all(sup *s, enum control_verb verb, int signal_too)
{
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].pid != 0 && control_tell(s->control, (uint32_t)s->child[i].group, verb) < 0) {
            err_clear();
            (void)kill(s->child[i].pid, signal_too);
        }
}

static int
take_fresh_options(sup *s)
{
    options fresh;
    char   *ignored = NULL;
    char    path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    int     rc = options_load(&fresh, s->config_file, s->argc, s->argv);

    if (rc < 0)
        return rc;
    rc = options_reload(s->o, &fresh, &ignored);
    options_free(&fresh);
    if (rc >= 0 && ignored != NULL && ignored[0] != '\0')
        log_warn("options.need_restart", "names=%s", log_quote(view_str(ignored)));
    free(ignored);
    (void)snprintf(path, sizeof path, "%s/options", s->run.path);
    return rc < 0 ? rc : options_save(s->o, path);
}

static void
reload(sup *s)
{
    if (take_fresh_options(s) < 0) {
        log_error("options.not_reloaded", "reason=%s", log_quote(view_str(err_text())));
        err_clear();
        return;
    }
    log_setup(s->o->log_level, s->o->log_format);
    tell_all(s, CONTROL_RELOAD, SIGHUP);
    log_info("options.reloaded", "file=%s",
             log_quote(view_str(s->config_file == NULL ? "" : s->config_file)));
}

/* ---- the loop ---- */

static void
hear_signals(sup *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            reload(s);
        else
            s->stop = true;
    }
}

/* "ingest.0-...": the group of that actor, if there is one. */
static int32_t
group_of_letter(const sup *s, const char *id)
{
    char name[32];

    for (uint32_t i = 0; i < s->run.plan.slots; i++) {
        addr who = s->run.plan.slot[i].who;
        int  len = snprintf(name, sizeof name, "%s.%u-", kind_name(addr_kind(who)), addr_part(who));

        if (strncmp(id, name, (size_t)len) == 0)
            return s->run.plan.slot[i].group;
    }
    return -1;
}

/* Whom the command asks must be able to read its answer: a group that is down says nothing. */
static void
pass_on_letter(sup *s, const char *id)
{
    int32_t group = group_of_letter(s, id);

    if (dead_is_id(id) &&
        (group < 0 || control_tell_text(s->control, (uint32_t)group, CONTROL_REPLAY, id) < 0) &&
        ak_replay_answer(&s->run, id, group < 0 ? E_NOTFOUND : E_GONE) < 0)
        log_warn("message.replayed", "reason=%s", log_quote(view_str(err_text())));
    err_clear();
}

static void
hear_control(sup *s)
{
    control_word w;

    while (control_next(s->control, &w))
        if (w.verb == CONTROL_REPLAY)
            pass_on_letter(s, w.text);
        else
            for (uint32_t i = 0; i < s->children; i++)
                if ((uint32_t)s->child[i].group == w.group)
                    sup__child_look(s, &s->child[i]);
}

static void
announce(sup *s)
{
    char topology[256];

    if (s->announced || s->rank < s->app->kinds - 1)
        return;
    for (uint32_t i = 0; i < s->children; i++)
        if (!s->child[i].ready && !s->child[i].retired)
            return;
    s->announced = true;
    plan_describe(&s->run.plan, topology, sizeof topology);
    log_info("server.ready", "listen=%s data=%s topology=%s", s->listen,
             log_quote(view_str(s->run.data_dir)), log_quote(view_str(topology)));
    sup__notify("READY=1");
}

static void
start_rank(sup *s, uint64_t now)
{
    s->rank_ns = now;
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].rank == s->rank)
            sup__child_start(s, &s->child[i]);
}

/* Servants first: the next rank starts when this one is ready, or takes too long. */
static void
climb(sup *s, uint64_t now)
{
    bool waits = false;

    for (uint32_t i = 0; i < s->children; i++)
        waits = waits || (s->child[i].rank <= s->rank && !s->child[i].ready);
    if (s->rank == s->app->kinds - 1 || (waits && now - s->rank_ns < RANK_WAIT_NS))
        return;
    s->rank++;
    start_rank(s, now);
}

static void
tend(sup *s)
{
    uint64_t now = sup__clock_ns();

    for (uint32_t i = 0; i < s->children; i++) {
        child *c = &s->child[i];

        sup__child_look(s, c);
        if (c->pid == 0 && c->again_ns != 0 && c->again_ns <= now && sup__tree_may_start(s, c))
            sup__child_start(s, c);
        if (c->pid != 0 && c->recalled && c->recall_ns <= now)
            (void)kill(c->pid, SIGKILL);
    }
    sup__standby_tend(s, now);
    sup__hangs_look(s, now);
    climb(s, now);
    announce(s);
}

static int
sleep_ms(const sup *s)
{
    uint64_t now = sup__clock_ns();
    uint64_t ms = s->rank < s->app->kinds - 1 ? READY_LOOK_MS : INT32_MAX;

    for (uint32_t i = 0; i < s->children; i++) {
        const child *c = &s->child[i];

        if (c->pid != 0 && (!c->ready || c->recalled))
            ms = min_u64(ms, READY_LOOK_MS);
        else if (c->again_ns > now)
            ms = min_u64(ms, (c->again_ns - now) / MS_NS + 1);
        else if (c->pid == 0 && c->again_ns != 0)
            ms = sup__tree_may_start(s, c) ? 0 : min_u64(ms, READY_LOOK_MS);
    }
    if (s->announced && s->o->server_standby && s->standby.pid == 0 && s->standby.make_ns > now)
        ms = min_u64(ms, (s->standby.make_ns - now) / MS_NS + 1);
    if (s->hang_look_ns > now)
        ms = min_u64(ms, (s->hang_look_ns - now) / MS_NS + 1);
    return ms == INT32_MAX ? -1 : (int)ms;
}

static void
look_round(sup *s, int timeout_ms)
{
    struct pollfd p[FIXED_FDS + SLOTS_MAX + 1] = {
        { .fd = s->signals, .events = POLLIN },
        { .fd = control_fd(s->control), .events = POLLIN },
        { .fd = s->standby.pidfd, .events = POLLIN },
    };

    for (uint32_t i = 0; i < s->children; i++)
        p[FIXED_FDS + i] = (struct pollfd){ .fd = s->child[i].pidfd, .events = POLLIN };
    if (poll(p, FIXED_FDS + s->children, timeout_ms) < 0)
        return;
    if (p[0].revents != 0)
        hear_signals(s);
    hear_control(s);
    if (p[2].revents != 0)
        sup__standby_ended(s);
    for (uint32_t i = 0; i < s->children; i++)
        if (p[FIXED_FDS + i].revents != 0)
            sup__child_ended(s, &s->child[i]);
}

/* ---- stop ---- */

static bool
rank_lives(const sup *s, uint32_t rank)
{
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].pid != 0 && s->child[i].rank == rank)
            return true;
    return false;
}

static void
signal_rank(sup *s, uint32_t rank, int number)
{
    for (uint32_t i = 0; i < s->children; i++)
        if (s->child[i].pid != 0 && s->child[i].rank == rank)
            (void)kill(s->child[i].pid, number);
}

/* Askers first: each rank drains what is left for it, then the next one stops. */
static void
stop_all(sup *s)
{
    uint64_t end = sup__clock_ns() + STOP_MS * MS_NS;

    s->stop = true;
    sup__standby_end(s);
    sup__notify("STOPPING=1");
    log_info("server.stop", "processes=%u", s->children);
    for (uint32_t rank = s->app->kinds; rank-- > 0;) {
        signal_rank(s, rank, SIGTERM);
        while (rank_lives(s, rank)) {
            uint64_t now = sup__clock_ns();

            if (now >= end)
                signal_rank(s, rank, SIGKILL);
            look_round(s, now >= end ? READY_LOOK_MS : (int)((end - now) / MS_NS + 1));
        }
    }
}

/* ---- serve ---- */

/* As many descriptors as we are allowed: connections are what a server is for.  With fewer than FILES_LEAST a process of
 * all actors cannot open its stores. */
static int
raise_limits(const sup *s)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return E_OK;
    if (files.rlim_max < FILES_LEAST)
        return err(E_CONFIG, "only %llu open files are allowed, %d are needed: LimitNOFILE= of the unit, or ulimit -n",
                   (unsigned long long)files.rlim_max, FILES_LEAST);
    if (files.rlim_max < s->o->limits_connections)
        log_warn("server.few_files", "allowed=%llu connections=%llu", (unsigned long long)files.rlim_max,
                 (unsigned long long)s->o->limits_connections);
    if (files.rlim_cur != files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    return E_OK;
}

static int
take_signals(sup *s)
{
    sigset_t set;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? err_errno(errno, "signalfd") : E_OK;
}

static int
prepare(sup *s)
{
    int rc;

    if ((rc = crypto_start()) < 0 || (rc = take_signals(s)) < 0 || (rc = raise_limits(s)) < 0 ||
        (rc = s->app->open(s)) < 0)
        return rc;
    sup__children_make(s);
    return E_OK;
}

static void
run(sup *s)
{
    start_rank(s, sup__clock_ns());
    while (!s->stop && s->fatal == 0) {
        tend(s);
        look_round(s, sleep_ms(s));
    }
    stop_all(s);
}

int
node_run(const node_app *app, options *o, const char *config_file, int argc, char **argv)
{
    sup *s = calloc(1, sizeof *s);
    int  rc;

    log_setup(o->log_level, o->log_format);
    if (s == NULL)
        return EXIT_BAD;
    s->app = app;
    s->o = o;
    s->config_file = config_file;
    s->argc = argc;
    s->argv = argv;
    s->run.listen_fd = s->lock_fd = -1;
    s->standby = (standby){ .pidfd = -1, .line = -1 };
    rc = prepare(s);
    if (rc >= 0) {
        run(s);
        rc = s->fatal;
    }
    if (rc < 0)
        log_error("server.failed", "reason=%s",
                  log_quote(view_str(s->fatal < 0 ? s->why : err_text())));
    else
        log_info("server.stopped", "listen=%s", s->listen);
    sup__run_remove(s);
    if (s->run.listen_fd >= 0)
        (void)close(s->run.listen_fd);
    if (s->lock_fd >= 0)
        (void)close(s->lock_fd);
    free(s);
    return rc < 0 ? EXIT_BAD : 0;
}
