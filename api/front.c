/* front.c - the front actor: H2O's event loop around ak_step().
 *
 *   turn:  ak_step -> slices of long bodies -> park -> H2O (poll, read, handlers, write) -> unpark
 *
 * Handlers stage asks while H2O runs; the next ak_step publishes them.  Replies arrive in ak_step
 * and write to sockets at once; H2O learns of the write's end in the turn that follows, which
 * therefore does not sleep.
 */
#include "api/front.h"

#include "actors/ak_loop.h"
#include "actors/ak_node.h"
#include "actors/kinds.h"
#include "api/describe.h"
#include "api/inflate.h"
#include "proto/err.h"
#include "proto/log.h"

#include <malloc.h>
#include <stdlib.h>

enum { STEP_BUDGET = 8, STEP_NS = 200000, DRAIN_MS = 5000, MAPPED_FROM = 4 << 20, TRIMMED_FROM = 128 << 20 };
#define NS_PER_MS UINT64_C(1000000)
#define TICK_NS   (1000 * NS_PER_MS)
#define JSON_MAX  (256u << 20)

static void
on_tick(front *f)
{
    static front_timer tick = { on_tick };

    if (secrets_look(&f->secrets, &f->secrets_seen, ak_data_dir(f->k)) < 0) {
        log_error("secrets.not_read", "reason=%s", log_quote(view_str(err_text())));
        err_clear();
    }

    ws_tick(f->ws);
    usage_tick(f->usage, f->k);
    (void)ak_timer(f->k, TICK_NS, &tick);
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    front_timer *t = m->ctx;

    (void)k;
    t->fn(self);
    return AK_DONE;
}

static ak_verdict
on_reply(ak *k, void *self, const ak_msg *m)
{
    (void)k;
    if (!ws_on_reply(((front *)self)->ws, m))
        call_on_reply(self, m);
    return AK_DONE;
}

static ak_verdict
on_feed(ak *k, void *self, const ak_msg *m)
{
    (void)k;
    ws_on_feed(((front *)self)->ws, m);
    return AK_DONE;
}

static ak_verdict
on_event(ak *k, void *self, const ak_msg *m)
{
    (void)k;
    ws_on_event(((front *)self)->ws, m);
    return AK_DONE;
}

static void
on_request(void *ctx, exchange *x)
{
    call_begin(ctx, x);
}

static int
flush(ak *k, void *self)
{
    (void)k;
    (void)self;
    return E_OK; /* nothing of a front outlives it */
}

/* NULL: plain HTTP. */
static const char *
cert_of(const options *o)
{
    return o->tls_cert != NULL && o->tls_cert[0] != '\0' ? o->tls_cert : NULL;
}

static int
open_http(front *f)
{
    http_config config = {
        .cert = cert_of(f->options),
        .key = f->options->tls_key,
        .http2 = f->options->http_http2,
        .listener = ak_listen_fd(f->k),
        .connections = (uint32_t)f->options->limits_connections,
        .request_timeout_ms = f->options->http_request_timeout_s * 1000,
        .body_bytes = f->options->limits_body_bytes,
        .bodies_bytes = f->options->limits_bodies_mb << 20,
        .ctx = f,
        .on_request = on_request,
    };

    return http_open(&f->http, &config);
}

static int
init(ak *k, void *self)
{
    front *f = self;
    int    rc;

    /* What is freed is mostly needed again: fresh pages, and giving them back, cost more than what is done in them. */
    (void)mallopt(M_MMAP_THRESHOLD, MAPPED_FROM);
    (void)mallopt(M_TRIM_THRESHOLD, TRIMMED_FROM);
    f->k = k;
    f->options = ak_options(k);
    f->board = ak_board(k);
    f->counters = ak_counters(k);
    f->number = addr_part(ak_self(k));
    f->json.max = JSON_MAX;
    f->postponed_tail = &f->postponed;
    if ((rc = routes_build()) < 0)
        return err(rc, "routes");
    if ((rc = describe_build()) < 0)
        return err(rc, "API description");
    if ((rc = secrets_load(&f->secrets, ak_data_dir(k))) < 0 ||
        (rc = secrets_look(&f->secrets, &f->secrets_seen, ak_data_dir(k))) < 0)
        return err(rc, "secrets");
    if ((rc = limits_open(&f->limits, ak_run_dir(k))) < 0)
        return err(rc, "rate limits");
    f->usage = usage_new();
    f->fleet = fleet_new();
    f->ws = ws_new(f);
    f->jobs = ingest_new(f);
    if (f->usage == NULL || f->fleet == NULL || f->ws == NULL || f->jobs == NULL)
        return err(E_NOMEM, "front");
    if ((rc = open_http(f)) < 0)
        return rc;
    if (f->number == 0 && cert_of(f->options) == NULL && !ak_is_loopback(k))
        log_warn("http.no_tls", "listen=%s hint=%s", log_quote(view_str(f->options->server_listen)),
                 log_quote(VIEW_LIT("passwords and keys can be read on the way; see tls.cert")));
    on_tick(f);
    return E_OK;
}

