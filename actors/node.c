/* node.c - a process that hosts the actors of one group, each as a thread.
 *
 *   main thread   signals and the supervisor's control line: stop, reload
 *   threads       one an actor: init(), the loop, stop()
 *
 * A standby does all that does not depend on which group it will be, says so, and waits to be told.
 *
 * Actors start kind by kind, servants before those who ask them, the parts of a kind together; they stop
 * the other way round, so that each drains what its askers left.  Threads share the ZeroMQ context and
 * the libraries, nothing else.  An actor that dies takes the process with it, as a crash would: the
 * process is the failure domain, and nothing of a half-done batch is flushed, published or acknowledged.
 */
#include "actors/node.h"

#include "actors/ak_internal.h"
#include "actors/crash.h"
#include "actors/fault_log.h"
#include "actors/options.h"
#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/log.h"
#include "transport/control.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { OPTION_SETS = 8, ORPHAN_S = 8, EXIT_ACTOR_DIED = 3 };

typedef struct hosted {
    ak             *k;
    const ak_kind  *kind;
    struct node    *node;
    addr            who;
    char            name[32];
    seat           *seat; /* for the crash report */
    int32_t         core;
    bool            running;
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  opened;
    bool            open;
} hosted;

typedef struct node {
    const node_app *app;
    rundir   run;
    ak_host  host;
    options  set[OPTION_SETS]; /* of the last reloads: a borrowed string lives that long */
    uint32_t sets;
    control *control;
    pid_t    parent;
    int      signals;
    int32_t  group;
    char     group_name[16]; /* its number, in the fault log */
    uint32_t actors;
    hosted   actor[SLOTS_MAX];
} node;

/* ---- an actor's thread ---- */

static void
pin(int32_t core)
{
    cpu_set_t set;

    if (core < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
        log_warn("actor.not_pinned", "core=%d", core);
}

/* Its last words are in its seat, for the supervisor's log. */
static _Noreturn void
die(const char *when, int rc)
{
    const char *why = err_text();

    log_error("actor.failed", "when=%s reason=%s", when,
              log_quote(view_str(why[0] != '\0' ? why : err_name(rc))));
    _exit(EXIT_ACTOR_DIED);
}

/* A look of its own at the seat: good before the kernel has opened it, and after a heap is broken. */
static seat *
seat_of(hosted *h)
{
    (void)snprintf(h->name, sizeof h->name, "%s.%u", h->kind->name, addr_part(h->who));
    if (seat_open(&h->seat, h->node->run.path, h->who, true) < 0)
        err_clear();
    return h->seat;
}

static void *
actor_main(void *arg)
{
    hosted *h = arg;
    int     rc;

    pin(h->core);
    crash_enter(h->name, seat_of(h));
    rc = ak_open(&h->k, h->kind, addr_part(h->who), &h->node->host);
    if (rc < 0)
        die("start", rc);
    (void)pthread_mutex_lock(&h->lock);
    h->open = true;
    (void)pthread_cond_signal(&h->opened);
    (void)pthread_mutex_unlock(&h->lock);
    rc = ak_run(h->k);
    if (rc < 0)
        die("run", rc);
    crash_leave();
    seat_close(&h->seat);
    return NULL;
}

static int
start_one(hosted *h)
{
    char name[16];
    int  failed = pthread_create(&h->thread, NULL, actor_main, h);

    if (failed != 0)
        return err_errno(failed, "thread of %s.%u", h->kind->name, addr_part(h->who));
    (void)snprintf(name, sizeof name, "%.9s.%u", h->kind->name, addr_part(h->who));
    (void)pthread_setname_np(h->thread, name);
    h->running = true;
    return E_OK;
}

static void
wait_open(hosted *h)
{
    (void)pthread_mutex_lock(&h->lock);
    while (!h->open)
        (void)pthread_cond_wait(&h->opened, &h->lock);
    (void)pthread_mutex_unlock(&h->lock);
}

static int
start_kind(node *n, uint16_t kind)
{
    int rc = E_OK;

    for (uint32_t i = 0; i < n->actors && rc >= 0; i++)
        if (addr_kind(n->actor[i].who) == kind)
            rc = start_one(&n->actor[i]);
    return rc;
}

static void
wait_started(node *n)
{
    for (uint32_t i = 0; i < n->actors; i++)
        if (n->actor[i].running)
            wait_open(&n->actor[i]);
}

/* Side by side, as processes do; the last kind, which lets the world in, when the others are there. */
static int
start_all(node *n)
{
    int rc = E_OK;

    for (uint32_t i = 0; i < n->app->kinds && rc >= 0; i++) {
        if (i + 1 == n->app->kinds)
            wait_started(n);
        rc = start_kind(n, n->app->order[i]);
    }
    if (rc >= 0)
        wait_started(n);
    return rc < 0 ? rc : control_say(n->control, CONTROL_READY, NULL);
}

static void
stop_all(node *n)
{
    for (uint32_t i = n->app->kinds; i-- > 0;) {
        for (uint32_t j = 0; j < n->actors; j++)
            if (addr_kind(n->actor[j].who) == n->app->order[i])
                ak_stop(n->actor[j].k);
        for (uint32_t j = 0; j < n->actors; j++) {
            if (addr_kind(n->actor[j].who) != n->app->order[i])
                continue;
            (void)pthread_join(n->actor[j].thread, NULL);
            ak_close(&n->actor[j].k);
        }
    }
}

/* ---- settings ---- */

static int
load_options(node *n)
{
    options *o = &n->set[n->sets % OPTION_SETS];
    char     path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];
    int      rc;

    (void)snprintf(path, sizeof path, "%s/options", n->run.path);
    if (n->sets >= OPTION_SETS)
        options_free(o);
    memset(o, 0, sizeof *o);
    if ((rc = options_read(o, path)) < 0)
        return rc;
    n->sets++;
    atomic_store(&n->host.options, o);
    log_setup(o->log_level, o->log_format);
    return E_OK;
}

