/* registry_tenants.c - tenants: made with their first user, changed by whoever runs the server. */
#include "actors/registry_internal.h"
#include "proto/err.h"

#include <stdlib.h>

static const char *const subscription_words[] = { "active", "inactive", NULL };

static void
store_tenant(registry *r, const reg_tenant *t)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 5);
    pack_name_uuid(&p, "id", &t->id);
    pack_name_str(&p, "name", t->name);
    pack_name_int(&p, "tier", t->tier);
    pack_name_int(&p, "subscription", t->subscription);
    pack_name_int(&p, "created", t->created_us);
    reg_put_no(r, REG_TENANTS, t->no, &p);
    pack_fini(&p);
    reg_touch(r, BOARD_TENANTS, (void *)(uintptr_t)t);
}

static int
load_tenant(registry *r, view key, const msgpack_object *map)
{
    reg_tenant *t = calloc(1, sizeof *t);

    ASSERT(t != NULL);
    if (key.len != 4 || load_be32(key.at) == 0 || !pack_get_uuid(map, "id", &t->id)) {
        free(t);
        return E_BAD;
    }
    t->no = load_be32(key.at);
    t->tier = (uint8_t)reg_stored_int(map, "tier", TIER_ENTERPRISE);
    t->subscription = (uint8_t)reg_stored_int(map, "subscription", 0);
    t->created_us = reg_stored_int(map, "created", 0);
    reg_stored_text(map, "name", &t->name);
    reg_set_numbered(&r->tenants, t->no, t);
    reg_enter(r, NOUN_TENANT, &t->id, t);
    return E_OK;
}

int
reg_tenants_load(registry *r)
{
    return reg_scan(r, REG_TENANTS, load_tenant);
}

static void
free_tenant(reg_tenant *t)
{
    if (t == NULL)
        return;
    reg_text_fini(&t->name);
    reg_list_fini(&t->users);
    reg_list_fini(&t->keys);
    reg_list_fini(&t->machines);
    reg_list_fini(&t->groups);
    reg_list_fini(&t->rules);
    reg_list_fini(&t->alerts);
    reg_list_fini(&t->channels);
    reg_list_fini(&t->escalations);
    free(t);
}

void
reg_tenants_free(registry *r)
{
    for (uint32_t i = 0; i < r->tenants.count; i++)
        free_tenant(r->tenants.at[i]);
    reg_list_fini(&r->tenants);
}

int
reg_show_tenant(registry *r, const reg_tenant *t)
{
    board_tenant b = { .id = t->id, .no = t->no, .flags = BOARD_LIVE, .tier = t->tier, .subscription = t->subscription,
                       .event_seq = t->event_seq };

    return board_put_tenant(r->board, &b);
}

reg_tenant *
reg_tenant_new(registry *r, view name)
{
    reg_tenant *t = calloc(1, sizeof *t);

    ASSERT(t != NULL);
    crypto_uuid4(&t->id);
    t->no = (uint32_t)reg_next(r, NEXT_TENANT);
    t->tier = TIER_ENTERPRISE;
    t->created_us = r->now_us;
    reg_text_set(&t->name, name);
    reg_set_numbered(&r->tenants, t->no, t);
    reg_enter(r, NOUN_TENANT, &t->id, t);
    store_tenant(r, t);
    return t;
}

view
reg_subscription_word(const reg_tenant *t)
{
    return view_str(subscription_words[t->subscription == 0 ? 0 : 1]);
}

/* ---- from the shell of the server's machine ---- */
static void
pack_tenant(reg_call *c, pack *p, const void *record)
{
    const reg_tenant *t = record;

    (void)c;
    pack_map(p, 7);
    pack_name_uuid(p, "id", &t->id);
    pack_name_str(p, "name", t->name);
    pack_name_str(p, "tier", view_str(tier_words[t->tier]));
    pack_name_str(p, "status", reg_subscription_word(t));
    pack_name_int(p, "users", t->users.count);
    pack_name_int(p, "machines", t->machines.count);
    pack_name_time(p, "created_at", t->created_us);
}

static uint16_t
op_tenant_list(reg_call *c)
{
    reg_list found = { 0 };

    for (uint32_t i = 0; i < c->r->tenants.count; i++)
        if (c->r->tenants.at[i] != NULL)
            reg_list_add(&found, c->r->tenants.at[i]);
    uint16_t status = reg_answer_list(c, &found, pack_tenant);
    reg_list_fini(&found);
    return status;
}

/* False: refused. */
static bool
take_word(reg_call *c, const char *name, const char *const *words, uint8_t *out, const char *refusal)
{
    view text;
    int  n;

    if (!reg_given(c, name, &text))
        return true;
    n = word_index(words, text);
    if (n < 0) {
        (void)reg_fail(c, 422, refusal);
        return false;
    }
    *out = (uint8_t)n;
    return true;
}

static uint16_t
op_tenant_set(reg_call *c)
{
    reg_tenant *t = c->tenant;
    uint8_t     tier, subscription;
    char        details[64];

    if (t == NULL)
        return reg_fail(c, 404, "Tenant not found.");
    tier = t->tier;
    subscription = t->subscription;
    if (!take_word(c, "tier", tier_words, &tier, "tier must be one of free, pro, enterprise.") ||
        !take_word(c, "status", subscription_words, &subscription, "status must be one of active, inactive."))
        return 422;
    t->tier = tier;
    t->subscription = subscription;
    store_tenant(c->r, t);
    snprintf(details, sizeof details, "tier %s, subscription %s", tier_words[tier], subscription_words[subscription]);
    reg_audit_of(c, t, NULL, "tenant", &t->id, view_str(details));
    pack_tenant(c, c->out, t);
    return 200;
}

const reg_op_fn reg_tenant_ops[] = {
    { REG_TENANT_LIST, op_tenant_list }, { REG_TENANT_SET, op_tenant_set }, { 0 },
};
