/* query.c - `haltless bench query`: how long questions take over HTTP, beside a route that does nothing.
 *
 * 6 h of readings are pushed, then one connection asks, a question at a time, every kind in turn: random series and
 * ranges, nothing conditional, and before each question a late write, so that no answer can be an old one.  The same data
 * is asked with every actor as a thread, then with every actor a process; with --mixed once more in each while readings
 * come in at half the rate at which they were pushed.  Then each kind is asked on several connections at once, as fast as
 * it is answered, with a late write every so often.
 */
#include "bench/bench.h"

#include "bench/args.h"
#include "bench/client.h"
#include "bench/generate.h"
#include "bench/out.h"
#include "bench/push.h"
#include "bench/rate.h"
#include "bench/rival.h"
#include "bench/target.h"
#include "proto/err.h"
#include "proto/instant.h"
#include "storage/chunk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HOURS = 6, BUCKET_S = 300, RARE = 10, SLACK_S = 600, DECODE_ROWS = CHUNK_ROWS_MAX, DECODE_ROUNDS = 20,
       READABLE_TRIES = 600, RATE_CONNECTIONS = 8, RATE_LATE_NS = 10000000 };

typedef struct settings {
    bench_common c;
    uint32_t     machines;
    uint32_t     requests;
    bool         mixed;
    const char  *against; /* a VictoriaMetrics that is asked the same; NULL */
    bool         threads, processes; /* which of the two; neither: both */
    double       seconds;
    const char  *only;
} settings;

typedef struct bench {
    const settings *set;
    generated       g;
    target          t;
    char          (*ids)[37];
    client          writer; /* speaks with the key */
    bench_out       out;
    double          most; /* readings/s at which the data went in */
    uint64_t        pushed; /* bodies so far */
    uint64_t        random;
    uint64_t        wrong;
} bench;

static uint32_t
pick(bench *b, uint32_t below)
{
    return (uint32_t)(generate_random(&b->random) >> 33) % below;
}

/* ---- the questions ---- */

typedef void ask_fn(bench *b, question *q);
typedef bool judge_fn(const bench *b, view answer);

static uint32_t
occurrences(view text, const char *word)
{
    const uint8_t *at = text.at, *end = text.at + text.len;
    uint32_t       n = 0;

    while ((at = memmem(at, (size_t)(end - at), word, strlen(word))) != NULL) {
        n++;
        at += strlen(word);
    }
    return n;
}

static void
ask_nothing(bench *b, question *q)
{
    (void)b;
    snprintf(q->path, sizeof q->path, "/healthz");
}

static void
ask_latest(bench *b, question *q)
{
    snprintf(q->path, sizeof q->path, "/api/v1/machines/%s/readings/latest", b->ids[pick(b, b->g.machines)]);
}

static bool
has_all_metrics(const bench *b, view answer)
{
    (void)b;
    return occurrences(answer, "\"metric_name\"") == GENERATE_METRICS;
}

/* Six hours that begin up to ten minutes into the data. */
static void
range(bench *b, char start[INSTANT_TEXT_MAX + 1], char end[INSTANT_TEXT_MAX + 1])
{
    int64_t from = GENERATE_START_US + (int64_t)pick(b, SLACK_S) * 1000000;

    start[instant_format(from, start)] = '\0';
    end[instant_format(from + (int64_t)HOURS * 3600 * 1000000, end)] = '\0';
}

static void
ask_buckets(bench *b, question *q)
{
    char        start[INSTANT_TEXT_MAX + 1], end[INSTANT_TEXT_MAX + 1];
    const char *unit;

    range(b, start, end);
    snprintf(q->path, sizeof q->path, "/api/v1/machines/%s/readings?metric=%s&interval=5m&start=%s&end=%s",
             b->ids[pick(b, b->g.machines)], generate_metric(pick(b, GENERATE_METRICS), &unit), start, end);
}

static bool
has_buckets(const bench *b, view answer)
{
    (void)b;
    return occurrences(answer, "\"timestamp\"") >= (HOURS * 3600 - SLACK_S) / BUCKET_S;
}

