/* registry.c - the registry actor: the single writer of tenants, users, keys, machines, rules, alerts and the audit.
 *
 *   MSG_REG ─▶ operation (memory, staged in the store) ─▶ flush(): one synced commit ─▶ board ─▶ events ─▶ replies
 *
 * A fact is durable and on the board of every front when the answer that reports it leaves.  The commit also says
 * how far each lane was applied, so a write that comes again after a crash is not done twice; its asker is told to
 * ask again (the answer cannot be made again: keys and tokens are not kept).  When the store cannot be written,
 * everything staged since the last commit is refused and forgotten, and the registry goes on with what is on the disk.
 */
#include "actors/ak_loop.h"
#include "actors/ak_node.h"
#include "actors/kinds.h"
#include "actors/options.h"
#include "actors/registry_control.h"
#include "actors/registry_internal.h"
#include "proto/err.h"
#include "proto/log.h"

#include <inttypes.h>
#include <stdlib.h>

enum { MARKS_MAX = 256, SWEEP_NS_S = 60, SECRETS_US = 1000000 };

/* An answer that waits for the commit. */
typedef struct waiting {
    ak_msg   m; /* body is not looked at any longer */
    uint16_t status;
    bool     is_probe;
    pack     out; /* reg_done's room first */
} waiting;

typedef struct mark {
    addr     from;
    uint64_t pos;
    bool     dirty;
} mark;

typedef struct actor {
    registry  r;
    ak       *k;
    reg_control *control;
    waiting  *waiting;
    uint32_t  waiting_count;
    uint32_t  waiting_room;
    mark      marks[MARKS_MAX];
    uint32_t  mark_count;
    uint64_t  tried_ns; /* when recovery was tried last */
    uint64_t  wake_timer; /* for what time brings next; 0: nothing */
    int64_t   wake_us;
    secrets_stamp secrets_seen;
    int64_t   secrets_us; /* when it looked at them */
    bool      broken; /* neither written nor read again: the supervisor's turn */
    uint8_t   body[REG_REPLY_MAX]; /* a copy: the peer may still write into the lane */
} actor;

/* ---- how far each lane was applied ---- */
static void
mark_key(addr from, uint8_t key[12])
{
    memcpy(key, "mark", 4);
    store_be64(key + 4, from);
}

static mark *
mark_of(actor *a, addr from)
{
    uint8_t  key[12];
    uint8_t *value = NULL;
    size_t   len = 0;

    for (uint32_t i = 0; i < a->mark_count; i++)
        if (a->marks[i].from == from)
            return &a->marks[i];
    ASSERT(a->mark_count < MARKS_MAX);
    mark *m = &a->marks[a->mark_count++];
    *m = (mark){ .from = from };
    mark_key(from, key);
    int rc = regstore_get(a->r.store, REG_META, view_of(key, sizeof key), &value, &len);
    if (rc == E_OK && len == 24 && memcmp(value, ak_generation(a->k), 16) == 0)
        m->pos = load_u64(value + 16);
    if (rc == E_OK)
        regstore_free(value);
    return m;
}

static void
store_marks(actor *a)
{
    for (uint32_t i = 0; i < a->mark_count; i++) {
        mark   *m = &a->marks[i];
        uint8_t key[12];
        uint8_t value[24];

        if (!m->dirty)
            continue;
        m->dirty = false;
        mark_key(m->from, key);
        memcpy(value, ak_generation(a->k), 16);
        memcpy(value + 16, &m->pos, 8);
        regstore_put(a->r.store, REG_META, view_of(key, sizeof key), view_of(value, sizeof value));
    }
}

