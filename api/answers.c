/* answers.c - the bodies of answers, as tables for the API description (describe.h).  They are not checked at run time:
 * tests/e2e/test_openapi.py holds real answers against them. */
#include "api/describe.h"

#define SEVERITIES "info|warning|critical"
#define PROTOCOLS  "opc_ua|modbus_tcp|csv|json|mqtt|mtconnect"
#define STATUSES   "offline|healthy|warning|critical"
#define MUST       FIELD_REQUIRED
#define MAYBE_NULL (FIELD_REQUIRED | FIELD_NULL)

/* A member without bounds, and one that holds others. */
#define IS(name, type, brief)          { name, FIELD_##type, MUST, 0, 0, NULL, NULL, brief }
#define IS_OR_NULL(name, type, brief)  { name, FIELD_##type, MAYBE_NULL, 0, 0, NULL, NULL, brief }
#define ONE_OF(name, words)            { name, FIELD_ENUM, MUST, 0, 0, words, NULL, NULL }
#define LIST(name, item)               { name, FIELD_ARRAY, MUST, 0, 0, NULL, item, NULL }

/* "ListOf<Noun>": a page. */
#define PAGE_OF(noun, title)                                                                       \
    static const field noun##_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, noun##_fields, NULL }, { 0 } }; \
    static const field noun##_page[] = {                                                           \
        LIST("items", noun##_item),                                                                \
        IS("total", INTEGER, "Of all pages"),                                                      \
        IS("page", INTEGER, NULL),                                                                 \
        IS("page_size", INTEGER, NULL),                                                            \
        IS("total_pages", INTEGER, NULL),                                                          \
        { 0 },                                                                                     \
    };                                                                                             \
    static const schema noun##_schema = { title, noun##_fields };                                  \
    static const schema noun##_list = { "ListOf" title, noun##_page }

static const field token_fields[] = {
    IS("access_token", STRING, "A JWT"), IS("token_type", STRING, "bearer"), IS("mfa_required", BOOLEAN, NULL), { 0 },
};
static const schema token_schema = { "Token", token_fields };

static const field me_fields[] = {
    IS("id", UUID, NULL),
    IS("email", STRING, NULL),
    IS("full_name", STRING, NULL),
    IS("tenant_id", UUID, NULL),
    ONE_OF("role", "viewer|operator|admin"),
    IS("is_active", BOOLEAN, NULL),
    IS("mfa_enabled", BOOLEAN, NULL),
    IS("onboarding_completed", BOOLEAN, NULL),
    IS("subscription_status", STRING, NULL),
    ONE_OF("subscription_tier", "free|pro|enterprise"),
    { 0 },
};
static const schema me_schema = { "Me", me_fields };

static const field user_fields[] = {
    IS("id", UUID, NULL),
    IS("email", STRING, NULL),
    IS("full_name", STRING, NULL),
    ONE_OF("role", "viewer|operator|admin"),
    IS("is_active", BOOLEAN, NULL),
    IS("mfa_enabled", BOOLEAN, NULL),
    IS("tenant_id", UUID, NULL),
    IS("created_at", TIME, NULL),
    IS("updated_at", TIME, NULL),
    IS_OR_NULL("last_login_at", TIME, NULL),
    { 0 },
};
PAGE_OF(user, "User");

static const field text_item[] = { { "item", FIELD_STRING, 0, 0, 0, NULL, NULL, NULL }, { 0 } };

#define KEY_FIELDS                                                                                 \
    IS("id", UUID, NULL), IS("name", STRING, NULL), IS("key_prefix", STRING, "Its first 8 characters"), \
        LIST("scopes", text_item), IS("tenant_id", UUID, NULL), IS_OR_NULL("expires_at", TIME, "null: never"), \
        IS("created_at", TIME, NULL)

static const field key_fields[] = { KEY_FIELDS, IS_OR_NULL("last_used_at", TIME, NULL), { 0 } };
PAGE_OF(key, "ApiKey");

static const field new_key_fields[] = {
    KEY_FIELDS, IS("plaintext_key", STRING, "Shown this once"), IS("key", STRING, "The same"), { 0 },
};
static const schema new_key_schema = { "ApiKeyMade", new_key_fields };

