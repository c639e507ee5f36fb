"""Machine groups."""
import uuid

import pytest
import requests

from haltless import Pusher, Tenant, reading

pytestmark = pytest.mark.short

UNKNOWN = (404, {"detail": "Machine group not found."})


def group(tenant, name, parent=None):
    answer = tenant.post("/machine-groups", {"name": name, "parent_id": parent, "description": f"of {name}"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def said(answer):
    return answer.status_code, answer.json()


def test_a_group_is_made_read_changed_and_deleted(tenant):
    plant = group(tenant, "Plant")
    hall = group(tenant, "Hall", plant["id"])
    assert uuid.UUID(plant["id"]).version == 4
    assert (plant["name"], plant["parent_id"], plant["description"], plant["machine_count"]) == (
        "Plant", None, "of Plant", 0)
    assert tenant.get(f"/machine-groups/{hall['id']}").json() == hall and hall["parent_id"] == plant["id"]
    page = tenant.get("/machine-groups").json()
    assert page["total"] == 2 and page["items"] == [plant, hall]
    changed = tenant.patch(f"/machine-groups/{hall['id']}", {"name": "Hall 2", "description": None}).json()
    assert (changed["name"], changed["description"], changed["parent_id"]) == ("Hall 2", None, plant["id"])
    assert tenant.patch(f"/machine-groups/{hall['id']}", {"parent_id": None}).json()["parent_id"] is None
    for g in (plant, hall):
        assert tenant.delete(f"/machine-groups/{g['id']}").status_code == 204
        assert said(tenant.get(f"/machine-groups/{g['id']}")) == UNKNOWN
    assert tenant.get("/machine-groups").json()["total"] == 0


def test_a_group_is_never_below_itself(tenant):
    top = group(tenant, "a")
    mid = group(tenant, "b", top["id"])
    low = group(tenant, "c", mid["id"])
    for g in (top, mid, low):
        answer = tenant.patch(f"/machine-groups/{top['id']}", {"parent_id": g["id"]})
        assert said(answer) == (400, {"detail": "A machine group cannot be below itself."})
    assert tenant.get(f"/machine-groups/{top['id']}").json()["parent_id"] is None


def test_machines_are_put_into_groups_and_found_there(tenant):
    a, b = group(tenant, "A"), group(tenant, "B")
    m = tenant.machine("M-1", group_id=a["id"])
    tenant.machine("M-2", group_id=a["id"])
    tenant.machine("M-3")
    assert m["group_id"] == a["id"]

    def inside(g):
        found = tenant.get("/machines", params={"group_id": g["id"]}).json()
        assert found["total"] == tenant.get(f"/machine-groups/{g['id']}").json()["machine_count"]
        return [i["machine_identifier"] for i in found["items"]]

    assert (inside(a), inside(b)) == (["M-1", "M-2"], [])
    assert tenant.patch(f"/machines/{m['id']}", {"name": "same place"}).json()["group_id"] == a["id"]
    assert tenant.patch(f"/machines/{m['id']}", {"group_id": b["id"]}).json()["group_id"] == b["id"]
    assert (inside(a), inside(b)) == (["M-2"], ["M-1"])
    assert tenant.patch(f"/machines/{m['id']}", {"group_id": None}).json()["group_id"] is None
    assert inside(b) == []
    tenant.patch(f"/machines/{m['id']}", {"group_id": b["id"]})
    tenant.delete(f"/machines/{m['id']}")
    assert inside(b) == []
    assert tenant.get("/machines", params={"group_id": str(uuid.uuid4())}).status_code == 404
    refused = tenant.post("/machines", {"name": "x", "machine_identifier": "x", "protocol": "json",
                                        "group_id": str(uuid.uuid4())})
    assert said(refused) == UNKNOWN
    assert tenant.get("/machines").json()["total"] == 2


def test_a_group_with_groups_below_stays_and_machines_are_let_go(tenant):
    top = group(tenant, "top")
    low = group(tenant, "low", top["id"])
    m = tenant.machine("M", group_id=low["id"])
    assert tenant.delete(f"/machine-groups/{top['id']}").status_code == 400
    assert tenant.delete(f"/machine-groups/{low['id']}").status_code == 204
    assert tenant.get(f"/machines/{m['id']}").json()["group_id"] is None
    assert tenant.delete(f"/machine-groups/{top['id']}").status_code == 204


def test_other_tenants_groups_do_not_exist(server, tenant):
    theirs = Tenant(server)
    g = group(theirs, "theirs")
    theirs.machine("T", group_id=g["id"])
    path, mine = f"/machine-groups/{g['id']}", group(tenant, "mine")
    m = tenant.machine("M")
    for answer in (tenant.get(path), tenant.patch(path, {"name": "x"}), tenant.delete(path),
                   tenant.post("/machine-groups", {"name": "x", "parent_id": g["id"]}),
                   tenant.patch(f"/machine-groups/{mine['id']}", {"parent_id": g["id"]}),
                   tenant.patch(f"/machines/{m['id']}", {"group_id": g["id"]})):
        assert said(answer) == UNKNOWN
    assert tenant.get("/machines", params={"group_id": g["id"]}).status_code == 404
    assert [i["id"] for i in tenant.get("/machine-groups").json()["items"]] == [mine["id"]]
    assert theirs.get(path).json()["machine_count"] == 1


def test_who_may(tenant):
    g = group(tenant, "g")
    path = f"/machine-groups/{g['id']}"
    viewer, operator = tenant.user("viewer"), tenant.user("operator")
    assert viewer.get(path).json() == g and viewer.get("/machine-groups").json()["total"] == 1
    for answer in (viewer.post("/machine-groups", {"name": "x"}), viewer.patch(path, {"name": "x"}),
                   viewer.delete(path)):
        assert said(answer) == (403, {"detail": "Your role does not allow this."})
    assert operator.post("/machine-groups", {"name": "x"}).status_code == 201
    assert operator.patch(path, {"name": "y"}).json()["name"] == "y"
    assert operator.delete(path).status_code == 204


@pytest.mark.parametrize("change,where", [
    ({"name": ""}, "name"), ({"name": "   "}, "name"), ({"name": "x" * 256}, "name"), ({"parent_id": "top"}, "parent_id"),
    ({"description": "x" * 1001}, "description"), ({"description": 7}, "description")])
def test_bad_members_are_named(tenant, change, where):
    for answer in (tenant.post("/machine-groups", {"name": "n", **change}),
                   tenant.patch(f"/machine-groups/{group(tenant, 'g')['id']}", change)):
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"][0]["loc"] == ["body", where]


def test_groups_outlive_a_restart(own_server):
    server = own_server()
    tenant = Tenant(server)
    first, second = group(tenant, "first"), group(tenant, "second")
    tenant.patch(f"/machine-groups/{first['id']}", {"parent_id": second["id"]})
    m = tenant.machine("M", group_id=first["id"])
    before = tenant.get("/machine-groups").json()
    server.kill()
    server.start()
    assert tenant.get("/machine-groups").json() == before
    assert tenant.get(f"/machines/{m['id']}").json()["group_id"] == first["id"]
    assert [g["machine_count"] for g in before["items"]] == [1, 0]


def test_a_query_over_a_group_is_of_its_own_machines(server, tenant):
    top = group(tenant, "top")
    low = group(tenant, "low", top["id"])
    made = {name: tenant.machine(name, **({"group_id": g["id"]} if g else {}))["id"]
            for name, g in (("T-1", top), ("T-2", top), ("L", low), ("none", None))}
    pusher = Pusher(server, tenant.key()["key"])
    assert pusher.push([reading(name) for name in made]).json()["accepted_count"] == 4

    def machines(body, by=tenant):
        answer = by.post("/readings/query", {"start": "2026-04-04T00:00:00Z", "end": "2026-04-05T00:00:00Z", **body})
        assert answer.status_code == 200, answer.text
        return [s["machine_id"] for s in answer.json()["series"]]

    assert sorted(machines({"group_id": top["id"]})) == sorted([made["T-1"], made["T-2"]])
    assert machines({"group_id": low["id"]}) == [made["L"]]
    assert machines({"group_id": low["id"], "machine_ids": [made["T-1"], made["L"]]}) == [made["L"]]
    assert len(machines({"group_id": None})) == 4
    assert tenant.patch(f"/machines/{made['T-1']}", {"group_id": low["id"]}).status_code == 200
    assert machines({"group_id": top["id"]}) == [made["T-2"]]
    key = {"X-API-Key": tenant.key(scopes=["read:sensors"])["key"]}
    answer = requests.post(server.api + "/readings/query", headers=key, json={"group_id": top["id"]})
    assert [i["machine_id"] for i in answer.json()["series"]] == [made["T-2"]]
    for id in (str(uuid.uuid4()), group(Tenant(server), "theirs")["id"]):
        assert said(tenant.post("/readings/query", {"group_id": id})) == UNKNOWN
    assert tenant.delete(f"/machine-groups/{low['id']}").status_code == 204
    assert machines({"machine_ids": [made["L"]]}) == [made["L"]]
    assert said(tenant.post("/readings/query", {"group_id": low["id"]})) == UNKNOWN
