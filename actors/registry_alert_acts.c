/* registry_alert_acts.c - what people do to alerts: acknowledge, snooze, resolve, comment.
 *
 *   comments   key    be32 tenant | be64 alert | be64 comment      oldest first
 *              value  map: id, user, name, body, at                name: of the user as it was then
 *
 * Comments stay in the store; an alert that is dropped takes its own with it.
 */
#include "actors/registry_internal.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <stdlib.h>

#define NOT_FOUND "Alert not found."

enum { COMMENT_KEY_LEN = REG_ALERT_KEY_LEN + 8, COMMENTS_MAX = 1000, COMMENT_CHARS_MAX = 2000, ACK_MANY_MAX = 1000 };
#define SNOOZE_MOST_US (INT64_C(366) * 86400 * 1000000)

/* ---- acknowledge ---- */
/* False: somebody had already. */
static bool
acknowledge(reg_call *c, reg_alert *a)
{
    if (a->acknowledged_us != INT64_MIN)
        return false;
    a->acknowledged_us = c->r->now_us;
    a->acknowledged_by = c->user == NULL ? 0 : c->user->no;
    reg_alert_store(c->r, a);
    reg_audit(c, "alert", &a->id, (view){ 0 });
    return true;
}

static uint16_t
op_alert_ack(reg_call *c)
{
    reg_alert *a = reg_alert_of(c, NULL);

    if (a == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    (void)acknowledge(c, a);
    reg_alert_pack(c, c->out, a);
    return 200;
}

static reg_alert *
alert_in(const reg_call *c, const msgpack_object *item)
{
    uuid id;

    if (item->type != MSGPACK_OBJECT_STR || !uuid_parse(view_of(item->via.str.ptr, item->via.str.size), &id))
        return NULL;
    return reg_alert_of(c, &id);
}

/* All or none: one that is unknown leaves the others as they are. */
static uint16_t
op_alert_ack_many(reg_call *c)
{
    const msgpack_object *ids = pack_get(c->params, "alert_ids");
    int64_t               done = 0;

    if (ids == NULL || ids->type != MSGPACK_OBJECT_ARRAY || ids->via.array.size < 1 ||
        ids->via.array.size > ACK_MANY_MAX)
        return reg_fail(c, 422, "alert_ids must have 1 to 1000 items.");
    for (uint32_t i = 0; i < ids->via.array.size; i++)
        if (alert_in(c, &ids->via.array.ptr[i]) == NULL)
            return reg_fail(c, 404, NOT_FOUND);
    for (uint32_t i = 0; i < ids->via.array.size; i++)
        done += acknowledge(c, alert_in(c, &ids->via.array.ptr[i]));
    pack_map(c->out, 2);
    pack_name_int(c->out, "acknowledged_count", done);
    pack_name_int(c->out, "already_acknowledged_count", (int64_t)ids->via.array.size - done);
    return 200;
}

/* ---- snooze, resolve ---- */
static uint16_t
op_alert_snooze(reg_call *c)
{
    reg_alert *a = reg_alert_of(c, NULL);
    view       text = { 0 };
    int64_t    until_us = INT64_MIN;

    if (a == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    if (!reg_given(c, "snooze_until", &text))
        return reg_fail(c, 422, "snooze_until is required.");
    if (text.at != NULL && !instant_parse(text, &until_us))
        return reg_fail(c, 422, "snooze_until must be RFC 3339.");
    if (text.at != NULL && (until_us <= c->r->now_us || until_us - c->r->now_us > SNOOZE_MOST_US))
        return reg_fail(c, 422, "snooze_until must lie in the future, at most 366 days ahead.");
    if (!reg_alert_is_open(a))
        return reg_fail(c, 400, "The alert is resolved.");
    reg_alert_snooze(c->r, a, until_us);
    reg_audit(c, "alert", &a->id, text);
    reg_alert_pack(c, c->out, a);
    return 200;
}

static uint16_t
op_alert_resolve(reg_call *c)
{
    reg_alert *a = reg_alert_of(c, NULL);

    if (a == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    if (reg_alert_is_open(a)) {
        reg_alert_resolve(c->r, a, c->user);
        reg_audit(c, "alert", &a->id, (view){ 0 });
    }
    reg_alert_pack(c, c->out, a);
    return 200;
}

/* ---- comments ---- */
static void
comment_key(const reg_alert *a, uint64_t no, uint8_t key[COMMENT_KEY_LEN])
{
    reg_alert_key(a, key);
    store_be64(key + REG_ALERT_KEY_LEN, no);
}

typedef struct key_list {
    uint8_t  (*at)[COMMENT_KEY_LEN];
    uint32_t count, room;
} key_list;

static int
note_key(void *ctx, view key, view value)
{
    key_list *l = ctx;

    (void)value;
    if (key.len != COMMENT_KEY_LEN)
        return 0;
    if (l->count == l->room) {
        l->room = l->room == 0 ? 16 : l->room * 2;
        l->at = realloc(l->at, l->room * sizeof *l->at);
        ASSERT(l->at != NULL);
    }
    memcpy(l->at[l->count++], key.at, COMMENT_KEY_LEN);
    return 0;
}

/* Runs fn over the committed comments of an alert, oldest first. */
static int
each_comment(const registry *r, const reg_alert *a, regstore_scan_fn *fn, void *ctx)
{
    uint8_t from[COMMENT_KEY_LEN], until[COMMENT_KEY_LEN];

    comment_key(a, 0, from);
    comment_key(a, UINT64_MAX, until);
    return regstore_scan(r->store, REG_COMMENTS, view_of(from, sizeof from), view_of(until, sizeof until), false, fn,
                         ctx);
}

void
reg_comments_drop(registry *r, const reg_alert *a)
{
    key_list l = { 0 };

    if (each_comment(r, a, note_key, &l) < 0)
        err_clear(); /* they stay, and nobody asks for them */
    for (uint32_t i = 0; i < l.count; i++)
        reg_delete(r, REG_COMMENTS, view_of(l.at[i], COMMENT_KEY_LEN));
    free(l.at);
}

typedef struct comment {
    uuid     id;
    uint32_t user;
    int64_t  at_us;
    view     name, body; /* in the comment's own bytes, behind it */
} comment;

/* What of a stored comment is shown; an unreadable one is left out. */
static int
take_comment(void *ctx, view key, view value)
{
    reg_list *found = ctx;
    pack_doc  doc;
    view      name = VIEW_LIT(""), body = VIEW_LIT("");

    if (key.len != COMMENT_KEY_LEN || pack_open(&doc, value) < 0) {
        err_clear();
        return 0;
    }
    const msgpack_object *map = pack_root(&doc);
    (void)pack_get_str(map, "name", &name);
    (void)pack_get_str(map, "body", &body);
    comment *m = calloc(1, sizeof *m + name.len + body.len);
    ASSERT(m != NULL);
    uint8_t *bytes = (uint8_t *)(m + 1);
    memcpy(bytes, name.at, name.len);
    memcpy(bytes + name.len, body.at, body.len);
    m->name = view_of(bytes, name.len);
    m->body = view_of(bytes + name.len, body.len);
    m->user = (uint32_t)reg_stored_int(map, "user", 0);
    m->at_us = reg_stored_int(map, "at", 0);
    if (pack_get_uuid(map, "id", &m->id))
        reg_list_add(found, m);
    else
        free(m);
    pack_doc_close(&doc);
    return 0;
}

static void
pack_comment(reg_call *c, pack *p, const void *record)
{
    const comment  *m = record;
    const reg_user *by = reg_numbered(&c->r->users, m->user);

    pack_map(p, 5);
    pack_name_uuid(p, "id", &m->id);
    if (by == NULL)
        pack_name_nil(p, "user_id");
    else
        pack_name_uuid(p, "user_id", &by->id);
    pack_name_str(p, "user_name", m->name);
    pack_name_str(p, "body", m->body);
    pack_name_time(p, "created_at", m->at_us);
}

static uint16_t
op_comment_list(reg_call *c)
{
    const reg_alert *a = reg_alert_of(c, NULL);
    reg_list         found = { 0 };
    uint16_t         status;

    if (a == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    if (each_comment(c->r, a, take_comment, &found) < 0) {
        err_clear();
        status = reg_fail(c, 503, "The comments cannot be read.");
    } else {
        status = reg_answer_list(c, &found, pack_comment);
    }
    for (uint32_t i = 0; i < found.count; i++)
        free(found.at[i]);
    reg_list_fini(&found);
    return status;
}

static void
store_comment(registry *r, const reg_alert *a, const comment *m)
{
    uint8_t key[COMMENT_KEY_LEN];
    pack    p;

    comment_key(a, reg_next(r, NEXT_COMMENT), key);
    pack_init(&p);
    pack_map(&p, 5);
    pack_name_uuid(&p, "id", &m->id);
    pack_name_int(&p, "user", m->user);
    pack_name_str(&p, "name", m->name);
    pack_name_str(&p, "body", m->body);
    pack_name_int(&p, "at", m->at_us);
    reg_put(r, REG_COMMENTS, view_of(key, sizeof key), &p);
    pack_fini(&p);
}

static uint16_t
op_comment_create(reg_call *c)
{
    const reg_alert *a = reg_alert_of(c, NULL);
    comment          m = { .at_us = c->r->now_us, .body = reg_trim(reg_text(c, "body")), .name = VIEW_LIT("") };
    key_list         l = { 0 };

    if (a == NULL)
        return reg_fail(c, 404, NOT_FOUND);
    if (reg_characters(m.body) < 1 || reg_characters(m.body) > COMMENT_CHARS_MAX)
        return reg_fail(c, 422, "body must have 1 to 2000 characters.");
    int rc = each_comment(c->r, a, note_key, &l);
    free(l.at);
    if (rc < 0) {
        err_clear();
        return reg_fail(c, 503, "The comments cannot be read.");
    }
    if (l.count >= COMMENTS_MAX)
        return reg_fail(c, 400, "An alert has at most 1000 comments.");
    crypto_uuid4(&m.id);
    if (c->user != NULL) {
        m.user = c->user->no;
        m.name = c->user->full_name;
    }
    store_comment(c->r, a, &m);
    reg_audit(c, "alert", &a->id, (view){ 0 });
    pack_comment(c, c->out, &m);
    return 201;
}

const reg_op_fn reg_alert_act_ops[] = {
    { REG_ALERT_ACK, op_alert_ack },         { REG_ALERT_ACK_MANY, op_alert_ack_many },
    { REG_ALERT_SNOOZE, op_alert_snooze },   { REG_ALERT_RESOLVE, op_alert_resolve },
    { REG_COMMENT_LIST, op_comment_list },   { REG_COMMENT_CREATE, op_comment_create },
    { 0 },
};
