/* auth.c - who asks (auth.h).  Order of refusals: 401 (who are you), 402 (is the tenant paid), 403
 * (may you). */
#include "api/auth.h"

#include "proto/jwt.h"

#include <stdarg.h>
#include <stdio.h>

enum { KEY_TEXT_MAX = 128 };

static auth_verdict refuse(uint16_t status, const char *fmt, ...) PRINTF_LIKE(2, 3);

static auth_verdict
refuse(uint16_t status, const char *fmt, ...)
{
    auth_verdict v = { .status = status };
    va_list      args;

    va_start(args, fmt);
    vsnprintf(v.detail, sizeof v.detail, fmt, args);
    va_end(args);
    return v;
}

static auth_verdict
tenant_verdict(front *f, uint32_t tenant, caller *who)
{
    board_tenant t;

    if (!table_read(board_table(f->board, BOARD_TENANTS, 0), tenant, &t) || !(t.flags & BOARD_LIVE))
        return refuse(401, "Tenant not found.");
    if (t.subscription != 0)
        return refuse(402, "The subscription of this tenant is not active.");
    who->tenant = tenant;
    who->tenant_id = t.id;
    return (auth_verdict){ .tier = t.tier };
}

/* While the signing secret is exchanged, two are good. */
static enum jwt_verdict
verify(const secrets *s, view token, int64_t now_s, jwt_claims *claims)
{
    enum jwt_verdict v = jwt_verify(s->jwt, token, now_s, claims);

    if (v == JWT_INVALID && now_s < s->also_until_s)
        v = jwt_verify(s->also, token, now_s, claims);
    return v;
}

auth_verdict
auth_token(front *f, view token, caller *who)
{
    jwt_claims claims;
    board_user user;
    int64_t    now_s = front_wall_us() / 1000000;

    memset(who, 0, sizeof *who);
    switch (verify(&f->secrets, token, now_s, &claims)) {
    case JWT_OK:
        break;
    case JWT_EXPIRED:
        return refuse(401, "Authentication token has expired.");
    default:
        return refuse(401, "Invalid authentication token.");
    }
    if (board_is_blocked(f->board, &claims.jti) ||
        board_find_user(f->board, &claims.sub, &user) == 0)
        return refuse(401, "Invalid authentication token.");
    if (!(user.flags & BOARD_LIVE))
        return refuse(401, "User account is inactive.");
    if (claims.iat_s < user.tokens_from_us / 1000000)
        return refuse(401, "Invalid authentication token.");
    who->user = user.no;
    who->user_id = user.id;
    who->role = user.role;
    who->jti = claims.jti;
    who->expires_us = claims.exp_s * 1000000;
    return tenant_verdict(f, user.tenant, who);
}

auth_verdict
auth_key(front *f, view key, caller *who)
{
    uint8_t   hash[DIGEST_LEN];
    board_key k;
    bool      found;

    memset(who, 0, sizeof *who);
    if (key.len == 0 || key.len > KEY_TEXT_MAX)
        return refuse(401, "Invalid API key.");
    crypto_keyed_hash(f->secrets.keys, key, hash);
    found = board_find_key(f->board, hash, &k) != 0 && crypto_equal(k.hash, hash, sizeof hash);
    if (!found || !(k.flags & BOARD_LIVE) || (k.expires_us != 0 && k.expires_us <= front_wall_us()))
        return refuse(401, "Invalid API key.");
    who->key = k.no;
    who->scopes = k.scopes;
    who->expires_us = k.expires_us;
    usage_note(f->usage, k.no, front_wall_us());
    return tenant_verdict(f, k.tenant, who);
}

static bool
starts_with_bearer(view v)
{
    static const char word[] = "bearer ";

    if (v.len < sizeof word - 1)
        return false;
    for (size_t i = 0; i < sizeof word - 1; i++)
        if ((v.at[i] | 0x20) != word[i])
            return false;
    return true;
}

auth_verdict
auth_request(front *f, const exchange *x, caller *who)
{
    view key = http_header(x, "x-api-key");
    view bearer = http_header(x, "authorization");

    if (key.len > 0)
        return auth_key(f, key, who);
    if (bearer.len == 0)
        return refuse(401, "Authentication is required.");
    if (!starts_with_bearer(bearer))
        return refuse(401, "Invalid authentication token.");
    bearer = view_of(bearer.at + 7, bearer.len - 7);
    while (bearer.len > 0 && bearer.at[0] == ' ')
        bearer = view_of(bearer.at + 1, bearer.len - 1);
    return auth_token(f, bearer, who);
}

static const char *
first_scope(uint32_t scopes)
{
    for (int i = 0; scope_words[i] != NULL; i++)
        if (scopes & (1u << i))
            return scope_words[i];
    return "";
}

auth_verdict
auth_allows(uint32_t row_who, const caller *who)
{
    uint32_t scopes = row_who >> 8;

    if (who->key != 0) {
        if ((who->scopes & scopes) != 0)
            return (auth_verdict){ 0 };
        if (scopes != 0)
            return refuse(403, "API key does not have the required scope: %s", first_scope(scopes));
    } else if (who->role >= WHO_ROLE(row_who)) {
        return (auth_verdict){ 0 };
    }
    return refuse(403, "Your role does not allow this.");
}
