/* groups.c - groups of machines. */
#include "api/registry.h"

#define OTHER_FIELDS                                                                               \
    { "parent_id", FIELD_UUID, FIELD_NULL, 0, 0, NULL, NULL, "The group it is in; null: none" },   \
    {                                                                                              \
        "description", FIELD_STRING, FIELD_NULL, 0, 1000, NULL, NULL, NULL                         \
    }

static const field create_fields[] = {
    { "name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    OTHER_FIELDS,
    { 0 },
};
static const schema create_schema = { "MachineGroupCreate", create_fields };

static const field update_fields[] = {
    { "name", FIELD_STRING, 0, 1, 255, NULL, NULL, NULL },
    OTHER_FIELDS,
    { 0 },
};
static const schema update_schema = { "MachineGroupUpdate", update_fields };

extern const route groups_routes[];

const route groups_routes[] = {
    { GET, 200, WHO_VIEWER, 0, REGISTRY_WITHIN_MS, "/machine-groups", &registry_page_schema, NULL,
      registry_list, REG_GROUP_LIST, "The tenant's machine groups" },
    { POST, 201, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/machine-groups", NULL,
      &create_schema, registry_route, REG_GROUP_CREATE, "Add a machine group" },
    { GET, 200, WHO_VIEWER, 0, REGISTRY_WITHIN_MS, "/machine-groups/{id}", NULL, NULL, registry_get,
      REG_GROUP_GET, "One machine group" },
    { PATCH, 200, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/machine-groups/{id}", NULL,
      &update_schema, registry_route, REG_GROUP_UPDATE,
      "Change a machine group; no group is below itself" },
    { DELETE_, 204, WHO_OPERATOR, 0, REGISTRY_WITHIN_MS, "/machine-groups/{id}", NULL, NULL,
      registry_route, REG_GROUP_DELETE,
      "Remove a machine group with no group below it; its machines are in none then" },
    { 0 },
};
