/* fair.c - `haltless bench fair`: what one tenant's flood does to another tenant's reads.
 *
 *   tenant B asks for newest values and for buckets, in turn, each at its own moment: alone, then while
 *   tenant A pushes as much as is acknowledged, ten-megabyte bodies on some connections, 1 000-reading bodies on others;
 *   then while it asks for all of its readings, raw, on some connections; with --slow also while so many connections
 *   bring their requests a byte a second
 *
 * A question's latency counts from the moment it was due, whether the connection was free for it or not.  The flood's
 * own threads are nice, as this machine is the server's too: they take what it leaves.
 */
#include "bench/bench.h"

#include "bench/args.h"
#include "bench/client.h"
#include "bench/generate.h"
#include "bench/out.h"
#include "bench/push.h"
#include "bench/slow.h"
#include "bench/target.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    MACHINES = 100,         /* of B; of A too */
    HOURS = 1,              /* of B's data */
    LONG_READINGS = 76000,  /* of a body of A: 9.7 MB of JSON */
    SHORT_READINGS = 1000,
    NICE = 10,
    SETTLE_MS = 1000,
    KINDS = 2,
};

typedef struct settings {
    bench_common c;
    uint32_t     seconds; /* of each phase */
    double       rate;    /* B's questions/s */
    uint32_t     longs, shorts; /* A's connections */
    uint32_t     queries;       /* likewise, which ask for all there is */
    uint32_t     slow;          /* connections of nobody */
} settings;

typedef struct flood {
    generated   g;
    push        p;
    atomic_bool stop;
    int         rc;
    char        text[256];
    pthread_t   thread;
    bool        running;
} flood;

typedef struct bench {
    const settings *set;
    target          t;     /* A's */
    target          other; /* B's, at the same server */
    generated       g;     /* B's data */
    char          (*ids)[37];
    bench_out       out;
    uint64_t        random;
    uint64_t        wrong;
} bench;

static const char *const kinds[KINDS] = { "latest", "buckets" };

/* ---- B asks ---- */

static void
ask(bench *b, uint32_t kind, char path[512])
{
    const char *id = b->ids[(uint32_t)(generate_random(&b->random) >> 33) % MACHINES];
    char        start[INSTANT_TEXT_MAX + 1], end[INSTANT_TEXT_MAX + 1];
    const char *unit;

    if (kind == 0) {
        snprintf(path, 512, "/api/v1/machines/%s/readings/latest", id);
        return;
    }
    start[instant_format(GENERATE_START_US, start)] = '\0';
    end[instant_format(GENERATE_START_US + (int64_t)HOURS * 3600 * 1000000, end)] = '\0';
    snprintf(path, 512, "/api/v1/machines/%s/readings?metric=%s&interval=5m&start=%s&end=%s", id,
             generate_metric((uint32_t)(generate_random(&b->random) >> 33) % GENERATE_METRICS, &unit), start, end);
}

static void
sleep_until(uint64_t ns)
{
    struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
        ;
}

static void
report(const bench *b, const char *phase, uint64_t *ns, size_t count, uint32_t kind, double p99_ms[KINDS])
{
    static const struct {
        const char *name;
        double      q;
    } rows[] = { { "p50", 0.5 }, { "p90", 0.9 }, { "p99", 0.99 }, { "p99.9", 0.999 } };
    char what[64];

    snprintf(what, sizeof what, "%s/%s", kinds[kind], phase);
    bench_sort(ns, count);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        bench_row(&b->out, what, rows[i].name, (double)bench_quantile(ns, count, rows[i].q) / 1e3, "us");
    p99_ms[kind] = (double)bench_quantile(ns, count, 0.99) / 1e6;
}

