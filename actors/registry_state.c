/* registry_state.c - the registry's life: open, load, run an operation, commit, show.
 *
 * Keys of the meta family (the store adds a version byte to every value):
 *
 *   "next"              u64[NEXT_COUNTERS]     the numbers given last
 *   "seq", "evt"                               what happened to a tenant (registry_events.c)
 *   "probe", "login_failure"  i64 us       when last
 *   "mark" be64 addr    uuid generation, u64   applied up to this position of that lane (registry.c)
 */
#include "actors/registry_internal.h"
#include "actors/registry_notify.h"
#include "proto/err.h"
#include "proto/hash.h"
#include "proto/log.h"
#include "proto/world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const reg_op_fn *const op_lists[] = { reg_tenant_ops, reg_account_ops, reg_user_ops, reg_key_ops,
                                             reg_machine_ops, reg_group_ops, reg_rule_ops, reg_version_ops,
                                             reg_alert_ops, reg_alert_act_ops, reg_channel_ops, reg_outbox_ops,
                                             reg_escalation_ops, reg_event_ops };

/* ---- identities ---- */
uint64_t
reg_hash(const registry *r, uint32_t salt, const void *data, size_t len)
{
    return hash64(r->seed + salt * UINT64_C(0x9e3779b97f4a7c15), data, len);
}

static uint8_t
lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

uint64_t
reg_hash_lower(const registry *r, view text)
{
    uint8_t low[1024];
    size_t  len = text.len < sizeof low ? text.len : sizeof low;

    for (size_t i = 0; i < len; i++)
        low[i] = lower(text.at[i]);
    return reg_hash(r, 0, low, len);
}

