/* cmd_trace.c - `haltless trace ID`: the way of one request through the actors, from their trails.
 *
 *   AT        ACTOR       MESSAGE    FROM         QUEUED   HANDLED  COMMITTED
 *   +0.000ms  front.0     request    -                 -   1.532ms          -
 *   +0.061ms  ingest.0    readings   front.0      12.0us    31.0us    1.200ms
 *   +1.301ms  front.0     stored     ingest.0      9.0us    14.0us          -
 *
 * What is read are rings of what happened lately; the request may have been written over.  A handler that never
 * returned is what its actor is busy with, or died of.
 */
#include "proto/err.h"
#include "proto/json.h"
#include "tools/commands.h"
#include "tools/watch.h"

#include <inttypes.h>
#include <stdlib.h>

enum { STEPS_MAX = 4096, TIME_MAX = 24, RECENT_MAX = 40 };

static const char usage[] =
    "haltless trace ID [--json] [settings]   the way of one request through the actors\n"
    "haltless trace [--json] [settings]      the requests that are still known, the latest first\n\n"
    "  ID               what the answer's X-Request-Id said, or the trace that `haltless lane` shows\n"
    "  --json           one JSON object a line\n"
    "  --data DIR       the server's data directory, or\n"
    "  --run-dir DIR    its run directory (shared memory)\n\n"
    "Per step: when it began (since the request's first), which actor, which message from whom, how long it was queued\n"
    "and handled, and how long after that its batch was committed.  Each actor remembers its last 2048 steps (256 in a\n"
    "node of more than 32 actors).  Works on a running or a killed node; never writes.\n";

typedef struct step {
    const watch_actor *actor;
    trail_step         t;
} step;

static int
by_time(const void *a, const void *b)
{
    const step *x = a;
    const step *y = b;

    return x->t.at_ns < y->t.at_ns ? -1 : x->t.at_ns > y->t.at_ns;
}

/* trace 0: all. */
static uint32_t
gather(const watch *w, uint64_t trace, step *out, uint32_t room)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < w->run.plan.slots; i++) {
        const trail *t = w->actor[i].trail;
        uint64_t     next = t == NULL ? 0 : trail_next(t);

        for (uint64_t at = t == NULL ? 0 : trail_first(t); at < next && n < room; at++) {
            out[n].actor = &w->actor[i];
            if (trail_read(t, at, &out[n].t) && (trace == 0 || out[n].t.trace == trace))
                n++;
        }
    }
    qsort(out, n, sizeof *out, by_time);
    return n;
}

/* ---- one request ---- */

static const char *
span(uint64_t from, uint64_t until, char out[TIME_MAX])
{
    double us = until > from ? (double)(until - from) / 1e3 : 0;

    if (from == 0 || until == 0)
        (void)snprintf(out, TIME_MAX, "-");
    else if (us < 999.5)
        (void)snprintf(out, TIME_MAX, "%.1fus", us);
    else
        (void)snprintf(out, TIME_MAX, us < 999500 ? "%.3fms" : "%.0fms", us / 1e3);
    return out;
}

static const char *
what_of(const step *s, char out[WATCH_NAME_MAX])
{
    if (s->t.type != 0)
        return watch_type(s->t.type, out);
    (void)snprintf(out, WATCH_NAME_MAX, "request");
    return out;
}

static const char *
note_of(const step *s)
{
    if (s->t.done_ns == 0)
        return s->actor->lives ? " not done: busy with it, or restarted since" : " not done: it died here";
    if ((s->t.flags & TRAIL_WAIT) != 0)
        return " no room downstream, offered again later";
    return (s->t.flags & TRAIL_AGAIN) != 0 ? " again, after a crash" : "";
}

static void
show(const step *s, uint64_t begin)
{
    char actor[WATCH_NAME_MAX];
    char from[WATCH_NAME_MAX] = "-";
    char what[WATCH_NAME_MAX];
    char queued[TIME_MAX];
    char handled[TIME_MAX];
    char committed[TIME_MAX];
    char at[TIME_MAX];

    (void)snprintf(at, sizeof at, "+%.3fms", (double)(s->t.at_ns - begin) / 1e6);
    if (s->t.type != 0)
        (void)watch_name(s->t.from, from);
    (void)printf("%-12s %-11s %-10s %-11s %9s %9s %9s%s\n", at, watch_name(s->actor->who, actor),
                 what_of(s, what), from, s->t.type == 0 ? "-" : span(s->t.sent_ns, s->t.at_ns, queued),
                 span(s->t.at_ns, s->t.done_ns, handled), span(s->t.done_ns, s->t.flushed_ns, committed),
                 note_of(s));
}

static void
name_us(json_out *j, const char *name, uint64_t from, uint64_t until)
{
    if (from == 0 || until == 0)
        json_name_null(j, name);
    else
        json_name_number(j, name, until > from ? (double)(until - from) / 1e3 : 0);
}

