"""A node seen from outside: /metrics, errors, and the way of one request; running and killed."""
import json
import math
import os
import re
import signal
import subprocess

import pytest
import requests

from haltless import BINARY, SLOW, Pusher, Tenant, reading, wait_until

pytestmark = pytest.mark.short


def haltless(server, *words, status=0):
    out = subprocess.run([BINARY, *words, "--data", server.data], capture_output=True, text=True, timeout=20 * SLOW,
                         stdin=subprocess.DEVNULL)
    assert out.returncode == status, out
    return out.stdout if status == 0 else out.stderr


def snapshot(server):
    return json.loads(haltless(server, "top", "--json", "--interval", "0.1", "--once"))


# ---- a strict reader of the Prometheus text format, version 0.0.4 ----

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,|(?=\}})))*)\}})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count"), "counter": ("",),
            "gauge": ("",), "untyped": ("",)}


class Family:
    def __init__(self, name, brief):
        self.name, self.brief, self.type, self.samples = name, brief, None, {}


def parse(text):
    """{name: Family}; whatever the format forbids is an assertion."""
    assert text.endswith("\n") and "\r" not in text
    families, now, seen = {}, None, set()
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, brief = line[7:].split(" ", 1)
            assert re.fullmatch(NAME, name) and brief and name not in families, line
            now = families[name] = Family(name, brief)
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert now is not None and name == now.name and now.type is None and not now.samples and kind in SUFFIXES, line
            now.type = kind
        else:
            m = SAMPLE.match(line)
            assert m and now is not None and now.type, line
            assert m[1] in {now.name + s for s in SUFFIXES[now.type]}, line     # of the family above it
            labels = LABEL.findall(m[2] or "")
            assert len({k for k, _ in labels}) == len(labels), line
            key = (m[1], tuple(sorted(labels)))
            assert key not in seen, line
            seen.add(key)
            now.samples[key] = float(m[3])
            assert not math.isnan(float(m[3])), line
            if now.type == "counter":
                assert now.name.endswith("_total") and float(m[3]) >= 0, line
    for family in families.values():
        assert family.type
        if family.type == "histogram":
            check_histogram(family)
    return families


def check_histogram(family):
    buckets, counts, sums = {}, {}, {}
    for (name, labels), value in family.samples.items():
        rest = tuple(p for p in labels if p[0] != "le")
        if name.endswith("_bucket"):
            buckets.setdefault(rest, []).append((float(dict(labels)["le"]), value))
        else:
            (counts if name.endswith("_count") else sums)[rest] = value
    assert buckets.keys() == counts.keys() == sums.keys()
    for rest, row in buckets.items():
        assert row == sorted(row) and [v for _, v in row] == sorted(v for _, v in row), (family.name, rest)   # cumulative
        assert row[-1][0] == math.inf and row[-1][1] == counts[rest] > 0, (family.name, rest)


def test_the_reader_of_metrics_is_strict():
    good = '# HELP a_total x\n# TYPE a_total counter\na_total{b="c"} 1\n'
    assert parse(good)["a_total"].samples
    for bad in (good[:-1], good + 'a_total{b="c"} 2\n', good + 'b_total 1\n', good.replace('"c"', 'c'),
                good.replace("_total", ""), good.replace(" 1\n", " x\n"), good.replace("# TYPE a_total counter\n", "")):
        with pytest.raises((AssertionError, ValueError)):
            parse(bad)
    hist = ('# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 3\nh_sum 4\nh_count 3\n')
    assert parse(hist)
    for bad in (hist.replace("} 2", "} 4"), hist.replace("h_count 3", "h_count 4"), hist.replace("h_sum 4\n", "")):
        with pytest.raises(AssertionError):
            parse(bad)


def test_metrics_are_the_rows_that_top_shows(own_server):
    server = own_server()
    tenant = Tenant(server)
    tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    for i in range(30):
        assert pusher.push([reading("M", value=i)]).status_code == 207

    # Two looks with a scrape between: what counts up lies between them, and nothing is left out.
    before = snapshot(server)
    families = parse(requests.get(server.url + "/metrics", timeout=20 * SLOW).text)
    after = snapshot(server)
    assert len(before["actors"]) == len(after["actors"])
    for a, b in zip(before["actors"], after["actors"]):
        kind, part = a["actor"].split(".")
        who = (("actor", kind), ("part", part))
        for row, value in a["counters"].items():
            family = families["haltless_" + row]
            scraped = family.samples[("haltless_" + row, who)]
            if family.type == "counter":
                assert value <= scraped <= b["counters"][row], (a["actor"], row)
        for row in ("queueing", "handling"):
            for t, u in zip(a["types"], b["types"]):
                labels = tuple(sorted([*who, ("type", t["type"])]))
                name = f"haltless_{row}_seconds_count"
                scraped = families[f"haltless_{row}_seconds"].samples.get((name, labels), 0)
                assert t[row]["count"] <= scraped <= u[row]["count"], (a["actor"], t["type"], row)
    readings = sum(t["queueing"]["count"] for a in after["actors"] if a["actor"].startswith("ingest.")
                   for t in a["types"] if t["type"] == "readings")
    assert readings == 30
    stored = [t for a in after["actors"] if a["actor"] == "front.0" for t in a["types"] if t["type"] == "stored"]
    assert stored[0]["handling"]["count"] == 30                     # each belongs to a request: none is left to a sample
    assert {"haltless_lane_bytes", "haltless_lane_high_water_bytes", "haltless_lane_capacity_bytes",
            "haltless_lane_full_total", "haltless_lane_shed_total", "haltless_faults_total"} <= families.keys()
    for lane in after["lanes"]:
        ends = (("from", lane["from"]), ("to", lane["to"]))
        assert families["haltless_lane_capacity_bytes"].samples[("haltless_lane_capacity_bytes", ends)] == lane["capacity"]


