"""POST /alert-rules/test: a draft over stored readings says what the same rule, live, raised."""
import random
import socket
import time

import pytest

from haltless import Pusher, Tenant, iso, reading, wait_until

START = 1775260800          # 2026-04-04T00:00:00Z
DRAFT = {"metric_name": "t", "operator": "gt", "threshold": 80, "severity": "warning"}
WHOLE = {"start": iso(START), "end": iso(START + 86400)}


def tried(tenant, **draft):
    answer = tenant.post("/alert-rules/test", {**WHOLE, **draft})
    assert answer.status_code == 200, answer.text
    out = answer.json()
    for name in ("reading_count", "fired_count", "flaps"):
        assert out[name] == sum(m[name] for m in out["machines"])
    assert out["fired_seconds"] == pytest.approx(sum(m["fired_seconds"] for m in out["machines"]))
    assert out["machine_count"] == len(out["machines"])
    return out


def only(out):
    (machine,) = out["machines"]
    return machine


def at(second):
    return iso(START + second)


def push(pusher, rows, machine="M", metric="t"):
    rows = [reading(machine, metric=metric, value=v, timestamp=at(s)) for s, v in rows]
    for i in range(0, len(rows), 1000):
        assert pusher.push(rows[i:i + 1000]).json()["accepted_count"] == len(rows[i:i + 1000])


# ---- what runs live says the same ----
RULES = {
    "plain": DRAFT,
    "held": {**DRAFT, "duration_seconds": 30, "clear_threshold": 70},
    "cooling": {**DRAFT, "operator": "lte", "threshold": 20, "cooldown_seconds": 120},
    "equal": {**DRAFT, "operator": "eq", "threshold": 50},
    "both": {"severity": "info", "duration_seconds": 5,
             "conditions": [{"metric_name": "t", "operator": "gt", "threshold": 55},
                            {"metric_name": "u", "operator": "lt", "threshold": 45}]},
    "either": {"severity": "info", "logic": "OR",
               "conditions": [{"metric_name": "u", "operator": "gt", "threshold": 85},
                              {"metric_name": "t", "operator": "lt", "threshold": 10},
                              {"metric_name": "t", "operator": "gt", "threshold": 95}]},
    "steep": {**DRAFT, "type": "rate_of_change", "window_seconds": 20, "threshold": 2},
    "falling": {**DRAFT, "type": "rate_of_change", "window_seconds": 60, "operator": "lt", "threshold": -0.5,
                "clear_threshold": -0.2},
    "odd": {"type": "anomaly", "metric_name": "u", "severity": "critical", "sensitivity": 1.5},
    "odd lately": {"type": "anomaly", "metric_name": "t", "severity": "critical", "method": "ewma", "sensitivity": 1.5},
}


def walk(rng, count):
    """In order of time, one metric a moment: values that wander, and jump at times."""
    values, out, second = {"t": 50.0, "u": 50.0}, [], 0
    for _ in range(count):
        second += rng.choice((0.5, 1, 2, 7)) if rng.random() < .98 else 300
        metric = rng.choice("ttu")
        values[metric] += rng.uniform(-8, 8) + (50 - values[metric]) * .05
        values[metric] = round(min(100, max(0, values[metric]))) if rng.random() < .97 else rng.choice((0.0, 50.0, 100.0))
        out.append((second, metric, values[metric]))
    return out


def outline(opened_at, a):
    """While it is open, the peak of a live one is that of its opening."""
    return opened_at, a["metric_value"], a["peak_value"] if a["resolved_at"] else None, a["resolved_at"] is None


def raised(tenant, rule, machine):
    page = tenant.get("/alerts", params={"machine_id": machine["id"], "page_size": 100}).json()
    assert page["total_pages"] <= 1, "more than a page: make the walk shorter"
    return sorted(outline(a["reading_at"], a) for a in page["items"] if a["rule_id"] == rule["id"])