static void
ask_hourly(bench *b, question *q)
{
    char start[INSTANT_TEXT_MAX + 1], end[INSTANT_TEXT_MAX + 1];

    range(b, start, end);
    q->method = "POST";
    snprintf(q->path, sizeof q->path, "/api/v1/readings/query");
    snprintf(q->body, sizeof q->body,
             "{\"start\":\"%s\",\"end\":\"%s\",\"interval\":\"1h\",\"aggregation\":\"avg\"}", start, end);
}

static bool
has_all_series(const bench *b, view answer)
{
    return occurrences(answer, "\"metric_name\"") == b->g.machines * GENERATE_METRICS &&
           occurrences(answer, "\"timestamp\"") >= HOURS * b->g.machines * GENERATE_METRICS;
}

static void
ask_fleet(bench *b, question *q)
{
    (void)b;
    snprintf(q->path, sizeof q->path, "/api/v1/fleet/status");
}

static bool
has_all_machines(const bench *b, view answer)
{
    return occurrences(answer, "\"machine_identifier\"") == b->g.machines;
}

static const struct {
    const char *name;
    uint32_t    every; /* rounds */
    ask_fn     *ask;
    judge_fn   *judge;
} cases[] = {
    { "nothing", 1, ask_nothing, NULL },
    { "latest", 1, ask_latest, has_all_metrics },
    { "one series by 5 min", 1, ask_buckets, has_buckets },
    { "all series by hour", RARE, ask_hourly, has_all_series },
    { "fleet status", RARE, ask_fleet, has_all_machines },
};

/* ---- asking ---- */

/* One reading between two others of its series: what was sealed or remembered of that time is out of date now. */
static int
write_late(bench *b)
{
    char          body[512], id[16], when[INSTANT_TEXT_MAX + 1];
    const char   *unit, *metric = generate_metric(pick(b, GENERATE_METRICS), &unit);
    int64_t       at = (int64_t)pick(b, HOURS * 3600 / GENERATE_EVERY_S) * GENERATE_EVERY_S + 5;
    client_answer a = { 0 };
    int           n, rc;

    generate_identifier(pick(b, b->g.machines), id);
    when[instant_format(GENERATE_START_US + at * 1000000, when)] = '\0';
    n = snprintf(body, sizeof body,
                 "{\"readings\":[{\"machine_identifier\":\"%s\",\"timestamp\":\"%s\",\"metric_name\":\"%s\","
                 "\"value\":%u,\"unit\":\"%s\"}]}",
                 id, when, metric, pick(b, 1000), unit);
    rc = client_call(&b->writer, "POST", "/api/v1/ingest", view_of(body, (size_t)n), &a);
    if (rc == E_OK && a.status != 207)
        rc = err(E_BAD, "a late write was answered with %d", a.status);
    return rc;
}

static bool
is_wanted(const bench *b, size_t which)
{
    return which == 0 || b->set->only == NULL || strstr(cases[which].name, b->set->only) != NULL;
}

static bool
is_right(bench *b, size_t which, int status, view body)
{
    if (status == 200 && (cases[which].judge == NULL || cases[which].judge(b, body)))
        return true;
    if (b->wrong++ == 0)
        fprintf(stderr, "bench: wrong answer to %s: %d %.*s\n", cases[which].name, status,
                (int)min_u64(body.len, 400), (const char *)body.at);
    return false;
}

static int
ask_once(bench *b, size_t which, uint64_t *ns)
{
    question      q = { .method = "GET" };
    client_answer a = { 0 };
    uint64_t      began;
    int           rc = write_late(b);

    if (rc < 0)
        return rc;
    cases[which].ask(b, &q);
    began = bench_now_ns();
    rc = client_call(&b->t.admin, q.method, q.path, view_str(q.body), &a);
    *ns = bench_now_ns() - began;
    if (rc < 0)
        return rc;
    (void)is_right(b, which, a.status, a.body);
    return E_OK;
}