static int
watch_kernel(front *f)
{
    int      fds[AK_FDS_MAX];
    uint32_t n = ak_fds(f->k, fds);
    int      rc = E_OK;

    for (uint32_t i = 0; i < n && rc == E_OK; i++)
        rc = http_watch(f->http, fds[i]);
    return rc;
}

/* SIGHUP puts other settings there; certificates are read again though their names are the same. */
static void
take_options(front *f)
{
    const options *o = ak_options(f->k);

    if (o == f->options)
        return;
    if ((cert_of(o) == NULL) != (cert_of(f->options) == NULL)) {
        log_warn("tls.need_restart", "tls=%s", cert_of(o) == NULL ? "off" : "on");
    } else if (cert_of(o) != NULL && http_load_tls(f->http, o->tls_cert, o->tls_key) < 0) {
        log_error("tls.not_reloaded", "reason=%s", log_quote(view_str(err_text())));
        err_clear();
    } else if (cert_of(o) != NULL) {
        log_info("tls.reloaded", "cert=%s", log_quote(view_str(o->tls_cert)));
    }
    f->options = o;
}

/* Replies become answers here, a part of a long one takes 200 us: by time, then, not by number. */
static void
step(front *f)
{
    uint64_t until = front_now_ns() + STEP_NS;

    while (ak_step(f->k, STEP_BUDGET) >= STEP_BUDGET && front_now_ns() < until)
        ;
}

static void
turn(front *f)
{
    bool     busy;
    uint64_t wait = 0;

    step(f);
    take_options(f);
    call_retry_asks(f);
    busy = ingest_turn(f->jobs);
    busy = fleet_turn(f->fleet) || busy;
    busy = rule_test_turn(f) || busy;
    busy = inflate_turn(f) || busy;
    if (busy) /* answers that came meanwhile need not wait for what comes now */
        step(f);
    ws_turn(f->ws);
    busy = busy || http_is_touched(f->http);
    if (!busy)
        wait = ak_park(f->k);
    http_turn(f->http, wait);
    hist_add(f->counters, HIST_TURN, http_turn_cpu_ns(f->http));
    if (!busy)
        ak_unpark(f->k);
}

/* Requests under way are answered, new ones are not taken; then everything is let go. */
static void
drain(front *f)
{
    uint64_t until = front_now_ns() + DRAIN_MS * NS_PER_MS;

    http_stop_accepting(f->http);
    while (f->calls_under_way > 0 && front_now_ns() < until)
        turn(f);
    f->stopping = true;
    call_end_all(f);
    ws_close_all(f->ws);
    turn(f);
}

static int
run(ak *k, void *self)
{
    front *f = self;
    int    rc = watch_kernel(f);

    if (rc < 0)
        return err(rc, "kernel's descriptors");
    while (!ak_stopping(k))
        turn(f);
    drain(f);
    return E_OK;
}

static void
stop(ak *k, void *self)
{
    front *f = self;

    (void)k;
    ws_free(f->ws);
    http_close(&f->http);
    ingest_free(f->jobs);
    call_release_all(f);
    fleet_free(f->fleet);
    usage_free(f->usage);
    limits_close(&f->limits);
    json_out_free(&f->json);
    json_out_free(&f->faults);
}

static const ak_on on[] = {
    { MSG_STORED, AK_READ, on_reply },
    { MSG_RESULT, AK_READ, on_reply },
    { MSG_REG_DONE, AK_READ, on_reply },
    { MSG_WORK_DONE, AK_READ, on_reply },
    { MSG_PROBED, AK_READ, on_reply },
    { MSG_RETAINED, AK_READ, on_reply },
    { MSG_DELIVERED, AK_READ, on_reply },
    { MSG_FAIL, AK_READ, on_reply },
    { MSG_LATE, AK_READ, on_reply },
    { MSG_TIMER, AK_READ, on_timer },
    { MSG_FEED, AK_READ, on_feed },
    { MSG_EVENT, AK_READ, on_event },
    { 0, 0, NULL },
};

const ak_kind front_kind = {
    .name = "front",
    .self_size = sizeof(front),
    .number = KIND_FRONT,
    .helpers = 1,
    .on = on,
    .init = init,
    .flush = flush,
    .stop = stop,
    .run = run,
};
