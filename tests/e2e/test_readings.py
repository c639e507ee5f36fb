"""Reading back: raw, aggregated, paged, many machines; against the naive oracle."""
import json
import random

import pytest

import oracle
from haltless import iso, reading

START = 1775260800          # 2026-04-04T00:00:00Z
pytestmark = pytest.mark.short


def us(text):
    import datetime
    text = text[:-1] + ("" if "." in text else ".0")
    d = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f") - datetime.datetime(1970, 1, 1)
    return (d.days * 86400 + d.seconds) * 1_000_000 + d.microseconds


def fetch(tenant, machine, **params):
    answer = tenant.get(f"/machines/{machine['id']}/readings", params=params)
    assert answer.status_code == 200, answer.text
    return json.loads(answer.text, parse_int=float)


@pytest.fixture
def filled(tenant, pusher):
    """A machine with random readings, many late, some replaced; and what must be there: {t_us: value}."""
    machine = tenant.machine("M")
    rng = random.Random(20260404)
    truth = {}
    for _ in range(12):
        batch = []
        for _ in range(rng.randrange(50, 400)):
            t = START + rng.randrange(0, 3 * 86400 * 1000) / 1000 if rng.random() < .5 else START + rng.randrange(0, 7200)
            value = rng.choice([round(rng.uniform(-100, 100), 2), rng.uniform(-1e6, 1e6), float(rng.randrange(10))])
            batch.append((round(t * 1000) * 1000, value))
        answer = pusher.push([reading("M", value=v, timestamp=iso(t / 1e6)) for t, v in batch])
        assert answer.json()["accepted_count"] == len(batch)
        truth.update(batch)
    return machine, sorted(truth.items())


def test_raw_is_what_was_sent(tenant, filled):
    machine, truth = filled
    got, cursor = [], None
    while True:
        page = fetch(tenant, machine, metric="temperature", start=iso(START), limit=700,
                     **({"cursor": cursor} if cursor else {}))
        assert len(page["data"]) <= 700 and all(p.keys() == {"timestamp", "value"} for p in page["data"])
        got += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert [(us(p["timestamp"]), p["value"]) for p in got] == truth
    assert page["interval"] is None or page["interval"] == "raw"


def test_descending_is_the_same_backwards(tenant, filled):
    machine, truth = filled
    page = fetch(tenant, machine, metric="temperature", start=iso(START), limit=500, order="desc")
    assert [(us(p["timestamp"]), p["value"]) for p in page["data"]] == truth[::-1][:500]
    page = fetch(tenant, machine, metric="temperature", start=iso(START), limit=500, order="desc",
                 cursor=page["next_cursor"])
    assert [(us(p["timestamp"]), p["value"]) for p in page["data"]] == truth[::-1][500:1000]


@pytest.mark.parametrize("interval", ["1m", "7m", "1h", "1d", "1w", "1mo", "90s"])
def test_every_aggregation_agrees_with_the_oracle(tenant, filled, interval):
    machine, truth = filled
    buckets = {}
    for t, v in truth:
        buckets.setdefault(oracle.bucket_of(t, interval), []).append((t, v))
    for how in ("avg", "min", "max", "sum", "count", "first", "last", "stddev", "p50", "p90", "p95", "p99", "delta",
                "rate"):
        page = fetch(tenant, machine, metric="temperature", start=iso(START), interval=interval, aggregation=how,
                     limit=10000)
        assert page["aggregation"] == how and page["interval"] == interval
        starts = sorted(b for b in buckets if how != "rate" or oracle.rate(buckets[b]) is not None)
        shown = [p for p in page["data"] if p["value"] is not None]
        assert [us(p["timestamp"]) for p in shown] == starts, how
        for p in shown:
            rows = buckets[us(p["timestamp"])]
            values = [v for _, v in rows]
            assert (p["count"], p["min"], p["max"]) == (len(rows), min(values), max(values))
            want = oracle.aggregate(rows, how)
            if how in oracle.EXACT:
                assert p["value"] == want, (how, p)
            else:
                assert oracle.close(p["value"], want, values), (how, p, want)


def test_a_range_is_half_open(tenant, pusher):
    machine = tenant.machine("M")
    pusher.push([reading("M", value=i, timestamp=iso(START + i)) for i in range(10)])
    page = fetch(tenant, machine, metric="temperature", start=iso(START + 2), end=iso(START + 5))
    assert [p["value"] for p in page["data"]] == [2, 3, 4]
    assert (page["start"], page["end"]) == (iso(START + 2), iso(START + 5))


