/* escalations.c - who is told of an alert that nobody has taken up. */
#include "api/registry.h"

static const field policy_fields[] = {
    { "name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { "severity", FIELD_ENUM, FIELD_REQUIRED, 0, 0, "info|warning|critical", NULL, "Of the alerts it is for" },
    { "wait_minutes", FIELD_INTEGER, FIELD_REQUIRED, 1, 1440, NULL, NULL, NULL },
    { "channel_id", FIELD_UUID, FIELD_REQUIRED, 0, 0, NULL, NULL, NULL },
    { "is_active", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "Default true; in a change: as it was" },
    { 0 },
};
static const schema policy_schema = { "EscalationPolicyCreate", policy_fields };

extern const route escalations_routes[];

const route escalations_routes[] = {
    { GET, 200, WHO_VIEWER, 0, REGISTRY_WITHIN_MS, "/escalation-policies", &registry_page_schema, NULL, registry_list,
      REG_ESCALATION_LIST, "The tenant's escalation policies" },
    { POST, 201, WHO_ADMIN, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/escalation-policies", NULL, &policy_schema,
      registry_route, REG_ESCALATION_CREATE, "Add an escalation policy" },
    { GET, 200, WHO_VIEWER, 0, REGISTRY_WITHIN_MS, "/escalation-policies/{id}", NULL, NULL, registry_get,
      REG_ESCALATION_GET, "One escalation policy" },
    { PUT, 200, WHO_ADMIN, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/escalation-policies/{id}", NULL, &policy_schema,
      registry_route, REG_ESCALATION_UPDATE, "Change an escalation policy" },
    { DELETE_, 204, WHO_ADMIN, 0, REGISTRY_WITHIN_MS, "/escalation-policies/{id}", NULL, NULL, registry_route,
      REG_ESCALATION_DELETE, "Remove an escalation policy" },
    { 0 },
};
