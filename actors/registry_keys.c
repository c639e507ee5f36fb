/* registry_keys.c - API keys: only a keyed hash of each is kept; the text is in one answer, once. */
#include "actors/registry_internal.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <stdlib.h>

#define DEFAULT_SCOPES ((uint32_t)(SCOPE_INGEST | SCOPE_AGENT))
#define READ_SCOPES                                                                                \
    ((uint32_t)(SCOPE_READ_MACHINES | SCOPE_READ_SENSORS | SCOPE_READ_ALERTS | SCOPE_READ_FLEET))

enum { SCOPES_GIVEN_MAX = 32 };

/* ---- stored form ---- */
static void
store_key(registry *r, const reg_key *k)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 11);
    pack_name_uuid(&p, "id", &k->id);
    pack_name_int(&p, "tenant", k->tenant->no);
    pack_name_str(&p, "name", k->name);
    pack_name_str(&p, "prefix", view_of(k->prefix, sizeof k->prefix));
    pack_name_int(&p, "scopes", k->scopes);
    pack_name_bool(&p, "revoked", k->revoked);
    pack_name_int(&p, "expires", k->expires_us);
    pack_name_int(&p, "created", k->created_us);
    pack_name_int(&p, "created_by", k->created_by);
    pack_name_int(&p, "last_used", k->last_used_us);
    pack_str(&p, VIEW_LIT("hash"));
    pack_bin(&p, view_of(k->hash, sizeof k->hash));
    reg_put_no(r, REG_KEYS, k->no, &p);
    pack_fini(&p);
}

static void
add_key(registry *r, reg_key *k)
{
    reg_set_numbered(&r->keys, k->no, k);
    if (k->revoked)
        return;
    reg_list_add(&k->tenant->keys, k);
    reg_enter(r, NOUN_KEY, &k->id, k);
}

static int
load_key(registry *r, view key, const msgpack_object *map)
{
    reg_key *k = calloc(1, sizeof *k);
    view     hash = { 0 };
    view     prefix = { 0 };

    ASSERT(k != NULL);
    k->tenant = reg_numbered(&r->tenants, (uint64_t)reg_stored_int(map, "tenant", 0));
    if (key.len != 4 || load_be32(key.at) == 0 || k->tenant == NULL || !pack_get_uuid(map, "id", &k->id) ||
        !pack_get_bin(map, "hash", &hash) || hash.len != sizeof k->hash) {
        free(k);
        return E_BAD;
    }
    memcpy(k->hash, hash.at, sizeof k->hash);
    if (pack_get_str(map, "prefix", &prefix))
        memcpy(k->prefix, prefix.at, prefix.len < sizeof k->prefix ? prefix.len : sizeof k->prefix);
    k->no = load_be32(key.at);
    k->scopes = (uint32_t)reg_stored_int(map, "scopes", 0);
    (void)pack_get_bool(map, "revoked", &k->revoked);
    k->expires_us = reg_stored_int(map, "expires", 0);
    k->created_us = reg_stored_int(map, "created", 0);
    k->created_by = (uint32_t)reg_stored_int(map, "created_by", 0);
    k->last_used_us = reg_stored_int(map, "last_used", INT64_MIN);
    reg_stored_text(map, "name", &k->name);
    add_key(r, k);
    return E_OK;
}

int
reg_keys_load(registry *r)
{
    return reg_scan(r, REG_KEYS, load_key);
}

void
reg_keys_free(registry *r)
{
    for (uint32_t i = 0; i < r->keys.count; i++) {
        reg_key *k = r->keys.at[i];

        if (k == NULL)
            continue;
        reg_text_fini(&k->name);
        free(k);
    }
    reg_list_fini(&r->keys);
}

