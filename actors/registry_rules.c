/* registry_rules.c - alert rules: what to compare, for whom, and what to say. */
#include "actors/registry_internal.h"
#include "actors/registry_notify.h"
#include "actors/rules.h"
#include "proto/err.h"

#include <math.h>
#include <stdlib.h>

#define NOT_FOUND "Alert rule not found."

enum { CHANNELS_MAX = 50, SECONDS_MAX = 604800, WINDOW_S = 60, WINDOW_S_MAX = 86400 };

static const char *const type_words[] = { "threshold", "rate_of_change", "no_data", "anomaly", NULL };
static const char *const method_words[] = { "zscore", "ewma", NULL };
static const char *const logic_words[] = { "AND", "OR", NULL };

/* What a wanted rule may borrow from while a request is being taken. */
typedef struct room {
    uint32_t channels[CHANNELS_MAX];
    uint8_t  conditions[RULE_CONDITIONS_BYTES];
} room;

/* ---- stored form ---- */
static void
store_rule(registry *r, reg_rule *u)
{
    pack p;

    u->seq = ++r->rules_seq;
    pack_init(&p);
    pack_map(&p, 27u + (u->channels.at != NULL) + (u->conditions.at != NULL));
    pack_name_uuid(&p, "id", &u->id);
    pack_name_int(&p, "tenant", u->tenant->no);
    pack_name_int(&p, "machine", u->machine == NULL ? 0 : u->machine->no);
    pack_name_int(&p, "group", u->group == NULL ? 0 : u->group->no);
    if (u->channels.at != NULL) {
        pack_str(&p, VIEW_LIT("channels"));
        pack_bin(&p, u->channels);
    }
    if (u->conditions.at != NULL) {
        pack_str(&p, VIEW_LIT("conditions"));
        pack_bin(&p, u->conditions);
    }
    pack_name_int(&p, "type", u->type);
    pack_name_int(&p, "method", u->method);
    pack_name_int(&p, "logic", u->logic);
    pack_name_int(&p, "window", u->window_s);
    pack_name_double(&p, "sensitivity", u->sensitivity);
    pack_name_int(&p, "version", u->version);
    reg_versions_pack(&p, u);
    pack_name_int(&p, "live_from", u->live_from);
    pack_name_int(&p, "seq", (int64_t)u->seq);
    pack_name_str(&p, "name", u->name);
    pack_name_str(&p, "metric", u->metric);
    if (u->message.at == NULL)
        pack_name_nil(&p, "message");
    else
        pack_name_str(&p, "message", u->message);
    pack_name_int(&p, "op", u->op);
    pack_name_int(&p, "severity", u->severity);
    pack_name_bool(&p, "active", u->active);
    pack_name_bool(&p, "deleted", u->deleted);
    pack_name_bool(&p, "has_clear", u->has_clear);
    pack_name_double(&p, "threshold", u->threshold);
    pack_name_double(&p, "clear", u->clear_threshold);
    pack_name_int(&p, "duration", u->duration_s);
    pack_name_int(&p, "cooldown", u->cooldown_s);
    pack_name_int(&p, "created", u->created_us);
    pack_name_int(&p, "updated", u->updated_us);
    reg_put_no(r, REG_RULES, u->no, &p);
    pack_fini(&p);
    reg_touch(r, BOARD_RULES, u);
}

static void
add_rule(registry *r, reg_rule *u)
{
    reg_set_numbered(&r->rules, u->no, u);
    if (u->deleted)
        return;
    reg_list_add(&u->tenant->rules, u);
    reg_enter(r, NOUN_RULE, &u->id, u);
}

static void
free_rule(reg_rule *u)
{
    if (u == NULL)
        return;
    reg_text_fini(&u->name);
    reg_text_fini(&u->metric);
    reg_text_fini(&u->message);
    reg_text_fini(&u->channels);
    reg_text_fini(&u->conditions);
    reg_versions_free(u);
    free(u);
}

