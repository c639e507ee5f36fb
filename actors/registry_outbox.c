/* registry_outbox.c - notifications on their way: durable before anybody is told, at least once, for a day.
 *
 *   key    be64 no
 *   value  map: id, channel, event, state, alert, alert_id, attempts, http, error, created, next, ended,
 *               storm (array), body (pending ones)
 *
 *   pending ──OUTBOX_TAKE──▶ leased ──OUTBOX_DONE──▶ delivered
 *      ▲                        │ failed
 *      └── 1 s, 2 s, ... 1 h ───┘        24 h after it was made: dead
 *
 * A lease is memory only: a notifier that starts takes everything anew, so that a target may see a delivery twice,
 * with the same id, and never not at all.  One channel has CHANNEL_LEASES_MAX out at a time: a target that hangs holds
 * up itself.  What ended stays as the channel's log, the newest LOG_MAX.
 */
#include "actors/registry_notify.h"
#include "proto/err.h"

#include <stdlib.h>

enum {
    BODY_MAX = 12288,       /* texts at their longest, escaped */
    CHANNEL_LEASES_MAX = 4,
    LOG_MAX = 200,
    PENDING_MAX = 10000, /* of a tenant; over it the oldest is dead */
    TAKE_MAX = 32,
    TAKE_BYTES_MAX = 60000,
    STORM_US = 60 * 1000000,
    BACKOFF_S_MAX = 3600,
};
#define LIFE_US (INT64_C(86400) * 1000000)

/* ---- stored form ---- */
static void
delivery_key(const reg_delivery *d, uint8_t key[8])
{
    store_be64(key, d->no);
}

static void
pack_storm(pack *p, const reg_storm *s)
{
    pack_str(p, VIEW_LIT("storm"));
    pack_array(p, 7);
    pack_int(p, s->from_us);
    pack_int(p, s->until_us);
    pack_int(p, s->triggered);
    pack_int(p, s->resolved);
    for (uint32_t i = 0; i < COUNT_OF(s->of_severity); i++)
        pack_int(p, s->of_severity[i]);
}

static void
store_delivery(registry *r, const reg_delivery *d)
{
    uint8_t key[8];
    pack    p;

    pack_init(&p);
    pack_map(&p, 14);
    pack_name_uuid(&p, "id", &d->id);
    pack_name_int(&p, "channel", d->channel->no);
    pack_name_int(&p, "event", d->event);
    pack_name_int(&p, "state", d->state);
    pack_name_int(&p, "alert", (int64_t)d->alert);
    pack_name_str(&p, "alert_id", d->alert_id);
    pack_name_int(&p, "attempts", d->attempts);
    pack_name_int(&p, "http", d->http_status);
    pack_name_str(&p, "error", d->error);
    pack_name_int(&p, "created", d->created_us);
    pack_name_int(&p, "next", d->next_us);
    pack_name_int(&p, "ended", d->ended_us);
    pack_storm(&p, &d->storm);
    pack_name_str(&p, "body", d->body);
    delivery_key(d, key);
    reg_put(r, REG_OUTBOX, view_of(key, sizeof key), &p);
    pack_fini(&p);
}

static void
free_delivery(reg_delivery *d)
{
    reg_text_fini(&d->alert_id);
    reg_text_fini(&d->error);
    reg_text_fini(&d->body);
    free(d);
}

static void
add_delivery(registry *r, reg_delivery *d)
{
    reg_list_add(&d->channel->deliveries, d);
    if (d->state != DELIVERY_PENDING)
        return;
    reg_list_add(&r->outbox, d);
    d->channel->tenant->outbox_pending++;
    r->outbox_next_us = d->next_us < r->outbox_next_us ? d->next_us : r->outbox_next_us;
    r->outbox_rang = true;
}

