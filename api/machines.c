/* machines.c - the machines of a tenant. */
#include "api/registry.h"
#include "proto/err.h"
#include "proto/zone.h"

#define PROTOCOLS "opc_ua|modbus_tcp|csv|json|mqtt|mtconnect"
#define READ (WHO_VIEWER | WHO_SCOPE(SCOPE_READ_MACHINES))

#define OTHER_FIELDS                                                                               \
    { "location", FIELD_STRING, FIELD_NULL, 0, 255, NULL, NULL, NULL },                            \
    { "group_id", FIELD_UUID, FIELD_NULL, 0, 0, NULL, NULL, NULL },                                \
    { "timezone", FIELD_STRING, 0, 1, 64, NULL, NULL, "IANA name; default UTC" },                  \
    { "offline_after_seconds", FIELD_INTEGER, 0, 1, 31536000, NULL, NULL, "Default 300" },         \
    { "is_active", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "False: its readings are refused" }

static const field create_fields[] = {
    { "name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { "machine_identifier", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, "Unique in the tenant" },
    { "protocol", FIELD_ENUM, FIELD_REQUIRED, 0, 0, PROTOCOLS, NULL, NULL },
    OTHER_FIELDS,
    { 0 },
};
static const schema create_schema = { "MachineCreate", create_fields };

static const field update_fields[] = {
    { "name", FIELD_STRING, 0, 1, 255, NULL, NULL, NULL },
    { "machine_identifier", FIELD_STRING, 0, 1, 255, NULL, NULL, NULL },
    { "protocol", FIELD_ENUM, 0, 0, 0, PROTOCOLS, NULL, NULL },
    OTHER_FIELDS,
    { 0 },
};
static const schema update_schema = { "MachineUpdate", update_fields };

static const field list_fields[] = {
    REGISTRY_PAGE_FIELDS,
    { "group_id", FIELD_UUID, 0, 0, 0, NULL, NULL, NULL },
    { "search", FIELD_STRING, 0, 0, 200, NULL, NULL, "In name, identifier and location" },
    { "status", FIELD_ENUM, 0, 0, 0, "offline|healthy|warning|critical", NULL, NULL },
    { "sort_by", FIELD_ENUM, 0, 0, 0, "name|machine_identifier|status|location|created_at|last_reading_at", NULL,
      "Default created_at" },
    { "sort_dir", FIELD_ENUM, 0, 0, 0, "asc|desc", NULL, "Default asc" },
    { 0 },
};
static const schema list_schema = { "MachineList", list_fields };

/* POST and PATCH.  Zones are files of this machine: the front looks, so that the registry never waits for them. */
static void
write_machine(call *c)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(call_body(c), "timezone");
    zone        *z = NULL;

    if (!cJSON_IsString(name) || strcmp(name->valuestring, "UTC") == 0 ||
        zone_open(view_str(name->valuestring), &z) == E_OK) {
        zone_close(&z);
        registry_route(c);
        return;
    }
    err_clear();
    call_fail_field(c, "body", "timezone", "Must be the IANA name of a zone that is known here", "value_error");
}

extern const route machines_routes[];

const route machines_routes[] = {
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/machines", &list_schema, NULL, registry_list, REG_MACHINE_LIST,
      "The tenant's machines" },
    { POST, 201, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/machines", NULL, &create_schema, write_machine,
      REG_MACHINE_CREATE, "Add a machine" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/machines/{id}", NULL, NULL, registry_get, REG_MACHINE_GET,
      "One machine" },
    { PATCH, 200, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/machines/{id}", NULL, &update_schema,
      write_machine, REG_MACHINE_UPDATE, "Change a machine" },
    { DELETE_, 204, WHO_OPERATOR, 0, REGISTRY_WITHIN_MS, "/machines/{id}", NULL, NULL, registry_route,
      REG_MACHINE_DELETE, "Remove a machine; its readings are kept" },
    { 0 },
};
