/* registry_alerts.c - alerts: at most one open for a rule and a machine, and the frames that tell of them.
 *
 *   key    be32 tenant | be64 no
 *
 * Every opening, closing and change of a machine's status takes the tenant's next event number in the same batch,
 * so a client can ask for what it missed.
 *
 *   open ──condition clears──▶ resolved
 *     └───a person resolves──▶ resolved, held ──condition clears──▶ resolved
 *
 * While an alert is open or held, nothing is opened for its rule and machine: a person who resolves an alert is
 * not told of the same trouble again before it has gone and come back, not after a restart either.
 *
 * Each transition of the alert actor comes with its position (the reading that decided it), which is stored with it, in
 * the same batch.  One that is not behind the last of its rule and machine was made already: it changes nothing.
 */
#include "actors/registry_internal.h"
#include "actors/registry_notify.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <stdlib.h>

#define NOT_FOUND "Alert not found."

enum { OPEN_PAGE = 500, DROP_AT_ONCE = 1000 };

/* ---- stored form ---- */
void
reg_alert_key(const reg_alert *a, uint8_t key[REG_ALERT_KEY_LEN])
{
    store_be32(key, a->tenant->no);
    store_be64(key + 4, a->no);
}

void
reg_alert_store(registry *r, const reg_alert *a)
{
    uint8_t key[REG_ALERT_KEY_LEN];
    pack    p;

    pack_init(&p);
    pack_map(&p, 20);
    pack_name_uuid(&p, "id", &a->id);
    pack_name_int(&p, "rule", a->rule->no);
    pack_name_int(&p, "machine", a->machine->no);
    pack_name_int(&p, "severity", a->severity);
    pack_name_double(&p, "value", a->value);
    pack_name_double(&p, "threshold", a->threshold);
    pack_name_double(&p, "peak", a->peak);
    pack_name_int(&p, "created", a->created_us);
    pack_name_int(&p, "reading", a->reading_us);
    pack_name_int(&p, "pos", (int64_t)a->pos);
    pack_name_int(&p, "resolved", a->resolved_us);
    pack_name_int(&p, "acknowledged", a->acknowledged_us);
    pack_name_int(&p, "snoozed", a->snoozed_us);
    pack_name_int(&p, "acknowledged_by", a->acknowledged_by);
    pack_name_int(&p, "resolved_by", a->resolved_by);
    pack_name_bool(&p, "held", a->held);
    pack_name_bool(&p, "cleared", a->cleared);
    pack_name_int(&p, "escalated", (int64_t)a->escalated);
    pack_name_str(&p, "message", a->message);
    pack_name_str(&p, "metric", a->metric);
    reg_alert_key(a, key);
    reg_put(r, REG_ALERTS, view_of(key, sizeof key), &p);
    pack_fini(&p);
}

static uint64_t
pair_hash(const registry *r, const reg_rule *rule, const reg_machine *machine)
{
    uint32_t pair[2] = { rule->no, machine->no };

    return reg_hash(r, 0, pair, sizeof pair);
}

static reg_alert *
find_in(const reg_index *x, const registry *r, const reg_rule *rule, const reg_machine *machine)
{
    uint64_t   hash = pair_hash(r, rule, machine);
    reg_alert *a;

    for (uint32_t at = 0; (a = reg_index_next(x, hash, &at)) != NULL;)
        if (a->rule == rule && a->machine == machine)
            return a;
    return NULL;
}

/* Open, or held. */
static reg_alert *
find_standing(const registry *r, const reg_rule *rule, const reg_machine *machine)
{
    return find_in(&r->open_alerts, r, rule, machine);
}

static reg_alert *
find_last(const registry *r, const reg_rule *rule, const reg_machine *machine)
{
    return find_in(&r->last_alerts, r, rule, machine);
}

static void
note_last(registry *r, reg_alert *a)
{
    reg_alert *before = find_last(r, a->rule, a->machine);

    if (before != NULL && before->no > a->no)
        return;
    if (before != NULL)
        reg_index_remove(&r->last_alerts, pair_hash(r, a->rule, a->machine), before);
    reg_index_put(&r->last_alerts, pair_hash(r, a->rule, a->machine), a);
}

