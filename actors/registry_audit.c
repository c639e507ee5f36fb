/* registry_audit.c - what was done, by whom, in a chain: entry N carries the keyed hash of entry N-1.
 *
 *   key    be32 tenant | be64 seq
 *   value  map: id, user, key, action, resource_type, resource_id, details, ip, at, before (bin 32)
 *
 * The hash is keyed with a secret of the data directory, so an entry cannot be changed, left out or put in by
 * somebody who only has the store.  An entry is written in the batch of the operation it tells of.
 */
#include "actors/registry_internal.h"
#include "proto/err.h"

static void
audit_key(uint32_t tenant, uint64_t seq, uint8_t key[12])
{
    store_be32(key, tenant);
    store_be64(key + 4, seq);
}

static void
pack_optional(pack *p, const char *name, view text)
{
    if (text.at == NULL)
        pack_name_nil(p, name);
    else
        pack_name_str(p, name, text);
}

void
reg_audit_of(reg_call *c, reg_tenant *t, const reg_user *u, const char *resource_type, const uuid *resource,
             view details)
{
    uint8_t key[12];
    uuid    id;
    pack    p;

    crypto_uuid4(&id);
    pack_init(&p);
    pack_map(&p, 10);
    pack_name_uuid(&p, "id", &id);
    pack_name_int(&p, "user", u == NULL ? 0 : u->no);
    pack_name_int(&p, "key", c->ask->key);
    pack_name_str(&p, "action", view_str(c->row->action));
    pack_name_str(&p, "resource_type", view_str(resource_type));
    if (resource == NULL)
        pack_name_nil(&p, "resource_id");
    else
        pack_name_uuid(&p, "resource_id", resource);
    pack_optional(&p, "details", details);
    pack_optional(&p, "ip", reg_text(c, "ip"));
    pack_name_int(&p, "at", c->r->now_us);
    pack_str(&p, VIEW_LIT("before"));
    pack_bin(&p, view_of(t->audit_hash, sizeof t->audit_hash));

    audit_key(t->no, ++t->audit_seq, key);
    reg_put(c->r, REG_AUDIT, view_of(key, sizeof key), &p);
    crypto_keyed_hash(c->r->secrets.keys, pack_view(&p), t->audit_hash);
    pack_fini(&p);
}

void
reg_audit(reg_call *c, const char *resource_type, const uuid *resource, view details)
{
    reg_audit_of(c, c->tenant, c->user, resource_type, resource, details);
}

typedef struct last_entry {
    registry   *r;
    reg_tenant *tenant;
} last_entry;

static int
take_last(void *ctx, view key, view value)
{
    last_entry *l = ctx;

    if (key.len == 12) {
        l->tenant->audit_seq = load_be64(key.at + 4);
        crypto_keyed_hash(l->r->secrets.keys, value, l->tenant->audit_hash);
    }
    return 1;
}

int
reg_audit_load(registry *r)
{
    for (uint32_t i = 0; i < r->tenants.count; i++) {
        last_entry l = { r, r->tenants.at[i] };
        uint8_t    from[12];
        uint8_t    until[12];

        if (l.tenant == NULL)
            continue;
        audit_key(l.tenant->no, 0, from);
        audit_key(l.tenant->no + 1, 0, until);
        int rc = regstore_scan(r->store, REG_AUDIT, view_of(from, 12), view_of(until, 12), true, take_last, &l);
        if (rc < 0)
            return err(rc, "audit of tenant %u", l.tenant->no);
    }
    return E_OK;
}