def would_raise(tenant, draft, end, machine):
    out = tried(tenant, **draft, start=at(0), end=at(end), machine_id=machine["id"])
    return sorted(outline(a["opened_at"], a) for m in out["machines"] for a in m["alerts"])


@pytest.mark.parametrize("names", [list(RULES)[:4], list(RULES)[4:6], list(RULES)[6:]])
def test_it_says_what_the_live_rule_raised(tenant, pusher, names):
    machines = [tenant.machine("M"), tenant.machine("N")]
    rules = {name: tenant.post("/alert-rules", {"name": name, **RULES[name]}).json() for name in names}
    told = 0
    for k, machine in enumerate(machines):
        rows = walk(random.Random(f"{names}{k}"), 600)
        for stage in range(0, 600, 200):
            part = [reading("MN"[k], metric=m, value=v, timestamp=at(s)) for s, m, v in rows[stage:stage + 200]]
            assert pusher.push(part).json()["accepted_count"] == 200
            end = rows[stage + 199][0] + .001
            for name in names:
                would = would_raise(tenant, RULES[name], end, machine)
                try:
                    wait_until(lambda: raised(tenant, rules[name], machine) == would)
                except AssertionError:
                    assert raised(tenant, rules[name], machine) == would, name
                told += len(would)
    assert told > 20


# ---- what it says ----
def test_when_for_how_long_and_how_often(tenant, pusher):
    machine = tenant.machine("M")
    push(pusher, [(0, 50), (10, 90), (20, 99), (30, 85), (40, 60), (50, 81), (60, 20), (5000, 82), (5060, 0)])
    one = only(tried(tenant, **DRAFT))
    assert one["machine_id"] == machine["id"] and one["machine_name"] == machine["name"]
    assert [(a["opened_at"], a["resolved_at"], a["seconds"], a["metric_value"], a["peak_value"]) for a in one["alerts"]] == [
        (at(10), at(40), 30, 90, 99), (at(50), at(60), 10, 81, 81), (at(5000), at(5060), 60, 82, 82)]
    assert (one["fired_count"], one["fired_seconds"], one["flaps"], one["reading_count"]) == (3, 100, 1, 9)
    assert one["truncated"] is False and one["judged_until"] == WHOLE["end"]
    held = only(tried(tenant, **DRAFT, duration_seconds=15))
    assert [(a["opened_at"], a["resolved_at"], a["peak_value"]) for a in held["alerts"]] == [(at(30), at(40), 99)]


def test_what_is_open_at_the_end_is_not_resolved(tenant, pusher):
    tenant.machine("M")
    push(pusher, [(0, 50), (10, 90), (100, 95)])
    one = only(tried(tenant, **DRAFT, end=at(60)))
    assert one["alerts"] == [{"opened_at": at(10), "resolved_at": None, "seconds": 50, "metric_value": 90, "peak_value": 90}]
    assert one["fired_seconds"] == 50


def test_nothing_is_kept_of_it(tenant, pusher):
    tenant.machine("M")
    push(pusher, [(0, 90)])
    assert only(tried(tenant, **DRAFT, name="draft"))["fired_count"] == 1
    assert tenant.get("/alert-rules").json()["total"] == 0 and tenant.get("/alerts").json()["total"] == 0


def test_silence_is_measured_by_the_readings(tenant, pusher):
    silent = {"type": "no_data", "metric_name": "t", "severity": "critical", "duration_seconds": 60}
    for name in "ABC":
        tenant.machine(name)
    push(pusher, [(-500, 1), (100, 1), (160, 1), (300, 1)], "A")       # heard of before the range
    push(pusher, [(200, 1)], "B")                                      # first heard of in it
    push(pusher, [(-500, 1)], "C")                                     # nothing in it
    out = tried(tenant, **silent, end=at(400))
    by = {m["machine_name"][-1]: m for m in out["machines"]}
    assert [(a["opened_at"], a["resolved_at"], a["metric_value"]) for a in by["A"]["alerts"]] == [
        (at(60), at(100), 60), (at(220), at(300), 60), (at(360), None, 60)]
    assert [(a["opened_at"], a["resolved_at"]) for a in by["B"]["alerts"]] == [(at(260), None)]
    assert [(a["opened_at"], a["seconds"]) for a in by["C"]["alerts"]] == [(at(60), 340)]
    assert [m["reading_count"] for m in out["machines"]] == [3, 1, 0]
    calmer = tried(tenant, **silent, end=at(400), cooldown_seconds=200)
    by = {m["machine_name"][-1]: m for m in calmer["machines"]}
    assert [a["opened_at"] for a in by["A"]["alerts"]] == [at(60), at(360)]     # 220 lies before 100 + 200