static void
report(bench *b, const char *topology, uint64_t *ns[COUNT_OF(cases)], const size_t *counts)
{
    uint64_t nothing = 0;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char     what[96];
        uint64_t p50;

        if (counts[i] == 0)
            continue;
        bench_sort(ns[i], counts[i]);
        p50 = bench_quantile(ns[i], counts[i], 0.5);
        nothing = i == 0 ? p50 : nothing;
        snprintf(what, sizeof what, "%s/%s", cases[i].name, topology);
        bench_row(&b->out, what, "p50", (double)p50 / 1e3, "us");
        bench_row(&b->out, what, "p99", (double)bench_quantile(ns[i], counts[i], 0.99) / 1e3, "us");
        if (i > 0)
            bench_row(&b->out, what, "p50 above nothing", ((double)p50 - (double)nothing) / 1e3, "us");
    }
}

static int
ask_all(bench *b, const char *topology)
{
    uint64_t *ns[COUNT_OF(cases)] = { 0 };
    size_t    counts[COUNT_OF(cases)] = { 0 };
    uint32_t  warm = b->set->requests / 10;
    int       rc = E_OK;

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        ns[i] = calloc(b->set->requests, sizeof **ns);
        ASSERT(ns[i] != NULL);
    }
    for (uint32_t n = 0; n < warm + b->set->requests && rc == E_OK; n++)
        for (size_t i = 0; i < COUNT_OF(cases) && rc == E_OK; i++) {
            uint64_t took = 0;

            if (n % cases[i].every != 0 || !is_wanted(b, i))
                continue;
            rc = ask_once(b, i, &took);
            if (n >= warm)
                ns[i][counts[i]++] = took;
        }
    if (rc == E_OK)
        report(b, topology, ns, counts);
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        free(ns[i]);
    return rc;
}

/* ---- as many as are answered ---- */

typedef struct rated {
    bench *b;
    size_t which;
} rated;

static void
rated_ask(void *ctx, question *q)
{
    rated *x = ctx;

    cases[x->which].ask(x->b, q);
}

static bool
rated_judge(void *ctx, int status, view body)
{
    rated *x = ctx;

    return is_right(x->b, x->which, status, body);
}

static int
rated_late(void *ctx)
{
    return write_late(((rated *)ctx)->b);
}

static int
rate_all(bench *b, const char *topology)
{
    int rc = E_OK;

    for (size_t i = 0; i < COUNT_OF(cases) && rc == E_OK; i++) {
        rated x = { .b = b, .which = i };
        rate  r = { .where = b->t.where, .auth = b->t.admin.auth, .connections = RATE_CONNECTIONS,
                    .seconds = b->set->seconds, .pause_ns = RATE_LATE_NS, .ctx = &x, .ask = rated_ask,
                    .judge = rated_judge, .meanwhile = rated_late };
        char  what[96];

        if (!is_wanted(b, i))
            continue;
        rc = rate_run(&r);
        snprintf(what, sizeof what, "%s/%s", cases[i].name, topology);
        bench_row(&b->out, what, "rate", (double)r.answered / r.took, "requests/s");
    }
    return rc;
}

/* ---- beside readings that come in ---- */

typedef struct stream {
    push        p;
    atomic_bool stop;
    int         rc;
    char        text[256];
} stream;

static void *
stream_run(void *arg)
{
    stream *s = arg;

    s->rc = push_run(&s->p);
    snprintf(s->text, sizeof s->text, "%s", err_text());
    return NULL;
}

static int
ask_mixed(bench *b, const char *topology)
{
    char      what[96];
    pthread_t thread;
    stream    s = { .p = { .where = b->t.where, .key = b->t.key, .g = &b->g, .first = b->pushed, .bodies = 10000000,
                           .connections = 8, .rate = b->most / 2 } };
    int       rc;

    s.p.stop = &s.stop;
    if (pthread_create(&thread, NULL, stream_run, &s) != 0)
        return err(E_NOMEM, "a thread");
    snprintf(what, sizeof what, "%s, mixed", topology);
    rc = ask_all(b, what);
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    b->pushed += s.p.answered + 1000;
    bench_row(&b->out, what, "ingest beside it", (double)s.p.accepted / s.p.seconds, "readings/s");
    push_free(&s.p);
    return rc < 0 ? rc : s.rc < 0 ? err(s.rc, "%s", s.text) : E_OK;
}

