"""/openapi.json: sound, true to the router, and true to what is answered."""
import re
import uuid

import pytest
import requests

import openapi
from haltless import reading, wait_until

pytestmark = pytest.mark.short

ROUTES = """
POST /auth/register|POST /auth/login|POST /auth/refresh|POST /auth/logout|GET /auth/me|GET /settings/api-keys
POST /settings/api-keys|DELETE /settings/api-keys/{id}|PATCH /settings/profile|POST /settings/change-password
GET /users|POST /users|GET /users/{id}|PATCH /users/{id}|DELETE /users/{id}
GET /machines|POST /machines|GET /machines/{id}|PATCH /machines/{id}|DELETE /machines/{id}|GET /fleet/status
POST /ingest|GET /machines/{id}/readings/latest|GET /machines/{id}/readings|POST /readings/query
GET /alert-rules|POST /alert-rules|GET /alert-rules/{id}|PATCH /alert-rules/{id}|DELETE /alert-rules/{id}
GET /machine-groups|POST /machine-groups|GET /machine-groups/{id}|PATCH /machine-groups/{id}|DELETE /machine-groups/{id}
GET /alerts|GET /alerts/stats|GET /alerts/{id}|POST /alerts/{id}/acknowledge|GET /ws/dashboard
"""


@pytest.fixture(scope="module")
def doc(server):
    answer = requests.get(server.url + "/openapi.json")
    assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/json"
    return answer.json()


def operations(doc):
    return [(method.upper(), path, op) for path, item in doc["paths"].items() for method, op in item.items()]


def test_it_keeps_the_rules_of_openapi_3_1(doc):
    openapi.check(doc)
    assert doc["openapi"].startswith("3.1") and doc["servers"] == [{"url": "/"}]


def test_the_checker_can_fail(doc):
    broken = {**doc, "paths": {**doc["paths"], "/x/{id}": {"get": doc["paths"]["/healthz"]["get"]}}}
    with pytest.raises(AssertionError):
        openapi.check(broken)


def test_every_route_that_is_promised_is_described(doc):
    described = {(m, p) for m, p, _ in operations(doc)}
    for route in re.split(r"[|\n]", ROUTES.strip()):
        method, path = route.split()
        assert (method, "/api/v1" + path) in described
    assert {("GET", p) for p in ("/healthz", "/readyz", "/metrics", "/openapi.json")} <= described


def test_every_described_operation_exists(server, doc):
    for method, path, _ in operations(doc):
        answer = requests.request(method, server.url + path.replace("{id}", str(uuid.uuid4())))
        assert answer.status_code != 405, (method, path)
        assert answer.status_code != 404 or answer.json() != {"detail": "Not found."}, (method, path)


def test_what_is_not_open_says_who_may(server, doc):
    for method, path, op in operations(doc):
        answer = requests.request(method, server.url + path.replace("{id}", str(uuid.uuid4())))
        if op["security"] == []:
            assert answer.status_code != 401, (method, path)
        else:
            assert answer.status_code == 401 and "401" in op["responses"], (method, path)


def test_the_bounds_of_the_schemas_are_in_it(doc):
    schemas = doc["components"]["schemas"]
    create = schemas["MachineCreate"]
    assert set(create["required"]) == {"name", "machine_identifier", "protocol"}
    assert create["properties"]["machine_identifier"] == {
        "type": "string", "minLength": 1, "maxLength": 255, "description": "Unique in the tenant"}
    assert create["properties"]["location"]["type"] == ["string", "null"]
    query = {p["name"]: p for p in doc["paths"]["/api/v1/machines"]["get"]["parameters"]}
    assert query["page_size"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100}
    get = doc["paths"]["/api/v1/machines/{id}"]["get"]
    assert {"bearer": ["viewer"]} in get["security"] and {"apiKey": ["read:machines"]} in get["security"]


