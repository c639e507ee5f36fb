/* registry_groups.c - groups of machines: a tree for each tenant.
 *
 *   Plant 1 ──┬── Hall A ──── Line 3        a machine is in one group or in none;
 *             └── Hall B                    machine_count: those in the group itself, not further down
 *
 * A group goes only when no group is below it; its machines are in no group then.  Nothing else
 * holds a group, so a deleted one leaves nothing behind but its number, which is never given again.
 */
#include "actors/registry_internal.h"
#include "proto/err.h"

#include <stdlib.h>

enum { GROUPS_MAX = 10000, NAME_CHARS_MAX = 255, DESCRIPTION_CHARS_MAX = 1000 };

#define NOT_FOUND "Machine group not found."

/* ---- stored form ---- */
static void
store_group(registry *r, const reg_group *g)
{
    pack p;

    pack_init(&p);
    pack_map(&p, g->description.at == NULL ? 6 : 7);
    pack_name_uuid(&p, "id", &g->id);
    pack_name_int(&p, "tenant", g->tenant->no);
    pack_name_int(&p, "parent", g->parent == NULL ? 0 : g->parent->no);
    pack_name_str(&p, "name", g->name);
    pack_name_int(&p, "created", g->created_us);
    pack_name_int(&p, "updated", g->updated_us);
    if (g->description.at != NULL)
        pack_name_str(&p, "description", g->description);
    reg_put_no(r, REG_GROUPS, g->no, &p);
    pack_fini(&p);
}

static void
add_group(registry *r, reg_group *g)
{
    reg_set_numbered(&r->groups, g->no, g);
    reg_list_add(&g->tenant->groups, g);
    reg_enter(r, NOUN_GROUP, &g->id, g);
}

static void
free_group(reg_group *g)
{
    reg_text_fini(&g->name);
    reg_text_fini(&g->description);
    free(g);
}

static int
load_group(registry *r, view key, const msgpack_object *map)
{
    reg_group *g = calloc(1, sizeof *g);

    ASSERT(g != NULL);
    g->tenant = reg_numbered(&r->tenants, (uint64_t)reg_stored_int(map, "tenant", 0));
    if (key.len != 4 || load_be32(key.at) == 0 || g->tenant == NULL ||
        !pack_get_uuid(map, "id", &g->id)) {
        free(g);
        return E_BAD;
    }
    g->no = load_be32(key.at);
    g->created_us = reg_stored_int(map, "created", 0);
    g->updated_us = reg_stored_int(map, "updated", 0);
    reg_stored_text(map, "name", &g->name);
    reg_stored_text(map, "description", &g->description);
    add_group(r, g);
    return E_OK;
}

/* A parent may have a higher number than its child: when all are there. */
static int
load_parent(registry *r, view key, const msgpack_object *map)
{
    reg_group *g = key.len == 4 ? reg_numbered(&r->groups, load_be32(key.at)) : NULL;

    if (g != NULL)
        g->parent = reg_numbered(&r->groups, (uint64_t)reg_stored_int(map, "parent", 0));
    return E_OK;
}

int
reg_groups_load(registry *r)
{
    int rc = reg_scan(r, REG_GROUPS, load_group);

    return rc < 0 ? rc : reg_scan(r, REG_GROUPS, load_parent);
}

void
reg_groups_free(registry *r)
{
    for (uint32_t i = 0; i < r->groups.count; i++)
        if (r->groups.at[i] != NULL)
            free_group(r->groups.at[i]);
    reg_list_fini(&r->groups);
}

reg_group *
reg_group_of(reg_call *c, const char *name)
{
    uuid       id;
    reg_group *g = reg_id(c, name, &id) ? reg_find(c->r, NOUN_GROUP, &id) : NULL;

    return g != NULL && g->tenant == c->tenant ? g : NULL;
}

/* ---- answers ---- */
static void
pack_group(reg_call *c, pack *p, const void *record)
{
    const reg_group *g = record;

    (void)c;
    pack_map(p, 8);
    pack_name_uuid(p, "id", &g->id);
    pack_name_uuid(p, "tenant_id", &g->tenant->id);
    pack_name_str(p, "name", g->name);
    if (g->parent == NULL)
        pack_name_nil(p, "parent_id");
    else
        pack_name_uuid(p, "parent_id", &g->parent->id);
    if (g->description.at == NULL)
        pack_name_nil(p, "description");
    else
        pack_name_str(p, "description", g->description);
    pack_name_int(p, "machine_count", g->machines);
    pack_name_time(p, "created_at", g->created_us);
    pack_name_time(p, "updated_at", g->updated_us);
}

static uint16_t
op_group_list(reg_call *c)
{
    return reg_answer_list(c, &c->tenant->groups, pack_group);
}