static bool
stands(const reg_alert *a)
{
    return reg_alert_is_open(a) || a->held;
}

/* Brings its machine's counts up to what the alert is now. */
static void
count_alert(registry *r, reg_alert *a)
{
    bool      counted = reg_alert_is_open(a);
    bool      loud = counted && a->snoozed_us <= r->now_us;
    uint32_t *of_severity = a->severity == SEVERITY_CRITICAL  ? &a->machine->open_critical
                            : a->severity == SEVERITY_WARNING ? &a->machine->open_warning
                                                              : NULL;

    if (counted == a->counted && loud == a->loud)
        return;
    a->machine->open_alerts += (uint32_t)counted - (uint32_t)a->counted;
    if (of_severity != NULL)
        *of_severity += (uint32_t)loud - (uint32_t)a->loud;
    a->counted = counted;
    a->loud = loud;
    reg_touch(r, BOARD_MACHINES, a->machine);
}

static void
add_alert(registry *r, reg_alert *a)
{
    reg_list_add(&a->tenant->alerts, a);
    reg_list_add(&r->all_alerts, a);
    reg_enter(r, NOUN_ALERT, &a->id, a);
    note_last(r, a);
    if (stands(a))
        reg_index_put(&r->open_alerts, pair_hash(r, a->rule, a->machine), a);
    if (reg_alert_is_open(a) && a->snoozed_us != INT64_MIN)
        reg_list_add(&r->snoozed, a);
    count_alert(r, a);
}

static void
free_alert(reg_alert *a)
{
    reg_text_fini(&a->message);
    reg_text_fini(&a->metric);
    free(a);
}

static int
load_alert(registry *r, view key, const msgpack_object *map)
{
    reg_alert *a = calloc(1, sizeof *a);

    ASSERT(a != NULL);
    a->tenant = key.len == 12 ? reg_numbered(&r->tenants, load_be32(key.at)) : NULL;
    a->rule = reg_numbered(&r->rules, (uint64_t)reg_stored_int(map, "rule", 0));
    a->machine = reg_numbered(&r->machines, (uint64_t)reg_stored_int(map, "machine", 0));
    if (a->tenant == NULL || a->rule == NULL || a->machine == NULL || !pack_get_uuid(map, "id", &a->id)) {
        free(a);
        return E_BAD;
    }
    a->no = load_be64(key.at + 4);
    a->severity = (uint8_t)reg_stored_int(map, "severity", SEVERITY_INFO);
    (void)pack_get_double(map, "value", &a->value);
    (void)pack_get_double(map, "threshold", &a->threshold);
    (void)pack_get_double(map, "peak", &a->peak);
    a->created_us = reg_stored_int(map, "created", 0);
    a->reading_us = reg_stored_int(map, "reading", 0);
    a->pos = (uint64_t)reg_stored_int(map, "pos", 0);
    a->resolved_us = reg_stored_int(map, "resolved", INT64_MIN);
    a->acknowledged_us = reg_stored_int(map, "acknowledged", INT64_MIN);
    a->snoozed_us = reg_stored_int(map, "snoozed", INT64_MIN);
    a->acknowledged_by = (uint32_t)reg_stored_int(map, "acknowledged_by", 0);
    a->resolved_by = (uint32_t)reg_stored_int(map, "resolved_by", 0);
    (void)pack_get_bool(map, "held", &a->held);
    (void)pack_get_bool(map, "cleared", &a->cleared);
    a->escalated = (uint64_t)reg_stored_int(map, "escalated", 0);
    reg_stored_text(map, "message", &a->message);
    reg_stored_text(map, "metric", &a->metric);
    r->next[NEXT_ALERT] = max_u64(r->next[NEXT_ALERT], a->no);
    add_alert(r, a);
    return E_OK;
}

static int
by_number(const void *left, const void *right)
{
    const reg_alert *a = *(reg_alert *const *)left;
    const reg_alert *b = *(reg_alert *const *)right;

    return (a->no > b->no) - (a->no < b->no);
}

