/* users.c - the users of a tenant, for its admins. */
#include "api/password.h"
#include "api/registry.h"

enum { SLOW_MS = 10000 };

#define ROLES "viewer|operator|admin"

static const field create_fields[] = {
    { "email", FIELD_EMAIL, FIELD_REQUIRED, 0, 0, NULL, NULL, NULL },
    { "full_name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { "password", FIELD_STRING, FIELD_REQUIRED, 8, 1024, NULL, NULL, "With a letter and a digit" },
    { "role", FIELD_ENUM, 0, 0, 0, ROLES, NULL, "Default viewer" },
    { "is_active", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "Default true" },
    { 0 },
};
static const schema create_schema = { "UserCreate", create_fields };

static const field update_fields[] = {
    { "email", FIELD_EMAIL, 0, 0, 0, NULL, NULL, NULL },
    { "full_name", FIELD_STRING, 0, 1, 255, NULL, NULL, NULL },
    { "password", FIELD_STRING, 0, 8, 1024, NULL, NULL, "Ends every session of the user" },
    { "role", FIELD_ENUM, 0, 0, 0, ROLES, NULL, NULL },
    { "is_active", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, NULL },
    { 0 },
};
static const schema update_schema = { "UserUpdate", update_fields };

static void
hashed(call *c, const ak_msg *reply)
{
    view hash = password_hashed(c, reply);
    pack p;

    if (hash.len == 0)
        return;
    pack_init(&p);
    registry_params(c, &p, 1);
    pack_name_str(&p, "password_hash", hash);
    call_registry(c, call_route(c)->op, pack_view(&p), registry_answer);
    pack_fini(&p);
}

/* POST and PATCH: with a password, its hash goes along. */
static void
write_user(call *c)
{
    const cJSON *password = cJSON_GetObjectItemCaseSensitive(call_body(c), "password");

    if (password == NULL)
        registry_route(c);
    else if (password_is_good(c, "password", password->valuestring))
        password_hash_ask(c, password->valuestring, hashed);
}

extern const route users_routes[];

const route users_routes[] = {
    { GET, 200, WHO_ADMIN, 0, REGISTRY_WITHIN_MS, "/users", &registry_page_schema, NULL, registry_list, REG_USER_LIST,
      "The tenant's users" },
    { POST, 201, WHO_ADMIN, REGISTRY_BODY_MAX, SLOW_MS, "/users", NULL, &create_schema, write_user, REG_USER_CREATE,
      "Add a user" },
    { GET, 200, WHO_ADMIN, 0, REGISTRY_WITHIN_MS, "/users/{id}", NULL, NULL, registry_get, REG_USER_GET, "One user" },
    { PATCH, 200, WHO_ADMIN, REGISTRY_BODY_MAX, SLOW_MS, "/users/{id}", NULL, &update_schema, write_user,
      REG_USER_UPDATE, "Change a user" },
    { DELETE_, 204, WHO_ADMIN, 0, REGISTRY_WITHIN_MS, "/users/{id}", NULL, NULL, registry_route, REG_USER_DELETE,
      "Remove a user" },
    { 0 },
};
