/* registry_accounts.c - users, log-in sessions, blocked access tokens.
 *
 * A refresh token is 16 bytes of its family's identity and 32 random bytes, as base64url.  A family keeps keyed
 * hashes of the token in use and of the one before:
 *
 *     token in use      -> a new one; this one becomes "before"
 *     the one before    -> within 10 s the same answer once more (two tabs), later the family ends
 *     any other         -> the family ends: somebody has a copy
 *
 * So a family is one record however long it lives, and a token used twice is known for ever.
 */
#include "actors/registry_internal.h"
#include "proto/err.h"
#include "proto/jwt.h"

#include <stdlib.h>

enum { TOKEN_RAW = 48, TOKEN_TEXT = 64 };

#define LAST_ADMIN "The last active admin cannot be demoted, deactivated or removed."
#define EMAIL_TAKEN "A user with this email already exists."

/* ---- stored forms ---- */
static void
store_user(registry *r, reg_user *u)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 13);
    pack_name_uuid(&p, "id", &u->id);
    pack_name_int(&p, "tenant", u->tenant->no);
    pack_name_str(&p, "email", u->email);
    pack_name_str(&p, "full_name", u->full_name);
    pack_name_str(&p, "password_hash", u->password_hash);
    pack_name_int(&p, "role", u->role);
    pack_name_bool(&p, "active", u->active);
    pack_name_bool(&p, "deleted", u->deleted);
    pack_name_bool(&p, "onboarded", u->onboarded);
    pack_name_int(&p, "created", u->created_us);
    pack_name_int(&p, "updated", u->updated_us);
    pack_name_int(&p, "tokens_from", u->tokens_from_us);
    pack_name_int(&p, "last_login", u->last_login_us);
    reg_put_no(r, REG_USERS, u->no, &p);
    pack_fini(&p);
    reg_touch(r, BOARD_USERS, u);
}

static void
store_session(registry *r, const reg_session *s)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 6);
    pack_name_int(&p, "user", s->user->no);
    pack_name_int(&p, "created", s->created_us);
    pack_name_int(&p, "expires", s->expires_us);
    pack_name_int(&p, "rotated", s->rotated_us);
    pack_str(&p, VIEW_LIT("hash"));
    pack_bin(&p, view_of(s->hash, sizeof s->hash));
    pack_str(&p, VIEW_LIT("before"));
    pack_bin(&p, view_of(s->before, sizeof s->before));
    reg_put(r, REG_SESSIONS, view_of(s->family.b, sizeof s->family.b), &p);
    pack_fini(&p);
}

static void
add_user(registry *r, reg_user *u)
{
    reg_set_numbered(&r->users, u->no, u);
    if (u->deleted)
        return;
    reg_list_add(&u->tenant->users, u);
    reg_enter(r, NOUN_USER, &u->id, u);
    reg_index_put(&r->by_email, reg_hash_lower(r, u->email), u);
}

static void
add_session(registry *r, reg_session *s)
{
    reg_list_add(&r->all_sessions, s);
    reg_list_add(&s->user->sessions, s);
    reg_enter(r, NOUN_SESSION, &s->family, s);
}

static void
free_session(reg_session *s)
{
    reg_text_fini(&s->answer);
    free(s);
}

static void
end_session(registry *r, reg_session *s)
{
    reg_delete(r, REG_SESSIONS, view_of(s->family.b, sizeof s->family.b));
    reg_leave(r, NOUN_SESSION, &s->family, s);
    reg_list_remove(&s->user->sessions, s);
    reg_list_remove(&r->all_sessions, s);
    free_session(s);
}

static void
end_sessions(registry *r, reg_user *u)
{
    for (uint32_t i = u->sessions.count; i > 0; i--)
        end_session(r, u->sessions.at[i - 1]);
}

/* Every access token given so far is void.  Whole seconds, because tokens say when they were made in seconds. */
static void
void_tokens(registry *r, reg_user *u)
{
    u->tokens_from_us = (r->now_us / 1000000 + 1) * 1000000;
    end_sessions(r, u);
}