static void
reload(node *n)
{
    if (load_options(n) < 0) {
        log_error("options.not_reloaded", "reason=%s", log_quote(view_str(err_text())));
        err_clear();
    }
}

/* ---- the main thread ---- */

/* True: stop. */
static bool
hear_signal(node *n)
{
    struct signalfd_siginfo s;

    if (read(n->signals, &s, sizeof s) != (ssize_t)sizeof s)
        return false;
    if (s.ssi_signo == SIGHUP)
        reload(n);
    return s.ssi_signo == SIGTERM;
}

static void
replay(node *n, const char *id)
{
    char name[DEAD_ID_MAX];
    int  rc = E_NOTFOUND;

    for (uint32_t i = 0; i < n->actors; i++) {
        hosted *h = &n->actor[i];
        int     len = snprintf(name, sizeof name, "%s.%u-", h->kind->name, addr_part(h->who));

        if (strncmp(id, name, (size_t)len) == 0)
            rc = ak_replay(h->k, id);
    }
    if (rc < 0 && ak_replay_answer(&n->run, id, rc) < 0)
        log_warn("message.replayed", "reason=%s", log_quote(view_str(err_text())));
    err_clear();
}

static bool
hear_control(node *n)
{
    control_word w;
    bool         stop = false;

    while (control_next(n->control, &w)) {
        if (w.verb == CONTROL_RELOAD)
            reload(n);
        if (w.verb == CONTROL_REPLAY && dead_is_id(w.text))
            replay(n, w.text);
        for (uint32_t i = 0; w.verb == CONTROL_DEATH && i < n->actors; i++)
            ak_deaths_look(n->actor[i].k);
        stop = stop || w.verb == CONTROL_STOP;
    }
    return stop;
}

static void
wait_for_stop(node *n)
{
    struct pollfd p[2] = { { .fd = n->signals, .events = POLLIN },
                           { .fd = control_fd(n->control), .events = POLLIN } };
    bool          stop = hear_control(n); /* edge-triggered: what came before the first look */

    while (!stop) {
        if (poll(p, 2, -1) <= 0)
            continue;
        if (p[0].revents != 0 && (stop = hear_signal(n)) && getppid() != n->parent)
            (void)alarm(ORPHAN_S); /* nobody is left to kill it when it hangs */
        if (p[1].revents != 0)
            stop = hear_control(n) || stop;
    }
}

