/* recovery.c - `haltless bench recovery`: killed at full load, how soon does it take writes and answer questions again?
 *
 *   push everything | push on, at full load | kill -9, all at once | start: write until one is taken, ask until an answer
 *                                             (heads as full as the budgets allow)   is complete
 *
 * The writer and the asker try every few milliseconds from the moment of the start.  At the end every reading that was
 * acknowledged before the kill must be counted.
 */
#include "bench/bench.h"

#include "bench/args.h"
#include "bench/client.h"
#include "bench/generate.h"
#include "bench/out.h"
#include "bench/push.h"
#include "bench/target.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KEPT_TICKS = 100, TRY_MS = 2, PATIENCE_S = 60, LOAD_S = 3 };

typedef struct settings {
    bench_common c;
    uint64_t     readings;
    uint32_t     machines;
    uint32_t     connections;
    uint32_t     rounds;
} settings;

typedef struct bench {
    const settings *set;
    generated       g;
    target          t;
    char          (*ids)[37];
    bench_out       out;
    uint64_t        pushed;   /* bodies so far */
    uint64_t        accepted; /* readings acknowledged */
    char            token[sizeof((client *)0)->auth]; /* the header line; good across the restart */
} bench;

/* ---- what is tried from the start on ---- */

typedef struct trial {
    bench    *b;
    uint64_t  began_ns;
    uint64_t  took_ns; /* 0: it never came */
    pthread_t thread;
    bool (*once)(struct trial *t, client *c);
    char      asked[512];
} trial;

static bool
write_once(trial *t, client *c)
{
    client_answer a = { 0 };

    return client_call(c, "POST", "/api/v1/ingest", view_str(t->asked), &a) == E_OK && a.status == 207 &&
           memmem(a.body.at, a.body.len, "\"accepted_count\":1", 18) != NULL;
}

static bool
ask_once(trial *t, client *c)
{
    client_answer a = { 0 };

    return client_call(c, "GET", t->asked, view_of(NULL, 0), &a) == E_OK && a.status == 200 &&
           memmem(a.body.at, a.body.len, "\"timestamp\"", 11) != NULL;
}

static void *
try_on(void *arg)
{
    trial   *t = arg;
    client   c;
    uint64_t end = t->began_ns + PATIENCE_S * 1000000000ull;

    if (client_open(&c, t->b->t.where) < 0)
        return NULL;
    if (t->once == write_once)
        snprintf(c.auth, sizeof c.auth, "X-API-Key: %s\r\n", t->b->t.key);
    else
        memcpy(c.auth, t->b->token, sizeof c.auth);
    while (bench_now_ns() < end) {
        if (t->once(t, &c)) {
            t->took_ns = bench_now_ns() - t->began_ns;
            break;
        }
        err_clear();
        nanosleep(&(struct timespec){ 0, TRY_MS * 1000000 }, NULL);
    }
    client_close(&c);
    return NULL;
}

/* ---- load, and the kill in the middle of it ---- */

typedef struct stream {
    push          p;
    atomic_bool   stop;
    atomic_ullong landed;
} stream;

static void *
stream_run(void *arg)
{
    stream *s = arg;

    if (push_run(&s->p) < 0) /* the server is killed under it */
        err_clear();
    return NULL;
}

static push
push_of(bench *b, uint64_t bodies)
{
    return (push){ .where = b->t.where, .key = b->t.key, .g = &b->g, .first = b->pushed, .bodies = bodies,
                   .connections = b->set->connections };
}

static int
load(bench *b)
{
    push p = push_of(b, (b->set->readings + b->g.per_body - 1) / b->g.per_body);
    int  rc = push_run(&p);

    b->pushed += p.bodies;
    b->accepted += p.accepted;
    if (rc == E_OK)
        bench_row(&b->out, "load", "throughput", (double)p.accepted / p.seconds, "readings/s");
    push_free(&p);
    return rc;
}