/* ---- loading ---- */
static int
load_user(registry *r, view key, const msgpack_object *map)
{
    reg_user *u = calloc(1, sizeof *u);

    ASSERT(u != NULL);
    u->tenant = reg_numbered(&r->tenants, (uint64_t)reg_stored_int(map, "tenant", 0));
    if (key.len != 4 || load_be32(key.at) == 0 || u->tenant == NULL || !pack_get_uuid(map, "id", &u->id)) {
        free(u);
        return E_BAD;
    }
    u->no = load_be32(key.at);
    u->role = (uint8_t)reg_stored_int(map, "role", ROLE_VIEWER);
    (void)pack_get_bool(map, "active", &u->active);
    (void)pack_get_bool(map, "deleted", &u->deleted);
    (void)pack_get_bool(map, "onboarded", &u->onboarded);
    u->created_us = reg_stored_int(map, "created", 0);
    u->updated_us = reg_stored_int(map, "updated", 0);
    u->tokens_from_us = reg_stored_int(map, "tokens_from", 0);
    u->last_login_us = reg_stored_int(map, "last_login", INT64_MIN);
    reg_stored_text(map, "email", &u->email);
    reg_stored_text(map, "full_name", &u->full_name);
    reg_stored_text(map, "password_hash", &u->password_hash);
    add_user(r, u);
    return E_OK;
}

static int
load_session(registry *r, view key, const msgpack_object *map)
{
    reg_user    *u = reg_numbered(&r->users, (uint64_t)reg_stored_int(map, "user", 0));
    int64_t      expires_us = reg_stored_int(map, "expires", 0);
    reg_session *s;
    view         hash;
    view         before;

    if (key.len != sizeof s->family.b || !pack_get_bin(map, "hash", &hash) || !pack_get_bin(map, "before", &before) ||
        hash.len != DIGEST_LEN || before.len != DIGEST_LEN)
        return E_BAD;
    if (u == NULL || u->deleted || expires_us <= r->now_us) {
        reg_delete(r, REG_SESSIONS, key);
        return E_OK;
    }
    s = calloc(1, sizeof *s);
    ASSERT(s != NULL);
    memcpy(s->family.b, key.at, sizeof s->family.b);
    memcpy(s->hash, hash.at, DIGEST_LEN);
    memcpy(s->before, before.at, DIGEST_LEN);
    s->user = u;
    s->created_us = reg_stored_int(map, "created", 0);
    s->expires_us = expires_us;
    s->rotated_us = reg_stored_int(map, "rotated", 0);
    add_session(r, s);
    return E_OK;
}

static int
load_blocked(registry *r, view key, const msgpack_object *map)
{
    int64_t      until_us = reg_stored_int(map, "until", 0);
    reg_blocked *b;

    if (key.len != sizeof b->jti.b)
        return E_BAD;
    if (until_us <= r->now_us) {
        reg_delete(r, REG_BLOCKED, key);
        return E_OK;
    }
    b = calloc(1, sizeof *b);
    ASSERT(b != NULL);
    memcpy(b->jti.b, key.at, sizeof b->jti.b);
    b->until_us = until_us;
    reg_list_add(&r->blocked, b);
    return E_OK;
}

int
reg_accounts_load(registry *r)
{
    int rc = reg_scan(r, REG_USERS, load_user);

    if (rc == E_OK)
        rc = reg_scan(r, REG_SESSIONS, load_session);
    return rc == E_OK ? reg_scan(r, REG_BLOCKED, load_blocked) : rc;
}

static void
free_user(reg_user *u)
{
    if (u == NULL)
        return;
    reg_text_fini(&u->email);
    reg_text_fini(&u->full_name);
    reg_text_fini(&u->password_hash);
    reg_list_fini(&u->sessions);
    free(u);
}

void
reg_accounts_free(registry *r)
{
    for (uint32_t i = 0; i < r->all_sessions.count; i++)
        free_session(r->all_sessions.at[i]);
    for (uint32_t i = 0; i < r->users.count; i++)
        free_user(r->users.at[i]);
    for (uint32_t i = 0; i < r->blocked.count; i++)
        free(r->blocked.at[i]);
    reg_list_fini(&r->all_sessions);
    reg_list_fini(&r->users);
    reg_list_fini(&r->blocked);
}

