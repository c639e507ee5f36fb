#include "proto/jwt.h"
#include "proto/reg_ops.h"
#include "tests/unit/check.h"

static uint8_t    secret[SECRET_LEN];
static jwt_claims claims;

static int
start(void **state)
{
    (void)state;
    if (crypto_start() < 0)
        return -1;
    crypto_random(secret, sizeof secret);
    crypto_uuid4(&claims.sub);
    crypto_uuid4(&claims.tenant_id);
    crypto_uuid4(&claims.jti);
    claims.role = ROLE_ADMIN;
    claims.tier = 2;
    claims.iat_s = 1700000000;
    claims.exp_s = 1700000900;
    return 0;
}

/* header.payload.mac by hand, for payloads that jwt_sign() does not write */
static size_t
token_of(const char *head, const char *payload, char out[JWT_TEXT_MAX])
{
    uint8_t mac[DIGEST_LEN];
    size_t  n = base64url_encode(view_str(head), out, JWT_TEXT_MAX);

    out[n++] = '.';
    n += base64url_encode(view_str(payload), out + n, JWT_TEXT_MAX - n);
    crypto_hmac_sha256(secret, view_of(out, n), mac);
    out[n++] = '.';
    return n + base64url_encode(view_of(mac, sizeof mac), out + n, JWT_TEXT_MAX - n);
}

static void
a_signed_token_gives_its_claims_back(void **state)
{
    char       text[JWT_TEXT_MAX];
    jwt_claims back;
    size_t     n = jwt_sign(secret, &claims, text);

    (void)state;
    CHECK_EQ(jwt_verify(secret, view_of(text, n), 1700000000, &back), JWT_OK);
    assert_memory_equal(&back.sub, &claims.sub, 16);
    assert_memory_equal(&back.tenant_id, &claims.tenant_id, 16);
    assert_memory_equal(&back.jti, &claims.jti, 16);
    CHECK_EQ(back.role, claims.role);
    CHECK_EQ(back.tier, claims.tier);
    CHECK_EQ(back.iat_s, claims.iat_s);
    CHECK_EQ(back.exp_s, claims.exp_s);
}

static void
a_token_ends_at_its_second(void **state)
{
    char       text[JWT_TEXT_MAX];
    jwt_claims back;
    size_t     n = jwt_sign(secret, &claims, text);

    (void)state;
    CHECK_EQ(jwt_verify(secret, view_of(text, n), 1700000899, &back), JWT_OK);
    CHECK_EQ(jwt_verify(secret, view_of(text, n), 1700000900, &back), JWT_EXPIRED);
}

static void
any_changed_bit_makes_it_invalid(void **state)
{
    char       text[JWT_TEXT_MAX];
    jwt_claims back;
    size_t     n = jwt_sign(secret, &claims, text);

    (void)state;
    for (size_t bit = 0; bit < n * 8; bit++) {
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
        CHECK_EQ(jwt_verify(secret, view_of(text, n), 1700000000, &back), JWT_INVALID);
        text[bit / 8] = (char)(text[bit / 8] ^ 1 << bit % 8);
    }
    for (size_t len = 0; len < n; len++)
        CHECK_EQ(jwt_verify(secret, view_of(text, len), 1700000000, &back), JWT_INVALID);
}

static void
another_secret_makes_it_invalid(void **state)
{
    char       text[JWT_TEXT_MAX];
    uint8_t    other[SECRET_LEN] = { 1 };
    jwt_claims back;
    size_t     n = jwt_sign(secret, &claims, text);

    (void)state;
    CHECK_EQ(jwt_verify(other, view_of(text, n), 1700000000, &back), JWT_INVALID);
}

#define U     "\"00000000-0000-4000-8000-000000000000\""
#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"
#define GOOD                                                                                       \
    "{\"sub\":" U ",\"tenant_id\":" U ",\"tenant_tier\":\"free\",\"role\":\"viewer\",\"jti\":" U   \
    ",\"exp\":2000000000,\"iss\":\"haltless\",\"more\":\"x\"}"

static void
rightly_signed_but_odd_tokens_are_invalid(void **state)
{
    static const struct {
        const char *head, *payload;
    } bad[] = {
        { "{\"alg\":\"none\",\"typ\":\"JWT\"}", GOOD },
        { "{\"alg\":\"HS512\",\"typ\":\"JWT\"}", GOOD },
        { HS256, "{}" },
        { HS256, "[]" },
        { HS256, "" },
        { HS256, "{\"sub\":" U "}" },
        { HS256, GOOD "x" },
        /* a claim twice */
        { HS256, "{\"role\":\"admin\",\"sub\":" U ",\"tenant_id\":" U
                 ",\"tenant_tier\":\"free\",\"role\":\"viewer\","
                 "\"jti\":" U ",\"exp\":2000000000,\"iss\":\"haltless\"}" },
        /* unknown role, another issuer, a text as time */
        { HS256,
          "{\"sub\":" U ",\"tenant_id\":" U ",\"tenant_tier\":\"free\",\"role\":\"root\",\"jti\":" U
          ",\"exp\":2000000000,\"iss\":\"haltless\"}" },
        { HS256, "{\"sub\":" U ",\"tenant_id\":" U
                 ",\"tenant_tier\":\"free\",\"role\":\"viewer\",\"jti\":" U
                 ",\"exp\":2000000000,\"iss\":\"other\"}" },
        { HS256, "{\"sub\":" U ",\"tenant_id\":" U
                 ",\"tenant_tier\":\"free\",\"role\":\"viewer\",\"jti\":" U
                 ",\"exp\":\"2000000000\",\"iss\":\"haltless\"}" },
        { HS256, "{\"sub\":" U ",\"tenant_id\":" U
                 ",\"tenant_tier\":\"free\",\"role\":\"viewer\",\"jti\":" U
                 ",\"exp\":2e9,\"iss\":\"haltless\"}" },
    };
    char       text[JWT_TEXT_MAX];
    jwt_claims back;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_EQ(jwt_verify(secret, view_of(text, token_of(bad[i].head, bad[i].payload, text)), 1,
                            &back),
                 JWT_INVALID);
    CHECK_EQ(jwt_verify(secret, view_of(text, token_of(HS256, GOOD, text)), 1, &back), JWT_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_signed_token_gives_its_claims_back),      TEST(a_token_ends_at_its_second),
        TEST(any_changed_bit_makes_it_invalid),          TEST(another_secret_makes_it_invalid),
        TEST(rightly_signed_but_odd_tokens_are_invalid),
    };

    return cmocka_run_group_tests_name("proto/jwt", tests, start, NULL);
}