def test_readings_are_judged_as_they_are_stored(tenant, pusher):
    """Late ones in their place, the last accepted of a moment, deleted ones not at all."""
    machine = tenant.machine("M")
    push(pusher, [(0, 10), (20, 10), (10, 90), (30, 90), (30, 10), (50, 90), (60, 10)])
    assert [a["opened_at"] for a in only(tried(tenant, **DRAFT))["alerts"]] == [at(10), at(50)]
    assert tenant.delete(f"/machines/{machine['id']}/readings", params={"start": at(5), "end": at(15)}).status_code == 204
    assert [a["opened_at"] for a in only(tried(tenant, **DRAFT))["alerts"]] == [at(50)]


def model_of_two(t, u):
    """AND of t > 50 and u > 50, in order of time, t first."""
    newest, out, opened = {}, [], None
    for s, _, metric, v in sorted([(s, 0, "t", v) for s, v in t] + [(s, 1, "u", v) for s, v in u]):
        newest[metric] = v
        holds = len(newest) == 2 and min(newest.values()) > 50
        if holds and opened is None:
            opened = s
        elif not holds and opened is not None:
            out.append((opened, s))
            opened = None
    return out + ([(opened, None)] if opened is not None else [])


def test_long_histories_of_several_metrics_come_in_pages(tenant, pusher):
    tenant.machine("M")
    rng = random.Random(5)
    t = [(i, rng.choice((40, 60))) for i in range(15000)]
    u = [(i * 97 + .5, rng.choice((40, 60, 60))) for i in range(200)]
    push(pusher, t)
    push(pusher, u, metric="u")
    want = model_of_two(t, u)
    one = only(tried(tenant, severity="info", conditions=[{"metric_name": m, "operator": "gt", "threshold": 50} for m in "tu"]))
    assert one["reading_count"] == 15200 and one["fired_count"] == len(want) > 1000 and one["truncated"] is True
    assert [(a["opened_at"], a["resolved_at"]) for a in one["alerts"]] == [
        (at(a), None if b is None else at(b)) for a, b in want[:100]]
    assert one["fired_seconds"] == pytest.approx(sum((86400 if b is None else b) - a for a, b in want))
    single = only(tried(tenant, **{**DRAFT, "threshold": 50}))
    assert single["reading_count"] == 15000
    assert single["fired_count"] == sum(v > 50 and (i == 0 or t[i - 1][1] <= 50) for i, (_, v) in enumerate(t))


def test_it_is_for_a_machine_a_group_or_all(server, tenant, pusher):
    group = tenant.post("/machine-groups", {"name": "G"}).json()
    machines = [tenant.machine(f"M{i}", **({"group_id": group["id"]} if i in (1, 3) else {})) for i in range(5)]
    for i in range(4):
        push(pusher, [(0, 90), (10, 0)], f"M{i}")
    push(pusher, [(0, 90)], "M4", "other")
    assert tenant.delete(f"/machines/{machines[0]['id']}").status_code == 204
    stranger = Tenant(server)
    stranger.machine("M1")
    push(Pusher(server, stranger.key()["key"]), [(0, 99)], "M1")

    def ids(**more):
        return [m["machine_id"] for m in tried(tenant, **DRAFT, **more)["machines"]]
    assert ids() == [machines[i]["id"] for i in (1, 2, 3)]
    assert ids(group_id=group["id"]) == [machines[i]["id"] for i in (1, 3)]
    assert ids(machine_id=machines[2]["id"]) == [machines[2]["id"]]
    assert ids(machine_id=machines[4]["id"]) == []
    for more, detail in (({"machine_id": stranger.get("/machines").json()["items"][0]["id"]}, "Machine not found."),
                         ({"group_id": machines[1]["id"]}, "Machine group not found.")):
        answer = tenant.post("/alert-rules/test", {**DRAFT, **more})
        assert (answer.status_code, answer.json()) == (404, {"detail": detail})