static int
load_rule(registry *r, view key, const msgpack_object *map)
{
    reg_rule *u = calloc(1, sizeof *u);
    view      channels, conditions;

    ASSERT(u != NULL);
    u->tenant = reg_numbered(&r->tenants, (uint64_t)reg_stored_int(map, "tenant", 0));
    u->machine = reg_numbered(&r->machines, (uint64_t)reg_stored_int(map, "machine", 0));
    if (key.len != 4 || load_be32(key.at) == 0 || u->tenant == NULL || !pack_get_uuid(map, "id", &u->id) ||
        (u->machine == NULL && reg_stored_int(map, "machine", 0) != 0)) {
        free(u);
        return E_BAD;
    }
    u->no = load_be32(key.at);
    u->group = reg_numbered(&r->groups, (uint64_t)reg_stored_int(map, "group", 0));
    if (pack_get_bin(map, "channels", &channels))
        reg_text_set(&u->channels, channels.at == NULL ? VIEW_LIT("") : channels);
    if (pack_get_bin(map, "conditions", &conditions))
        reg_text_set(&u->conditions, conditions);
    u->type = (uint8_t)reg_stored_int(map, "type", RULE_THRESHOLD);
    u->method = (uint8_t)reg_stored_int(map, "method", METHOD_ZSCORE);
    u->logic = (uint8_t)reg_stored_int(map, "logic", LOGIC_AND);
    u->window_s = (uint32_t)reg_stored_int(map, "window", WINDOW_S);
    u->sensitivity = 3;
    (void)pack_get_double(map, "sensitivity", &u->sensitivity);
    u->version = (uint32_t)reg_stored_int(map, "version", 1);
    u->live_from = (uint32_t)reg_stored_int(map, "live_from", 0);
    u->seq = (uint64_t)reg_stored_int(map, "seq", 0);
    r->rules_seq = max_u64(r->rules_seq, u->seq);
    reg_versions_load(u, map);
    u->op = (uint8_t)reg_stored_int(map, "op", CMP_GT);
    u->severity = (uint8_t)reg_stored_int(map, "severity", SEVERITY_WARNING);
    (void)pack_get_bool(map, "active", &u->active);
    (void)pack_get_bool(map, "deleted", &u->deleted);
    (void)pack_get_bool(map, "has_clear", &u->has_clear);
    (void)pack_get_double(map, "threshold", &u->threshold);
    (void)pack_get_double(map, "clear", &u->clear_threshold);
    u->duration_s = (uint32_t)reg_stored_int(map, "duration", 0);
    u->cooldown_s = (uint32_t)reg_stored_int(map, "cooldown", 0);
    u->created_us = reg_stored_int(map, "created", 0);
    u->updated_us = reg_stored_int(map, "updated", 0);
    reg_stored_text(map, "name", &u->name);
    reg_stored_text(map, "metric", &u->metric);
    reg_stored_text(map, "message", &u->message);
    add_rule(r, u);
    return E_OK;
}

int
reg_rules_load(registry *r)
{
    return reg_scan(r, REG_RULES, load_rule);
}

void
reg_rules_free(registry *r)
{
    for (uint32_t i = 0; i < r->rules.count; i++)
        free_rule(r->rules.at[i]);
    reg_list_fini(&r->rules);
}

board_rule
reg_rule_form(const reg_rule *u)
{
    bool live = u->active && !u->deleted && (u->machine == NULL || !u->machine->deleted);

    return (board_rule){ .id = u->id,
                         .no = u->no,
                         .tenant = u->tenant->no,
                         .machine = u->machine == NULL ? 0 : u->machine->no,
                         .group = u->group == NULL ? 0 : u->group->no,
                         .flags = live ? BOARD_LIVE : 0,
                         .op = u->op,
                         .type = u->type,
                         .method = u->method,
                         .logic = u->logic,
                         .window_s = u->window_s,
                         .sensitivity = u->sensitivity,
                         .severity = u->severity,
                         .threshold = u->threshold,
                         .clear_threshold = u->clear_threshold,
                         .duration_s = u->duration_s,
                         .cooldown_s = u->cooldown_s,
                         .version = u->version,
                         .changed = u->seq,
                         .live_from = u->live_from };
}

