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

static const field id_item[] = { { "item", FIELD_UUID, 0, 0, 0, NULL, NULL, NULL }, { 0 } };
static const field many_fields[] = {
    { "alert_ids", FIELD_ARRAY, FIELD_REQUIRED, 1, 1000, NULL, id_item, NULL },
    { 0 },
};
static const schema many_schema = { "AlertIds", many_fields };

static const field snooze_fields[] = {
    { "snooze_until", FIELD_TIME, FIELD_REQUIRED | FIELD_NULL, 0, 0, NULL, NULL,
      "In the future, at most 366 days ahead; null: no longer" },
    { 0 },
};
static const schema snooze_schema = { "AlertSnooze", snooze_fields };

static const field comment_fields[] = {
    { "body", FIELD_STRING, FIELD_REQUIRED, 1, 2000, NULL, NULL, NULL },
    { 0 },
};
static const schema comment_schema = { "AlertCommentCreate", comment_fields };

enum { MANY_BODY_MAX = 64 << 10 };

extern const route alerts_routes[];

const route alerts_routes[] = {
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alerts", &list_schema, NULL, registry_list, REG_ALERT_LIST,
      "Alerts, newest first" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alerts/stats", NULL, NULL, registry_route, REG_ALERT_STATS,
      "How many are open" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alerts/{id}", NULL, NULL, registry_get, REG_ALERT_GET, "One alert" },
    { POST, 200, WHO_VIEWER, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/alerts/{id}/acknowledge", NULL, NULL,
      registry_route, REG_ALERT_ACK, "Acknowledge an alert" },
    { POST, 200, WHO_VIEWER, MANY_BODY_MAX, REGISTRY_WITHIN_MS, "/alerts/bulk/acknowledge", NULL, &many_schema,
      registry_route, REG_ALERT_ACK_MANY, "Acknowledge alerts; none of them when one is unknown" },
    { POST, 200, WHO_VIEWER, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/alerts/{id}/snooze", NULL, &snooze_schema,
      registry_route, REG_ALERT_SNOOZE, "Keep an open alert out of its machine's status for a time" },
    { POST, 200, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/alerts/{id}/resolve", NULL, NULL,
      registry_route, REG_ALERT_RESOLVE, "Close an alert; it is not raised again before its condition has cleared" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alerts/{id}/comments", &registry_page_schema, NULL, registry_list,
      REG_COMMENT_LIST, "Comments on an alert, oldest first" },
    { POST, 201, WHO_VIEWER, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/alerts/{id}/comments", NULL, &comment_schema,
      registry_route, REG_COMMENT_CREATE, "Comment on an alert" },
    { 0 },
};
