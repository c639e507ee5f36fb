/* kernel_message.c - what the kernel costs a message that has no body and a handler that does nothing.
 *
 * Two actors stepped by hand in one thread, so that nothing is waited for: one step sends 256 notes,
 * the other's step handles them.  The rounds are short (some microseconds), and the middle one is told,
 * so a busy machine shows little in it.  Once with the kernel's counters and histograms, once without.
 * message/ask: one ask and its answer, in three steps: what an ask takes besides its two ways between the cores.
 */
#include "bench/kernel_node.h"

#include "proto/err.h"

#include <stdlib.h>

enum { NOTES = 256, ROUNDS_MAX = 1 << 16 };

static const addr far_addr = (uint64_t)KIND_INGEST << 32;

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    (void)m;
    for (int i = 0; i < NOTES; i++)
        *(uint64_t *)self += ak_send(k, far_addr, MSG_PROBE, NULL, 0) != E_OK;
    (void)ak_timer(k, 1, NULL); /* the next step */
    return AK_DONE;
}

static int
start(ak *k, void *self)
{
    (void)self;
    (void)ak_timer(k, 1, NULL); /* the next step */
    return E_OK;
}

static ak_verdict
on_probe(ak *k, void *self, const ak_msg *m)
{
    (void)k, (void)m;
    ++*(uint64_t *)self;
    return AK_DONE;
}

static const ak_on   sender_on[] = { { MSG_TIMER, AK_READ, on_timer }, { 0 } };
static const ak_kind sender_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = 8, .on = sender_on, .init = start
};
static const ak_on   taker_on[] = { { MSG_PROBE, 0, on_probe }, { 0 } };
static const ak_kind taker_kind = {
    .name = "ingest", .number = KIND_INGEST, .self_size = 8, .on = taker_on
};

/* ---- an ask, in three steps ---- */

static ak_verdict
on_ask_timer(ak *k, void *self, const ak_msg *m)
{
    (void)m;
    *(uint64_t *)self += ak_ask(k, far_addr, MSG_PROBE, NULL, 0, UINT64_C(10000000000), NULL) == 0;
    return AK_DONE;
}

static ak_verdict
on_answer(ak *k, void *self, const ak_msg *m)
{
    *(uint64_t *)self += m->type != MSG_PROBED;
    (void)ak_timer(k, 1, NULL); /* the next step */
    return AK_DONE;
}

static ak_verdict
on_asked(ak *k, void *self, const ak_msg *m)
{
    (void)self;
    ak_reply(k, m, MSG_PROBED, (const int32_t[1]){ 0 }, 4);
    return AK_DONE;
}

static const ak_on   asker_on[] = { { MSG_TIMER, AK_READ, on_ask_timer },
                                    { MSG_PROBED, AK_READ, on_answer },
                                    { MSG_FAIL, AK_READ, on_answer },
                                    { MSG_LATE, AK_READ, on_answer },
                                    { 0 } };
static const ak_kind asker_kind = {
    .name = "front", .number = KIND_FRONT, .self_size = 8, .on = asker_on, .init = start
};
static const ak_on   asked_on[] = { { MSG_PROBE, AK_READ, on_asked }, { 0 } };
static const ak_kind asked_kind = {
    .name = "ingest", .number = KIND_INGEST, .self_size = 8, .on = asked_on
};

typedef struct times {
    uint64_t *send;
    uint64_t *handle;
    uint64_t *both;
    size_t    count;
} times;

static bool
measure(const kernel_bench *b, ak *sender, ak *taker, times *t)
{
    uint64_t until = bench_now_ns() + (uint64_t)(b->seconds * 1e9);
    uint64_t from = bench_now_ns();

    for (t->count = 0; t->count < ROUNDS_MAX && from < until; t->count++) {
        uint64_t sent;
        uint64_t handled;

        (void)ak_step(sender, 1024);
        sent = bench_now_ns();
        if (ak_step(taker, 1024) != NOTES)
            return false;
        handled = bench_now_ns();
        t->send[t->count] = sent - from;
        t->handle[t->count] = handled - sent;
        t->both[t->count] = handled - from;
        from = handled;
    }
    return *(uint64_t *)sender->self == 0;
}