int
reg_show_key(registry *r, const reg_key *k)
{
    board_key b = { .id = k->id,
                    .no = k->no,
                    .tenant = k->tenant->no,
                    .flags = k->revoked ? 0 : BOARD_LIVE,
                    .scopes = k->scopes,
                    .expires_us = k->expires_us };

    memcpy(b.hash, k->hash, sizeof b.hash);
    return board_put_key(r->board, &b);
}

/* ---- scopes ---- */
/* A scope or a preset; 0: neither. */
static uint32_t
scope_bits(view word)
{
    int i = word_index(scope_words, word);

    if (view_eq(word, VIEW_LIT("edge_agent")))
        return DEFAULT_SCOPES;
    if (view_eq(word, VIEW_LIT("read_only")))
        return READ_SCOPES;
    return i < 0 ? 0 : 1u << i;
}

static view
object_text(const msgpack_object *o)
{
    return o->type == MSGPACK_OBJECT_STR ? view_of(o->via.str.ptr, o->via.str.size) : (view){ 0 };
}

/* 0, or the refusal. */
static uint16_t
scopes_given(reg_call *c, uint32_t *scopes)
{
    const msgpack_object *o = pack_get(c->params, "scopes");
    const msgpack_object *items = o;
    uint32_t              count = 1;

    *scopes = DEFAULT_SCOPES;
    if (o == NULL || o->type == MSGPACK_OBJECT_NIL)
        return 0;
    if (o->type == MSGPACK_OBJECT_ARRAY) {
        items = o->via.array.ptr;
        count = o->via.array.size;
    }
    if (count == 0 || count > SCOPES_GIVEN_MAX)
        return reg_fail(c, 422, "scopes must name 1 to 32 scopes.");
    *scopes = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bits = scope_bits(object_text(&items[i]));
        if (bits == 0)
            return reg_fail(c, 422, "scopes must be ingest, agent, read:machines, read:sensors, read:alerts, "
                                    "read:fleet, stream, edge_agent or read_only.");
        *scopes |= bits;
    }
    return 0;
}

static uint16_t
expiry_given(reg_call *c, int64_t *expires_us)
{
    view text;

    *expires_us = 0;
    if (!reg_given(c, "expires_at", &text) || text.at == NULL)
        return 0;
    if (!instant_parse(text, expires_us))
        return reg_fail(c, 422, "expires_at must be an RFC 3339 time.");
    if (*expires_us <= c->r->now_us)
        return reg_fail(c, 422, "expires_at must be in the future.");
    return 0;
}

/* ---- answers ---- */
static void
pack_scopes(pack *p, uint32_t scopes)
{
    pack_str(p, VIEW_LIT("scopes"));
    pack_array(p, (uint32_t)__builtin_popcount(scopes));
    for (uint32_t i = 0; scope_words[i] != NULL; i++)
        if ((scopes & 1u << i) != 0)
            pack_str(p, view_str(scope_words[i]));
}

static void
pack_members(pack *p, const reg_key *k)
{
    pack_name_uuid(p, "id", &k->id);
    pack_name_str(p, "name", k->name);
    pack_name_str(p, "key_prefix", view_of(k->prefix, sizeof k->prefix));
    pack_scopes(p, k->scopes);
    pack_name_uuid(p, "tenant_id", &k->tenant->id);
    pack_name_time(p, "expires_at", k->expires_us == 0 ? INT64_MIN : k->expires_us);
    pack_name_time(p, "created_at", k->created_us);
}

static void
pack_listed(reg_call *c, pack *p, const void *record)
{
    const reg_key *k = record;

    (void)c;
    pack_map(p, 8);
    pack_members(p, k);
    pack_name_time(p, "last_used_at", k->last_used_us);
}

/* ---- operations ---- */
static uint16_t
op_key_list(reg_call *c)
{
    return reg_answer_list(c, &c->tenant->keys, pack_listed);
}

