"""Every route against the table that was transcribed from the contract: each call that is right, each that is not."""
import base64
import hashlib
import hmac
import json
import time
import uuid

import pytest
import requests

from contract import ELSEWHERE, EXTRA, HOOK, NOT_FOUND, OUTSIDE, ROLES, SCOPES, TABLE, WRONG
from haltless import SLOW, Pusher, Tenant, iso, reading, wait_until

pytestmark = pytest.mark.once

KINDS = {kind for _, kind in WRONG.values()} | {"value_error", "missing"}
ROWS = [pytest.param(row, id=f"{row.method} {row.path}") for row in TABLE]


def only(test):
    return [pytest.param(row, id=f"{row.method} {row.path}") for row in TABLE if test(row)]


class World:
    """Two tenants, one user of each role, keys, and things to name."""

    def __init__(self, server):
        self.server = server
        self.tenant, self.other = Tenant(server), Tenant(server)
        self.as_role = {"admin": self.tenant, "operator": self.tenant.user("operator"), "viewer": self.tenant.user("viewer")}
        self.tenant.machine("M")
        self.keys = {scope: self.tenant.key(scopes=[s for s in SCOPES if s != scope])["key"] for scope in SCOPES}
        self.only = {scope: self.tenant.key(scopes=[scope])["key"] for scope in SCOPES}
        self.all = self.tenant.key(scopes=SCOPES)["key"]
        revoked = self.tenant.key(scopes=SCOPES)
        assert self.tenant.delete(f"/settings/api-keys/{revoked['id']}").status_code == 204
        self.revoked = revoked["key"]
        self.http = requests.Session()
        self.alarms, self.channels = {}, {}     # by tenant

    def thing(self, noun, of=None):
        """The id of a new one."""
        t = of or self.tenant
        if noun == "machine":
            return t.machine(uuid.uuid4().hex)["id"]
        if noun == "key":
            return t.key()["id"]
        if noun == "alert":
            return self.alert(t)
        path, body = {
            "group": ("/machine-groups", {"name": "G"}),
            "rule": ("/alert-rules", {"metric_name": "t", "operator": "gt", "threshold": 80, "severity": "info"}),
            "channel": ("/notification-channels", {"name": "C", "type": "webhook", "config": HOOK, "is_active": False}),
            "policy": ("/escalation-policies", {"name": "P", "severity": "info", "wait_minutes": 5,
                                                "channel_id": self.channel(t) if noun == "policy" else None}),
            "user": ("/users", {"email": f"{uuid.uuid4().hex}@example.com", "full_name": "U", "password": "correct horse 1"}),
        }[noun]
        answer = t.post(path, body)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def channel(self, t):
        if t not in self.channels:
            self.channels[t] = self.thing("channel", t)
        return self.channels[t]

    def alert(self, t):
        """On a machine of its own: one is open for each rule and machine."""
        if t not in self.alarms:
            rule = t.post("/alert-rules", {"metric_name": "alarm", "operator": "gt", "threshold": 0, "severity": "info"})
            assert rule.status_code == 201, rule.text
            self.alarms[t] = Pusher(self.server, t.key()["key"])
        machine = t.machine(uuid.uuid4().hex)
        self.alarms[t].push([reading(machine["machine_identifier"], metric="alarm", value=1)])
        (alert,) = wait_until(lambda: t.get("/alerts", params={"machine_id": machine["id"]}).json()["items"])
        return alert["id"]

    def filled(self, members, who):
        def value(v):
            if isinstance(v, list):
                return [value(item) for item in v]
            if not isinstance(v, str):
                return v
            if v in ("{alert}", "{channel}"):
                return self.thing(v[1:-1])
            return v.replace("{email}", f"{uuid.uuid4().hex}@example.com").replace("{unique}", uuid.uuid4().hex) \
                    .replace("{mine}", who.email).replace("{password}", who.password) \
                    .replace("{tomorrow}", iso(int(time.time()) + 86400))
        return {name: value(m.good) for name, m in members.items() if m.good is not ...}

    def call(self, row, headers, id=None, body=..., query=..., who=None, cookies=None):
        who = who or self.tenant
        path = row.path.replace("{id}", id or (self.thing(row.noun) if row.noun else ""))
        body = self.filled(row.body, who) if body is ... else body
        query = self.filled(row.query, who) if query is ... else query
        kw = {"json": body} if row.body and not isinstance(body, bytes) else {"data": body} if row.body else {}
        if isinstance(body, bytes):
            headers = {**headers, "Content-Type": "application/json"}
        return self.http.request(row.method, self.server.api + path, headers=headers, params=query, cookies=cookies,
                                 timeout=20 * SLOW, **kw)

    def right(self, row):
        """Headers of somebody who may, least of all that may."""
        if row.role is None:
            return {}
        if row.role == "nobody":
            return {"X-API-Key": self.only[row.scope]}
        return self.as_role[row.role].headers()