bool
reg_same_lower(view a, view b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

void
reg_enter(registry *r, enum reg_noun noun, const uuid *id, void *record)
{
    reg_index_put(&r->by_uuid, reg_hash(r, noun, id, sizeof *id), record);
}

void
reg_leave(registry *r, enum reg_noun noun, const uuid *id, const void *record)
{
    reg_index_remove(&r->by_uuid, reg_hash(r, noun, id, sizeof *id), record);
}

void *
reg_find(const registry *r, enum reg_noun noun, const uuid *id)
{
    uint64_t hash = reg_hash(r, noun, id, sizeof *id);
    void    *record;

    for (uint32_t at = 0; (record = reg_index_next(&r->by_uuid, hash, &at)) != NULL;)
        if (uuid_eq(record, id))
            return record;
    return NULL;
}

/* ---- storing ---- */
void
reg_put(registry *r, enum reg_family family, view key, const pack *value)
{
    regstore_put(r->store, family, key, pack_view(value));
    r->wrote = true;
}

void
reg_put_no(registry *r, enum reg_family family, uint32_t no, const pack *value)
{
    uint8_t key[4];

    store_be32(key, no);
    reg_put(r, family, view_of(key, sizeof key), value);
}

void
reg_delete(registry *r, enum reg_family family, view key)
{
    regstore_delete(r->store, family, key);
    r->wrote = true;
}

uint64_t
reg_next(registry *r, enum reg_counter which)
{
    uint64_t no = ++r->next[which];

    regstore_put(r->store, REG_META, VIEW_LIT("next"), view_of(r->next, sizeof r->next));
    r->wrote = true;
    return no;
}

void
reg_note_time(registry *r, view name)
{
    regstore_put(r->store, REG_META, name, view_of(&r->now_us, sizeof r->now_us));
    r->wrote = true;
}

uint16_t
reg_within_cap(reg_call *c, const reg_list *have, uint32_t cap, const char *things)
{
    char detail[96];

    if (cap == 0 || have->count < cap)
        return 0;
    snprintf(detail, sizeof detail, "A tenant has at most %u %s on this server.", cap, things);
    return reg_fail(c, 400, detail);
}

bool
reg_has_room(const registry *r, enum board_file file, enum reg_counter which)
{
    return r->board == NULL || r->next[which] < table_capacity(board_table(r->board, file, 0));
}

void
reg_touch(registry *r, enum board_file file, void *record)
{
    for (uint32_t i = r->touched_count; i > 0 && i + 8 > r->touched_count; i--)
        if (r->touched[i - 1].record == record)
            return;
    if (r->touched_count == r->touched_room) {
        r->touched_room = r->touched_room == 0 ? 64 : r->touched_room * 2;
        r->touched = realloc(r->touched, r->touched_room * sizeof *r->touched);
        ASSERT(r->touched != NULL);
    }
    r->touched[r->touched_count++] = (reg_touched){ file, record };
    if (file == BOARD_RULES)
        r->rules_changed = true;
}

/* ---- the board ---- */
static int
show(registry *r, const reg_touched *t)
{
    switch (t->file) {
    case BOARD_TENANTS:
        return reg_show_tenant(r, t->record);
    case BOARD_USERS:
        return reg_show_user(r, t->record);
    case BOARD_KEYS:
        return reg_show_key(r, t->record);
    case BOARD_BLOCKED:
        return reg_show_blocked(r, t->record);
    case BOARD_MACHINES:
        return reg_show_machine(r, t->record);
    case BOARD_RULES:
        return reg_show_rule(r, t->record);
    default:
        return E_OK;
    }
}

static void
show_touched(registry *r)
{
    for (uint32_t i = 0; i < r->touched_count && r->board != NULL; i++)
        if (show(r, &r->touched[i]) < 0) {
            /* The fact is durable; what could not be shown is shown at the next start. */
            log_error("registry.board", "file=%d error=%s", (int)r->touched[i].file, log_quote(view_str(err_text())));
            err_clear();
        }
    if (r->touched_count > 0 && r->board != NULL)
        board_bump_registry(r->board, false);
    if (r->rules_changed && r->board != NULL)
        board_set_rules_seq(r->board, r->rules_seq);
    r->touched_count = 0;
    r->rules_changed = false;
}

static void
show_list(registry *r, const reg_list *l, enum board_file file)
{
    for (uint32_t i = 0; i < l->count; i++)
        if (l->at[i] != NULL)
            reg_touch(r, file, l->at[i]);
}

void
reg_show_all(registry *r)
{
    show_list(r, &r->tenants, BOARD_TENANTS);
    show_list(r, &r->users, BOARD_USERS);
    show_list(r, &r->keys, BOARD_KEYS);
    show_list(r, &r->blocked, BOARD_BLOCKED);
    show_list(r, &r->machines, BOARD_MACHINES);
    show_list(r, &r->rules, BOARD_RULES);
    show_touched(r);
}

int
reg_commit(registry *r)
{
    if (r->wrote) {
        r->wrote = false;
        int rc = regstore_commit(r->store, true);
        if (rc < 0) {
            r->suspect = true;
            return err(rc, "registry commit");
        }
    }
    show_touched(r);
    return E_OK;
}

/* ---- loading ---- */
typedef struct scan {
    registry       *r;
    enum reg_family family;
    reg_load_fn    *fn;
} scan;

static int
scan_value(void *ctx, view key, view value)
{
    scan    *s = ctx;
    pack_doc doc;
    int      rc = pack_open(&doc, value);

    if (rc == E_OK) {
        rc = s->fn(s->r, key, pack_root(&doc));
        pack_doc_close(&doc);
    }
    if (rc < 0) {
        log_error("registry.record", "family=%d key_len=%zu error=\"cannot be read, left out\"", (int)s->family,
                  key.len);
        err_clear();
    }
    return 0;
}

int
reg_scan(registry *r, enum reg_family family, reg_load_fn *fn)
{
    scan s = { r, family, fn };

    return regstore_scan(r->store, family, (view){ 0 }, (view){ 0 }, false, scan_value, &s);
}

int64_t
reg_stored_int(const msgpack_object *map, const char *name, int64_t otherwise)
{
    int64_t v = otherwise;

    return pack_get_int(map, name, &v) ? v : otherwise;
}

void
reg_stored_text(const msgpack_object *map, const char *name, view *text)
{
    view v;

    if (pack_get_str(map, name, &v))
        reg_text_set(text, v.at == NULL ? VIEW_LIT("") : v);
}

static int
load_counters(registry *r)
{
    uint8_t *value = NULL;
    size_t   len = 0;
    int      rc = regstore_get(r->store, REG_META, VIEW_LIT("next"), &value, &len);

    if (rc == E_NOTFOUND)
        return E_OK;
    if (rc < 0)
        return err(rc, "counters");
    memcpy(r->next, value, len < sizeof r->next ? len : sizeof r->next);
    regstore_free(value);
    return E_OK;
}

/* A number that a record carries was given, whatever the counter says. */
static void
raise_counters(registry *r)
{
    const reg_list *const lists[] = { &r->tenants, &r->users, &r->keys, &r->machines, &r->rules };

    for (uint32_t i = 0; i < COUNT_OF(lists); i++)
        r->next[NEXT_TENANT + i] = max_u64(r->next[NEXT_TENANT + i], lists[i]->count);
    r->next[NEXT_GROUP] = max_u64(r->next[NEXT_GROUP], r->groups.count);
}

static int
load(registry *r)
{
    static int (*const steps[])(registry *) = { load_counters,     reg_tenants_load,     reg_accounts_load,
                                                reg_events_load,   reg_keys_load,        reg_groups_load,
                                                reg_machines_load, reg_rules_load,    reg_alerts_load, reg_audit_load,
                                                reg_channels_load, reg_escalations_load, reg_outbox_load };

    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        int rc = steps[i](r);
        if (rc < 0)
            return err(rc, "registry load");
    }
    raise_counters(r);
    return E_OK;
}

