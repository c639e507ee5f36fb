/* pack.c - MessagePack over msgpack-c.
 *
 * Writing never fails half-way: running out of memory stops the actor.  Reading walks the headers
 * first (no recursion, no allocation); only a sound value is unpacked, so that memory is bounded by
 * its length.
 */
#include "proto/pack.h"

#include "proto/crypto.h"
#include "proto/err.h"
#include "proto/instant.h"

#include <math.h>

enum { DEPTH_MAX = 32 };

void
pack_init(pack *p)
{
    msgpack_sbuffer_init(&p->buffer);
    msgpack_packer_init(&p->packer, &p->buffer, msgpack_sbuffer_write);
}

void
pack_fini(pack *p)
{
    msgpack_sbuffer_destroy(&p->buffer);
}

void
pack_reset(pack *p)
{
    msgpack_sbuffer_clear(&p->buffer);
}

view
pack_view(const pack *p)
{
    return view_of(p->buffer.data, p->buffer.size);
}

void
pack_map(pack *p, uint32_t members)
{
    int rc = msgpack_pack_map(&p->packer, members);

    ASSERT(rc == 0);
}

void
pack_array(pack *p, uint32_t items)
{
    int rc = msgpack_pack_array(&p->packer, items);

    ASSERT(rc == 0);
}

void
pack_str(pack *p, view s)
{
    int rc = msgpack_pack_str_with_body(&p->packer, s.len == 0 ? (const uint8_t *)"" : s.at, s.len);

    ASSERT(rc == 0);
}

void
pack_bin(pack *p, view s)
{
    int rc = msgpack_pack_bin_with_body(&p->packer, s.at, s.len);

    ASSERT(rc == 0);
}

void
pack_nil(pack *p)
{
    int rc = msgpack_pack_nil(&p->packer);

    ASSERT(rc == 0);
}

void
pack_bool(pack *p, bool v)
{
    int rc = v ? msgpack_pack_true(&p->packer) : msgpack_pack_false(&p->packer);

    ASSERT(rc == 0);
}

void
pack_int(pack *p, int64_t v)
{
    int rc = msgpack_pack_int64(&p->packer, v);

    ASSERT(rc == 0);
}

void
pack_uint(pack *p, uint64_t v)
{
    int rc = msgpack_pack_uint64(&p->packer, v);

    ASSERT(rc == 0);
}

void
pack_double(pack *p, double v)
{
    int rc = msgpack_pack_double(&p->packer, v);

    ASSERT(rc == 0);
}

void
pack_uuid(pack *p, const uuid *u)
{
    char text[UUID_TEXT_LEN];

    uuid_format(u, text);
    pack_str(p, view_of(text, sizeof text));
}

void
pack_time(pack *p, int64_t us)
{
    char text[INSTANT_TEXT_MAX];

    if (us == INT64_MIN)
        pack_nil(p);
    else
        pack_str(p, view_of(text, instant_format(us, text)));
}

/* 72 and 72.0 are one number in JSON: an integer where that loses nothing. */
static void
pack_number(pack *p, double v)
{
    const double exact = 9007199254740992.0; /* 2^53 */

    if (v >= -exact && v <= exact && v == trunc(v) && !(v == 0 && signbit(v)))
        pack_int(p, (int64_t)v);
    else
        pack_double(p, v);
}

static uint32_t
children_count(const cJSON *value)
{
    uint32_t     n = 0;
    const cJSON *child;

    cJSON_ArrayForEach(child, value) n++;
    return n;
}

void
pack_json(pack *p, const cJSON *value)
{
    const cJSON *child;

    if (cJSON_IsString(value))
        pack_str(p, view_str(value->valuestring));
    else if (cJSON_IsNumber(value))
        pack_number(p, value->valuedouble);
    else if (cJSON_IsBool(value))
        pack_bool(p, cJSON_IsTrue(value));
    else if (cJSON_IsArray(value))
        pack_array(p, children_count(value));
    else if (cJSON_IsObject(value))
        pack_map(p, children_count(value));
    else
        pack_nil(p);
    if (!cJSON_IsArray(value) && !cJSON_IsObject(value))
        return;
    cJSON_ArrayForEach(child, value)
    {
        if (cJSON_IsObject(value))
            pack_str(p, view_str(child->string));
        pack_json(p, child); /* as deep as json_parse() lets through */
    }
}

void
pack_name_str(pack *p, const char *name, view s)
{
    pack_str(p, view_str(name));
    pack_str(p, s);
}

void
pack_name_int(pack *p, const char *name, int64_t v)
{
    pack_str(p, view_str(name));
    pack_int(p, v);
}

