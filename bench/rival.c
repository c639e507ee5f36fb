/* rival.c - see rival.h.
 *
 * Series are named by their metric, with a label `machine`.  They are loaded through its import route and flushed; its
 * questions are the nearest that PromQL has to ours, over one connection, and never from its result cache.  It has no
 * late writes between the questions, as our own server has.
 */
#include "bench/rival.h"

#include "bench/client.h"
#include "proto/err.h"
#include "proto/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { RARE = 10, IMPORT_LEN = 4 << 20, LINE_HEAD = 256, POINT_LEN = NUM_TEXT_MAX + 24, PATH_LEN = 1024, WAITS = 300 };

typedef struct text {
    char  *at;
    size_t len;
    size_t room;
} text;

static uint32_t
pick(rival *r, uint32_t below)
{
    return (uint32_t)(generate_random(&r->random) >> 33) % below;
}

/* ---- loading ---- */

static void
put(text *t, const char *s, size_t len)
{
    ASSERT(t->len + len <= t->room);
    memcpy(t->at + t->len, s, len);
    t->len += len;
}

/* {"metric":{"__name__":"temperature","machine":"CNC-00001"},"values":[...],"timestamps":[...]} */
static void
put_series(text *t, const generated *g, uint32_t series)
{
    uint32_t    width = g->machines * GENERATE_METRICS;
    const char *unit, *metric = generate_metric(series % GENERATE_METRICS, &unit);
    char        machine[16], line[LINE_HEAD];

    generate_identifier(series / GENERATE_METRICS, machine);
    put(t, line, (size_t)snprintf(line, sizeof line, "{\"metric\":{\"__name__\":\"%s\",\"machine\":\"%s\"},\"values\":[", metric, machine));
    for (uint32_t tick = 0; tick < g->ticks; tick++) {
        char   number[NUM_TEXT_MAX];
        size_t n = num_format(g->values[(uint64_t)tick * width + series], number);

        put(t, ",", tick > 0);
        put(t, number, n);
    }
    put(t, "],\"timestamps\":[", 16);
    for (uint32_t tick = 0; tick < g->ticks; tick++)
        put(t, line, (size_t)snprintf(line, sizeof line, "%s%" PRId64, tick > 0 ? "," : "",
                                      generate_time_us(g, (uint64_t)tick * width + series) / 1000));
    put(t, "]}\n", 3);
}

static int
import(client *c, const text *t)
{
    client_answer a = { 0 };
    int           rc = client_call(c, "POST", "/api/v1/import", view_of(t->at, t->len), &a);

    if (rc == E_OK && a.status != 204 && a.status != 200)
        rc = err(E_BAD, "its import was answered with %d: %.*s", a.status, (int)min_u64(a.body.len, 200), (const char *)a.body.at);
    return rc;
}

static int
load(const rival *r, client *c)
{
    const generated *g = r->g;
    size_t           most = LINE_HEAD + (size_t)g->ticks * POINT_LEN;
    text             t = { .room = IMPORT_LEN + most };
    uint64_t         began = bench_now_ns();
    client_answer    a = { 0 };
    int              rc = E_OK;

    t.at = malloc(t.room);
    ASSERT(t.at != NULL);
    for (uint32_t s = 0; s < g->machines * GENERATE_METRICS && rc == E_OK; s++) {
        put_series(&t, g, s);
        if (t.len < IMPORT_LEN && s + 1 < g->machines * GENERATE_METRICS)
            continue;
        rc = import(c, &t);
        t.len = 0;
    }
    free(t.at);
    if (rc == E_OK)
        rc = client_call(c, "GET", "/internal/force_flush", view_of(NULL, 0), &a);
    if (rc == E_OK)
        bench_row(r->out, "load/victoria-metrics", "throughput", (double)g->readings / ((double)(bench_now_ns() - began) / 1e9),
                  "readings/s");
    return rc;
}

/* ---- asking ---- */

static void
encode(char out[PATH_LEN], const char *query)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t            n = strlen(out);

    for (; *query != '\0' && n + 4 < PATH_LEN; query++) {
        uint8_t c = (uint8_t)*query;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-') {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[c >> 4];
        out[n++] = digits[c & 15];
    }
    out[n] = '\0';
}

static void
instant(const rival *r, const char *query, char path[PATH_LEN])
{
    snprintf(path, PATH_LEN, "/api/v1/query?nocache=1&time=%" PRId64 "&query=",
             generate_time_us(r->g, r->g->readings - 1) / 1000000);
    encode(path, query);
}

static void
range(rival *r, const char *query, const char *step, char path[PATH_LEN])
{
    int64_t from = GENERATE_START_US / 1000000 + pick(r, r->slack_s);

    snprintf(path, PATH_LEN, "/api/v1/query_range?nocache=1&start=%" PRId64 "&end=%" PRId64 "&step=%s&query=", from,
             from + (int64_t)r->hours * 3600, step);
    encode(path, query);
}

static void
ask_nothing(rival *r, char path[PATH_LEN])
{
    (void)r;
    snprintf(path, PATH_LEN, "/health");
}

