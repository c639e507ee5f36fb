/* The registry's operations on a store of its own, without a kernel or a board. */
#include "tests/unit/actors/registry_rig.h"

#include "actors/registry_local.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- accounts ---- */
static void
registering_makes_a_tenant_an_admin_and_a_session(void **state)
{
    rig *g = *state;

    register_ada(g);
    CHECK(strlen(text(g, "access_token")) > 100);
    CHECK_EQ(strlen(text(g, "refresh_token")), 64);
    CHECK_EQ(ask(g, REG_ME, "{}"), 200);
    assert_string_equal(text(g, "email"), "Ada@Example.com");
    assert_string_equal(text(g, "role"), "admin");
    assert_string_equal(text(g, "subscription_status"), "active");
    assert_string_equal(text(g, "subscription_tier"), "enterprise");
    ask(g, REG_REGISTER, REGISTER("ADA@example.COM", "Other"));
    expect_detail(g, 409, "A user with this email already exists.");
    CHECK_EQ(g->r.tenants.count, 1);
}

static void
registration_obeys_its_setting(void **state)
{
    rig *g = *state;

    g->r.registration_open = false;
    register_ada(g); /* the first one */
    g->ask = (reg_ask){ 0 };
    ask(g, REG_REGISTER, REGISTER("b@example.com", "B"));
    expect_detail(g, 403, "Registration is closed.");
    g->ask.role = ROLE_SYSTEM;
    CHECK_EQ(ask(g, REG_REGISTER, REGISTER("b@example.com", "B")), 201);
}

static void
an_account_is_found_by_its_address_in_any_case(void **state)
{
    rig *g = *state;

    register_ada(g);
    CHECK_EQ(ask(g, REG_ACCOUNT, "{\"email\":\"aDA@exAMPLE.com\"}"), 200);
    assert_string_equal(text(g, "password_hash"), "$argon2id$x");
    CHECK_EQ(ask(g, REG_ACCOUNT, "{\"email\":\"nobody@example.com\"}"), 404);
}