/* ---- the board ---- */
int
reg_show_user(registry *r, const reg_user *u)
{
    board_user b = { .id = u->id,
                     .no = u->no,
                     .tenant = u->tenant->no,
                     .flags = u->active && !u->deleted ? BOARD_LIVE : 0,
                     .role = u->role,
                     .tokens_from_us = u->tokens_from_us };

    return board_put_user(r->board, &b);
}

int
reg_show_blocked(registry *r, const reg_blocked *b)
{
    board_blocked shown = { .jti = b->jti, .until_us = b->until_us };

    return board_put_blocked(r->board, &shown);
}

/* ---- sessions ---- */
static reg_user *
find_email(const registry *r, view email)
{
    reg_user *u;

    for (uint32_t at = 0; (u = reg_index_next(&r->by_email, reg_hash_lower(r, email), &at)) != NULL;)
        if (reg_same_lower(u->email, email))
            return u;
    return NULL;
}

static void
token_hash(const registry *r, const uint8_t raw[TOKEN_RAW], uint8_t hash[DIGEST_LEN])
{
    crypto_keyed_hash(r->secrets.refresh, view_of(raw, TOKEN_RAW), hash);
}

/* A new token of the family, as text. */
static void
new_token(const registry *r, reg_session *s, char text[TOKEN_TEXT])
{
    uint8_t raw[TOKEN_RAW];

    memcpy(raw, s->family.b, sizeof s->family.b);
    crypto_random(raw + sizeof s->family.b, TOKEN_RAW - sizeof s->family.b);
    token_hash(r, raw, s->hash);
    size_t len = base64url_encode(view_of(raw, sizeof raw), text, TOKEN_TEXT);
    ASSERT(len == TOKEN_TEXT);
}

static void
pack_session(reg_call *c, const reg_user *u, const char token[TOKEN_TEXT])
{
    registry  *r = c->r;
    char       jwt[JWT_TEXT_MAX];
    /* A token made in the second in which the others became void must not be void too. */
    int64_t    iat_s = (int64_t)max_u64((uint64_t)(r->now_us / 1000000), (uint64_t)(u->tokens_from_us / 1000000));
    jwt_claims claims = { .sub = u->id,
                          .tenant_id = u->tenant->id,
                          .role = u->role,
                          .tier = u->tenant->tier,
                          .iat_s = iat_s,
                          .exp_s = iat_s + r->access_s };

    crypto_uuid4(&claims.jti);
    size_t len = jwt_sign(r->secrets.jwt, &claims, jwt);
    pack_map(c->out, 7);
    pack_name_str(c->out, "access_token", view_of(jwt, len));
    pack_name_str(c->out, "token_type", VIEW_LIT("bearer"));
    pack_name_bool(c->out, "mfa_required", false);
    pack_name_str(c->out, "refresh_token", view_of(token, TOKEN_TEXT));
    pack_name_int(c->out, "refresh_max_age", r->refresh_s);
    pack_name_uuid(c->out, "user_id", &u->id);
    pack_name_uuid(c->out, "tenant_id", &u->tenant->id);
}

static void
open_session(reg_call *c, reg_user *u)
{
    registry    *r = c->r;
    reg_session *s = calloc(1, sizeof *s);
    char         token[TOKEN_TEXT];

    ASSERT(s != NULL);
    if (u->sessions.count >= REG_SESSIONS_PER_USER)
        end_session(r, u->sessions.at[0]);
    crypto_uuid4(&s->family);
    s->user = u;
    s->created_us = r->now_us;
    s->expires_us = r->now_us + (int64_t)r->refresh_s * 1000000;
    new_token(r, s, token);
    add_session(r, s);
    store_session(r, s);
    pack_session(c, u, token);
}

static uint16_t
bad_text(reg_call *c, const char *name, size_t max)
{
    static _Thread_local char detail[96];
    view v = reg_trim(reg_text(c, name));

    if (v.len > 0 && reg_characters(v) <= max)
        return 0;
    snprintf(detail, sizeof detail, "%s must have 1 to %zu characters.", name, max);
    return reg_fail(c, 422, detail);
}

