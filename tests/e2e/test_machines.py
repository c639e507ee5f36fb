"""Machines and the fleet."""
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from haltless import SLOW, Pusher, Tenant, reading

pytestmark = pytest.mark.short


def test_a_machine_is_made_read_changed_and_deleted(server, tenant):
    m = tenant.machine("CNC-1", location="Hall 3")
    assert uuid.UUID(m["id"]).version == 4
    assert {"id", "name", "machine_identifier", "protocol", "location", "status", "tenant_id", "is_active", "created_at",
            "updated_at", "group_id", "timezone", "offline_after_seconds", "last_reading_at"} <= m.keys()
    assert m["status"] == "offline" and m["is_active"] is True and m["offline_after_seconds"] == 300
    assert m["last_reading_at"] is None
    assert tenant.get(f"/machines/{m['id']}").json() == m
    changed = tenant.patch(f"/machines/{m['id']}", {"name": "Renamed", "location": None})
    assert changed.status_code == 200 and changed.json()["name"] == "Renamed"
    assert tenant.get(f"/machines/{m['id']}").json()["name"] == "Renamed"
    assert tenant.delete(f"/machines/{m['id']}").status_code == 204
    gone = tenant.get(f"/machines/{m['id']}")
    assert (gone.status_code, gone.json()) == (404, {"detail": "Machine not found."})


def test_an_identifier_is_unique_until_its_machine_is_deleted(server, tenant, pusher):
    m = tenant.machine("A")
    pusher.push([reading("A", value=1)])
    again = tenant.post("/machines", {"name": "x", "machine_identifier": "A", "protocol": "json"})
    assert (again.status_code, again.json()) == (
        409, {"detail": "A machine with this identifier already exists for this tenant."})
    tenant.machine("a")         # case-sensitive
    Tenant(server).machine("A")  # of another tenant
    tenant.delete(f"/machines/{m['id']}")
    assert pusher.push([reading("A")]).json()["errors"][0]["error"] == "Machine not found"
    fresh = tenant.machine("A")
    assert fresh["id"] != m["id"]
    assert tenant.get(f"/machines/{fresh['id']}/readings/latest").json()["readings"] == []


@pytest.mark.parametrize("change,where", [
    ({"name": None}, "name"), ({"protocol": "telepathy"}, "protocol"), ({"machine_identifier": ""}, "machine_identifier"),
    ({"machine_identifier": "x" * 256}, "machine_identifier"), ({"offline_after_seconds": "soon"},
                                                                "offline_after_seconds")])