/* ---- the commit ---- */
static void
send_event(actor *a, const reg_event *e)
{
    uint8_t  body[sizeof(event_head) + REG_EVENT_MAX];
    uint16_t fronts = ak_parts(a->k, KIND_FRONT);

    memcpy(body, &e->head, sizeof e->head);
    memcpy(body + sizeof e->head, e->text, e->len);
    for (uint16_t i = 0; i < fronts; i++)
        /* A shedding edge: a front that is behind finds the gap by the number. */
        if (ak_send(a->k, addr_of(KIND_FRONT, i), MSG_EVENT, body, (uint32_t)sizeof e->head + e->len) < 0)
            err_clear();
}

/* A shedding edge: a notifier whose lane is full has notes to hear already. */
static void
ring_notifier(actor *a)
{
    if (!a->r.outbox_rang || ak_parts(a->k, KIND_NOTIFIER) == 0)
        return;
    a->r.outbox_rang = false;
    if (ak_send(a->k, addr_of(KIND_NOTIFIER, 0), MSG_NOTIFY, NULL, 0) < 0)
        err_clear();
}

static void
answer(actor *a, waiting *w, int rc)
{
    if (w->is_probe) {
        int32_t verdict = rc;
        ak_reply(a->k, &w->m, MSG_PROBED, &verdict, sizeof verdict);
        return;
    }
    if (rc < 0) {
        w->status = rc == E_NOSPACE ? 507 : 503;
        pack_reset(&w->out);
        pack_str(&w->out, rc == E_NOSPACE ? VIEW_LIT("Storage is full.") : VIEW_LIT("The registry cannot write; retry."));
    }
    reg_done head = { .status = w->status };
    view     value = pack_view(&w->out);
    ASSERT(sizeof head + value.len <= REG_REPLY_MAX);
    memcpy(a->body, &head, sizeof head);
    memcpy(a->body + sizeof head, value.at, value.len);
    ak_reply(a->k, &w->m, MSG_REG_DONE, a->body, (uint32_t)(sizeof head + value.len));
}

/* What time brings, now and by a timer.  At most a minute ahead: the wall clock may be set meanwhile. */
static void
plan_wake(actor *a)
{
    enum { LOOK_US = 60 * 1000000 };
    int64_t next_us = reg_turn(&a->r);

    if (next_us == a->wake_us && a->wake_timer != 0)
        return;
    if (a->wake_timer != 0)
        ak_timer_cancel(a->k, a->wake_timer);
    a->wake_timer = 0;
    a->wake_us = next_us;
    if (next_us == INT64_MAX)
        return;
    int64_t wait_us = next_us <= a->r.now_us ? 0 : next_us - a->r.now_us < LOOK_US ? next_us - a->r.now_us : LOOK_US;
    a->wake_timer = ak_timer(a->k, (uint64_t)wait_us * 1000, &a->wake_us);
}

/* Commits, then lets the world see it.  Negative: nothing of it was done, and every asker was told. */
static int
settle(actor *a)
{
    if (!a->broken)
        plan_wake(a);
    if (a->r.wrote && !a->broken)
        store_marks(a);
    ak_io_begin(a->k);
    int rc = a->broken ? E_IO : reg_commit(&a->r);
    if (rc < 0 && !a->broken) {
        log_error("registry.commit", "error=%s", log_quote(view_str(err_text())));
        err_clear();
        a->mark_count = 0;
        a->broken = reg_reload(&a->r) < 0;
    }
    ak_io_end(a->k);
    for (uint32_t i = 0; i < a->r.event_count; i++)
        send_event(a, &a->r.events[i]);
    reg_drop_events(&a->r);
    ring_notifier(a);
    for (uint32_t i = 0; i < a->waiting_count; i++) {
        answer(a, &a->waiting[i], rc);
        pack_fini(&a->waiting[i].out);
    }
    a->waiting_count = 0;
    return rc;
}

static int
registry_flush(ak *k, void *self)
{
    actor *a = self;

    (void)k;
    (void)settle(a);
    return a->broken ? err(E_IO, "registry") : E_OK;
}