static reg_user *
make_user(registry *r, reg_tenant *t, view email, view full_name, view password_hash)
{
    reg_user *u = calloc(1, sizeof *u);

    ASSERT(u != NULL);
    crypto_uuid4(&u->id);
    u->no = (uint32_t)reg_next(r, NEXT_USER);
    u->tenant = t;
    u->active = true;
    u->role = ROLE_VIEWER;
    u->created_us = u->updated_us = r->now_us;
    u->last_login_us = INT64_MIN;
    reg_text_set(&u->email, email);
    reg_text_set(&u->full_name, full_name);
    reg_text_set(&u->password_hash, password_hash);
    return u;
}

static uint16_t
may_register(reg_call *c)
{
    const registry *r = c->r;
    bool            open = r->tenants.count == 0 ? r->registration_first : r->registration_open;
    uint16_t        bad = 0;

    if (c->ask->role != ROLE_SYSTEM && !open)
        return reg_fail(c, 403, "Registration is closed.");
    if ((bad = bad_text(c, "email", 254)) != 0 || (bad = bad_text(c, "full_name", 255)) != 0 ||
        (bad = bad_text(c, "tenant_name", 255)) != 0 || (bad = bad_text(c, "password_hash", PASSWORD_HASH_MAX)) != 0)
        return bad;
    if (find_email(r, reg_trim(reg_text(c, "email"))) != NULL)
        return reg_fail(c, 409, EMAIL_TAKEN);
    if (!reg_has_room(r, BOARD_TENANTS, NEXT_TENANT) || !reg_has_room(r, BOARD_USERS, NEXT_USER))
        return reg_fail(c, 507, "This server has no room for more accounts.");
    return 0;
}

static uint16_t
op_register(reg_call *c)
{
    uint16_t bad = may_register(c);

    if (bad != 0)
        return bad;
    c->tenant = reg_tenant_new(c->r, reg_trim(reg_text(c, "tenant_name")));
    c->user = make_user(c->r, c->tenant, reg_trim(reg_text(c, "email")), reg_trim(reg_text(c, "full_name")),
                        reg_text(c, "password_hash"));
    c->user->role = ROLE_ADMIN;
    c->user->last_login_us = c->r->now_us;
    add_user(c->r, c->user);
    store_user(c->r, c->user);
    open_session(c, c->user);
    reg_audit(c, "user", &c->user->id, c->user->email);
    return 201;
}

static uint16_t
op_account(reg_call *c)
{
    uuid            id;
    const reg_user *u = reg_id(c, "user_id", &id) ? reg_find(c->r, NOUN_USER, &id)
                                                  : find_email(c->r, reg_trim(reg_text(c, "email")));

    if (u == NULL)
        return reg_fail(c, 404, "User not found.");
    pack_map(c->out, 4);
    pack_name_uuid(c->out, "user_id", &u->id);
    pack_name_str(c->out, "email", u->email);
    pack_name_str(c->out, "password_hash", u->password_hash);
    pack_name_bool(c->out, "is_active", u->active);
    return 200;
}

static uint16_t
op_session(reg_call *c)
{
    uuid      id;
    reg_user *u = reg_id(c, "user_id", &id) ? reg_find(c->r, NOUN_USER, &id) : NULL;

    if (u == NULL)
        return reg_fail(c, 401, "Invalid email or password.");
    if (!u->active)
        return reg_fail(c, 401, "User account is inactive.");
    u->last_login_us = c->r->now_us;
    store_user(c->r, u);
    open_session(c, u);
    reg_audit_of(c, u->tenant, u, "user", &u->id, u->email);
    return 200;
}

static uint16_t
op_login_failed(reg_call *c)
{
    const reg_user *u = find_email(c->r, reg_trim(reg_text(c, "email")));

    /* An unknown address belongs to no tenant's audit, and would let anybody fill the disk; but it costs the same
     * commit, or the time would tell it apart. */
    if (u != NULL)
        reg_audit_of(c, u->tenant, u, "user", &u->id, reg_text(c, "reason"));
    else
        reg_note_time(c->r, VIEW_LIT("login_failure"));
    pack_nil(c->out);
    return 204;
}