static reg_key *
make_key(reg_call *c, view name, const char text[API_KEY_TEXT_LEN])
{
    registry *r = c->r;
    reg_key  *k = calloc(1, sizeof *k);

    ASSERT(k != NULL);
    crypto_uuid4(&k->id);
    k->no = (uint32_t)reg_next(r, NEXT_KEY);
    k->tenant = c->tenant;
    k->created_us = r->now_us;
    k->created_by = c->user == NULL ? 0 : c->user->no;
    k->last_used_us = INT64_MIN;
    memcpy(k->prefix, text, sizeof k->prefix);
    crypto_keyed_hash(r->secrets.keys, view_of(text, API_KEY_TEXT_LEN), k->hash);
    reg_text_set(&k->name, name);
    return k;
}

static uint16_t
op_key_create(reg_call *c)
{
    view     name = reg_trim(reg_text(c, "name"));
    char     text[API_KEY_TEXT_LEN];
    uint32_t scopes;
    int64_t  expires_us;
    uint16_t bad;

    if (name.len == 0 || reg_characters(name) > 255)
        return reg_fail(c, 422, "name must have 1 to 255 characters.");
    if ((bad = scopes_given(c, &scopes)) != 0 || (bad = expiry_given(c, &expires_us)) != 0)
        return bad;
    if (reg_within_cap(c, &c->tenant->keys, c->r->caps.keys, "API keys") != 0)
        return 400;
    if (!reg_has_room(c->r, BOARD_KEYS, NEXT_KEY))
        return reg_fail(c, 507, "This server has no room for more API keys.");
    crypto_api_key(text);
    reg_key *k = make_key(c, name, text);
    k->scopes = scopes;
    k->expires_us = expires_us;
    add_key(c->r, k);
    store_key(c->r, k);
    reg_touch(c->r, BOARD_KEYS, k);
    reg_audit(c, "api_key", &k->id, k->name);
    pack_map(c->out, 9);
    pack_members(c->out, k);
    pack_name_str(c->out, "plaintext_key", view_of(text, sizeof text));
    pack_name_str(c->out, "key", view_of(text, sizeof text));
    return 201;
}

static uint16_t
op_key_revoke(reg_call *c)
{
    uuid     id;
    reg_key *k = reg_id(c, "id", &id) ? reg_find(c->r, NOUN_KEY, &id) : NULL;

    if (k == NULL || k->tenant != c->tenant)
        return reg_fail(c, 404, "API key not found.");
    k->revoked = true;
    reg_leave(c->r, NOUN_KEY, &k->id, k);
    reg_list_remove(&c->tenant->keys, k);
    store_key(c->r, k);
    reg_touch(c->r, BOARD_KEYS, k);
    reg_audit(c, "api_key", &k->id, k->name);
    pack_nil(c->out);
    return 204;
}

/* keys: [{key (number), at_us}], from a front, at most once a minute for a key. */
static uint16_t
op_key_used(reg_call *c)
{
    const msgpack_object *keys = pack_get(c->params, "keys");

    for (uint32_t i = 0; keys != NULL && keys->type == MSGPACK_OBJECT_ARRAY && i < keys->via.array.size; i++) {
        int64_t no = 0;
        int64_t at_us = 0;

        if (keys->via.array.ptr[i].type != MSGPACK_OBJECT_MAP || !pack_get_int(&keys->via.array.ptr[i], "key", &no) ||
            !pack_get_int(&keys->via.array.ptr[i], "at_us", &at_us))
            continue;
        reg_key *k = reg_numbered(&c->r->keys, no < 0 ? 0 : (uint64_t)no);
        if (k == NULL || k->last_used_us >= at_us)
            continue;
        k->last_used_us = at_us;
        store_key(c->r, k);
    }
    pack_nil(c->out);
    return 204;
}

const reg_op_fn reg_key_ops[] = {
    { REG_KEY_LIST, op_key_list },
    { REG_KEY_CREATE, op_key_create },
    { REG_KEY_REVOKE, op_key_revoke },
    { REG_KEY_USED, op_key_used },
    { 0 },
};
