"""Retention: raw readings and their hours go by the rules of a tenant; what would go is said first."""
import random
import time

from haltless import Pusher, Tenant, iso, reading, wait_until

DAY = 86400


def put(tenant, policies, **params):
    return tenant.call("PUT", "/settings/retention", json={"policies": policies}, params=params)


def policy(pattern, raw, rollup=None):
    return {"metric_pattern": pattern, "raw_days": raw, "rollup_days": rollup}


def points(tenant, machine, metric, start, **more):
    got, cursor = [], None
    while True:
        answer = tenant.get(f"/machines/{machine['id']}/readings", params={
            "metric": metric, "start": iso(start), "limit": 10000, **more, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        got += answer.json()["data"]
        cursor = answer.json()["next_cursor"]
        if cursor is None:
            return got


def test_what_is_over_goes_and_the_hours_stay_as_long_as_they_should(own_server):
    server = own_server()
    tenant = Tenant(server)
    machine = tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    today = int(time.time()) // DAY * DAY
    start = today - 40 * DAY
    rng = random.Random(7)
    for metric in ("temp.a", "temp.b", "kept"):
        times = [start + 900 * i for i in range(40 * 96)] + [today - 25 * DAY + 5 * i for i in range(6000)]
        rows = [reading("M", metric, round(rng.uniform(-9, 9), 2), iso(t)) for t in times]
        for i in range(0, len(rows), 1000):
            assert pusher.push(rows[i:i + 1000]).json()["rejected_count"] == 0
    before = {m: points(tenant, machine, m, start, interval="1h", aggregation="sum") for m in ("temp.a", "temp.b")}
    kept = points(tenant, machine, "kept", start)

    rules = [policy("temp.a", 20, 30), policy("temp.*", 10)]
    preview = put(tenant, rules, preview="true")
    assert preview.status_code == 200 and preview.json()["preview"]["readings"] > 0
    assert tenant.get("/settings/retention").json() == {"policies": [], "preview": None}
    assert len(points(tenant, machine, "temp.a", start)) > 40 * 96
    assert put(tenant, rules).json()["policies"] == rules
    assert tenant.get("/settings/retention").json()["policies"] == rules

    oldest = {"temp.a": today - 20 * DAY, "temp.b": today - 10 * DAY}
    for metric, first in oldest.items():
        wait_until(lambda: points(tenant, machine, metric, start)[0]["timestamp"] == iso(first), within=20)
    for restart in (False, True):
        if restart:
            server.kill()
            server.start()
        for metric, first in oldest.items():
            assert points(tenant, machine, metric, start)[0]["timestamp"] == iso(first)
            after = points(tenant, machine, metric, start, interval="1h", aggregation="sum")
            since = iso(today - 30 * DAY) if metric == "temp.a" else ""
            want = [p for p in before[metric] if p["timestamp"] >= since]
            assert [(p["timestamp"], p["count"], p["min"], p["max"]) for p in after] == \
                   [(p["timestamp"], p["count"], p["min"], p["max"]) for p in want]
            assert all(abs(a["value"] - w["value"]) <= 1e-9 * w["count"] for a, w in zip(after, want))
        assert points(tenant, machine, "kept", start) == kept


def test_rules_are_checked_and_an_admins(tenant):
    assert put(tenant, [policy("*", 30, 20)]).status_code == 422
    assert put(tenant, [policy("*", None, 20)]).status_code == 422
    assert put(tenant, [policy("", 3)]).status_code == 422
    assert put(tenant, [policy("*", 0)]).status_code == 422
    operator = tenant.user("operator")
    assert put(operator, []).status_code == 403 and operator.get("/settings/retention").status_code == 403
    assert put(tenant, []).json()["policies"] == []
