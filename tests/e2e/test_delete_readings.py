"""Readings of a range are deleted: at once from every answer, over a crash, and what comes later stays."""
import json
import random

import pytest

from haltless import Pusher, Tenant, iso, reading

START = 1775260800          # 2026-04-04T00:00:00Z
ALL = {"start": iso(START - 86400), "end": iso(START + 10 * 86400)}


def fill(pusher, rows, metric="temperature"):
    rows = list(rows.items())
    for i in range(0, len(rows), 1000):
        answer = pusher.push([reading("M", metric, v, iso(t)) for t, v in rows[i:i + 1000]])
        assert answer.status_code == 207 and answer.json()["rejected_count"] == 0, answer.text


def raw(tenant, machine, metric="temperature"):
    got, cursor = {}, None
    while True:
        answer = tenant.get(f"/machines/{machine['id']}/readings",
                            params={"metric": metric, "limit": 10000, **ALL, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        got.update({p["timestamp"]: p["value"] for p in page["data"]})
        cursor = page["next_cursor"]
        if cursor is None:
            return got


def days(tenant, machine, how):
    answer = tenant.get(f"/machines/{machine['id']}/readings",
                        params={"metric": "temperature", "interval": "1d", "aggregation": how, **ALL})
    return {p["timestamp"]: (p["value"], p["count"]) for p in answer.json()["data"]}


def delete(tenant, machine, start, end, **more):
    return tenant.delete(f"/machines/{machine['id']}/readings", params={"start": iso(start), "end": iso(end), **more})


def agrees(tenant, machine, truth):
    assert raw(tenant, machine) == {iso(t): v for t, v in truth.items()}
    by_day = {}
    for t, v in truth.items():
        by_day.setdefault(iso(t - t % 86400), []).append(v)
    assert days(tenant, machine, "max") == {d: (max(v), len(v)) for d, v in by_day.items()}
    for d, (value, count) in days(tenant, machine, "sum").items():
        assert count == len(by_day[d]) and abs(value - sum(by_day[d])) <= 1e-9 * sum(map(abs, by_day[d]))
    latest = tenant.get(f"/machines/{machine['id']}/readings/latest").json()["readings"]
    latest = [r for r in latest if r["metric_name"] == "temperature"]
    if truth:
        assert latest[0]["timestamp"] == iso(max(truth)) and latest[0]["value"] == truth[max(truth)]
    else:
        assert latest == []


@pytest.mark.short
def test_what_is_deleted_is_gone_from_every_answer_and_what_comes_later_stays(own_server):
    server = own_server(flags=["--storage-heads-mb", "64"])
    tenant = Tenant(server)
    machine = tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    rng = random.Random(4)
    truth = {START + 40 * i: round(rng.uniform(-50, 50), 1) for i in range(6000)}      # sealed, and some in the head
    fill(pusher, truth)
    fill(pusher, {START: 1.0, START + 1: 2.0}, "pressure")
    for start, end in ((START + 50_000, START + 130_000), (START + 220_000, START + 400_000), (START + 7, START + 8)):
        assert delete(tenant, machine, start, end, metric="temperature").status_code == 204
        truth = {t: v for t, v in truth.items() if not start <= t < end}
        agrees(tenant, machine, truth)
        again = {START + 60_000: 1000.0, end - 1: -1000.0}
        fill(pusher, again)
        truth.update(again)
        agrees(tenant, machine, truth)
    server.kill()
    server.start()
    agrees(tenant, machine, truth)
    assert len(raw(tenant, machine, "pressure")) == 2
    assert delete(tenant, machine, START - 86400, START + 10 * 86400).status_code == 204    # of every metric
    agrees(tenant, machine, {})
    assert raw(tenant, machine, "pressure") == {}
    server.kill()
    server.start()
    agrees(tenant, machine, {})
    fill(pusher, {START + 5: 5.0})
    agrees(tenant, machine, {START + 5: 5.0})


def test_only_an_admin_deletes_and_only_what_is_said(tenant, server):
    machine = tenant.machine("M")
    other = Tenant(server)
    operator = tenant.user("operator")
    assert delete(operator, machine, START, START + 1).status_code == 403
    assert delete(other, machine, START, START + 1).status_code == 404
    assert delete(tenant, machine, START, START).status_code == 422
    answer = tenant.delete(f"/machines/{machine['id']}/readings", params={"start": iso(START)})
    assert answer.status_code == 422 and json.loads(answer.text)["detail"][0]["loc"] == ["query", "end"]
    assert delete(tenant, machine, START, START + 1, metric="none such").status_code == 204
