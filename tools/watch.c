/* watch.c - see watch.h. */
#include "tools/watch.h"

#include "actors/options.h"
#include "proto/err.h"
#include "proto/messages.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { COUNTED_MAX = 65536, COMMAND_MAX = 4096 };

uint64_t
watch_now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- names ---- */

const char *
watch_name(addr who, char out[WATCH_NAME_MAX])
{
    (void)snprintf(out, WATCH_NAME_MAX, "%s.%u", kind_name(addr_kind(who)), addr_part(who));
    return out;
}

bool
watch_parse(const char *name, addr *who)
{
    const char *dot = strchr(name, '.');
    size_t      len = dot == NULL ? strlen(name) : (size_t)(dot - name);
    unsigned    part = 0;
    int         end = 0;

    if (dot != NULL && (!isdigit((unsigned char)dot[1]) || sscanf(dot + 1, "%5u%n", &part, &end) != 1 ||
                        dot[1 + end] != '\0' || part > UINT16_MAX))
        return false;
    for (uint16_t kind = 1; kind < KIND_MAX; kind++) {
        const char *known = kind_name(kind);

        if (strlen(known) != len || memcmp(known, name, len) != 0 || known[0] == '?')
            continue;
        *who = addr_of(kind, (uint16_t)part);
        return true;
    }
    return false;
}

const char *
watch_type(uint16_t type, char out[WATCH_NAME_MAX])
{
    if (msg_row_of(type) != NULL)
        return msg_name(type, out);
    (void)snprintf(out, WATCH_NAME_MAX, "%u?", type);
    return out;
}

const char *
watch_state(const watch_actor *a)
{
    static const char *const words[] = { "down", "starting", "run", "io", "parked", "stopped" };
    uint32_t                 state;

    if (a->seat == NULL)
        return "?";
    state = atomic_load(&a->seat->state);
    if (!a->lives && state != SEAT_DOWN && state != SEAT_STOPPED)
        return "dead";
    return state < COUNT_OF(words) ? words[state] : "?";
}

/* ---- opening ---- */

int
watch_dir(char out[RUNDIR_PATH_MAX], int argc, char **argv, const char *config)
{
    char    full[PATH_MAX] = "";
    options o;
    int     rc = options_load(&o, config, argc, argv);

    if (rc < 0)
        return rc;
    if (o.server_run_dir[0] == '\0' && realpath(o.server_data, full) == NULL)
        rc = err_errno(errno, "data directory %s", o.server_data);
    else
        rc = rundir_name(out, o.server_run_dir, full);
    options_free(&o);
    return rc;
}

static void
open_actor(watch *w, watch_actor *a, const slot_plan *p)
{
    a->who = p->who;
    a->group = p->group;
    if (seat_open(&a->seat, w->run.path, p->who, false) < 0)
        err_clear();
    if (counters_open(&a->counters, w->run.path, p->who, false) < 0)
        err_clear();
    if (trail_open(&a->trail, w->run.path, p->who, false) < 0)
        err_clear();
}

static void
open_lane(watch *w, watch_lane *l, const edge_plan *e)
{
    char path[RUNDIR_PATH_MAX + RUNDIR_NAME_MAX];

    l->edge = e;
    if (e->side == EDGE_COMES_IN)
        return; /* it is on its producer's node; the consumer's copy is private */
    rundir_lane_path(&w->run, e, path);
    if (lane_open(&l->lane, path, LANE_WATCHER) < 0)
        err_clear();
}

int
watch_open(watch **out, const char *dir)
{
    watch *w = calloc(1, sizeof *w);
    int    rc;

    *out = NULL;
    if (w == NULL)
        return err(E_NOMEM, "watch");
    if ((rc = rundir_read(&w->run, dir)) < 0) {
        free(w);
        return err(rc, "no node in %s", dir);
    }
    (void)snprintf(w->run.path, sizeof w->run.path, "%s", dir);
    own_names_take(&w->run.names);
    for (uint32_t i = 0; i < w->run.plan.slots; i++)
        open_actor(w, &w->actor[i], &w->run.plan.slot[i]);
    for (uint32_t i = 0; i < w->run.plan.edges; i++)
        open_lane(w, &w->lane[i], &w->run.plan.edge[i]);
    *out = w;
    return E_OK;
}

void
watch_close(watch **wp)
{
    watch *w = *wp;

    if (w == NULL)
        return;
    *wp = NULL;
    for (uint32_t i = 0; i < w->run.plan.slots; i++) {
        seat_close(&w->actor[i].seat);
        counters_close(&w->actor[i].counters);
        trail_close(&w->actor[i].trail);
    }
    for (uint32_t i = 0; i < w->run.plan.edges; i++)
        lane_close(&w->lane[i].lane);
    free(w);
}

bool
watch_is_current(const watch *w)
{
    rundir *now = malloc(sizeof *now);
    bool    same = now != NULL && rundir_read(now, w->run.path) == E_OK &&
                uuid_eq(&now->generation, &w->run.generation);

    err_clear();
    free(now);
    return same;
}