static uint16_t
rotate(reg_call *c, reg_session *s)
{
    registry *r = c->r;
    char      token[TOKEN_TEXT];

    memcpy(s->before, s->hash, DIGEST_LEN);
    new_token(r, s, token);
    s->rotated_us = r->now_us;
    s->expires_us = r->now_us + (int64_t)r->refresh_s * 1000000;
    store_session(r, s);
    pack_session(c, s->user, token);
    reg_text_set(&s->answer, pack_view(c->out));
    return 200;
}

static uint16_t
reused(reg_call *c, reg_session *s, bool before)
{
    static const reg_op_row reuse = { .name = "REG_REFRESH", .action = "refresh_token_reuse" };

    if (before && c->r->now_us - s->rotated_us <= REG_REUSE_US) {
        if (s->answer.at == NULL) /* that answer was given by a server that has been restarted since */
            return reg_fail(c, 401, "Invalid authentication token.");
        msgpack_sbuffer_write(&c->out->buffer, (const char *)s->answer.at, s->answer.len);
        return 200;
    }
    c->row = &reuse;
    reg_audit_of(c, s->user->tenant, s->user, "session", &s->family, (view){ 0 });
    end_session(c->r, s);
    return reg_fail(c, 401, "Invalid authentication token.");
}

static reg_session *
session_of(const reg_call *c, uint8_t hash[DIGEST_LEN])
{
    view    text = reg_text(c, "refresh_token");
    uint8_t raw[TOKEN_RAW];
    uuid    family;

    if (text.len != TOKEN_TEXT || base64url_decode(text, raw, sizeof raw) != TOKEN_RAW)
        return NULL;
    memcpy(family.b, raw, sizeof family.b);
    token_hash(c->r, raw, hash);
    return reg_find(c->r, NOUN_SESSION, &family);
}

static uint16_t
op_refresh(reg_call *c)
{
    uint8_t      hash[DIGEST_LEN];
    reg_session *s = session_of(c, hash);

    if (s == NULL)
        return reg_fail(c, 401, "Invalid authentication token.");
    if (s->expires_us <= c->r->now_us) {
        end_session(c->r, s);
        return reg_fail(c, 401, "Authentication token has expired.");
    }
    if (!s->user->active)
        return reg_fail(c, 401, "User account is inactive.");
    if (crypto_equal(hash, s->hash, DIGEST_LEN))
        return rotate(c, s);
    return reused(c, s, s->rotated_us != 0 && crypto_equal(hash, s->before, DIGEST_LEN));
}

void
reg_sessions_sweep(registry *r)
{
    for (uint32_t i = r->all_sessions.count; i > 0; i--) {
        reg_session *s = r->all_sessions.at[i - 1];

        if (r->now_us - s->rotated_us > REG_REUSE_US)
            reg_text_fini(&s->answer);
        if (s->expires_us <= r->now_us)
            end_session(r, s);
    }
}

/* Entries whose tokens have expired anyway, oldest first, many at a time. */
static void
purge_blocked(registry *r)
{
    enum { AT_LEAST = 256 };
    uint32_t gone = 0;

    while (gone < r->blocked.count && ((reg_blocked *)r->blocked.at[gone])->until_us <= r->now_us)
        gone++;
    if (gone < AT_LEAST)
        return;
    for (uint32_t i = 0; i < gone; i++) {
        reg_blocked *b = r->blocked.at[i];
        reg_delete(r, REG_BLOCKED, view_of(b->jti.b, sizeof b->jti.b));
        free(b);
    }
    r->blocked.count -= gone;
    memmove(r->blocked.at, r->blocked.at + gone, r->blocked.count * sizeof *r->blocked.at);
}