static const field machine_fields[] = {
    IS("id", UUID, NULL),
    IS("name", STRING, NULL),
    IS("machine_identifier", STRING, NULL),
    ONE_OF("protocol", PROTOCOLS),
    IS_OR_NULL("location", STRING, NULL),
    ONE_OF("status", STATUSES),
    IS("tenant_id", UUID, NULL),
    IS("is_active", BOOLEAN, NULL),
    IS("created_at", TIME, NULL),
    IS("updated_at", TIME, NULL),
    IS_OR_NULL("group_id", UUID, NULL),
    IS("timezone", STRING, NULL),
    IS("offline_after_seconds", INTEGER, NULL),
    IS_OR_NULL("last_reading_at", TIME, NULL),
    { 0 },
};
PAGE_OF(machine, "Machine");

static const field group_fields[] = {
    IS("id", UUID, NULL),
    IS("tenant_id", UUID, NULL),
    IS("name", STRING, NULL),
    IS_OR_NULL("parent_id", UUID, "null: at the top"),
    IS_OR_NULL("description", STRING, NULL),
    IS("machine_count", INTEGER, "In the group itself"),
    IS("created_at", TIME, NULL),
    IS("updated_at", TIME, NULL),
    { 0 },
};
PAGE_OF(group, "MachineGroup");

static const field fleet_machine_fields[] = {
    IS("id", UUID, NULL),
    IS("name", STRING, NULL),
    ONE_OF("status", STATUSES),
    IS("alert_count", INTEGER, "Open ones"),
    IS_OR_NULL("last_reading_at", TIME, NULL),
    IS("machine_identifier", STRING, NULL),
    { 0 },
};
static const schema fleet_machine_schema = { "FleetMachine", fleet_machine_fields };
static const field  fleet_machine_item[] = {
    { "item", FIELD_OBJECT, 0, 0, 0, NULL, fleet_machine_fields, NULL }, { 0 },
};
static const field status_count_fields[] = {
    IS("offline", INTEGER, NULL), IS("healthy", INTEGER, NULL), IS("warning", INTEGER, NULL), IS("critical", INTEGER, NULL), { 0 },
};
static const field fleet_fields[] = {
    LIST("machines", fleet_machine_item),
    IS("total_machines", INTEGER, NULL),
    { "status_counts", FIELD_OBJECT, MUST, 0, 0, NULL, status_count_fields, "Machines of each status" },
    { 0 },
};
static const schema fleet_schema = { "FleetStatus", fleet_fields };

static const field condition_fields[] = {
    IS("metric_name", STRING, NULL), ONE_OF("operator", "gt|gte|lt|lte|eq|ne"), IS("threshold", NUMBER, NULL), { 0 },
};
static const field condition_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, condition_fields, NULL }, { 0 } };
static const field uuid_item[] = { { "item", FIELD_UUID, 0, 0, 0, NULL, NULL, NULL }, { 0 } };

static const field rule_fields[] = {
    IS("id", UUID, NULL),
    IS("name", STRING, NULL),
    IS_OR_NULL("machine_id", UUID, "null: every machine"),
    IS_OR_NULL("group_id", UUID, NULL),
    { "channel_ids", FIELD_ARRAY, MAYBE_NULL, 0, 0, NULL, uuid_item, "null: all active channels" },
    ONE_OF("type", "threshold|rate_of_change|no_data|anomaly"),
    { "conditions", FIELD_ARRAY, MAYBE_NULL, 0, 8, NULL, condition_item, "null: not a composite rule" },
    ONE_OF("logic", "AND|OR"),
    IS("window_seconds", INTEGER, "rate_of_change"),
    IS("sensitivity", NUMBER, "anomaly"),
    ONE_OF("method", "zscore|ewma"),
    IS("metric_name", STRING, NULL),
    ONE_OF("operator", "gt|gte|lt|lte|eq|ne"),
    IS("threshold", NUMBER, NULL),
    ONE_OF("severity", SEVERITIES),
    IS("duration_seconds", INTEGER, NULL),
    IS_OR_NULL("clear_threshold", NUMBER, NULL),
    IS("cooldown_seconds", INTEGER, NULL),
    IS_OR_NULL("message", STRING, NULL),
    IS("is_active", BOOLEAN, NULL),
    IS("created_at", TIME, NULL),
    IS("updated_at", TIME, NULL),
    { 0 },
};
PAGE_OF(rule, "AlertRule");

