/* ws.c - `haltless bench ws`: thousands of live viewers of one tenant, while another tenant pushes at half its maximum.
 *
 *   ingest alone, as fast as it can      -> its maximum
 *   silent: nothing happens for --seconds, to compare with
 *   calm:  --calm events/s, --seconds    every reading to every client
 *   storm: --storm events/s, --seconds   more than anybody can send: conflated
 *
 * An alert is raised and cleared once a second in all three; at the end every client must have been sent each of them once, by
 * `seq`.  The first client stops reading in the storm, and must be closed with 1013; no other one may be closed.
 */
#include "bench/bench.h"

#include "bench/args.h"
#include "bench/load.h"
#include "bench/out.h"
#include "bench/stir.h"
#include "bench/viewers.h"
#include "proto/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TICK_MS = 25, SETTLE_S = 60, CLOSE_SLOW = 1013 };



typedef struct settings {
    bench_common c;
    uint32_t     clients, machines, seconds;
    uint32_t     deaf; /* seconds until who stopped reading looks what it was told */
    double       calm, storm;
} settings;

typedef struct bench_run {
    const settings *set;
    bench_out       out;
    target          t;
    load            l;
    viewers           w;
    stir            s;
    uint64_t        began_ns;
    uint16_t        deaf_code;
} bench_run;

static double
seconds_since(uint64_t ns)
{
    return (double)(bench_now_ns() - ns) / 1e9;
}

/* ---- what happens ---- */

/* Events at their rate and an alert a second. */
static int
happen(bench_run *b, double rate, uint64_t *offered)
{
    uint64_t began = bench_now_ns(), alerts = 0;
    int      rc = E_OK;

    *offered = 0;
    for (double at = 0; rc == E_OK && at < b->set->seconds; at = seconds_since(began)) {
        uint64_t due = (uint64_t)(at * rate);

        if (due > *offered)
            rc = stir_events(&b->s, min_u64(due - *offered, STIR_EVENTS_MAX));
        *offered += min_u64(due - *offered, STIR_EVENTS_MAX);
        if (rc == E_OK && (uint64_t)at >= alerts) {
            rc = stir_alarm(&b->s);
            alerts++;
        }
        nanosleep(&(struct timespec){ 0, TICK_MS * 1000000 }, NULL);
    }
    return rc;
}

/* ---- what came of it ---- */

static void
report(bench_run *b, const char *what, double seconds, uint64_t offered, viewers_counts *got, const load_result *l, double cpu)
{
    double reached = (double)got->updates / b->set->clients;
    double pss = target_pss_bytes(&b->t);

    bench_row(&b->out, what, "offered", (double)offered / seconds, "events/s");
    bench_row(&b->out, what, "frames", (double)(got->updates + got->alerts + got->others) / seconds, "frames/s");
    bench_row(&b->out, what, "bytes", (double)got->bytes / seconds / 1e6, "MB/s");
    if (offered > 0)
        bench_row(&b->out, what, "sent to each", reached / (double)offered * 100, "% of offered");
    bench_late(&b->out, what, "reading to frame", got->update_ns, got->update_count);
    bench_late(&b->out, what, "alert to frame", got->alert_ns, got->alert_count);
    bench_row(&b->out, what, "ingest asked", l->asked, "readings/s");
    bench_row(&b->out, what, "ingest got", l->got, "readings/s");
    bench_row(&b->out, what, "ingest kept", l->asked > 0 ? l->got / l->asked * 100 : 0, "%");
    bench_row(&b->out, what, "ingest p99", l->p99_ms, "ms");
    if (cpu >= 0)
        bench_row(&b->out, what, "server cpu", cpu / seconds, "cores");
    if (pss >= 0)
        bench_row(&b->out, what, "server memory, PSS", pss / 1e6, "MB");
}

static int
phase(bench_run *b, const char *name, double rate)
{
    viewers_counts got;
    load_result  l = { 0 };
    uint64_t     offered = 0, began;
    double       seconds, cpu = target_cpu_seconds(&b->t);
    char         what[64];
    int          rc = load_begin(&b->l, b->l.most / 2), end;

    if (rc < 0)
        return rc;
    viewers_take(&b->w, &got);
    viewers_counts_free(&got);
    began = bench_now_ns();
    rc = happen(b, rate, &offered);
    seconds = seconds_since(began);
    viewers_take(&b->w, &got);
    end = load_end(&b->l, &l);
    if (rc == E_OK)
        rc = end;
    snprintf(what, sizeof what, "%s/%uc", name, b->set->clients);
    if (rc == E_OK)
        report(b, what, seconds, offered, &got, &l, cpu < 0 ? -1 : target_cpu_seconds(&b->t) - cpu);
    viewers_counts_free(&got);
    return rc;
}

/* Until everybody was sent everything, or that takes too long. */
static void
settle(bench_run *b, viewers_check *k)
{
    uint64_t began = bench_now_ns();

    for (;;) {
        viewers_check_all(&b->w, 1, k);
        b->deaf_code = viewers_deaf_code(&b->w);
        if ((k->opened_least >= b->s.raised && k->closed_least >= b->s.raised && b->deaf_code != 0)
            || seconds_since(began) > SETTLE_S)
            return;
        nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
    }
}

