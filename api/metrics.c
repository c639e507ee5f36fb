/* metrics.c - /metrics: the rows of counters.def and histograms.def of every actor, lanes, states, faults.
 *
 * The files of shared memory are read as `haltless top` reads them: no actor is asked, so what a dead or a busy one
 * counted is there too.  A histogram's `le` are (4^n * 1024 - 1) ns: borders of its own buckets, so the sums
 * are exact.  It takes a millisecond and more, in a helper thread: what is read of the kernel never changes.
 */
#include "api/metrics.h"

#include "actors/ak_node.h"
#include "actors/seat.h"
#include "proto/err.h"
#include "transport/faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { ACTORS_MAX = 256, LABELS_MAX = 64, LE_FIRST = 10, LE_LAST = 34, LE_STEP = 2 };

typedef struct actor {
    addr      who;
    counters *counters;
    int32_t   pid;
    uint32_t  epoch;
    uint32_t  state; /* enum seat_state */
    char      labels[LABELS_MAX];
} actor;

typedef struct text {
    char  *at;
    size_t len;
    size_t room;
} text;

static void line(text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void
line(text *t, const char *fmt, ...)
{
    va_list args;
    int     n;

    if (t->room - t->len < 1024) {
        size_t room = t->room == 0 ? 65536 : t->room * 2;
        char  *at = realloc(t->at, room);

        ASSERT(at != NULL);
        t->at = at;
        t->room = room;
    }
    va_start(args, fmt);
    n = vsnprintf(t->at + t->len, t->room - t->len, fmt, args);
    va_end(args);
    ASSERT(n >= 0 && (size_t)n < t->room - t->len);
    t->len += (size_t)n;
}

static void
head(text *t, const char *name, const char *type, const char *brief)
{
    line(t, "# HELP haltless_%s %s\n# TYPE haltless_%s %s\n", name, brief, name, type);
}

/* ---- actors ---- */

static void
read_seat(ak *k, actor *a)
{
    seat *s = NULL;

    if (seat_open(&s, ak_run_dir(k), a->who, false) < 0) {
        err_clear();
        return;
    }
    a->pid = atomic_load_explicit(&s->pid, memory_order_relaxed);
    a->state = atomic_load_explicit(&s->state, memory_order_relaxed);
    a->epoch = atomic_load_explicit(&s->epoch, memory_order_relaxed);
    seat_close(&s);
}

static uint32_t
open_actors(ak *k, actor actors[ACTORS_MAX])
{
    uint32_t n = 0;

    for (uint16_t kind = 1; kind < KIND_MAX; kind++) {
        for (uint16_t part = 0; part < ak_parts(k, kind) && n < ACTORS_MAX; part++) {
            actor *a = &actors[n];

            *a = (actor){ .who = addr_of(kind, part) };
            if (counters_open(&a->counters, ak_run_dir(k), a->who, false) < 0) {
                err_clear();
                continue;
            }
            (void)snprintf(a->labels, sizeof a->labels, "actor=\"%s\",part=\"%u\"", kind_name(kind), part);
            read_seat(k, a);
            n++;
        }
    }
    return n;
}

/* Where each actor runs: a process id that no other actor has is a process of its own. */
static void
add_info(text *t, const actor *actors, uint32_t n)
{
    head(t, "actor_info", "gauge", "where an actor runs");
    for (uint32_t a = 0; a < n; a++) {
        uint32_t same = 0;

        for (uint32_t b = 0; b < n; b++)
            same += actors[b].pid == actors[a].pid;
        line(t, "haltless_actor_info{%s,pid=\"%d\",epoch=\"%u\",mode=\"%s\"} 1\n", actors[a].labels,
             actors[a].pid, actors[a].epoch, same == 1 ? "process" : "thread");
    }
}

static void
add_states(text *t, const actor *actors, uint32_t n)
{
    static const char *const words[] = { "down", "starting", "run", "io", "parked", "stopped" };

    head(t, "actor_state", "gauge", "what an actor does now");
    for (uint32_t a = 0; a < n; a++)
        line(t, "haltless_actor_state{%s,state=\"%s\"} 1\n", actors[a].labels,
             actors[a].state < COUNT_OF(words) ? words[actors[a].state] : "?");
}

static void
add_counters(text *t, const actor *actors, uint32_t n)
{
    for (int i = 0; i < COUNTERS; i++) {
        head(t, counter_rows[i].name, counter_grows((enum counter)i) ? "counter" : "gauge",
             counter_rows[i].brief);
        for (uint32_t a = 0; a < n; a++)
            line(t, "haltless_%s{%s} %llu\n", counter_rows[i].name, actors[a].labels,
                 (unsigned long long)count_get(actors[a].counters, (enum counter)i));
    }
}

/* ---- histograms ---- */

static void
add_histogram(text *t, const char *name, const char *labels, const hist *h)
{
    if (h->count == 0)
        return;
    for (int power = LE_FIRST; power <= LE_LAST; power += LE_STEP) {
        uint64_t ns = (UINT64_C(1) << power) - 1;

        line(t, "haltless_%s_bucket{%s,le=\"%.9f\"} %llu\n", name, labels, (double)ns / 1e9,
             (unsigned long long)hist_below(h, ns));
    }
    line(t, "haltless_%s_bucket{%s,le=\"+Inf\"} %llu\n", name, labels, (unsigned long long)h->count);
    line(t, "haltless_%s_sum{%s} %.9f\n", name, labels, (double)h->sum_ns / 1e9);
    line(t, "haltless_%s_count{%s} %llu\n", name, labels, (unsigned long long)h->count);
}

static void
add_types(text *t, const actor *a, enum histogram which)
{
    char     labels[LABELS_MAX + MSG_NAME_MAX + 16];
    char     name[MSG_NAME_MAX];
    uint16_t type;

    for (uint32_t place = 0; place < COUNT_TYPES; place++) {
        hist h = { 0 };

        if (!count_type_at(a->counters, place, &type))
            continue;
        (void)snprintf(labels, sizeof labels, "%s,type=\"%s\"", a->labels,
                       type == 0 ? "other" : msg_name(type, name));
        hist_read_type(&h, a->counters, which, place);
        add_histogram(t, histogram_rows[which].name, labels, &h);
    }
}

static void
add_histograms(text *t, const actor *actors, uint32_t n)
{
    for (int i = 0; i < HISTOGRAMS; i++) {
        head(t, histogram_rows[i].name, "histogram", histogram_rows[i].brief);
        for (uint32_t a = 0; a < n; a++) {
            hist h = { 0 };

            if (histogram_rows[i].by_type) {
                add_types(t, &actors[a], (enum histogram)i);
                continue;
            }
            hist_read(&h, actors[a].counters, (enum histogram)i);
            add_histogram(t, histogram_rows[i].name, actors[a].labels, &h);
        }
    }
}

/* ---- lanes ---- */

typedef struct lane_row {
    ak_lane_about about;
    count_edge    edge;
} lane_row;

static uint64_t
lane_bytes_now(const lane_row *l)
{
    return l->about.bytes;
}

static uint64_t
lane_bytes_most(const lane_row *l)
{
    return l->about.most;
}

static uint64_t
lane_bytes_room(const lane_row *l)
{
    return l->about.capacity;
}

static uint64_t
lane_refused(const lane_row *l)
{
    return l->edge.full;
}

static uint64_t
lane_dropped(const lane_row *l)
{
    return l->edge.shed;
}

static const struct {
    const char *name, *type, *brief;
    uint64_t (*of)(const lane_row *l);
} lane_values[] = {
    { "lane_bytes", "gauge", "published and not acknowledged", lane_bytes_now },
    { "lane_high_water_bytes", "gauge", "the most that ever was", lane_bytes_most },
    { "lane_capacity_bytes", "gauge", "what the lane holds", lane_bytes_room },
    { "lane_full_total", "counter", "sends that it had no room for", lane_refused },
    { "lane_shed_total", "counter", "notes dropped because it was full", lane_dropped },
};

static lane_row
lane_row_of(const ak_lane_about *about, const actor *actors, uint32_t n)
{
    lane_row l = { .about = *about };

    for (uint32_t a = 0; a < n; a++)
        if (actors[a].who == about->from)
            (void)count_edge_to(actors[a].counters, about->to, &l.edge);
    return l;
}

static void
add_lanes(text *t, const ak *k, const actor *actors, uint32_t n)
{
    ak_lane_about about;

    for (size_t v = 0; v < COUNT_OF(lane_values); v++) {
        head(t, lane_values[v].name, lane_values[v].type, lane_values[v].brief);
        for (uint32_t i = 0; ak_lane_look(k, i, &about); i++) {
            lane_row l = lane_row_of(&about, actors, n);

            if (about.bytes != UINT64_MAX)
                line(t, "haltless_%s{from=\"%s.%u\",to=\"%s.%u\"} %llu\n", lane_values[v].name,
                     kind_name(addr_kind(about.from)), addr_part(about.from),
                     kind_name(addr_kind(about.to)), addr_part(about.to),
                     (unsigned long long)lane_values[v].of(&l));
        }
    }
}

/* ---- faults ---- */

static void
add_fault(void *ctx, const char *name, const fault *f)
{
    line(ctx, "haltless_faults_total{process=\"%.16s\",actor=\"%s\",event=\"%s\",place=\"%s\",level=\"%s\"} %llu\n",
         name, f->actor, f->event, f->place, f->warning ? "warning" : "error", (unsigned long long)f->count);
}

size_t
metrics_write(ak *k, uint32_t connections, char **out)
{
    actor    actors[ACTORS_MAX];
    uint32_t n = open_actors(k, actors);
    text     t = { 0 };

    add_info(&t, actors, n);
    add_states(&t, actors, n);
    add_lanes(&t, k, actors, n);
    add_counters(&t, actors, n);
    add_histograms(&t, actors, n);
    head(&t, "faults_total", "counter", "distinct errors and warnings; `haltless top --errors` has their text");
    faults_each(ak_run_dir(k), add_fault, &t);
    head(&t, "http_connections", "gauge", "client connections open now");
    line(&t, "haltless_http_connections{actor=\"front\",part=\"%u\"} %u\n", addr_part(ak_self(k)),
         connections);
    for (uint32_t i = 0; i < n; i++)
        counters_close(&actors[i].counters);
    *out = t.at;
    return t.len;
}