static void
refreshing_rotates_and_two_tabs_get_the_same_answer(void **state)
{
    rig  *g = *state;
    char  first[128];
    char  second[128];

    register_ada(g);
    snprintf(first, sizeof first, "%s", text(g, "refresh_token"));
    CHECK_EQ(ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", first), 200);
    snprintf(second, sizeof second, "%s", text(g, "refresh_token"));
    CHECK(strcmp(first, second) != 0);
    g->r.now_us += 9 * 1000000;
    CHECK_EQ(ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", first), 200);
    assert_string_equal(text(g, "refresh_token"), second);
    CHECK_EQ(ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", second), 200);
}

static void
a_used_token_that_comes_again_later_ends_its_family(void **state)
{
    rig  *g = *state;
    char  first[128];
    char  second[128];

    register_ada(g);
    snprintf(first, sizeof first, "%s", text(g, "refresh_token"));
    CHECK_EQ(ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", first), 200);
    snprintf(second, sizeof second, "%s", text(g, "refresh_token"));
    reopen(g);
    g->r.now_us += 11 * 1000000;
    ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", first);
    expect_detail(g, 401, "Invalid authentication token.");
    CHECK_EQ(ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", second), 401);
    CHECK_EQ(g->r.all_sessions.count, 0);
}

static void
a_refresh_token_expires_and_a_forged_one_is_none(void **state)
{
    rig  *g = *state;
    char  token[128];

    register_ada(g);
    snprintf(token, sizeof token, "%s", text(g, "refresh_token"));
    CHECK_EQ(ask(g, REG_REFRESH, "{\"refresh_token\":\"AAAA\"}"), 401);
    CHECK_EQ(ask(g, REG_REFRESH, "{}"), 401);
    g->r.now_us += INT64_C(31) * 86400 * 1000000;
    ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", token);
    expect_detail(g, 401, "Authentication token has expired.");
}

static void
logging_out_blocks_the_token_until_it_expires_across_restarts(void **state)
{
    rig    *g = *state;
    char    token[128];
    int64_t now_s = g->r.now_us / 1000000;

    register_ada(g);
    snprintf(token, sizeof token, "%s", text(g, "refresh_token"));
    CHECK_EQ(ask_f(g, REG_LOGOUT, "{\"jti\":\"00000000-0000-4000-8000-000000000001\",\"exp\":%lld,\"refresh_token\":\"%s\"}",
                   (long long)now_s + 900, token),
             204);
    CHECK_EQ(ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", token), 401);
    reopen(g);
    CHECK_EQ(g->r.blocked.count, 1);
    g->r.now_us += 902 * INT64_C(1000000);
    reopen(g);
    CHECK_EQ(g->r.blocked.count, 0);
}

static void
a_new_password_ends_every_session_but_the_new_one(void **state)
{
    rig  *g = *state;
    char  old[128];

    register_ada(g);
    snprintf(old, sizeof old, "%s", text(g, "refresh_token"));
    CHECK_EQ(ask(g, REG_PASSWORD, "{\"password_hash\":\"$argon2id$new\"}"), 200);
    CHECK_EQ(strlen(text(g, "refresh_token")), 64);
    CHECK_EQ(g->r.all_sessions.count, 1);
    CHECK_EQ(ask_f(g, REG_REFRESH, "{\"refresh_token\":\"%s\"}", old), 401);
    const reg_user *u = g->r.users.at[0];
    CHECK(u->tokens_from_us > g->r.now_us && u->tokens_from_us % 1000000 == 0);
}

static void
a_user_has_a_bounded_number_of_sessions(void **state)
{
    rig *g = *state;

    register_ada(g);
    const reg_user *u = g->r.users.at[0];
    char            id[UUID_TEXT_LEN];
    uuid_format(&u->id, id);
    for (int i = 0; i < REG_SESSIONS_PER_USER + 20; i++)
        CHECK_EQ(ask_f(g, REG_SESSION, "{\"user_id\":\"%.36s\"}", id), 200);
    CHECK_EQ(u->sessions.count, REG_SESSIONS_PER_USER);
    reopen(g);
    CHECK_EQ(g->r.all_sessions.count, REG_SESSIONS_PER_USER);
}

/* ---- users ---- */
static void
the_last_active_admin_stays(void **state)
{
    rig        *g = *state;
    char        ada[40];
    const char *last = "The last active admin cannot be demoted, deactivated or removed.";

    register_ada(g);
    ask(g, REG_ME, "{}");
    snprintf(ada, sizeof ada, "%s", text(g, "id"));
    ask_f(g, REG_USER_UPDATE, "{\"id\":\"%s\",\"role\":\"viewer\"}", ada);
    expect_detail(g, 400, last);
    ask_f(g, REG_USER_UPDATE, "{\"id\":\"%s\",\"is_active\":false}", ada);
    expect_detail(g, 400, last);
    ask_f(g, REG_USER_DELETE, "{\"id\":\"%s\"}", ada);
    expect_detail(g, 400, last);
    CHECK_EQ(ask(g, REG_USER_CREATE, "{\"email\":\"b@example.com\",\"full_name\":\"B\",\"role\":\"admin\"," HASH "}"), 201);
    CHECK_EQ(ask_f(g, REG_USER_UPDATE, "{\"id\":\"%s\",\"role\":\"viewer\"}", ada), 200);
    assert_string_equal(text(g, "role"), "viewer");
}

static void
roles_and_deactivation_hold_at_once(void **state)
{
    rig *g = *state;
    char bob[40];

    register_ada(g);
    CHECK_EQ(ask(g, REG_USER_CREATE, "{\"email\":\"b@example.com\",\"full_name\":\"B\",\"role\":\"operator\"," HASH "}"), 201);
    snprintf(bob, sizeof bob, "%s", text(g, "id"));
    /* The token still says admin; the record decides. */
    reg_ask admin = g->ask;
    g->ask = (reg_ask){ .role = ROLE_ADMIN, .tenant = 1, .user = 2 };
    ask(g, REG_USER_LIST, "{}");
    expect_detail(g, 403, "Your role does not allow this.");
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{}"), 200);
    g->ask = admin;
    CHECK_EQ(ask_f(g, REG_USER_UPDATE, "{\"id\":\"%s\",\"is_active\":false}", bob), 200);
    g->ask.user = 2;
    ask(g, REG_MACHINE_LIST, "{}");
    expect_detail(g, 401, "User account is inactive.");
}

static void
a_deleted_users_address_is_free_and_its_number_is_not(void **state)
{
    rig *g = *state;

    register_ada(g);
    CHECK_EQ(ask(g, REG_USER_CREATE, "{\"email\":\"b@example.com\",\"full_name\":\"B\"," HASH "}"), 201);
    CHECK_EQ(ask_f(g, REG_USER_DELETE, "{\"id\":\"%s\"}", text(g, "id")), 204);
    reopen(g);
    CHECK_EQ(ask(g, REG_USER_CREATE, "{\"email\":\"b@example.com\",\"full_name\":\"B\"," HASH "}"), 201);
    CHECK_EQ(g->r.users.count, 3);
    CHECK_EQ(ask(g, REG_USER_LIST, "{}"), 200);
    CHECK_EQ(number(g, "total"), 2);
}

/* ---- keys ---- */
static void
a_key_is_told_once_and_only_its_hash_is_kept(void **state)
{
    rig    *g = *state;
    char    key[64];
    uint8_t hash[DIGEST_LEN];

    register_ada(g);
    CHECK_EQ(ask(g, REG_KEY_CREATE, "{\"name\":\"edge\"}"), 201);
    snprintf(key, sizeof key, "%s", text(g, "key"));
    assert_string_equal(text(g, "plaintext_key"), key);
    CHECK_EQ(strlen(text(g, "key_prefix")), 8);
    CHECK_EQ(strncmp(text(g, "key_prefix"), key, 8), 0);
    CHECK_EQ(pack_get(root(g), "scopes")->via.array.size, 2);
    reopen(g);
    CHECK_EQ(ask(g, REG_KEY_LIST, "{}"), 200);
    const msgpack_object *item = &items(g)->via.array.ptr[0];
    assert_null(pack_get(item, "key"));
    CHECK(pack_has(item, "last_used_at"));
    crypto_keyed_hash(g->r.secrets.keys, view_str(key), hash);
    assert_memory_equal(hash, ((reg_key *)g->r.keys.at[0])->hash, sizeof hash);
}

static void
scopes_come_as_presets_words_and_arrays(void **state)
{
    rig *g = *state;
    static const struct {
        const char *json;
        uint16_t    status;
        uint32_t    scopes;
    } cases[] = {
        { "{\"name\":\"k\",\"scopes\":\"edge_agent\"}", 201, SCOPE_INGEST | SCOPE_AGENT },
        { "{\"name\":\"k\",\"scopes\":[\"read_only\",\"stream\"]}", 201,
          SCOPE_READ_MACHINES | SCOPE_READ_SENSORS | SCOPE_READ_ALERTS | SCOPE_READ_FLEET | SCOPE_STREAM },
        { "{\"name\":\"k\",\"scopes\":[\"read:fleet\"]}", 201, SCOPE_READ_FLEET },
        { "{\"name\":\"k\",\"scopes\":null}", 201, SCOPE_INGEST | SCOPE_AGENT },
        { "{\"name\":\"k\",\"scopes\":[\"everything\"]}", 422, 0 },
        { "{\"name\":\"k\",\"scopes\":[]}", 422, 0 },
        { "{\"name\":\"k\",\"scopes\":[7]}", 422, 0 },
        { "{\"name\":\" \"}", 422, 0 },
        { "{\"name\":\"k\",\"expires_at\":\"2001-01-01T00:00:00Z\"}", 422, 0 },
    };

    register_ada(g);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CHECK_EQ(ask(g, REG_KEY_CREATE, cases[i].json), cases[i].status);
        if (cases[i].status == 201)
            CHECK_EQ(((reg_key *)g->r.keys.at[g->r.keys.count - 1])->scopes, cases[i].scopes);
    }
}

static void
a_revoked_key_is_gone_and_stays_so(void **state)
{
    rig *g = *state;

    register_ada(g);
    CHECK_EQ(ask(g, REG_KEY_CREATE, "{\"name\":\"edge\"}"), 201);
    char id[40];
    snprintf(id, sizeof id, "%s", text(g, "id"));
    CHECK_EQ(ask_f(g, REG_KEY_REVOKE, "{\"id\":\"%s\"}", id), 204);
    reopen(g);
    CHECK_EQ(ask(g, REG_KEY_LIST, "{}"), 200);
    CHECK_EQ(number(g, "total"), 0);
    ask_f(g, REG_KEY_REVOKE, "{\"id\":\"%s\"}", id);
    expect_detail(g, 404, "API key not found.");
    CHECK(((reg_key *)g->r.keys.at[0])->revoked);
}

static void
use_of_a_key_is_remembered(void **state)
{
    rig *g = *state;

    register_ada(g);
    CHECK_EQ(ask(g, REG_KEY_CREATE, "{\"name\":\"edge\"}"), 201);
    g->ask = (reg_ask){ .role = ROLE_SYSTEM };
    CHECK_EQ(ask(g, REG_KEY_USED, "{\"keys\":[{\"key\":1,\"at_us\":1700000000000000},{\"key\":9,\"at_us\":1}]}"), 204);
    reopen(g);
    CHECK_EQ(ask(g, REG_KEY_LIST, "{}"), 200);
    assert_string_equal(text_in(&items(g)->via.array.ptr[0], "last_used_at"), "2023-11-14T22:13:20Z");
}

/* ---- machines ---- */
#define MACHINE(identifier) "{\"name\":\"N\",\"machine_identifier\":\"" identifier "\",\"protocol\":\"json\"}"

static void
an_identifier_is_unique_until_its_machine_is_deleted(void **state)
{
    rig *g = *state;
    char id[40];

    register_ada(g);
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("A")), 201);
    snprintf(id, sizeof id, "%s", text(g, "id"));
    assert_string_equal(text(g, "status"), "offline");
    assert_string_equal(text(g, "timezone"), "UTC");
    CHECK_EQ(number(g, "offline_after_seconds"), 300);
    ask(g, REG_MACHINE_CREATE, MACHINE("A"));
    expect_detail(g, 409, "A machine with this identifier already exists for this tenant.");
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("a")), 201);
    ask_f(g, REG_MACHINE_UPDATE, "{\"id\":\"%s\",\"machine_identifier\":\"a\"}", id);
    expect_detail(g, 409, "A machine with this identifier already exists for this tenant.");
    CHECK_EQ(ask_f(g, REG_MACHINE_DELETE, "{\"id\":\"%s\"}", id), 204);
    ask_f(g, REG_MACHINE_GET, "{\"id\":\"%s\"}", id);
    expect_detail(g, 404, "Machine not found.");
    reopen(g);
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("A")), 201);
    CHECK(strcmp(text(g, "id"), id) != 0);
    CHECK_EQ(g->r.machines.count, 3);
}

