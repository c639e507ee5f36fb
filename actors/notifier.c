/* notifier.c - delivers notifications: takes what is due from the registry's outbox, sends it, says how it went.
 *
 *   registry --NOTIFY--> want more --OUTBOX_TAKE--> jobs ──▶ libcurl ──▶ outcome --OUTBOX_DONE--> registry
 *   front --DELIVER--> a test, at once ──▶ libcurl ──▶ DELIVERED
 *
 * What it has is leased from the registry in memory only: after a crash all of it is taken again, with the same ids.
 * The registry gives out at most a few deliveries of one channel at a time, so a target that hangs for its whole
 * timeout keeps a few places and no more.
 */
#include "actors/ak_loop.h"
#include "actors/kinds.h"
#include "actors/notifier_send.h"
#include "proto/err.h"
#include "proto/log.h"
#include "proto/reg_ops.h"
#include "proto/rows.h"
#include "transport/count.h"

#include <stdlib.h>

enum { JOBS_MAX = 128, TAKE_AT_ONCE = 16, BODY_MAX = 1024, STEP_BUDGET = 256 };
#define DRAIN_NS  (3ull * 1000000000)
#define WITHIN_NS (5ull * 1000000000)
#define RETRY_NS  (500ull * 1000000)

typedef enum job_state { JOB_FREE, JOB_SENDING, JOB_ENDED, JOB_TOLD } job_state;

typedef struct job {
    struct notifier *of;
    job_state        state;
    int64_t          no; /* of the outbox; 0: a test */
    ak_msg           test;
    outcome          outcome;
} job;

typedef struct notifier {
    ak      *k;
    sender  *sender;
    job      jobs[JOBS_MAX];
    uint32_t busy;
    bool     want;   /* there may be more to take */
    bool     asking;
    bool     fresh;  /* what this one's predecessor had is taken anew */
    bool     retry_set;
    bool     draining; /* no more is taken */
    uint64_t due_timer; /* 0: none */
} notifier;

/* ---- asking the registry ---- */
static bool
ask_registry(notifier *n, enum reg_op op, pack *p, void *ctx)
{
    reg_ask head = { .op = (uint16_t)op, .role = ROLE_SYSTEM };
    view    map = pack_view(p);
    uint8_t body[BODY_MAX];

    ASSERT(sizeof head + map.len <= sizeof body);
    memcpy(body, &head, sizeof head);
    memcpy(body + sizeof head, map.at, map.len);
    return ak_ask(n->k, addr_of(KIND_REGISTRY, 0), MSG_REG, body, (uint32_t)(sizeof head + map.len), WITHIN_NS, ctx) != 0;
}

static void
retry_later(notifier *n)
{
    if (!n->retry_set)
        (void)ak_timer(n->k, RETRY_NS, &n->retry_set);
    n->retry_set = true;
}

static void
ask_for_more(notifier *n)
{
    uint32_t room = JOBS_MAX - n->busy;
    pack     p;

    if (!n->want || n->asking || n->draining || room < TAKE_AT_ONCE)
        return;
    pack_init(&p);
    pack_map(&p, 2);
    pack_name_int(&p, "max", TAKE_AT_ONCE);
    pack_name_bool(&p, "fresh", n->fresh);
    n->asking = ask_registry(n, REG_OUTBOX_TAKE, &p, &n->want);
    pack_fini(&p);
    if (n->asking)
        n->want = false;
    else
        retry_later(n);
}

static bool
tell_end(notifier *n, job *j)
{
    pack p;
    bool asked;

    pack_init(&p);
    pack_map(&p, 4);
    pack_name_int(&p, "no", j->no);
    pack_name_bool(&p, "ok", j->outcome.ok);
    pack_name_int(&p, "http_status", j->outcome.http_status);
    pack_name_str(&p, "error", view_str(j->outcome.error));
    asked = ask_registry(n, REG_OUTBOX_DONE, &p, j);
    pack_fini(&p);
    if (asked)
        j->state = JOB_TOLD;
    return asked;
}

static void
go_on(notifier *n)
{
    if (n->retry_set)
        return; /* its timer goes on */
    for (uint32_t i = 0; i < JOBS_MAX; i++)
        if (n->jobs[i].state == JOB_ENDED && !tell_end(n, &n->jobs[i])) {
            retry_later(n);
            return;
        }
    ask_for_more(n);
}