int
reg_show_rule(registry *r, const reg_rule *u)
{
    board_rule b = reg_rule_form(u);

    return board_put_rule(r->board, &b, u->metric, u->name, u->message, u->conditions);
}

bool
reg_rules_use(const reg_group *g)
{
    for (uint32_t i = 0; i < g->tenant->rules.count; i++)
        if (((const reg_rule *)g->tenant->rules.at[i])->group == g)
            return true;
    return false;
}

/* ---- answers ---- */
/* Those that are still there. */
static void
pack_channels(const reg_call *c, pack *p, const reg_rule *u)
{
    uint32_t living = 0;

    pack_str(p, VIEW_LIT("channel_ids"));
    if (u->channels.at == NULL) {
        pack_nil(p);
        return;
    }
    for (size_t i = 0; i + 4 <= u->channels.len; i += 4)
        living += reg_numbered(&c->r->channels, load_u32(u->channels.at + i)) != NULL;
    pack_array(p, living);
    for (size_t i = 0; i + 4 <= u->channels.len; i += 4) {
        const reg_channel *ch = reg_numbered(&c->r->channels, load_u32(u->channels.at + i));

        if (ch != NULL)
            pack_uuid(p, &ch->id);
    }
}

static void
pack_conditions(pack *p, const reg_rule *u)
{
    rule_condition c[RULE_CONDITIONS_MAX];
    uint32_t       count = rule_conditions_read(u->conditions, c);

    pack_str(p, VIEW_LIT("conditions"));
    if (count == 0) {
        pack_nil(p);
        return;
    }
    pack_array(p, count);
    for (uint32_t i = 0; i < count; i++) {
        pack_map(p, 3);
        pack_name_str(p, "metric_name", c[i].metric);
        pack_name_str(p, "operator", view_str(compare_words[c[i].op]));
        pack_name_double(p, "threshold", c[i].threshold);
    }
}

static void
pack_rule(reg_call *c, pack *p, const void *record)
{
    const reg_rule *u = record;

    pack_map(p, 24);
    pack_name_uuid(p, "id", &u->id);
    pack_name_str(p, "name", u->name);
    if (u->machine == NULL)
        pack_name_nil(p, "machine_id");
    else
        pack_name_uuid(p, "machine_id", &u->machine->id);
    if (u->group == NULL)
        pack_name_nil(p, "group_id");
    else
        pack_name_uuid(p, "group_id", &u->group->id);
    pack_channels(c, p, u);
    pack_name_str(p, "type", view_str(type_words[u->type]));
    pack_conditions(p, u);
    pack_name_str(p, "logic", view_str(logic_words[u->logic]));
    pack_name_int(p, "window_seconds", u->window_s);
    pack_name_double(p, "sensitivity", u->sensitivity);
    pack_name_str(p, "method", view_str(method_words[u->method]));
    pack_name_str(p, "metric_name", u->metric);
    pack_name_str(p, "operator", view_str(compare_words[u->op]));
    pack_name_double(p, "threshold", u->threshold);
    pack_name_str(p, "severity", view_str(severity_words[u->severity]));
    pack_name_int(p, "duration_seconds", u->duration_s);
    if (u->has_clear)
        pack_name_double(p, "clear_threshold", u->clear_threshold);
    else
        pack_name_nil(p, "clear_threshold");
    pack_name_int(p, "cooldown_seconds", u->cooldown_s);
    if (u->message.at == NULL)
        pack_name_nil(p, "message");
    else
        pack_name_str(p, "message", u->message);
    pack_name_bool(p, "is_active", u->active);
    pack_name_uuid(p, "tenant_id", &u->tenant->id);
    pack_name_int(p, "version", u->version);
    pack_name_time(p, "created_at", u->created_us);
    pack_name_time(p, "updated_at", u->updated_us);
}

static reg_rule *
rule_of(const reg_call *c)
{
    uuid      id;
    reg_rule *u = reg_id(c, "id", &id) ? reg_find(c->r, NOUN_RULE, &id) : NULL;

    return u != NULL && u->tenant == c->tenant ? u : NULL;
}

