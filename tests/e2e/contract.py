"""The routes of the contract (its sections 1 to 4 and 7), transcribed by hand: who may, what is sent, what is refused.

A row: method, path, least role (None: open), scope that opens it to a key, status of success, the noun whose id is in
the path, members of the query, members of the body.  A member: its type, whether it must be there, a good value, and
values that are out of range.  `...` as the good value: it is left out of the valid call.
"""
from collections import namedtuple

Row = namedtuple("Row", "method path role scope status noun query body")
Member = namedtuple("Member", "type must good bad")

# What the server says when a value is of the wrong type, and such a value.
WRONG = {"string": (7, "string_type"), "email": (7, "string_type"), "time": (7, "string_type"), "uuid": (7, "string_type"),
         "enum": (7, "string_type"), "integer": ("x", "integer_type"), "boolean": ("x", "boolean_type"),
         "array": ("x", "array_type")}
ROLES = ["viewer", "operator", "admin"]
SCOPES = ["ingest", "agent", "read:machines", "read:sensors", "read:alerts", "read:fleet", "stream"]
NOT_FOUND = {"machine": "Machine not found.", "user": "User not found.", "key": "API key not found.",
             "group": "Machine group not found."}


def must(type, good, *bad):
    return Member(type, True, good, bad)


def may(type, good, *bad):
    return Member(type, False, good, bad)


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
         "order": may("enum", "desc", "up")}
MACHINE = {"location": may("string", "Hall", LONG), "group_id": may("uuid", ..., "x", "123"),
           "timezone": may("string", "UTC", "Mars/Olympus"),
           "offline_after_seconds": may("integer", 60, 0, -1, 31536001), "is_active": may("boolean", True)}

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
        {**PAGE, "group_id": may("uuid", ..., "x"), "search": may("string", "a", "x" * 201),
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
        {"name": NAME, "parent_id": may("uuid", ..., "x"), "description": may("string", "text", "x" * 1001)}),
    Row("GET", "/machine-groups/{id}", "viewer", None, 200, "group", {}, {}),
    Row("PATCH", "/machine-groups/{id}", "operator", None, 200, "group", {},
        {"name": OPTIONAL_NAME, "parent_id": may("uuid", ..., "x"), "description": may("string", "text", "x" * 1001)}),
    Row("DELETE", "/machine-groups/{id}", "operator", None, 204, "group", {}, {}),
    Row("POST", "/ingest", "nobody", "ingest", 207, None, {},
        {"readings": must("array", [{"machine_identifier": "M", "timestamp": "2026-04-04T10:30:00Z", "metric_name": "t",
                                     "value": 1, "unit": "u"}], [])}),
    Row("GET", "/machines/{id}/readings/latest", "viewer", "read:sensors", 200, "machine", {}, {}),
    Row("GET", "/machines/{id}/readings", "viewer", "read:sensors", 200, "machine",
        {**RANGE, "metric": may("string", "t", LONG)}, {}),
    Row("POST", "/readings/query", "viewer", "read:sensors", 200, None, {},
        {**RANGE, "machine_ids": may("array", [], ["x"], [7]), "group_id": may("uuid", ..., "x"),
         "metrics": may("array", ["t"], [""], [LONG], [7]), "group_by": may("enum", "metric", "unit")}),
]

# Outside of /api/v1: open, GET.
OUTSIDE = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
# Routes of the contract that have tables and tests of their own, or none yet.
ELSEWHERE = {
    ("DELETE", "/machines/{id}/readings"), ("GET", "/settings/retention"), ("PUT", "/settings/retention"),
    ("GET", "/audit"), ("POST", "/machines/import"), ("GET", "/agent/heartbeat"), ("POST", "/machines/{id}/readings"),
    ("GET", "/machines/{id}/metrics"), ("GET", "/ws/dashboard"), ("GET", "/stream"),
    ("GET", "/alert-rules"), ("POST", "/alert-rules"), ("GET", "/alert-rules/{id}"), ("PATCH", "/alert-rules/{id}"),
    ("DELETE", "/alert-rules/{id}"), ("POST", "/alert-rules/test"), ("GET", "/alerts"), ("GET", "/alerts/stats"),
    ("GET", "/alerts/{id}"), ("POST", "/alerts/{id}/acknowledge"), ("POST", "/alerts/{id}/snooze"),
    ("POST", "/alerts/{id}/resolve"), ("POST", "/alerts/bulk/acknowledge"), ("GET", "/alerts/{id}/comments"),
    ("POST", "/alerts/{id}/comments"), ("GET", "/notification-channels"), ("POST", "/notification-channels"),
    ("GET", "/notification-channels/{id}"), ("PUT", "/notification-channels/{id}"),
    ("DELETE", "/notification-channels/{id}"), ("POST", "/notification-channels/{id}/test"),
    ("GET", "/notification-channels/{id}/deliveries"), ("GET", "/escalation-policies"),
    ("POST", "/escalation-policies"), ("GET", "/escalation-policies/{id}"), ("PUT", "/escalation-policies/{id}"),
    ("DELETE", "/escalation-policies/{id}"),
}
