"""The routes of the contract (its sections 1 to 5 and 7), transcribed by hand: who may, what is sent, what is refused.

A row: method, path, least role (None: open), scope that opens it to a key, status of success, the noun whose id is in
the path, members of the query, members of the body.  A member: its type, whether it must be there (BY_TYPE: unless the rule is of
a kind that has no use for it, which no schema says), a good value, values that are out of range, and the noun that it names.
`...` as the good value: it is left out of the valid call.
"""
from collections import namedtuple

Row = namedtuple("Row", "method path role scope status noun query body")
Member = namedtuple("Member", "type must good bad noun", defaults=(None,))
BY_TYPE = "by type"

# What the server says when a value is of the wrong type, and such a value.
WRONG = {"string": (7, "string_type"), "email": (7, "string_type"), "time": (7, "string_type"), "uuid": (7, "string_type"),
         "enum": (7, "string_type"), "integer": ("x", "integer_type"), "boolean": ("x", "boolean_type"),
         "array": ("x", "array_type"), "object": ("x", "object_type"), "number": ("x", "number_type")}
ROLES = ["viewer", "operator", "admin"]
SCOPES = ["ingest", "agent", "read:machines", "read:sensors", "read:alerts", "read:fleet", "stream"]
NOT_FOUND = {"machine": "Machine not found.", "user": "User not found.", "key": "API key not found.",
             "group": "Machine group not found.", "rule": "Alert rule not found.", "alert": "Alert not found.",
             "channel": "Notification channel not found.", "policy": "Escalation policy not found."}


def must(type, good, *bad):
    return Member(type, True, good, bad)


def may(type, good, *bad):
    return Member(type, False, good, bad)


def names(noun, *, must=False):
    """A member that is the id of a thing."""
    return Member("uuid", must, "{%s}" % noun if must else ..., ("x", "123", ""), noun)


def names_many(noun, good, *bad, must=False):
    return Member("array", must, good, (["x"], [7], *bad), noun)


LONG = "x" * 256
PAGE = {"page": may("integer", 1, 0, -1, "1.5", "x"), "page_size": may("integer", 20, 0, 101, "x")}
EMAIL = must("email", "{email}", "no at sign", "", "a@", "@b.example", "x" * 400 + "@example.com")
PASSWORD = must("string", "long enough 1", "short1", "no digits here", "12345678", "a1" * 513)
NAME = must("string", "A name", "", LONG)
OPTIONAL_NAME = may("string", "A name", "", LONG)
PROTOCOL = ("json", "JSON", "", "opc")
RANGE = {"start": may("time", "2026-04-04T00:00:00Z", "yesterday", "2026-02-30T00:00:00Z"),
         "end": may("time", "2026-04-05T00:00:00Z", "tomorrow", "2026-04-03T00:00:00Z"),
         "interval": may("string", "5m", "5", "m", "0m", "5x", "2mo", "1y"),
         "aggregation": may("enum", "avg", "mean", "AVG", ""),
         "fill": may("enum", "null", "zero"),
         "timezone": may("string", "Europe/Berlin", "Mars/Olympus", "../UTC"),
         "limit": may("integer", 10, 0, 10001, -1),
         "cursor": may("string", ..., "x", "AAAA"),
         "order": may("enum", "desc", "up"),
         "max_gap": may("string", "2h", "2", "h", "0s", "1mo", "367d", "-1h")}
MACHINE = {"location": may("string", "Hall", LONG), "group_id": names("group"),
           "timezone": may("string", "UTC", "Mars/Olympus"),
           "offline_after_seconds": may("integer", 60, 0, -1, 31536001), "is_active": may("boolean", True)}