/* ---- what a request says, over what the record has ---- */
/* True: refused. */
static bool
take_word(reg_call *c, const char *name, const char *const *words, uint8_t *out, const char *refusal)
{
    view text;
    int  n;

    if (!reg_given(c, name, &text) || text.at == NULL)
        return false;
    n = word_index(words, text);
    if (n < 0) {
        (void)reg_fail(c, 422, refusal);
        return true;
    }
    *out = (uint8_t)n;
    return false;
}

static uint16_t
take_words(reg_call *c, reg_rule *w)
{
    view text;

    if (reg_given(c, "operator", &text)) {
        int op = word_index(compare_words, text);
        if (op < 0)
            return reg_fail(c, 422, "operator must be one of gt, gte, lt, lte, eq, ne.");
        w->op = (uint8_t)op;
    }
    if (reg_given(c, "severity", &text)) {
        int severity = word_index(severity_words, text);
        if (severity < 0)
            return reg_fail(c, 422, "severity must be one of info, warning, critical.");
        w->severity = (uint8_t)severity;
    }
    return take_word(c, "type", type_words, &w->type, "type must be one of threshold, rate_of_change, no_data, anomaly.") ||
                   take_word(c, "method", method_words, &w->method, "method must be zscore or ewma.") ||
                   take_word(c, "logic", logic_words, &w->logic, "logic must be AND or OR.")
               ? 422
               : 0;
}

static bool
take_condition(const reg_call *c, const msgpack_object *o, rule_condition *out)
{
    view op;
    int  n;

    (void)c;
    if (o->type != MSGPACK_OBJECT_MAP || !pack_get_str(o, "metric_name", &out->metric) || !pack_get_str(o, "operator", &op) ||
        !pack_get_double(o, "threshold", &out->threshold) || !isfinite(out->threshold) ||
        reg_characters(out->metric) < 1 || reg_characters(out->metric) > 255 || (n = word_index(compare_words, op)) < 0)
        return false;
    out->op = (uint8_t)n;
    return true;
}

/* The first condition's members are the rule's own: what an alert shows. */
static uint16_t
take_conditions(reg_call *c, reg_rule *w, room *r)
{
    const msgpack_object *list = pack_get(c->params, "conditions");
    rule_condition        given[RULE_CONDITIONS_MAX];

    if (!pack_has(c->params, "conditions"))
        return 0;
    w->conditions = (view){ 0 };
    if (list == NULL || list->type == MSGPACK_OBJECT_NIL || (list->type == MSGPACK_OBJECT_ARRAY && list->via.array.size == 0))
        return 0;
    if (list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size > RULE_CONDITIONS_MAX)
        return reg_fail(c, 422, "conditions must have at most 8 items.");
    for (uint32_t i = 0; i < list->via.array.size; i++)
        if (!take_condition(c, &list->via.array.ptr[i], &given[i]))
            return reg_fail(c, 422, "conditions must each have metric_name, operator and threshold.");
    w->conditions = view_of(r->conditions, rule_conditions_pack(given, list->via.array.size, r->conditions));
    w->metric = given[0].metric;
    w->op = given[0].op;
    w->threshold = given[0].threshold;
    return 0;
}

/* What a type needs, and what would mean nothing with it. */
static uint16_t
check_type(reg_call *c, reg_rule *w)
{
    bool plain = w->type == RULE_THRESHOLD && w->conditions.at == NULL;

    if (w->conditions.at != NULL && w->type != RULE_THRESHOLD)
        return reg_fail(c, 422, "conditions must be null unless type is threshold.");
    if (w->has_clear && !plain && w->type != RULE_RATE)
        return reg_fail(c, 422, "clear_threshold must be null for this type of rule.");
    if (w->type == RULE_NO_DATA && w->duration_s < 1)
        return reg_fail(c, 422, "duration_seconds must be between 1 and 604800 for this type of rule.");
    if (w->type == RULE_NO_DATA)
        w->threshold = w->duration_s;
    if (w->type == RULE_ANOMALY)
        w->threshold = w->sensitivity;
    if (!w->has_clear)
        w->clear_threshold = w->threshold;
    return 0;
}