static void
block(registry *r, const uuid *jti, int64_t until_us)
{
    reg_blocked *b = calloc(1, sizeof *b);
    pack         p;

    ASSERT(b != NULL);
    b->jti = *jti;
    b->until_us = until_us;
    pack_init(&p);
    pack_map(&p, 1);
    pack_name_int(&p, "until", until_us);
    reg_put(r, REG_BLOCKED, view_of(jti->b, sizeof jti->b), &p);
    pack_fini(&p);
    reg_list_add(&r->blocked, b);
    reg_touch(r, BOARD_BLOCKED, b);
}

static uint16_t
op_logout(reg_call *c)
{
    enum { TOKEN_LIFE_MAX_S = 86400 };
    uint8_t      hash[DIGEST_LEN];
    reg_session *s = session_of(c, hash);
    int64_t      exp_s = reg_int(c, "exp", 0);
    int64_t      now_s = c->r->now_us / 1000000;
    uuid         jti;

    if (c->user == NULL)
        return reg_fail(c, 404, "User not found.");
    purge_blocked(c->r);
    exp_s = exp_s > now_s + TOKEN_LIFE_MAX_S ? now_s + TOKEN_LIFE_MAX_S : exp_s;
    if (reg_id(c, "jti", &jti) && exp_s >= now_s)
        block(c->r, &jti, (exp_s + 1) * 1000000);
    if (s != NULL && s->user == c->user)
        end_session(c->r, s);
    reg_audit(c, "user", &c->user->id, (view){ 0 });
    pack_nil(c->out);
    return 204;
}

/* ---- the user who asks ---- */
static void
pack_me(pack *p, const reg_user *u)
{
    pack_map(p, 12);
    pack_name_uuid(p, "id", &u->id);
    pack_name_str(p, "email", u->email);
    pack_name_str(p, "full_name", u->full_name);
    pack_name_uuid(p, "tenant_id", &u->tenant->id);
    pack_name_str(p, "tenant_name", u->tenant->name);
    pack_name_str(p, "role", view_str(role_words[u->role]));
    pack_name_bool(p, "is_active", u->active);
    pack_name_bool(p, "mfa_enabled", false);
    pack_name_bool(p, "onboarding_completed", u->onboarded);
    pack_name_str(p, "subscription_status", reg_subscription_word(u->tenant));
    pack_name_str(p, "subscription_tier", view_str(tier_words[u->tenant->tier]));
    pack_name_time(p, "created_at", u->created_us);
}

static uint16_t
op_me(reg_call *c)
{
    if (c->user == NULL)
        return reg_fail(c, 404, "User not found.");
    pack_me(c->out, c->user);
    return 200;
}

/* A new address, when one is given.  0, or the refusal. */
static uint16_t
take_email(reg_call *c, reg_user *u)
{
    view            email = reg_trim(reg_text(c, "email"));
    const reg_user *other = email.len == 0 ? NULL : find_email(c->r, email);
    uint16_t        bad;

    if (!pack_has(c->params, "email"))
        return 0;
    if ((bad = bad_text(c, "email", 254)) != 0)
        return bad;
    if (other != NULL && other != u)
        return reg_fail(c, 409, EMAIL_TAKEN);
    reg_index_remove(&c->r->by_email, reg_hash_lower(c->r, u->email), u);
    reg_text_set(&u->email, email);
    reg_index_put(&c->r->by_email, reg_hash_lower(c->r, u->email), u);
    return 0;
}

static uint16_t
op_profile(reg_call *c)
{
    reg_user *u = c->user;
    uint16_t  bad = 0;

    if (u == NULL)
        return reg_fail(c, 404, "User not found.");
    if (pack_has(c->params, "full_name") && (bad = bad_text(c, "full_name", 255)) != 0)
        return bad;
    if ((bad = take_email(c, u)) != 0)
        return bad;
    if (pack_has(c->params, "full_name"))
        reg_text_set(&u->full_name, reg_trim(reg_text(c, "full_name")));
    (void)pack_get_bool(c->params, "onboarding_completed", &u->onboarded);
    u->updated_us = c->r->now_us;
    store_user(c->r, u);
    reg_audit(c, "user", &u->id, u->email);
    pack_me(c->out, u);
    return 200;
}

