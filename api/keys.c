/* keys.c - API keys of a tenant.  The key itself is in one answer, once. */
#include "api/registry.h"

#include "proto/instant.h"

enum { SCOPES_MAX = 32 };

static const field create_fields[] = {
    { "name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { "expires_at", FIELD_TIME, FIELD_NULL, 0, 0, NULL, NULL, "In the future; null: never" },
    { "scopes", FIELD_ANY, FIELD_NULL, 0, 0, NULL, NULL,
      "edge_agent, read_only, or an array of scopes and these; default edge_agent" },
    { 0 },
};
static const schema create_schema = { "ApiKeyCreate", create_fields };

static bool
is_scope(const cJSON *item)
{
    view word = view_str(cJSON_IsString(item) ? item->valuestring : "");

    return view_eq(word, VIEW_LIT("edge_agent")) || view_eq(word, VIEW_LIT("read_only")) ||
           word_index(scope_words, word) >= 0;
}

static bool
are_scopes(const cJSON *scopes)
{
    const cJSON *item;

    if (scopes == NULL || cJSON_IsNull(scopes))
        return true;
    if (!cJSON_IsArray(scopes))
        return is_scope(scopes);
    cJSON_ArrayForEach(item, scopes)
    {
        if (!is_scope(item))
            return false;
    }
    return cJSON_GetArraySize(scopes) >= 1 && cJSON_GetArraySize(scopes) <= SCOPES_MAX;
}

static void
post_key(call *c)
{
    const cJSON *scopes = cJSON_GetObjectItemCaseSensitive(call_body(c), "scopes");
    const cJSON *expires = cJSON_GetObjectItemCaseSensitive(call_body(c), "expires_at");
    int64_t      expires_us = INT64_MAX;

    if (!are_scopes(scopes))
        call_fail_field(c, "body", "scopes",
                        "Must be ingest, agent, read:machines, read:sensors, read:alerts, read:fleet, stream, "
                        "edge_agent, read_only or an array of them",
                        "value_error");
    else if (cJSON_IsString(expires) && instant_parse(view_str(expires->valuestring), &expires_us) &&
             expires_us <= ak_wall_us(call_ak(c)))
        call_fail_field(c, "body", "expires_at", "Must be in the future", "value_error");
    else
        registry_route(c);
}

extern const route keys_routes[];

const route keys_routes[] = {
    { GET, 200, WHO_VIEWER, 0, REGISTRY_WITHIN_MS, "/settings/api-keys", &registry_page_schema, NULL, registry_list,
      REG_KEY_LIST, "The tenant's API keys" },
    { POST, 201, WHO_ADMIN, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/settings/api-keys", NULL, &create_schema, post_key,
      REG_KEY_CREATE, "Make an API key; it is shown once" },
    { DELETE_, 204, WHO_ADMIN, 0, REGISTRY_WITHIN_MS, "/settings/api-keys/{id}", NULL, NULL, registry_route,
      REG_KEY_REVOKE, "Revoke an API key" },
    { 0 },
};
