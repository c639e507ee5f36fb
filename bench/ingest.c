/* ingest.c - `haltless bench ingest`: readings pushed over HTTP, as fast as the server acknowledges them.
 *
 * Bodies are built before the clock starts; a few kept-alive connections each send the next body as soon as the last
 * was answered (closed loop).  Afterwards it reads back the number of readings and 10 000 random ones bit for bit.
 */
#include "bench/bench.h"

#include "bench/generate.h"
#include "bench/client.h"
#include "bench/out.h"
#include "bench/push.h"
#include "bench/target.h"
#include "proto/err.h"
#include "proto/instant.h"
#include "proto/num.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHECKS = 10000 };

typedef struct settings {
    target_options target;
    uint64_t     readings;
    uint64_t     seed;
    uint32_t     machines;
    uint32_t     per_body;
    uint32_t     connections;
    int          client_core;
    double       rate;
    enum variant variant;
    enum format  format;
    bool         json;
} settings;

static const char *const variant_words[] = { "walk", "jitter", "random" };
static const char *const format_words[] = { "json", "msgpack" };

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
    if (t->dir[0] != '\0') {
        bench_row(o, what, "disk, with journal", (double)target_disk_bytes(t, NULL) / (double)p->accepted, "bytes/reading");
        bench_row(o, what, "disk, sealed", (double)target_disk_bytes(t, "/db/") / (double)p->accepted, "bytes/reading");
    }
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
    }
    push_free(&p);
    return status;
}

static int
bench(const settings *s, int argc, char **argv)
{
    bench_out o = { .to = stdout, .json = s->json, .bench = "ingest" };
    generated g;
    target    t;
    char(*ids)[37] = calloc(s->machines, sizeof *ids);
    int       status = 1;

    memset(&t, 0, sizeof t);
    t.admin.fd = -1;
    memset(&g, 0, sizeof g);
    g.format = s->format;
    if (ids == NULL || generate(&g, s->variant, s->seed, s->machines, s->readings, s->per_body) < 0 ||
        generate_text(&g) < 0 ||
        target_open(&t, &s->target) < 0 || target_machines(&t, s->machines, ids) < 0) {
        fprintf(stderr, "bench: %s\n", err_text());
    } else {
        bench_pin(s->client_core);
        bench_env(&o, t.dir[0] != '\0' ? t.dir : NULL, t.dir[0] != '\0' ? "fsync" : "as the server says", t.topology,
                  argc, argv);
        status = measure(s, &g, &t, ids, &o);
    }
    target_close(&t);
    generate_free(&g);
    free(ids);
    return status;
}

static const char help[] =
    "haltless bench ingest - readings pushed over HTTP as fast as the server acknowledges them\n"
    "\n"
    "  haltless bench ingest [options] [-- flags for the server it starts]\n"
    "\n"
    "  --url HOST:PORT      drive a running server (default: one of its own in a temporary directory)\n"
    "  --email, --password  its tenant (registered when unknown)\n"
    "  --readings N         how many in all (default 5000000)\n"
    "  --machines N         machines, 5 metrics each (default 1000)\n"
    "  --per-request N      readings a request (default 1000)\n"
    "  --connections N      kept-alive connections (default 8)\n"
    "  --rate N             readings/s, each body at its own moment (default: as fast as they are answered)\n"
    "  --format WORD        json or msgpack (default json)\n"
    "  --variant WORD       walk, jitter or random (default walk)\n"
    "  --seed N             of the data (default 1)\n"
    "  --dir DIR            where the temporary directory is made (default /tmp)\n"
    "  --server-core N      pin the server to a core\n"
    "  --client-core N      pin the client to a core\n"
    "  --json               one object a line\n";

enum option_key { O_URL = 256, O_EMAIL, O_PASSWORD, O_READINGS, O_MACHINES, O_PER, O_CONNECTIONS, O_VARIANT, O_SEED, O_DIR, O_RATE,
                  O_FORMAT,
                  O_SERVER, O_CLIENT, O_JSON, O_HELP };

static const struct option flags[] = {
    { "url", 1, NULL, O_URL },           { "email", 1, NULL, O_EMAIL },
    { "password", 1, NULL, O_PASSWORD }, { "readings", 1, NULL, O_READINGS },
    { "machines", 1, NULL, O_MACHINES }, { "per-request", 1, NULL, O_PER },
    { "connections", 1, NULL, O_CONNECTIONS }, { "variant", 1, NULL, O_VARIANT },
    { "seed", 1, NULL, O_SEED },         { "dir", 1, NULL, O_DIR },
    { "server-core", 1, NULL, O_SERVER }, { "client-core", 1, NULL, O_CLIENT },
    { "rate", 1, NULL, O_RATE },         { "format", 1, NULL, O_FORMAT },
    { "json", 0, NULL, O_JSON },         { "help", 0, NULL, O_HELP },
    { NULL, 0, NULL, 0 },
};

/* Which of the words it is; -1: none. */
static int
word_of(const char *const *words, int count, const char *word)
{
    for (int i = 0; i < count; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    return -1;
}

/* One flag; false when its value is unusable. */
static bool
take(settings *s, int key, const char *value)
{
    int v;

    switch (key) {
    case O_URL:         s->target.url = value; return true;
    case O_EMAIL:       s->target.email = value; return true;
    case O_PASSWORD:    s->target.password = value; return true;
    case O_DIR:         s->target.dir = value; return true;
    case O_SERVER:      s->target.core = atoi(value); return true;
    case O_CLIENT:      s->client_core = atoi(value); return true;
    case O_JSON:        s->json = true; return true;
    case O_SEED:        s->seed = strtoull(value, NULL, 10); return true;
    case O_READINGS:    s->readings = strtoull(value, NULL, 10); return s->readings > 0;
    case O_MACHINES:    s->machines = (uint32_t)strtoul(value, NULL, 10); return s->machines > 0 && s->machines <= 100000;
    case O_PER:         s->per_body = (uint32_t)strtoul(value, NULL, 10); return s->per_body > 0 && s->per_body <= 100000;
    case O_CONNECTIONS: s->connections = (uint32_t)strtoul(value, NULL, 10);
                        return s->connections > 0 && s->connections <= PUSH_CONNECTIONS_MAX;
    case O_RATE:        s->rate = strtod(value, NULL); return s->rate > 0;
    case O_VARIANT:     v = word_of(variant_words, COUNT_OF(variant_words), value);
                        s->variant = v < 0 ? VARIANT_WALK : (enum variant)v;
                        return v >= 0;
    case O_FORMAT:      v = word_of(format_words, COUNT_OF(format_words), value);
                        s->format = v < 0 ? FORMAT_JSON : (enum format)v;
                        return v >= 0;
    default:            return false;
    }
}

int
bench_ingest(int argc, char **argv)
{
    settings s = { .target = { .email = "bench@example.com", .password = "bench-haltless-1", .core = -1 },
                   .readings = 5000000, .seed = 1, .machines = 1000, .per_body = 1000, .connections = 8,
                   .client_core = -1 };
    int      key;

    optind = 1;
    while ((key = getopt_long(argc, argv, "+", flags, NULL)) != -1) {
        if (key == O_HELP) {
            fputs(help, stdout);
            return 0;
        }
        if (!take(&s, key, optarg)) {
            fputs("see haltless bench ingest --help\n", stderr);
            return 2;
        }
    }
    s.target.flags = argv + optind;
    s.target.flag_count = argc - optind;
    return bench(&s, argc, argv);
}