static uint16_t
take_texts(reg_call *c, reg_rule *w)
{
    view text;

    if (w->conditions.at == NULL && reg_given(c, "metric_name", &text))
        w->metric = text;
    if (reg_given(c, "name", &text))
        w->name = reg_trim(text);
    else if (w->name.len == 0)
        w->name = w->metric;
    if (reg_given(c, "message", &text))
        w->message = text;
    if (reg_characters(w->name) < 1 || reg_characters(w->name) > 255)
        return reg_fail(c, 422, "name must have 1 to 255 characters.");
    if (reg_characters(w->metric) < 1 || reg_characters(w->metric) > 255)
        return reg_fail(c, 422, "metric_name must have 1 to 255 characters.");
    if (reg_characters(w->message) > 500)
        return reg_fail(c, 422, "message must have at most 500 characters.");
    return 0;
}

static uint16_t
take_numbers(reg_call *c, reg_rule *w)
{
    int64_t duration_s = reg_int(c, "duration_seconds", w->duration_s);
    int64_t cooldown_s = reg_int(c, "cooldown_seconds", w->cooldown_s);
    int64_t window_s = reg_int(c, "window_seconds", w->window_s);

    if (w->conditions.at == NULL && pack_has(c->params, "threshold") && !pack_get_double(c->params, "threshold", &w->threshold))
        return reg_fail(c, 422, "threshold must be a number.");
    if (pack_has(c->params, "clear_threshold"))
        w->has_clear = pack_get_double(c->params, "clear_threshold", &w->clear_threshold);
    if (!w->has_clear)
        w->clear_threshold = w->threshold;
    if (!isfinite(w->threshold) || !isfinite(w->clear_threshold))
        return reg_fail(c, 422, "threshold must be finite.");
    if (duration_s < 0 || duration_s > SECONDS_MAX)
        return reg_fail(c, 422, "duration_seconds must be between 0 and 604800.");
    if (cooldown_s < 0 || cooldown_s > SECONDS_MAX)
        return reg_fail(c, 422, "cooldown_seconds must be between 0 and 604800.");
    if (window_s < 1 || window_s > WINDOW_S_MAX)
        return reg_fail(c, 422, "window_seconds must be between 1 and 86400.");
    if (pack_has(c->params, "sensitivity") && !pack_get_double(c->params, "sensitivity", &w->sensitivity))
        return reg_fail(c, 422, "sensitivity must be a number.");
    if (!(w->sensitivity >= 0.5 && w->sensitivity <= 20))
        return reg_fail(c, 422, "sensitivity must be between 0.5 and 20.");
    w->window_s = (uint32_t)window_s;
    w->duration_s = (uint32_t)duration_s;
    w->cooldown_s = (uint32_t)cooldown_s;
    return 0;
}

static uint16_t
take_machine(reg_call *c, reg_rule *w)
{
    view text;

    if (reg_given(c, "group_id", &text)) {
        w->group = text.at == NULL ? NULL : reg_group_of(c, "group_id");
        if (text.at != NULL && w->group == NULL)
            return reg_fail(c, 404, "Machine group not found.");
    }
    if (reg_given(c, "machine_id", &text)) {
        w->machine = text.at == NULL ? NULL : reg_machine_of(c, "machine_id");
        if (text.at != NULL && w->machine == NULL)
            return reg_fail(c, 404, "Machine not found.");
    }
    if (w->machine != NULL && w->group != NULL)
        return reg_fail(c, 422, "group_id must be null when machine_id is not.");
    return 0;
}

