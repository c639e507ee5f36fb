/* registry_channels.c - where notifications of a tenant go.
 *
 * A channel's number is never given again.  Deleting one drops what was on its way to it.  The signing secret is made
 * with the channel, shown in that answer and when it is made anew, and nowhere else.
 */
#include "actors/registry_notify.h"
#include "proto/err.h"

#include <ctype.h>
#include <stdlib.h>

#define NOT_FOUND "Notification channel not found."

enum { NAME_CHARS_MAX = 255, URL_MAX = 2048, HEADERS_MAX = 20, HEADER_LEN_MAX = 1000,
       SECRET_TEXT_MAX = 64 };

const char *const channel_words[] = { "webhook", "slack", "teams", "email", NULL };
/* The member of `config` that is the target, by type. */
static const char *const target_names[] = { "url", "webhook_url", "webhook_url", "email" };

/* ---- stored form ---- */
static void
pack_headers(pack *p, const reg_channel *ch)
{
    if (ch->headers.len == 0)
        pack_map(p, 0);
    else
        msgpack_sbuffer_write(&p->buffer, (const char *)ch->headers.at, ch->headers.len);
}

static void
store_channel(registry *r, const reg_channel *ch)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 10);
    pack_name_uuid(&p, "id", &ch->id);
    pack_name_int(&p, "tenant", ch->tenant->no);
    pack_name_int(&p, "type", ch->type);
    pack_name_bool(&p, "active", ch->active);
    pack_name_int(&p, "created", ch->created_us);
    pack_name_int(&p, "updated", ch->updated_us);
    pack_name_str(&p, "name", ch->name);
    pack_name_str(&p, "target", ch->target);
    pack_str(&p, VIEW_LIT("headers"));
    pack_headers(&p, ch);
    pack_str(&p, VIEW_LIT("secret"));
    pack_bin(&p, view_of(ch->secret, sizeof ch->secret));
    reg_put_no(r, REG_CHANNELS, ch->no, &p);
    pack_fini(&p);
}

static void
add_channel(registry *r, reg_channel *ch)
{
    reg_set_numbered(&r->channels, ch->no, ch);
    reg_list_add(&ch->tenant->channels, ch);
    reg_enter(r, NOUN_CHANNEL, &ch->id, ch);
}

static void
free_channel(reg_channel *ch)
{
    reg_text_fini(&ch->name);
    reg_text_fini(&ch->target);
    reg_text_fini(&ch->headers);
    reg_list_fini(&ch->deliveries);
    free(ch);
}

/* A map of texts, kept as its bytes. */
static void
keep_headers(reg_channel *ch, const msgpack_object *headers)
{
    pack p;

    pack_init(&p);
    msgpack_pack_object(&p.packer, *headers);
    reg_text_set(&ch->headers, pack_view(&p));
    pack_fini(&p);
}

static int
load_channel(registry *r, view key, const msgpack_object *map)
{
    reg_channel          *ch = calloc(1, sizeof *ch);
    const msgpack_object *headers = pack_get(map, "headers");
    view                  secret = { 0 };
    int64_t               type = reg_stored_int(map, "type", -1);

    ASSERT(ch != NULL);
    ch->tenant = reg_numbered(&r->tenants, (uint64_t)reg_stored_int(map, "tenant", 0));
    if (key.len != 4 || load_be32(key.at) == 0 || ch->tenant == NULL || type < 0 || type >= CHANNEL_TYPES ||
        !pack_get_uuid(map, "id", &ch->id) || !pack_get_bin(map, "secret", &secret) ||
        secret.len != sizeof ch->secret) {
        free(ch);
        return E_BAD;
    }
    ch->no = load_be32(key.at);
    ch->type = (uint8_t)type;
    memcpy(ch->secret, secret.at, sizeof ch->secret);
    (void)pack_get_bool(map, "active", &ch->active);
    ch->created_us = reg_stored_int(map, "created", 0);
    ch->updated_us = reg_stored_int(map, "updated", 0);
    reg_stored_text(map, "name", &ch->name);
    reg_stored_text(map, "target", &ch->target);
    if (headers != NULL && headers->type == MSGPACK_OBJECT_MAP && headers->via.map.size > 0)
        keep_headers(ch, headers);
    add_channel(r, ch);
    return E_OK;
}

