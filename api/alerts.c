/* alerts.c - what the rules have found. */
#include "api/registry.h"

#define READ (WHO_VIEWER | WHO_SCOPE(SCOPE_READ_ALERTS))

static const field list_fields[] = {
    REGISTRY_PAGE_FIELDS,
    { "machine_id", FIELD_UUID, 0, 0, 0, NULL, NULL, NULL },
    { "severity", FIELD_ENUM, 0, 0, 0, "info|warning|critical", NULL, NULL },
    { "is_acknowledged", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, NULL },
    { "status", FIELD_ENUM, 0, 0, 0, "open|resolved", NULL, NULL },
    { "start_date", FIELD_TIME, 0, 0, 0, NULL, NULL, "Created at or after" },
    { "end_date", FIELD_TIME, 0, 0, 0, NULL, NULL, "Created before" },
    { 0 },
};
static const schema list_schema = { "AlertList", list_fields };

extern const route alerts_routes[];

const route alerts_routes[] = {
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alerts", &list_schema, NULL, registry_list, REG_ALERT_LIST,
      "Alerts, newest first" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alerts/stats", NULL, NULL, registry_route, REG_ALERT_STATS,
      "How many are open" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alerts/{id}", NULL, NULL, registry_get, REG_ALERT_GET, "One alert" },
    { POST, 200, WHO_VIEWER, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/alerts/{id}/acknowledge", NULL, NULL,
      registry_route, REG_ALERT_ACK, "Acknowledge an alert" },
    { 0 },
};