def test_it_is_cached_by_its_etag(server):
    first = requests.get(server.url + "/openapi.json")
    tag = first.headers["ETag"]
    assert re.fullmatch(r'"[0-9a-f]+"', tag)
    for names in (tag, f'"other", {tag}', "W/" + tag, "*"):
        again = requests.get(server.url + "/openapi.json", headers={"If-None-Match": names})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag), names
    other = requests.get(server.url + "/openapi.json", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200 and other.content == first.content


def answers(tenant, pusher):
    """An answer of every route that has a described body, as (method, path, response)."""
    machine = tenant.machine("M")
    mid = machine["id"]
    rule = tenant.post("/alert-rules", {"metric_name": "temperature", "operator": "gt", "threshold": 1,
                                        "severity": "warning"})
    tried = {"metric_name": "temperature", "operator": "gt", "threshold": 1, "severity": "warning", "start": "2026-01-01T00:00:00Z"}
    user = tenant.post("/users", {"email": f"{uuid.uuid4().hex}@example.com", "full_name": "F",
                                  "password": "correct horse 1"})
    pushed = pusher.push([reading("M", value=2), reading("none")])
    wait_until(lambda: tenant.get("/alerts").json()["total"] == 1)
    alert = tenant.get("/alerts").json()["items"][0]
    yield "POST", "/ingest", pushed
    yield "POST", "/alert-rules", rule
    yield "POST", "/alert-rules/test", tenant.post("/alert-rules/test", tried)
    yield "POST", "/users", user
    yield "POST", "/settings/api-keys", tenant.post("/settings/api-keys", {"name": "k"})
    yield "POST", "/machines", tenant.post("/machines", {"name": "N", "machine_identifier": "N", "protocol": "json"})
    yield "PATCH", "/machines/{id}", tenant.patch(f"/machines/{mid}", {"name": "L"})
    yield "PATCH", "/alert-rules/{id}", tenant.patch(f"/alert-rules/{rule.json()['id']}", {"name": "L"})
    yield "PATCH", "/users/{id}", tenant.patch(f"/users/{user.json()['id']}", {"full_name": "L"})
    yield "PATCH", "/settings/profile", tenant.patch("/settings/profile", {"full_name": "L"})
    yield "POST", "/alerts/{id}/acknowledge", tenant.post(f"/alerts/{alert['id']}/acknowledge")
    yield "GET", "/machines/{id}/readings/latest", tenant.get(f"/machines/{mid}/readings/latest")
    since = {"start": "2026-01-01T00:00:00Z", "metric": "temperature"}
    yield "GET", "/machines/{id}/readings", tenant.get(f"/machines/{mid}/readings", params=since)
    yield "GET", "/machines/{id}/readings", tenant.get(f"/machines/{mid}/readings", params={**since, "interval": "1h"})
    yield "GET", "/machines/{id}/readings", tenant.get(f"/machines/{mid}/readings", params={"start": since["start"]})
    yield "POST", "/readings/query", tenant.post("/readings/query", {"start": since["start"], "interval": "1d"})
    made = tenant.post("/machine-groups", {"name": "G"})
    group = made.json()["id"]
    yield "POST", "/machine-groups", made
    yield "PATCH", "/machine-groups/{id}", tenant.patch(f"/machine-groups/{group}", {"name": "L"})
    for noun, one in (("machines", mid), ("machine-groups", group), ("alert-rules", rule.json()["id"]), ("alerts", alert["id"]),
                      ("users", user.json()["id"])):
        yield "GET", f"/{noun}", tenant.get(f"/{noun}")
        yield "GET", f"/{noun}/{{id}}", tenant.get(f"/{noun}/{one}")
    for path in ("/auth/me", "/settings/api-keys", "/fleet/status", "/alerts/stats"):
        yield "GET", path, tenant.get(path)


def test_answers_are_as_described(doc, tenant, pusher):
    for method, path, answer in answers(tenant, pusher):
        responses = doc["paths"]["/api/v1" + path][method.lower()]["responses"]
        assert str(answer.status_code) in responses, (method, path, answer.text)
        content = responses[str(answer.status_code)]["content"]
        openapi.conforms(doc, content["application/json"]["schema"], answer.json(), f"{method} {path}")


def test_refusals_are_as_described(doc, tenant):
    bad = tenant.post("/machines", {"name": 1})
    assert bad.status_code == 422
    openapi.conforms(doc, {"$ref": "#/components/schemas/ValidationError"}, bad.json())
    for item in bad.json()["detail"]:
        openapi.conforms(doc, {"$ref": "#/components/schemas/ValidationItem"}, item)
    openapi.conforms(doc, {"$ref": "#/components/schemas/Error"}, tenant.get(f"/machines/{uuid.uuid4()}").json())


def test_the_page_over_it_comes_from_here_alone(server):
    page = requests.get(server.url + "/docs")
    if page.status_code == 404:
        pytest.skip("this server was built without /docs: npm was not there")
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy
    assert "//" not in page.text.replace("<!doctype", ""), "nothing from another host"
    for target in re.findall(r'(?:src|href)="(/[^"]*)"', page.text):
        part = requests.get(server.url + target)
        assert part.status_code == 200 and len(part.content) > 50, target
        again = requests.get(server.url + target, headers={"If-None-Match": part.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert "/openapi.json" in requests.get(server.url + "/docs/start.js").text