def test_bad_members_are_named(tenant, change, where):
    body = {"name": "n", "machine_identifier": "i", "protocol": "json", **change}
    body = {k: v for k, v in body.items() if v is not None}
    answer = tenant.post("/machines", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == ["body", where]


def test_lists_page_search_and_sort(tenant):
    for i in range(25):
        tenant.machine(f"P-{i:02d}", name=f"Press {24 - i:02d}")
    page = tenant.get("/machines", params={"page": 2, "page_size": 10, "sort_by": "machine_identifier"}).json()
    assert (page["total"], page["page"], page["page_size"], page["total_pages"]) == (25, 2, 10, 3)
    assert [m["machine_identifier"] for m in page["items"]] == [f"P-{i:02d}" for i in range(10, 20)]
    down = tenant.get("/machines", params={"sort_by": "name", "sort_dir": "desc", "page_size": 1}).json()
    assert down["items"][0]["name"] == "Press 24"
    found = tenant.get("/machines", params={"search": "p-07"}).json()
    assert [m["machine_identifier"] for m in found["items"]] == ["P-07"]
    assert tenant.get("/machines", params={"status": "healthy"}).json()["total"] == 0
    for bad in ({"page": 0}, {"page_size": 101}, {"sort_by": "mood"}, {"page": "x"}):
        answer = tenant.get("/machines", params=bad)
        assert answer.status_code == 422, bad
        assert answer.json()["detail"][0]["loc"][0] == "query"


def test_other_tenants_machines_do_not_exist(server, tenant):
    m = Tenant(server).machine("theirs")
    unknown = (404, {"detail": "Machine not found."})
    for answer in (tenant.get(f"/machines/{m['id']}"), tenant.patch(f"/machines/{m['id']}", {"name": "x"}),
                   tenant.delete(f"/machines/{m['id']}"), tenant.get(f"/machines/{m['id']}/readings/latest"),
                   tenant.get(f"/machines/{m['id']}/readings?metric=x"), tenant.get(f"/machines/{uuid.uuid4()}"),
                   tenant.post("/readings/query", {"machine_ids": [m["id"]], "start": "2026-01-01T00:00:00Z"})):
        assert (answer.status_code, answer.json()) == unknown
    assert tenant.get("/machines").json()["total"] == 0
    assert tenant.get("/fleet/status").json()["total_machines"] == 0


def test_fleet_status_follows_machines_and_readings(tenant, pusher):
    a, b = tenant.machine("A"), tenant.machine("B")
    pusher.push([reading("A")])
    fleet = tenant.get("/fleet/status").json()
    by_id = {m["id"]: m for m in fleet["machines"]}
    assert fleet["total_machines"] == 2
    assert by_id[a["id"]]["status"] == "healthy" and by_id[b["id"]]["status"] == "offline"
    assert by_id[a["id"]]["last_reading_at"] == "2026-04-04T10:30:00Z" and by_id[b["id"]]["last_reading_at"] is None
    assert fleet["status_counts"]["healthy"] == 1 and fleet["status_counts"]["offline"] == 1
    assert tenant.get(f"/machines/{a['id']}").json()["status"] == "healthy"
    tenant.delete(f"/machines/{a['id']}")
    assert tenant.get("/fleet/status").json()["total_machines"] == 1


def test_everything_is_there_after_a_restart(own_server):
    server = own_server()
    t = Tenant(server)
    m = t.machine("A", location="here")
    key = t.key()["key"]
    assert Pusher(server, key).push([reading("A")]).status_code == 207
    before = t.get(f"/machines/{m['id']}").json()
    server.stop()
    server.start()
    assert t.get(f"/machines/{m['id']}").json() == before
    assert Pusher(server, key).push([reading("A", value=3)]).status_code == 207
    assert t.get("/fleet/status").json()["machines"][0]["status"] == "healthy"


def test_a_timezone_is_one_that_is_known(tenant):
    assert tenant.machine("B", timezone="Europe/Berlin")["timezone"] == "Europe/Berlin"
    m = tenant.machine("U", timezone="UTC")
    for name in ("Mars/Olympus", "../../etc/passwd", "europe/berlin ", "right/UTC"):
        for answer in (tenant.post("/machines", {"name": "x", "machine_identifier": "x", "protocol": "json",
                                                 "timezone": name}),
                       tenant.patch(f"/machines/{m['id']}", {"timezone": name})):
            assert answer.status_code == 422, name
            assert answer.json()["detail"][0]["loc"] == ["body", "timezone"]
    assert tenant.patch(f"/machines/{m['id']}", {"timezone": "Asia/Tokyo"}).json()["timezone"] == "Asia/Tokyo"


def test_a_large_fleet_comes_whole_while_others_are_served(server, tenant):
    count = 1200                    # more than one slice
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(lambda i: tenant.machine(f"L{i}")["id"], range(count)))
        assert tenant.delete(f"/machines/{made[7]}").status_code == 204

        def look(i):
            if i % 4 == 3:
                return requests.get(server.url + "/healthz", timeout=20 * SLOW).json()
            return requests.get(server.api + "/fleet/status", headers=tenant.headers(), timeout=20 * SLOW).json()

        for i, fleet in enumerate(pool.map(look, range(24))):
            if i % 4 == 3:
                assert fleet == {"status": "ok"}
                continue
            assert fleet["total_machines"] == count - 1 == fleet["status_counts"]["offline"]
            assert sorted(m["id"] for m in fleet["machines"]) == sorted(made[:7] + made[8:])
