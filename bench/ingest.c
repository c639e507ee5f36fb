/* ingest.c - `haltless bench ingest`: readings pushed over HTTP, as fast as the server acknowledges them.
 *
 * Bodies are built before the clock starts; a few kept-alive connections each send the next body as soon as the last
 * was answered (closed loop).  Afterwards it reads back the number of readings and 10 000 random ones bit for bit.
 */
#include "bench/bench.h"

#include "bench/args.h"
#include "bench/generate.h"
#include "bench/client.h"
#include "bench/out.h"
#include "bench/push.h"
#include "bench/target.h"
#include "proto/err.h"
#include "proto/instant.h"
#include "proto/num.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CHECKS = 10000, SETTLED_S = 5 };

typedef struct settings {
    bench_common c;
    uint64_t     readings;
    uint32_t     machines;
    uint32_t     per_body;
    uint32_t     connections;
    double       rate;
    uint32_t     settle_s; /* at most; 0: not at all */
    enum variant variant;
    enum format  format;
} settings;

static const char *const variant_words[] = { "walk", "jitter", "random", NULL };
static const char *const format_words[] = { "json", "msgpack", NULL };

/* ---- reading back ---- */

static double
series_sum(const cJSON *answer)
{
    double       n = 0;
    const cJSON *s, *p;

    cJSON_ArrayForEach(s, cJSON_GetObjectItemCaseSensitive(answer, "series"))
        cJSON_ArrayForEach(p, cJSON_GetObjectItemCaseSensitive(s, "data"))
            n += cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(p, "value"));
    return n;
}

static uint64_t
stored_count(target *t)
{
    cJSON   *answer = NULL;
    uint64_t n = 0;

    if (client_json(&t->admin, "POST", "/api/v1/readings/query",
                  "{\"start\":\"2026-01-01T00:00:00Z\",\"end\":\"2036-01-01T00:00:00Z\",\"interval\":\"1mo\","
                  "\"aggregation\":\"count\",\"group_by\":\"all\"}",
                  &answer) == 200)
        n = (uint64_t)series_sum(answer);
    cJSON_Delete(answer);
    return n;
}

/* Readings whose time has the same millisecond neighbours under jitter are still one a time and series. */
static bool
one_is_there(target *t, const generated *g, uint64_t i, char (*ids)[37])
{
    char        from[INSTANT_TEXT_MAX], until[INSTANT_TEXT_MAX], path[512];
    const char *unit;
    int64_t     us = generate_time_us(g, i);
    size_t      a = instant_format(us, from), b = instant_format(us + 1, until);
    client_answer answer;
    const char *value;
    double      got = 0;
    uint64_t    got_bits, want_bits;

    snprintf(path, sizeof path, "/api/v1/machines/%s/readings?metric=%s&start=%.*s&end=%.*s",
             ids[i / GENERATE_METRICS % g->machines], generate_metric((uint32_t)(i % GENERATE_METRICS), &unit), (int)a,
             from, (int)b, until);
    if (client_call(&t->admin, "GET", path, view_of(NULL, 0), &answer) < 0 || answer.status != 200)
        return false;
    value = memmem(answer.body.at, answer.body.len, "\"value\":", 8);
    if (value == NULL ||
        num_parse(view_of(value + 8, (size_t)((const char *)answer.body.at + answer.body.len - value) - 8), &got) == 0)
        return false;
    memcpy(&got_bits, &got, sizeof got);
    memcpy(&want_bits, &g->values[i], sizeof got);
    return got_bits == want_bits;
}

static uint64_t
wrong_readings(target *t, const generated *g, char (*ids)[37], uint32_t checks)
{
    uint64_t wrong = 0, s = g->seed;

    for (uint32_t i = 0; i < checks; i++) {
        s = s * 6364136223846793005ULL + 1442695040888963407ULL;
        wrong += !one_is_there(t, g, (s >> 20) % g->readings, ids);
    }
    return wrong;
}

/* ---- the whole ---- */

static int
check(target *t, const generated *g, char (*ids)[37], const char *what, const bench_out *o)
{
    uint64_t stored = stored_count(t);
    uint64_t wrong = wrong_readings(t, g, ids, CHECKS);

    bench_row(o, what, "stored", (double)stored, "readings");
    bench_row(o, what, "checked", CHECKS, "readings");
    bench_row(o, what, "wrong", (double)wrong, "readings");
    if (stored == g->readings && wrong == 0)
        return 0;
    fprintf(stderr, "bench: CHECK FAILED: %llu readings stored of %llu, %llu of %d read back wrong\n",
            (unsigned long long)stored, (unsigned long long)g->readings, (unsigned long long)wrong, CHECKS);
    return 1;
}

