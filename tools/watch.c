/* watch.c - see watch.h. */
#include "tools/watch.h"

#include "actors/options.h"
#include "proto/err.h"
#include "proto/json.h"
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

/* MSG_HEAD_ROWS -> head_rows */
const char *
watch_type(uint16_t type, char out[WATCH_NAME_MAX])
{
    const msg_row *row = msg_row_of(type);

    if (row == NULL)
        (void)snprintf(out, WATCH_NAME_MAX, "%u?", type);
    else
        (void)snprintf(out, WATCH_NAME_MAX, "%s", row->name + strlen("MSG_"));
    for (char *p = out; *p != '\0'; p++)
        *p = (char)tolower((unsigned char)*p);
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
look_actor(const watch *w, watch_actor *a, double seconds)
{
    a->lives = a->seat != NULL && is_ours(w, atomic_load(&a->seat->pid));
    if (a->counters == NULL)
        return;
    a->messages_s = rate(count_get(a->counters, COUNT_MESSAGES), &a->messages, seconds);
    a->steps_s = rate(count_get(a->counters, COUNT_STEPS), &a->steps, seconds);
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
    w->at_ns = now;
}

/* ---- JSON ---- */

static void
json_histogram(json_out *j, const counters *c, const char *name, enum histogram which)
{
    static const struct {
        const char *name;
        double      q;
    } rows[] = { { "p50_us", 0.5 }, { "p99_us", 0.99 }, { "p999_us", 0.999 } };

    json_name(j, view_str(name));
    json_open(j, '{');
    json_name_int(j, "count", (int64_t)hist_count(c, which));
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        json_name_number(j, rows[i].name, (double)hist_quantile_ns(c, which, rows[i].q) / 1e3);
    json_close(j, '}');
}

static void
json_actor(json_out *j, const watch_actor *a)
{
    char name[WATCH_NAME_MAX];

    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("actor"));
    json_name_string(j, "actor", view_str(watch_name(a->who, name)));
    json_name_int(j, "group", a->group);
    json_name_string(j, "state", view_str(watch_state(a)));
    if (a->seat != NULL) {
        json_name_int(j, "pid", atomic_load(&a->seat->pid));
        json_name_int(j, "epoch", atomic_load(&a->seat->epoch));
        json_name_int(j, "restarts", atomic_load(&a->seat->restarts));
        json_name_int(j, "last_exit", atomic_load(&a->seat->last_exit));
    }
    if (a->counters != NULL) {
        json_name_int(j, "messages", (int64_t)a->messages);
        json_name_number(j, "messages_per_s", a->messages_s);
        json_name_int(j, "steps", (int64_t)a->steps);
        json_name_int(j, "readings", (int64_t)count_get(a->counters, COUNT_READINGS));
        json_name_number(j, "steps_per_s", a->steps_s);
        json_histogram(j, a->counters, "queueing", HIST_QUEUEING);
        json_histogram(j, a->counters, "handling", HIST_HANDLING);
        json_histogram(j, a->counters, "flush", HIST_FLUSH);
    }
    json_close(j, '}');
}

static void
json_lane(json_out *j, const watch_lane *l)
{
    char name[WATCH_NAME_MAX];

    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("lane"));
    json_name_string(j, "from", view_str(watch_name(l->edge->from, name)));
    json_name_string(j, "to", view_str(watch_name(l->edge->to, name)));
    json_name_string(j, "carrier", view_str(l->edge->carrier == CARRIER_ZMQ ? "zmq" : "ring"));
    json_name_int(j, "capacity", (int64_t)l->edge->capacity);
    json_name_bool(j, "sound", l->sound);
    if (l->sound) {
        json_name_int(j, "bytes", (int64_t)l->bytes);
        json_name_int(j, "messages", (int64_t)l->messages);
        json_name_bool(j, "more_messages", l->cut);
        json_name_int(j, "high_water", (int64_t)l->most);
        json_name_int(j, "published", (int64_t)l->tail);
        json_name_number(j, "bytes_per_s", l->bytes_s);
    }
    json_close(j, '}');
}

static void
json_node(json_out *j, const watch *w)
{
    json_open(j, '{');
    json_name_string(j, "type", VIEW_LIT("node"));
    json_name_string(j, "run_dir", view_str(w->run.path));
    json_name_string(j, "data_dir", view_str(w->run.data_dir));
    json_name_uuid(j, "generation", &w->run.generation);
    json_name_int(j, "actors", w->run.plan.slots);
    json_name_int(j, "living", w->living);
    json_name_int(j, "lanes", w->run.plan.edges);
    json_close(j, '}');
}

static void
print_line(json_out *j, FILE *out)
{
    if (!j->failed)
        (void)fprintf(out, "%.*s\n", (int)j->len, j->at);
    json_reset(j);
}

void
watch_json(const watch *w, FILE *out)
{
    json_out j = { 0 };

    json_node(&j, w);
    print_line(&j, out);
    for (uint32_t i = 0; i < w->run.plan.slots; i++) {
        json_actor(&j, &w->actor[i]);
        print_line(&j, out);
    }
    for (uint32_t i = 0; i < w->run.plan.edges; i++) {
        json_lane(&j, &w->lane[i]);
        print_line(&j, out);
    }
    (void)fflush(out);
    json_out_free(&j);
}