static void
load_storm(const msgpack_object *map, reg_storm *s)
{
    const msgpack_object *o = pack_get(map, "storm");
    int64_t               n[7];

    if (o == NULL || o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != COUNT_OF(n))
        return;
    for (uint32_t i = 0; i < COUNT_OF(n); i++)
        n[i] = o->via.array.ptr[i].type == MSGPACK_OBJECT_POSITIVE_INTEGER ? o->via.array.ptr[i].via.i64 : 0;
    *s = (reg_storm){ n[0], n[1], (uint32_t)n[2], (uint32_t)n[3], { (uint32_t)n[4], (uint32_t)n[5], (uint32_t)n[6] } };
}

static int
load_delivery(registry *r, view key, const msgpack_object *map)
{
    reg_delivery *d = calloc(1, sizeof *d);

    ASSERT(d != NULL);
    d->channel = reg_numbered(&r->channels, (uint64_t)reg_stored_int(map, "channel", 0));
    if (key.len != 8 || d->channel == NULL || !pack_get_uuid(map, "id", &d->id)) {
        free(d);
        return E_BAD;
    }
    d->no = load_be64(key.at);
    d->event = (uint8_t)reg_stored_int(map, "event", NOTICE_TRIGGERED);
    d->state = (uint8_t)reg_stored_int(map, "state", DELIVERY_DEAD);
    d->alert = (uint64_t)reg_stored_int(map, "alert", 0);
    d->attempts = (uint32_t)reg_stored_int(map, "attempts", 0);
    d->http_status = (uint16_t)reg_stored_int(map, "http", 0);
    d->created_us = reg_stored_int(map, "created", 0);
    d->next_us = reg_stored_int(map, "next", 0);
    d->ended_us = reg_stored_int(map, "ended", INT64_MIN);
    load_storm(map, &d->storm);
    reg_stored_text(map, "alert_id", &d->alert_id);
    reg_stored_text(map, "error", &d->error);
    reg_stored_text(map, "body", &d->body);
    if (d->event >= NOTICE_EVENTS || d->state > DELIVERY_DEAD) {
        free_delivery(d);
        return E_BAD;
    }
    r->next[NEXT_DELIVERY] = max_u64(r->next[NEXT_DELIVERY], d->no);
    add_delivery(r, d);
    return E_OK;
}

int
reg_outbox_load(registry *r)
{
    r->outbox_next_us = INT64_MAX;
    return reg_scan(r, REG_OUTBOX, load_delivery);
}

void
reg_outbox_free(registry *r)
{
    for (uint32_t i = 0; i < r->channels.count; i++) {
        reg_channel *ch = r->channels.at[i];

        for (uint32_t j = 0; ch != NULL && j < ch->deliveries.count; j++)
            free_delivery(ch->deliveries.at[j]);
        if (ch != NULL)
            ch->deliveries.count = 0;
    }
    reg_list_fini(&r->outbox);
}

/* ---- ends ---- */
static void
erase(registry *r, reg_delivery *d)
{
    uint8_t key[8];

    delivery_key(d, key);
    reg_delete(r, REG_OUTBOX, view_of(key, sizeof key));
    free_delivery(d);
}

/* The log keeps the newest ones. */
static void
trim_log(registry *r, reg_channel *ch)
{
    uint32_t ended = 0;

    for (uint32_t i = 0; i < ch->deliveries.count; i++)
        ended += ((reg_delivery *)ch->deliveries.at[i])->state != DELIVERY_PENDING;
    for (uint32_t i = 0; i < ch->deliveries.count && ended > LOG_MAX;) {
        reg_delivery *d = ch->deliveries.at[i];

        if (d->state == DELIVERY_PENDING) {
            i++;
            continue;
        }
        reg_list_remove(&ch->deliveries, d);
        erase(r, d);
        ended--;
    }
}

static void
unlease(reg_delivery *d)
{
    if (d->leased)
        d->channel->leased--;
    d->leased = false;
}

static void
end_delivery(registry *r, reg_delivery *d, enum delivery_state how)
{
    unlease(d);
    reg_list_remove(&r->outbox, d);
    d->channel->tenant->outbox_pending--;
    d->state = (uint8_t)how;
    d->ended_us = r->now_us;
    reg_text_fini(&d->body);
    store_delivery(r, d);
    trim_log(r, d->channel);
}