/* ---- jobs ---- */
static job *
job_new(notifier *n)
{
    for (uint32_t i = 0; i < JOBS_MAX; i++)
        if (n->jobs[i].state == JOB_FREE) {
            n->busy++;
            n->jobs[i] = (job){ .of = n, .state = JOB_SENDING };
            return &n->jobs[i];
        }
    return NULL;
}

static void
job_free(notifier *n, job *j)
{
    j->state = JOB_FREE;
    n->busy--;
}

static void
answer_test(notifier *n, job *j)
{
    pack p;
    view v;

    pack_init(&p);
    pack_map(&p, 3);
    pack_name_bool(&p, "ok", j->outcome.ok);
    pack_name_int(&p, "http_status", j->outcome.http_status);
    pack_name_str(&p, "error", view_str(j->outcome.error));
    v = pack_view(&p);
    ak_reply(n->k, &j->test, MSG_DELIVERED, v.at, (uint32_t)v.len);
    pack_fini(&p);
    job_free(n, j);
}

static void
ended(void *arg, void *ctx, const outcome *o)
{
    notifier *n = arg;
    job      *j = ctx;

    j->outcome = *o;
    j->state = JOB_ENDED;
    count_add(ak_counters(n->k), o->ok ? COUNT_NOTIFIED : COUNT_NOTIFY_FAILED, 1);
    if (j->no == 0)
        answer_test(n, j);
}

/* Borrowed from the map. */
static bool
read_delivery(const msgpack_object *map, delivery *d, int64_t *no)
{
    view secret;

    if (map->type != MSGPACK_OBJECT_MAP || !pack_get_int(map, "no", no) || !pack_get_str(map, "id", &d->id) ||
        !pack_get_str(map, "event", &d->event) || !pack_get_int(map, "type", &d->type) ||
        !pack_get_str(map, "target", &d->target) || !pack_get_str(map, "body", &d->body) ||
        !pack_get_bin(map, "secret", &secret) || secret.len != sizeof d->secret)
        return false;
    memcpy(d->secret, secret.at, secret.len);
    d->headers = pack_get(map, "headers");
    return true;
}

static void
start(notifier *n, job *j, delivery *d)
{
    outcome     o = { .ok = false };
    const char *why;

    d->wall_us = ak_wall_us(n->k);
    why = sender_start(n->sender, ak_options(n->k), d, j);
    if (why == NULL)
        return;
    (void)snprintf(o.error, sizeof o.error, "%s", why);
    ended(n, j, &o);
}

static bool
has_it(const notifier *n, int64_t no)
{
    for (uint32_t i = 0; i < JOBS_MAX; i++)
        if (n->jobs[i].state != JOB_FREE && n->jobs[i].no == no)
            return true;
    return false;
}

/* A registry that was started anew gives out again what is under way here. */
static void
take(notifier *n, const msgpack_object *item)
{
    delivery d = { 0 };
    int64_t  no = 0;
    job     *j;

    if (!read_delivery(item, &d, &no) || no <= 0 || has_it(n, no) || (j = job_new(n)) == NULL)
        return;
    j->no = no;
    start(n, j, &d);
}

static void
wait_until(notifier *n, int64_t next_us)
{
    int64_t wait_us = next_us - ak_wall_us(n->k);

    if (n->due_timer != 0)
        ak_timer_cancel(n->k, n->due_timer);
    wait_us = wait_us < 1000 ? 1000 : wait_us > 60000000 ? 60000000 : wait_us; /* the wall clock may be set meanwhile */
    n->due_timer = ak_timer(n->k, (uint64_t)wait_us * 1000, &n->due_timer);
}

/* ---- messages ---- */
static uint16_t
read_answer(const ak_msg *m, view *value)
{
    reg_done head;

    if (m->type != MSG_REG_DONE || m->len < sizeof head)
        return 0;
    memcpy(&head, m->body, sizeof head);
    *value = view_of((const uint8_t *)m->body + sizeof head, m->len - sizeof head);
    return head.status;
}