@pytest.fixture(scope="module")
def world(server):
    return World(server)


def said(answer):
    return answer.status_code, answer.json() if answer.content else None


def test_the_table_and_the_description_are_of_the_same_routes(server):
    paths = requests.get(server.url + "/openapi.json").json()["paths"]
    described = {(m.upper(), p) for p, item in paths.items() for m in item}
    inside = {(m, p.removeprefix("/api/v1")) for m, p in described if p.startswith("/api/v1")}
    mine = {(row.method, row.path) for row in TABLE}
    assert mine - inside == set(), "promised, not described"
    assert inside - mine - ELSEWHERE == set(), "described, not promised"
    assert {p for _, p in described if not p.startswith("/api/v1")} >= OUTSIDE


@pytest.mark.parametrize("row", ROWS)
def test_members_of_the_table_are_those_of_the_description(server, row):
    doc = requests.get(server.url + "/openapi.json").json()
    op = doc["paths"]["/api/v1" + row.path][row.method.lower()]
    asked = [p for p in op.get("parameters", []) if p["in"] == "query"]
    assert {p["name"] for p in asked} == set(row.query)
    assert {p["name"] for p in asked if p.get("required")} == {n for n, m in row.query.items() if m.must}
    assert str(row.status) in op["responses"]
    schema = op.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if "$ref" in schema:
        schema = doc["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if row.body:
        assert set(schema["properties"]) - EXTRA.get((row.method, row.path), set()) == set(row.body)
        assert set(schema.get("required", [])) == {n for n, m in row.body.items() if m.must is True}
    else:
        assert schema == {}


@pytest.mark.parametrize("row", ROWS)
def test_a_valid_call_answers_as_promised(world, row):
    who, headers, cookies = world.tenant, world.right(row), None
    if row.role in ROLES:
        who = world.as_role[row.role]
    if row.path.startswith("/auth/") or row.path.startswith("/settings/") and row.role == "viewer":
        who = Tenant(world.server)          # it may end its session or change its password
        headers = {} if row.role is None else who.headers()
        cookies = who.http.cookies
    answer = world.call(row, headers, who=who, cookies=cookies)
    assert answer.status_code == row.status, answer.text
    if row.scope:
        key = world.call(row, {"X-API-Key": world.only[row.scope]})
        assert key.status_code == row.status, key.text


@pytest.mark.parametrize("row", only(lambda r: any(m.must for m in [*r.body.values(), *r.query.values()])))
def test_each_member_that_is_missing_is_named(world, row):
    id = world.thing(row.noun) if row.noun else None
    for where, members in (("body", row.body), ("query", row.query)):
        good = world.filled(members, world.tenant)
        for name, m in members.items():
            if m.must:
                answer = world.call(row, world.right(row), id=id, **{where: {k: v for k, v in good.items() if k != name}})
                assert answer.status_code == 422, (name, answer.text)
                assert [(i["loc"], i["type"], i["msg"]) for i in answer.json()["detail"]] == [
                    ([where, name], "missing", "Field required")]


@pytest.mark.parametrize("row", only(lambda r: r.body))
def test_each_member_of_a_wrong_type_is_named(world, row):
    good = world.filled(row.body, world.tenant)
    id = world.thing(row.noun) if row.noun else None
    for name, m in row.body.items():
        if m.type in WRONG:
            wrong, kind = WRONG[m.type]
            for value in (wrong, True if kind != "boolean_type" else 1, {"a": 1}, [1]):
                if kind in ("object_type", "array_type") and isinstance(value, dict if kind == "object_type" else list):
                    continue
                answer = world.call(row, world.right(row), id=id, body={**good, name: value})
                assert answer.status_code == 422, (name, value, answer.text)
                assert [(i["loc"], i["type"]) for i in answer.json()["detail"]] == [(["body", name], kind)], (name, value)


@pytest.mark.parametrize("row", only(lambda r: r.body or r.query))
def test_each_value_out_of_range_is_named(world, row):
    who = Tenant(world.server) if row.path == "/settings/change-password" else world.tenant
    headers = who.headers() if row.path == "/settings/change-password" else world.right(row)
    id = world.thing(row.noun) if row.noun else None
    for where, members in (("body", row.body), ("query", row.query)):
        good = world.filled(members, who)
        for name, m in members.items():
            for bad in m.bad:
                answer = world.call(row, headers, id=id, **{where: {**good, name: bad}})
                assert answer.status_code == 422, (name, bad, answer.text)
                first = answer.json()["detail"][0]
                assert first["loc"][0] == where and name in first["loc"] + [first["loc"][-1].split(".")[0]
                                                                           if isinstance(first["loc"][-1], str) else ""] \
                    or (name == "end" and first["loc"][1] in ("start", "end")), (name, bad, first)
                assert first["msg"] and first["type"] in KINDS, first


@pytest.mark.parametrize("row", only(lambda r: r.body))
def test_what_is_no_json_object_is_refused(world, row):
    for body in (b"{", b"", b"{}{}", b'{"a":1,}', b"\xff\xfe{}", b"nul"):
        answer = world.call(row, world.right(row), body=body)
        assert said(answer) == (400, {"detail": "Request body is not valid JSON."}), body
    for body in (b"[]", b"7", b"null", b'"x"'):
        answer = world.call(row, world.right(row), body=body)
        assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "object_type", (body, answer.text)
        assert answer.json()["detail"][0]["loc"] == ["body"]


@pytest.mark.parametrize("row", only(lambda r: r.noun))
def test_things_of_others_and_of_nobody_are_404(world, row):
    for id in (world.thing(row.noun, of=world.other), str(uuid.uuid4()), "no-uuid", "%00", "x" * 300):
        answer = world.call(row, world.right(row), id=id)
        assert said(answer) == (404, {"detail": NOT_FOUND[row.noun]}), id


@pytest.mark.parametrize("row", only(lambda r: any(m.noun for m in [*r.body.values(), *r.query.values()])))
def test_members_that_name_things_of_others_or_of_nobody_are_404(world, row):
    id = world.thing(row.noun) if row.noun else None
    for where, members in (("body", row.body), ("query", row.query)):
        good = world.filled(members, world.tenant)
        for name, m in members.items():
            for other in (world.thing(m.noun, of=world.other), str(uuid.uuid4())) if m.noun else ():
                value = [other] if m.type == "array" else other
                answer = world.call(row, world.right(row), id=id, **{where: {**good, name: value}})
                assert said(answer) == (404, {"detail": NOT_FOUND[m.noun]}), (name, other)


@pytest.mark.parametrize("row", only(lambda r: r.role is not None))
def test_who_may_not_is_told_why(world, row):
    for role in ROLES[:ROLES.index(row.role)] if row.role in ROLES else ROLES:
        answer = world.call(row, world.as_role[role].headers())
        assert said(answer) == (403, {"detail": "Your role does not allow this."}), role
    if row.scope:
        answer = world.call(row, {"X-API-Key": world.keys[row.scope]})
        assert said(answer) == (403, {"detail": f"API key does not have the required scope: {row.scope}"})
    else:
        answer = world.call(row, {"X-API-Key": world.all})
        assert said(answer) == (403, {"detail": "Your role does not allow this."})


def expired(server, token):
    """The same claims, signed with the server's secret, a minute too late."""
    with open(server.data + "/secrets", "rb") as f:
        secret = f.read()[8:40]
    head, body, _ = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["exp"] = int(time.time()) - 60
    text = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    sign = hmac.new(secret, f"{head}.{text}".encode(), hashlib.sha256).digest()
    return f"{head}.{text}." + base64.urlsafe_b64encode(sign).rstrip(b"=").decode()


@pytest.mark.parametrize("row", only(lambda r: r.role is not None))
def test_credentials_that_are_none_old_or_revoked_are_401(world, row):
    admin = world.tenant
    for headers, detail in (
            ({}, "Authentication is required."),
            ({"Authorization": "Bearer " + expired(world.server, admin.token)}, "Authentication token has expired."),
            ({"Authorization": "Bearer " + admin.token[:-2]}, "Invalid authentication token."),
            ({"Authorization": "Basic YTpi"}, "Invalid authentication token."),
            ({"X-API-Key": world.revoked}, "Invalid API key."), ({"X-API-Key": "hk_" + "A" * 43}, "Invalid API key.")):
        answer = world.call(row, headers, id=str(uuid.uuid4()))
        assert said(answer) == (401, {"detail": detail}), headers
        assert answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("row", ROWS)
def test_every_answer_carries_what_every_answer_carries(world, row):
    answer = world.call(row, {}, id=str(uuid.uuid4()), body={} if row.body else ...)
    assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]
    again = world.call(row, {"X-Request-Id": "mine-1"}, id=str(uuid.uuid4()), body={} if row.body else ...)
    assert again.headers["X-Request-Id"] == "mine-1"
    problem = world.call(row, {"Accept": "application/problem+json"}, id=str(uuid.uuid4()), body={} if row.body else ...)
    if problem.status_code >= 400:
        assert problem.headers["Content-Type"] == "application/problem+json"
        assert problem.json()["status"] == problem.status_code and problem.json()["title"]