/* ---- asks ---- */
/* After a failed commit: tries now and then whether the store can be written again. */
static void
recover(actor *a)
{
    enum { TRY_NS = 500000000 };
    uint64_t now_ns = ak_now_ns(a->k);

    if (!a->r.suspect || a->waiting_count > 0 || now_ns - a->tried_ns < TRY_NS)
        return;
    a->tried_ns = now_ns;
    ak_io_begin(a->k);
    int rc = reg_recover(&a->r);
    ak_io_end(a->k);
    a->broken = a->r.store == NULL;
    if (rc == E_OK) {
        a->mark_count = 0;
        log_info("registry.recovered", "machines=%u", a->r.machines.count);
    }
    err_clear();
}

/* Once a second: the signing secret may have been exchanged. */
static void
look_at_secrets(actor *a)
{
    if (a->r.now_us - a->secrets_us < SECRETS_US && a->r.now_us >= a->secrets_us)
        return;
    a->secrets_us = a->r.now_us;
    if (secrets_look(&a->r.secrets, &a->secrets_seen, ak_data_dir(a->k)) == E_OK)
        return;
    log_error("secrets.not_read", "reason=%s", log_quote(view_str(err_text())));
    err_clear();
}

static void
look_around(actor *a)
{
    const options *o = ak_options(a->k);
    bool           open = o->auth_registration == REGISTRATION_OPEN ||
                (o->auth_registration == REGISTRATION_AUTO && ak_is_loopback(a->k));

    a->r.now_us = ak_wall_us(a->k);
    look_at_secrets(a);
    a->r.registration_open = open;
    a->r.registration_first = o->auth_registration != REGISTRATION_CLOSED;
    a->r.caps.machines = (uint32_t)o->limits_machines_per_tenant;
    a->r.caps.users = (uint32_t)o->limits_users_per_tenant;
    a->r.caps.keys = (uint32_t)o->limits_keys_per_tenant;
    a->r.caps.rules = (uint32_t)o->limits_rules_per_tenant;
    a->r.caps.channels = (uint32_t)o->limits_channels_per_tenant;
    a->r.access_s = (uint32_t)o->auth_access_token_s;
    a->r.refresh_s = (uint32_t)o->auth_refresh_token_s;
    a->r.storm_alerts = (uint32_t)o->notify_storm_alerts;
}

static waiting *
wait_for_commit(actor *a, const ak_msg *m)
{
    if (a->waiting_count == a->waiting_room) {
        a->waiting_room = a->waiting_room == 0 ? 64 : a->waiting_room * 2;
        a->waiting = realloc(a->waiting, a->waiting_room * sizeof *a->waiting);
        ASSERT(a->waiting != NULL);
    }
    waiting *w = &a->waiting[a->waiting_count++];
    *w = (waiting){ .m = *m };
    return w;
}

static ak_verdict
on_reg(ak *k, void *self, const ak_msg *m)
{
    actor  *a = self;
    reg_ask ask;

    if (m->len < sizeof ask || m->len > sizeof a->body)
        return AK_BAD;
    memcpy(a->body, m->body, m->len);
    memcpy(&ask, a->body, sizeof ask);
    const reg_op_row *row = reg_op_row_of(ask.op);
    if (row == NULL)
        return AK_BAD;
    recover(a);
    if (a->broken) {
        ak_fail(k, m, E_IO);
        return AK_DONE;
    }
    mark *applied = mark_of(a, m->from);
    if (row->writes && m->pos_end <= applied->pos) {
        ak_fail(k, m, E_AGAIN);
        return AK_DONE;
    }
    look_around(a);
    waiting *w = wait_for_commit(a, m);
    pack_init(&w->out);
    ak_io_begin(k); /* it may read the store */
    w->status = reg_run(&a->r, &ask, view_of(a->body + sizeof ask, m->len - sizeof ask), &w->out);
    ak_io_end(k);
    if (row->writes) {
        applied->pos = m->pos_end;
        applied->dirty = true;
    }
    return AK_DONE;
}

