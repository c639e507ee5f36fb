/* account.c - who one is: register, log in, refresh, log out, and one's own profile and password.
 *
 *   register          worker: hash ─▶ registry: REG_REGISTER ─▶ session
 *   login             registry: REG_ACCOUNT ─▶ worker: verify ─▶ REG_SESSION, or REG_LOGIN_FAILED
 *   change-password   REG_ACCOUNT ─▶ verify ─▶ hash ─▶ REG_PASSWORD ─▶ session (every other one is void)
 *
 * A session's answer carries the access token in the body and the refresh token in a cookie that only
 * /api/v1/auth sees.  An address that nobody has takes the same way and the same time as a wrong password.
 */
#include "actors/ak_node.h"
#include "api/front.h"
#include "api/password.h"
#include "api/registry.h"

#include "proto/crypto.h"
#include "proto/err.h"

#include <stdio.h>
#include <stdlib.h>

#define COOKIE_RULES "; HttpOnly; SameSite=Strict; Path=/api/v1/auth; Max-Age="

enum { BODY_MAX = 16384, SLOW_MS = 10000 };

/* ---- schemas ---- */
static const field register_fields[] = {
    { "email", FIELD_EMAIL, FIELD_REQUIRED, 0, 0, NULL, NULL, "Of the tenant's first admin" },
    { "password", FIELD_STRING, FIELD_REQUIRED, 8, 1024, NULL, NULL, "With a letter and a digit" },
    { "full_name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { "tenant_name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { 0 },
};
static const schema register_schema = { "Register", register_fields };

static const field login_fields[] = {
    { "email", FIELD_EMAIL, FIELD_REQUIRED, 0, 0, NULL, NULL, NULL },
    { "password", FIELD_STRING, FIELD_REQUIRED, 1, 1024, NULL, NULL, NULL },
    { 0 },
};
static const schema login_schema = { "Login", login_fields };

static const field profile_fields[] = {
    { "full_name", FIELD_STRING, 0, 1, 255, NULL, NULL, NULL },
    { "email", FIELD_EMAIL, 0, 0, 0, NULL, NULL, "Needs current_password" },
    { "current_password", FIELD_STRING, 0, 1, 1024, NULL, NULL, NULL },
    { "onboarding_completed", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, NULL },
    { 0 },
};
static const schema profile_schema = { "ProfileUpdate", profile_fields };

static const field password_fields[] = {
    { "current_password", FIELD_STRING, FIELD_REQUIRED, 1, 1024, NULL, NULL, NULL },
    { "new_password", FIELD_STRING, FIELD_REQUIRED, 8, 1024, NULL, NULL, "With a letter and a digit" },
    { 0 },
};
static const schema password_schema = { "PasswordChange", password_fields };

/* ---- what a request under way knows of its account ---- */
typedef struct account {
    char user_id[UUID_TEXT_LEN + 1]; /* empty: nobody's */
    bool is_active;
    char hash[PASSWORD_HASH_MAX];

    const char *refusal; /* what is said once a failed log-in is in the audit */
} account;

static account *
account_of(call *c)
{
    account *a = call_kept(c);

    if (a == NULL) {
        a = call_alloc(c, sizeof *a);
        call_keep(c, a, NULL);
    }
    return a;
}

static const char *
body_text(const call *c, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(call_body(c), name);

    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static void
copy_text(char *out, size_t room, const msgpack_object *map, const char *name)
{
    view v = { 0 };

    if (pack_get_str(map, name, &v))
        snprintf(out, room, "%.*s", (int)min_u64(v.len, room - 1), (const char *)v.at);
}

/* The answer of REG_ACCOUNT; an unknown address leaves an account of nobody.  False: answered. */
static bool
take_account(call *c, const ak_msg *reply, account *a)
{
    reg_done head;
    view     value;
    pack_doc d;

    if (!call_reg_reply(c, reply, &head, &value))
        return false;
    if (head.status == 404)
        return true;
    if (head.status >= 400 || pack_open(&d, value) < 0) {
        err_clear();
        registry_answer(c, reply);
        return false;
    }
    copy_text(a->user_id, sizeof a->user_id, pack_root(&d), "user_id");
    copy_text(a->hash, sizeof a->hash, pack_root(&d), "password_hash");
    (void)pack_get_bool(pack_root(&d), "is_active", &a->is_active);
    pack_doc_close(&d);
    return true;
}

/* ---- sessions ---- */
static void
set_cookie(call *c, view token, int64_t max_age_s)
{
    bool secure = call_options(c)->tls_cert[0] != '\0';
    char text[256];
    int  n = snprintf(text, sizeof text, "refresh_token=%.*s" COOKIE_RULES "%lld%s", (int)min_u64(token.len, 128),
                      (const char *)token.at, (long long)max_age_s, secure ? "; Secure" : "");

    call_add_header(c, "Set-Cookie", view_of(text, (size_t)n));
}

static void
send_session(call *c, uint16_t status, const msgpack_object *map)
{
    view      access = { 0 };
    view      refresh = { 0 };
    int64_t   max_age_s = 0;
    json_out *j = call_json(c);

    if (!pack_get_str(map, "access_token", &access) || !pack_get_str(map, "refresh_token", &refresh) ||
        !pack_get_int(map, "refresh_max_age", &max_age_s)) {
        call_fail(c, 503, "The registry's answer cannot be read.");
        return;
    }
    set_cookie(c, refresh, max_age_s);
    json_open(j, '{');
    json_name_string(j, "access_token", access);
    json_name_string(j, "token_type", VIEW_LIT("bearer"));
    json_name_bool(j, "mfa_required", false);
    json_close(j, '}');
    call_send_json(c, status);
}

static void
on_session(call *c, const ak_msg *reply)
{
    reg_done head;
    view     value;
    pack_doc d;

    if (!call_reg_reply(c, reply, &head, &value))
        return;
    if (head.status >= 400 || pack_open(&d, value) < 0) {
        err_clear();
        registry_answer(c, reply);
        return;
    }
    send_session(c, call_route(c)->status, pack_root(&d));
    pack_doc_close(&d);
}

/* ---- register ---- */
/* The registry decides; this spares a hash when the answer is known. */
static bool
is_closed(call *c)
{
    uint32_t mode = call_options(c)->auth_registration;
    bool     open = mode == REGISTRATION_OPEN || (mode == REGISTRATION_AUTO && ak_is_loopback(call_ak(c)));

    if (mode == REGISTRATION_CLOSED)
        return true;
    return !open && table_count(board_table(call_board(c), BOARD_TENANTS, 0)) > 0;
}

static void
register_hashed(call *c, const ak_msg *reply)
{
    view hash = password_hashed(c, reply);
    pack p;

    if (hash.len == 0)
        return;
    pack_init(&p);
    registry_params(c, &p, 2);
    pack_name_str(&p, "password_hash", hash);
    pack_name_str(&p, "ip", call_address(c));
    call_registry(c, REG_REGISTER, pack_view(&p), on_session);
    pack_fini(&p);
}

static void
post_register(call *c)
{
    const char *password = body_text(c, "password");

    if (is_closed(c)) {
        call_fail(c, 403, "Registration is closed.");
        return;
    }
    if (password_is_good(c, "password", password))
        password_hash_ask(c, password, register_hashed);
}

/* ---- log in ---- */
static void
login_failed(call *c, const ak_msg *reply)
{
    (void)reply;
    call_fail(c, 401, account_of(c)->refusal);
}

/* Failed log-ins have a budget of their own, a quarter of what may be tried: whoever guesses is slow, and
 * an account is not closed to its owner, whose log-in does not fail. */
static limits_rate
failures_rate(const call *c)
{
    uint64_t all = call_options(c)->limits_rate_open;

    return limits_a_minute(all == 0 ? 0 : max_u64(all / 4, 1));
}

/* False: answered with 429.  Somebody may be guessing at this account from elsewhere: who comes from where nobody failed is
 * heard, so that its owner is not shut out. */
static bool
may_fail(call *c)
{
    limits_state s;

    if (!call_within_limit(c, LIMIT_FAILED, call_address_key(c), failures_rate(c), 0))
        return false;
    (void)limits_take(c->f->limits, LIMIT_FAILED, call_address_key(c), failures_rate(c), 0, front_now_ns(), &s);
    return s.remaining == s.limit ||
           call_within_limit(c, LIMIT_FAILED, call_account_key(body_text(c, "email")), failures_rate(c), 0);
}

static void
count_failure(call *c)
{
    limits_state s;
    uint64_t     now_ns = front_now_ns();

    (void)limits_take(c->f->limits, LIMIT_FAILED, call_address_key(c), failures_rate(c), 1, now_ns, &s);
    (void)limits_take(c->f->limits, LIMIT_FAILED, call_account_key(body_text(c, "email")), failures_rate(c), 1, now_ns,
                      &s);
}

static void
fail_login(call *c, const char *reason, const char *refusal)
{
    pack p;

    count_failure(c);

    account_of(c)->refusal = refusal;
    pack_init(&p);
    pack_map(&p, 3);
    pack_name_str(&p, "email", view_str(body_text(c, "email")));
    pack_name_str(&p, "ip", call_address(c));
    pack_name_str(&p, "reason", view_str(reason));
    call_registry(c, REG_LOGIN_FAILED, pack_view(&p), login_failed);
    pack_fini(&p);
}

static void
login_verified(call *c, const ak_msg *reply)
{
    const account *a = account_of(c);
    pack           p;

    if (!password_verified(reply) || a->user_id[0] == '\0') {
        fail_login(c, "password", "Invalid email or password.");
        return;
    }
    if (!a->is_active) {
        fail_login(c, "inactive", "User account is inactive.");
        return;
    }
    pack_init(&p);
    pack_map(&p, 2);
    pack_name_str(&p, "user_id", view_str(a->user_id));
    pack_name_str(&p, "ip", call_address(c));
    call_registry(c, REG_SESSION, pack_view(&p), on_session);
    pack_fini(&p);
}

static void
login_account(call *c, const ak_msg *reply)
{
    account *a = account_of(c);

    if (take_account(c, reply, a))
        password_verify_ask(c, body_text(c, "password"), view_str(a->hash), login_verified);
}

static bool
is_short_enough(call *c, const char *member)
{
    if (strlen(body_text(c, member)) <= PASSWORD_BYTES_MAX)
        return true;
    call_fail_field(c, "body", member, "Must have at most 1024 bytes", "value_error");
    return false;
}

static void
post_login(call *c)
{
    pack p;

    if (!is_short_enough(c, "password") || !may_fail(c))
        return;
    pack_init(&p);
    pack_map(&p, 1);
    pack_name_str(&p, "email", view_str(body_text(c, "email")));
    call_registry(c, REG_ACCOUNT, pack_view(&p), login_account);
    pack_fini(&p);
}

/* ---- refresh, log out, me ---- */
static void
post_refresh(call *c)
{
    view token = call_cookie(c, "refresh_token");
    pack p;

    if (token.len == 0) {
        call_fail(c, 401, "Authentication is required.");
        return;
    }
    pack_init(&p);
    pack_map(&p, 2);
    pack_name_str(&p, "refresh_token", token);
    pack_name_str(&p, "ip", call_address(c));
    call_registry(c, REG_REFRESH, pack_view(&p), on_session);
    pack_fini(&p);
}

static void
logged_out(call *c, const ak_msg *reply)
{
    set_cookie(c, VIEW_LIT(""), 0);
    registry_answer(c, reply);
}

static void
post_logout(call *c)
{
    const caller *who = call_who(c);
    pack          p;

    pack_init(&p);
    pack_map(&p, 4);
    pack_name_uuid(&p, "jti", &who->jti);
    pack_name_int(&p, "exp", (who->expires_us + 999999) / 1000000);
    pack_name_str(&p, "refresh_token", call_cookie(c, "refresh_token"));
    pack_name_str(&p, "ip", call_address(c));
    call_registry(c, REG_LOGOUT, pack_view(&p), logged_out);
    pack_fini(&p);
}

/* ---- one's own profile and password ---- */
static void
ask_own_account(call *c, call_then *then)
{
    pack p;

    pack_init(&p);
    pack_map(&p, 1);
    pack_name_uuid(&p, "user_id", &call_who(c)->user_id);
    call_registry(c, REG_ACCOUNT, pack_view(&p), then);
    pack_fini(&p);
}

static bool
is_own_password(call *c, const ak_msg *reply)
{
    if (password_verified(reply))
        return true;
    call_fail(c, 400, "Current password is incorrect.");
    return false;
}

static void
profile_verified(call *c, const ak_msg *reply)
{
    if (is_own_password(c, reply))
        registry_route(c);
}

static void
verify_own(call *c, const ak_msg *reply, call_then *then)
{
    account *a = account_of(c);

    if (take_account(c, reply, a))
        password_verify_ask(c, body_text(c, "current_password"), view_str(a->hash), then);
}

static void
profile_account(call *c, const ak_msg *reply)
{
    verify_own(c, reply, profile_verified);
}

static void
patch_profile(call *c)
{
    if (body_text(c, "email") == NULL) {
        registry_route(c);
        return;
    }
    if (body_text(c, "current_password") == NULL) {
        call_fail_field(c, "body", "current_password", "Field required", "missing");
        return;
    }
    if (is_short_enough(c, "current_password"))
        ask_own_account(c, profile_account);
}

static void
password_is_hashed(call *c, const ak_msg *reply)
{
    view hash = password_hashed(c, reply);
    pack p;

    if (hash.len == 0)
        return;
    pack_init(&p);
    pack_map(&p, 2);
    pack_name_str(&p, "password_hash", hash);
    pack_name_str(&p, "ip", call_address(c));
    call_registry(c, REG_PASSWORD, pack_view(&p), on_session);
    pack_fini(&p);
}

static void
password_is_verified(call *c, const ak_msg *reply)
{
    if (is_own_password(c, reply))
        password_hash_ask(c, body_text(c, "new_password"), password_is_hashed);
}

static void
password_account(call *c, const ak_msg *reply)
{
    verify_own(c, reply, password_is_verified);
}

static void
post_change_password(call *c)
{
    if (is_short_enough(c, "current_password") && password_is_good(c, "new_password", body_text(c, "new_password")))
        ask_own_account(c, password_account);
}

/* ---- rows ---- */
extern const route account_routes[];

const route account_routes[] = {
    { POST, 201, WHO_OPEN, BODY_MAX, SLOW_MS, "/auth/register", NULL, &register_schema, post_register, REG_REGISTER,
      "Make a tenant and its admin" },
    { POST, 200, WHO_OPEN, BODY_MAX, SLOW_MS, "/auth/login", NULL, &login_schema, post_login, REG_SESSION, "Log in" },
    { POST, 200, WHO_OPEN, BODY_MAX, REGISTRY_WITHIN_MS, "/auth/refresh", NULL, NULL, post_refresh, REG_REFRESH,
      "A new access token for the cookie's refresh token, which is replaced" },
    { POST, 204, WHO_VIEWER, BODY_MAX, REGISTRY_WITHIN_MS, "/auth/logout", NULL, NULL, post_logout, REG_LOGOUT,
      "Block this access token and end its refresh tokens" },
    { GET, 200, WHO_VIEWER, 0, REGISTRY_WITHIN_MS, "/auth/me", NULL, NULL, registry_get, REG_ME, "Who asks" },
    { PATCH, 200, WHO_VIEWER, BODY_MAX, SLOW_MS, "/settings/profile", NULL, &profile_schema, patch_profile, REG_PROFILE,
      "Change one's name or address" },
    { POST, 200, WHO_VIEWER, BODY_MAX, SLOW_MS, "/settings/change-password", NULL, &password_schema,
      post_change_password, REG_PASSWORD, "Change one's password; every other session ends" },
    { 0 },
};
