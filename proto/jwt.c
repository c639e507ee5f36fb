/* jwt.c - header.payload.signature; only the very header that we write is accepted, so no other
 * algorithm can be asked for.  The payload is one flat object, looked at after its signature has
 * been verified.
 */
#include "proto/jwt.h"

#include "proto/num.h"
#include "proto/reg_ops.h"

#include <stdio.h>

#define HEADER "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" /* {"alg":"HS256","typ":"JWT"} */
#define ISSUER "haltless"

enum { PAYLOAD_MAX = 400, SIGNATURE_LEN = 43, MEMBERS_MAX = 16 };

static const view header = { (const uint8_t *)HEADER, sizeof HEADER - 1 };

static const char *
word_of(const char *const *words, unsigned index)
{
    for (unsigned i = 0; words[i] != NULL; i++)
        if (i == index)
            return words[i];
    ASSERT(!"a role or tier of the tables");
}

static size_t
payload_write(const jwt_claims *c, char out[PAYLOAD_MAX])
{
    char sub[UUID_TEXT_LEN], tenant[UUID_TEXT_LEN], jti[UUID_TEXT_LEN];
    int  n;

    uuid_format(&c->sub, sub);
    uuid_format(&c->tenant_id, tenant);
    uuid_format(&c->jti, jti);
    n = snprintf(
        out, PAYLOAD_MAX,
        "{\"sub\":\"%.36s\",\"tenant_id\":\"%.36s\",\"tenant_tier\":\"%s\",\"role\":\"%s\","
        "\"jti\":\"%.36s\",\"iat\":%lld,\"exp\":%lld,\"iss\":\"" ISSUER "\"}",
        sub, tenant, word_of(tier_words, c->tier), word_of(role_words, c->role), jti,
        (long long)c->iat_s, (long long)c->exp_s);
    ASSERT(n > 0 && n < PAYLOAD_MAX);
    return (size_t)n;
}

size_t
jwt_sign(const uint8_t secret[SECRET_LEN], const jwt_claims *c, char out[JWT_TEXT_MAX])
{
    char    payload[PAYLOAD_MAX];
    uint8_t mac[DIGEST_LEN];
    size_t  len = header.len;

    memcpy(out, header.at, header.len);
    out[len++] = '.';
    len += base64url_encode(view_of(payload, payload_write(c, payload)), out + len,
                            JWT_TEXT_MAX - len - 1 - SIGNATURE_LEN);
    crypto_hmac_sha256(secret, view_of(out, len), mac);
    out[len++] = '.';
    return len + base64url_encode(view_of(mac, sizeof mac), out + len, JWT_TEXT_MAX - len);
}

/* ---- reading ---- */

typedef struct member {
    view name;
    view value;
    bool is_string; /* value without its quotes */
} member;

/* Between tokens: another maker with the same secret may write them spaced. */
static void
skip_spaces(view *s)
{
    while (s->len > 0 && (s->at[0] == ' ' || s->at[0] == '\n' || s->at[0] == '\r' || s->at[0] == '\t'))
        *s = view_of(s->at + 1, s->len - 1);
}

/* "text" without escapes at the start of *s: ours has none. */
static bool
take_string(view *s, view *out)
{
    skip_spaces(s);
    if (s->len < 2 || s->at[0] != '"')
        return false;
    for (size_t i = 1; i < s->len; i++) {
        if (s->at[i] == '\\' || s->at[i] < 0x20)
            return false;
        if (s->at[i] == '"') {
            *out = view_of(s->at + 1, i - 1);
            *s = view_of(s->at + i + 1, s->len - i - 1);
            return true;
        }
    }
    return false;
}

static bool
take_char(view *s, char c)
{
    skip_spaces(s);
    if (s->len == 0 || s->at[0] != (uint8_t)c)
        return false;
    *s = view_of(s->at + 1, s->len - 1);
    return true;
}

static bool
take_value(view *s, member *m)
{
    double ignored;
    size_t n;

    m->is_string = true;
    if (take_string(s, &m->value))
        return true;
    m->is_string = false;
    n = num_parse(*s, &ignored);
    m->value = view_of(s->at, n);
    *s = view_of(s->at + n, s->len - n);
    return n > 0;
}

