/* alert.c - `haltless bench alert`: how soon an alert is with who watches, and what rules cost ingest.
 *
 *   latency   from before the POST of the reading to the WebSocket frame of its alert, while another tenant pushes at
 *             half of what ingest can
 *   rules     two tenants push in turns, as fast as they are answered: one without rules, one with --rules of which
 *             none is broken
 */
#include "bench/bench.h"

#include "bench/args.h"
#include "bench/generate.h"
#include "bench/load.h"
#include "bench/out.h"
#include "bench/stir.h"
#include "bench/viewers.h"
#include "proto/err.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MACHINES = 100, RULE_MAKERS = 8, SETTLE_S = 20 };

typedef struct settings {
    bench_common c;
    uint32_t     alerts, rules, machines, rounds;
    double       rate, slice;
} settings;

typedef struct bench_run {
    const settings *set;
    bench_out       out;
    target          t;
    stir            s;
    load            bare, ruled;
    viewers         w;
} bench_run;

static void
pause_for(double seconds)
{
    nanosleep(&(struct timespec){ (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) }, NULL);
}

/* ---- latency ---- */

static int
raise_all(bench_run *b)
{
    uint64_t random = b->set->c.seed | 1;
    int      rc = E_OK;

    for (uint32_t i = 0; i < b->set->alerts && rc == E_OK; i++) {
        rc = stir_alarm(&b->s);
        pause_for((double)(generate_random(&random) >> 40) / (double)(1 << 24) * 2 / b->set->rate); /* in no step with anything */
    }
    return rc;
}

static void
settle(bench_run *b, viewers_check *k)
{
    for (int i = 0; i < SETTLE_S * 50; i++) {
        viewers_check_all(&b->w, 0, k);
        if (k->closed_least >= b->s.raised)
            return;
        pause_for(0.02);
    }
}

static int
measure_latency(bench_run *b, const char *what, double load_rate)
{
    viewers_counts got;
    viewers_check  k;
    load_result    l = { 0 };
    int            rc = load_rate > 0 ? load_begin(&b->bare, load_rate) : E_OK;

    if (rc < 0)
        return rc;
    pause_for(0.3);
    rc = raise_all(b);
    if (rc == E_OK)
        settle(b, &k);
    if (load_rate > 0) {
        int end = load_end(&b->bare, &l);

        rc = rc < 0 ? rc : end;
    }
    if (rc < 0)
        return rc;
    viewers_take(&b->w, &got);
    bench_late(&b->out, what, "reading to frame", got.alert_ns, got.alert_count);
    viewers_counts_free(&got);
    if (load_rate > 0)
        bench_row(&b->out, what, "ingest got", l.got, "readings/s");
    bench_row(&b->out, what, "alerts raised", (double)b->s.raised, "alerts");
    bench_row(&b->out, what, "alerts told", (double)k.opened_most, "alerts");
    if (k.opened_most == b->s.raised && k.closed_most == b->s.raised && k.missed == 0 && k.twice == 0)
        return 0;
    fprintf(stderr, "bench: CHECK FAILED: %llu alerts raised, %llu opened and %llu closed at the viewer\n", (unsigned long long)b->s.raised,
            (unsigned long long)k.opened_most, (unsigned long long)k.closed_most);
    return 1;
}

/* ---- rules ---- */

typedef struct maker {
    bench_run *b;
    pthread_t  thread;
    uint32_t   first;
    int        rc;
} maker;

/* Far outside of what the generator makes: two for each series, and so on. */
static void *
make_rules(void *arg)
{
    maker *m = arg;
    load  *l = &m->b->ruled;
    client c;

    if ((m->rc = client_open(&c, l->t.where)) < 0)
        return NULL;
    memcpy(c.auth, l->t.admin.auth, sizeof c.auth);
    for (uint32_t i = m->first; i < m->b->set->rules && m->rc == E_OK; i += RULE_MAKERS) {
        char        body[320];
        const char *unit, *metric = generate_metric(i / m->b->set->machines % GENERATE_METRICS, &unit);
        bool        above = i / m->b->set->machines / GENERATE_METRICS % 2 == 0;
        cJSON      *answer = NULL;

        (void)snprintf(body, sizeof body,
                       "{\"name\":\"r%u\",\"machine_id\":\"%s\",\"metric_name\":\"%s\",\"operator\":\"%s\",\"threshold\":%d,\"severity\":\"info\"}", i,
                       l->ids[i % m->b->set->machines], metric, above ? "gt" : "lt", above ? 1000000000 : -1000000000);
        if (client_json(&c, "POST", "/api/v1/alert-rules", body, &answer) != 201)
            m->rc = err(E_BAD, "make rule %u", i);
        cJSON_Delete(answer);
    }
    client_close(&c);
    return NULL;
}

static int
make_all_rules(bench_run *b)
{
    maker makers[RULE_MAKERS];
    int   rc = E_OK;

    for (uint32_t i = 0; i < RULE_MAKERS; i++) {
        makers[i] = (maker){ .b = b, .first = i };
        if (pthread_create(&makers[i].thread, NULL, make_rules, &makers[i]) != 0)
            return err(E_NOMEM, "a thread");
    }
    for (uint32_t i = 0; i < RULE_MAKERS; i++) {
        pthread_join(makers[i].thread, NULL);
        rc = makers[i].rc < 0 ? makers[i].rc : rc;
    }
    return rc < 0 ? err(rc, "rules were not made") : E_OK;
}