static bool
measure_asks(const kernel_bench *b, ak *asker, ak *asked, times *t)
{
    uint64_t until = bench_now_ns() + (uint64_t)(b->seconds * 1e9);
    uint64_t from = bench_now_ns();

    for (t->count = 0; t->count < ROUNDS_MAX && from < until; t->count++) {
        uint64_t now;

        if (ak_step(asker, 64) != 1 || ak_step(asked, 64) != 1 || ak_step(asker, 64) != 1)
            return false;
        now = bench_now_ns();
        t->both[t->count] = now - from;
        from = now;
    }
    return *(uint64_t *)asker->self == 0;
}

static void
row(const kernel_bench *b, const char *name, const char *metric, uint64_t *ns, size_t count)
{
    bench_sort(ns, count);
    bench_row(&b->out, name, metric, (double)bench_quantile(ns, count, 0.5) / NOTES, "ns");
}

static bool
open_pair(node *n, ak **near, const ak_kind *near_kind, ak **far, const ak_kind *far_kind)
{
    return kernel_node_context(n) >= 0 && kernel_node_actor(n, near, near_kind) >= 0 &&
           kernel_node_actor(n, far, far_kind) >= 0;
}

static bool
run_asks(const kernel_bench *b, const char *name, times *t)
{
    node_form form = { .carrier = CARRIER_RING };
    node     *n;
    ak       *asker = NULL;
    ak       *asked = NULL;
    bool      ok = kernel_node_open(&n, b, &form) >= 0 &&
              open_pair(n, &asker, &asker_kind, &asked, &asked_kind) && measure_asks(b, asker, asked, t);

    if (ok)
        kernel_times(b, name, t->both, t->count);
    else
        (void)fprintf(stderr, "bench: %s: %s\n", name, err_text());
    ak_close(&asker);
    ak_close(&asked);
    kernel_node_close(&n);
    return ok;
}

static bool
run(const kernel_bench *b, const char *name, bool counted, times *t)
{
    node_form form = { .carrier = CARRIER_RING };
    node     *n;
    ak       *sender = NULL;
    ak       *taker = NULL;
    bool      ok = false;

    if (kernel_node_open(&n, b, &form) >= 0 &&
        open_pair(n, &sender, &sender_kind, &taker, &taker_kind)) {
        sender->uncounted = taker->uncounted = !counted;
        ok = measure(b, sender, taker, t);
    }
    if (!ok)
        (void)fprintf(stderr, "bench: %s: %s\n", name, err_text());
    ak_close(&sender);
    ak_close(&taker);
    kernel_node_close(&n);
    if (ok) {
        row(b, name, "send", t->send, t->count);
        row(b, name, "handle", t->handle, t->count);
        row(b, name, "both", t->both, t->count);
    }
    return ok;
}

int
kernel_messages(const kernel_bench *b)
{
    times t = { .send = malloc(ROUNDS_MAX * sizeof *t.send),
                .handle = malloc(ROUNDS_MAX * sizeof *t.handle),
                .both = malloc(ROUNDS_MAX * sizeof *t.both) };
    int   failed = 0;

    ASSERT(t.send != NULL && t.handle != NULL && t.both != NULL);
    if (kernel_wants(b, "message/counted"))
        failed += !run(b, "message/counted", true, &t);
    if (kernel_wants(b, "message/uncounted"))
        failed += !run(b, "message/uncounted", false, &t);
    if (kernel_wants(b, "message/ask"))
        failed += !run_asks(b, "message/ask", &t);
    free(t.send);
    free(t.handle);
    free(t.both);
    return failed;
}