static void
a_change_keeps_what_it_does_not_name(void **state)
{
    rig *g = *state;

    register_ada(g);
    CHECK_EQ(ask(g, REG_MACHINE_CREATE,
                 "{\"name\":\"N\",\"machine_identifier\":\"A\",\"protocol\":\"opc_ua\",\"location\":\"Hall 3\"}"),
             201);
    CHECK_EQ(ask_f(g, REG_MACHINE_UPDATE, "{\"id\":\"%s\",\"name\":\"Renamed\"}", text(g, "id")), 200);
    assert_string_equal(text(g, "location"), "Hall 3");
    assert_string_equal(text(g, "protocol"), "opc_ua");
    CHECK_EQ(ask_f(g, REG_MACHINE_UPDATE, "{\"id\":\"%s\",\"location\":null}", text(g, "id")), 200);
    assert_string_equal(text(g, "name"), "Renamed");
    assert_string_equal(text(g, "location"), "(none)");
    reopen(g);
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{\"search\":\"rENam\"}"), 200);
    assert_string_equal(text_in(&items(g)->via.array.ptr[0], "machine_identifier"), "A");
}

static void
lists_page_search_and_sort(void **state)
{
    rig *g = *state;

    register_ada(g);
    for (int i = 0; i < 25; i++)
        CHECK_EQ(ask_f(g, REG_MACHINE_CREATE,
                       "{\"name\":\"Press %02d\",\"machine_identifier\":\"P-%02d\",\"protocol\":\"json\"}", 24 - i, i),
                 201);
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{\"page\":2,\"page_size\":10,\"sort_by\":\"machine_identifier\"}"), 200);
    CHECK_EQ(number(g, "total"), 25);
    CHECK_EQ(number(g, "total_pages"), 3);
    CHECK_EQ(items(g)->via.array.size, 10);
    assert_string_equal(text_in(&items(g)->via.array.ptr[0], "machine_identifier"), "P-10");
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{\"sort_by\":\"name\",\"sort_dir\":\"desc\",\"page_size\":1}"), 200);
    assert_string_equal(text_in(&items(g)->via.array.ptr[0], "name"), "Press 24");
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{\"search\":\"p-07\"}"), 200);
    CHECK_EQ(number(g, "total"), 1);
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{\"status\":\"healthy\"}"), 200);
    CHECK_EQ(number(g, "total"), 0);
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{\"page\":9}"), 200);
    CHECK_EQ(items(g)->via.array.size, 0);
}