static void
unload(registry *r)
{
    reg_outbox_free(r);
    reg_escalations_free(r);
    reg_channels_free(r);
    reg_alerts_free(r);
    reg_rules_free(r);
    reg_machines_free(r);
    reg_groups_free(r);
    reg_keys_free(r);
    reg_accounts_free(r);
    reg_tenants_free(r);
    reg_index_fini(&r->by_uuid);
    reg_index_fini(&r->by_email);
    reg_index_fini(&r->by_identifier);
    reg_index_fini(&r->open_alerts);
    reg_index_fini(&r->last_alerts);
    reg_drop_events(r);
    r->touched_count = 0;
    r->wrote = false;
    r->rules_changed = false;
    memset(r->next, 0, sizeof r->next);
}

int
reg_open(registry *r, const char *data_dir, board *b)
{
    r->board = b;
    r->parts = b != NULL ? board_parts(b) : 1;
    r->access_s = r->access_s != 0 ? r->access_s : 900;
    r->refresh_s = r->refresh_s != 0 ? r->refresh_s : 2592000;
    crypto_random(&r->seed, sizeof r->seed);
    int rc = secrets_load(&r->secrets, data_dir);
    if (rc < 0)
        return err(rc, "secrets of %s", data_dir);
    rc = regstore_open(&r->store, data_dir);
    if (rc < 0)
        return err(rc, "registry of %s", data_dir);
    r->dir = strdup(data_dir);
    ASSERT(r->dir != NULL);
    rc = load(r);
    r->suspect = regstore_is_read_only(r->store);
    if (rc == E_OK && r->suspect)
        r->wrote = false; /* made again by reg_recover() */
    if (rc == E_OK && r->wrote)
        rc = reg_commit(r);
    if (rc < 0)
        reg_close(r);
    return rc;
}

int64_t
reg_turn(registry *r)
{
    int64_t awake_us = reg_alerts_wake(r);
    int64_t escalate_us = reg_escalations_run(r);

    return awake_us < escalate_us ? awake_us : escalate_us;
}

int
reg_reload(registry *r)
{
    regstore_abandon(r->store);
    unload(r);
    return load(r);
}

/* Does the disk take, and sync, as much as opening the store writes? */
static int
try_disk(const registry *r)
{
    enum { LEN = 256 << 10 };
    static const uint8_t zeros[LEN];
    char path[4200];

    snprintf(path, sizeof path, "%s/registry.try", r->dir);
    int fd = the_world->open(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0)
        return err_errno(errno, "open %s", path);
    ssize_t n = the_world->write(fd, zeros, sizeof zeros);
    int     failure = n < 0 ? errno : n < LEN ? ENOSPC : the_world->datasync(fd) < 0 ? errno : 0;
    the_world->close(fd);
    the_world->unlink(path);
    return failure == 0 ? E_OK : err_errno(failure, "write %s", path);
}

