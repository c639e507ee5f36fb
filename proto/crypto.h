/* crypto.h - everything from libsodium, in our words. */
#ifndef HALTLESS_PROTO_CRYPTO_H
#define HALTLESS_PROTO_CRYPTO_H

#include "proto/base.h"

#include <sys/types.h>

enum { SECRET_LEN = 32, DIGEST_LEN = 32, PASSWORD_HASH_MAX = 128, UUID_TEXT_LEN = 36, API_KEY_TEXT_LEN = 46 };

NODISCARD int crypto_start(void); /* once a process */
void crypto_random(void *out, size_t len);

void crypto_uuid4(uuid *out);
void uuid_format(const uuid *u, char out[UUID_TEXT_LEN]); /* lower case, not NUL-terminated */
NODISCARD bool uuid_parse(view text, uuid *out);           /* any case, with dashes */

/* Keyed BLAKE2b-256: how API keys and refresh tokens are kept. */
void crypto_keyed_hash(const uint8_t key[SECRET_LEN], view data, uint8_t out[DIGEST_LEN]);
void crypto_hmac_sha256(const uint8_t key[SECRET_LEN], view data, uint8_t out[DIGEST_LEN]);
bool crypto_equal(const void *a, const void *b, size_t len); /* constant time */
/* "hk_" and 43 characters of base64url: 32 random bytes. */
void crypto_api_key(char out[API_KEY_TEXT_LEN]);

/* base64url without padding.  Lengths in bytes; decode: -1 when malformed or over room. */
size_t  base64url_encode(view in, char *out, size_t room);
/* The classic alphabet with padding and a NUL behind it; room >= 4 * ceil(len / 3) + 1.  The length. */
size_t  base64_encode(view in, char *out, size_t room);
ssize_t base64url_decode(view in, uint8_t *out, size_t room);

/* argon2id, 19 MiB, 2 passes: slow, never on an event loop. */
NODISCARD int password_hash(view password, char out[PASSWORD_HASH_MAX]); /* NUL-terminated */
bool password_matches(view password, const char *encoded);

#endif