static void
a_page_that_is_too_long_for_one_answer_is_had_in_pieces(void **state)
{
    rig     *g = *state;
    char     name[256];
    uint32_t got = 0;

    register_ada(g);
    memset(name, 'n', 255);
    name[255] = '\0';
    for (int i = 0; i < 100; i++)
        CHECK_EQ(ask_f(g, REG_MACHINE_CREATE,
                       "{\"name\":\"%s\",\"machine_identifier\":\"%.200s%d\",\"protocol\":\"json\",\"location\":\"%s\"}", name,
                       name, i, name),
                 201);
    for (int turns = 0; turns < 10; turns++) {
        CHECK_EQ(ask_f(g, REG_MACHINE_LIST, "{\"page_size\":100,\"skip\":%u}", got), 200);
        CHECK(pack_view(&g->out).len < REG_REPLY_MAX - sizeof(reg_done));
        got += items(g)->via.array.size;
        if (number(g, "left") < 0)
            break;
        CHECK_EQ(number(g, "left"), 100 - got);
    }
    CHECK_EQ(got, 100);
}

static void
other_tenants_things_do_not_exist(void **state)
{
    rig *g = *state;
    char machine[40];
    char rule[40];

    register_ada(g);
    CHECK_EQ(ask(g, REG_REGISTER, REGISTER("b@example.com", "B")), 201);
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("A")), 201);
    snprintf(machine, sizeof machine, "%s", text(g, "id"));
    CHECK_EQ(ask(g, REG_RULE_CREATE,
                 "{\"metric_name\":\"t\",\"operator\":\"gt\",\"threshold\":1,\"severity\":\"info\"}"),
             201);
    snprintf(rule, sizeof rule, "%s", text(g, "id"));
    g->ask = (reg_ask){ .role = ROLE_ADMIN, .tenant = 2, .user = 2 };
    ask_f(g, REG_MACHINE_GET, "{\"id\":\"%s\"}", machine);
    expect_detail(g, 404, "Machine not found.");
    ask_f(g, REG_RULE_DELETE, "{\"id\":\"%s\"}", rule);
    expect_detail(g, 404, "Alert rule not found.");
    ask_f(g, REG_RULE_CREATE,
          "{\"metric_name\":\"t\",\"operator\":\"gt\",\"threshold\":1,\"severity\":\"info\",\"machine_id\":\"%s\"}", machine);
    expect_detail(g, 404, "Machine not found.");
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("A")), 201);
    /* A user of one tenant cannot ask in the name of another. */
    g->ask = (reg_ask){ .role = ROLE_ADMIN, .tenant = 2, .user = 1 };
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{}"), 401);
}