int
reg_alerts_load(registry *r)
{
    int rc = reg_scan(r, REG_ALERTS, load_alert);

    if (r->all_alerts.count > 0)
        qsort(r->all_alerts.at, r->all_alerts.count, sizeof *r->all_alerts.at, by_number);
    return rc;
}

void
reg_alerts_free(registry *r)
{
    for (uint32_t i = 0; i < r->all_alerts.count; i++)
        free_alert(r->all_alerts.at[i]);
    reg_list_fini(&r->all_alerts);
    reg_list_fini(&r->snoozed);
}

/* ---- frames ---- */
static void
announce(registry *r, const reg_alert *a)
{
    json_out j = { .max = REG_EVENT_MAX };
    uint64_t seq = reg_event_next(r, a->tenant);

    json_open(&j, '{');
    json_name_string(&j, "type", VIEW_LIT("alert"));
    json_name(&j, VIEW_LIT("alert_id"));
    json_uuid(&j, &a->id);
    json_name(&j, VIEW_LIT("machine_id"));
    json_uuid(&j, &a->machine->id);
    json_name_string(&j, "severity", view_str(severity_words[a->severity]));
    json_name_string(&j, "message", a->message);
    json_name_number(&j, "metric_value", a->value);
    json_name_number(&j, "threshold_value", a->threshold);
    json_name(&j, VIEW_LIT("created_at"));
    json_time(&j, a->created_us);
    if (!reg_alert_is_open(a)) {
        json_name(&j, VIEW_LIT("resolved_at"));
        json_time(&j, a->resolved_us);
    }
    json_name_int(&j, "seq", (int64_t)seq);
    json_close(&j, '}');
    reg_event_add(r, a->tenant, EVENT_ALERT, a->machine->no, &j);
    reg_outbox_alert(r, a, reg_alert_is_open(a) ? NOTICE_TRIGGERED : NOTICE_RESOLVED);
    if (reg_alert_is_open(a))
        reg_escalations_look(r, a);
}

/* ---- answers ---- */
static void
pack_person(pack *p, const char *name, const reg_user *by)
{
    if (by == NULL)
        pack_name_nil(p, name);
    else
        pack_name_uuid(p, name, &by->id);
}

void
reg_alert_pack(reg_call *c, pack *p, const void *record)
{
    const reg_alert *a = record;

    pack_map(p, 19);
    pack_name_uuid(p, "id", &a->id);
    pack_name_uuid(p, "machine_id", &a->machine->id);
    pack_name_str(p, "machine_name", a->machine->name);
    pack_name_uuid(p, "rule_id", &a->rule->id);
    pack_name_str(p, "severity", view_str(severity_words[a->severity]));
    pack_name_str(p, "message", a->message);
    pack_name_str(p, "metric_name", a->metric);
    pack_name_double(p, "metric_value", a->value);
    pack_name_double(p, "threshold_value", a->threshold);
    pack_name_double(p, "peak_value", a->peak);
    pack_name_bool(p, "is_acknowledged", a->acknowledged_us != INT64_MIN);
    pack_person(p, "acknowledged_by", reg_numbered(&c->r->users, a->acknowledged_by));
    pack_name_time(p, "acknowledged_at", a->acknowledged_us);
    pack_name_time(p, "snoozed_until", a->snoozed_us);
    pack_name_time(p, "reading_at", a->reading_us == 0 ? INT64_MIN : a->reading_us);
    pack_name_time(p, "created_at", a->created_us);
    pack_name_time(p, "resolved_at", a->resolved_us);
    pack_person(p, "resolved_by", reg_numbered(&c->r->users, a->resolved_by));
    pack_name_str(p, "status", reg_alert_is_open(a) ? VIEW_LIT("open") : VIEW_LIT("resolved"));
}

reg_alert *
reg_alert_of(const reg_call *c, const uuid *id)
{
    uuid       named;
    reg_alert *a = NULL;

    if (id == NULL && reg_id(c, "id", &named))
        id = &named;
    if (id != NULL)
        a = reg_find(c->r, NOUN_ALERT, id);
    return a != NULL && a->tenant == c->tenant ? a : NULL;
}

