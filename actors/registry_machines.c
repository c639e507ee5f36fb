/* registry_machines.c - machines: identities, the partition each keeps for ever, soft deletion.
 *
 * A deleted machine stays as a tombstone: its readings belong to its number until retention takes them, and its
 * identifier may be given to a new machine with a new number.
 */
#include "actors/registry_internal.h"
#include "actors/status.h"
#include "proto/err.h"

#include <stdlib.h>

enum { OFFLINE_AFTER_S = 300, NAME_MAX_CHARS = 255 };

#define NOT_FOUND "Machine not found."
#define TAKEN "A machine with this identifier already exists for this tenant."

/* ---- stored form ---- */
static void
pack_text_or_nil(pack *p, const char *name, view text)
{
    if (text.at == NULL)
        pack_name_nil(p, name);
    else
        pack_name_str(p, name, text);
}

static void
store_machine(registry *r, reg_machine *m)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 14);
    pack_name_uuid(&p, "id", &m->id);
    pack_name_int(&p, "tenant", m->tenant->no);
    pack_name_str(&p, "identifier", m->identifier);
    pack_name_str(&p, "name", m->name);
    pack_text_or_nil(&p, "location", m->location);
    pack_name_str(&p, "timezone", m->timezone);
    pack_name_int(&p, "protocol", m->protocol);
    pack_name_int(&p, "part", m->part);
    pack_name_int(&p, "group", m->group == NULL ? 0 : m->group->no);
    pack_name_int(&p, "offline_after", m->offline_after_s);
    pack_name_bool(&p, "active", m->active);
    pack_name_bool(&p, "deleted", m->deleted);
    pack_name_int(&p, "created", m->created_us);
    pack_name_int(&p, "updated", m->updated_us);
    reg_put_no(r, REG_MACHINES, m->no, &p);
    pack_fini(&p);
    reg_touch(r, BOARD_MACHINES, m);
}

/* Identifiers are the tenant's own: its number is in front of the hashed bytes. */
static uint64_t
identifier_hash(const registry *r, const reg_tenant *t, view identifier)
{
    return reg_hash(r, 1000 + t->no, identifier.at, identifier.len);
}

static reg_machine *
find_identifier(const registry *r, const reg_tenant *t, view identifier)
{
    uint64_t     hash = identifier_hash(r, t, identifier);
    reg_machine *m;

    for (uint32_t at = 0; (m = reg_index_next(&r->by_identifier, hash, &at)) != NULL;)
        if (m->tenant == t && view_eq(m->identifier, identifier))
            return m;
    return NULL;
}

static void
set_group(reg_machine *m, reg_group *g)
{
    if (m->group != NULL)
        m->group->machines--;
    m->group = g;
    if (g != NULL)
        g->machines++;
}

void
reg_machines_leave(registry *r, const reg_group *g)
{
    const reg_list *all = &g->tenant->machines;

    for (uint32_t i = 0; i < all->count && g->machines > 0; i++) {
        reg_machine *m = all->at[i];

        if (m->group != g)
            continue;
        set_group(m, NULL);
        m->updated_us = r->now_us;
        store_machine(r, m);
    }
}

static void
add_machine(registry *r, reg_machine *m)
{
    reg_set_numbered(&r->machines, m->no, m);
    if (m->deleted)
        return;
    reg_list_add(&m->tenant->machines, m);
    reg_enter(r, NOUN_MACHINE, &m->id, m);
    reg_index_put(&r->by_identifier, identifier_hash(r, m->tenant, m->identifier), m);
}

