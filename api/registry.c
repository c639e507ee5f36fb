/* registry.c - handlers of rows whose work is one operation of the registry (registry.h).
 *
 * A page may be longer than one answer of the registry (64 KiB).  It says then how many items are "left", and is
 * asked again with "skip": the items it has given already.
 */
#include "api/registry.h"

#include "api/etag.h"
#include "proto/err.h"

#include <stdio.h>

static const field page_fields[] = { REGISTRY_PAGE_FIELDS, { 0 } };
const schema registry_page_schema = { "Page", page_fields };

/* ---- parameters ---- */
static bool
is_secret(const char *name)
{
    return strcmp(name, "password") == 0 || strcmp(name, "new_password") == 0 || strcmp(name, "current_password") == 0;
}

/* The member of that row, unless it would hide the path's id. */
static const cJSON *
member(const field *f, const cJSON *object)
{
    if (strcmp(f->name, "id") == 0 || is_secret(f->name))
        return NULL;
    return cJSON_GetObjectItemCaseSensitive(object, f->name);
}

static uint32_t
count_members(const schema *s, const cJSON *object)
{
    uint32_t n = 0;

    for (const field *f = s == NULL || object == NULL ? NULL : s->fields; f != NULL && f->type != FIELD_END; f++)
        n += member(f, object) != NULL;
    return n;
}

static void
pack_members(pack *p, const schema *s, const cJSON *object)
{
    for (const field *f = s == NULL || object == NULL ? NULL : s->fields; f != NULL && f->type != FIELD_END; f++) {
        const cJSON *item = member(f, object);

        if (item == NULL)
            continue;
        pack_str(p, view_str(f->name));
        pack_json(p, item);
    }
}

void
registry_params(const call *c, pack *p, uint32_t more)
{
    const route *row = call_route(c);
    view         id = call_param(c, "id");

    pack_map(p, more + (id.at != NULL) + count_members(row->query, call_query(c)) +
                    count_members(row->body, call_body(c)));
    if (id.at != NULL)
        pack_name_str(p, "id", id);
    pack_members(p, row->query, call_query(c));
    pack_members(p, row->body, call_body(c));
}

/* ---- answers ---- */
/* "name must have 1 to 255 characters." -> the member `name`.  False: no member is named. */
static bool
fail_member(call *c, view value)
{
    char     name[64];
    char     msg[256];
    pack_doc d;
    bool     named = false, missing = false;

    if (pack_open(&d, value) < 0) {
        err_clear();
        return false;
    }
    const msgpack_object *o = pack_root(&d);
    const char *space = o->type == MSGPACK_OBJECT_STR ? memchr(o->via.str.ptr, ' ', o->via.str.size) : NULL;
    if (space != NULL && (size_t)(space - o->via.str.ptr) < sizeof name) {
        int len = (int)(space - o->via.str.ptr);

        named = true;
        missing = view_eq(view_of(space, o->via.str.size - (size_t)len), VIEW_LIT(" is required."));
        snprintf(name, sizeof name, "%.*s", len, o->via.str.ptr);
        snprintf(msg, sizeof msg, "%.*s", (int)o->via.str.size - len - 1, space + 1);
        msg[0] = (char)(msg[0] >= 'a' && msg[0] <= 'z' ? msg[0] - 32 : msg[0]);
    }
    pack_doc_close(&d);
    if (missing)
        call_fail_field(c, "body", name, "Field required", "missing");
    else if (named)
        call_fail_field(c, "body", name, msg, "value_error");
    return named;
}

void
registry_answer(call *c, const ak_msg *reply)
{
    reg_done head;
    view     value;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status == 422 && fail_member(c, value))
        return;
    route_registry_answer(c, reply);
}

void
registry_route(call *c)
{
    pack p;

    pack_init(&p);
    registry_params(c, &p, 0);
    call_registry(c, call_route(c)->op, pack_view(&p), registry_answer);
    pack_fini(&p);
}

/* ---- single resources ---- */
static void
answer_tagged(call *c, const ak_msg *reply)
{
    reg_done head;
    view     value;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status != 200)
        registry_answer(c, reply);
    else if (json_from_pack(call_json(c), value))
        etag_send_json(c);
    else
        call_fail(c, 503, "The registry's answer cannot be read.");
}

void
registry_get(call *c)
{
    pack p;

    pack_init(&p);
    registry_params(c, &p, 0);
    call_registry(c, call_route(c)->op, pack_view(&p), answer_tagged);
    pack_fini(&p);
}

/* ---- lists ---- */
typedef struct pieces {
    pack     items; /* one value behind the other */
    uint32_t count;
} pieces;

static void
drop_pieces(void *state)
{
    pack_fini(&((pieces *)state)->items);
}

static void on_piece(call *c, const ak_msg *reply);

static void
ask_for_piece(call *c, uint32_t skip)
{
    pack p;

    pack_init(&p);
    registry_params(c, &p, 1);
    pack_name_int(&p, "skip", skip);
    call_registry(c, call_route(c)->op, pack_view(&p), on_piece);
    pack_fini(&p);
}

static pieces *
pieces_of(call *c)
{
    pieces *s = call_kept(c);

    if (s == NULL) {
        s = call_alloc(c, sizeof *s);
        pack_init(&s->items);
        call_keep(c, s, drop_pieces);
    }
    return s;
}

/* The whole page, as if it had come at once. */
static void
answer_whole(call *c, const pieces *s, const msgpack_object *last)
{
    static const char *const members[] = { "total", "page", "page_size", "total_pages" };
    view items = pack_view(&s->items);
    pack p;

    pack_init(&p);
    pack_map(&p, 1 + COUNT_OF(members));
    pack_str(&p, VIEW_LIT("items"));
    pack_array(&p, s->count);
    if (items.len > 0)
        msgpack_sbuffer_write(&p.buffer, (const char *)items.at, items.len);
    for (size_t i = 0; i < COUNT_OF(members); i++) {
        int64_t v = 0;

        (void)pack_get_int(last, members[i], &v);
        pack_name_int(&p, members[i], v);
    }
    if (json_from_pack(call_json(c), pack_view(&p)))
        call_send_json(c, 200);
    else
        call_fail(c, 503, "The registry's answer cannot be read.");
    pack_fini(&p);
}

/* False: there is nothing new in it. */
static bool
take_piece(pieces *s, const msgpack_object *answer)
{
    const msgpack_object *items = pack_get(answer, "items");

    if (items == NULL || items->type != MSGPACK_OBJECT_ARRAY)
        return false;
    for (uint32_t i = 0; i < items->via.array.size; i++)
        msgpack_pack_object(&s->items.packer, items->via.array.ptr[i]);
    s->count += items->via.array.size;
    return items->via.array.size > 0;
}

static void
on_piece(call *c, const ak_msg *reply)
{
    reg_done head;
    view     value;
    pack_doc d;
    int64_t  left = 0;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status >= 400 || pack_open(&d, value) < 0) {
        err_clear();
        registry_answer(c, reply);
        return;
    }
    bool more = pack_get_int(pack_root(&d), "left", &left) && left > 0;
    if (!more && call_kept(c) == NULL) {
        registry_answer(c, reply);
    } else {
        pieces *s = pieces_of(c);
        if (take_piece(s, pack_root(&d)) && more)
            ask_for_piece(c, s->count);
        else
            answer_whole(c, s, pack_root(&d));
    }
    pack_doc_close(&d);
}

void
registry_list(call *c)
{
    ask_for_piece(c, 0);
}