CONDITION = {"metric_name": "t", "operator": "gt", "threshold": 1}
RULE = {"name": OPTIONAL_NAME, "machine_id": names("machine"), "group_id": names("group"),
        "metric_name": Member("string", BY_TYPE, "t", ("", LONG)), "operator": Member("enum", BY_TYPE, "gt", ("above", "GT", "")),
        "threshold": Member("number", BY_TYPE, 80.5, ()), "severity": must("enum", "warning", "meh", ""),
        "duration_seconds": may("integer", 60, -1, 604801), "clear_threshold": may("number", 70, 81),
        "cooldown_seconds": may("integer", 0, -1, 604801),
        "conditions": may("array", ..., [7], [{}], [{**CONDITION, "operator": "above"}], [{**CONDITION, "threshold": "x"}],
                          [{**CONDITION, "metric_name": ""}], [CONDITION] * 9),
        "logic": may("enum", "OR", "and", "XOR"),
        "type": may("enum", "threshold", "forecast", ""), "window_seconds": may("integer", 30, 0, 86401),
        "sensitivity": may("number", 2.5, 0.4, 20.1), "method": may("enum", "ewma", "mad"),
        "channel_ids": names_many("channel", [], ["7e57ab1e-0000-4000-8000-000000000000"] * 51),
        "is_active": may("boolean", True), "message": may("string", "{machine} {metric} {value} {threshold} {unit}", "x" * 501)}
HOOK = {"url": "https://192.0.2.1/hook", "headers": {"X-Team": "a"}}
CHANNEL = {"name": NAME, "type": must("enum", "webhook", "sms", ""),
           "config": must("object", HOOK, {}, {"url": "ftp://example.com"}, {"url": 7}, {"webhook_url": HOOK["url"]},
                          {**HOOK, "headers": {"Host": "x"}}, {**HOOK, "headers": {"a b": "x"}}, {**HOOK, "headers": 7}),
           "is_active": may("boolean", False)}
POLICY = {"name": NAME, "severity": must("enum", "critical", "meh"), "wait_minutes": must("integer", 5, 0, -1, 1441),
          "channel_id": names("channel", must=True), "is_active": may("boolean", True)}