void
reg_outbox_drop(registry *r, reg_channel *ch)
{
    for (uint32_t i = 0; i < ch->deliveries.count; i++) {
        reg_delivery *d = ch->deliveries.at[i];

        if (d->state == DELIVERY_PENDING) {
            reg_list_remove(&r->outbox, d);
            ch->tenant->outbox_pending--;
        }
        erase(r, d);
    }
    ch->deliveries.count = 0;
}

/* The oldest of a tenant whose outbox is full. */
static void
make_room(registry *r, const reg_tenant *t)
{
    for (uint32_t i = 0; t->outbox_pending >= PENDING_MAX && i < r->outbox.count; i++) {
        reg_delivery *d = r->outbox.at[i];

        if (d->channel->tenant != t)
            continue;
        reg_text_set(&d->error, VIEW_LIT("More than 10000 notifications of this tenant wait."));
        end_delivery(r, d, DELIVERY_DEAD);
        return;
    }
}

/* ---- made ---- */
static void
set_body(reg_delivery *d, json_out *body)
{
    ASSERT(!body->failed);
    reg_text_set(&d->body, view_of(body->at, body->len));
    json_out_free(body);
}

static reg_delivery *
new_delivery(registry *r, reg_channel *ch, enum notice_event event, json_out *body)
{
    reg_delivery *d = calloc(1, sizeof *d);

    ASSERT(d != NULL);
    make_room(r, ch->tenant);
    crypto_uuid4(&d->id);
    d->no = reg_next(r, NEXT_DELIVERY);
    d->channel = ch;
    d->event = (uint8_t)event;
    d->created_us = d->next_us = r->now_us;
    d->ended_us = INT64_MIN;
    set_body(d, body);
    return d;
}

static void
tell(registry *r, reg_channel *ch, const reg_alert *a, enum notice_event event, const reg_escalation *by)
{
    json_out      body = { .max = BODY_MAX };
    char          id[UUID_TEXT_LEN];
    reg_delivery *d;

    notice_alert(&body, ch, a, event, r->now_us, by);
    d = new_delivery(r, ch, event, &body);
    d->alert = a->no;
    uuid_format(&a->id, id);
    reg_text_set(&d->alert_id, view_of(id, sizeof id));
    add_delivery(r, d);
    store_delivery(r, d);
}

/* The channel's group that still gathers. */
static reg_delivery *
gathering(const registry *r, const reg_channel *ch)
{
    for (uint32_t i = ch->deliveries.count; i-- > 0;) {
        reg_delivery *d = ch->deliveries.at[i];

        if (d->event == NOTICE_STORM && d->state == DELIVERY_PENDING && d->attempts == 0 && d->storm.until_us > r->now_us)
            return d;
    }
    return NULL;
}

static void
gather(registry *r, reg_channel *ch, const reg_alert *a, enum notice_event event)
{
    reg_delivery *d = gathering(r, ch);
    reg_storm     s = { .from_us = r->now_us, .until_us = ch->tenant->storm_from_us + STORM_US };
    json_out      body = { .max = BODY_MAX };

    if (d != NULL)
        s = d->storm;
    s.triggered += event == NOTICE_TRIGGERED;
    s.resolved += event == NOTICE_RESOLVED;
    if (event == NOTICE_TRIGGERED && a->severity < COUNT_OF(s.of_severity))
        s.of_severity[a->severity]++;
    notice_storm(&body, ch, &s, s.until_us);
    if (d != NULL) {
        d->storm = s;
        set_body(d, &body);
    } else {
        d = new_delivery(r, ch, NOTICE_STORM, &body);
        d->storm = s;
        d->next_us = s.until_us;
        add_delivery(r, d);
    }
    store_delivery(r, d);
}

/* Is this one more than are told one by one in a minute? */
static bool
is_storm(registry *r, reg_tenant *t, enum notice_event event)
{
    if (r->now_us - t->storm_from_us >= STORM_US || r->now_us < t->storm_from_us) {
        t->storm_from_us = r->now_us;
        t->storm_count = 0;
    }
    t->storm_count += event == NOTICE_TRIGGERED;
    return r->storm_alerts > 0 && t->storm_count > r->storm_alerts;
}

