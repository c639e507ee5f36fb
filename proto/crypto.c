/* crypto.c - libsodium, in our words. */
#include "proto/crypto.h"

#include "proto/err.h"

#include <sodium.h>

enum { ARGON_MEMORY = 19 * 1024 * 1024, ARGON_PASSES = 2, KEY_BYTES = 32 };

_Static_assert(crypto_pwhash_STRBYTES <= PASSWORD_HASH_MAX, "an encoded hash fits");
_Static_assert(crypto_auth_hmacsha256_KEYBYTES == SECRET_LEN, "a secret is an HMAC key");

int
crypto_start(void)
{
    return sodium_init() < 0 ? err(E_IO, "libsodium finds no randomness") : E_OK;
}

void
crypto_random(void *out, size_t len)
{
    randombytes_buf(out, len);
}

void
crypto_uuid4(uuid *out)
{
    crypto_random(out->b, sizeof out->b);
    out->b[6] = (uint8_t)((out->b[6] & 0x0f) | 0x40); /* version 4 */
    out->b[8] = (uint8_t)((out->b[8] & 0x3f) | 0x80); /* variant 1 */
}

static bool
uuid_dash_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void
uuid_format(const uuid *u, char out[UUID_TEXT_LEN])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof u->b; i++) {
        if (uuid_dash_before(i))
            *out++ = '-';
        *out++ = digits[u->b[i] >> 4];
        *out++ = digits[u->b[i] & 15];
    }
}

static int
hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
uuid_parse(view text, uuid *out)
{
    const uint8_t *p = text.at;

    if (text.len != UUID_TEXT_LEN)
        return false;
    for (size_t i = 0; i < sizeof out->b; i++, p += 2) {
        int high, low;

        if (uuid_dash_before(i) && *p++ != '-')
            return false;
        high = hex_digit(p[0]);
        low = hex_digit(p[1]);
        if (high < 0 || low < 0)
            return false;
        out->b[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void
crypto_keyed_hash(const uint8_t key[SECRET_LEN], view data, uint8_t out[DIGEST_LEN])
{
    int rc = crypto_generichash(out, DIGEST_LEN, data.at, data.len, key, SECRET_LEN);

    ASSERT(rc == 0);
}

void
crypto_hmac_sha256(const uint8_t key[SECRET_LEN], view data, uint8_t out[DIGEST_LEN])
{
    int rc = crypto_auth_hmacsha256(out, data.at, data.len, key);

    ASSERT(rc == 0);
}

bool
crypto_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

void
crypto_api_key(char out[API_KEY_TEXT_LEN])
{
    uint8_t random[KEY_BYTES];

    memcpy(out, "hk_", 3);
    crypto_random(random, sizeof random);
    size_t n = base64url_encode(view_of(random, sizeof random), out + 3, API_KEY_TEXT_LEN - 3);
    ASSERT(n == API_KEY_TEXT_LEN - 3);
    sodium_memzero(random, sizeof random);
}

size_t
base64url_encode(view in, char *out, size_t room)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t            len = in.len / 3 * 4 + (in.len % 3 * 8 + 5) / 6;
    uint32_t          bits = 0;
    unsigned          have = 0;

    /* Not libsodium's: that one insists on writing a NUL behind. */
    ASSERT(len <= room);
    for (size_t i = 0; i < in.len; i++) {
        bits = bits << 8 | in.at[i];
        for (have += 8; have >= 6; have -= 6)
            *out++ = digits[bits >> (have - 6) & 63];
    }
    if (have > 0)
        *out = digits[bits << (6 - have) & 63];
    return len;
}

size_t
base64_encode(view in, char *out, size_t room)
{
    ASSERT(sodium_base64_encoded_len(in.len, sodium_base64_VARIANT_ORIGINAL) <= room);
    sodium_bin2base64(out, room, in.at, in.len, sodium_base64_VARIANT_ORIGINAL);
    return strlen(out);
}

static int
base64url_digit(uint8_t c)
{
    uint8_t low = c | 0x20;

    if (low >= 'a' && low <= 'z')
        return c - (c == low ? 'a' - 26 : 'A');
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* One text for one value: bits left over must be zero.  libsodium's decoder takes some bytes above
 * 127 for letters, so it is not used here either. */
ssize_t
base64url_decode(view in, uint8_t *out, size_t room)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t   len = 0;

    if (in.len % 4 == 1 || in.len / 4 * 3 + in.len % 4 * 6 / 8 > room)
        return -1;
    for (size_t i = 0; i < in.len; i++) {
        int digit = base64url_digit(in.at[i]);

        if (digit < 0)
            return -1;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[len++] = (uint8_t)(bits >> have);
        }
    }
    return (bits & ((1u << have) - 1)) == 0 ? (ssize_t)len : -1;
}

int
password_hash(view password, char out[PASSWORD_HASH_MAX])
{
    if (crypto_pwhash_str_alg(out, (const char *)password.at, password.len, ARGON_PASSES,
                              ARGON_MEMORY, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err(E_NOMEM, "argon2id");
    return E_OK;
}

bool
password_matches(view password, const char *encoded)
{
    return crypto_pwhash_str_verify(encoded, (const char *)password.at, password.len) == 0;
}