static const field tried_alert_fields[] = {
    IS("opened_at", TIME, NULL),
    IS_OR_NULL("resolved_at", TIME, "null: it is open when the range ends"),
    IS("seconds", NUMBER, "Within the range"),
    IS("metric_value", NUMBER, "That opened it"),
    IS("peak_value", NUMBER, NULL),
    { 0 },
};
static const field tried_alert_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, tried_alert_fields, NULL }, { 0 } };
static const field tried_machine_fields[] = {
    IS("machine_id", UUID, NULL),
    IS("machine_name", STRING, NULL),
    IS("reading_count", INTEGER, "That were judged"),
    IS("fired_count", INTEGER, NULL),
    IS("fired_seconds", NUMBER, "All its alerts together"),
    IS("flaps", INTEGER, "Raised again within 600 s of the closing before"),
    IS("judged_until", TIME, "The range's end, if the answer is complete"),
    LIST("alerts", tried_alert_item),
    IS("truncated", BOOLEAN, "The alerts are the first 100 of them"),
    { 0 },
};
static const field tried_machine_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, tried_machine_fields, NULL }, { 0 } };
static const field tried_fields[] = {
    IS("start", TIME, NULL),
    IS("end", TIME, NULL),
    LIST("machines", tried_machine_item),
    IS("machine_count", INTEGER, NULL),
    IS("reading_count", INTEGER, NULL),
    IS("fired_count", INTEGER, NULL),
    IS("fired_seconds", NUMBER, NULL),
    IS("flaps", INTEGER, NULL),
    IS("complete", BOOLEAN, "false: the time was over before everything was judged"),
    { 0 },
};
static const schema tried_schema = { "AlertRuleTried", tried_fields };

static const field alert_fields[] = {
    IS("id", UUID, NULL),
    IS("machine_id", UUID, NULL),
    IS("machine_name", STRING, NULL),
    IS("rule_id", UUID, NULL),
    ONE_OF("severity", SEVERITIES),
    IS("message", STRING, NULL),
    IS("metric_name", STRING, NULL),
    IS("metric_value", NUMBER, NULL),
    IS("threshold_value", NUMBER, NULL),
    IS("peak_value", NUMBER, NULL),
    IS("is_acknowledged", BOOLEAN, NULL),
    IS_OR_NULL("acknowledged_by", UUID, NULL),
    IS_OR_NULL("acknowledged_at", TIME, NULL),
    IS_OR_NULL("snoozed_until", TIME, NULL),
    IS("created_at", TIME, NULL),
    IS_OR_NULL("resolved_at", TIME, NULL),
    IS_OR_NULL("resolved_by", UUID, "null: it is open, or closed by itself"),
    { 0 },
};
PAGE_OF(alert, "Alert");

static const field config_fields[] = {
    { "url", FIELD_STRING, 0, 0, 0, NULL, NULL, "webhook" },
    { "headers", FIELD_OBJECT, 0, 0, 0, NULL, NULL, "webhook" },
    { "webhook_url", FIELD_STRING, 0, 0, 0, NULL, NULL, "slack, teams" },
    { "email", FIELD_STRING, 0, 0, 0, NULL, NULL, "email" },
    { 0 },
};
#define CHANNEL_FIELDS                                                                             \
    IS("id", UUID, NULL), IS("tenant_id", UUID, NULL), IS("name", STRING, NULL),                   \
        ONE_OF("type", "webhook|slack|teams|email"),                                               \
        { "config", FIELD_OBJECT, MUST, 0, 0, NULL, config_fields, "By type" },                    \
        IS("is_active", BOOLEAN, NULL), IS("created_at", TIME, NULL), IS("updated_at", TIME, NULL)

static const field channel_fields[] = { CHANNEL_FIELDS, { 0 } };
PAGE_OF(channel, "NotificationChannel");
static const field new_channel_fields[] = {
    CHANNEL_FIELDS, { "signing_secret", FIELD_STRING, 0, 0, 0, NULL, NULL, "When it was made just now" }, { 0 },
};
static const schema new_channel_schema = { "NotificationChannelMade", new_channel_fields };

static const field tested_fields[] = {
    IS("success", BOOLEAN, NULL), { "detail", FIELD_STRING, 0, 0, 0, NULL, NULL, "Why not" }, { 0 },
};
static const schema tested_schema = { "NotificationTest", tested_fields };