/* ---- looking ---- */

/* Is that process an actor of this node, or has somebody else got its number since? */
static bool
is_ours(const watch *w, int32_t pid)
{
    char    path[64];
    char    command[COMMAND_MAX];
    ssize_t n;
    int     fd;

    if (pid <= 0)
        return false;
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    n = read(fd, command, sizeof command);
    (void)close(fd);
    return n > 0 && memmem(command, (size_t)n, w->run.path, strlen(w->run.path)) != NULL;
}

static double
rate(uint64_t now, uint64_t *before, double seconds)
{
    double r = seconds > 0 && now >= *before ? (double)(now - *before) / seconds : 0;

    *before = now;
    return r;
}

static void
look_times(watch_actor *a)
{
    for (int i = 0; i < HISTOGRAMS; i++) {
        hist now = { 0 };

        hist_read(&now, a->counters, (enum histogram)i);
        a->recent[i] = now;
        hist_less(&a->recent[i], &a->total[i]);
        a->total[i] = now;
    }
}

static void
look_actor(const watch *w, watch_actor *a, double seconds)
{
    a->depth = a->most = a->faults = 0;
    a->lives = a->seat != NULL && is_ours(w, atomic_load(&a->seat->pid));
    if (a->counters == NULL)
        return;
    a->messages_s = rate(count_get(a->counters, COUNT_MESSAGES), &a->messages, seconds);
    a->steps_s = rate(count_get(a->counters, COUNT_STEPS), &a->steps, seconds);
    look_times(a);
}

static void
look_lane(watch_lane *l, double seconds)
{
    uint64_t head = 0;
    uint64_t tail = 0;
    uint64_t end;
    envelope e;
    uint32_t walked = 0;

    l->bytes = l->messages = 0;
    if (l->edge->side == EDGE_COMES_IN) {
        l->sound = true;
        return;
    }
    l->sound = l->lane != NULL && lane_span(l->lane, &head, &tail);
    if (!l->sound)
        return;
    l->bytes = tail - head;
    l->most = max_u64(l->most, max_u64(lane_most(l->lane), l->bytes));
    l->most = min_u64(l->most, lane_capacity(l->lane));
    l->bytes_s = rate(tail, &l->tail, seconds);
    for (; head < tail && walked < COUNTED_MAX && lane_look(l->lane, head, &e, &end) == 1; walked++) {
        l->messages += (e.flags & ENV_PAD) == 0;
        head = end;
    }
    l->cut = head < tail;
}

static watch_actor *
actor_of(watch *w, addr who)
{
    for (uint32_t i = 0; i < w->run.plan.slots; i++)
        if (w->actor[i].who == who)
            return &w->actor[i];
    return NULL;
}

/* What a lane says of the actors at its ends. */
static void
tell_ends(watch *w, watch_lane *l)
{
    watch_actor *from = actor_of(w, l->edge->from);
    watch_actor *to = actor_of(w, l->edge->to);

    l->refused = (count_edge){ 0 };
    if (from != NULL && from->counters != NULL)
        (void)count_edge_to(from->counters, l->edge->to, &l->refused);
    if (to == NULL)
        return;
    to->depth += l->messages;
    to->most = max_u64(to->most, l->most);
}

static void
take_fault(void *ctx, const char *process, const fault *f)
{
    watch *w = ctx;

    if (w->faults == WATCH_FAULTS_MAX)
        return;
    (void)snprintf(w->fault[w->faults].process, sizeof w->fault[0].process, "%.15s", process);
    w->fault[w->faults++].fault = *f;
}

static int
by_last(const void *a, const void *b)
{
    const watch_fault *x = a;
    const watch_fault *y = b;

    return x->fault.last_us > y->fault.last_us ? -1 : x->fault.last_us < y->fault.last_us;
}

static void
look_faults(watch *w)
{
    w->faults = 0;
    faults_each(w->run.path, take_fault, w);
    qsort(w->fault, w->faults, sizeof w->fault[0], by_last);
    for (uint32_t i = 0; i < w->faults; i++) {
        addr         who;
        watch_actor *a = watch_parse(w->fault[i].fault.actor, &who) ? actor_of(w, who) : NULL;

        if (a != NULL)
            a->faults += w->fault[i].fault.count;
    }
}

void
watch_look(watch *w)
{
    uint64_t now = watch_now_ns();
    double   seconds = w->at_ns == 0 ? 0 : (double)(now - w->at_ns) / 1e9;

    w->living = 0;
    for (uint32_t i = 0; i < w->run.plan.slots; i++) {
        look_actor(w, &w->actor[i], seconds);
        w->living += w->actor[i].lives;
    }
    for (uint32_t i = 0; i < w->run.plan.edges; i++)
        look_lane(&w->lane[i], seconds);
    for (uint32_t i = 0; i < w->run.plan.edges; i++)
        tell_ends(w, &w->lane[i]);
    look_faults(w);
    w->at_ns = now;
}