static int
load_machine(registry *r, view key, const msgpack_object *map)
{
    reg_machine *m = calloc(1, sizeof *m);

    ASSERT(m != NULL);
    m->tenant = reg_numbered(&r->tenants, (uint64_t)reg_stored_int(map, "tenant", 0));
    if (key.len != 4 || load_be32(key.at) == 0 || m->tenant == NULL || !pack_get_uuid(map, "id", &m->id)) {
        free(m);
        return E_BAD;
    }
    m->no = load_be32(key.at);
    m->protocol = (uint8_t)reg_stored_int(map, "protocol", 0);
    m->part = (uint16_t)reg_stored_int(map, "part", 0);
    m->offline_after_s = (uint32_t)reg_stored_int(map, "offline_after", OFFLINE_AFTER_S);
    (void)pack_get_bool(map, "active", &m->active);
    (void)pack_get_bool(map, "deleted", &m->deleted);
    m->created_us = reg_stored_int(map, "created", 0);
    m->updated_us = reg_stored_int(map, "updated", 0);
    reg_stored_text(map, "identifier", &m->identifier);
    reg_stored_text(map, "name", &m->name);
    reg_stored_text(map, "location", &m->location);
    reg_stored_text(map, "timezone", &m->timezone);
    if (!m->deleted)
        set_group(m, reg_numbered(&r->groups, (uint64_t)reg_stored_int(map, "group", 0)));
    add_machine(r, m);
    return E_OK;
}

int
reg_machines_load(registry *r)
{
    return reg_scan(r, REG_MACHINES, load_machine);
}

void
reg_machines_free(registry *r)
{
    for (uint32_t i = 0; i < r->machines.count; i++) {
        reg_machine *m = r->machines.at[i];

        if (m == NULL)
            continue;
        reg_text_fini(&m->identifier);
        reg_text_fini(&m->name);
        reg_text_fini(&m->location);
        reg_text_fini(&m->timezone);
        free(m);
    }
    reg_list_fini(&r->machines);
}

/* ---- the board ---- */
static board_machine
shown(const reg_machine *m)
{
    return (board_machine){ .id = m->id,
                            .no = m->no,
                            .tenant = m->tenant->no,
                            .flags = m->deleted || !m->active ? 0 : BOARD_LIVE,
                            .offline_after_s = m->offline_after_s,
                            .part = m->part,
                            .group = m->group == NULL ? 0 : m->group->no,
                            .open_alerts = m->open_alerts,
                            .open_critical = m->open_critical,
                            .open_warning = m->open_warning,
                            .created_us = m->created_us,
                            .updated_us = m->updated_us,
                            .protocol = m->protocol };
}

int
reg_show_machine(registry *r, const reg_machine *m)
{
    board_machine b = shown(m);

    return board_put_machine(r->board, &b, m->identifier, m->name, m->location);
}

static board_arrival
arrival_of(const registry *r, const reg_machine *m)
{
    board_arrival a = { 0 };

    if (r->board == NULL || m->part >= board_parts(r->board) || !board_arrival_of(r->board, m->part, m->no, &a))
        return (board_arrival){ 0 };
    return a;
}

static enum machine_status
status_of(const registry *r, const reg_machine *m)
{
    board_machine b = shown(m);
    board_arrival a = arrival_of(r, m);

    return machine_status_of(&b, &a, r->now_us);
}

/* ---- answers ---- */
static void
pack_machine(reg_call *c, pack *p, const void *record)
{
    const reg_machine *m = record;
    board_arrival      a = arrival_of(c->r, m);

    pack_map(p, 14);
    pack_name_uuid(p, "id", &m->id);
    pack_name_str(p, "name", m->name);
    pack_name_str(p, "machine_identifier", m->identifier);
    pack_name_str(p, "protocol", view_str(protocol_words[m->protocol]));
    pack_text_or_nil(p, "location", m->location);
    pack_name_str(p, "status", view_str(status_words[status_of(c->r, m)]));
    pack_name_uuid(p, "tenant_id", &m->tenant->id);
    pack_name_bool(p, "is_active", m->active);
    pack_name_time(p, "created_at", m->created_us);
    pack_name_time(p, "updated_at", m->updated_us);
    if (m->group == NULL)
        pack_name_nil(p, "group_id");
    else
        pack_name_uuid(p, "group_id", &m->group->id);
    pack_name_str(p, "timezone", m->timezone);
    pack_name_int(p, "offline_after_seconds", m->offline_after_s);
    pack_name_time(p, "last_reading_at", a.arrived_us == 0 ? INT64_MIN : a.newest_us);
}