TABLE = [
    Row("POST", "/auth/register", None, None, 201, None, {},
        {"email": EMAIL, "password": PASSWORD, "full_name": NAME, "tenant_name": NAME}),
    Row("POST", "/auth/login", None, None, 200, None, {},
        {"email": must("email", "{mine}", "no at sign"), "password": must("string", "{password}", "", "a1" * 513)}),
    Row("POST", "/auth/refresh", None, None, 200, None, {}, {}),
    Row("POST", "/auth/logout", "viewer", None, 204, None, {}, {}),
    Row("GET", "/auth/me", "viewer", None, 200, None, {}, {}),
    Row("GET", "/settings/api-keys", "viewer", None, 200, None, PAGE, {}),
    Row("POST", "/settings/api-keys", "admin", None, 201, None, {},
        {"name": NAME, "expires_at": may("time", "2099-01-01T00:00:00Z", "soon", "2020-01-01T00:00:00Z"),
         "scopes": Member("scopes", False, ["read_only", "stream"], ("everything", ["ingest", "x"], [], [7], {"a": 1}, 7))}),
    Row("DELETE", "/settings/api-keys/{id}", "admin", None, 204, "key", {}, {}),
    Row("PATCH", "/settings/profile", "viewer", None, 200, None, {},
        {"full_name": OPTIONAL_NAME, "email": may("email", ..., "no at sign"),
         "current_password": may("string", ..., "", "a1" * 513)}),
    Row("POST", "/settings/change-password", "viewer", None, 200, None, {},
        {"current_password": must("string", "{password}", "", "a1" * 513), "new_password": PASSWORD}),
    Row("GET", "/users", "admin", None, 200, None, PAGE, {}),
    Row("POST", "/users", "admin", None, 201, None, {},
        {"email": EMAIL, "full_name": NAME, "password": PASSWORD,
         "role": may("enum", "operator", "owner", ""), "is_active": may("boolean", True)}),
    Row("GET", "/users/{id}", "admin", None, 200, "user", {}, {}),
    Row("PATCH", "/users/{id}", "admin", None, 200, "user", {},
        {"full_name": OPTIONAL_NAME, "role": may("enum", "operator", "owner"), "is_active": may("boolean", True),
         "password": may("string", "long enough 1", "short1", "no digits here")}),
    Row("DELETE", "/users/{id}", "admin", None, 204, "user", {}, {}),
    Row("GET", "/machines", "viewer", "read:machines", 200, None,
        {**PAGE, "group_id": names("group"), "search": may("string", "a", "x" * 201),
         "status": may("enum", "offline", "broken"), "sort_by": may("enum", "location", "id"),
         "sort_dir": may("enum", "desc", "down")}, {}),
    Row("POST", "/machines", "operator", None, 201, None, {},
        {"name": NAME, "machine_identifier": must("string", "{unique}", "", LONG), "protocol": must("enum", *PROTOCOL),
         **MACHINE}),
    Row("GET", "/machines/{id}", "viewer", "read:machines", 200, "machine", {}, {}),
    Row("PATCH", "/machines/{id}", "operator", None, 200, "machine", {},
        {"name": OPTIONAL_NAME, "machine_identifier": may("string", "{unique}", "", LONG),
         "protocol": may("enum", *PROTOCOL), **MACHINE}),
    Row("DELETE", "/machines/{id}", "operator", None, 204, "machine", {}, {}),
    Row("GET", "/fleet/status", "viewer", "read:fleet", 200, None, {}, {}),
    Row("GET", "/machine-groups", "viewer", None, 200, None, PAGE, {}),
    Row("POST", "/machine-groups", "operator", None, 201, None, {},
        {"name": NAME, "parent_id": names("group"), "description": may("string", "text", "x" * 1001)}),
    Row("GET", "/machine-groups/{id}", "viewer", None, 200, "group", {}, {}),
    Row("PATCH", "/machine-groups/{id}", "operator", None, 200, "group", {},
        {"name": OPTIONAL_NAME, "parent_id": names("group"), "description": may("string", "text", "x" * 1001)}),
    Row("DELETE", "/machine-groups/{id}", "operator", None, 204, "group", {}, {}),
    Row("POST", "/ingest", "nobody", "ingest", 207, None, {},
        {"readings": must("array", [{"machine_identifier": "M", "timestamp": "2026-04-04T10:30:00Z", "metric_name": "t",
                                     "value": 1, "unit": "u"}], [])}),
    Row("GET", "/machines/{id}/readings/latest", "viewer", "read:sensors", 200, "machine", {}, {}),
    Row("GET", "/machines/{id}/readings", "viewer", "read:sensors", 200, "machine",
        {**RANGE, "metric": may("string", "t", LONG)}, {}),
    Row("POST", "/readings/query", "viewer", "read:sensors", 200, None, {},
        {**RANGE, "machine_ids": names_many("machine", [], ["7e57ab1e-0000-4000-8000-000000000000"] * 1001),
         "group_id": names("group"),
         "metrics": may("array", ["t"], [""], [LONG], [7], ["t"] * 101), "group_by": may("enum", "metric", "unit")}),
    Row("DELETE", "/machines/{id}/readings", "admin", None, 204, "machine",
        {"metric": may("string", "t", LONG), "start": must("time", "2026-04-04T00:00:00Z", "yesterday"),
         "end": must("time", "2026-04-05T00:00:00Z", "tomorrow", "2026-04-03T00:00:00Z")}, {}),
    Row("GET", "/settings/retention", "admin", None, 200, None, {}, {}),
    Row("PUT", "/settings/retention", "admin", None, 200, None, {"preview": may("boolean", "true", "maybe", "2")},
        {"policies": must("array", [{"metric_pattern": "none*", "raw_days": 30, "rollup_days": None}], [7], [{}],
                          [{"metric_pattern": ""}], [{"metric_pattern": "x", "raw_days": 0}],
                          [{"metric_pattern": "x", "raw_days": 30, "rollup_days": 29}], [{"metric_pattern": "x"}] * 65)}),
    Row("GET", "/alert-rules", "viewer", "read:alerts", 200, None, PAGE, {}),
    Row("POST", "/alert-rules", "operator", None, 201, None, {}, RULE),
    Row("POST", "/alert-rules/test", "operator", None, 200, None, {},
        {**RULE, "start": may("time", "2026-04-04T00:00:00Z", "yesterday", "2099-01-01T00:00:00Z"),
         "end": may("time", "2026-04-05T00:00:00Z", "tomorrow", "2026-04-03T00:00:00Z")}),
    Row("GET", "/alert-rules/{id}", "viewer", "read:alerts", 200, "rule", {}, {}),
    Row("PATCH", "/alert-rules/{id}", "operator", None, 200, "rule", {},
        {name: m._replace(must=False) for name, m in RULE.items()}),
    Row("DELETE", "/alert-rules/{id}", "operator", None, 204, "rule", {}, {}),
    Row("GET", "/alerts", "viewer", "read:alerts", 200, None,
        {**PAGE, "machine_id": names("machine"), "severity": may("enum", "info", "meh", ""),
         "is_acknowledged": may("boolean", "false", "maybe"), "status": may("enum", "open", "closed"),
         "start_date": may("time", "2026-04-04T00:00:00Z", "yesterday"),
         "end_date": may("time", "2099-04-05T00:00:00Z", "tomorrow")}, {}),
    Row("GET", "/alerts/stats", "viewer", "read:alerts", 200, None, {}, {}),
    Row("GET", "/alerts/{id}", "viewer", "read:alerts", 200, "alert", {}, {}),
    Row("POST", "/alerts/{id}/acknowledge", "viewer", None, 200, "alert", {}, {}),
    Row("POST", "/alerts/{id}/snooze", "viewer", None, 200, "alert", {},
        {"snooze_until": must("time", "{tomorrow}", "soon", "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z")}),
    Row("POST", "/alerts/{id}/resolve", "operator", None, 200, "alert", {}, {}),
    Row("POST", "/alerts/bulk/acknowledge", "viewer", None, 200, None, {},
        {"alert_ids": names_many("alert", ["{alert}"], [], ["7e57ab1e-0000-4000-8000-000000000000"] * 1001, must=True)}),
    Row("GET", "/alerts/{id}/comments", "viewer", "read:alerts", 200, "alert", PAGE, {}),
    Row("POST", "/alerts/{id}/comments", "viewer", None, 201, "alert", {}, {"body": must("string", "seen", "", "x" * 2001)}),
    Row("GET", "/notification-channels", "viewer", None, 200, None, PAGE, {}),
    Row("POST", "/notification-channels", "operator", None, 201, None, {}, CHANNEL),
    Row("GET", "/notification-channels/{id}", "viewer", None, 200, "channel", {}, {}),
    Row("PUT", "/notification-channels/{id}", "operator", None, 200, "channel", {},
        {**CHANNEL, "rotate_secret": may("boolean", True)}),
    Row("DELETE", "/notification-channels/{id}", "operator", None, 204, "channel", {}, {}),
    Row("POST", "/notification-channels/{id}/test", "operator", None, 200, "channel", {}, {}),
    Row("GET", "/notification-channels/{id}/deliveries", "viewer", None, 200, "channel", PAGE, {}),
    Row("GET", "/escalation-policies", "viewer", None, 200, None, PAGE, {}),
    Row("POST", "/escalation-policies", "admin", None, 201, None, {}, POLICY),
    Row("GET", "/escalation-policies/{id}", "viewer", None, 200, "policy", {}, {}),
    Row("PUT", "/escalation-policies/{id}", "admin", None, 200, "policy", {}, POLICY),
    Row("DELETE", "/escalation-policies/{id}", "admin", None, 204, "policy", {}, {}),
]

# Outside of /api/v1: open, GET.
OUTSIDE = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
# The WebSocket has tests of its own.
ELSEWHERE = {("GET", "/ws/dashboard")}
# Members beyond the contract's: what a change may say besides.
EXTRA = {("PATCH", "/users/{id}"): {"email"}, ("PATCH", "/settings/profile"): {"onboarding_completed"}}