static void
taken(notifier *n, const ak_msg *m)
{
    view     value;
    pack_doc doc;
    int64_t  next_us = 0;

    n->asking = false;
    if (read_answer(m, &value) != 200 || pack_open(&doc, value) < 0) {
        err_clear();
        n->want = true;
        retry_later(n);
        return;
    }
    const msgpack_object *list = pack_get(pack_root(&doc), "deliveries");
    n->fresh = false;
    if (list != NULL && list->type == MSGPACK_OBJECT_ARRAY) {
        for (uint32_t i = 0; i < list->via.array.size; i++)
            take(n, &list->via.array.ptr[i]);
        n->want = n->want || list->via.array.size > 0;
    }
    if (pack_get_int(pack_root(&doc), "next_us", &next_us))
        wait_until(n, next_us);
    pack_doc_close(&doc);
}

static void
told(notifier *n, job *j, const ak_msg *m)
{
    view     value;
    uint16_t status = read_answer(m, &value);

    if (status == 0 || status >= 500) {
        j->state = JOB_ENDED;
        retry_later(n);
        return;
    }
    job_free(n, j);
    n->want = true; /* its channel may have more */
}

static ak_verdict
on_answer(ak *k, void *self, const ak_msg *m)
{
    notifier *n = self;

    (void)k;
    if (m->ctx == &n->want)
        taken(n, m);
    else if (m->ctx != NULL)
        told(n, m->ctx, m);
    go_on(n);
    return AK_DONE;
}

static ak_verdict
on_notify(ak *k, void *self, const ak_msg *m)
{
    notifier *n = self;

    (void)k;
    (void)m;
    n->want = true;
    go_on(n);
    return AK_DONE;
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    notifier *n = self;

    (void)k;
    if (m->ctx == &n->retry_set)
        n->retry_set = false;
    if (m->ctx == &n->due_timer) {
        n->due_timer = 0;
        n->want = true;
    }
    go_on(n);
    return AK_DONE;
}

static ak_verdict
on_deliver(ak *k, void *self, const ak_msg *m)
{
    notifier *n = self;
    delivery  d = { 0 };
    int64_t   no;
    pack_doc  doc;
    job      *j;

    if (pack_open(&doc, view_of(m->body, m->len)) < 0)
        return AK_BAD;
    if (!read_delivery(pack_root(&doc), &d, &no)) {
        pack_doc_close(&doc);
        return AK_BAD;
    }
    j = job_new(n);
    if (j == NULL) {
        ak_fail(k, m, E_LIMIT);
    } else {
        j->test = *m;
        start(n, j, &d);
    }
    pack_doc_close(&doc);
    return AK_DONE;
}

/* ---- life ---- */
static void
turn(notifier *n)
{
    int      fds[AK_FDS_MAX];
    uint64_t wait;

    ak_step(n->k, STEP_BUDGET);
    sender_step(n->sender, ended, n);
    go_on(n);
    ak_publish(n->k);
    wait = ak_park(n->k);
    sender_wait(n->sender, fds, ak_fds(n->k, fds), wait);
    ak_unpark(n->k);
}

/* What is under way is ended and told, for a while: what is not, goes again after the next start. */
static int
run(ak *k, void *self)
{
    notifier *n = self;
    uint64_t  until;

    while (!ak_stopping(k))
        turn(n);
    n->draining = true;
    for (until = ak_now_ns(k) + DRAIN_NS; n->busy > 0 && ak_now_ns(k) < until;)
        turn(n);
    return E_OK;
}

static int
init(ak *k, void *self)
{
    notifier *n = self;

    n->k = k;
    n->want = n->fresh = true;
    return sender_open(&n->sender);
}

static void
stop(ak *k, void *self)
{
    notifier *n = self;

    (void)k;
    sender_close(&n->sender);
}

static const ak_on on[] = {
    { MSG_NOTIFY, AK_READ, on_notify },   { MSG_DELIVER, AK_READ, on_deliver }, { MSG_REG_DONE, AK_READ, on_answer },
    { MSG_FAIL, AK_READ, on_answer },     { MSG_LATE, AK_READ, on_answer },     { MSG_TIMER, AK_READ, on_timer },
    { 0 },
};

const ak_kind notifier_kind = {
    .name = "notifier",
    .self_size = sizeof(notifier),
    .number = KIND_NOTIFIER,
    .on = on,
    .init = init,
    .stop = stop,
    .run = run,
};