/* ---- rules and alerts ---- */
static void
an_alert_opens_once_and_closes(void **state)
{
    rig *g = *state;
    char id[40];

    register_ada(g);
    make_hot_rule(g, "");
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95.5,\"time_us\":5}"), 201);
    const msgpack_object *alert = pack_get(root(g), "alert");
    snprintf(id, sizeof id, "%s", text_in(alert, "id"));
    assert_string_equal(text_in(alert, "message"), "temperature 95.5 is above 90");
    assert_string_equal(text_in(alert, "machine_name"), "Press");
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":97,\"time_us\":6}"), 200);
    assert_string_equal(text_in(pack_get(root(g), "alert"), "id"), id);
    CHECK_EQ(((reg_machine *)g->r.machines.at[0])->open_critical, 1);
    reopen(g);
    CHECK_EQ(((reg_machine *)g->r.machines.at[0])->open_critical, 1);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN_ALL, "{}"), 200);
    CHECK_EQ(root(g)->via.array.size, 1);
    CHECK_EQ(ask(g, REG_ALERT_STATS, "{}"), 200);
    CHECK_EQ(number(g, "total_active"), 1);
    CHECK_EQ(number(g, "unacknowledged_count"), 1);
    CHECK_EQ(ask_f(g, REG_ALERT_ACK, "{\"id\":\"%s\"}", id), 200);
    CHECK(strlen(text(g, "acknowledged_by")) == 36);
    CHECK_EQ(system_ask(g, REG_ALERT_CLOSE, "{\"rule\":1,\"machine\":1,\"time_us\":7,\"peak\":99}"), 200);
    CHECK_EQ(system_ask(g, REG_ALERT_CLOSE, "{\"rule\":1,\"machine\":1,\"time_us\":7}"), 404);
    CHECK_EQ(((reg_machine *)g->r.machines.at[0])->open_alerts, 0);
    CHECK_EQ(ask(g, REG_ALERT_LIST, "{\"status\":\"open\"}"), 200);
    CHECK_EQ(number(g, "total"), 0);
    CHECK_EQ(ask(g, REG_ALERT_LIST, "{\"status\":\"resolved\",\"severity\":\"critical\",\"is_acknowledged\":true}"), 200);
    CHECK_EQ(number(g, "total"), 1);
}

static void
frames_are_numbered_and_go_on_after_a_restart(void **state)
{
    rig *g = *state;

    register_ada(g);
    make_hot_rule(g, "");
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5}"), 201);
    CHECK_EQ(g->r.event_count, 1);
    CHECK_EQ(g->r.events[0].head.seq, 1);
    cJSON *frame = cJSON_ParseWithLength(g->r.events[0].text, g->r.events[0].len);
    assert_non_null(frame);
    assert_string_equal(cJSON_GetObjectItem(frame, "type")->valuestring, "alert");
    CHECK(cJSON_GetObjectItem(frame, "resolved_at") == NULL);
    cJSON_Delete(frame);
    reopen(g);
    CHECK_EQ(system_ask(g, REG_ALERT_CLOSE, "{\"rule\":1,\"machine\":1,\"time_us\":7}"), 200);
    CHECK_EQ(g->r.events[0].head.seq, 2);
    CHECK_EQ(system_ask(g, REG_STATUS_CHANGED,
                        "{\"machine\":1,\"old_status\":3,\"new_status\":\"healthy\",\"time_us\":1700000000000000}"),
             204);
    CHECK_EQ(g->r.event_count, 2);
    frame = cJSON_ParseWithLength(g->r.events[1].text, g->r.events[1].len);
    assert_string_equal(cJSON_GetObjectItem(frame, "old_status")->valuestring, "critical");
    assert_string_equal(cJSON_GetObjectItem(frame, "new_status")->valuestring, "healthy");
    CHECK_EQ(cJSON_GetObjectItem(frame, "seq")->valueint, 3);
    cJSON_Delete(frame);
}

/* How many events behind `after` the registry tells, the first one's seq, and up to where it looked. */
static uint32_t
events_after(rig *g, const char *params, int64_t *first, int64_t *upto)
{
    reg_ask  before = g->ask;
    pack_doc d;

    g->ask = (reg_ask){ .role = ROLE_SYSTEM, .tenant = 1 };
    CHECK_EQ(ask(g, REG_EVENTS, params), 200);
    g->ask = before;
    CHECK_EQ(pack_open(&d, pack_view(&g->out)), 0);
    const msgpack_object *events = pack_get(pack_root(&d), "events");
    assert_non_null(events);
    uint32_t n = events->via.array.size;
    CHECK(pack_get_int(pack_root(&d), "upto", upto));
    *first = 0;
    if (n > 0)
        CHECK(pack_get_int(&events->via.array.ptr[0], "seq", first));
    pack_doc_close(&d);
    return n;
}

static void
the_last_events_are_kept_for_who_missed_them(void **state)
{
    rig    *g = *state;
    int64_t first, upto;

    register_ada(g);
    make_hot_rule(g, "");
    for (int i = 0; i < 1010; i++)
        CHECK_EQ(system_ask(g, REG_STATUS_CHANGED, "{\"machine\":1,\"old_status\":0,\"new_status\":1,\"time_us\":1700000000000000}"),
                 204);
    reopen(g);
    CHECK_EQ(events_after(g, "{\"after\":1008,\"until\":1010}", &first, &upto), 2);
    CHECK(first == 1009 && upto == 1010);
    CHECK_EQ(events_after(g, "{\"after\":1010,\"until\":1010}", &first, &upto), 0);
    CHECK_EQ(events_after(g, "{\"after\":2000,\"until\":10}", &first, &upto), 0);
    CHECK_EQ(events_after(g, "{\"after\":1005,\"until\":1007}", &first, &upto), 2);
    uint32_t n = events_after(g, "{\"after\":0,\"until\":1010}", &first, &upto);
    CHECK(first == 11 && n > 10 && upto == 10 + (int64_t)n && upto < 1010); /* a page; those before it are gone */
}

