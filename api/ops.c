/* ops.c - /healthz, /readyz, /metrics: what an operator and a scraper look at. */
#include "actors/ak_node.h"
#include "actors/seat.h"
#include "api/front.h"
#include "proto/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROBE_MS = 2000, ASKED_MAX = BOARD_PARTS_MAX + 1 };

/* ---- /healthz: this process runs its loop ---- */

static void
get_health(call *c)
{
    call_send_text(c, 200, "application/json", VIEW_LIT("{\"status\":\"ok\"}"));
}

/* ---- /readyz: a durable write works now, everywhere ---- */

typedef struct readiness {
    uint32_t waiting;
    uint32_t bad;
    struct {
        addr    who;
        int32_t rc;
        bool    unanswered;
    } asked[ASKED_MAX];
    uint32_t count;
} readiness;

static void
answer_ready(call *c, const readiness *r)
{
    json_out *j = call_json(c);
    char      name[64];

    json_open(j, '{');
    json_name_string(j, "status", r->bad == 0 ? VIEW_LIT("ready") : VIEW_LIT("unready"));
    if (r->bad > 0)
        json_name_string(j, "detail", VIEW_LIT("A durable write does not work everywhere."));
    json_name(j, VIEW_LIT("actors"));
    json_open(j, '[');
    for (uint32_t i = 0; i < r->count; i++) {
        snprintf(name, sizeof name, "%s.%u", kind_name(addr_kind(r->asked[i].who)),
                 addr_part(r->asked[i].who));
        json_open(j, '{');
        json_name_string(j, "actor", view_str(name));
        json_name_bool(j, "ready", r->asked[i].rc == E_OK);
        if (r->asked[i].rc != E_OK)
            json_name_string(j, "why", view_str(err_name(r->asked[i].rc)));
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
    if (r->bad > 0)
        call_add_header(c, "Retry-After", VIEW_LIT("1"));
    call_send_json(c, r->bad == 0 ? 200 : 503);
}

static void
note_probe(call *c, readiness *r, uint32_t i, int32_t rc)
{
    r->asked[i].rc = rc;
    r->bad += rc != E_OK;
    if (--r->waiting == 0)
        answer_ready(c, r);
}

static void
on_probed(call *c, const ak_msg *m)
{
    readiness *r = call_kept(c);
    int32_t    rc = E_LATE;

    if (m->type != MSG_LATE && m->len >= sizeof rc)
        memcpy(&rc, m->body, sizeof rc);
    else if (m->type == MSG_PROBED)
        rc = E_OK;
    note_probe(c, r, c->reply_tag, rc);
}

static void
get_ready(call *c)
{
    readiness *r = call_alloc(c, sizeof *r);
    ak        *k = call_ak(c);
    uint16_t   parts = ak_parts(k, KIND_INGEST);

    call_keep(c, r, NULL);
    for (uint16_t p = 0; p < parts && p < ASKED_MAX - 1; p++)
        r->asked[r->count++].who = addr_of(KIND_INGEST, p);
    r->asked[r->count++].who = addr_of(KIND_REGISTRY, 0);
    r->waiting = r->count;
    for (uint32_t i = 0; i < r->count; i++) {
        ask *a = call_expect(c, on_probed, true);

        a->tag = i;
        a->corr = ak_ask(k, r->asked[i].who, MSG_PROBE, NULL, 0, PROBE_MS * UINT64_C(1000000), a);
        if (a->corr != 0)
            continue;
        call_unexpect(a);
        note_probe(c, r, i, E_FULL);
    }
}

/* ---- /metrics ---- */

static const struct {
    const char *name, *unit, *brief;
} counter_rows[] = {
#define X(COUNTER, name, unit, brief) { name, unit, brief },
#include "transport/counters.def"
#undef X
};

static const struct {
    const char *name, *brief;
} histogram_rows[] = {
#define X(HISTOGRAM, name, brief) { name, brief },
#include "transport/histograms.def"
#undef X
};

enum { ACTORS_MAX = 256 };

typedef struct actor {
    addr      who;
    counters *counters;
    int32_t   pid;
    uint32_t  epoch;
    uint32_t  state; /* enum seat_state */
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

    if (t->room - t->len < 512) {
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
            actors[n] = (actor){ .who = addr_of(kind, part) };
            if (counters_open(&actors[n].counters, ak_run_dir(k), actors[n].who, false) < 0) {
                err_clear();
                continue;
            }
            read_seat(k, &actors[n++]);
        }
    }
    return n;
}

static const char *
labels(const actor *a, char out[64])
{
    snprintf(out, 64, "actor=\"%s\",part=\"%u\"", kind_name(addr_kind(a->who)), addr_part(a->who));
    return out;
}