/* Does a durable write work now? */
static ak_verdict
on_probe(ak *k, void *self, const ak_msg *m)
{
    actor *a = self;

    recover(a);
    if (a->broken) {
        ak_fail(k, m, E_IO);
        return AK_DONE;
    }
    a->r.now_us = ak_wall_us(k);
    reg_note_time(&a->r, VIEW_LIT("probe"));
    waiting *w = wait_for_commit(a, m);
    pack_init(&w->out);
    w->is_probe = true;
    return AK_DONE;
}

static ak_verdict
on_timer(ak *k, void *self, const ak_msg *m)
{
    actor *a = self;

    look_around(a);
    if (m->ctx == &a->wake_us) { /* its time has come: the flush that follows does it */
        a->wake_timer = 0;
        return AK_DONE;
    }
    if (!a->broken)
        reg_sessions_sweep(&a->r);
    (void)ak_timer(k, (uint64_t)SWEEP_NS_S * 1000000000u, NULL);
    return AK_DONE;
}

/* ---- commands of this machine ---- */
static int
control_run(void *ctx, const reg_ask *asked, view params, uint16_t *status, pack *out)
{
    actor  *a = ctx;
    reg_ask ask = { .op = asked->op, .role = ROLE_SYSTEM, .tenant = asked->tenant };

    recover(a);
    if (a->broken)
        return E_IO;
    look_around(a);
    ak_io_begin(a->k);
    *status = reg_run(&a->r, &ask, params, out);
    ak_io_end(a->k);
    return settle(a);
}

static void
on_connection(ak *k, void *self, int fd)
{
    actor *a = self;

    if (reg_control_read(a->control, fd))
        return;
    if (ak_watch_fd(k, fd, NULL) < 0)
        err_clear();
    reg_control_drop(a->control, fd);
}

static void
on_listener(ak *k, void *self, int listener)
{
    actor *a = self;
    int    fd = reg_control_accept(a->control);

    (void)listener;
    if (fd < 0 || ak_watch_fd(k, fd, on_connection) == E_OK)
        return;
    reg_control_drop(a->control, fd);
    err_clear();
}

static void
open_control(actor *a)
{
    int rc = reg_control_open(&a->control, ak_data_dir(a->k), control_run, a);

    if (rc == E_OK)
        rc = ak_watch_fd(a->k, reg_control_listener(a->control), on_listener);
    if (rc == E_OK)
        return;
    /* Commands have to wait for the server's end then; everything else works. */
    log_warn("registry.control", "error=%s", log_quote(view_str(err_text())));
    err_clear();
    reg_control_close(&a->control);
}

/* ---- life ---- */
static int
registry_init(ak *k, void *self)
{
    actor *a = self;

    a->k = k;
    look_around(a);
    int rc = reg_open(&a->r, ak_data_dir(k), ak_board(k));
    if (rc < 0)
        return rc;
    reg_show_all(&a->r);
    open_control(a);
    a->wake_timer = ak_timer(k, 0, &a->wake_us);
    (void)ak_timer(k, (uint64_t)SWEEP_NS_S * 1000000000u, NULL);
    log_info("registry.ready", "tenants=%u users=%u machines=%u rules=%u alerts=%u", a->r.tenants.count,
             a->r.users.count, a->r.machines.count, a->r.rules.count, a->r.all_alerts.count);
    return E_OK;
}

static void
registry_stop(ak *k, void *self)
{
    actor *a = self;

    (void)k;
    reg_control_close(&a->control);
    reg_close(&a->r);
    free(a->waiting);
    a->waiting = NULL;
}

static const ak_on registry_on[] = {
    { MSG_REG, 0, on_reg },
    { MSG_PROBE, 0, on_probe },
    { MSG_TIMER, 0, on_timer },
    { 0 },
};

const ak_kind registry_kind = {
    .name = "registry",
    .self_size = sizeof(actor),
    .number = KIND_REGISTRY,
    .on = registry_on,
    .init = registry_init,
    .flush = registry_flush,
    .stop = registry_stop,
};