@pytest.mark.parametrize("more", [
    {"severity": None}, {"operator": None}, {"threshold": "hot"}, {"clear_threshold": 90}, {"duration_seconds": 604801},
    {"type": "no_data"}, {"type": "anomaly", "sensitivity": 0.1}, {"window_seconds": 0}, {"metric_name": ""},
    {"conditions": [{"metric_name": "t"}]}, {"conditions": [{"metric_name": "t", "operator": "gt", "threshold": 1}] * 9},
    {"type": "anomaly", "conditions": [{"metric_name": "t", "operator": "gt", "threshold": 1}]}, {"message": "x" * 501},
    {"channel_ids": ["7e57ab1e-0000-4000-8000-000000000000"]}])
def test_a_draft_is_refused_as_the_rule_would_be(tenant, more):
    draft = {k: v for k, v in {**DRAFT, **more}.items() if v is not None}
    made, tested = tenant.post("/alert-rules", draft), tenant.post("/alert-rules/test", draft)
    assert made.status_code >= 400
    assert (tested.status_code, tested.json()) == (made.status_code, made.json())


@pytest.mark.parametrize("more, member", [
    ({"start": "yesterday"}, "start"), ({"end": 7}, "end"), ({"start": at(10), "end": at(10)}, "start"),
    ({"start": "2099-01-01T00:00:00Z", "end": "2099-02-01T00:00:00Z"}, "start")])
def test_a_range_that_is_none_is_named(tenant, more, member):
    answer = tenant.post("/alert-rules/test", {**DRAFT, **more})
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["body", member]


def test_the_range_ends_now_at_the_latest(tenant, pusher):
    tenant.machine("M")
    now = time.time()
    pusher.push([reading("M", metric="t", value=90, timestamp=iso(round(now, 3)))])
    out = tried(tenant, **DRAFT, start=iso(round(now - 60)), end="2099-01-01T00:00:00Z")
    assert out["end"] < "2099" and only(out)["fired_seconds"] < 3600
    assert only(tenant.post("/alert-rules/test", DRAFT).json())["fired_count"] == 1     # the last day


def test_long_answers_wait_for_slow_clients_and_end_with_them(own_server):
    server = own_server(flags=["--limits-queries-per-tenant", "1"])
    tenant = Tenant(server)
    pusher = Pusher(server, tenant.key()["key"])
    for i in range(150):
        tenant.machine(f"M{i}")
        push(pusher, [(s, 90 * (s % 2)) for s in range(200)], f"M{i}")
    whole = tried(tenant, **DRAFT)
    assert whole["fired_count"] == 150 * 100 and whole["complete"] is True
    body = ('{"metric_name":"t","operator":"gt","threshold":80,"severity":"info","start":"%s","end":"%s"}' % (at(0), at(9000)))
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", server.port))
        s.sendall(f"POST /api/v1/alert-rules/test HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.token}\r\n"
                  f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        assert s.recv(1024).startswith(b"HTTP/1.1 200")
        busy = tenant.post("/alert-rules/test", {**DRAFT, **WHOLE})
        assert busy.status_code == 429 and busy.json()["detail"] == "Rate limit exceeded: 1 queries at once."
    wait_until(lambda: tenant.post("/alert-rules/test", {**DRAFT, **WHOLE}).status_code == 200)