static uint16_t
op_password(reg_call *c)
{
    reg_user *u = c->user;
    uint16_t  bad = 0;

    if (u == NULL)
        return reg_fail(c, 404, "User not found.");
    if ((bad = bad_text(c, "password_hash", PASSWORD_HASH_MAX)) != 0)
        return bad;
    reg_text_set(&u->password_hash, reg_text(c, "password_hash"));
    void_tokens(c->r, u);
    u->updated_us = c->r->now_us;
    store_user(c->r, u);
    open_session(c, u);
    reg_audit(c, "user", &u->id, u->email);
    return 200;
}

const reg_op_fn reg_account_ops[] = {
    { REG_REGISTER, op_register }, { REG_ACCOUNT, op_account },   { REG_SESSION, op_session },
    { REG_LOGIN_FAILED, op_login_failed }, { REG_REFRESH, op_refresh }, { REG_LOGOUT, op_logout },
    { REG_ME, op_me },             { REG_PROFILE, op_profile },   { REG_PASSWORD, op_password },
    { 0 },
};

/* ---- users, for admins ---- */
static void
pack_user(reg_call *c, pack *p, const void *record)
{
    const reg_user *u = record;

    (void)c;
    pack_map(p, 10);
    pack_name_uuid(p, "id", &u->id);
    pack_name_str(p, "email", u->email);
    pack_name_str(p, "full_name", u->full_name);
    pack_name_str(p, "role", view_str(role_words[u->role]));
    pack_name_bool(p, "is_active", u->active);
    pack_name_bool(p, "mfa_enabled", false);
    pack_name_uuid(p, "tenant_id", &u->tenant->id);
    pack_name_time(p, "created_at", u->created_us);
    pack_name_time(p, "updated_at", u->updated_us);
    pack_name_time(p, "last_login_at", u->last_login_us);
}

static reg_user *
user_of(const reg_call *c)
{
    uuid      id;
    reg_user *u = reg_id(c, "id", &id) ? reg_find(c->r, NOUN_USER, &id) : NULL;

    return u != NULL && u->tenant == c->tenant ? u : NULL;
}

static bool
is_last_admin(const reg_user *u)
{
    uint32_t admins = 0;

    for (uint32_t i = 0; i < u->tenant->users.count; i++) {
        const reg_user *other = u->tenant->users.at[i];
        admins += other->role == ROLE_ADMIN && other->active;
    }
    return u->role == ROLE_ADMIN && u->active && admins == 1;
}

static uint16_t
op_user_list(reg_call *c)
{
    return reg_answer_list(c, &c->tenant->users, pack_user);
}

/* The role that is given, or the present one.  ROLE_NONE: not a role. */
static uint8_t
role_given(const reg_call *c, uint8_t present)
{
    int role = word_index(role_words, reg_text(c, "role"));

    if (!pack_has(c->params, "role"))
        return present;
    return role <= ROLE_NONE ? ROLE_NONE : (uint8_t)role;
}

static uint16_t
op_user_create(reg_call *c)
{
    uint8_t  role = role_given(c, ROLE_VIEWER);
    view     email = reg_trim(reg_text(c, "email"));
    uint16_t bad = 0;

    if ((bad = bad_text(c, "email", 254)) != 0 || (bad = bad_text(c, "full_name", 255)) != 0 ||
        (bad = bad_text(c, "password_hash", PASSWORD_HASH_MAX)) != 0)
        return bad;
    if (role == ROLE_NONE)
        return reg_fail(c, 422, "role must be one of viewer, operator, admin.");
    if (find_email(c->r, email) != NULL)
        return reg_fail(c, 409, EMAIL_TAKEN);
    if (reg_within_cap(c, &c->tenant->users, c->r->caps.users, "users") != 0)
        return 400;
    if (!reg_has_room(c->r, BOARD_USERS, NEXT_USER))
        return reg_fail(c, 507, "This server has no room for more accounts.");
    reg_user *u = make_user(c->r, c->tenant, email, reg_trim(reg_text(c, "full_name")), reg_text(c, "password_hash"));
    u->role = role;
    (void)pack_get_bool(c->params, "is_active", &u->active);
    add_user(c->r, u);
    store_user(c->r, u);
    reg_audit(c, "user", &u->id, u->email);
    pack_user(c, c->out, u);
    return 201;
}