int
reg_channels_load(registry *r)
{
    int rc = reg_scan(r, REG_CHANNELS, load_channel);

    r->next[NEXT_CHANNEL] = max_u64(r->next[NEXT_CHANNEL], r->channels.count);
    return rc;
}

void
reg_channels_free(registry *r)
{
    for (uint32_t i = 0; i < r->channels.count; i++)
        if (r->channels.at[i] != NULL)
            free_channel(r->channels.at[i]);
    reg_list_fini(&r->channels);
}

reg_channel *
reg_channel_by(const reg_call *c, const uuid *id)
{
    reg_channel *ch = reg_find(c->r, NOUN_CHANNEL, id);

    return ch != NULL && ch->tenant == c->tenant ? ch : NULL;
}

static reg_channel *
channel_of(const reg_call *c)
{
    uuid id;

    return reg_id(c, "id", &id) ? reg_channel_by(c, &id) : NULL;
}

/* ---- answers ---- */
static void
pack_members(pack *p, const reg_channel *ch)
{
    bool webhook = ch->type == CHANNEL_WEBHOOK;

    pack_name_uuid(p, "id", &ch->id);
    pack_name_uuid(p, "tenant_id", &ch->tenant->id);
    pack_name_str(p, "name", ch->name);
    pack_name_str(p, "type", view_str(channel_words[ch->type]));
    pack_str(p, VIEW_LIT("config"));
    pack_map(p, webhook ? 2 : 1);
    pack_name_str(p, target_names[ch->type], ch->target);
    if (webhook) {
        pack_str(p, VIEW_LIT("headers"));
        pack_headers(p, ch);
    }
    pack_name_bool(p, "is_active", ch->active);
    pack_name_time(p, "created_at", ch->created_us);
    pack_name_time(p, "updated_at", ch->updated_us);
}

enum { MEMBERS = 8 };

static void
pack_channel(reg_call *c, pack *p, const void *record)
{
    (void)c;
    pack_map(p, MEMBERS);
    pack_members(p, record);
}

static void
answer_with_secret(reg_call *c, const reg_channel *ch)
{
    char   text[SECRET_TEXT_MAX] = "whsec_";
    size_t len = strlen(text);

    len += base64url_encode(view_of(ch->secret, sizeof ch->secret), text + len, sizeof text - len);
    pack_map(c->out, MEMBERS + 1);
    pack_members(c->out, ch);
    pack_name_str(c->out, "signing_secret", view_of(text, len));
}

static uint16_t
op_channel_list(reg_call *c)
{
    return reg_answer_list(c, &c->tenant->channels, pack_channel);
}