static bool
seconds_of(const member *m, int64_t *out)
{
    int64_t v = 0;

    if (m->is_string || m->value.len == 0 || m->value.len > 15)
        return false;
    for (size_t i = 0; i < m->value.len; i++) {
        if (m->value.at[i] < '0' || m->value.at[i] > '9')
            return false;
        v = v * 10 + (m->value.at[i] - '0');
    }
    *out = v;
    return true;
}

static bool
word_index_of(const member *m, const char *const *words, uint8_t *out)
{
    int i = m->is_string ? word_index(words, m->value) : -1;

    *out = (uint8_t)i;
    return i >= 0;
}

enum claim { SUB, TENANT_ID, TENANT_TIER, ROLE, JTI, IAT, EXP, ISS, CLAIMS };

static const char *const claim_names[CLAIMS + 1] = {
    "sub", "tenant_id", "tenant_tier", "role", "jti", "iat", "exp", "iss", NULL,
};

static bool
claim_take(int claim, const member *m, jwt_claims *out)
{
    switch (claim) {
    case SUB:
        return m->is_string && uuid_parse(m->value, &out->sub);
    case TENANT_ID:
        return m->is_string && uuid_parse(m->value, &out->tenant_id);
    case JTI:
        return m->is_string && uuid_parse(m->value, &out->jti);
    case TENANT_TIER:
        return word_index_of(m, tier_words, &out->tier);
    case ROLE:
        return word_index_of(m, role_words, &out->role);
    case IAT:
        return seconds_of(m, &out->iat_s);
    case EXP:
        return seconds_of(m, &out->exp_s);
    case ISS:
        return m->is_string && view_eq(m->value, VIEW_LIT(ISSUER));
    default:
        return true; /* a claim that we do not know */
    }
}

static bool
payload_read(view s, jwt_claims *out)
{
    const unsigned all = ((1u << CLAIMS) - 1) & ~(1u << IAT);
    unsigned       seen = 0;

    *out = (jwt_claims){ 0 };
    if (!take_char(&s, '{'))
        return false;
    for (unsigned i = 0; i < MEMBERS_MAX; i++) {
        member m;
        int    claim;

        if (!take_string(&s, &m.name) || !take_char(&s, ':') || !take_value(&s, &m))
            return false;
        claim = word_index(claim_names, m.name);
        if (claim >= 0 && (seen >> claim & 1) != 0)
            return false;
        if (!claim_take(claim, &m, out))
            return false;
        seen |= claim >= 0 ? 1u << claim : 0;
        if (take_char(&s, '}'))
            return s.len == 0 && (seen & all) == all;
        if (!take_char(&s, ','))
            return false;
    }
    return false;
}

enum jwt_verdict
jwt_verify(const uint8_t secret[SECRET_LEN], view token, int64_t now_s, jwt_claims *out)
{
    uint8_t mac[DIGEST_LEN], said[DIGEST_LEN], payload[PAYLOAD_MAX];
    size_t  signed_len;
    ssize_t n;

    if (token.len > JWT_TEXT_MAX || token.len < header.len + 2 + SIGNATURE_LEN)
        return JWT_INVALID;
    signed_len = token.len - SIGNATURE_LEN - 1;
    if (memcmp(token.at, header.at, header.len) != 0 || token.at[header.len] != '.' ||
        token.at[signed_len] != '.')
        return JWT_INVALID;
    if (base64url_decode(view_of(token.at + signed_len + 1, SIGNATURE_LEN), said, sizeof said) !=
        DIGEST_LEN)
        return JWT_INVALID;
    crypto_hmac_sha256(secret, view_of(token.at, signed_len), mac);
    if (!crypto_equal(mac, said, sizeof mac))
        return JWT_INVALID;
    n = base64url_decode(view_of(token.at + header.len + 1, signed_len - header.len - 1), payload,
                         sizeof payload);
    if (n < 0 || !payload_read(view_of(payload, (size_t)n), out))
        return JWT_INVALID;
    return out->exp_s <= now_s ? JWT_EXPIRED : JWT_OK;
}