reg_machine *
reg_machine_of(reg_call *c, const char *name)
{
    uuid         id;
    reg_machine *m = reg_id(c, name, &id) ? reg_find(c->r, NOUN_MACHINE, &id) : NULL;

    return m != NULL && m->tenant == c->tenant ? m : NULL;
}

/* ---- the list: filter, sort, page ---- */
typedef struct listed {
    const reg_machine  *machine;
    enum machine_status status;
    int64_t             newest_us;
} listed;

typedef int compare_fn(const listed *a, const listed *b);

static int
by_text(view a, view b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int    rc = len == 0 ? 0 : memcmp(a.at, b.at, len);

    return rc != 0 ? rc : (a.len > b.len) - (a.len < b.len);
}

static int
by_number(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int
by_name(const listed *a, const listed *b)
{
    return by_text(a->machine->name, b->machine->name);
}

static int
by_identifier(const listed *a, const listed *b)
{
    return by_text(a->machine->identifier, b->machine->identifier);
}

static int
by_status(const listed *a, const listed *b)
{
    return by_number(a->status, b->status);
}

static int
by_location(const listed *a, const listed *b)
{
    return by_text(a->machine->location, b->machine->location);
}

static int
by_created(const listed *a, const listed *b)
{
    return by_number(a->machine->created_us, b->machine->created_us);
}

static int
by_newest(const listed *a, const listed *b)
{
    return by_number(a->newest_us, b->newest_us);
}

static const struct {
    const char *name;
    compare_fn *fn;
} orders[] = {
    { "created_at", by_created }, { "name", by_name },         { "machine_identifier", by_identifier },
    { "status", by_status },      { "location", by_location }, { "last_reading_at", by_newest },
};

typedef struct sort_rule {
    compare_fn *fn;
    int         sign;
} sort_rule;

static int
compare_listed(const void *left, const void *right, void *ctx)
{
    const listed    *a = left;
    const listed    *b = right;
    const sort_rule *rule = ctx;
    int              rc = rule->fn(a, b);

    return rule->sign * (rc != 0 ? rc : by_number(a->machine->no, b->machine->no));
}

static bool
holds(view text, view part)
{
    for (size_t i = 0; i + part.len <= text.len; i++)
        if (reg_same_lower(view_of(text.at + i, part.len), part))
            return true;
    return part.len == 0;
}

static bool
is_wanted(const listed *l, view search, int status)
{
    if (status >= 0 && (int)l->status != status)
        return false;
    return search.len == 0 || holds(l->machine->name, search) || holds(l->machine->identifier, search) ||
           holds(l->machine->location, search);
}

static uint32_t
gather(reg_call *c, listed *out)
{
    const reg_list  *all = &c->tenant->machines;
    view             search = reg_text(c, "search");
    int              status = word_index(status_words, reg_text(c, "status"));
    const reg_group *group = reg_group_of(c, "group_id"); /* NULL: of any or none */
    uint32_t         count = 0;

    for (uint32_t i = 0; i < all->count; i++) {
        const reg_machine *m = all->at[i];
        listed             l = { m, status_of(c->r, m), arrival_of(c->r, m).newest_us };

        if (group != NULL && m->group != group)
            continue;
        if (is_wanted(&l, search, status))
            out[count++] = l;
    }
    return count;
}

static sort_rule
sort_rule_of(const reg_call *c)
{
    sort_rule rule = { by_created, view_eq(reg_text(c, "sort_dir"), VIEW_LIT("desc")) ? -1 : 1 };

    for (size_t i = 0; i < COUNT_OF(orders); i++)
        if (view_eq(reg_text(c, "sort_by"), view_str(orders[i].name)))
            rule.fn = orders[i].fn;
    return rule;
}

static uint16_t
op_machine_list(reg_call *c)
{
    uint32_t  room = c->tenant->machines.count;
    listed   *found;
    reg_list  sorted = { 0 };
    sort_rule rule = sort_rule_of(c);

    if (reg_text(c, "group_id").len > 0 && reg_group_of(c, "group_id") == NULL)
        return reg_fail(c, 404, "Machine group not found.");
    found = malloc((room + 1) * sizeof *found);
    ASSERT(found != NULL);
    uint32_t count = gather(c, found);
    qsort_r(found, count, sizeof *found, compare_listed, &rule);
    for (uint32_t i = 0; i < count; i++)
        reg_list_add(&sorted, (void *)(uintptr_t)found[i].machine);
    uint16_t status = reg_answer_list(c, &sorted, pack_machine);
    reg_list_fini(&sorted);
    free(found);
    return status;
}

/* ---- create, change, delete ---- */
/* What a request may say of a machine, checked; members not given keep what the record has. */
typedef struct wanted {
    reg_group *group;
    view       identifier;
    view       name;
    view       location;
    view       timezone;
    uint32_t   offline_after_s;
    uint8_t    protocol;
    bool       active;
} wanted;

static bool
is_between(view text, size_t min, size_t max)
{
    size_t n = reg_characters(text);

    return n >= min && n <= max;
}

static uint16_t
take_texts(reg_call *c, wanted *w)
{
    view text;

    if (reg_given(c, "machine_identifier", &text))
        w->identifier = text;
    if (reg_given(c, "name", &text))
        w->name = reg_trim(text);
    if (reg_given(c, "location", &text))
        w->location = text;
    if (reg_given(c, "timezone", &text) && text.at != NULL)
        w->timezone = text;
    if (!is_between(w->identifier, 1, NAME_MAX_CHARS))
        return reg_fail(c, 422, "machine_identifier must have 1 to 255 characters.");
    if (!is_between(w->name, 1, NAME_MAX_CHARS))
        return reg_fail(c, 422, "name must have 1 to 255 characters.");
    if (!is_between(w->location, 0, NAME_MAX_CHARS))
        return reg_fail(c, 422, "location must have at most 255 characters.");
    if (!is_between(w->timezone, 1, 64))
        return reg_fail(c, 422, "timezone must have 1 to 64 characters.");
    return 0;
}

static uint16_t
take_members(reg_call *c, wanted *w)
{
    view    text;
    int64_t after_s = reg_int(c, "offline_after_seconds", w->offline_after_s);

    if (reg_given(c, "protocol", &text)) {
        int protocol = word_index(protocol_words, text);
        if (protocol < 0)
            return reg_fail(c, 422, "protocol must be one of opc_ua, modbus_tcp, csv, json, mqtt, mtconnect.");
        w->protocol = (uint8_t)protocol;
    }
    if (after_s < 1 || after_s > 31536000)
        return reg_fail(c, 422, "offline_after_seconds must be between 1 and 31536000.");
    w->offline_after_s = (uint32_t)after_s;
    (void)pack_get_bool(c->params, "is_active", &w->active);
    if (reg_given(c, "group_id", &text)) {
        w->group = text.at == NULL ? NULL : reg_group_of(c, "group_id");
        if (text.at != NULL && w->group == NULL)
            return reg_fail(c, 404, "Machine group not found.");
    }
    return take_texts(c, w);
}

static void
apply(reg_machine *m, const wanted *w)
{
    reg_text_set(&m->identifier, w->identifier);
    reg_text_set(&m->name, w->name);
    reg_text_set(&m->location, w->location);
    reg_text_set(&m->timezone, w->timezone);
    m->offline_after_s = w->offline_after_s;
    m->protocol = w->protocol;
    m->active = w->active;
    set_group(m, w->group);
}

static uint16_t
op_machine_create(reg_call *c)
{
    registry *r = c->r;
    wanted    w = { .offline_after_s = OFFLINE_AFTER_S, .active = true, .timezone = VIEW_LIT("UTC") };
    uint16_t  bad;

    if (!pack_has(c->params, "protocol"))
        return reg_fail(c, 422, "protocol is required.");
    if ((bad = take_members(c, &w)) != 0)
        return bad;
    if (find_identifier(r, c->tenant, w.identifier) != NULL)
        return reg_fail(c, 409, TAKEN);
    if (reg_within_cap(c, &c->tenant->machines, r->caps.machines, "machines") != 0)
        return 400;
    if (!reg_has_room(r, BOARD_MACHINES, NEXT_MACHINE))
        return reg_fail(c, 507, "This server has no room for more machines.");
    reg_machine *m = calloc(1, sizeof *m);
    ASSERT(m != NULL);
    crypto_uuid4(&m->id);
    m->no = (uint32_t)reg_next(r, NEXT_MACHINE);
    m->tenant = c->tenant;
    m->part = (uint16_t)(m->no % r->parts);
    m->created_us = m->updated_us = r->now_us;
    apply(m, &w);
    add_machine(r, m);
    store_machine(r, m);
    reg_audit(c, "machine", &m->id, m->identifier);
    pack_machine(c, c->out, m);
    return 201;
}

static uint16_t
op_machine_get(reg_call *c)
{
    const reg_machine *m = reg_machine_of(c, "id");

    if (m == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    pack_machine(c, c->out, m);
    return 200;
}

static uint16_t
op_machine_update(reg_call *c)
{
    registry    *r = c->r;
    reg_machine *m = reg_machine_of(c, "id");
    uint16_t     bad;

    if (m == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    /* Copies: apply() frees what these views borrow. */
    wanted       w = { .offline_after_s = m->offline_after_s, .protocol = m->protocol, .active = m->active };
    reg_machine  before = *m;

    w.group = m->group;
    w.identifier = m->identifier;
    w.name = m->name;
    w.location = m->location;
    w.timezone = m->timezone;
    if ((bad = take_members(c, &w)) != 0)
        return bad;
    const reg_machine *holder = find_identifier(r, c->tenant, w.identifier);
    if (holder != NULL && holder != m)
        return reg_fail(c, 409, TAKEN);
    if (m->group != NULL && m->group != w.group)
        reg_alerts_leave(r, m->group, m);
    reg_index_remove(&r->by_identifier, identifier_hash(r, m->tenant, m->identifier), m);
    m->identifier = m->name = m->location = m->timezone = (view){ 0 };
    apply(m, &w);
    reg_text_fini(&before.identifier);
    reg_text_fini(&before.name);
    reg_text_fini(&before.location);
    reg_text_fini(&before.timezone);
    reg_index_put(&r->by_identifier, identifier_hash(r, m->tenant, m->identifier), m);
    m->updated_us = r->now_us;
    store_machine(r, m);
    reg_audit(c, "machine", &m->id, m->identifier);
    pack_machine(c, c->out, m);
    return 200;
}

static uint16_t
op_machine_delete(reg_call *c)
{
    registry    *r = c->r;
    reg_machine *m = reg_machine_of(c, "id");

    if (m == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    reg_alerts_close_all(r, NULL, m);
    reg_index_remove(&r->by_identifier, identifier_hash(r, m->tenant, m->identifier), m);
    reg_leave(r, NOUN_MACHINE, &m->id, m);
    reg_list_remove(&c->tenant->machines, m);
    set_group(m, NULL);
    m->deleted = true;
    m->updated_us = r->now_us;
    store_machine(r, m);
    reg_audit(c, "machine", &m->id, m->identifier);
    pack_nil(c->out);
    return 204;
}

/* The readings are the partition's; here it is noted who had them deleted. */
static uint16_t
op_readings_delete(reg_call *c)
{
    reg_machine *m = reg_machine_of(c, "id");

    if (m == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    reg_audit(c, "machine", &m->id, reg_text(c, "details"));
    pack_nil(c->out);
    return 204;
}

static uint16_t
op_retention_set(reg_call *c)
{
    reg_audit(c, "tenant", NULL, reg_text(c, "details"));
    pack_nil(c->out);
    return 204;
}

const reg_op_fn reg_machine_ops[] = {
    { REG_MACHINE_LIST, op_machine_list },     { REG_MACHINE_CREATE, op_machine_create },
    { REG_MACHINE_GET, op_machine_get },       { REG_MACHINE_UPDATE, op_machine_update },
    { REG_MACHINE_DELETE, op_machine_delete }, { REG_READINGS_DELETE, op_readings_delete },
    { REG_RETENTION_SET, op_retention_set },
    { 0 },
};