int
reg_recover(registry *r)
{
    if (!r->suspect)
        return E_OK;
    int rc = try_disk(r);
    if (rc < 0)
        return rc;
    regstore_abandon(r->store);
    unload(r);
    regstore_close(&r->store);
    rc = regstore_open(&r->store, r->dir);
    if (rc == E_OK)
        rc = load(r);
    if (rc == E_OK && regstore_is_read_only(r->store))
        return err(E_NOSPACE, "registry reopen");
    if (rc < 0) {
        regstore_close(&r->store);
        return err(rc, "registry reopen");
    }
    r->suspect = false;
    /* What the failed write left behind may count now. */
    reg_show_all(r);
    return E_OK;
}

void
reg_close(registry *r)
{
    if (r->store != NULL)
        regstore_abandon(r->store);
    unload(r);
    regstore_close(&r->store);
    free(r->touched);
    free(r->events);
    free(r->dir);
    r->dir = NULL;
    r->touched = NULL;
    r->events = NULL;
    r->touched_room = 0;
    r->event_room = 0;
    memset(&r->secrets, 0, sizeof r->secrets);
}

/* ---- parameters ---- */
uint16_t
reg_fail(reg_call *c, uint16_t status, const char *detail)
{
    pack_reset(c->out);
    pack_str(c->out, view_str(detail));
    return status;
}

view
reg_text(const reg_call *c, const char *name)
{
    view v = { 0 };

    return pack_get_str(c->params, name, &v) ? v : (view){ 0 };
}

bool
reg_given(const reg_call *c, const char *name, view *text)
{
    *text = (view){ 0 };
    if (!pack_has(c->params, name))
        return false;
    if (pack_get_str(c->params, name, text) && text->at == NULL)
        *text = VIEW_LIT("");
    return true;
}

bool
reg_id(const reg_call *c, const char *name, uuid *id)
{
    return pack_get_uuid(c->params, name, id);
}

int64_t
reg_int(const reg_call *c, const char *name, int64_t otherwise)
{
    int64_t v = otherwise;

    return pack_get_int(c->params, name, &v) ? v : otherwise;
}

size_t
reg_characters(view text)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++)
        n += (text.at[i] & 0xc0) != 0x80;
    return n;
}

view
reg_trim(view text)
{
    while (text.len > 0 && text.at[0] <= ' ')
        text = view_of(text.at + 1, text.len - 1);
    while (text.len > 0 && text.at[text.len - 1] <= ' ')
        text.len--;
    return text;
}

/* ---- lists ---- */
uint16_t
reg_answer_list(reg_call *c, const reg_list *found, reg_item_fn *item)
{
    int64_t  page = reg_int(c, "page", 1);
    int64_t  size = reg_int(c, "page_size", 20);
    int64_t  skip = reg_int(c, "skip", 0);
    uint32_t packed = 0;
    pack     items;

    page = page < 1 ? 1 : page;
    size = size < 1 ? 1 : size > 100 ? 100 : size;
    skip = skip < 0 ? 0 : skip > size ? size : skip;
    uint64_t from = page > INT32_MAX ? found->count : min_u64((uint64_t)((page - 1) * size), found->count);
    uint64_t until = min_u64(from + (uint64_t)size, found->count);
    uint64_t at = min_u64(from + (uint64_t)skip, until);

    pack_init(&items);
    for (; at < until && pack_view(&items).len < REG_LIST_MAX; at++, packed++)
        item(c, &items, found->at[at]);

    view raw = pack_view(&items);
    pack_map(c->out, at < until ? 6 : 5);
    pack_str(c->out, VIEW_LIT("items"));
    pack_array(c->out, packed);
    if (raw.len > 0)
        msgpack_sbuffer_write(&c->out->buffer, (const char *)raw.at, raw.len);
    pack_name_int(c->out, "total", found->count);
    pack_name_int(c->out, "page", page);
    pack_name_int(c->out, "page_size", size);
    pack_name_int(c->out, "total_pages", (found->count + size - 1) / size);
    if (at < until)
        pack_name_int(c->out, "left", (int64_t)(until - at));
    pack_fini(&items);
    return 200;
}