def steps(server, request):
    return [json.loads(line) for line in haltless(server, "trace", request, "--json").splitlines()]


def test_a_request_is_followed_through_the_actors_of_a_running_and_a_killed_node(own_server):
    server = own_server(flags=["--ingest-count", "1"])
    tenant = Tenant(server)
    tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    answer = pusher.push([reading("M")], headers={"X-Request-Id": "order 66, please".replace(" ", "-")})
    assert answer.status_code == 207
    named = answer.headers["X-Request-Id"]
    given = tenant.get("/machines").headers["X-Request-Id"]

    def check():
        way = steps(server, named)
        assert [(s["actor"], s["message"]) for s in way] == [("front.0", "request"), ("ingest.0", "readings"),
                                                             ("front.0", "stored")]
        request, readings, stored = way
        assert len({s["trace"] for s in way}) == 1 and all(s["done"] for s in way)
        assert readings["from"] == "front.0" and stored["from"] == "ingest.0"
        assert readings["committed_us"] > 0 and request["committed_us"] is None     # on the disk, then answered
        assert readings["at_us"] + readings["handled_us"] + readings["committed_us"] <= stored["at_us"] + 1000
        assert request["handled_us"] >= stored["at_us"]
        assert [s["actor"] for s in steps(server, given)] == ["front.0", "registry.0", "front.0"]
        text = haltless(server, "trace", named)
        assert len(text.splitlines()) == 4 and all(len(line) <= 80 for line in text.splitlines()), text
        known = [json.loads(line) for line in haltless(server, "trace", "--json").splitlines()]
        assert request["trace"] in {k["trace"] for k in known}
    wait_until(lambda: len(steps(server, named)) == 3)
    check()
    server.kill()
    check()
    assert haltless(server, "trace", "never-was", status=1).count("\n") == 1


def test_a_request_is_followed_into_the_alert_that_it_opens(own_server):
    server = own_server(flags=["--ingest-count", "1"])
    tenant = Tenant(server)
    tenant.machine("M")
    answer = tenant.post("/alert-rules", {"name": "hot", "metric_name": "temperature", "operator": "gt", "threshold": 90,
                                          "severity": "critical"})
    assert answer.status_code == 201, answer.text
    answer = Pusher(server, tenant.key()["key"]).push([reading("M", value=95)], headers={"X-Request-Id": "too-hot"})
    assert answer.status_code == 207
    seen = {("ingest.0", "readings"), ("front.0", "stored"), ("alert.0", "watched"), ("registry.0", "reg")}
    wait_until(lambda: seen <= {(s["actor"], s["message"]) for s in steps(server, "too-hot")})


def test_a_request_outlives_its_actor_whose_deaths_are_one_counted_error(own_server):
    server = own_server(topology="processes", flags=["--ingest-count", "1"])
    tenant = Tenant(server)
    tenant.machine("M")
    key = tenant.key()["key"]
    ingest = server.actor_pids()[("ingest", 0)]
    os.kill(ingest, signal.SIGSTOP)
    process = subprocess.Popen(["curl", "-s", "-o", "/dev/null", "-H", "X-API-Key: " + key, "-H", "X-Request-Id: stuck",
                                "-H", "Content-Type: application/json", "-d",
                                json.dumps({"readings": [reading("M")]}), server.api + "/ingest"])
    wait_until(lambda: "readings" in haltless(server, "lane", "count", "front.0", "ingest.0"))
    counted = json.loads(haltless(server, "lane", "count", "front.0", "ingest.0", "--json").splitlines()[0])
    assert counted["type"] == "readings" and counted["messages"] == 1 and counted["bytes"] >= 128
    os.kill(ingest, signal.SIGKILL)
    assert process.wait(30 * SLOW) == 0
    # Its successor took it from the lane: the request was answered, and the supervisor's error is counted.
    wait_until(lambda: {"ingest.0", "front.0"} <= {s["actor"] for s in steps(server, "stuck")})
    faults = [f for f in snapshot(server)["faults"] if f["event"] == "actor.exit"]
    assert faults and faults[0]["process"] == "node" and faults[0]["count"] == 1 and "KILL" in faults[0]["text"]
    os.kill(server.actor_pids()[("ingest", 0)], signal.SIGKILL)

    def counted_twice():
        return [f["count"] for f in snapshot(server)["faults"] if f["event"] == "actor.exit"] == [2]
    wait_until(counted_twice)
    assert "actor.exit" in haltless(server, "top", "--errors")
    families = parse(requests.get(server.url + "/metrics", timeout=20 * SLOW).text)
    times = [v for (_, labels), v in families["haltless_faults_total"].samples.items()
             if dict(labels)["event"] == "actor.exit"]
    assert times == [2]
    server.kill()
    assert "actor.exit" in haltless(server, "top", "--errors")