static int
check(bench_run *b)
{
    viewers_check k;
    bool        exact;

    settle(b, &k);
    exact = k.opened_least == b->s.raised && k.opened_most == b->s.raised && k.closed_least == b->s.raised && k.closed_most == b->s.raised;
    bench_row(&b->out, "check", "alerts raised", (double)b->s.raised, "alerts");
    bench_row(&b->out, "check", "fewest sent to a client", (double)min_u64(k.opened_least, k.closed_least), "alerts");
    bench_row(&b->out, "check", "most sent to a client", (double)max_u64(k.opened_most, k.closed_most), "alerts");
    bench_row(&b->out, "check", "seqs missed", (double)k.missed, "frames");
    bench_row(&b->out, "check", "seqs twice", (double)k.twice, "frames");
    bench_row(&b->out, "check", "clients closed", (double)k.gone, "clients");
    bench_row(&b->out, "check", "who stopped reading was closed with", b->deaf_code, "code");
    if (exact && k.missed == 0 && k.twice == 0 && k.gone == 0 && b->deaf_code == CLOSE_SLOW)
        return 0;
    fprintf(stderr, "bench: CHECK FAILED: not every client was sent every alert once, or one was closed (code %u)\n", k.code);
    return 1;
}

/* ---- the whole ---- */

static int
open_all(bench_run *b)
{
    int rc = viewers_files(b->set->clients);

    if (rc == E_OK)
        rc = target_open(&b->t, &b->set->c.target);
    if (rc == E_OK)
        rc = stir_open(&b->s, &b->t, b->set->machines);
    return rc < 0 ? rc : load_open(&b->l, b->t.where, "bench-load@example.com", 1000, b->set->c.seed);
}

static int
run_all(bench_run *b)
{
    const settings *s = b->set;
    int             rc = load_measure(&b->l, s->seconds < 8 ? (double)s->seconds / 2 : 4);

    if (rc < 0)
        return rc;
    bench_row(&b->out, "ingest alone", "throughput", b->l.most, "readings/s");
    b->w = (viewers){ .where = b->t.where, .token = b->s.token, .clients = s->clients };
    b->began_ns = bench_now_ns();
    if ((rc = viewers_open(&b->w)) < 0)
        return rc;
    bench_row(&b->out, "connect", "clients", s->clients / seconds_since(b->began_ns), "clients/s");
    bench_row(&b->out, "connect", "server memory, PSS", target_pss_bytes(&b->t) / 1e6, "MB");
    if ((rc = phase(b, "silent", 0)) < 0 || (rc = phase(b, "calm", s->calm)) < 0)
        return rc;
    viewers_deafen(&b->w, s->deaf);
    return (rc = phase(b, "storm", s->storm)) < 0 ? rc : check(b);
}

static int
bench(const settings *s, int argc, char **argv)
{
    bench_run b = { .set = s, .out = { .to = stdout, .json = s->c.json, .bench = "ws" } };
    int       status;

    b.t.admin.fd = b.l.t.admin.fd = b.s.source.fd = -1;
    if ((status = open_all(&b)) == E_OK) {
        bench_env(&b.out, b.t.dir[0] != '\0' ? b.t.dir : NULL, b.t.dir[0] != '\0' ? "fsync" : "as the server says", b.t.topology,
                  argc, argv);
        status = run_all(&b);
    }
    if (status < 0)
        fprintf(stderr, "bench: %s\n", err_text());
    viewers_close(&b.w);
    load_close(&b.l);
    stir_close(&b.s);
    target_close(&b.t);
    return status == 0 ? 0 : 1;
}

int
bench_ws(int argc, char **argv)
{
    static const bench_usage usage = { "ws", "thousands of live viewers of one tenant beside ingest at half its maximum", true };
    settings                 s = { .c = BENCH_COMMON, .clients = 5000, .machines = 100, .seconds = 30, .deaf = 20, .calm = 40, .storm = 2000 };
    const bench_arg          own[] = {
        { "clients", "N", ARG_U32, &s.clients, "WebSockets (default 5000)", 2, 1000000, NULL },
        { "machines", "N", ARG_U32, &s.machines, "machines of their tenant, 5 metrics each (default 100)", 1, 10000, NULL },
        { "seconds", "N", ARG_U32, &s.seconds, "of each phase (default 30)", 1, 3600, NULL },
        { "calm", "N", ARG_REAL, &s.calm, "readings/s in the first phase, each to every client (default 40)", 0, 0, NULL },
        { "storm", "N", ARG_REAL, &s.storm, "readings/s in the second, conflated (default 2000)", 0, 0, NULL },
        { "deaf", "N", ARG_U32, &s.deaf, "seconds for which one client does not read: more than limits.behind_s (default 20)", 1, 3600, NULL },
        { 0 },
    };
    int status = bench_args(&usage, own, &s.c, argc, argv);

    return status >= 0 ? status : bench(&s, argc, argv);
}