static const field delivery_fields[] = {
    IS("id", UUID, "X-Haltless-Delivery"),
    ONE_OF("event", "alert.triggered|alert.resolved|alert.escalated|alert.storm"),
    IS_OR_NULL("alert_id", UUID, NULL),
    ONE_OF("status", "pending|delivered|dead"),
    IS("attempts", INTEGER, NULL),
    IS_OR_NULL("response_status", INTEGER, "Of the last try"),
    IS_OR_NULL("error", STRING, "Of the last try"),
    IS("created_at", TIME, NULL),
    IS_OR_NULL("next_attempt_at", TIME, "While pending"),
    IS_OR_NULL("ended_at", TIME, NULL),
    { 0 },
};
PAGE_OF(delivery, "Delivery");

static const field policy_fields[] = {
    IS("id", UUID, NULL),
    IS("tenant_id", UUID, NULL),
    IS("name", STRING, NULL),
    ONE_OF("severity", SEVERITIES),
    IS("wait_minutes", INTEGER, NULL),
    IS("channel_id", UUID, NULL),
    IS("is_active", BOOLEAN, NULL),
    IS("created_at", TIME, NULL),
    IS("updated_at", TIME, NULL),
    { 0 },
};
PAGE_OF(policy, "EscalationPolicy");

static const field acknowledged_fields[] = {
    IS("acknowledged_count", INTEGER, NULL), IS("already_acknowledged_count", INTEGER, NULL), { 0 },
};
static const schema acknowledged_schema = { "Acknowledged", acknowledged_fields };

static const field comment_fields[] = {
    IS("id", UUID, NULL),          IS_OR_NULL("user_id", UUID, NULL), IS("user_name", STRING, "As it was then"),
    IS("body", STRING, NULL),      IS("created_at", TIME, NULL),      { 0 },
};
PAGE_OF(comment, "AlertComment");

static const field stats_fields[] = {
    IS("total_active", INTEGER, NULL), IS("critical_count", INTEGER, NULL),       IS("warning_count", INTEGER, NULL),
    IS("info_count", INTEGER, NULL),   IS("unacknowledged_count", INTEGER, NULL), { 0 },
};
static const schema stats_schema = { "AlertStats", stats_fields };

static const field latest_item_fields[] = {
    IS("metric_name", STRING, NULL), IS("value", NUMBER, NULL), IS("unit", STRING, NULL), IS("timestamp", TIME, NULL),
    { 0 },
};
static const schema latest_item_schema = { "LatestReading", latest_item_fields };
static const field  latest_item[] = {
    { "item", FIELD_OBJECT, 0, 0, 0, NULL, latest_item_fields, NULL }, { 0 },
};
static const field latest_fields[] = { IS("machine_id", UUID, NULL), LIST("readings", latest_item), { 0 } };
static const schema latest_schema = { "LatestReadings", latest_fields };

static const field point_fields[] = {
    IS("timestamp", TIME, "Of a bucket: its start"),
    IS_OR_NULL("value", NUMBER, "null: an empty bucket that was filled so"),
    { "count", FIELD_INTEGER, FIELD_NULL, 0, 0, NULL, NULL, "Of buckets" },
    { "min", FIELD_NUMBER, FIELD_NULL, 0, 0, NULL, NULL, "Of buckets" },
    { "max", FIELD_NUMBER, FIELD_NULL, 0, 0, NULL, NULL, "Of buckets" },
    { 0 },
};
static const schema point_schema = { "Point", point_fields };
static const field  point_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, point_fields, NULL }, { 0 } };

#define SERIES_FIELDS(must)                                                                        \
    { "machine_id", FIELD_UUID, must | FIELD_NULL, 0, 0, NULL, NULL, "null: folded over machines" }, \
    { "metric_name", FIELD_STRING, must | FIELD_NULL, 0, 0, NULL, NULL, "null: folded over metrics" }, \
    { "unit", FIELD_STRING, must | FIELD_NULL, 0, 0, NULL, NULL, NULL },                           \
    { "interval", FIELD_STRING, must | FIELD_NULL, 0, 0, NULL, NULL, "null: raw" },                \
    { "aggregation", FIELD_STRING, must | FIELD_NULL, 0, 0, NULL, NULL, "null: raw" },             \
    { "timezone", FIELD_STRING, must, 0, 0, NULL, NULL, NULL },                                    \
    { "start", FIELD_TIME, must, 0, 0, NULL, NULL, NULL },                                         \
    { "end", FIELD_TIME, must, 0, 0, NULL, NULL, NULL },                                           \
    { "data", FIELD_ARRAY, must, 0, 0, NULL, point_item, NULL },                                   \
    { "next_cursor", FIELD_STRING, must | FIELD_NULL, 0, 0, NULL, NULL, "null: nothing is left" }