/* ---- the list ---- */
typedef struct alert_filter {
    bool    by_machine;
    uuid    machine;      /* also a deleted one: its alerts are still there */
    int     severity;     /* -1: any */
    int     acknowledged; /* -1: any */
    int     open;         /* -1: any */
    int64_t start_us;
    int64_t end_us;
} alert_filter;

static bool
passes(const alert_filter *f, const reg_alert *a)
{
    if (f->by_machine && !uuid_eq(&a->machine->id, &f->machine))
        return false;
    if (f->severity >= 0 && a->severity != f->severity)
        return false;
    if (f->acknowledged >= 0 && (a->acknowledged_us != INT64_MIN) != (f->acknowledged == 1))
        return false;
    if (f->open >= 0 && reg_alert_is_open(a) != (f->open == 1))
        return false;
    return a->created_us >= f->start_us && a->created_us < f->end_us;
}

static int64_t
time_given(const reg_call *c, const char *name, int64_t otherwise)
{
    int64_t us;

    return instant_parse(reg_text(c, name), &us) ? us : otherwise;
}

static alert_filter
filter_of(reg_call *c)
{
    view         machine;
    view         status = reg_text(c, "status");
    bool         acknowledged = false;
    alert_filter f = { .severity = word_index(severity_words, reg_text(c, "severity")),
                       .acknowledged = -1,
                       .open = -1,
                       .start_us = time_given(c, "start_date", INT64_MIN),
                       .end_us = time_given(c, "end_date", INT64_MAX) };

    f.by_machine = reg_given(c, "machine_id", &machine) && machine.at != NULL;
    if (f.by_machine && !reg_id(c, "machine_id", &f.machine))
        f.machine = (uuid){ 0 }; /* nobody's: is_of_tenant() says so */
    if (pack_get_bool(c->params, "is_acknowledged", &acknowledged))
        f.acknowledged = acknowledged;
    if (status.len > 0)
        f.open = view_eq(status, VIEW_LIT("open"));
    return f;
}

/* A machine that is deleted is known by its alerts. */
static bool
is_of_tenant(reg_call *c, const uuid *machine)
{
    const reg_list *all = &c->tenant->alerts;

    if (reg_machine_of(c, "machine_id") != NULL)
        return true;
    for (uint32_t i = 0; i < all->count; i++)
        if (uuid_eq(&((const reg_alert *)all->at[i])->machine->id, machine))
            return true;
    return false;
}

static uint16_t
op_alert_list(reg_call *c)
{
    const reg_list *all = &c->tenant->alerts;
    alert_filter    f = filter_of(c);
    reg_list        found = { 0 };

    if (f.by_machine && !is_of_tenant(c, &f.machine))
        return reg_fail(c, 404, "Machine not found.");
    for (uint32_t i = all->count; i > 0; i--)
        if (passes(&f, all->at[i - 1]))
            reg_list_add(&found, all->at[i - 1]);
    uint16_t status = reg_answer_list(c, &found, reg_alert_pack);
    reg_list_fini(&found);
    return status;
}

static uint16_t
op_alert_get(reg_call *c)
{
    const reg_alert *a = reg_alert_of(c, NULL);

    if (a == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    reg_alert_pack(c, c->out, a);
    return 200;
}

static uint16_t
op_alert_stats(reg_call *c)
{
    const reg_list *all = &c->tenant->alerts;
    uint32_t        active = 0;
    uint32_t        unacknowledged = 0;
    uint32_t        of[SEVERITY_CRITICAL + 1] = { 0 };

    for (uint32_t i = 0; i < all->count; i++) {
        const reg_alert *a = all->at[i];

        if (!reg_alert_is_open(a))
            continue;
        active++;
        unacknowledged += a->acknowledged_us == INT64_MIN;
        if (a->severity < COUNT_OF(of))
            of[a->severity]++;
    }
    pack_map(c->out, 5);
    pack_name_int(c->out, "total_active", active);
    pack_name_int(c->out, "critical_count", of[SEVERITY_CRITICAL]);
    pack_name_int(c->out, "warning_count", of[SEVERITY_WARNING]);
    pack_name_int(c->out, "info_count", of[SEVERITY_INFO]);
    pack_name_int(c->out, "unacknowledged_count", unacknowledged);
    return 200;
}

/* ---- opening and closing, for the alert actor ---- */
static void
drop_alert(registry *r, reg_alert *a)
{
    uint8_t key[REG_ALERT_KEY_LEN];

    reg_alert_key(a, key);
    reg_delete(r, REG_ALERTS, view_of(key, sizeof key));
    reg_comments_drop(r, a);
    if (find_last(r, a->rule, a->machine) == a)
        reg_index_remove(&r->last_alerts, pair_hash(r, a->rule, a->machine), a);
    reg_leave(r, NOUN_ALERT, &a->id, a);
    a->dropped = true;
}

/* What is not dropped, moved together. */
static void
compact(reg_list *l)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < l->count; i++)
        if (!((reg_alert *)l->at[i])->dropped)
            l->at[kept++] = l->at[i];
    l->count = kept;
}