/* Ctrl-C reaches the whole foreground group: only the supervisor answers it, and tells us in order. */
static int
take_signals(node *n)
{
    sigset_t set;

    (void)signal(SIGINT, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    n->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return n->signals < 0 ? err(E_IO, "signalfd") : E_OK;
}

static int
take_slots(node *n)
{
    const plan *p = &n->run.plan;

    for (uint32_t i = 0; i < p->slots; i++) {
        hosted *h = &n->actor[n->actors];

        if (p->slot[i].group != n->group)
            continue;
        *h = (hosted){ .kind = n->app->kind_of(addr_kind(p->slot[i].who)),
                       .node = n,
                       .who = p->slot[i].who,
                       .core = p->slot[i].core };
        if (h->kind == NULL)
            return err(E_BAD, "no kind %u", addr_kind(p->slot[i].who));
        (void)pthread_mutex_init(&h->lock, NULL);
        (void)pthread_cond_init(&h->opened, NULL);
        n->actors++;
    }
    return n->actors == 0 ? err(E_BAD, "no actors in group %d", n->group) : E_OK;
}

/* All that is the same for every group. */
static int
open_node(node *n, const char *path)
{
    int rc;

    if ((rc = rundir_read(&n->run, path)) < 0 || (rc = rundir_alive(path, false, 0)) < 0 ||
        (rc = load_options(n)) < 0 || (rc = take_signals(n)) < 0 || (rc = crypto_start()) < 0)
        return rc;
    n->host.run = &n->run;
    n->host.bury = dead_write;
    n->host.exhume = dead_read;
    n->host.drop = dead_drop;
    n->host.zmq = wire_context();
    return n->host.zmq == NULL ? err(E_NOMEM, "ZeroMQ context") : E_OK;
}

static int
be_group(node *n)
{
    int rc = take_slots(n);

    (void)snprintf(n->group_name, sizeof n->group_name, "%d", n->group);
    fault_log_open(n->run.path, n->group_name);
    return rc < 0 ? rc : control_connect(&n->control, n->run.path, (uint32_t)n->group);
}

/* ---- standby ---- */

/* Sockets opened once: libraries resolved, threads started, pages of code there. */
static void
warm_up(node *n)
{
    control *c;

    wire_context_warm(n->host.zmq);
    if (control_connect(&c, n->run.path, CONTROL_TOOL | (uint32_t)getpid()) == E_OK)
        control_close(&c);
    err_clear();
}

static bool
hosts_front(const node *n)
{
    const plan *p = &n->run.plan;

    for (uint32_t i = 0; i < p->slots; i++)
        if (p->slot[i].group == n->group && addr_kind(p->slot[i].who) == KIND_FRONT)
            return true;
    return false;
}

/* From here on it is as any other: it ends cleanly with its supervisor, and only a front holds the listener. */
static int
leave_standby(node *n)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != n->parent)
        return err(E_GONE, "supervisor");
    if (n->run.listen_fd >= 0 && !hosts_front(n)) {
        (void)close(n->run.listen_fd);
        n->run.listen_fd = -1;
    }
    return load_options(n); /* they may have been reloaded meanwhile */
}

/* Until it is told which; the supervisor's end tells it to go. */
static int
stand_by(node *n, int line)
{
    uint8_t ready = 1;
    ssize_t got;

    warm_up(n);
    if (write(line, &ready, 1) != 1)
        return err(E_GONE, "supervisor");
    do
        got = read(line, &n->group, sizeof n->group);
    while (got < 0 && errno == EINTR);
    (void)close(line);
    if (got != (ssize_t)sizeof n->group)
        _exit(0);
    return leave_standby(n);
}

static int
open_role(node *n, const char *path, const char *role)
{
    int rc = open_node(n, path);
    int line;

    if (rc >= 0 && sscanf(role, "standby:%d", &line) == 1)
        rc = stand_by(n, line);
    else
        n->group = (int32_t)strtol(role, NULL, 10);
    return rc < 0 ? rc : be_group(n);
}

static void
close_node(node *n)
{
    fault_log_close();
    wire_context_close(n->host.zmq);
    control_close(&n->control);
    for (uint32_t i = 0; i < n->sets && i < OPTION_SETS; i++)
        options_free(&n->set[i]);
    for (uint32_t i = 0; i < n->actors; i++) {
        (void)pthread_mutex_destroy(&n->actor[i].lock);
        (void)pthread_cond_destroy(&n->actor[i].opened);
    }
    free(n);
}

/* The descriptor of rundir_alive() stays open on purpose: the lock ends with the process. */
int
node_host(const node_app *app, int argc, char **argv)
{
    node *n;

    if (argc != 2) {
        (void)fprintf(stderr, "haltless actor RUN GROUP|standby:FD: started by haltless serve only\n");
        return 2;
    }
    n = calloc(1, sizeof *n);
    if (n == NULL)
        return 1;
    n->app = app;
    n->parent = getppid();
    if (open_role(n, argv[0], argv[1]) < 0 || start_all(n) < 0) {
        log_error("group.failed", "group=%d reason=%s", n->group, log_quote(view_str(err_text())));
        _exit(1);
    }
    wait_for_stop(n);
    stop_all(n);
    close_node(n);
    return 0;
}