static void
ask_latest(rival *r, char path[PATH_LEN])
{
    char machine[16], query[128];

    generate_identifier(pick(r, r->g->machines), machine);
    snprintf(query, sizeof query, "{machine=\"%s\"}", machine);
    instant(r, query, path);
}

static void
ask_buckets(rival *r, char path[PATH_LEN])
{
    char        machine[16], query[192];
    const char *unit;

    generate_identifier(pick(r, r->g->machines), machine);
    snprintf(query, sizeof query, "avg_over_time(%s{machine=\"%s\"}[5m])", generate_metric(pick(r, GENERATE_METRICS), &unit), machine);
    range(r, query, "5m", path);
}

static void
ask_hourly(rival *r, char path[PATH_LEN])
{
    range(r, "avg_over_time({machine!=\"\"}[1h])", "1h", path);
}

static void
ask_fleet(rival *r, char path[PATH_LEN])
{
    instant(r, "max(timestamp({machine!=\"\"})) by (machine)", path);
}

static const struct {
    const char *name; /* as query.c has it */
    uint32_t    every;
    void (*ask)(rival *r, char path[PATH_LEN]);
    uint32_t per_machine; /* results; 0: `results` */
    uint32_t results;
} cases[] = {
    { "nothing", 1, ask_nothing, 0, 0 },
    { "latest", 1, ask_latest, 0, GENERATE_METRICS },
    { "one series by 5 min", 1, ask_buckets, 0, 1 },
    { "all series by hour", RARE, ask_hourly, GENERATE_METRICS, 0 },
    { "fleet status", RARE, ask_fleet, 1, 0 },
};

static uint32_t
results(view answer)
{
    static const char mark[] = "\"metric\":{";
    const uint8_t    *at = answer.at, *end = answer.at + answer.len;
    uint32_t          n = 0;

    for (; (at = memmem(at, (size_t)(end - at), mark, sizeof mark - 1)) != NULL; at += sizeof mark - 1)
        n++;
    return n;
}

static int
ask_once(rival *r, client *c, size_t which, uint64_t *ns)
{
    uint32_t      want = cases[which].per_machine > 0 ? cases[which].per_machine * r->g->machines : cases[which].results;
    char          path[PATH_LEN];
    client_answer a = { 0 };
    uint64_t      began;
    int           rc;

    cases[which].ask(r, path);
    began = bench_now_ns();
    rc = client_call(c, "GET", path, view_of(NULL, 0), &a);
    *ns = bench_now_ns() - began;
    if (rc == E_OK && (a.status != 200 || results(a.body) != want) && r->wrong++ == 0)
        fprintf(stderr, "bench: wrong answer to %s of VictoriaMetrics: %d, %u results of %u: %.*s\n", cases[which].name, a.status,
                results(a.body), want, (int)min_u64(a.body.len, 300), (const char *)a.body.at);
    return rc;
}

static void
report(const rival *r, size_t which, uint64_t *ns, size_t count)
{
    char     what[96];
    uint64_t all = 0;

    for (size_t i = 0; i < count; i++)
        all += ns[i];
    bench_sort(ns, count);
    snprintf(what, sizeof what, "%s/victoria-metrics", cases[which].name);
    bench_row(r->out, what, "p50", (double)bench_quantile(ns, count, 0.5) / 1e3, "us");
    bench_row(r->out, what, "p99", (double)bench_quantile(ns, count, 0.99) / 1e3, "us");
    bench_row(r->out, what, "rate", (double)count / ((double)max_u64(all, 1) / 1e9), "answers/s of one connection");
}

static int
ask_kind(rival *r, client *c, size_t which)
{
    uint32_t  count = (uint32_t)max_u64(r->requests / cases[which].every, 1), warm = count / 10;
    uint64_t *ns = calloc(count, sizeof *ns);
    int       rc = E_OK;

    ASSERT(ns != NULL);
    for (uint32_t n = 0; n < warm + count && rc == E_OK; n++) {
        uint64_t took = 0;

        rc = ask_once(r, c, which, &took);
        if (n >= warm)
            ns[n - warm] = took;
    }
    if (rc == E_OK)
        report(r, which, ns, count);
    free(ns);
    return rc;
}

/* What was imported is found a moment later. */
static int
wait_found(rival *r, client *c)
{
    struct timespec pause = { .tv_nsec = 100000000 };

    for (int i = 0; i < WAITS; i++) {
        char          path[PATH_LEN];
        client_answer a = { 0 };
        int           rc;

        ask_fleet(r, path);
        rc = client_call(c, "GET", path, view_of(NULL, 0), &a);
        if (rc < 0 || results(a.body) == r->g->machines)
            return rc;
        nanosleep(&pause, NULL);
    }
    return err(E_LATE, "VictoriaMetrics does not find what it was given: does its -retentionPeriod reach back to April 2026?");
}

int
rival_measure(rival *r)
{
    client c;
    int    rc = client_open(&c, r->where);

    if (rc == E_OK)
        rc = load(r, &c);
    if (rc == E_OK)
        rc = wait_found(r, &c);
    for (size_t i = 0; i < COUNT_OF(cases) && rc == E_OK; i++)
        rc = ask_kind(r, &c, i);
    client_close(&c);
    return rc < 0 ? err(rc, "VictoriaMetrics at %s", r->where) : E_OK;
}