/* The oldest resolved alerts of a tenant that has too many, many at a time. */
static void
drop_oldest(registry *r, reg_tenant *t)
{
    reg_alert *gone[DROP_AT_ONCE];
    uint32_t   dropped = 0;

    if (t->alerts.count <= REG_ALERTS_KEPT + DROP_AT_ONCE)
        return;
    for (uint32_t i = 0; i < t->alerts.count && dropped < DROP_AT_ONCE; i++)
        if (!stands(t->alerts.at[i])) {
            gone[dropped] = t->alerts.at[i];
            drop_alert(r, gone[dropped++]);
        }
    compact(&t->alerts);
    compact(&r->all_alerts);
    for (uint32_t i = 0; i < dropped; i++)
        free_alert(gone[i]);
}

/* No longer standing: the next crossing opens another one. */
static void
release(registry *r, reg_alert *a)
{
    a->held = false;
    reg_index_remove(&r->open_alerts, pair_hash(r, a->rule, a->machine), a);
    reg_alert_store(r, a);
}

static void
end_alert(registry *r, reg_alert *a)
{
    a->resolved_us = r->now_us;
    reg_list_remove(&r->snoozed, a);
    count_alert(r, a);
    announce(r, a);
}

static void
close_alert(registry *r, reg_alert *a)
{
    end_alert(r, a);
    release(r, a);
}

void
reg_alert_resolve(registry *r, reg_alert *a, const reg_user *by)
{
    a->held = true;
    a->resolved_by = by == NULL ? 0 : by->no;
    end_alert(r, a);
    reg_alert_store(r, a);
}

void
reg_alerts_close_all(registry *r, const reg_rule *rule, const reg_machine *machine)
{
    const reg_tenant *t = rule != NULL ? rule->tenant : machine->tenant;

    for (uint32_t i = 0; i < t->alerts.count; i++) {
        reg_alert *a = t->alerts.at[i];

        if ((rule != NULL && a->rule != rule) || (machine != NULL && a->machine != machine))
            continue;
        if (stands(a))
            a->pos &= ~UINT64_C(1); /* what time alone decides may come again without another reading */
        if (reg_alert_is_open(a))
            close_alert(r, a);
        else if (a->held)
            release(r, a);
    }
}

void
reg_alerts_leave(registry *r, const reg_group *g, const reg_machine *m)
{
    for (uint32_t i = 0; i < g->tenant->rules.count; i++) {
        reg_rule *rule = g->tenant->rules.at[i];

        if (rule->group == g)
            reg_alerts_close_all(r, rule, m);
    }
}

/* ---- snoozing ---- */
void
reg_alert_snooze(registry *r, reg_alert *a, int64_t until_us)
{
    reg_list_remove(&r->snoozed, a);
    a->snoozed_us = until_us;
    r->escalate_at_us = INT64_MIN; /* one may be due earlier now */
    if (until_us != INT64_MIN)
        reg_list_add(&r->snoozed, a);
    count_alert(r, a);
    reg_alert_store(r, a);
}

int64_t
reg_alerts_wake(registry *r)
{
    int64_t  next_us = INT64_MAX;
    uint32_t kept = 0;

    for (uint32_t i = 0; i < r->snoozed.count; i++) {
        reg_alert *a = r->snoozed.at[i];

        count_alert(r, a);
        if (a->loud)
            continue;
        r->snoozed.at[kept++] = a;
        next_us = a->snoozed_us < next_us ? a->snoozed_us : next_us;
    }
    r->snoozed.count = kept;
    return next_us;
}