static void
a_template_names_what_happened(void **state)
{
    rig *g = *state;
    static const struct {
        const char *template;
        const char *text;
    } cases[] = {
        { "{machine}: {metric} {value}{unit} > {threshold}", "Press: temperature 95 > 90" },
        { "{{machine} {unknown} {", "{Press {unknown} {" },
        { "}{value", "}{value" },
    };

    register_ada(g);
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, "{\"name\":\"Press\",\"machine_identifier\":\"M\",\"protocol\":\"json\"}"), 201);
    for (uint32_t i = 0; i < COUNT_OF(cases); i++) {
        char json[128];

        CHECK_EQ(ask_f(g, REG_RULE_CREATE,
                       "{\"metric_name\":\"temperature\",\"operator\":\"gt\",\"threshold\":90,\"severity\":\"info\","
                       "\"message\":\"%s\"}",
                       cases[i].template),
                 201);
        snprintf(json, sizeof json, "{\"rule\":%u,\"machine\":1,\"value\":95,\"time_us\":5}", i + 1);
        CHECK_EQ(system_ask(g, REG_ALERT_OPEN, json), 201);
        assert_string_equal(text_in(pack_get(root(g), "alert"), "message"), cases[i].text);
    }
}

static void
deleting_a_rule_or_a_machine_closes_its_alerts(void **state)
{
    rig *g = *state;

    register_ada(g);
    make_hot_rule(g, "");
    char rule[40];
    snprintf(rule, sizeof rule, "%s", text(g, "id"));
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5}"), 201);
    CHECK_EQ(ask_f(g, REG_RULE_DELETE, "{\"id\":\"%s\"}", rule), 204);
    CHECK_EQ(ask(g, REG_ALERT_LIST, "{\"status\":\"resolved\"}"), 200);
    CHECK_EQ(number(g, "total"), 1);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5}"), 404);
    reopen(g);
    CHECK_EQ(ask(g, REG_ALERT_LIST, "{}"), 200);
    assert_string_equal(text_in(&items(g)->via.array.ptr[0], "machine_name"), "Press");
}

static void
what_a_person_resolved_is_held_until_it_clears(void **state)
{
    rig *g = *state;
    char id[40];

    register_ada(g);
    make_hot_rule(g, "");
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5}"), 201);
    snprintf(id, sizeof id, "%s", text_in(pack_get(root(g), "alert"), "id"));
    CHECK_EQ(ask_f(g, REG_ALERT_RESOLVE, "{\"id\":\"%s\"}", id), 200);
    CHECK_EQ(((reg_machine *)g->r.machines.at[0])->open_alerts, 0);
    reopen(g);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN_ALL, "{}"), 200);
    CHECK_EQ(root(g)->via.array.size, 1);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":96,\"time_us\":6}"), 200);
    CHECK_EQ(((reg_machine *)g->r.machines.at[0])->open_alerts, 0);
    CHECK_EQ(system_ask(g, REG_ALERT_CLOSE, "{\"rule\":1,\"machine\":1,\"time_us\":7}"), 404);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN_ALL, "{}"), 200);
    CHECK_EQ(root(g)->via.array.size, 0);
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":97,\"time_us\":8}"), 201);
    CHECK_EQ(((reg_machine *)g->r.machines.at[0])->open_critical, 1);
}

static void
a_snooze_counts_out_and_in_again(void **state)
{
    rig                *g = *state;
    const reg_machine *m;
    char               id[40], json[160];

    register_ada(g);
    make_hot_rule(g, "");
    CHECK_EQ(system_ask(g, REG_ALERT_OPEN, "{\"rule\":1,\"machine\":1,\"value\":95,\"time_us\":5}"), 201);
    snprintf(id, sizeof id, "%s", text_in(pack_get(root(g), "alert"), "id"));
    g->r.now_us = 1800000000000000;
    snprintf(json, sizeof json, "{\"id\":\"%s\",\"snooze_until\":\"2027-01-15T08:00:10Z\"}", id);
    CHECK_EQ(ask(g, REG_ALERT_SNOOZE, json), 200);
    m = g->r.machines.at[0];
    CHECK_EQ(m->open_critical, 0);
    CHECK_EQ(m->open_alerts, 1);
    CHECK_EQ(reg_alerts_wake(&g->r), 1800000010000000);
    g->r.now_us = 1800000010000000;
    CHECK_EQ(reg_alerts_wake(&g->r), INT64_MAX);
    CHECK_EQ(m->open_critical, 1);
    CHECK_EQ(system_ask(g, REG_ALERT_CLOSE, "{\"rule\":1,\"machine\":1,\"time_us\":7}"), 200);
    CHECK_EQ(m->open_critical, 0);
}

static void
a_rule_keeps_what_a_change_does_not_name(void **state)
{
    rig *g = *state;
    char id[40];

    register_ada(g);
    make_hot_rule(g, ",\"clear_threshold\":80,\"duration_seconds\":5");
    snprintf(id, sizeof id, "%s", text(g, "id"));
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"threshold\":95}", id), 200);
    CHECK_EQ(number(g, "duration_seconds"), 5);
    CHECK_EQ(number(g, "version"), 2);
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"clear_threshold\":null}", id), 200);
    CHECK(((reg_rule *)g->r.rules.at[0])->clear_threshold == 95);
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"clear_threshold\":96}", id), 422);
    CHECK_EQ(ask_f(g, REG_RULE_UPDATE, "{\"id\":\"%s\",\"operator\":\"near\"}", id), 422);
    reopen(g);
    CHECK_EQ(ask_f(g, REG_RULE_GET, "{\"id\":\"%s\"}", id), 200);
    assert_string_equal(text(g, "operator"), "gt");
}