static bool
ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static void
add_counters(text *t, const actor *actors, uint32_t n)
{
    char l[64];

    for (int i = 0; i < COUNTERS; i++) {
        line(t, "# HELP haltless_%s %s\n# TYPE haltless_%s %s\n", counter_rows[i].name,
             counter_rows[i].brief, counter_rows[i].name,
             ends_with(counter_rows[i].name, "_total") ? "counter" : "gauge");
        for (uint32_t a = 0; a < n; a++)
            line(t, "haltless_%s{%s} %llu\n", counter_rows[i].name, labels(&actors[a], l),
                 (unsigned long long)count_get(actors[a].counters, (enum counter)i));
    }
}

static void
add_histograms(text *t, const actor *actors, uint32_t n)
{
    static const double quantiles[] = { 0.5, 0.9, 0.99, 0.999 };
    char                l[64];

    for (int i = 0; i < HISTOGRAMS; i++) {
        line(t, "# HELP haltless_%s %s\n# TYPE haltless_%s summary\n", histogram_rows[i].name,
             histogram_rows[i].brief, histogram_rows[i].name);
        for (uint32_t a = 0; a < n; a++) {
            const counters *c = actors[a].counters;

            if (hist_count(c, (enum histogram)i) == 0)
                continue;
            for (size_t q = 0; q < COUNT_OF(quantiles); q++)
                line(t, "haltless_%s{%s,quantile=\"%g\"} %.9f\n", histogram_rows[i].name,
                     labels(&actors[a], l), quantiles[q],
                     (double)hist_quantile_ns(c, (enum histogram)i, quantiles[q]) / 1e9);
            line(t, "haltless_%s_sum{%s} %.9f\n", histogram_rows[i].name, l,
                 (double)hist_sum_ns(c, (enum histogram)i) / 1e9);
            line(t, "haltless_%s_count{%s} %llu\n", histogram_rows[i].name, l,
                 (unsigned long long)hist_count(c, (enum histogram)i));
        }
    }
}

/* Where each actor runs: a process id that no other actor has is a process of its own. */
static void
add_info(text *t, const actor *actors, uint32_t n)
{
    char l[64];

    line(t, "# HELP haltless_actor_info where an actor runs\n# TYPE haltless_actor_info gauge\n");
    for (uint32_t a = 0; a < n; a++) {
        uint32_t same = 0;

        for (uint32_t b = 0; b < n; b++)
            same += actors[b].pid == actors[a].pid;
        line(t, "haltless_actor_info{%s,pid=\"%d\",epoch=\"%u\",mode=\"%s\"} 1\n",
             labels(&actors[a], l), actors[a].pid, actors[a].epoch,
             same == 1 ? "process" : "thread");
    }
}

static void
add_states(text *t, const actor *actors, uint32_t n)
{
    static const char *const words[] = { "down", "starting", "run", "io", "parked", "stopped" };
    char                     l[64];

    line(t, "# HELP haltless_actor_state what an actor does now\n# TYPE haltless_actor_state gauge\n");
    for (uint32_t a = 0; a < n; a++)
        line(t, "haltless_actor_state{%s,state=\"%s\"} 1\n", labels(&actors[a], l),
             actors[a].state < COUNT_OF(words) ? words[actors[a].state] : "?");
}

static void
add_lanes(text *t, const ak *k)
{
    ak_lane_about l;

    line(t, "# HELP haltless_lane_bytes published and not acknowledged\n# TYPE haltless_lane_bytes gauge\n");
    for (uint32_t i = 0; ak_lane_look(k, i, &l); i++)
        if (l.bytes != UINT64_MAX)
            line(t, "haltless_lane_bytes{from=\"%s.%u\",to=\"%s.%u\"} %llu\n", kind_name(addr_kind(l.from)),
                 addr_part(l.from), kind_name(addr_kind(l.to)), addr_part(l.to), (unsigned long long)l.bytes);
}

static void
get_metrics(call *c)
{
    actor    actors[ACTORS_MAX];
    uint32_t n = open_actors(call_ak(c), actors);
    text     t = { 0 };

    add_info(&t, actors, n);
    add_states(&t, actors, n);
    add_lanes(&t, call_ak(c));
    add_counters(&t, actors, n);
    add_histograms(&t, actors, n);
    line(&t, "# HELP haltless_http_connections client connections open now\n# TYPE "
             "haltless_http_connections gauge\n");
    line(&t, "haltless_http_connections{actor=\"front\",part=\"%u\"} %u\n", c->f->number,
         http_connections(c->f->http));
    for (uint32_t i = 0; i < n; i++)
        counters_close(&actors[i].counters);
    call_send_text(c, 200, "text/plain; version=0.0.4; charset=utf-8", view_of(t.at, t.len));
    free(t.at);
}

extern const route ops_routes[];

const route ops_routes[] = {
    { GET, 200, WHO_OPEN, 0, 0, "!/healthz", NULL, NULL, get_health, 0, "The process lives" },
    { GET, 200, WHO_OPEN, 0, PROBE_MS, "!/readyz", NULL, NULL, get_ready, 0,
      "A durable write works now" },
    { GET, 200, WHO_OPEN, 0, 0, "!/metrics", NULL, NULL, get_metrics, 0,
      "Counters and latencies, Prometheus text" },
    { 0 },
};