static reg_rule *
numbered_rule(const reg_call *c)
{
    int64_t no = reg_int(c, "rule", 0);

    return reg_numbered(&c->r->rules, no < 0 ? 0 : (uint64_t)no);
}

static reg_machine *
numbered_machine(const reg_call *c)
{
    int64_t no = reg_int(c, "machine", 0);

    return reg_numbered(&c->r->machines, no < 0 ? 0 : (uint64_t)no);
}

/* Of the transition that is asked for: its position; 0: it has none. */
static uint64_t
pos_of(const reg_call *c)
{
    int64_t pos = reg_int(c, "pos", 0);

    return pos < 0 ? 0 : (uint64_t)pos;
}

/* It, or what came after it, was made before: the asker has judged the same readings once more. */
static bool
was_made(const reg_call *c, const reg_alert *last)
{
    return last != NULL && pos_of(c) != 0 && pos_of(c) <= last->pos;
}

/* Of a version of the rule that was about something else, or before it was off: its alerts are closed. */
static bool
is_of_before(const reg_call *c, const reg_rule *rule)
{
    int64_t version = reg_int(c, "version", 0);

    return version > 0 && version < rule->live_from;
}

static reg_alert *
make_alert(reg_call *c, reg_rule *rule, reg_machine *machine)
{
    reg_alert *a = calloc(1, sizeof *a);

    ASSERT(a != NULL);
    crypto_uuid4(&a->id);
    a->no = reg_next(c->r, NEXT_ALERT);
    a->tenant = rule->tenant;
    a->rule = rule;
    a->machine = machine;
    a->severity = rule->severity;
    a->threshold = rule->threshold;
    a->created_us = c->r->now_us;
    a->reading_us = reg_int(c, "time_us", 0);
    a->pos = pos_of(c);
    a->resolved_us = a->acknowledged_us = a->snoozed_us = INT64_MIN;
    (void)pack_get_double(c->params, "value", &a->value);
    a->peak = a->value;
    (void)pack_get_double(c->params, "peak", &a->peak);
    reg_text_set(&a->metric, rule->metric);
    reg_alert_set_message(c->r, a);
    return a;
}

static void
answer_opened(reg_call *c, const reg_alert *a)
{
    pack_map(c->out, 1);
    pack_str(c->out, VIEW_LIT("alert"));
    reg_alert_pack(c, c->out, a);
}

static uint16_t
op_alert_open(reg_call *c)
{
    reg_rule    *rule = numbered_rule(c);
    reg_machine *machine = numbered_machine(c);

    if (rule == NULL || rule->deleted || !rule->active || is_of_before(c, rule))
        return reg_fail(c, 404, "Alert rule not found.");
    if (machine == NULL || machine->deleted || machine->tenant != rule->tenant)
        return reg_fail(c, 404, "Machine not found.");
    reg_alert *last = find_last(c->r, rule, machine);
    reg_alert *a = find_standing(c->r, rule, machine);
    if (a != NULL || was_made(c, last)) {
        answer_opened(c, a != NULL ? a : last);
        return 200;
    }
    drop_oldest(c->r, rule->tenant);
    a = make_alert(c, rule, machine);
    add_alert(c->r, a);
    reg_alert_store(c->r, a);
    reg_touch(c->r, BOARD_MACHINES, machine);
    announce(c->r, a);
    answer_opened(c, a);
    return 201;
}

static uint16_t
op_alert_close(reg_call *c)
{
    reg_rule    *rule = numbered_rule(c);
    reg_machine *machine = numbered_machine(c);
    reg_alert   *a = rule == NULL || machine == NULL ? NULL : find_standing(c->r, rule, machine);

    if (a == NULL || was_made(c, a))
        return reg_fail(c, 404, NOT_FOUND);
    a->pos = max_u64(a->pos, pos_of(c));
    a->cleared = true;
    if (a->held) { /* resolved long ago */
        release(c->r, a);
        return reg_fail(c, 404, NOT_FOUND);
    }
    (void)pack_get_double(c->params, "peak", &a->peak);
    close_alert(c->r, a);
    answer_opened(c, a);
    return 200;
}