/* ---- the audit ---- */
typedef struct chain {
    rig     *g;
    uint8_t  hash[DIGEST_LEN];
    uint32_t entries;
    uint32_t broken;
} chain;

static int
follow(void *ctx, view key, view value)
{
    chain   *c = ctx;
    pack_doc doc;
    view     before;

    (void)key;
    CHECK_OK(pack_open(&doc, value));
    CHECK(pack_get_bin(pack_root(&doc), "before", &before));
    c->broken += before.len != DIGEST_LEN || memcmp(before.at, c->hash, DIGEST_LEN) != 0;
    crypto_keyed_hash(c->g->r.secrets.keys, value, c->hash);
    c->entries++;
    pack_doc_close(&doc);
    return 0;
}

static void
the_audit_is_one_chain_across_restarts(void **state)
{
    rig  *g = *state;
    chain c = { .g = g };

    register_ada(g);
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("A")), 201);
    reopen(g);
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("B")), 201);
    ask(g, REG_LOGIN_FAILED, "{\"email\":\"ada@example.com\",\"ip\":\"127.0.0.1\",\"reason\":\"password\"}");
    CHECK_OK(regstore_scan(g->r.store, REG_AUDIT, (view){ 0 }, (view){ 0 }, false, follow, &c));
    CHECK_EQ(c.entries, 4);
    CHECK_EQ(c.broken, 0);
}

/* ---- bad input, and what was not committed ---- */
static void
malformed_parameters_are_refused(void **state)
{
    rig *g = *state;
    static const uint8_t bad[][5] = { { 0xdd, 0x10, 0, 0, 0 }, { 0xc1 }, { 0x93, 1, 2, 3 }, { 0x81, 0xa1 } };

    register_ada(g);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        reg_ask head = g->ask;

        forget(g);
        head.op = REG_MACHINE_LIST;
        CHECK_EQ(reg_run(&g->r, &head, view_of(bad[i], sizeof bad[i]), &g->out), 400);
    }
}

static void
what_was_not_committed_is_forgotten(void **state)
{
    rig *g = *state;

    register_ada(g);
    cJSON  *params = cJSON_Parse(MACHINE("A"));
    reg_ask head = g->ask;
    pack    p;
    head.op = REG_MACHINE_CREATE;
    pack_init(&p);
    pack_json(&p, params);
    forget(g);
    CHECK_EQ(reg_run(&g->r, &head, pack_view(&p), &g->out), 201);
    CHECK_OK(reg_reload(&g->r));
    CHECK_EQ(ask(g, REG_MACHINE_LIST, "{}"), 200);
    CHECK_EQ(number(g, "total"), 0);
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("A")), 201);
    pack_fini(&p);
    cJSON_Delete(params);
}

static void
a_disk_that_fails_and_comes_back(void **state)
{
    rig          *g = *state;
    struct rlimit before;
    reg_ask       head = g->ask;

    register_ada(g);
    signal(SIGXFSZ, SIG_IGN);
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit full = { 512, before.rlim_max };
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
    forget(g);
    head.op = REG_ME; /* something to write */
    reg_note_time(&g->r, VIEW_LIT("probe"));
    CHECK(reg_commit(&g->r) < 0);
    CHECK(g->r.suspect);
    CHECK_OK(reg_reload(&g->r));
    CHECK_EQ(reg_run(&g->r, &head, (view){ 0 }, &g->out), 200); /* reading goes on */
    CHECK(reg_recover(&g->r) < 0);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    CHECK_OK(reg_recover(&g->r));
    CHECK_EQ(ask(g, REG_MACHINE_CREATE, MACHINE("A")), 201);
    reopen(g);
    CHECK_EQ(g->r.machines.count, 1);
}

static void
the_store_is_used_without_a_server(void **state)
{
    rig     *g = *state;
    uint16_t status = 0;
    cJSON   *params = cJSON_Parse("{\"name\":\"shell\"}");
    pack     p;
    pack     reply;

    register_ada(g);
    forget(g);
    reg_close(&g->r);
    pack_init(&p);
    pack_init(&reply);
    pack_json(&p, params);
    CHECK_OK(registry_local_op(g->dir, REG_KEY_CREATE, pack_view(&p), &status, &reply));
    CHECK_EQ(status, 201);
    pack_fini(&p);
    pack_fini(&reply);
    cJSON_Delete(params);
    CHECK_OK(reg_open(&g->r, g->dir, NULL));
    CHECK_EQ(g->r.keys.count, 1);
}

/* ---- machine groups ---- */
/* Makes one; its id. */
static const char *
make_group(rig *g, const char *name, const char *parent)
{
    CHECK_EQ(ask_f(g, REG_GROUP_CREATE, "{\"name\":\"%s\",\"parent_id\":%s%s%s}", name, parent == NULL ? "" : "\"",
                   parent == NULL ? "null" : parent, parent == NULL ? "" : "\""),
             201);
    return text(g, "id");
}