static uint16_t
op_user_get(reg_call *c)
{
    const reg_user *u = user_of(c);

    if (u == NULL)
        return reg_fail(c, 404, "User not found.");
    pack_user(c, c->out, u);
    return 200;
}

static uint16_t
may_update(reg_call *c, reg_user *u, uint8_t role, bool active)
{
    uint16_t bad = 0;

    if (pack_has(c->params, "full_name") && (bad = bad_text(c, "full_name", 255)) != 0)
        return bad;
    if (pack_has(c->params, "password_hash") && (bad = bad_text(c, "password_hash", PASSWORD_HASH_MAX)) != 0)
        return bad;
    if (role == ROLE_NONE)
        return reg_fail(c, 422, "role must be one of viewer, operator, admin.");
    if ((role != ROLE_ADMIN || !active) && is_last_admin(u))
        return reg_fail(c, 400, LAST_ADMIN);
    return take_email(c, u);
}

static uint16_t
op_user_update(reg_call *c)
{
    reg_user *u = user_of(c);
    bool      active;
    uint16_t  bad;

    if (u == NULL)
        return reg_fail(c, 404, "User not found.");
    active = u->active;
    (void)pack_get_bool(c->params, "is_active", &active);
    uint8_t role = role_given(c, u->role);
    if ((bad = may_update(c, u, role, active)) != 0)
        return bad;
    if (pack_has(c->params, "full_name"))
        reg_text_set(&u->full_name, reg_trim(reg_text(c, "full_name")));
    if (pack_has(c->params, "password_hash"))
        reg_text_set(&u->password_hash, reg_text(c, "password_hash"));
    if (pack_has(c->params, "password_hash") || (u->active && !active))
        void_tokens(c->r, u);
    u->role = role;
    u->active = active;
    u->updated_us = c->r->now_us;
    store_user(c->r, u);
    reg_audit(c, "user", &u->id, u->email);
    pack_user(c, c->out, u);
    return 200;
}

/* From the shell of the server's machine. */
static uint16_t
op_user_passwd(reg_call *c)
{
    reg_user *u = find_email(c->r, reg_text(c, "email"));

    if (u == NULL || reg_text(c, "password_hash").len == 0)
        return reg_fail(c, 404, "User not found.");
    reg_text_set(&u->password_hash, reg_text(c, "password_hash"));
    void_tokens(c->r, u);
    u->updated_us = c->r->now_us;
    store_user(c->r, u);
    reg_audit_of(c, u->tenant, u, "user", &u->id, u->email);
    pack_user(c, c->out, u);
    return 200;
}

static uint16_t
op_user_delete(reg_call *c)
{
    reg_user *u = user_of(c);

    if (u == NULL)
        return reg_fail(c, 404, "User not found.");
    if (is_last_admin(u))
        return reg_fail(c, 400, LAST_ADMIN);
    reg_audit(c, "user", &u->id, u->email);
    void_tokens(c->r, u);
    reg_index_remove(&c->r->by_email, reg_hash_lower(c->r, u->email), u);
    reg_leave(c->r, NOUN_USER, &u->id, u);
    reg_list_remove(&c->tenant->users, u);
    u->deleted = true;
    u->active = false;
    u->updated_us = c->r->now_us;
    reg_text_set(&u->email, VIEW_LIT(""));
    reg_text_set(&u->full_name, VIEW_LIT(""));
    reg_text_set(&u->password_hash, VIEW_LIT(""));
    store_user(c->r, u);
    pack_nil(c->out);
    return 204;
}

const reg_op_fn reg_user_ops[] = {
    { REG_USER_LIST, op_user_list },     { REG_USER_CREATE, op_user_create }, { REG_USER_GET, op_user_get },
    { REG_USER_UPDATE, op_user_update }, { REG_USER_DELETE, op_user_delete },
    { REG_USER_PASSWD, op_user_passwd }, { 0 },
};