static int
by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Each round both, one after the other and in turns first; the first round only warms up. */
static int
measure_rules(bench_run *b)
{
    uint32_t n = b->set->rounds;
    double  *kept = calloc(n, sizeof *kept), bare = 0, ruled = 0;
    int      rc = kept == NULL ? err(E_NOMEM, "rounds") : make_all_rules(b);
    char     what[48];

    for (uint32_t i = 0; i <= n && rc == E_OK; i++) {
        load *first = i % 2 == 0 ? &b->bare : &b->ruled, *second = i % 2 == 0 ? &b->ruled : &b->bare;

        if ((rc = load_measure(first, b->set->slice)) < 0 || (rc = load_measure(second, b->set->slice)) < 0 || i == 0)
            continue;
        kept[i - 1] = b->ruled.most / b->bare.most * 100;
        bare += b->bare.most / n;
        ruled += b->ruled.most / n;
    }
    if (rc == E_OK) {
        qsort(kept, n, sizeof *kept, by_size);
        (void)snprintf(what, sizeof what, "rules/%u over %u machines", b->set->rules, b->set->machines);
        bench_row(&b->out, "rules/none", "throughput", bare, "readings/s");
        bench_row(&b->out, what, "throughput", ruled, "readings/s");
        bench_row(&b->out, what, "kept, median of rounds", kept[n / 2], "%");
    }
    free(kept);
    return rc;
}

/* ---- the whole ---- */

static int
open_all(bench_run *b)
{
    const settings *s = b->set;
    int             rc = target_open(&b->t, &s->c.target);

    if (rc == E_OK)
        rc = stir_open(&b->s, &b->t, MACHINES);
    if (rc == E_OK)
        rc = load_open(&b->bare, b->t.where, "bench-load@example.com", s->machines, s->c.seed);
    if (rc == E_OK)
        rc = load_open(&b->ruled, b->t.where, "bench-rules@example.com", s->machines, s->c.seed);
    b->w = (viewers){ .where = b->t.where, .token = b->s.token, .clients = 1 };
    return rc < 0 ? rc : viewers_open(&b->w);
}

static int
run_all(bench_run *b)
{
    int rc = measure_latency(b, "latency/idle", 0), loaded, rules;

    if (rc < 0 || (loaded = load_measure(&b->bare, b->set->slice * 2)) < 0)
        return rc < 0 ? rc : loaded;
    loaded = measure_latency(b, "latency/ingest at half", b->bare.most / 2);
    if (loaded < 0 || (rules = measure_rules(b)) < 0)
        return loaded < 0 ? loaded : rules;
    return rc != 0 ? rc : loaded;
}

static int
bench(const settings *s, int argc, char **argv)
{
    bench_run b = { .set = s, .out = { .to = stdout, .json = s->c.json, .bench = "alert" } };
    int       status;

    b.t.admin.fd = b.bare.t.admin.fd = b.ruled.t.admin.fd = b.s.source.fd = -1;
    if ((status = open_all(&b)) == E_OK) {
        bench_env(&b.out, b.t.dir[0] != '\0' ? b.t.dir : NULL, b.t.dir[0] != '\0' ? "fsync" : "as the server says", b.t.topology,
                  argc, argv);
        status = run_all(&b);
    }
    if (status < 0)
        fprintf(stderr, "bench: %s\n", err_text());
    viewers_close(&b.w);
    load_close(&b.bare);
    load_close(&b.ruled);
    stir_close(&b.s);
    target_close(&b.t);
    return status == 0 ? 0 : 1;
}

int
bench_alert(int argc, char **argv)
{
    static const bench_usage usage = { "alert", "from a reading to the frame of its alert, and what rules cost ingest", true };
    settings s = { .c = BENCH_COMMON, .alerts = 400, .rules = 10000, .machines = 1000, .rounds = 8, .rate = 40, .slice = 1 };
    const bench_arg own[] = {
        { "alerts", "N", ARG_U32, &s.alerts, "how many are raised, each time (default 400)", 1, 1000000, NULL },
        { "rate", "N", ARG_REAL, &s.rate, "alerts/s, about (default 40)", 0, 0, NULL },
        { "rules", "N", ARG_U32, &s.rules, "of which none is broken (default 10000)", 1, 65536, NULL },
        { "machines", "N", ARG_U32, &s.machines, "that they are over (default 1000)", 1, 10000, NULL },
        { "rounds", "N", ARG_U32, &s.rounds, "of ingest without and with rules (default 8)", 1, 1000, NULL },
        { "slice", "S", ARG_REAL, &s.slice, "seconds of each (default 1)", 0, 0, NULL },
        { 0 },
    };
    int status = bench_args(&usage, own, &s.c, argc, argv);

    return status >= 0 ? status : bench(&s, argc, argv);
}
