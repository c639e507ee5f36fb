/* registry_escalations.c - who is told of an alert that nobody has taken up.
 *
 * A policy fires once for an alert of its severity that is open, not acknowledged and not snoozed when wait_minutes
 * have passed since it opened (later, if it was snoozed then).  That it fired is a bit of the alert's record, stored
 * with the delivery in one batch.  A policy's bit is its slot, which no other policy of the tenant has; it is cleared
 * in every open alert when the policy goes.
 */
#include "actors/registry_notify.h"
#include "proto/err.h"

#include <stdlib.h>

#define NOT_FOUND "Escalation policy not found."

enum { POLICIES_MAX = 50, SLOTS = 64, WAIT_MINUTES_MAX = 1440, NAME_CHARS_MAX = 255 };
#define MINUTE_US INT64_C(60000000)

/* ---- stored form ---- */
static void
store_policy(registry *r, const reg_escalation *e)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 10);
    pack_name_uuid(&p, "id", &e->id);
    pack_name_int(&p, "tenant", e->tenant->no);
    pack_name_int(&p, "channel", e->channel->no);
    pack_name_int(&p, "severity", e->severity);
    pack_name_int(&p, "slot", e->slot);
    pack_name_int(&p, "wait_minutes", e->wait_minutes);
    pack_name_bool(&p, "active", e->active);
    pack_name_int(&p, "created", e->created_us);
    pack_name_int(&p, "updated", e->updated_us);
    pack_name_str(&p, "name", e->name);
    reg_put_no(r, REG_ESCALATIONS, e->no, &p);
    pack_fini(&p);
}

static void
add_policy(registry *r, reg_escalation *e)
{
    reg_set_numbered(&r->escalations, e->no, e);
    reg_list_add(&e->tenant->escalations, e);
    reg_enter(r, NOUN_ESCALATION, &e->id, e);
    r->escalate_at_us = INT64_MIN; /* looked at in the next turn */
}

static void
free_policy(reg_escalation *e)
{
    reg_text_fini(&e->name);
    free(e);
}

static int
load_policy(registry *r, view key, const msgpack_object *map)
{
    reg_escalation *e = calloc(1, sizeof *e);

    ASSERT(e != NULL);
    e->tenant = reg_numbered(&r->tenants, (uint64_t)reg_stored_int(map, "tenant", 0));
    e->channel = reg_numbered(&r->channels, (uint64_t)reg_stored_int(map, "channel", 0));
    e->slot = (uint8_t)reg_stored_int(map, "slot", SLOTS);
    if (key.len != 4 || load_be32(key.at) == 0 || e->tenant == NULL || e->channel == NULL || e->slot >= SLOTS ||
        !pack_get_uuid(map, "id", &e->id)) {
        free(e);
        return E_BAD;
    }
    e->no = load_be32(key.at);
    e->severity = (uint8_t)reg_stored_int(map, "severity", SEVERITY_CRITICAL);
    e->wait_minutes = (uint32_t)reg_stored_int(map, "wait_minutes", 1);
    (void)pack_get_bool(map, "active", &e->active);
    e->created_us = reg_stored_int(map, "created", 0);
    e->updated_us = reg_stored_int(map, "updated", 0);
    reg_stored_text(map, "name", &e->name);
    add_policy(r, e);
    return E_OK;
}

int
reg_escalations_load(registry *r)
{
    r->escalate_at_us = INT64_MAX;
    int rc = reg_scan(r, REG_ESCALATIONS, load_policy);

    r->next[NEXT_ESCALATION] = max_u64(r->next[NEXT_ESCALATION], r->escalations.count);
    return rc;
}

void
reg_escalations_free(registry *r)
{
    for (uint32_t i = 0; i < r->escalations.count; i++)
        if (r->escalations.at[i] != NULL)
            free_policy(r->escalations.at[i]);
    reg_list_fini(&r->escalations);
}

bool
reg_escalations_use(const reg_channel *ch)
{
    const reg_list *all = &ch->tenant->escalations;

    for (uint32_t i = 0; i < all->count; i++)
        if (((const reg_escalation *)all->at[i])->channel == ch)
            return true;
    return false;
}

