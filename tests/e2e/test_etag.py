"""ETag and If-None-Match on single resources."""
import re
import uuid

import pytest
import requests

from haltless import reading, wait_until

pytestmark = pytest.mark.short


def get_if_changed(tenant, path, tag):
    return tenant.call("GET", path, headers={"If-None-Match": tag})


def singles(tenant, pusher):
    machine = tenant.machine("M")["id"]
    rule = tenant.post("/alert-rules", {"metric_name": "temperature", "operator": "gt", "threshold": 1,
                                        "severity": "warning"}).json()["id"]
    user = tenant.post("/users", {"email": f"{uuid.uuid4().hex}@example.com", "full_name": "F",
                                  "password": "correct horse 1"}).json()["id"]
    pusher.push([reading("M", value=2)])
    wait_until(lambda: tenant.get("/alerts").json()["total"] == 1)
    alert = tenant.get("/alerts").json()["items"][0]["id"]
    return {f"/machines/{machine}": lambda: tenant.patch(f"/machines/{machine}", {"name": "Other"}),
            f"/alert-rules/{rule}": lambda: tenant.patch(f"/alert-rules/{rule}", {"name": "Other"}),
            f"/users/{user}": lambda: tenant.patch(f"/users/{user}", {"full_name": "Other"}),
            f"/alerts/{alert}": lambda: tenant.post(f"/alerts/{alert}/acknowledge"),
            "/auth/me": lambda: tenant.patch("/settings/profile", {"full_name": "Other"})}


def test_what_has_not_changed_is_not_sent_again(tenant, pusher):
    for path, change in singles(tenant, pusher).items():
        first = tenant.get(path)
        tag = first.headers["ETag"]
        assert re.fullmatch(r'"[0-9a-f]{32}"', tag), path
        again = get_if_changed(tenant, path, tag)
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag), path
        assert change().status_code == 200
        fresh = get_if_changed(tenant, path, tag)
        assert fresh.status_code == 200 and fresh.headers["ETag"] != tag and fresh.json() != first.json(), path


def test_a_304_needs_credentials_and_leaves_the_connection_usable(server, tenant):
    path = f"/machines/{tenant.machine('M')['id']}"
    tag = tenant.get(path).headers["ETag"]
    assert requests.get(server.api + path, headers={"If-None-Match": tag}).status_code == 401
    with requests.Session() as s:
        for want in (304, 200, 304):
            headers = {**tenant.headers(), **({"If-None-Match": tag} if want == 304 else {})}
            assert s.get(server.api + path, headers=headers).status_code == want
        assert s.head(server.api + path, headers=tenant.headers()).headers["ETag"] == tag


def test_refusals_have_no_etag(tenant):
    answer = get_if_changed(tenant, f"/machines/{uuid.uuid4()}", "*")
    assert answer.status_code == 404 and "ETag" not in answer.headers
