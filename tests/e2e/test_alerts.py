"""Threshold rules, alerts, and what the WebSocket says of them."""
import asyncio
import json
import time

import pytest
import websockets

from haltless import SLOW, Pusher, Tenant, iso, reading, wait_until

pytestmark = pytest.mark.short
START = 1775260800


def rule(tenant, **more):
    body = {"name": "hot", "metric_name": "temperature", "operator": "gt", "threshold": 90, "severity": "critical",
            **more}
    answer = tenant.post("/alert-rules", body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def alerts(tenant, **params):
    answer = tenant.get("/alerts", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


class Feed:
    """A WebSocket client that keeps what it was sent."""

    def __init__(self, server, token, subscribe=None):
        self.url = server.url.replace("http", "ws") + "/api/v1/ws/dashboard"
        self.token, self.subscribe = token, subscribe
        self.frames = []

    async def __aenter__(self):
        self.socket = await websockets.connect(self.url, open_timeout=10 * SLOW)
        await self.socket.send(self.token)
        if self.subscribe:
            await self.socket.send(json.dumps({"subscribe": self.subscribe}))
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def next(self, kind, within=5.0, **match):
        end = time.monotonic() + within * SLOW
        while True:
            left = end - time.monotonic()
            assert left > 0, f"no {kind} {match} in {within} s, but {self.frames}"
            try:
                frame = json.loads(await asyncio.wait_for(self.socket.recv(), left))
            except asyncio.TimeoutError:
                continue
            self.frames.append(frame)
            if frame["type"] == kind and all(frame.get(k) == v for k, v in match.items()):
                return frame


def test_rules_are_made_read_changed_and_deleted(server, tenant):
    machine = tenant.machine("M")
    r = rule(tenant, machine_id=machine["id"], duration_seconds=5, clear_threshold=80)
    assert {"id", "name", "machine_id", "metric_name", "operator", "threshold", "severity", "duration_seconds",
            "clear_threshold", "cooldown_seconds", "is_active", "created_at", "updated_at"} <= r.keys()
    assert tenant.get(f"/alert-rules/{r['id']}").json() == r
    assert tenant.patch(f"/alert-rules/{r['id']}", {"threshold": 95}).json()["threshold"] == 95
    assert tenant.get("/alert-rules").json()["total"] == 1
    assert Tenant(server).get(f"/alert-rules/{r['id']}").status_code == 404
    assert tenant.user("viewer").delete(f"/alert-rules/{r['id']}").status_code == 403
    assert tenant.delete(f"/alert-rules/{r['id']}").status_code == 204
    assert tenant.get(f"/alert-rules/{r['id']}").status_code == 404


@pytest.mark.parametrize("change", [{"operator": "near"}, {"severity": "meh"}, {"threshold": "hot"},
                                    {"metric_name": ""}, {"duration_seconds": -1}])
def test_bad_rules_are_refused(tenant, change):
    body = {"name": "n", "metric_name": "t", "operator": "gt", "threshold": 1, "severity": "info", **change}
    answer = tenant.post("/alert-rules", body)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", next(iter(change))]


def test_an_alert_opens_once_and_closes(server, tenant, pusher):
    machine = tenant.machine("M")
    rule(tenant)
    values = [50, 95, 97, 99, 85, 70]
    for i, v in enumerate(values[:4]):
        pusher.push([reading("M", value=v, timestamp=iso(START + i))])
    wait_until(lambda: alerts(tenant)["total"] == 1)
    a = alerts(tenant)["items"][0]
    assert {"id", "machine_id", "severity", "message", "metric_name", "metric_value", "threshold_value",
            "is_acknowledged", "acknowledged_by", "acknowledged_at", "snoozed_until", "created_at", "rule_id",
            "machine_name", "resolved_at", "peak_value"} <= a.keys()
    assert (a["machine_id"], a["severity"], a["metric_value"], a["threshold_value"]) == (machine["id"], "critical", 95, 90)
    assert a["resolved_at"] is None and a["is_acknowledged"] is False
    stats = tenant.get("/alerts/stats").json()
    assert stats == {"total_active": 1, "critical_count": 1, "warning_count": 0, "info_count": 0,
                     "unacknowledged_count": 1}
    assert tenant.get("/fleet/status").json()["machines"][0]["alert_count"] == 1
    assert tenant.get(f"/machines/{machine['id']}").json()["status"] == "critical"

    acknowledged = tenant.post(f"/alerts/{a['id']}/acknowledge")
    assert acknowledged.status_code == 200 and acknowledged.json()["is_acknowledged"] is True
    assert acknowledged.json()["acknowledged_at"] and acknowledged.json()["acknowledged_by"]

    for i, v in enumerate(values[4:]):
        pusher.push([reading("M", value=v, timestamp=iso(START + 10 + i))])
    wait_until(lambda: alerts(tenant, status="open")["total"] == 0)
    closed = tenant.get(f"/alerts/{a['id']}").json()
    assert closed["resolved_at"] and alerts(tenant, status="resolved")["total"] == 1
    assert Tenant(server).get(f"/alerts/{a['id']}").status_code == 404
    wait_until(lambda: tenant.get(f"/machines/{machine['id']}").json()["status"] == "healthy")


def test_hysteresis_and_duration(tenant, pusher):
    tenant.machine("M")
    rule(tenant, duration_seconds=10, clear_threshold=80)

    def at(second, value):
        pusher.push([reading("M", value=value, timestamp=iso(START + second))])

    at(0, 95), at(5, 96), at(8, 50)          # too short
    at(20, 95), at(25, 95)
    time.sleep(0.3)
    assert alerts(tenant)["total"] == 0
    at(31, 95)                               # held for more than 10 s now
    wait_until(lambda: alerts(tenant, status="open")["total"] == 1)
    at(40, 85)                               # below the threshold, above where it clears
    time.sleep(0.3)
    assert alerts(tenant, status="open")["total"] == 1
    at(50, 79)
    wait_until(lambda: alerts(tenant, status="open")["total"] == 0)
    assert alerts(tenant)["total"] == 1


def test_an_open_alert_outlives_a_restart_and_is_not_raised_again(own_server):
    server = own_server()
    t = Tenant(server)
    t.machine("M")
    rule(t)
    p = Pusher(server, t.key()["key"])
    p.push([reading("M", value=95, timestamp=iso(START))])
    wait_until(lambda: alerts(t)["total"] == 1)
    server.stop()
    server.start()
    p = Pusher(server, p.key)
    p.push([reading("M", value=96, timestamp=iso(START + 1))])
    time.sleep(0.5)
    assert alerts(t)["total"] == 1
    p.push([reading("M", value=10, timestamp=iso(START + 2))])
    wait_until(lambda: alerts(t, status="open")["total"] == 0)


def test_the_four_frames(server, tenant, pusher):
    machine = tenant.machine("M")
    rule(tenant)

    async def run():
        async with Feed(server, tenant.token) as feed:
            # The subscription stands when the first update comes through.
            end = time.monotonic() + 5 * SLOW
            while not any(f["type"] == "sensor_update" for f in feed.frames) and time.monotonic() < end:
                await asyncio.to_thread(pusher.push, [reading("M", value=50)])
                try:
                    await feed.next("sensor_update", 0.3)
                except AssertionError:
                    pass
            update = await feed.next("sensor_update", 0.01) if not feed.frames else next(
                f for f in feed.frames if f["type"] == "sensor_update")
            assert update == {"type": "sensor_update", "machine_id": machine["id"], "metric_name": "temperature",
                              "value": 50, "unit": "celsius", "timestamp": "2026-04-04T10:30:00Z"}
            await asyncio.to_thread(pusher.push, [reading("M", value=99, timestamp="2026-04-04T10:30:01Z")])
            alert = await feed.next("alert")
            assert {"alert_id", "machine_id", "severity", "message", "metric_value", "threshold_value", "created_at",
                    "seq"} <= alert.keys()
            assert (alert["metric_value"], alert["threshold_value"], alert["severity"]) == (99, 90, "critical")
            status = await feed.next("machine_status", 5, new_status="critical")
            assert {"machine_id", "old_status", "new_status", "timestamp"} <= status.keys()
            await asyncio.to_thread(pusher.push, [reading("M", value=1, timestamp="2026-04-04T10:30:02Z")])
            closing = await feed.next("alert")
            assert closing["alert_id"] == alert["alert_id"] and closing["resolved_at"]
            heartbeat = await feed.next("heartbeat", 20)
            assert heartbeat["server_time"].endswith("Z")

    asyncio.run(run())


def test_tenants_see_only_their_own_frames(server, tenant, pusher):
    stranger = Tenant(server)
    stranger.machine("X")
    tenant.machine("M")
    other = Pusher(server, stranger.key()["key"])

    async def run():
        async with Feed(server, tenant.token) as feed:
            for i in range(10):
                await asyncio.to_thread(other.push, [reading("X", value=i, timestamp=iso(START + i))])
                await asyncio.to_thread(pusher.push, [reading("M", value=i, timestamp=iso(START + i))])
                await asyncio.sleep(0.05)
            await feed.next("sensor_update", 5, value=9)
            mine = tenant.get("/machines").json()["items"][0]["id"]
            assert {f["machine_id"] for f in feed.frames if "machine_id" in f} == {mine}

    asyncio.run(run())


def close_code(server, first, wait=15):
    async def run():
        async with websockets.connect(server.url.replace("http", "ws") + "/api/v1/ws/dashboard") as s:
            if first is not None:
                await s.send(first)
            try:
                while True:
                    await asyncio.wait_for(s.recv(), wait * SLOW)
            except websockets.ConnectionClosed as e:
                return e.rcvd.code if e.rcvd else None
    return asyncio.run(run())


def test_close_codes(server):
    assert close_code(server, "not a token") == 4001
    assert close_code(server, None) == 4002


def test_an_api_key_with_stream_is_enough(server, tenant, pusher):
    tenant.machine("M")
    key = tenant.key(scopes=["stream"])["key"]

    async def run():
        async with Feed(server, key) as feed:
            for i in range(40):
                await asyncio.to_thread(pusher.push, [reading("M", value=i, timestamp=iso(START + i))])
                try:
                    return await feed.next("sensor_update", 0.2)
                except AssertionError:
                    continue
            raise AssertionError("no frame")

    asyncio.run(run())
    assert close_code(server, tenant.key()["key"]) == 4001


# ---- other types of rules ----

def test_a_composite_rule_looks_at_several_metrics(tenant, pusher):
    tenant.machine("M")
    conditions = [{"metric_name": "temperature", "operator": "gt", "threshold": 90},
                  {"metric_name": "flow", "operator": "lt", "threshold": 5}]
    answer = tenant.post("/alert-rules", {"severity": "critical", "conditions": conditions, "logic": "AND"})
    assert answer.status_code == 201, answer.text
    r = answer.json()
    assert (r["conditions"], r["logic"], r["metric_name"], r["operator"], r["threshold"], r["name"]) == (
        conditions, "AND", "temperature", "gt", 90, "temperature")
    pusher.push([reading("M", value=95, timestamp=iso(START)), reading("M", metric_name="flow", value=9, timestamp=iso(START))])
    pusher.push([reading("M", metric_name="flow", value=4, timestamp=iso(START + 1))])
    a = wait_until(lambda: alerts(tenant)["items"])[0]
    assert a["message"] == "temperature is above 90 and flow is below 5" and a["metric_value"] == 95
    pusher.push([reading("M", value=80, timestamp=iso(START + 2))])
    wait_until(lambda: alerts(tenant, status="open")["total"] == 0)
    patched = tenant.patch(f"/alert-rules/{r['id']}", {"conditions": None})
    assert patched.json()["conditions"] is None and patched.json()["metric_name"] == "temperature"


def test_a_rate_rule_looks_at_the_change_per_second(tenant, pusher):
    tenant.machine("M")
    rule(tenant, type="rate_of_change", threshold=2, window_seconds=10)
    pusher.push([reading("M", value=i, timestamp=iso(START + i)) for i in range(0, 31)])
    pusher.push([reading("M", value=30 + 5 * i, timestamp=iso(START + 30 + i)) for i in range(1, 11)])
    a = wait_until(lambda: alerts(tenant)["items"])[0]
    assert 2 < a["metric_value"] <= 5 and a["threshold_value"] == 2 and "/s" in a["message"]
    assert alerts(tenant)["total"] == 1


def test_an_anomaly_rule_learns_what_is_usual(tenant, pusher):
    tenant.machine("M")
    answer = tenant.post("/alert-rules", {"type": "anomaly", "metric_name": "temperature", "severity": "warning", "sensitivity": 4})
    assert answer.status_code == 201, answer.text
    pusher.push([reading("M", value=9 + 2 * (i % 2), timestamp=iso(START + i)) for i in range(100)])
    pusher.push([reading("M", value=25, timestamp=iso(START + 100))])
    a = wait_until(lambda: alerts(tenant)["items"])[0]
    assert (a["metric_value"], a["threshold_value"]) == (25, 4) and "unusual" in a["message"]


def test_silence_is_told_and_ends_with_a_reading(own_server):
    server = own_server()
    tenant = Tenant(server)
    pusher = Pusher(server, tenant.key()["key"])
    tenant.machine("M")
    pusher.push([reading("M", value=1, timestamp=iso(START))])
    answer = tenant.post("/alert-rules", {"type": "no_data", "metric_name": "temperature", "severity": "warning",
                                          "duration_seconds": 2})
    assert answer.status_code == 201, answer.text
    a = wait_until(lambda: alerts(tenant, status="open")["items"])[0]
    assert "no data for" in a["message"] and a["threshold_value"] == 2
    pusher.push([reading("M", value=1, timestamp=iso(START + 1))])
    wait_until(lambda: alerts(tenant, status="open")["total"] == 0)
    wait_until(lambda: alerts(tenant)["total"] == 2)                  # silent again
    server.stop()
    time.sleep(1)
    server.start()
    time.sleep(1 * SLOW)
    assert alerts(tenant)["total"] == 2, "open alerts stay open over a restart"


@pytest.mark.parametrize("body, member", [
    ({"type": "no_data", "metric_name": "t", "severity": "info"}, "duration_seconds"),
    ({"type": "threshold", "metric_name": "t", "severity": "info", "threshold": 1}, "operator"),
    ({"type": "rate_of_change", "metric_name": "t", "severity": "info", "operator": "gt"}, "threshold"),
    ({"type": "anomaly", "severity": "info"}, "metric_name"),
    ({"type": "anomaly", "metric_name": "t", "severity": "info", "sensitivity": 100}, "sensitivity"),
    ({"type": "anomaly", "metric_name": "t", "severity": "info", "method": "guess"}, "method"),
    ({"type": "anomaly", "metric_name": "t", "severity": "info", "clear_threshold": 1}, "clear_threshold"),
    ({"conditions": [{"metric_name": "t"}], "severity": "info"}, "conditions"),
    ({"conditions": [{"metric_name": "t", "operator": "gt", "threshold": 1}] * 9, "severity": "info"}, "conditions"),
    ({"conditions": [{"metric_name": "t", "operator": "gt", "threshold": 1}], "type": "no_data", "severity": "info",
      "duration_seconds": 5}, "conditions"),
    ({"conditions": [{"metric_name": "t", "operator": "gt", "threshold": 1}]}, "severity")])
def test_a_rule_has_what_its_type_needs(tenant, body, member):
    answer = tenant.post("/alert-rules", body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"][:2] == ["body", member]


def test_a_rule_for_a_group_watches_its_machines_alone(tenant, pusher):
    group = tenant.post("/machine-groups", {"name": "Hall"}).json()["id"]
    tenant.machine("IN", group_id=group)
    tenant.machine("OUT")
    rule(tenant, group_id=group)
    pusher.push([reading("OUT", value=95, timestamp=iso(START)), reading("IN", value=95, timestamp=iso(START))])
    a = wait_until(lambda: alerts(tenant)["items"])
    assert [x["machine_name"] for x in a] == ["Machine IN"]


def test_a_machine_costs_a_look_when_it_changes_and_none_else(own_server):
    server = own_server()
    tenant = Tenant(server)
    pusher = Pusher(server, tenant.key()["key"])
    for i in range(100):
        tenant.machine(f"M{i}")
    pusher.push([reading(f"M{i}", value=1, timestamp=iso(START)) for i in range(100)])
    wait_until(lambda: tenant.get("/fleet/status").json()["machines"][99]["status"] == "healthy")

    def looks():
        return server.metric_sum("haltless_machine_looks_total")

    def quiet():
        before = looks()
        time.sleep(1)
        return looks() == before
    wait_until(quiet, 20)
    before = looks()
    for i in range(20):
        pusher.push([reading(f"M{j}", value=1, timestamp=iso(START + i)) for j in range(100)])
    time.sleep(1)
    assert looks() == before, "who is online and reports is not looked at"
    assert tenant.patch(f"/machines/{tenant.get('/machines').json()['items'][0]['id']}", {"name": "other"}).status_code == 200
    wait_until(lambda: looks() > before)
    assert looks() <= before + 2