static void
report(const settings *s, const push *p, target *t, double cpu, const char *what, const bench_out *o)
{
    static const struct {
        const char *metric;
        double      q;
    } quantiles[] = { { "latency p50", 0.5 }, { "latency p99", 0.99 }, { "latency p99.9", 0.999 }, { "latency max", 1 } };
    double pss = target_pss_bytes(t);

    bench_row(o, what, "throughput", (double)p->accepted / p->seconds, "readings/s");
    if (s->rate > 0)
        bench_row(o, what, "asked for", s->rate, "readings/s");
    bench_sort(p->latency_ns, p->answered);
    for (size_t i = 0; i < COUNT_OF(quantiles); i++)
        bench_row(o, what, quantiles[i].metric, (double)bench_quantile(p->latency_ns, p->answered, quantiles[i].q) / 1e6,
                  "ms");
    bench_row(o, what, "failures", (double)p->refused, "requests");
    if (cpu >= 0)
        bench_row(o, what, "server cpu", cpu / ((double)p->accepted / 1e6), "s/M readings");
    if (pss >= 0)
        bench_row(o, what, "server memory, PSS", pss / 1e6, "MB");
    if (t->dir[0] != '\0')
        bench_row(o, what, "disk at once, journal included", (double)target_disk_bytes(t, "/part.") / (double)p->accepted,
                  "bytes/reading");
}

/* A server that is left alone merges, and puts into table files what it can seal: until its databases are as they were
 * SETTLED_S ago. */
static void
settle(const settings *s, const push *p, const target *t, const char *what, const bench_out *o)
{
    uint64_t bytes = target_disk_bytes(t, "/db/");
    uint32_t waited = 0;

    if (t->dir[0] == '\0' || s->settle_s == 0)
        return;
    for (uint32_t same = 0; same < SETTLED_S && waited < s->settle_s; waited++) {
        uint64_t now;

        sleep(1);
        now = target_disk_bytes(t, "/db/");
        same = now == bytes ? same + 1 : 0;
        bytes = now;
    }
    bench_row(o, what, "settled after", waited, "s");
    bench_row(o, what, "disk settled, journal left out", (double)bytes / (double)p->accepted, "bytes/reading");
}

static int
measure(const settings *s, const generated *g, target *t, char (*ids)[37], const bench_out *o)
{
    push   p = { .where = t->where, .key = t->key, .g = g, .bodies = g->bodies, .connections = s->connections,
                 .rate = s->rate };
    double cpu = target_cpu_seconds(t);
    char   what[96];
    int    status = 1;

    snprintf(what, sizeof what, "%s%s/%um/%ur/%uc", variant_words[g->variant], g->format == FORMAT_JSON ? "" : "/msgpack",
             g->machines, g->per_body, s->connections);
    if (push_run(&p) < 0) {
        fprintf(stderr, "bench: %s\n", err_text());
    } else {
        report(s, &p, t, cpu < 0 ? -1 : target_cpu_seconds(t) - cpu, what, o);
        status = check(t, g, ids, what, o);
        settle(s, &p, t, what, o);
    }
    push_free(&p);
    return status;
}

static int
bench(const settings *s, int argc, char **argv)
{
    bench_out o = { .to = stdout, .json = s->c.json, .bench = "ingest" };
    generated g;
    target    t;
    char(*ids)[37] = calloc(s->machines, sizeof *ids);
    int       status = 1;

    memset(&t, 0, sizeof t);
    t.admin.fd = -1;
    memset(&g, 0, sizeof g);
    g.format = s->format;
    if (ids == NULL || generate(&g, s->variant, s->c.seed, s->machines, s->readings, s->per_body) < 0 ||
        generate_text(&g) < 0 ||
        target_open(&t, &s->c.target) < 0 || target_machines(&t, s->machines, ids) < 0) {
        fprintf(stderr, "bench: %s\n", err_text());
    } else {
        bench_pin(s->c.client_core);
        bench_env(&o, t.dir[0] != '\0' ? t.dir : NULL, t.dir[0] != '\0' ? "fsync" : "as the server says", t.topology,
                  argc, argv);
        status = measure(s, &g, &t, ids, &o);
    }
    target_close(&t);
    generate_free(&g);
    free(ids);
    return status;
}

int
bench_ingest(int argc, char **argv)
{
    static const bench_usage usage = { "ingest", "readings pushed over HTTP as fast as the server acknowledges them", true };
    settings s = { .c = BENCH_COMMON, .readings = 5000000, .machines = 1000, .per_body = 1000, .connections = 8, .settle_s = 60 };
    const bench_arg own[] = {
        { "readings", "N", ARG_U64, &s.readings, "how many in all (default 5000000)", 1, UINT64_MAX, NULL },
        { "machines", "N", ARG_U32, &s.machines, "machines, 5 metrics each (default 1000)", 1, 100000, NULL },
        { "per-request", "N", ARG_U32, &s.per_body, "readings a request (default 1000)", 1, 100000, NULL },
        { "connections", "N", ARG_U32, &s.connections, "kept-alive connections (default 8)", 1, PUSH_CONNECTIONS_MAX, NULL },
        { "rate", "N", ARG_REAL, &s.rate, "readings/s, each body at its own moment (default: as fast as they are answered)", 0, 0, NULL },
        { "settle", "S", ARG_U32, &s.settle_s, "seconds at most for an own server to merge what it has (default 60; 0: none)", 0, 3600, NULL },
        { "format", "WORD", ARG_WORD, &s.format, "json or msgpack (default json)", 0, 0, format_words },
        { "variant", "WORD", ARG_WORD, &s.variant, "walk, jitter or random (default walk)", 0, 0, variant_words },
        { 0 },
    };
    int status = bench_args(&usage, own, &s.c, argc, argv);

    return status >= 0 ? status : bench(&s, argc, argv);
}
