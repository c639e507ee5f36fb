/* ops.c - /healthz, /readyz, /metrics: what an operator and a scraper look at. */
#include "api/metrics.h"
#include "api/front.h"
#include "proto/err.h"

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

typedef struct metrics_job {
    help     h;
    ak      *k;
    uint32_t connections;
    char    *text;
    size_t   len;
} metrics_job;

static void
write_metrics(help *h)
{
    metrics_job *job = (metrics_job *)(void *)h;

    job->len = metrics_write(job->k, job->connections, &job->text);
}

static void
have_metrics(help *h, bool wanted)
{
    metrics_job *job = (metrics_job *)(void *)h;

    if (wanted)
        call_send_text(h->c, 200, "text/plain; version=0.0.4; charset=utf-8", view_of(job->text, job->len));
    free(job->text);
    free(job);
}

static void
get_metrics(call *c)
{
    metrics_job *job = malloc(sizeof *job);

    ASSERT(job != NULL);
    *job = (metrics_job){ .h = { c, write_metrics, have_metrics }, .k = c->f->k, .connections = http_connections(c->f->http) };
    if (!call_help(&job->h))
        free(job);
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