static int
kill_under_load(bench *b)
{
    stream          s = { .p = push_of(b, 10000000) };
    pthread_t       thread;
    struct timespec wait = { .tv_sec = LOAD_S };

    s.p.stop = &s.stop;
    s.p.landed = &s.landed;
    s.p.quiet = true;
    if (pthread_create(&thread, NULL, stream_run, &s) != 0)
        return err(E_NOMEM, "a thread");
    nanosleep(&wait, NULL);
    atomic_store(&s.stop, true); /* what breaks now is not tried again */
    target_kill(&b->t);
    pthread_join(thread, NULL);
    b->pushed += s.p.answered + 2 * b->set->connections + 1000; /* the next round begins behind whatever was sent */
    b->accepted += s.p.accepted;
    bench_row(&b->out, "killed", "acknowledged", (double)b->accepted, "readings");
    push_free(&s.p);
    return E_OK;
}

/* ---- start ---- */

static void
plan_trials(bench *b, trial trials[2], uint32_t round)
{
    char        id[16], when[INSTANT_TEXT_MAX + 1];
    const char *unit, *metric = generate_metric(0, &unit);

    generate_identifier(round % b->g.machines, id);
    when[instant_format(GENERATE_START_US - (int64_t)(round + 1) * 1000000, when)] = '\0';
    trials[0] = (trial){ .b = b, .once = write_once };
    snprintf(trials[0].asked, sizeof trials[0].asked,
             "{\"readings\":[{\"machine_identifier\":\"%s\",\"timestamp\":\"%s\",\"metric_name\":\"%s\",\"value\":1,"
             "\"unit\":\"%s\"}]}",
             id, when, metric, unit);
    trials[1] = (trial){ .b = b, .once = ask_once };
    when[instant_format(GENERATE_START_US, when)] = '\0';
    snprintf(trials[1].asked, sizeof trials[1].asked,
             "/api/v1/machines/%s/readings?metric=%s&interval=5m&start=%s&limit=10000", b->ids[round % b->g.machines],
             metric, when);
}

static double
count_all(bench *b)
{
    cJSON       *answer = NULL;
    const cJSON *s, *p;
    double       n = 0;

    if (client_json(&b->t.admin, "POST", "/api/v1/readings/query",
                    "{\"start\":\"2026-01-01T00:00:00Z\",\"end\":\"2036-01-01T00:00:00Z\",\"interval\":\"1mo\","
                    "\"aggregation\":\"count\",\"group_by\":\"all\"}",
                    &answer) == 200)
        cJSON_ArrayForEach(s, cJSON_GetObjectItemCaseSensitive(answer, "series"))
            cJSON_ArrayForEach(p, cJSON_GetObjectItemCaseSensitive(s, "data"))
                n += cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(p, "value"));
    cJSON_Delete(answer);
    return n;
}

/* What the server's log says of its start: the number behind `field` in the last line with `event`. */
static void
phase(bench *b, const char *what, const char *event, const char *field, const char *metric, const char *unit)
{
    char   path[160], line[1024];
    double value = -1;
    FILE  *f;

    snprintf(path, sizeof path, "%s/server.log", b->t.dir);
    f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *at = strstr(line, event) != NULL ? strstr(line, field) : NULL;

        value = at != NULL ? strtod(at + strlen(field), NULL) : value;
    }
    if (f != NULL)
        fclose(f);
    if (value >= 0)
        bench_row(&b->out, what, metric, value, unit);
}

static void
phases(bench *b, const char *what)
{
    phase(b, what, "event=ingest.open ", " ms=", "partition open, journal's index read", "ms");
    phase(b, what, "event=actor.ready ", " ms=", "all actors ready", "ms");
    phase(b, what, "event=ingest.replayed ", " ms=", "replay, beside writes", "ms");
    phase(b, what, "event=ingest.replayed ", " bytes=", "of the journal", "bytes");
}

