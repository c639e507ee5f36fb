/* jwt.h - access tokens: HS256 JSON Web Tokens with the claims of this API, and nothing else.
 *
 * No allocation; every length is bounded.  The caller looks at what only the registry knows
 * (blocked jti, inactive user).
 */
#ifndef HALTLESS_PROTO_JWT_H
#define HALTLESS_PROTO_JWT_H

#include "proto/base.h"
#include "proto/crypto.h"

enum { JWT_TEXT_MAX = 768 };

/* role and tier are indexes of role_words and tier_words (reg_ops.h). */
typedef struct jwt_claims {
    uuid    sub; /* the user */
    uuid    tenant_id;
    uuid    jti;
    uint8_t role;
    uint8_t tier;
    int64_t iat_s; /* unix seconds; 0 when the token does not say */
    int64_t exp_s;
} jwt_claims;

/* Returns the length; not NUL-terminated. */
NODISCARD size_t jwt_sign(const uint8_t secret[SECRET_LEN], const jwt_claims *c,
                          char out[JWT_TEXT_MAX]);

enum jwt_verdict { JWT_OK, JWT_INVALID, JWT_EXPIRED };

/* JWT_EXPIRED: ours, but exp_s <= now_s; *out is filled then too. */
NODISCARD enum jwt_verdict jwt_verify(const uint8_t secret[SECRET_LEN], view token, int64_t now_s,
                                      jwt_claims *out);

#endif
