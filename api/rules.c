/* rules.c - alert rules.  What a type of rule needs besides is the registry's to say. */
#include "api/front.h"
#include "api/registry.h"

#define READ (WHO_VIEWER | WHO_SCOPE(SCOPE_READ_ALERTS))
#define SECONDS_MAX 604800

static const field condition_fields[] = {
    { "metric_name", FIELD_STRING, FIELD_REQUIRED, 1, 255, NULL, NULL, NULL },
    { "operator", FIELD_ENUM, FIELD_REQUIRED, 0, 0, "gt|gte|lt|lte|eq|ne", NULL, NULL },
    { "threshold", FIELD_NUMBER, FIELD_REQUIRED, 0, 0, NULL, NULL, NULL },
    { 0 },
};
static const field condition_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, condition_fields, NULL }, { 0 } };
static const field channel_item[] = { { "item", FIELD_UUID, 0, 0, 0, NULL, NULL, NULL }, { 0 } };

#define OTHER_FIELDS                                                                               \
    { "type", FIELD_ENUM, 0, 0, 0, "threshold|rate_of_change|no_data|anomaly", NULL, "Default threshold" }, \
    { "window_seconds", FIELD_INTEGER, 0, 1, 86400, NULL, NULL, "rate_of_change: over so long; default 60" }, \
    { "sensitivity", FIELD_NUMBER, 0, 0.5, 20, NULL, NULL, "anomaly: standard deviations; default 3" }, \
    { "method", FIELD_ENUM, 0, 0, 0, "zscore|ewma", NULL, "anomaly: default zscore" },             \
    { "logic", FIELD_ENUM, 0, 0, 0, "AND|OR", NULL, "Of conditions; default AND" },                \
    { "machine_id", FIELD_UUID, FIELD_NULL, 0, 0, NULL, NULL, "null: every machine" },             \
    { "group_id", FIELD_UUID, FIELD_NULL, 0, 0, NULL, NULL, "Machines of that group; null: any" }, \
    { "duration_seconds", FIELD_INTEGER, 0, 0, SECONDS_MAX, NULL, NULL, "Must hold so long; 0: at once; no_data: silent so long" }, \
    { "clear_threshold", FIELD_NUMBER, FIELD_NULL, 0, 0, NULL, NULL, "Default the threshold" },    \
    { "cooldown_seconds", FIELD_INTEGER, 0, 0, SECONDS_MAX, NULL, NULL, "Silence after one closed" }, \
    { "conditions", FIELD_ARRAY, FIELD_NULL, 0, 8, NULL, condition_item,                           \
      "A composite rule: instead of metric_name, operator and threshold, which are the first's then" }, \
    { "channel_ids", FIELD_ARRAY, FIELD_NULL, 0, 50, NULL, channel_item, "Who is told; none: all active channels" }, \
    { "message", FIELD_STRING, FIELD_NULL, 0, 500, NULL, NULL,                                     \
      "With {machine}, {metric}, {value}, {threshold}, {unit}" },                                  \
    { "is_active", FIELD_BOOLEAN, 0, 0, 0, NULL, NULL, "Default true" }

#define CREATE_FIELDS                                                                              \
    { "name", FIELD_STRING, 0, 1, 255, NULL, NULL, "Default the metric's name" },                  \
    { "metric_name", FIELD_STRING, 0, 1, 255, NULL, NULL, "Unless there are conditions" },         \
    { "operator", FIELD_ENUM, 0, 0, 0, "gt|gte|lt|lte|eq|ne", NULL,                                \
      "threshold, rate_of_change: required, unless there are conditions" },                        \
    { "threshold", FIELD_NUMBER, 0, 0, 0, NULL, NULL, "As operator" },                             \
    { "severity", FIELD_ENUM, FIELD_REQUIRED, 0, 0, "info|warning|critical", NULL, NULL },         \
    OTHER_FIELDS

static const field create_fields[] = { CREATE_FIELDS, { 0 } };
static const schema create_schema = { "AlertRuleCreate", create_fields };

static const field test_fields[] = {
    CREATE_FIELDS,
    { "start", FIELD_TIME, 0, 0, 0, NULL, NULL, "First instant; default: end - 24 h" },
    { "end", FIELD_TIME, 0, 0, 0, NULL, NULL, "First instant behind; default, and at most: now" },
    { 0 },
};
static const schema test_schema = { "AlertRuleTest", test_fields };

static const field update_fields[] = {
    { "name", FIELD_STRING, 0, 1, 255, NULL, NULL, NULL },
    { "metric_name", FIELD_STRING, 0, 1, 255, NULL, NULL, NULL },
    { "operator", FIELD_ENUM, 0, 0, 0, "gt|gte|lt|lte|eq|ne", NULL, NULL },
    { "threshold", FIELD_NUMBER, 0, 0, 0, NULL, NULL, NULL },
    { "severity", FIELD_ENUM, 0, 0, 0, "info|warning|critical", NULL, NULL },
    OTHER_FIELDS,
    { 0 },
};
static const schema update_schema = { "AlertRuleUpdate", update_fields };

extern const route rules_routes[];

const route rules_routes[] = {
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alert-rules", &registry_page_schema, NULL, registry_list, REG_RULE_LIST,
      "The tenant's alert rules" },
    { POST, 201, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/alert-rules", NULL, &create_schema, registry_route,
      REG_RULE_CREATE, "Add an alert rule" },
    { GET, 200, READ, 0, REGISTRY_WITHIN_MS, "/alert-rules/{id}", NULL, NULL, registry_get, REG_RULE_GET,
      "One alert rule" },
    { PATCH, 200, WHO_OPERATOR, REGISTRY_BODY_MAX, REGISTRY_WITHIN_MS, "/alert-rules/{id}", NULL, &update_schema,
      registry_route, REG_RULE_UPDATE, "Change an alert rule" },
    { DELETE_, 204, WHO_OPERATOR, 0, REGISTRY_WITHIN_MS, "/alert-rules/{id}", NULL, NULL, registry_route,
      REG_RULE_DELETE, "Remove an alert rule; its open alerts close" },
    { POST, 200, WHO_OPERATOR, REGISTRY_BODY_MAX, RULE_TEST_MS, "/alert-rules/test", NULL, &test_schema, rule_test_start,
      REG_RULE_TEST, "What a rule would have raised over stored readings; nothing is kept of it" },
    { 0 },
};