static int
start_again(bench *b, uint32_t round)
{
    trial    trials[2];
    char     what[32];
    uint64_t began = bench_now_ns();
    double   counted;
    int      rc = target_start(&b->t, &b->set->c.target);

    plan_trials(b, trials, round);
    for (int i = 0; i < 2 && rc == E_OK; i++) {
        trials[i].began_ns = began;
        if (pthread_create(&trials[i].thread, NULL, try_on, &trials[i]) != 0)
            rc = err(E_NOMEM, "a thread");
    }
    if (rc < 0)
        return rc;
    for (int i = 0; i < 2; i++)
        pthread_join(trials[i].thread, NULL);
    if (trials[0].took_ns == 0 || trials[1].took_ns == 0)
        return err(E_LATE, "not back after %d s", PATIENCE_S);
    b->accepted++; /* the trial's */
    snprintf(what, sizeof what, "start %u", round + 1);
    bench_row(&b->out, what, "first accepted write", (double)trials[0].took_ns / 1e6, "ms");
    bench_row(&b->out, what, "first complete query", (double)trials[1].took_ns / 1e6, "ms");
    phases(b, what);
    if ((rc = target_resume(&b->t, &b->set->c.target)) < 0)
        return rc;
    counted = count_all(b);
    bench_row(&b->out, what, "counted", counted, "readings");
    return counted >= (double)b->accepted
               ? E_OK
               : err(E_BAD, "CHECK FAILED: %.0f readings counted of %" PRIu64 " acknowledged", counted, b->accepted);
}

static int
run(bench *b, int argc, char **argv)
{
    const settings *s = b->set;
    uint64_t        kept = (uint64_t)s->machines * GENERATE_METRICS * KEPT_TICKS;
    int             rc = generate(&b->g, VARIANT_WALK, s->c.seed, s->machines, kept, 1000);

    b->ids = calloc(s->machines, sizeof *b->ids);
    if (rc == E_OK && b->ids == NULL)
        rc = err(E_NOMEM, "machines");
    if (rc == E_OK)
        rc = target_open(&b->t, &s->c.target);
    if (rc == E_OK)
        rc = target_machines(&b->t, s->machines, b->ids);
    if (rc < 0)
        return rc;
    memcpy(b->token, b->t.admin.auth, sizeof b->token);
    bench_pin(s->c.client_core);
    bench_env(&b->out, b->t.dir, "fsync", b->t.topology, argc, argv);
    rc = load(b);
    for (uint32_t i = 0; i < s->rounds && rc == E_OK; i++) {
        rc = kill_under_load(b);
        if (rc == E_OK)
            rc = start_again(b, i);
    }
    return rc;
}

int
bench_recovery(int argc, char **argv)
{
    static const bench_usage usage = { "recovery", "killed at full load, how soon does it take writes and answer questions again?", false };
    settings s = { .c = BENCH_COMMON, .readings = 20000000, .machines = 4000, .rounds = 3, .connections = 8 };
    bench    b = { .set = &s, .t.admin.fd = -1 };
    const bench_arg own[] = {
        { "readings", "N", ARG_U64, &s.readings, "stored before the first kill (default 20000000)", 1, UINT64_MAX, NULL },
        { "machines", "N", ARG_U32, &s.machines, "machines, 5 metrics each (default 4000)", 1, 100000, NULL },
        { "rounds", "N", ARG_U32, &s.rounds, "kills (default 3)", 1, UINT32_MAX, NULL },
        { "connections", "N", ARG_U32, &s.connections, "kept-alive connections (default 8)", 1, PUSH_CONNECTIONS_MAX, NULL },
        { 0 },
    };
    int rc, status = bench_args(&usage, own, &s.c, argc, argv);

    if (status >= 0)
        return status;
    b.out = (bench_out){ .to = stdout, .json = s.c.json, .bench = "recovery" };
    rc = run(&b, argc, argv);
    if (rc < 0)
        fprintf(stderr, "bench: %s\n", err_text());
    target_close(&b.t);
    generate_free(&b.g);
    free(b.ids);
    return rc < 0;
}