/* One phase of questions; p99_ms by kind. */
static int
questions(bench *b, const char *phase, double p99_ms[KINDS])
{
    uint32_t  each = (uint32_t)max_u64((uint64_t)((double)b->set->seconds * b->set->rate / KINDS), 1);
    uint64_t  every = (uint64_t)(1e9 / b->set->rate), due = bench_now_ns() + every;
    uint64_t *ns[KINDS];
    int       rc = E_OK;

    for (uint32_t k = 0; k < KINDS; k++) {
        ns[k] = calloc(each, sizeof **ns);
        ASSERT(ns[k] != NULL);
    }
    for (uint32_t i = 0; i < each * KINDS && rc == E_OK; i++, due += every) {
        client_answer a = { 0 };
        char          path[512];

        ask(b, i % KINDS, path);
        sleep_until(due);
        rc = client_call(&b->other.admin, "GET", path, view_of(NULL, 0), &a);
        ns[i % KINDS][i / KINDS] = bench_now_ns() - due;
        if (rc == E_OK && a.status != 200 && b->wrong++ == 0)
            fprintf(stderr, "bench: wrong answer to %s: %d\n", path, a.status);
    }
    for (uint32_t k = 0; k < KINDS; k++) {
        if (rc == E_OK)
            report(b, phase, ns[k], each, k, p99_ms);
        free(ns[k]);
    }
    return rc;
}

/* ---- A floods ---- */

static void *
flood_run(void *arg)
{
    flood *f = arg;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICE);
    f->rc = push_run(&f->p);
    snprintf(f->text, sizeof f->text, "%s", err_text());
    return NULL;
}

static int
flood_start(flood *f, const bench *b, uint32_t connections, uint32_t per_body, uint64_t readings)
{
    int rc = connections == 0 ? E_OK : generate(&f->g, VARIANT_WALK, b->set->c.seed + per_body, MACHINES, readings, per_body);

    if (rc < 0 || connections == 0)
        return rc;
    rc = generate_text(&f->g);
    f->p = (push){ .where = b->t.where, .key = b->t.key, .g = &f->g, .bodies = 10000000, .connections = connections,
                   .stop = &f->stop, .quiet = true };
    if (rc == E_OK && pthread_create(&f->thread, NULL, flood_run, f) != 0)
        rc = err(E_NOMEM, "a thread");
    f->running = rc == E_OK;
    return rc;
}

static int
flood_end(flood *f, const bench *b, const char *what)
{
    int rc = E_OK;

    if (f->running) {
        atomic_store(&f->stop, true);
        pthread_join(f->thread, NULL);
        rc = f->rc < 0 ? err(f->rc, "%s", f->text) : E_OK;
        bench_row(&b->out, what, "acknowledged", (double)f->p.accepted / f->p.seconds, "readings/s");
        bench_row(&b->out, what, "refused", (double)f->p.refused, "bodies");
        push_free(&f->p);
    }
    generate_free(&f->g);
    return rc;
}

static int
under_flood(bench *b, const double alone_ms[KINDS])
{
    flood  longs = { 0 }, shorts = { 0 };
    double p99_ms[KINDS] = { 0 };
    int    rc = flood_start(&longs, b, b->set->longs, LONG_READINGS, 4 * LONG_READINGS), ended;

    if (rc == E_OK)
        rc = flood_start(&shorts, b, b->set->shorts, SHORT_READINGS, 100 * SHORT_READINGS);
    if (rc == E_OK) {
        sleep_until(bench_now_ns() + SETTLE_MS * UINT64_C(1000000));
        rc = questions(b, "flooded", p99_ms);
    }
    for (uint32_t k = 0; k < KINDS && rc == E_OK; k++)
        bench_row(&b->out, kinds[k], "p99 above alone, flooded", p99_ms[k] - alone_ms[k], "ms");
    ended = flood_end(&longs, b, "flood/10 MB bodies");
    rc = rc < 0 ? rc : ended;
    ended = flood_end(&shorts, b, "flood/1000-reading bodies");
    return rc < 0 ? rc : ended;
}

/* ---- A asks for everything ---- */

typedef struct asker {
    pthread_t    thread;
    client       c;
    atomic_bool *stop;
    uint64_t     answers;
    bool         running;
} asker;

static void *
ask_for_all(void *arg)
{
    static const char body[] = "{\"start\":\"2026-04-04T00:00:00Z\",\"end\":\"2026-04-05T00:00:00Z\",\"limit\":1000}";
    asker            *a = arg;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), getpriority(PRIO_PROCESS, 0) + NICE);
    while (!atomic_load(a->stop)) {
        client_answer got = { 0 };

        if (client_call(&a->c, "POST", "/api/v1/readings/query", view_of(body, sizeof body - 1), &got) == E_OK && got.status == 200)
            a->answers++;
        else
            err_clear();
    }
    return NULL;
}