/* Into w->channels: bytes of the caller's that live as long as the call. */
static uint16_t
take_channels(reg_call *c, reg_rule *w, room *r)
{
    const msgpack_object *ids = pack_get(c->params, "channel_ids");
    uuid                  id;

    if (!pack_has(c->params, "channel_ids"))
        return 0;
    w->channels = (view){ 0 };
    if (ids == NULL || ids->type == MSGPACK_OBJECT_NIL)
        return 0;
    if (ids->type != MSGPACK_OBJECT_ARRAY || ids->via.array.size > CHANNELS_MAX)
        return reg_fail(c, 422, "channel_ids must have at most 50 items.");
    for (uint32_t i = 0; i < ids->via.array.size; i++) {
        const msgpack_object *o = &ids->via.array.ptr[i];
        const reg_channel    *ch = NULL;

        if (o->type == MSGPACK_OBJECT_STR && uuid_parse(view_of(o->via.str.ptr, o->via.str.size), &id))
            ch = reg_channel_by(c, &id);
        if (ch == NULL)
            return reg_fail(c, 404, "Notification channel not found.");
        r->channels[i] = ch->no;
    }
    if (ids->via.array.size > 0) /* none named: all, as with null */
        w->channels = view_of(r->channels, ids->via.array.size * sizeof *r->channels);
    return 0;
}

/* A hysteresis on the wrong side would never clear, or clear at once. */
static uint16_t
check_hysteresis(reg_call *c, const reg_rule *w)
{
    bool above = w->op == CMP_GT || w->op == CMP_GTE;
    bool below = w->op == CMP_LT || w->op == CMP_LTE;

    if ((above && w->clear_threshold > w->threshold) || (below && w->clear_threshold < w->threshold))
        return reg_fail(c, 422, "clear_threshold must lie on the quiet side of threshold.");
    return 0;
}

static uint16_t
take_members(reg_call *c, reg_rule *w, room *r)
{
    uint16_t bad;

    if ((bad = take_words(c, w)) != 0 || (bad = take_conditions(c, w, r)) != 0 || (bad = take_texts(c, w)) != 0 ||
        (bad = take_numbers(c, w)) != 0 ||
        (bad = take_machine(c, w)) != 0 || (bad = take_channels(c, w, r)) != 0 || (bad = check_type(c, w)) != 0 || (bad = check_hysteresis(c, w)) != 0)
        return bad;
    (void)pack_get_bool(c->params, "is_active", &w->active);
    return 0;
}

/* The wanted state into the record; texts of `w` are borrowed, also from the record itself. */
static void
apply(reg_rule *u, const reg_rule *w)
{
    reg_rule before = *u;

    *u = *w;
    u->name = u->metric = u->message = u->channels = u->conditions = (view){ 0 };
    reg_text_set(&u->name, w->name);
    reg_text_set(&u->metric, w->metric);
    reg_text_set(&u->message, w->message);
    reg_text_set(&u->channels, w->channels);
    reg_text_set(&u->conditions, w->conditions);
    reg_text_fini(&before.conditions);
    reg_text_fini(&before.channels);
    reg_text_fini(&before.name);
    reg_text_fini(&before.metric);
    reg_text_fini(&before.message);
}

/* ---- operations ---- */
static uint16_t
op_rule_list(reg_call *c)
{
    return reg_answer_list(c, &c->tenant->rules, pack_rule);
}

/* By type; conditions bring their own. */
static uint16_t
check_required(reg_call *c)
{
    static const char *const always[] = { "severity", "metric_name", "operator", "threshold" };
    view                     type = reg_text(c, "type");
    bool                     bare = view_eq(type, VIEW_LIT("no_data")) || view_eq(type, VIEW_LIT("anomaly"));
    const msgpack_object    *list = pack_get(c->params, "conditions");
    bool                     composite = list != NULL && list->type == MSGPACK_OBJECT_ARRAY && list->via.array.size > 0;
    char                     text[64];

    for (size_t i = 0; i < (composite ? 1 : bare ? 2 : COUNT_OF(always)); i++)
        if (!pack_has(c->params, always[i])) {
            snprintf(text, sizeof text, "%s is required.", always[i]);
            return reg_fail(c, 422, text);
        }
    return 0;
}

static reg_rule
fresh_rule(const reg_call *c)
{
    return (reg_rule){ .active = true, .version = 1, .window_s = WINDOW_S, .sensitivity = 3, .tenant = c->tenant };
}