void
pack_name_bool(pack *p, const char *name, bool v)
{
    pack_str(p, view_str(name));
    pack_bool(p, v);
}

void
pack_name_double(pack *p, const char *name, double v)
{
    pack_str(p, view_str(name));
    pack_double(p, v);
}

void
pack_name_uuid(pack *p, const char *name, const uuid *u)
{
    pack_str(p, view_str(name));
    pack_uuid(p, u);
}

void
pack_name_time(pack *p, const char *name, int64_t us)
{
    pack_str(p, view_str(name));
    pack_time(p, us);
}

void
pack_name_nil(pack *p, const char *name)
{
    pack_str(p, view_str(name));
    pack_nil(p);
}

/* ---- soundness ---- */

/* What a first byte says: `fixed` bytes of payload behind it, or a big-endian length of
 * `length_bytes` that counts bytes (+ extra), or items. */
typedef enum head_class { HEAD_BAD, HEAD_BYTES, HEAD_ITEMS } head_class;

typedef struct head {
    head_class what;
    uint8_t    length_bytes; /* of the length field; 0: `count` says it */
    uint8_t    extra;        /* bytes besides what is counted (the type of an ext) */
    uint8_t    per;          /* values of one item: 2 for a map */
    uint32_t   count;
} head;

static head
head_of(uint8_t b)
{
    /* 0xc0 .. 0xdf: class, length_bytes, extra, per, count */
    static const head rows[32] = {
        { HEAD_BYTES },             /* nil */
        { HEAD_BAD },               /* never used */
        { HEAD_BYTES },             /* false */
        { HEAD_BYTES },             /* true */
        { HEAD_BYTES, 1 },          /* bin 8 */
        { HEAD_BYTES, 2 },          /* bin 16 */
        { HEAD_BYTES, 4 },          /* bin 32 */
        { HEAD_BYTES, 1, 1 },       /* ext 8 */
        { HEAD_BYTES, 2, 1 },       /* ext 16 */
        { HEAD_BYTES, 4, 1 },       /* ext 32 */
        { HEAD_BYTES, 0, 0, 0, 4 }, /* float 32 */
        { HEAD_BYTES, 0, 0, 0, 8 }, /* float 64 */
        { HEAD_BYTES, 0, 0, 0, 1 }, /* uint 8 */
        { HEAD_BYTES, 0, 0, 0, 2 },
        { HEAD_BYTES, 0, 0, 0, 4 },
        { HEAD_BYTES, 0, 0, 0, 8 },
        { HEAD_BYTES, 0, 0, 0, 1 }, /* int 8 */
        { HEAD_BYTES, 0, 0, 0, 2 },
        { HEAD_BYTES, 0, 0, 0, 4 },
        { HEAD_BYTES, 0, 0, 0, 8 },
        { HEAD_BYTES, 0, 1, 0, 1 }, /* fixext 1 */
        { HEAD_BYTES, 0, 1, 0, 2 },
        { HEAD_BYTES, 0, 1, 0, 4 },
        { HEAD_BYTES, 0, 1, 0, 8 },
        { HEAD_BYTES, 0, 1, 0, 16 },
        { HEAD_BYTES, 1 },       /* str 8 */
        { HEAD_BYTES, 2 },       /* str 16 */
        { HEAD_BYTES, 4 },       /* str 32 */
        { HEAD_ITEMS, 2, 0, 1 }, /* array 16 */
        { HEAD_ITEMS, 4, 0, 1 }, /* array 32 */
        { HEAD_ITEMS, 2, 0, 2 }, /* map 16 */
        { HEAD_ITEMS, 4, 0, 2 }, /* map 32 */
    };

    if (b < 0x80 || b >= 0xe0)
        return (head){ HEAD_BYTES, .count = 0 }; /* fixint */
    if (b < 0x90)
        return (head){ HEAD_ITEMS, .per = 2, .count = b & 0x0fu };
    if (b < 0xa0)
        return (head){ HEAD_ITEMS, .per = 1, .count = b & 0x0fu };
    if (b < 0xc0)
        return (head){ HEAD_BYTES, .count = b & 0x1fu };
    return rows[b - 0xc0];
}

/* Takes the header at *s off, and the payload of a value that is no container.  *values: how many
 * values a container holds. */
