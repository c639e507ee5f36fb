/* pack.h - MessagePack for control messages and for clients, over msgpack-c.
 *
 * Writing: into a msgpack_sbuffer.  Reading: headers are checked first (pack_is_sound), because unpacking a
 * hostile 5-byte header reserves gigabytes.
 */
#ifndef HALTLESS_PROTO_PACK_H
#define HALTLESS_PROTO_PACK_H

#include "proto/base.h"

#include <cjson/cJSON.h>
#include <msgpack.h>

typedef struct pack {
    msgpack_sbuffer buffer;
    msgpack_packer  packer;
} pack;

void pack_init(pack *p);
void pack_fini(pack *p);
void pack_reset(pack *p);
view pack_view(const pack *p); /* borrowed until the next write */

void pack_map(pack *p, uint32_t members);
void pack_array(pack *p, uint32_t items);
void pack_str(pack *p, view s);
void pack_bin(pack *p, view s);
void pack_nil(pack *p);
void pack_bool(pack *p, bool v);
void pack_int(pack *p, int64_t v);
void pack_uint(pack *p, uint64_t v);
void pack_double(pack *p, double v);
void pack_uuid(pack *p, const uuid *u); /* as its 36-character text */
void pack_time(pack *p, int64_t us);    /* as RFC 3339 text; nil when INT64_MIN */
void pack_json(pack *p, const cJSON *value);
/* name and value in one */
void pack_name_str(pack *p, const char *name, view s);
void pack_name_int(pack *p, const char *name, int64_t v);
void pack_name_bool(pack *p, const char *name, bool v);
void pack_name_double(pack *p, const char *name, double v);
void pack_name_uuid(pack *p, const char *name, const uuid *u);
void pack_name_time(pack *p, const char *name, int64_t us);
void pack_name_nil(pack *p, const char *name);

/* Every header fits the bytes behind it, nesting <= 32, nothing behind the value. */
NODISCARD bool pack_is_sound(view packed);

/* Reading.  `doc` owns the tree; strings stay in the source. */
typedef struct pack_doc {
    msgpack_unpacked unpacked;
} pack_doc;
NODISCARD int pack_open(pack_doc *d, view packed); /* E_BAD */
void pack_doc_close(pack_doc *d);
const msgpack_object *pack_root(const pack_doc *d);
/* Members of a map; each false when missing or of another type (nil counts as missing). */
const msgpack_object *pack_get(const msgpack_object *map, const char *name);
bool pack_has(const msgpack_object *map, const char *name); /* also when nil */
bool pack_get_str(const msgpack_object *map, const char *name, view *out);
bool pack_get_int(const msgpack_object *map, const char *name, int64_t *out);
bool pack_get_bool(const msgpack_object *map, const char *name, bool *out);
bool pack_get_double(const msgpack_object *map, const char *name, double *out); /* integers too */
bool pack_get_uuid(const msgpack_object *map, const char *name, uuid *out);
bool pack_get_bin(const msgpack_object *map, const char *name, view *out);

#endif