static const field series_fields[] = { SERIES_FIELDS(MUST), { 0 } };
static const schema series_schema = { "Series", series_fields };
static const field series_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, series_fields, NULL }, { 0 } };
static const field series_list_fields[] = { LIST("series", series_item), { 0 } };
static const schema series_list_schema = { "ListOfSeries", series_list_fields };

/* One metric asked for: a series.  Several or none named: `series` and the machine. */
static const field readings_fields[] = {
    SERIES_FIELDS(0),
    { "series", FIELD_ARRAY, 0, 0, 0, NULL, series_item, "Unless one metric was asked for: instead of the other members" },
    { 0 },
};
static const schema readings_schema = { "Readings", readings_fields };

static const field reading_fields[] = {
    { "machine_identifier", FIELD_STRING, MUST, 1, 255, NULL, NULL, "Of a live machine" },
    { "timestamp", FIELD_TIME, MUST, 0, 0, NULL, NULL, "At most 5 minutes ahead, at most 3650 days old" },
    { "metric_name", FIELD_STRING, MUST, 1, 255, NULL, NULL, NULL },
    { "value", FIELD_NUMBER, MUST, 0, 0, NULL, NULL, "Finite" },
    { "unit", FIELD_STRING, MUST, 0, 64, NULL, NULL, NULL },
    { "raw_tag", FIELD_STRING, 0, 0, 255, NULL, NULL, "Checked, not stored" },
    { 0 },
};
static const schema reading_schema = { "Reading", reading_fields };
static const field  reading_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, reading_fields, NULL }, { 0 } };
static const field  ingest_fields[] = {
    { "readings", FIELD_ARRAY, MUST, 1, 0, NULL, reading_item, "At most the server's limit, 1000 by default" }, { 0 },
};
static const schema ingest_schema = { "Ingest", ingest_fields };

static const field refused_fields[] = {
    IS("index", INTEGER, "From 0"), IS_OR_NULL("machine_identifier", STRING, NULL), IS("error", STRING, NULL), { 0 },
};
static const schema refused_schema = { "IngestError", refused_fields };
static const field  refused_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, refused_fields, NULL }, { 0 } };
static const field  ingested_fields[] = {
    IS("accepted_count", INTEGER, NULL), IS("rejected_count", INTEGER, NULL), LIST("errors", refused_item), { 0 },
};
static const schema ingested_schema = { "Ingested", ingested_fields };

static const field kept_fields[] = {
    IS("metric_pattern", STRING, NULL),
    IS_OR_NULL("raw_days", INTEGER, "null: for ever"),
    IS_OR_NULL("rollup_days", INTEGER, "null: for ever"),
    { 0 },
};
static const field kept_item[] = { { "item", FIELD_OBJECT, 0, 0, 0, NULL, kept_fields, NULL }, { 0 } };
static const field over_fields[] = {
    IS("readings", INTEGER, "That are over"),
    IS("rollup_readings", INTEGER, "Whose hours are over too"),
    IS("complete", BOOLEAN, "false: there are more than were looked at"),
    { 0 },
};
static const field retained_fields[] = {
    LIST("policies", kept_item),
    { "preview", FIELD_OBJECT, MAYBE_NULL, 0, 0, NULL, over_fields, "Of a PUT" },
    { 0 },
};
static const schema retained_schema = { "RetentionInForce", retained_fields };

static const field health_fields[] = { IS("status", STRING, NULL), { 0 } };
static const schema health_schema = { "Health", health_fields };

const schema *const described_objects[] = {
    &user_schema,  &key_schema,         &machine_schema, &fleet_machine_schema, &rule_schema,
    &alert_schema, &latest_item_schema, &reading_schema, &refused_schema,       &series_schema,
    &point_schema, &group_schema, &comment_schema, &channel_schema, &delivery_schema, &policy_schema, NULL,
};