static int
under_queries(bench *b, const double alone_ms[KINDS])
{
    atomic_bool stop = false;
    asker      *all = calloc(max_u64(b->set->queries, 1), sizeof *all);
    uint64_t    answers = 0;
    double      p99_ms[KINDS] = { 0 };
    int         rc = E_OK;

    ASSERT(all != NULL);
    for (uint32_t i = 0; i < b->set->queries && rc == E_OK; i++) {
        all[i].stop = &stop;
        rc = client_open(&all[i].c, b->t.where);
        snprintf(all[i].c.auth, sizeof all[i].c.auth, "%s", b->t.admin.auth);
        all[i].running = rc == E_OK && pthread_create(&all[i].thread, NULL, ask_for_all, &all[i]) == 0;
    }
    if (rc == E_OK)
        rc = questions(b, "queried", p99_ms);
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < b->set->queries; i++) {
        if (all[i].running)
            pthread_join(all[i].thread, NULL);
        client_close(&all[i].c);
        answers += all[i].answers;
    }
    free(all);
    bench_row(&b->out, "queries", "answered", (double)answers, "answers");
    for (uint32_t k = 0; k < KINDS && rc == E_OK; k++)
        bench_row(&b->out, kinds[k], "p99 above alone, queried", p99_ms[k] - alone_ms[k], "ms");
    return rc;
}

/* ---- and those who never get done ---- */

static int
beside_slow(bench *b, const double alone_ms[KINDS])
{
    slow   s = { .host = b->t.admin.host, .port = b->t.admin.port, .connections = b->set->slow };
    double p99_ms[KINDS] = { 0 };
    int    rc = slow_start(&s);

    if (rc == E_OK)
        rc = questions(b, "slow clients", p99_ms);
    slow_end(&s);
    if (rc == E_OK) {
        bench_row(&b->out, "slow clients", "connections", b->set->slow, "at a time");
        bench_row(&b->out, "slow clients", "closed by the server", (double)s.closed, "connections");
    }
    for (uint32_t k = 0; k < KINDS && rc == E_OK; k++)
        bench_row(&b->out, kinds[k], "p99 beside slow ones", p99_ms[k] / alone_ms[k], "times that alone");
    return rc;
}

/* ---- the whole ---- */

/* The longest turns of the fronts' loops, as /metrics tells them. */
static void
report_turns(bench *b)
{
    static const char mark[] = "haltless_loop_turn_seconds_bucket{";
    client_answer     a = { 0 };
    double            over = 0, all = 0;

    if (client_call(&b->t.admin, "GET", "/metrics", view_of(NULL, 0), &a) < 0)
        return;
    for (const char *p = (const char *)a.body.at; (p = strstr(p, mark)) != NULL; p += sizeof mark) {
        const char *eol = strchr(p, '\n'), *space = eol == NULL ? NULL : memrchr(p, ' ', (size_t)(eol - p));
        const char *le = strstr(p, "le=\"");

        if (space == NULL || le == NULL || le > eol)
            break;
        if (strncmp(le + 4, "+Inf", 4) == 0)
            all += strtod(space, NULL);
        else if (strtod(le + 4, NULL) > 1e-3 && strtod(le + 4, NULL) < 2e-3)
            over += strtod(space, NULL);
    }
    bench_row(&b->out, "loop turns", "all", all, "turns");
    bench_row(&b->out, "loop turns", "longer than 1.05 ms", all - over, "turns");
}

static int
load(bench *b)
{
    push p = { .where = b->t.where, .key = b->other.key, .g = &b->g, .bodies = b->g.bodies, .connections = 4 };
    int  rc = push_run(&p);

    push_free(&p);
    return rc;
}