static bool
is_told(const reg_rule *rule, const reg_channel *ch)
{
    if (!ch->active)
        return false;
    if (rule->channels.at == NULL)
        return true;
    for (size_t i = 0; i + 4 <= rule->channels.len; i += 4)
        if (load_u32(rule->channels.at + i) == ch->no)
            return true;
    return false;
}

void
reg_outbox_alert(registry *r, const reg_alert *a, enum notice_event event)
{
    reg_tenant *t = a->tenant;
    bool        grouped = t->channels.count > 0 && is_storm(r, t, event);

    for (uint32_t i = 0; i < t->channels.count; i++) {
        reg_channel *ch = t->channels.at[i];

        if (!is_told(a->rule, ch))
            continue;
        if (grouped)
            gather(r, ch, a, event);
        else
            tell(r, ch, a, event, NULL);
    }
}

void
reg_outbox_escalate(registry *r, const reg_alert *a, const reg_escalation *by)
{
    if (by->channel->active)
        tell(r, by->channel, a, NOTICE_ESCALATED, by);
}

/* ---- taken by the notifier ---- */
static void
pack_job(pack *p, const reg_channel *ch, const uuid *id, enum notice_event event, uint64_t no, view body)
{
    pack_map(p, 8);
    pack_name_int(p, "no", (int64_t)no);
    pack_name_uuid(p, "id", id);
    pack_name_str(p, "event", view_str(notice_words[event]));
    pack_name_int(p, "type", ch->type);
    pack_name_str(p, "target", ch->target);
    pack_str(p, VIEW_LIT("headers"));
    if (ch->headers.len == 0)
        pack_map(p, 0);
    else
        msgpack_sbuffer_write(&p->buffer, (const char *)ch->headers.at, ch->headers.len);
    pack_str(p, VIEW_LIT("secret"));
    pack_bin(p, view_of(ch->secret, sizeof ch->secret));
    pack_name_str(p, "body", body);
}

void
reg_outbox_pack_test(registry *r, pack *p, const reg_channel *ch, const uuid *id)
{
    json_out body = { .max = BODY_MAX };

    notice_test(&body, ch, r->now_us);
    ASSERT(!body.failed);
    pack_job(p, ch, id, NOTICE_TEST, 0, view_of(body.at, body.len));
    json_out_free(&body);
}

static size_t
job_bytes(const reg_delivery *d)
{
    return d->body.len + d->channel->target.len + d->channel->headers.len + 512;
}

static void
take_anew(registry *r)
{
    for (uint32_t i = 0; i < r->outbox.count; i++)
        unlease(r->outbox.at[i]);
}

static void
bury_old(registry *r)
{
    for (uint32_t i = 0; i < r->outbox.count;) {
        reg_delivery *d = r->outbox.at[i];

        if (d->leased || r->now_us - d->created_us < LIFE_US)
            i++;
        else
            end_delivery(r, d, DELIVERY_DEAD); /* takes it from the list */
    }
}

/* max, fresh -> {deliveries, next_us}: next_us is nil when nothing waits for its time. */
static uint16_t
op_outbox_take(reg_call *c)
{
    registry *r = c->r;
    int64_t   max = reg_int(c, "max", TAKE_MAX);
    int64_t   next_us = INT64_MAX;
    uint32_t  taken = 0;
    bool      fresh = false;
    pack      jobs;

    if (pack_get_bool(c->params, "fresh", &fresh) && fresh)
        take_anew(r);
    bury_old(r);
    pack_init(&jobs);
    for (uint32_t i = 0; i < r->outbox.count; i++) {
        reg_delivery *d = r->outbox.at[i];

        if (d->leased || !d->channel->active || d->channel->leased >= CHANNEL_LEASES_MAX)
            continue;
        if (d->next_us > r->now_us || taken >= max || pack_view(&jobs).len + job_bytes(d) > TAKE_BYTES_MAX) {
            next_us = d->next_us < next_us ? d->next_us : next_us;
            continue;
        }
        d->leased = true;
        d->channel->leased++;
        pack_job(&jobs, d->channel, &d->id, d->event, d->no, d->body);
        taken++;
    }
    r->outbox_next_us = next_us;
    view raw = pack_view(&jobs);
    pack_map(c->out, 2);
    pack_str(c->out, VIEW_LIT("deliveries"));
    pack_array(c->out, taken);
    if (raw.len > 0)
        msgpack_sbuffer_write(&c->out->buffer, (const char *)raw.at, raw.len);
    if (next_us == INT64_MAX)
        pack_name_nil(c->out, "next_us");
    else
        pack_name_int(c->out, "next_us", next_us);
    pack_fini(&jobs);
    return 200;
}