/* ---- firing ---- */
static bool
waits_for(const reg_escalation *e, const reg_alert *a)
{
    return e->active && e->severity == a->severity && (a->escalated >> e->slot & 1) == 0 && reg_alert_is_open(a) &&
           a->acknowledged_us == INT64_MIN;
}

static int64_t
due_us(const reg_escalation *e, const reg_alert *a)
{
    int64_t at_us = a->created_us + e->wait_minutes * MINUTE_US;

    return a->snoozed_us > at_us ? a->snoozed_us : at_us;
}

/* Fires for one alert; when its next policy is due. */
static int64_t
look_at(registry *r, reg_alert *a)
{
    const reg_list *all = &a->tenant->escalations;
    int64_t         next_us = INT64_MAX;

    for (uint32_t i = 0; i < all->count; i++) {
        const reg_escalation *e = all->at[i];
        int64_t               at_us;

        if (!waits_for(e, a))
            continue;
        at_us = due_us(e, a);
        if (at_us > r->now_us) {
            next_us = at_us < next_us ? at_us : next_us;
            continue;
        }
        a->escalated |= UINT64_C(1) << e->slot;
        reg_outbox_escalate(r, a, e);
        reg_alert_store(r, a);
    }
    return next_us;
}

int64_t
reg_escalations_run(registry *r)
{
    int64_t next_us = INT64_MAX;

    if (r->escalate_at_us > r->now_us)
        return r->escalate_at_us;
    for (uint32_t i = 0; i < r->all_alerts.count; i++) {
        reg_alert *a = r->all_alerts.at[i];
        int64_t    at_us;

        if (!reg_alert_is_open(a) || a->tenant->escalations.count == 0)
            continue;
        at_us = look_at(r, a);
        next_us = at_us < next_us ? at_us : next_us;
    }
    r->escalate_at_us = next_us;
    return next_us;
}

void
reg_escalations_look(registry *r, const reg_alert *opened)
{
    const reg_list *all = &opened->tenant->escalations;

    for (uint32_t i = 0; i < all->count; i++) {
        const reg_escalation *e = all->at[i];

        if (waits_for(e, opened) && due_us(e, opened) < r->escalate_at_us)
            r->escalate_at_us = due_us(e, opened);
    }
}

/* ---- answers ---- */
static void
pack_policy(reg_call *c, pack *p, const void *record)
{
    const reg_escalation *e = record;

    (void)c;
    pack_map(p, 9);
    pack_name_uuid(p, "id", &e->id);
    pack_name_uuid(p, "tenant_id", &e->tenant->id);
    pack_name_str(p, "name", e->name);
    pack_name_str(p, "severity", view_str(severity_words[e->severity]));
    pack_name_int(p, "wait_minutes", e->wait_minutes);
    pack_name_uuid(p, "channel_id", &e->channel->id);
    pack_name_bool(p, "is_active", e->active);
    pack_name_time(p, "created_at", e->created_us);
    pack_name_time(p, "updated_at", e->updated_us);
}

static reg_escalation *
policy_of(const reg_call *c)
{
    uuid            id;
    reg_escalation *e = reg_id(c, "id", &id) ? reg_find(c->r, NOUN_ESCALATION, &id) : NULL;

    return e != NULL && e->tenant == c->tenant ? e : NULL;
}

static uint16_t
op_policy_list(reg_call *c)
{
    return reg_answer_list(c, &c->tenant->escalations, pack_policy);
}