static uint16_t
op_group_get(reg_call *c)
{
    const reg_group *g = reg_group_of(c, "id");

    if (g == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    pack_group(c, c->out, g);
    return 200;
}

/* What machines on the board say of their group. */
static uint16_t
op_group_no(reg_call *c)
{
    const reg_group *g = reg_group_of(c, "id");

    if (g == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    pack_map(c->out, 1);
    pack_name_int(c->out, "no", g->no);
    return 200;
}

/* ---- create, change, delete ---- */
/* What a request says of a group, checked; borrowed. */
typedef struct wanted {
    view       name;
    view       description;
    reg_group *parent;
} wanted;

static uint16_t
take_members(reg_call *c, wanted *w)
{
    view text;

    if (reg_given(c, "name", &text))
        w->name = reg_trim(text);
    if (reg_given(c, "description", &text))
        w->description = text;
    if (reg_characters(w->name) < 1 || reg_characters(w->name) > NAME_CHARS_MAX)
        return reg_fail(c, 422, "name must have 1 to 255 characters.");
    if (reg_characters(w->description) > DESCRIPTION_CHARS_MAX)
        return reg_fail(c, 422, "description must have at most 1000 characters.");
    if (!reg_given(c, "parent_id", &text))
        return 0;
    w->parent = text.at == NULL ? NULL : reg_group_of(c, "parent_id");
    return text.at != NULL && w->parent == NULL ? reg_fail(c, 404, NOT_FOUND) : 0;
}

/* Copies before it frees: what is wanted may be what the group has. */
static void
apply(reg_group *g, const wanted *w)
{
    view name = g->name, description = g->description;

    g->name = g->description = (view){ 0 };
    reg_text_set(&g->name, w->name);
    reg_text_set(&g->description, w->description);
    reg_text_fini(&name);
    reg_text_fini(&description);
    g->parent = w->parent;
}

static uint16_t
op_group_create(reg_call *c)
{
    registry *r = c->r;
    wanted    w = { 0 };
    uint16_t  bad = take_members(c, &w);

    if (bad != 0)
        return bad;
    if (c->tenant->groups.count >= GROUPS_MAX)
        return reg_fail(c, 400, "A tenant has at most 10000 machine groups.");
    reg_group *g = calloc(1, sizeof *g);
    ASSERT(g != NULL);
    crypto_uuid4(&g->id);
    g->no = (uint32_t)reg_next(r, NEXT_GROUP);
    g->tenant = c->tenant;
    g->created_us = g->updated_us = r->now_us;
    apply(g, &w);
    add_group(r, g);
    store_group(r, g);
    reg_audit(c, "machine_group", &g->id, g->name);
    pack_group(c, c->out, g);
    return 201;
}

/* The way up from `from` is no longer than there are groups: the tree has no cycle. */
static bool
is_below(const reg_group *from, const reg_group *g)
{
    for (; from != NULL; from = from->parent)
        if (from == g)
            return true;
    return false;
}

static uint16_t
op_group_update(reg_call *c)
{
    reg_group *g = reg_group_of(c, "id");

    if (g == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    wanted   w = { g->name, g->description, g->parent };
    uint16_t bad = take_members(c, &w);
    if (bad != 0)
        return bad;
    if (is_below(w.parent, g))
        return reg_fail(c, 400, "A machine group cannot be below itself.");
    apply(g, &w);
    g->updated_us = c->r->now_us;
    store_group(c->r, g);
    reg_audit(c, "machine_group", &g->id, g->name);
    pack_group(c, c->out, g);
    return 200;
}

static bool
has_children(const reg_group *g)
{
    const reg_list *all = &g->tenant->groups;

    for (uint32_t i = 0; i < all->count; i++)
        if (((const reg_group *)all->at[i])->parent == g)
            return true;
    return false;
}

static uint16_t
op_group_delete(reg_call *c)
{
    registry  *r = c->r;
    reg_group *g = reg_group_of(c, "id");
    uint8_t    key[4];

    if (g == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    if (has_children(g))
        return reg_fail(c, 400, "Other machine groups are below this one.");
    if (reg_rules_use(g))
        return reg_fail(c, 400, "An alert rule is for this group.");
    reg_machines_leave(r, g);
    reg_leave(r, NOUN_GROUP, &g->id, g);
    reg_list_remove(&c->tenant->groups, g);
    r->groups.at[g->no - 1] = NULL;
    store_be32(key, g->no);
    reg_delete(r, REG_GROUPS, view_of(key, sizeof key));
    reg_audit(c, "machine_group", &g->id, g->name);
    free_group(g);
    pack_nil(c->out);
    return 204;
}

const reg_op_fn reg_group_ops[] = {
    { REG_GROUP_LIST, op_group_list },     { REG_GROUP_CREATE, op_group_create },
    { REG_GROUP_GET, op_group_get },       { REG_GROUP_UPDATE, op_group_update },
    { REG_GROUP_DELETE, op_group_delete }, { REG_GROUP_NO, op_group_no },
    { 0 },
};
