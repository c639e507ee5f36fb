/* squeeze.h - inflating request bodies with a bound on what comes out. */
#ifndef HALTLESS_PROTO_SQUEEZE_H
#define HALTLESS_PROTO_SQUEEZE_H

#include "proto/base.h"

typedef enum squeeze_kind { SQUEEZE_GZIP, SQUEEZE_ZSTD } squeeze_kind;

/* The kind that a Content-Encoding names ("gzip", "x-gzip", "zstd", any case); false: another. */
NODISCARD bool squeeze_kind_of(view name, squeeze_kind *out);

/* Inflates all of `in` (members or frames may follow each other) into at most `room` bytes at out.
 * E_LIMIT: more than room would come; E_BAD: malformed, cut off, or something behind the end;
 * E_NOMEM. The memory it takes besides does not depend on the input. */
NODISCARD int squeeze_inflate(squeeze_kind kind, view in, uint8_t *out, size_t room, size_t *len);

/* zstd for small pieces of our own, one after the other: keeps what it needs for that. */
typedef struct squeezer squeezer;
squeezer *squeezer_new(void);
void      squeezer_free(squeezer **s);
/* The length, or 0 when it would be more than room. */
size_t squeezer_pack(squeezer *s, view in, uint8_t *out, size_t room, int level);
/* True: exactly len bytes came out. */
NODISCARD bool squeezer_unpack(squeezer *s, view in, uint8_t *out, size_t len);

#endif