/* Was it decided behind what the alert actor says it has judged? */
static bool
is_ahead(const reg_call *c, const reg_alert *a)
{
    const msgpack_object *judged = pack_get(c->params, "judged");
    uint32_t              part = a->machine->part;

    return a->pos / 2 > (judged != NULL && judged->type == MSGPACK_OBJECT_ARRAY && part < judged->via.array.size &&
                                 judged->via.array.ptr[part].type == MSGPACK_OBJECT_POSITIVE_INTEGER
                             ? judged->via.array.ptr[part].via.u64
                             : INT64_MAX);
}

/* -> [{alert (number), rule, machine, created_us, peak, pos, stands, cleared}] of all that stand, and of the last of a rule and
 * machine that were decided behind `judged` (an lsn a partition), by number, behind `after`. */
static uint16_t
op_alert_open_all(reg_call *c)
{
    uint64_t  after = (uint64_t)reg_int(c, "after", 0);
    uint32_t  found = 0;
    reg_list *all = &c->r->all_alerts;
    pack      items;

    pack_init(&items);
    for (uint32_t i = 0; i < all->count && found < OPEN_PAGE; i++) {
        const reg_alert *a = all->at[i];

        if (a->no <= after || !(stands(a) || (is_ahead(c, a) && find_last(c->r, a->rule, a->machine) == a)))
            continue;
        pack_map(&items, 8);
        pack_name_int(&items, "alert", (int64_t)a->no);
        pack_name_int(&items, "rule", a->rule->no);
        pack_name_int(&items, "machine", a->machine->no);
        pack_name_int(&items, "created_us", a->created_us);
        pack_name_double(&items, "peak", a->peak);
        pack_name_int(&items, "pos", (int64_t)a->pos);
        pack_name_bool(&items, "stands", stands(a));
        pack_name_bool(&items, "cleared", a->cleared);
        found++;
    }
    view raw = pack_view(&items);
    pack_array(c->out, found);
    if (raw.len > 0)
        msgpack_sbuffer_write(&c->out->buffer, (const char *)raw.at, raw.len);
    pack_fini(&items);
    return 200;
}

static view
status_word(const reg_call *c, const char *name)
{
    int64_t n = reg_int(c, name, -1);

    if (n >= STATUS_OFFLINE && n <= STATUS_CRITICAL)
        return view_str(status_words[n]);
    return reg_text(c, name);
}

static uint16_t
op_status_changed(reg_call *c)
{
    const reg_machine *m = numbered_machine(c);
    json_out           j = { .max = REG_EVENT_MAX };

    if (m == NULL || m->deleted)
        return reg_fail(c, 404, "Machine not found.");
    uint64_t seq = reg_event_next(c->r, m->tenant);
    json_open(&j, '{');
    json_name_string(&j, "type", VIEW_LIT("machine_status"));
    json_name(&j, VIEW_LIT("machine_id"));
    json_uuid(&j, &m->id);
    json_name_string(&j, "old_status", status_word(c, "old_status"));
    json_name_string(&j, "new_status", status_word(c, "new_status"));
    json_name(&j, VIEW_LIT("timestamp"));
    json_time(&j, reg_int(c, "time_us", c->r->now_us));
    json_name_int(&j, "seq", (int64_t)seq);
    json_close(&j, '}');
    reg_event_add(c->r, m->tenant, EVENT_MACHINE_STATUS, m->no, &j);
    pack_nil(c->out);
    return 204;
}

const reg_op_fn reg_alert_ops[] = {
    { REG_ALERT_LIST, op_alert_list },   { REG_ALERT_GET, op_alert_get },
    { REG_ALERT_STATS, op_alert_stats },
    { REG_ALERT_OPEN, op_alert_open },   { REG_ALERT_CLOSE, op_alert_close },
    { REG_ALERT_OPEN_ALL, op_alert_open_all }, { REG_STATUS_CHANGED, op_status_changed },
    { 0 },
};