/* clang-format off */
const description descriptions[] = {
    { POST,    "/auth/register",                &token_schema,    NULL, NULL },
    { POST,    "/auth/login",                   &token_schema,    NULL, NULL },
    { POST,    "/auth/refresh",                 &token_schema,    NULL, NULL },
    { GET,     "/auth/me",                      &me_schema,       NULL, NULL },
    { PATCH,   "/settings/profile",             &me_schema,       NULL, NULL },
    { POST,    "/settings/change-password",     &token_schema,    NULL, NULL },
    { GET,     "/users",                        &user_list,       NULL, NULL },
    { POST,    "/users",                        &user_schema,     NULL, NULL },
    { GET,     "/users/{id}",                   &user_schema,     NULL, NULL },
    { PATCH,   "/users/{id}",                   &user_schema,     NULL, NULL },
    { GET,     "/settings/api-keys",            &key_list,        NULL, NULL },
    { POST,    "/settings/api-keys",            &new_key_schema,  NULL, NULL },
    { GET,     "/machines",                     &machine_list,    NULL, NULL },
    { POST,    "/machines",                     &machine_schema,  NULL, NULL },
    { GET,     "/machines/{id}",                &machine_schema,  NULL, NULL },
    { PATCH,   "/machines/{id}",                &machine_schema,  NULL, NULL },
    { GET,     "/machine-groups",               &group_list,      NULL, NULL },
    { POST,    "/machine-groups",               &group_schema,    NULL, NULL },
    { GET,     "/machine-groups/{id}",          &group_schema,    NULL, NULL },
    { PATCH,   "/machine-groups/{id}",          &group_schema,    NULL, NULL },
    { GET,     "/fleet/status",                 &fleet_schema,    NULL, NULL },
    { GET,     "/machines/{id}/readings/latest", &latest_schema,  NULL, NULL },
    { GET,     "/machines/{id}/readings",       &readings_schema, NULL, NULL },
    { POST,    "/readings/query",               &series_list_schema, NULL, NULL },
    { GET,     "/alert-rules",                  &rule_list,       NULL, NULL },
    { POST,    "/alert-rules",                  &rule_schema,     NULL, NULL },
    { GET,     "/alert-rules/{id}",             &rule_schema,     NULL, NULL },
    { PATCH,   "/alert-rules/{id}",             &rule_schema,     NULL, NULL },
    { POST,    "/alert-rules/test",             &tried_schema,    NULL, NULL },
    { GET,     "/alerts",                       &alert_list,      NULL, NULL },
    { GET,     "/alerts/stats",                 &stats_schema,    NULL, NULL },
    { GET,     "/alerts/{id}",                  &alert_schema,    NULL, NULL },
    { GET,     "/notification-channels",        &channel_list,    NULL, NULL },
    { POST,    "/notification-channels",        &new_channel_schema, NULL, NULL },
    { GET,     "/notification-channels/{id}",   &channel_schema,  NULL, NULL },
    { PUT,     "/notification-channels/{id}",   &new_channel_schema, NULL, NULL },
    { POST,    "/notification-channels/{id}/test", &tested_schema, NULL, NULL },
    { GET,     "/notification-channels/{id}/deliveries", &delivery_list, NULL, NULL },
    { GET,     "/escalation-policies",          &policy_list,     NULL, NULL },
    { POST,    "/escalation-policies",          &policy_schema,   NULL, NULL },
    { GET,     "/escalation-policies/{id}",     &policy_schema,   NULL, NULL },
    { PUT,     "/escalation-policies/{id}",     &policy_schema,   NULL, NULL },
    { POST,    "/alerts/{id}/acknowledge",      &alert_schema,    NULL, NULL },
    { POST,    "/alerts/bulk/acknowledge",      &acknowledged_schema, NULL, NULL },
    { POST,    "/alerts/{id}/snooze",           &alert_schema,    NULL, NULL },
    { POST,    "/alerts/{id}/resolve",          &alert_schema,    NULL, NULL },
    { GET,     "/alerts/{id}/comments",         &comment_list,    NULL, NULL },
    { POST,    "/alerts/{id}/comments",         &comment_schema,  NULL, NULL },
    { POST,    "/ingest",                       &ingested_schema, &ingest_schema, "application/json|application/x-ndjson|application/msgpack" },
    { GET,     "/settings/retention",           &retained_schema, NULL, NULL },
    { PUT,     "/settings/retention",           &retained_schema, NULL, NULL },
    { GET,     "!/healthz",                     &health_schema,   NULL, NULL },
    { 0 },
};
/* clang-format on */