static reg_delivery *
pending_of(const reg_call *c)
{
    int64_t no = reg_int(c, "no", 0);

    for (uint32_t i = 0; i < c->r->outbox.count; i++)
        if (((reg_delivery *)c->r->outbox.at[i])->no == (uint64_t)no)
            return c->r->outbox.at[i];
    return NULL;
}

static int64_t
pause_us(uint32_t attempts)
{
    uint64_t s = attempts > 12 ? BACKOFF_S_MAX : UINT64_C(1) << (attempts - 1);

    return (int64_t)min_u64(s, BACKOFF_S_MAX) * 1000000;
}

static uint16_t
op_outbox_done(reg_call *c)
{
    registry     *r = c->r;
    reg_delivery *d = pending_of(c);
    bool          ok = false;

    if (d == NULL)
        return reg_fail(c, 404, "It has ended.");
    (void)pack_get_bool(c->params, "ok", &ok);
    d->attempts++;
    d->http_status = (uint16_t)reg_int(c, "http_status", 0);
    reg_text_set(&d->error, reg_text(c, "error"));
    if (ok || r->now_us - d->created_us + pause_us(d->attempts) >= LIFE_US) {
        end_delivery(r, d, ok ? DELIVERY_DELIVERED : DELIVERY_DEAD);
    } else {
        unlease(d);
        d->next_us = r->now_us + pause_us(d->attempts);
        store_delivery(r, d);
    }
    pack_nil(c->out);
    return 204;
}

/* ---- the log ---- */
static void
pack_delivery(reg_call *c, pack *p, const void *record)
{
    static const char *const states[] = { "pending", "delivered", "dead" };
    const reg_delivery      *d = record;

    (void)c;
    pack_map(p, 10);
    pack_name_uuid(p, "id", &d->id);
    pack_name_str(p, "event", view_str(notice_words[d->event]));
    if (d->alert_id.len == 0)
        pack_name_nil(p, "alert_id");
    else
        pack_name_str(p, "alert_id", d->alert_id);
    pack_name_str(p, "status", view_str(states[d->state]));
    pack_name_int(p, "attempts", d->attempts);
    if (d->http_status == 0)
        pack_name_nil(p, "response_status");
    else
        pack_name_int(p, "response_status", d->http_status);
    if (d->error.len == 0)
        pack_name_nil(p, "error");
    else
        pack_name_str(p, "error", d->error);
    pack_name_time(p, "created_at", d->created_us);
    pack_name_time(p, "next_attempt_at", d->state == DELIVERY_PENDING ? d->next_us : INT64_MIN);
    pack_name_time(p, "ended_at", d->ended_us);
}

static uint16_t
op_delivery_list(reg_call *c)
{
    uuid               id;
    const reg_channel *ch = reg_id(c, "id", &id) ? reg_channel_by(c, &id) : NULL;
    reg_list           newest = { 0 };

    if (ch == NULL)
        return reg_fail(c, 404, "Notification channel not found.");
    for (uint32_t i = ch->deliveries.count; i-- > 0;)
        reg_list_add(&newest, ch->deliveries.at[i]);
    uint16_t status = reg_answer_list(c, &newest, pack_delivery);
    reg_list_fini(&newest);
    return status;
}

const reg_op_fn reg_outbox_ops[] = {
    { REG_OUTBOX_TAKE, op_outbox_take },
    { REG_OUTBOX_DONE, op_outbox_done },
    { REG_DELIVERY_LIST, op_delivery_list },
    { 0 },
};