static bool
head_take(view *s, bool *container, uint64_t *values)
{
    head     h = head_of(s->at[0]);
    uint64_t count = h.count;

    if (h.what == HEAD_BAD || s->len < 1u + h.length_bytes)
        return false;
    for (uint8_t i = 0; i < h.length_bytes; i++)
        count = (i == 0 ? 0 : count << 8) | s->at[1 + i];
    *s = view_of(s->at + 1 + h.length_bytes, s->len - 1 - h.length_bytes);
    *container = h.what == HEAD_ITEMS;
    *values = *container ? count * h.per : 0;
    if (*container)
        return *values <= s->len; /* a value has one byte at least */
    if (count + h.extra > s->len)
        return false;
    *s = view_of(s->at + count + h.extra, s->len - (size_t)(count + h.extra));
    return true;
}

bool
pack_is_sound(view packed)
{
    uint64_t left[DEPTH_MAX + 1] = { 1 }; /* values still to come at each level */
    unsigned depth = 0;

    for (;;) { /* each turn takes a byte of `packed` or leaves a level */
        bool     container;
        uint64_t values;

        while (left[depth] == 0 && depth > 0)
            depth--;
        if (left[depth] == 0)
            return packed.len == 0;
        if (packed.len == 0 || !head_take(&packed, &container, &values))
            return false;
        left[depth]--;
        if (!container)
            continue;
        if (depth == DEPTH_MAX)
            return false;
        left[++depth] = values;
    }
}

/* ---- reading ---- */

int
pack_open(pack_doc *d, view packed)
{
    size_t off = 0;

    msgpack_unpacked_init(&d->unpacked);
    if (!pack_is_sound(packed))
        return E_BAD;
    if (msgpack_unpack_next(&d->unpacked, (const char *)packed.at, packed.len, &off) !=
            MSGPACK_UNPACK_SUCCESS ||
        off != packed.len) {
        msgpack_unpacked_destroy(&d->unpacked);
        return E_BAD;
    }
    return E_OK;
}

void
pack_doc_close(pack_doc *d)
{
    msgpack_unpacked_destroy(&d->unpacked);
}

const msgpack_object *
pack_root(const pack_doc *d)
{
    return &d->unpacked.data;
}

static const msgpack_object *
member_of(const msgpack_object *map, const char *name)
{
    view wanted = view_str(name);

    if (map == NULL || map->type != MSGPACK_OBJECT_MAP)
        return NULL;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];

        if (kv->key.type == MSGPACK_OBJECT_STR &&
            view_eq(view_of(kv->key.via.str.ptr, kv->key.via.str.size), wanted))
            return &kv->val;
    }
    return NULL;
}

const msgpack_object *
pack_get(const msgpack_object *map, const char *name)
{
    const msgpack_object *o = member_of(map, name);

    return o != NULL && o->type != MSGPACK_OBJECT_NIL ? o : NULL;
}

bool
pack_has(const msgpack_object *map, const char *name)
{
    return member_of(map, name) != NULL;
}

bool
pack_get_str(const msgpack_object *map, const char *name, view *out)
{
    const msgpack_object *o = member_of(map, name);

    if (o == NULL || o->type != MSGPACK_OBJECT_STR)
        return false;
    *out = view_of(o->via.str.ptr, o->via.str.size);
    return true;
}

bool
pack_get_int(const msgpack_object *map, const char *name, int64_t *out)
{
    const msgpack_object *o = member_of(map, name);

    if (o == NULL)
        return false;
    if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER && o->via.u64 <= INT64_MAX)
        *out = (int64_t)o->via.u64;
    else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *out = o->via.i64;
    else
        return false;
    return true;
}

bool
pack_get_bool(const msgpack_object *map, const char *name, bool *out)
{
    const msgpack_object *o = member_of(map, name);

    if (o == NULL || o->type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *out = o->via.boolean;
    return true;
}

bool
pack_get_double(const msgpack_object *map, const char *name, double *out)
{
    const msgpack_object *o = member_of(map, name);

    if (o == NULL)
        return false;
    if (o->type == MSGPACK_OBJECT_FLOAT32 || o->type == MSGPACK_OBJECT_FLOAT64)
        *out = o->via.f64;
    else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        *out = (double)o->via.u64;
    else if (o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        *out = (double)o->via.i64;
    else
        return false;
    return true;
}

bool
pack_get_uuid(const msgpack_object *map, const char *name, uuid *out)
{
    view text;

    return pack_get_str(map, name, &text) && uuid_parse(text, out);
}

bool
pack_get_bin(const msgpack_object *map, const char *name, view *out)
{
    const msgpack_object *o = member_of(map, name);

    if (o == NULL || o->type != MSGPACK_OBJECT_BIN)
        return false;
    *out = view_of(o->via.bin.ptr, o->via.bin.size);
    return true;
}
