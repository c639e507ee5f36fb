/* json.h - writing JSON text, and reading it through cJSON.
 *
 * A growing buffer that never fails half-way: when memory or its bound runs out it turns `failed`, every
 * later call does nothing, and the caller looks once at the end.  Commas are its own business.
 */
#ifndef HALTLESS_PROTO_JSON_H
#define HALTLESS_PROTO_JSON_H

#include "proto/base.h"

#include <cjson/cJSON.h>

typedef struct json_out {
    char  *at; /* owned; json_out_free */
    size_t len;
    size_t room;
    size_t max; /* bound in bytes; 0: 64 MiB */
    bool   comma;
    bool   failed;
} json_out;

void json_out_free(json_out *j);
void json_reset(json_out *j); /* len = 0, keeps the memory */
/* Where a value of at most that many bytes may be written, behind the comma that is due; NULL: there is no room.  Then
 * where it ends. */
char *json_value(json_out *j, size_t most);
void  json_value_end(json_out *j, const char *end);
void json_open(json_out *j, char bracket); /* '{' or '[' */
void json_close(json_out *j, char bracket);
void json_name(json_out *j, view name);
void json_string(json_out *j, view s); /* escapes; broken UTF-8 becomes U+FFFD */
void json_number(json_out *j, double v); /* null when not finite */
void json_int(json_out *j, int64_t v);
void json_uint(json_out *j, uint64_t v);
void json_bool(json_out *j, bool v);
void json_null(json_out *j);
void json_time(json_out *j, int64_t us); /* RFC 3339; null when INT64_MIN */
void json_uuid(json_out *j, const uuid *u);
void json_raw(json_out *j, view text); /* a value that is JSON already */
/* name and value in one */
void json_name_string(json_out *j, const char *name, view s);
void json_name_number(json_out *j, const char *name, double v);
void json_name_int(json_out *j, const char *name, int64_t v);
void json_name_bool(json_out *j, const char *name, bool v);
void json_name_null(json_out *j, const char *name);
void json_name_time(json_out *j, const char *name, int64_t us);
void json_name_uuid(json_out *j, const char *name, const uuid *u);

/* A MessagePack value as JSON: how replies of the registry become bodies.  False: malformed. */
NODISCARD bool json_from_pack(json_out *j, view packed);

/* Is it JSON, as json_parse() takes it?  Reads only. */
bool json_is_valid(view text);

/* Parses a whole body strictly (UTF-8, nothing behind it, nesting <= 32, <= 100 000 nodes).  NULL: not JSON.
 * cJSON_Delete it. */
cJSON *json_parse(view text);

#endif