static void
show_json(const step *s, uint64_t begin)
{
    char     text[WATCH_NAME_MAX];
    json_out j = { 0 };

    json_open(&j, '{');
    (void)snprintf(text, sizeof text, "%016" PRIx64, s->t.trace);
    json_name_string(&j, "trace", view_str(text));
    json_name_string(&j, "actor", view_str(watch_name(s->actor->who, text)));
    json_name_string(&j, "message", view_str(what_of(s, text)));
    json_name_string(&j, "from", view_str(watch_name(s->t.from, text)));
    json_name_int(&j, "len", s->t.len);
    json_name_number(&j, "at_us", (double)(s->t.at_ns - begin) / 1e3);
    name_us(&j, "queued_us", s->t.sent_ns, s->t.at_ns);
    name_us(&j, "handled_us", s->t.at_ns, s->t.done_ns);
    name_us(&j, "committed_us", s->t.done_ns, s->t.flushed_ns);
    json_name_bool(&j, "done", s->t.done_ns != 0);
    json_name_bool(&j, "again", (s->t.flags & TRAIL_AGAIN) != 0);
    json_close(&j, '}');
    if (!j.failed)
        (void)printf("%.*s\n", (int)j.len, j.at);
    json_out_free(&j);
}

static int
one(const watch *w, const char *id, step *steps, bool json)
{
    uint32_t n = gather(w, trail_id(view_str(id)), steps, STEPS_MAX);

    if (n == 0)
        return err(E_NOTFOUND, "request %s: not, or no longer, in the actors' memory", id);
    if (!json)
        (void)printf("%-12s %-11s %-10s %-11s %9s %9s %9s\n", "AT", "ACTOR", "MESSAGE", "FROM", "QUEUED", "HANDLED",
                     "COMMITTED");
    for (uint32_t i = 0; i < n; i++) {
        if (json)
            show_json(&steps[i], steps[0].t.at_ns);
        else
            show(&steps[i], steps[0].t.at_ns);
    }
    return E_OK;
}

/* ---- those that are known ---- */

static void
list_one(const step *s, uint32_t n, uint64_t now, bool json)
{
    char took[TIME_MAX];

    if (json)
        (void)printf("{\"trace\":\"%016" PRIx64 "\",\"steps\":%u,\"age_ms\":%.3f,\"took_us\":%.3f}\n", s->t.trace, n,
                     (double)(now - s->t.at_ns) / 1e6, (double)(s->t.done_ns - s->t.at_ns) / 1e3);
    else
        (void)printf("%016" PRIx64 "  %3u steps  took %9s  %.1f s ago\n", s->t.trace, n,
                     span(s->t.at_ns, s->t.done_ns, took), (double)(now - s->t.at_ns) / 1e9);
}

static uint32_t
steps_of(const step *steps, uint32_t n, uint64_t trace)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < n; i++)
        count += steps[i].t.trace == trace;
    return count;
}

/* A request that was answered has a span of its front's. */
static int
list(const watch *w, step *steps, uint32_t room, bool json)
{
    uint32_t n = gather(w, 0, steps, room);
    uint64_t now = watch_now_ns();
    uint32_t shown = 0;

    for (uint32_t i = n; i-- > 0 && shown < RECENT_MAX;) {
        if (steps[i].t.type != 0 || steps[i].t.done_ns == 0)
            continue;
        list_one(&steps[i], steps_of(steps, n, steps[i].t.trace), now, json);
        shown++;
    }
    return E_OK;
}

static int
run(const char *dir, const char *id, bool json)
{
    uint32_t room = id != NULL ? STEPS_MAX : SLOTS_MAX * STEPS_MAX;
    step    *steps = calloc(room, sizeof *steps);
    watch   *w = NULL;
    int      rc = steps == NULL ? err(E_NOMEM, "trace") : watch_open(&w, dir);

    if (rc >= 0) {
        watch_look(w);
        rc = id != NULL ? one(w, id, steps, json) : list(w, steps, room, json);
    }
    watch_close(&w);
    free(steps);
    return rc;
}

int
cmd_trace(int argc, char **argv)
{
    char        dir[RUNDIR_PATH_MAX];
    bool        bad = false;
    const char *config;
    const char *id = NULL;
    bool        json;

    if (args_help(argc, argv, usage, false))
        return EXIT_FINE;
    config = args_take_config(&argc, argv, &bad);
    json = args_take_switch(&argc, argv, "--json");
    if (bad)
        return command_misused("trace", "a flag lacks its value");
    if (argc > 1 && argv[1][0] != '-') {
        id = argv[1];
        argc--;
        argv++;
    }
    if (watch_dir(dir, argc - 1, argv + 1, config) < 0 || run(dir, id, json) < 0)
        return command_failed("trace");
    return EXIT_FINE;
}