static uint16_t
op_policy_get(reg_call *c)
{
    const reg_escalation *e = policy_of(c);

    if (e == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    pack_policy(c, c->out, e);
    return 200;
}

/* ---- create, change, delete ---- */
static uint16_t
take_members(reg_call *c, reg_escalation *w, view *name)
{
    int64_t wait = reg_int(c, "wait_minutes", 0);
    int     severity = word_index(severity_words, reg_text(c, "severity"));
    uuid    id;

    *name = reg_trim(reg_text(c, "name"));
    if (reg_characters(*name) < 1 || reg_characters(*name) > NAME_CHARS_MAX)
        return reg_fail(c, 422, "name must have 1 to 255 characters.");
    if (severity < 0)
        return reg_fail(c, 422, "severity must be one of info, warning, critical.");
    if (wait < 1 || wait > WAIT_MINUTES_MAX)
        return reg_fail(c, 422, "wait_minutes must be between 1 and 1440.");
    w->channel = reg_id(c, "channel_id", &id) ? reg_channel_by(c, &id) : NULL;
    if (w->channel == NULL)
        return reg_fail(c, 404, "Notification channel not found.");
    w->severity = (uint8_t)severity;
    w->wait_minutes = (uint32_t)wait;
    (void)pack_get_bool(c->params, "is_active", &w->active);
    return 0;
}

static uint8_t
free_slot(const reg_tenant *t)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < t->escalations.count; i++)
        used |= UINT64_C(1) << ((const reg_escalation *)t->escalations.at[i])->slot;
    ASSERT(~used != 0);
    return (uint8_t)__builtin_ctzll(~used);
}

static uint16_t
op_policy_create(reg_call *c)
{
    reg_escalation w = { .active = true };
    view           name;
    uint16_t       bad = take_members(c, &w, &name);

    if (bad != 0)
        return bad;
    if (c->tenant->escalations.count >= POLICIES_MAX)
        return reg_fail(c, 400, "A tenant has at most 50 escalation policies.");
    reg_escalation *e = calloc(1, sizeof *e);
    ASSERT(e != NULL);
    *e = w;
    crypto_uuid4(&e->id);
    e->no = (uint32_t)reg_next(c->r, NEXT_ESCALATION);
    e->tenant = c->tenant;
    e->slot = free_slot(c->tenant);
    e->created_us = e->updated_us = c->r->now_us;
    reg_text_set(&e->name, name);
    add_policy(c->r, e);
    store_policy(c->r, e);
    reg_audit(c, "escalation_policy", &e->id, e->name);
    pack_policy(c, c->out, e);
    return 201;
}

static uint16_t
op_policy_update(reg_call *c)
{
    reg_escalation *e = policy_of(c);
    view            name;

    if (e == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    reg_escalation w = *e;
    uint16_t       bad = take_members(c, &w, &name);
    if (bad != 0)
        return bad;
    e->channel = w.channel;
    e->severity = w.severity;
    e->wait_minutes = w.wait_minutes;
    e->active = w.active;
    e->updated_us = c->r->now_us;
    reg_text_set(&e->name, name);
    store_policy(c->r, e);
    c->r->escalate_at_us = INT64_MIN;
    reg_audit(c, "escalation_policy", &e->id, e->name);
    pack_policy(c, c->out, e);
    return 200;
}

static void
clear_slot(registry *r, const reg_escalation *e)
{
    for (uint32_t i = 0; i < e->tenant->alerts.count; i++) {
        reg_alert *a = e->tenant->alerts.at[i];

        if (!reg_alert_is_open(a) || (a->escalated >> e->slot & 1) == 0)
            continue;
        a->escalated &= ~(UINT64_C(1) << e->slot);
        reg_alert_store(r, a);
    }
}

static uint16_t
op_policy_delete(reg_call *c)
{
    reg_escalation *e = policy_of(c);
    uint8_t         key[4];

    if (e == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    clear_slot(c->r, e);
    reg_leave(c->r, NOUN_ESCALATION, &e->id, e);
    reg_list_remove(&c->tenant->escalations, e);
    c->r->escalations.at[e->no - 1] = NULL;
    store_be32(key, e->no);
    reg_delete(c->r, REG_ESCALATIONS, view_of(key, sizeof key));
    reg_audit(c, "escalation_policy", &e->id, e->name);
    free_policy(e);
    pack_nil(c->out);
    return 204;
}

const reg_op_fn reg_escalation_ops[] = {
    { REG_ESCALATION_LIST, op_policy_list },     { REG_ESCALATION_CREATE, op_policy_create },
    { REG_ESCALATION_GET, op_policy_get },       { REG_ESCALATION_UPDATE, op_policy_update },
    { REG_ESCALATION_DELETE, op_policy_delete }, { 0 },
};