static void
groups_are_a_tree_without_cycles_across_restarts(void **state)
{
    rig *g = *state;
    char top[64], mid[64], low[64];

    register_ada(g);
    snprintf(top, sizeof top, "%s", make_group(g, "Plant", NULL));
    snprintf(mid, sizeof mid, "%s", make_group(g, "Hall", top));
    snprintf(low, sizeof low, "%s", make_group(g, "Line", mid));
    for (int i = 0; i < 2; i++, reopen(g)) {
        const char *const ids[] = { top, mid, low };

        for (size_t k = 0; k < COUNT_OF(ids); k++) {
            ask_f(g, REG_GROUP_UPDATE, "{\"id\":\"%s\",\"parent_id\":\"%s\"}", top, ids[k]);
            expect_detail(g, 400, "A machine group cannot be below itself.");
        }
        CHECK_EQ(ask_f(g, REG_GROUP_GET, "{\"id\":\"%s\"}", low), 200);
        assert_string_equal(text(g, "parent_id"), mid);
    }
    /* A child with a lower number than its parent comes back below it. */
    CHECK_EQ(ask_f(g, REG_GROUP_UPDATE, "{\"id\":\"%s\",\"parent_id\":null}", low), 200);
    CHECK_EQ(ask_f(g, REG_GROUP_UPDATE, "{\"id\":\"%s\",\"parent_id\":\"%s\"}", top, low), 200);
    reopen(g);
    CHECK_EQ(ask_f(g, REG_GROUP_GET, "{\"id\":\"%s\"}", top), 200);
    assert_string_equal(text(g, "parent_id"), low);
    assert_string_equal(text(g, "name"), "Plant");
}

static void
a_deleted_group_lets_its_machines_go_and_its_number_is_never_given_again(void **state)
{
    rig *g = *state;
    char top[64], low[64], machine[64];

    register_ada(g);
    snprintf(top, sizeof top, "%s", make_group(g, "Plant", NULL));
    snprintf(low, sizeof low, "%s", make_group(g, "Hall", top));
    CHECK_EQ(ask_f(g, REG_MACHINE_CREATE,
                   "{\"name\":\"M\",\"machine_identifier\":\"M\",\"protocol\":\"json\",\"group_id\":\"%s\"}", low),
             201);
    snprintf(machine, sizeof machine, "%s", text(g, "id"));
    reopen(g);
    CHECK_EQ(ask_f(g, REG_GROUP_GET, "{\"id\":\"%s\"}", low), 200);
    CHECK_EQ(number(g, "machine_count"), 1);
    ask_f(g, REG_GROUP_DELETE, "{\"id\":\"%s\"}", top);
    expect_detail(g, 400, "Other machine groups are below this one.");
    CHECK_EQ(ask_f(g, REG_GROUP_DELETE, "{\"id\":\"%s\"}", low), 204);
    for (int i = 0; i < 2; i++, reopen(g)) {
        ask_f(g, REG_GROUP_GET, "{\"id\":\"%s\"}", low);
        expect_detail(g, 404, "Machine group not found.");
        CHECK_EQ(ask_f(g, REG_MACHINE_GET, "{\"id\":\"%s\"}", machine), 200);
        assert_string_equal(text(g, "group_id"), "(none)");
    }
    make_group(g, "Next", NULL);
    CHECK_EQ(g->r.next[NEXT_GROUP], 3);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(registering_makes_a_tenant_an_admin_and_a_session),
        CASE(registration_obeys_its_setting),
        CASE(an_account_is_found_by_its_address_in_any_case),
        CASE(refreshing_rotates_and_two_tabs_get_the_same_answer),
        CASE(a_used_token_that_comes_again_later_ends_its_family),
        CASE(a_refresh_token_expires_and_a_forged_one_is_none),
        CASE(logging_out_blocks_the_token_until_it_expires_across_restarts),
        CASE(a_new_password_ends_every_session_but_the_new_one),
        CASE(a_user_has_a_bounded_number_of_sessions),
        CASE(the_last_active_admin_stays),
        CASE(roles_and_deactivation_hold_at_once),
        CASE(a_deleted_users_address_is_free_and_its_number_is_not),
        CASE(a_key_is_told_once_and_only_its_hash_is_kept),
        CASE(scopes_come_as_presets_words_and_arrays),
        CASE(a_revoked_key_is_gone_and_stays_so),
        CASE(use_of_a_key_is_remembered),
        CASE(an_identifier_is_unique_until_its_machine_is_deleted),
        CASE(a_change_keeps_what_it_does_not_name),
        CASE(lists_page_search_and_sort),
        CASE(a_page_that_is_too_long_for_one_answer_is_had_in_pieces),
        CASE(other_tenants_things_do_not_exist),
        CASE(an_alert_opens_once_and_closes),
        CASE(frames_are_numbered_and_go_on_after_a_restart),
        CASE(the_last_events_are_kept_for_who_missed_them),
        CASE(a_template_names_what_happened),
        CASE(deleting_a_rule_or_a_machine_closes_its_alerts),
        CASE(what_a_person_resolved_is_held_until_it_clears),
        CASE(a_snooze_counts_out_and_in_again),
        CASE(a_rule_keeps_what_a_change_does_not_name),
        CASE(groups_are_a_tree_without_cycles_across_restarts),
        CASE(a_deleted_group_lets_its_machines_go_and_its_number_is_never_given_again),
        CASE(the_audit_is_one_chain_across_restarts),
        CASE(malformed_parameters_are_refused),
        CASE(what_was_not_committed_is_forgotten),
        CASE(a_disk_that_fails_and_comes_back),
        CASE(the_store_is_used_without_a_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