/* ---- inside the engine ---- */

static uint64_t
cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Decodes the chunks of a few series again and again, as a scan does: checked, then rows.  Of this thread's time. */
static void
decode_rate(bench *b)
{
    static uint8_t chunk[CHUNK_BYTES_MAX];
    static int64_t times[CHUNK_ROWS_MAX];
    static double  values[CHUNK_ROWS_MAX];
    static head_row rows[DECODE_ROWS];
    chunk_scratch *scratch = chunk_scratch_new();
    uint32_t       width = b->g.machines * GENERATE_METRICS;
    uint64_t       decoded = 0, took = 0;

    for (uint32_t s = 0; s < 200 && s < width; s++) {
        chunk_info info;
        uint64_t   began;
        size_t     len;

        for (uint32_t i = 0; i < DECODE_ROWS; i++) {
            uint64_t at = (uint64_t)i * width + s;

            rows[i] = (head_row){ generate_time_us(&b->g, at), b->g.values[at % b->g.readings] };
        }
        len = chunk_encode(chunk, rows, DECODE_ROWS, true, scratch);
        began = cpu_ns();
        for (uint32_t n = 0; n < DECODE_ROUNDS; n++)
            if (chunk_read(view_of(chunk, len), &info) < 0 ||
                chunk_decode(view_of(chunk, len), scratch, times, values) < 0)
                b->wrong++;
        took += cpu_ns() - began;
        decoded += (uint64_t)DECODE_ROUNDS * DECODE_ROWS;
    }
    chunk_scratch_free(&scratch);
    bench_row(&b->out, "engine", "decode", (double)decoded / ((double)took / 1e9), "readings/s");
}

/* ---- the whole ---- */

static int
load(bench *b)
{
    push p = { .where = b->t.where, .key = b->t.key, .g = &b->g, .bodies = b->g.bodies, .connections = 8 };
    int  rc = push_run(&p);

    b->pushed = b->g.bodies;
    b->most = (double)p.accepted / p.seconds;
    if (rc == E_OK)
        bench_row(&b->out, "load", "throughput", b->most, "readings/s");
    push_free(&p);
    return rc;
}

static int
writer_open(bench *b)
{
    int rc;

    client_close(&b->writer);
    rc = client_open(&b->writer, b->t.where);
    snprintf(b->writer.auth, sizeof b->writer.auth, "X-API-Key: %s\r\n", b->t.key);
    return rc;
}

static int
measure(bench *b, const char *topology)
{
    int rc = writer_open(b);

    if (rc == E_OK)
        rc = ask_all(b, topology);
    if (rc == E_OK)
        rc = rate_all(b, topology);
    if (rc == E_OK && b->set->mixed)
        rc = ask_mixed(b, topology);
    return rc;
}

/* A server that was started anew takes readings before it can read all of its own back. */
static int
wait_readable(bench *b)
{
    client_answer a = { 0 };
    int           rc = E_OK;

    for (int tries = 0; tries < READABLE_TRIES && rc == E_OK; tries++) {
        question q = { .method = "GET" };

        ask_buckets(b, &q);
        rc = client_call(&b->t.admin, q.method, q.path, view_str(q.body), &a);
        if (rc == E_OK && a.status != 503)
            return E_OK;
        nanosleep(&(struct timespec){ 0, 50000000 }, NULL);
    }
    return rc < 0 ? rc : err(E_LATE, "the server does not read its own readings back");
}

static int
again_as_processes(bench *b)
{
    target_options o = b->set->c.target;
    char          *flags[TARGET_FLAGS_MAX];
    int            rc;

    for (int i = 0; i < o.flag_count; i++)
        flags[i] = o.flags[i];
    flags[o.flag_count++] = (char *)(uintptr_t) "--processes";
    o.flags = flags;
    target_stop(&b->t);
    rc = target_start(&b->t, &o);
    if (rc == E_OK)
        rc = target_resume(&b->t, &o);
    if (rc == E_OK)
        rc = wait_readable(b);
    return rc < 0 ? rc : measure(b, "processes");
}