static uint16_t
op_channel_get(reg_call *c)
{
    const reg_channel *ch = channel_of(c);

    if (ch == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    pack_channel(c, c->out, ch);
    return 200;
}

/* ---- what a request says of a channel ---- */
typedef struct wanted {
    view                  name;
    view                  target;
    const msgpack_object *headers; /* NULL: none */
    uint8_t               type;
    bool                  active;
    bool                  new_secret;
} wanted;

static bool
is_url(view v)
{
    size_t scheme = v.len > 8 && strncasecmp((const char *)v.at, "https://", 8) == 0  ? 8
                    : v.len > 7 && strncasecmp((const char *)v.at, "http://", 7) == 0 ? 7
                                                                                      : 0;

    if (scheme == 0 || v.len > URL_MAX || v.at[scheme] == '/' || v.at[scheme] == ':' || v.at[scheme] == '?')
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (v.at[i] <= 0x20 || v.at[i] >= 0x7f)
            return false;
    return true;
}

/* One mailbox: nothing that could add another recipient or header line. */
static bool
is_mailbox(view v)
{
    const uint8_t *at = v.len > 0 ? memchr(v.at, '@', v.len) : NULL;

    if (at == NULL || at == v.at || at == v.at + v.len - 1 || v.len > 254)
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (v.at[i] <= 0x20 || v.at[i] >= 0x7f || strchr("<>()[]\\,;:\"", v.at[i]) != NULL)
            return false;
    return memchr(at + 1, '@', (size_t)(v.at + v.len - at - 1)) == NULL;
}

/* Names that we send ourselves, or that frame the request. */
static bool
is_ours(view name)
{
    static const char *const ours[] = { "host",       "content-length",    "content-type", "transfer-encoding",
                                        "connection", "expect",            "te",           "upgrade",
                                        "trailer",    "proxy-connection", "keep-alive" };

    if (name.len >= 11 && strncasecmp((const char *)name.at, "x-haltless-", 11) == 0)
        return true;
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        if (name.len == strlen(ours[i]) && strncasecmp((const char *)name.at, ours[i], name.len) == 0)
            return true;
    return false;
}

static bool
is_header(const msgpack_object_kv *kv)
{
    if (kv->key.type != MSGPACK_OBJECT_STR || kv->val.type != MSGPACK_OBJECT_STR)
        return false;
    view name = view_of(kv->key.via.str.ptr, kv->key.via.str.size);
    view value = view_of(kv->val.via.str.ptr, kv->val.via.str.size);
    if (name.len == 0 || name.len > 100 || value.len > HEADER_LEN_MAX || is_ours(name))
        return false;
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum(name.at[i]) && (name.at[i] == '\0' || strchr("!#$%&'*+-.^_`|~", name.at[i]) == NULL))
            return false;
    for (size_t i = 0; i < value.len; i++)
        if ((value.at[i] < 0x20 && value.at[i] != '\t') || value.at[i] == 0x7f)
            return false;
    return true;
}

static bool
are_headers(const msgpack_object *o)
{
    if (o->type != MSGPACK_OBJECT_MAP || o->via.map.size > HEADERS_MAX)
        return false;
    for (uint32_t i = 0; i < o->via.map.size; i++)
        if (!is_header(&o->via.map.ptr[i]))
            return false;
    return true;
}

static uint16_t
take_config(reg_call *c, wanted *w)
{
    static const char *const refused[] = {
        "config must have url: an http or https URL of at most 2048 characters.",
        "config must have webhook_url: an http or https URL of at most 2048 characters.",
        "config must have webhook_url: an http or https URL of at most 2048 characters.",
        "config must have email: one address.",
    };
    const msgpack_object *config = pack_get(c->params, "config");

    if (config == NULL || config->type != MSGPACK_OBJECT_MAP)
        return reg_fail(c, 422, "config must be an object.");
    if (!pack_get_str(config, target_names[w->type], &w->target) ||
        !(w->type == CHANNEL_EMAIL ? is_mailbox(w->target) : is_url(w->target)))
        return reg_fail(c, 422, refused[w->type]);
    w->headers = w->type == CHANNEL_WEBHOOK ? pack_get(config, "headers") : NULL;
    if (w->headers != NULL && w->headers->type == MSGPACK_OBJECT_NIL)
        w->headers = NULL;
    if (w->headers != NULL && !are_headers(w->headers))
        return reg_fail(c, 422, "config must have as headers at most 20 texts by name, none that the server sends itself.");
    return 0;
}

static uint16_t
take_members(reg_call *c, wanted *w)
{
    int type = word_index(channel_words, reg_text(c, "type"));

    w->name = reg_trim(reg_text(c, "name"));
    if (reg_characters(w->name) < 1 || reg_characters(w->name) > NAME_CHARS_MAX)
        return reg_fail(c, 422, "name must have 1 to 255 characters.");
    if (type < 0)
        return reg_fail(c, 422, "type must be one of webhook, slack, teams, email.");
    w->type = (uint8_t)type;
    (void)pack_get_bool(c->params, "is_active", &w->active);
    (void)pack_get_bool(c->params, "rotate_secret", &w->new_secret);
    return take_config(c, w);
}