/* ---- running ---- */
static reg_fn *
fn_of(uint16_t op)
{
    for (size_t i = 0; i < COUNT_OF(op_lists); i++)
        for (const reg_op_fn *f = op_lists[i]; f->fn != NULL; f++)
            if (f->op == op)
                return f->fn;
    return NULL;
}

/* An actor or a tool of ours: names the tenant by id or number, or there is only one. */
static uint16_t
bind_system(reg_call *c)
{
    uuid id;

    if (pack_has(c->params, "tenant_id"))
        c->tenant = reg_id(c, "tenant_id", &id) ? reg_find(c->r, NOUN_TENANT, &id) : NULL;
    else if (c->ask->tenant != 0)
        c->tenant = reg_numbered(&c->r->tenants, c->ask->tenant);
    else if (c->r->tenants.count == 1)
        c->tenant = c->r->tenants.at[0];
    if (c->tenant == NULL && c->row->least_role != ROLE_SYSTEM && c->row->least_role != ROLE_NONE)
        return reg_fail(c, 404, "Tenant not found.");
    return 0;
}

static uint16_t
bind_user(reg_call *c, uint16_t *role)
{
    c->user = reg_numbered(&c->r->users, c->ask->user);
    if (c->user == NULL || c->user->deleted || !c->user->active || c->user->tenant != c->tenant)
        return reg_fail(c, 401, "User account is inactive.");
    *role = c->user->role;
    return 0;
}

static uint16_t
bind_key(reg_call *c, uint16_t *role)
{
    const reg_key *k = reg_numbered(&c->r->keys, c->ask->key);

    if (k == NULL || k->revoked || k->tenant != c->tenant || (k->expires_us != 0 && k->expires_us <= c->r->now_us))
        return reg_fail(c, 401, "Invalid API key.");
    *role = ROLE_VIEWER; /* its scopes were judged by the route */
    return 0;
}

/* Who asks, and may they: the front has looked at the board; this is the record itself. 0, or the refusal. */
static uint16_t
bind_caller(reg_call *c)
{
    uint16_t role = ROLE_NONE;
    uint16_t status = 0;

    if (c->ask->role == ROLE_SYSTEM)
        return bind_system(c);
    if (c->row->least_role == ROLE_NONE)
        return 0;
    c->tenant = reg_numbered(&c->r->tenants, c->ask->tenant);
    if (c->tenant == NULL)
        return reg_fail(c, 404, "Tenant not found.");
    if (c->ask->user != 0)
        status = bind_user(c, &role);
    else if (c->ask->key != 0)
        status = bind_key(c, &role);
    if (status != 0)
        return status;
    return role >= c->row->least_role ? 0 : reg_fail(c, 403, "Your role does not allow this.");
}

uint16_t
reg_run(registry *r, const reg_ask *ask, view params, pack *out)
{
    static const uint8_t empty_map[] = { 0x80 };
    reg_call c = { .r = r, .ask = ask, .row = reg_op_row_of(ask->op), .out = out };
    reg_fn  *fn = fn_of(ask->op);
    pack_doc doc;

    if (c.row == NULL || fn == NULL)
        return reg_fail(&c, 404, "No such operation.");
    if (pack_open(&doc, params.len == 0 ? view_of(empty_map, 1) : params) < 0) {
        err_clear();
        return reg_fail(&c, 400, "Malformed parameters.");
    }
    c.params = pack_root(&doc);
    uint16_t status = c.params->type != MSGPACK_OBJECT_MAP ? reg_fail(&c, 400, "Malformed parameters.") : bind_caller(&c);
    if (status == 0)
        status = fn(&c);
    pack_doc_close(&doc);
    return status;
}