def test_several_metrics_and_all_of_them(tenant, pusher):
    machine = tenant.machine("M")
    pusher.push([reading("M", metric=m, value=1, timestamp=iso(START)) for m in ("a", "b", "c,d")])
    two = tenant.get(f"/machines/{machine['id']}/readings?metric=a&metric=c%2Cd&start={iso(START)}").json()
    assert {s["metric_name"] for s in two["series"]} == {"a", "c,d"}
    both = tenant.get(f"/machines/{machine['id']}/readings?metric=a,b&start={iso(START)}").json()
    assert {s["metric_name"] for s in both["series"]} == {"a", "b"}
    everything = tenant.get(f"/machines/{machine['id']}/readings?start={iso(START)}").json()
    assert {s["metric_name"] for s in everything["series"]} == {"a", "b", "c,d"}


def test_an_unknown_metric_is_empty(tenant):
    machine = tenant.machine("M")
    page = fetch(tenant, machine, metric="never seen")
    assert page["data"] == [] and page["next_cursor"] is None


@pytest.mark.parametrize("params", [{"interval": "5x"}, {"interval": "0m"}, {"interval": "m"}, {"start": "yesterday"},
                                    {"aggregation": "median"}, {"limit": "0"}, {"limit": "10001"}, {"order": "up"},
                                    {"cursor": "!!"}, {"start": iso(START + 9), "end": iso(START)}])
def test_bad_parameters_are_named(tenant, params):
    machine = tenant.machine("M")
    answer = tenant.get(f"/machines/{machine['id']}/readings", params={"metric": "a", **params})
    assert answer.status_code == 422, answer.text
    item = answer.json()["detail"][0]
    assert item["loc"][0] == "query" and item["loc"][1] in params and item["type"] == "value_error"


def test_many_machines_in_one_query(tenant, pusher):
    machines = [tenant.machine(f"M{i}") for i in range(6)]
    for i in range(6):
        pusher.push([reading(f"M{i}", metric=m, value=i * 10 + k, timestamp=iso(START + 60 * k))
                     for k in range(5) for m in ("x", "y")])
    everything = tenant.post("/readings/query", {"start": iso(START), "end": iso(START + 3600), "interval": "1h",
                                                 "aggregation": "sum"}).json()["series"]
    assert len(everything) == 12
    for s in everything:
        i = [m["id"] for m in machines].index(s["machine_id"])
        assert [p["value"] for p in s["data"]] == [sum(i * 10 + k for k in range(5))]
    some = tenant.post("/readings/query", {"machine_ids": [machines[1]["id"], machines[4]["id"]], "metrics": ["y"],
                                           "start": iso(START), "end": iso(START + 3600)}).json()["series"]
    assert [(s["metric_name"], len(s["data"])) for s in some] == [("y", 5)] * 2
    folded = tenant.post("/readings/query", {"start": iso(START), "end": iso(START + 3600), "interval": "1h",
                                             "aggregation": "max", "group_by": "metric"}).json()["series"]
    assert {(s["metric_name"], s["data"][0]["value"], s["data"][0]["count"]) for s in folded} == {
        ("x", 54, 30), ("y", 54, 30)}


def test_what_a_207_accepted_the_next_query_sees(tenant, pusher):
    machine = tenant.machine("M")
    for i in range(60):
        assert pusher.push([reading("M", value=i, timestamp=iso(START + i))]).json()["accepted_count"] == 1
        latest = tenant.get(f"/machines/{machine['id']}/readings/latest").json()["readings"]
        assert latest[0]["value"] == i
        page = fetch(tenant, machine, metric="temperature", start=iso(START), interval="1d", aggregation="count")
        assert page["data"][0]["value"] == i + 1


def test_sealed_and_unsealed_readings_make_one_series(tenant, pusher):
    """Enough readings of one series that most are in chunks, then corrections of old ones."""
    machine = tenant.machine("M")
    for block in range(6):
        answer = pusher.push([reading("M", value=i, timestamp=iso(START + block * 1000 + i)) for i in range(1000)])
        assert answer.json()["accepted_count"] == 1000
    pusher.push([reading("M", value=-7, timestamp=iso(START + i)) for i in range(0, 6000, 100)])
    page = fetch(tenant, machine, metric="temperature", start=iso(START), limit=10000)
    assert len(page["data"]) == 6000
    assert [i for i, p in enumerate(page["data"]) if p["value"] == -7] == list(range(0, 6000, 100))
    hour = fetch(tenant, machine, metric="temperature", start=iso(START), interval="1d", aggregation="sum")
    want = sum(-7 if i % 100 == 0 else i % 1000 for i in range(6000))
    assert hour["data"][0]["value"] == want and hour["data"][0]["count"] == 6000