static void
apply(registry *r, reg_channel *ch, const wanted *w)
{
    ch->type = w->type;
    ch->active = w->active;
    ch->updated_us = r->now_us;
    reg_text_set(&ch->name, w->name);
    reg_text_set(&ch->target, w->target);
    reg_text_fini(&ch->headers);
    if (w->headers != NULL && w->headers->via.map.size > 0)
        keep_headers(ch, w->headers);
    if (w->new_secret)
        crypto_random(ch->secret, sizeof ch->secret);
}

/* ---- create, change, delete ---- */
static uint16_t
op_channel_create(reg_call *c)
{
    wanted   w = { .active = true };
    uint16_t bad = take_members(c, &w);

    if (bad != 0)
        return bad;
    if (reg_within_cap(c, &c->tenant->channels, c->r->caps.channels, "notification channels") != 0)
        return 400;
    reg_channel *ch = calloc(1, sizeof *ch);
    ASSERT(ch != NULL);
    crypto_uuid4(&ch->id);
    ch->no = (uint32_t)reg_next(c->r, NEXT_CHANNEL);
    ch->tenant = c->tenant;
    ch->created_us = c->r->now_us;
    w.new_secret = true;
    apply(c->r, ch, &w);
    add_channel(c->r, ch);
    store_channel(c->r, ch);
    reg_audit(c, "notification_channel", &ch->id, ch->name);
    answer_with_secret(c, ch);
    return 201;
}

/* PUT: what is not said is as if it were new, but for the secret and is_active. */
static uint16_t
op_channel_update(reg_call *c)
{
    reg_channel *ch = channel_of(c);

    if (ch == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    wanted   w = { .active = ch->active };
    uint16_t bad = take_members(c, &w);
    if (bad != 0)
        return bad;
    apply(c->r, ch, &w);
    store_channel(c->r, ch);
    c->r->outbox_rang = true; /* it may have been switched on */
    reg_audit(c, "notification_channel", &ch->id, ch->name);
    if (w.new_secret)
        answer_with_secret(c, ch);
    else
        pack_channel(c, c->out, ch);
    return 200;
}

static uint16_t
op_channel_delete(reg_call *c)
{
    reg_channel *ch = channel_of(c);
    uint8_t      key[4];

    if (ch == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    if (reg_escalations_use(ch))
        return reg_fail(c, 400, "An escalation policy uses this channel.");
    reg_outbox_drop(c->r, ch);
    reg_leave(c->r, NOUN_CHANNEL, &ch->id, ch);
    reg_list_remove(&c->tenant->channels, ch);
    c->r->channels.at[ch->no - 1] = NULL;
    store_be32(key, ch->no);
    reg_delete(c->r, REG_CHANNELS, view_of(key, sizeof key));
    reg_audit(c, "notification_channel", &ch->id, ch->name);
    free_channel(ch);
    pack_nil(c->out);
    return 204;
}

/* -> what a delivery needs, with a test message: for the front, which asks the notifier.  Never an answer to a client. */
static uint16_t
op_channel_target(reg_call *c)
{
    const reg_channel *ch = channel_of(c);
    uuid               id;

    if (ch == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    crypto_uuid4(&id);
    reg_outbox_pack_test(c->r, c->out, ch, &id);
    return 200;
}

const reg_op_fn reg_channel_ops[] = {
    { REG_CHANNEL_LIST, op_channel_list },     { REG_CHANNEL_CREATE, op_channel_create },
    { REG_CHANNEL_GET, op_channel_get },       { REG_CHANNEL_UPDATE, op_channel_update },
    { REG_CHANNEL_DELETE, op_channel_delete }, { REG_CHANNEL_TARGET, op_channel_target },
    { 0 },
};