static int
open_tenants(bench *b)
{
    target_options o = b->set->c.target;
    char          *flags[TARGET_FLAGS_MAX];
    char         (*as_ids)[37] = calloc(MACHINES, sizeof *as_ids);
    int            rc;

    ASSERT(as_ids != NULL);
    for (int i = 0; i < o.flag_count; i++)
        flags[i] = o.flags[i];
    flags[o.flag_count++] = (char *)(uintptr_t) "--limits-readings-per-request";
    flags[o.flag_count++] = (char *)(uintptr_t) "100000";
    o.flags = flags;
    rc = target_open(&b->t, &o);
    if (rc == E_OK)
        rc = target_machines(&b->t, MACHINES, as_ids);
    o.url = b->t.where;
    o.email = "other@bench.example";
    if (rc == E_OK)
        rc = target_open(&b->other, &o);
    if (rc == E_OK)
        rc = target_machines(&b->other, MACHINES, b->ids);
    free(as_ids);
    return rc;
}

static int
run(bench *b, int argc, char **argv)
{
    uint64_t readings = (uint64_t)MACHINES * GENERATE_METRICS * HOURS * 3600 / GENERATE_EVERY_S;
    double   alone_ms[KINDS] = { 0 };
    bool     own = b->set->c.target.url == NULL;
    int      rc = generate(&b->g, VARIANT_WALK, b->set->c.seed, MACHINES, readings, SHORT_READINGS);

    b->ids = calloc(MACHINES, sizeof *b->ids);
    ASSERT(b->ids != NULL);
    if (rc == E_OK)
        rc = open_tenants(b);
    if (rc < 0)
        return rc;
    bench_pin(b->set->c.client_core);
    bench_env(&b->out, own ? b->t.dir : NULL, own ? "fsync" : "as the server says", b->t.topology, argc, argv);
    rc = load(b);
    if (rc == E_OK)
        rc = questions(b, "alone", alone_ms);
    if (rc == E_OK && b->set->slow > 0)
        rc = beside_slow(b, alone_ms);
    if (rc == E_OK)
        rc = under_flood(b, alone_ms);
    if (rc == E_OK && b->set->queries > 0)
        rc = under_queries(b, alone_ms);
    if (rc == E_OK)
        report_turns(b);
    return rc;
}

int
bench_fair(int argc, char **argv)
{
    static const bench_usage usage = { "fair", "what one tenant's flood does to another tenant's reads", true };
    settings s = { .c = BENCH_COMMON, .seconds = 10, .rate = 100, .longs = 4, .shorts = 8, .queries = 4 };
    bench    b = { .set = &s, .t.admin.fd = -1, .other.admin.fd = -1 };
    const bench_arg own[] = {
        { "seconds", "N", ARG_U32, &s.seconds, "of questions alone, and again beside the flood (default 10)", 1, 3600, NULL },
        { "rate", "N", ARG_REAL, &s.rate, "questions/s of the other tenant (default 100)", 0, 0, NULL },
        { "long", "N", ARG_U32, &s.longs, "connections that push bodies of 10 MB (default 4)", 0, PUSH_CONNECTIONS_MAX, NULL },
        { "short", "N", ARG_U32, &s.shorts, "connections that push bodies of 1 000 readings (default 8)", 0, PUSH_CONNECTIONS_MAX, NULL },
        { "queries", "N", ARG_U32, &s.queries, "connections that ask for all of their tenant's readings (default 4)", 0, 1000, NULL },
        { "slow", "N", ARG_U32, &s.slow, "connections that bring a request a byte a second, in a phase of their own (default 0)", 0,
          SLOW_CONNECTIONS_MAX, NULL },
        { 0 },
    };
    int rc, status = bench_args(&usage, own, &s.c, argc, argv);

    if (status >= 0)
        return status;
    b.out = (bench_out){ .to = stdout, .json = s.c.json, .bench = "fair" };
    b.random = s.c.seed * 2 + 1;
    rc = s.rate > 0 ? run(&b, argc, argv) : err(E_BAD, "--rate must be more than 0");
    if (rc < 0)
        fprintf(stderr, "bench: %s\n", err_text());
    if (b.wrong > 0)
        fprintf(stderr, "bench: CHECK FAILED: %llu wrong answers\n", (unsigned long long)b.wrong);
    target_close(&b.other);
    target_close(&b.t);
    generate_free(&b.g);
    free(b.ids);
    return rc < 0 || b.wrong > 0;
}