static uint16_t
op_rule_create(reg_call *c)
{
    reg_rule  w = fresh_rule(c);
    room      r;
    uint16_t  bad;

    if ((bad = check_required(c)) != 0)
        return bad;
    if ((bad = take_members(c, &w, &r)) != 0)
        return bad;
    if (reg_within_cap(c, &c->tenant->rules, c->r->caps.rules, "alert rules") != 0)
        return 400;
    if (!reg_has_room(c->r, BOARD_RULES, NEXT_RULE))
        return reg_fail(c, 507, "This server has no room for more alert rules.");
    reg_rule *u = calloc(1, sizeof *u);
    ASSERT(u != NULL);
    crypto_uuid4(&w.id);
    w.no = (uint32_t)reg_next(c->r, NEXT_RULE);
    w.created_us = w.updated_us = c->r->now_us;
    apply(u, &w);
    add_rule(c->r, u);
    store_rule(c->r, u);
    reg_audit(c, "alert_rule", &u->id, u->name);
    pack_rule(c, c->out, u);
    return 201;
}

/* Whoever tries a rule out runs it over readings himself: what it would be is all that is said. */
static uint16_t
op_rule_test(reg_call *c)
{
    reg_rule   w = fresh_rule(c);
    board_rule form;
    room       r;
    uint16_t   bad;

    if ((bad = check_required(c)) != 0 || (bad = take_members(c, &w, &r)) != 0)
        return bad;
    form = reg_rule_form(&w);
    pack_map(c->out, 3);
    pack_str(c->out, VIEW_LIT("rule"));
    pack_bin(c->out, view_of(&form, sizeof form));
    pack_name_str(c->out, "metric", w.metric);
    pack_str(c->out, VIEW_LIT("conditions"));
    pack_bin(c->out, w.conditions);
    return 200;
}

static uint16_t
op_rule_get(reg_call *c)
{
    const reg_rule *u = rule_of(c);

    if (u == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    pack_rule(c, c->out, u);
    return 200;
}

static uint16_t
op_rule_update(reg_call *c)
{
    reg_rule *u = rule_of(c);
    room      r;
    uint16_t  bad;

    if (u == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    reg_rule w = *u;
    if ((bad = take_members(c, &w, &r)) != 0)
        return bad;
    reg_rule_keep(c->r, u);
    memcpy(w.was, u->was, sizeof w.was);
    w.version++;
    /* Alerts of what it was watching before are of no rule any longer. */
    if ((u->active && !w.active) || !view_eq(u->metric, w.metric) || u->type != w.type ||
        !view_eq(u->conditions, w.conditions) || (w.machine != NULL && w.machine != u->machine) ||
        (w.group != NULL && w.group != u->group)) {
        reg_alerts_close_all(c->r, u, NULL);
        w.live_from = w.version;
    }
    if (w.active && !u->active)
        w.live_from = w.version;
    w.updated_us = c->r->now_us;
    apply(u, &w);
    store_rule(c->r, u);
    reg_audit(c, "alert_rule", &u->id, u->name);
    pack_rule(c, c->out, u);
    return 200;
}

static uint16_t
op_rule_delete(reg_call *c)
{
    reg_rule *u = rule_of(c);

    if (u == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    reg_alerts_close_all(c->r, u, NULL);
    reg_leave(c->r, NOUN_RULE, &u->id, u);
    reg_list_remove(&c->tenant->rules, u);
    reg_rule_keep(c->r, u);
    u->deleted = true;
    u->version++;
    u->updated_us = c->r->now_us;
    store_rule(c->r, u);
    reg_audit(c, "alert_rule", &u->id, u->name);
    pack_nil(c->out);
    return 204;
}

const reg_op_fn reg_rule_ops[] = {
    { REG_RULE_LIST, op_rule_list },     { REG_RULE_CREATE, op_rule_create }, { REG_RULE_GET, op_rule_get },
    { REG_RULE_UPDATE, op_rule_update }, { REG_RULE_DELETE, op_rule_delete }, { REG_RULE_TEST, op_rule_test },
    { 0 },
};