static int
ask_rival(bench *b)
{
    rival r = { .where = b->set->against, .g = &b->g, .hours = HOURS, .slack_s = SLACK_S, .requests = b->set->requests,
                .random = b->random, .out = &b->out };
    int   rc = b->set->against == NULL ? E_OK : rival_measure(&r);

    b->wrong += r.wrong;
    return rc;
}

static int
run(bench *b, int argc, char **argv)
{
    const settings *s = b->set;
    uint64_t        readings = (uint64_t)s->machines * GENERATE_METRICS * HOURS * 3600 / GENERATE_EVERY_S;
    bool            own = s->c.target.url == NULL, both = s->threads == s->processes;
    int             rc = generate(&b->g, VARIANT_WALK, s->c.seed, s->machines, readings, 1000);

    b->ids = calloc(s->machines, sizeof *b->ids);
    if (rc == E_OK && b->ids == NULL)
        rc = err(E_NOMEM, "machines");
    if (rc == E_OK)
        rc = target_open(&b->t, &s->c.target);
    if (rc == E_OK)
        rc = target_machines(&b->t, s->machines, b->ids);
    if (rc < 0)
        return rc;
    bench_pin(s->c.client_core);
    bench_env(&b->out, own ? b->t.dir : NULL, own ? "fsync" : "as the server says", b->t.topology, argc, argv);
    decode_rate(b);
    rc = ask_rival(b);
    if (rc == E_OK)
        rc = load(b);
    if (rc == E_OK && !own)
        return measure(b, "server");
    if (rc == E_OK && (both || s->threads))
        rc = measure(b, "threads");
    if (rc == E_OK && (both || s->processes))
        rc = again_as_processes(b);
    return rc;
}

int
bench_query(int argc, char **argv)
{
    static const bench_usage usage = { "query", "how long questions take over HTTP, beside a route that does nothing", true };
    settings s = { .c = BENCH_COMMON, .machines = 1000, .requests = 2000, .seconds = 3 };
    bench    b = { .set = &s, .t.admin.fd = -1, .writer.fd = -1 };
    const bench_arg own[] = {
        { "machines", "N", ARG_U32, &s.machines, "machines, 5 metrics each, 6 h of a reading every 10 s (default 1000)", 1, 100000, NULL },
        { "requests", "N", ARG_U32, &s.requests, "of each kind, one at a time; a tenth of the long ones (default 2000)", 1, 10000000, NULL },
        { "seconds", "S", ARG_REAL, &s.seconds, "that each kind is asked on 8 connections, as fast as it is answered (default 3)", 0, 0, NULL },
        { "only", "TEXT", ARG_TEXT, &s.only, "kinds whose name contains it, beside the route that does nothing", 0, 0, NULL },
        { "threads", NULL, ARG_YES, &s.threads, "only with every actor as a thread of one process", 0, 0, NULL },
        { "processes", NULL, ARG_YES, &s.processes, "only with every actor as a process (default: one after the other)", 0, 0, NULL },
        { "against", "HOST:PORT", ARG_TEXT, &s.against,
          "ask the same of a VictoriaMetrics that runs there, empty and with -retentionPeriod=100y", 0, 0, NULL },
        { "mixed", NULL, ARG_YES, &s.mixed, "once more while readings come in at half the rate at which the data did", 0, 0, NULL },
        { 0 },
    };
    int rc, status = bench_args(&usage, own, &s.c, argc, argv);

    if (status >= 0)
        return status;
    b.out = (bench_out){ .to = stdout, .json = s.c.json, .bench = "query" };
    b.random = s.c.seed * 2 + 1;
    rc = run(&b, argc, argv);
    if (rc < 0)
        fprintf(stderr, "bench: %s\n", err_text());
    if (b.wrong > 0)
        fprintf(stderr, "bench: CHECK FAILED: %llu wrong answers\n", (unsigned long long)b.wrong);
    client_close(&b.writer);
    target_close(&b.t);
    generate_free(&b.g);
    free(b.ids);
    return rc < 0 || b.wrong > 0;
}
