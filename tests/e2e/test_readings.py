"""Reading back: raw, aggregated, paged, many machines; against the naive oracle."""
import csv
import io
import json
import random
import socket
import zoneinfo

import msgpack
import pytest

import oracle
from haltless import Pusher, Tenant, iso, reading, wait_until

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
    for how in HOWS[:-1]:
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
                                    {"cursor": "!!"}, {"cursor": "AQ"}, {"fill": "zero"}, {"timezone": "Europe/Nowhere"},
                                    {"timezone": "../../../etc/localtime"}, {"timezone": "/etc/localtime"},
                                    {"timezone": "tzdata.zi"}, {"timezone": "Europe"}, {"start": iso(START + 9), "end": iso(START)}])
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


ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo",
         "America/Havana", "Asia/Kathmandu", "America/St_Johns")
YEAR = 1735689600           # 2025-01-01T00:00:00Z


@pytest.fixture
def dated(tenant, pusher):
    """A machine with readings over 15 months, many around changes of clocks (some at midnight), and gaps of weeks."""
    machine = tenant.machine("M")
    rng = random.Random(7)
    times = {YEAR + rng.randrange(0, 457 * 86400) for _ in range(500)}
    for day in (67, 88, 92, 114, 249, 278, 298, 303, 305):
        times |= {YEAR + day * 86400 + rng.randrange(-30 * 3600, 30 * 3600) for _ in range(40)}
    times = {t for t in times if not YEAR + 130 * 86400 < t < YEAR + 170 * 86400}
    truth = sorted((t * 1_000_000, round(rng.uniform(-50, 50), 3)) for t in times)
    batch = [reading("M", value=v, timestamp=iso(t / 1e6)) for t, v in truth]
    assert pusher.push(batch).json()["accepted_count"] == len(batch)
    return machine, truth


def by_bucket(truth, interval, zone):
    buckets = {}
    for t, v in truth:
        buckets.setdefault(oracle.bucket_of(t, interval, zone), []).append((t, v))
    return buckets


@pytest.mark.parametrize("zone", ZONES)
def test_days_weeks_and_months_follow_local_midnight(tenant, dated, zone):
    machine, truth = dated
    for interval in ("1d", "3d", "1w", "2w", "1mo", "6h"):
        buckets = by_bucket(truth, interval, zone)
        page = fetch(tenant, machine, metric="temperature", start=iso(YEAR - 86400 * 40), interval=interval,
                     aggregation="sum", timezone=zone, limit=10000)
        assert page["timezone"] == zone
        assert [us(p["timestamp"]) for p in page["data"]] == sorted(buckets), interval
        for p in page["data"]:
            values = [v for _, v in buckets[us(p["timestamp"])]]
            assert (p["count"], p["min"], p["max"]) == (len(values), min(values), max(values))


def all_pages(tenant, machine, **params):
    pages, cursor = [], None
    while True:
        page = fetch(tenant, machine, **params, **({"cursor": cursor} if cursor else {}))
        pages.append(page["data"])
        cursor = page["next_cursor"]
        if cursor is None:
            return pages
        assert len(pages) < 1000


HOWS = ("avg", "min", "max", "sum", "count", "first", "last", "stddev", "p50", "p90", "p95", "p99", "rate", "delta",
        "time_weighted_avg")
GAPS = {"30s": 30, "1h": 3600, "26h": 26 * 3600, "3d": 3 * 86400}


def bucket_values(truth, ask):
    """[(start, value, readings)] of the buckets of a query, by the definitions."""
    start, end = us(ask["start"]), us(ask["end"])
    zone, interval = ask["timezone"], ask["interval"]
    rows = [(t, v) for t, v in truth if start <= t < end]
    buckets = by_bucket(rows, interval, zone)
    gap_us = GAPS[ask.get("max_gap", "1h")] * 1_000_000
    out = []
    for b in sorted(buckets):
        inside = buckets[b]
        if ask["aggregation"] == "time_weighted_avg":
            first, last = max(b, start), min(oracle.bucket_after(b, interval, zone), end)
            before = [r for r in truth if first - gap_us <= r[0] < first][-1:]
            value = oracle.time_weighted(inside, first, last, gap_us, *before)
        else:
            value = oracle.aggregate(inside, ask["aggregation"])
        out.append((b, value, inside))
    return out


def check_query(tenant, machine, truth, ask):
    want = bucket_values(truth, ask)
    inside = {b: rows for b, _, rows in want}
    points = [(b, v) for b, v, _ in want]
    if ask["fill"] == "none":
        points = [(b, v, False) for b, v in points]
    else:
        points = oracle.fill(points, ask["interval"], ask["timezone"], ask["fill"])
    got = [p for page in all_pages(tenant, machine, metric="temperature", **ask) for p in page]
    got = got if ask["order"] == "asc" else got[::-1]
    assert [us(p["timestamp"]) for p in got] == [b for b, _, _ in points], ask
    for p, (b, value, empty) in zip(got, points):
        values = [v for _, v in inside.get(b, ())]
        if empty:
            assert (p["count"], p["min"], p["max"]) == (0, None, None), (ask, p)
            assert p["value"] == (value if value is None else pytest.approx(value, rel=1e-9, abs=1e-6)), (ask, p)
            continue
        assert (p["count"], p["min"], p["max"]) == (len(values), min(values), max(values)), (ask, p)
        if ask["aggregation"] in oracle.EXACT:
            assert p["value"] == value, (ask, p, value)
        else:
            assert oracle.close(p["value"], value, values), (ask, p, value)
    return len(got)


def random_query(rng, zones, truth):
    first, last = truth[0][0], truth[-1][0]
    interval = rng.choice(("45s", "7m", "1h", "5h", "12h", "1d", "2d", "5d", "1w", "3w", "1mo"))
    width = {"s": 3600, "m": 86400}.get(interval[-1], 40 * 86400 if interval[-1] == "h" else 500 * 86400) * 1_000_000
    start = rng.randrange(first - 86400_000_000, last) // 1000 * 1000
    end = start + rng.randrange(width // 8, width) // 1000 * 1000
    ask = {"start": iso(start / 1e6), "end": iso(end / 1e6), "interval": interval, "aggregation": rng.choice(HOWS),
           "timezone": rng.choice(zones), "fill": rng.choice(("none", "null", "previous", "linear")),
           "order": rng.choice(("asc", "desc")), "limit": rng.choice((3, 17, 1000, 10000))}
    if rng.random() < .5:
        ask["max_gap"] = rng.choice(list(GAPS))
    return ask


def test_random_queries_agree_with_the_oracle(tenant, pusher, long_run):
    """Late, duplicate, out of order, with gaps; any zone of the system, any aggregation, interval, fill, order and page."""
    machine = tenant.machine("M")
    zones = sorted(z for z in zoneinfo.available_timezones() if not z.startswith(("posix/", "right/")) and z not in
                   ("localtime", "Factory"))
    rng = random.Random(20261125)
    truth = {}
    for _ in range(8):
        batch = []
        for _ in range(rng.randrange(200, 500)):
            day = rng.choice((0, 0, 1, 2, 80, 81, 85, 140, 200, 290, 300, 305, 306, 400))
            t_us = (YEAR + day * 86400) * 1_000_000 + rng.randrange(86400_000) * 1000
            batch.append((t_us, rng.choice([round(rng.uniform(-100, 100), 2), rng.uniform(-1e9, 1e9), 1e-3, float(rng.randrange(9))])))
        batch += [(t, rng.uniform(-5, 5)) for t, _ in rng.sample(batch, 20)] + [(t, 7.0) for t in rng.sample(sorted(truth), min(30, len(truth)))]
        assert pusher.push([reading("M", value=v, timestamp=iso(t / 1e6)) for t, v in batch]).json()["accepted_count"] == len(batch)
        truth.update(batch)
    truth = sorted(truth.items())
    seen = sum(check_query(tenant, machine, truth, random_query(rng, zones, truth)) for _ in range(3000 if long_run else 250))
    assert seen > 3000
    for how in HOWS:
        whole = {"start": iso(YEAR - 86400), "end": iso(YEAR + 500 * 86400), "interval": "1d", "aggregation": how, "fill": "none",
                 "timezone": "Pacific/Apia", "order": "asc", "limit": 10000}
        assert check_query(tenant, machine, truth, whole) > 10


def check_filled(got, want):
    assert [us(p["timestamp"]) for p in got] == [t for t, _, _ in want]
    for p, (_, value, empty) in zip(got, want):
        assert (p["count"] == 0) == empty and (p["min"] is None) == (p["max"] is None) == empty
        assert p["value"] == (value if value is None else pytest.approx(value, rel=1e-9, abs=1e-9))


@pytest.mark.parametrize("how", ["null", "previous", "linear"])
@pytest.mark.parametrize("zone", ["UTC", "America/Santiago", "America/Havana"])
def test_empty_buckets_are_filled_page_by_page(tenant, dated, how, zone):
    machine, truth = dated
    for interval, limits in (("1d", (10000, 7)), ("6h", (10000, 150)), ("1w", (1,)), ("1mo", (1,))):
        buckets = by_bucket(truth, interval, zone)
        points = [(t, oracle.aggregate(buckets[t], "max")) for t in sorted(buckets)]
        want = oracle.fill(points, interval, zone, how)
        for limit in limits:
            for order in ("asc", "desc"):
                pages = all_pages(tenant, machine, metric="temperature", start=iso(YEAR - 86400 * 40), timezone=zone,
                                  interval=interval, aggregation="max", fill=how, limit=limit, order=order)
                assert all(sum(p["count"] > 0 for p in page) <= limit for page in pages)
                check_filled([p for page in pages for p in page], want if order == "asc" else want[::-1])


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_wide_gap_is_filled_a_bounded_page_at_a_time(tenant, pusher, order):
    machine = tenant.machine("M")
    at = [START, START + 1, START + 25003, START + 25005]
    pusher.push([reading("M", value=v, timestamp=iso(t)) for t, v in zip(at, (1, 2, 25004, 3))])
    want = oracle.fill([(t * 1_000_000, v) for t, v in zip(at, (1, 2, 25004, 3))], "1s", "UTC", "linear")
    pages = all_pages(tenant, machine, metric="temperature", start=iso(START), end=iso(START + 90000), interval="1s",
                      fill="linear", order=order, limit=2)
    assert [len(page) for page in pages] == [10000, 10000, 5006]
    check_filled([p for page in pages for p in page], want if order == "asc" else want[::-1])
    years = fetch(tenant, machine, metric="temperature", start=iso(START - 86400), interval="1s", fill="null", limit=1)
    assert len(years["data"]) == 1 and years["next_cursor"] is not None


def test_nothing_is_filled_outside_or_without_buckets(tenant, pusher):
    machine = tenant.machine("M")
    pusher.push([reading("M", value=i, timestamp=iso(START + i * 7200)) for i in range(2)])
    page = fetch(tenant, machine, metric="temperature", start=iso(START - 86400), end=iso(START + 86400), interval="1h",
                 fill="previous")
    assert [(us(p["timestamp"]) // 1_000_000 - START, p["value"], p["count"]) for p in page["data"]] == [
        (0, 0, 1), (3600, 0, 0), (7200, 1, 1)]
    raw = fetch(tenant, machine, metric="temperature", start=iso(START - 86400), fill="linear")
    assert [p["value"] for p in raw["data"]] == [0, 1]


def test_late_readings_in_a_gap_do_not_repeat_points(tenant, pusher):
    machine = tenant.machine("M")
    pusher.push([reading("M", value=v, timestamp=iso(START + t)) for t, v in ((0, 0), (15000, 15000))])
    params = dict(metric="temperature", start=iso(START), end=iso(START + 90000), interval="1s", fill="linear", limit=1)
    first = fetch(tenant, machine, **params)
    pusher.push([reading("M", value=t, timestamp=iso(START + t)) for t in range(100, 110)])
    got, page = first["data"], first
    while page["next_cursor"] is not None:
        page = fetch(tenant, machine, **params, cursor=page["next_cursor"])
        got = got + page["data"]
    assert [us(p["timestamp"]) // 1_000_000 - START for p in got] == list(range(15001))
    assert all(p["value"] == pytest.approx(i) for i, p in enumerate(got))


# ---- other forms of the answer ----

def get_as(tenant, machine, accept, **params):
    answer = tenant.get(f"/machines/{machine['id']}/readings", params=params, headers={"Accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


def from_csv(answer):
    assert answer.headers["Content-Type"].startswith("text/csv") and answer.content.endswith(b"\r\n")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))
    series = {}
    for row in rows:
        one = series.setdefault((row["machine_id"] or None, row["metric_name"] or None), {"data": [], "next_cursor": None})
        point = {k: row[k] for k in ("timestamp", "value", "count", "min", "max") if k in row}
        for k in point.keys() - {"timestamp"}:
            point[k] = float(point[k]) if point[k] else None
        if point["timestamp"]:
            one["data"].append(point)
        one["next_cursor"] = row["next_cursor"] or None
    return series


def from_lines(answer):
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    series = {}
    for line in answer.text.splitlines():
        row = json.loads(line)
        one = series.setdefault((row.pop("machine_id"), row.pop("metric_name")), {"data": [], "next_cursor": None})
        row.pop("unit")
        assert one["next_cursor"] is None
        if "next_cursor" in row:
            one["next_cursor"] = row["next_cursor"]
        else:
            one["data"].append(row)
    return series


def from_json(whole):
    return {(s["machine_id"], s["metric_name"]): {"data": s["data"], "next_cursor": s["next_cursor"]}
            for s in whole.get("series", [whole]) if s["data"] or s["next_cursor"]}


@pytest.mark.parametrize("params", [{"limit": 10000}, {"limit": 10}, {"interval": "1h", "limit": 10000, "fill": "null"},
                                    {"interval": "1d", "aggregation": "rate", "limit": 2},
                                    {"interval": "1s", "fill": "linear"}])
def test_every_form_says_the_same(tenant, filled, params):
    machine, _ = filled
    for more in ({"metric": "temperature"}, {}, {"metric": ["temperature", "never seen"]}):
        ask = {"start": iso(START), "end": iso(START + 4 * 86400), **params, **more}
        whole = get_as(tenant, machine, "application/json", **ask)
        assert whole.headers["Content-Type"] == "application/json"
        packed = get_as(tenant, machine, "application/msgpack", **ask)
        assert packed.headers["Content-Type"] == "application/msgpack"
        assert msgpack.unpackb(packed.content) == whole.json()
        want = from_json(whole.json())
        assert from_lines(get_as(tenant, machine, "application/x-ndjson", **ask)) == want
        assert from_csv(get_as(tenant, machine, "text/csv", **ask)) == want


def test_many_machines_in_every_form(tenant, pusher):
    for i in range(30):
        tenant.machine(f"M{i}")
        pusher.push([reading(f"M{i}", metric=m, value=i + k / 7, timestamp=iso(START + k), unit='m,"s"')
                     for k in range(40) for m in ("x", 'a "b", c\nd', "ä")])
    for more in ({}, {"group_by": "metric"}, {"group_by": "all", "interval": "10s"}, {"metrics": ["none"]}):
        ask = {"start": iso(START), "end": iso(START + 3600), **more}

        def post(accept):
            answer = tenant.post("/readings/query", ask, headers={"Accept": accept})
            assert answer.status_code == 200, answer.text
            return answer
        whole = post("application/json").json()
        assert msgpack.unpackb(post("application/msgpack").content) == whole
        want = from_json(whole)
        assert from_lines(post("application/x-ndjson")) == want
        assert from_csv(post("text/csv")) == want


@pytest.mark.parametrize("accept, form", [
    ("image/png", "application/json"), ("*/*", "application/json"), ("application/json, text/csv;q=0.5", "application/json"),
    ("image/png, TEXT/CSV; header=present", "text/csv"), ("", "application/json")])
def test_the_first_form_that_is_known_is_taken(tenant, pusher, accept, form):
    machine = tenant.machine("M")
    pusher.push([reading("M", timestamp=iso(START))])
    answer = get_as(tenant, machine, accept, metric="temperature", start=iso(START))
    assert answer.headers["Content-Type"].split(";")[0] == form


def test_a_client_that_leaves_ends_its_query_and_costs_are_counted(server, tenant, pusher):
    machine = tenant.machine("long")
    for metric in "abcdef":
        for first in range(0, 8000, 1000):
            assert pusher.push([reading("long", metric=metric, value=i, timestamp=iso(1775260800 + i))
                                for i in range(first, first + 1000)]).status_code == 207
    path = f"/api/v1/machines/{machine['id']}/readings?start={iso(1775260800)}&limit=10000"
    names = ("queries_total", "queries_cancelled_total", "query_points_total", "query_rows_total")
    before = [server.metric_sum("haltless_" + n) for n in names]
    whole = tenant.get(server.url + path)
    assert [len(s["data"]) for s in whole.json()["series"]] == [8000] * 6
    between = [server.metric_sum("haltless_" + n) for n in names]
    assert between[0] > before[0] and between[1] == before[1]
    assert between[2] - before[2] >= 48000 and between[3] - before[3] >= 48000

    with socket.socket() as s:
        # The answer, of five megabytes, fits neither here nor into what the kernel takes of the server (4 MiB).
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", server.port))
        s.sendall(f"GET {path}&interval=1s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.token}\r\n\r\n".encode())
        assert s.recv(1024).startswith(b"HTTP/1.1 200")
    wait_until(lambda: server.metric_sum("haltless_queries_cancelled_total") > between[1])


@pytest.mark.once
def test_series_whose_figures_do_not_do_are_asked_for_together(own_server):
    """Each of 300 series has a late reading, so its head and its chunk are needed row by row: asked for one by one, with the
    figures of all the others in between, they would be 45 000 messages (and a query over 20 000 would not end)."""
    server = own_server()
    tenant = Tenant(server)
    tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    metrics, ticks = 300, 660

    def push(times):
        lines = [f'{{"machine_identifier":"M","timestamp":"{iso(START + t)}","metric_name":"m{m}","value":{t % 7},"unit":"c"}}'
                 for t in times for m in range(metrics)]
        for at in range(0, len(lines), 60000):
            answer = pusher.push_raw("\n".join(lines[at:at + 60000]), "application/x-ndjson")
            assert answer.status_code == 207 and answer.json()["rejected_count"] == 0, answer.text[:300]

    push(range(0, ticks * 10, 10))
    wait_until(lambda: server.metric_sum("haltless_chunks_sealed_total") >= metrics)
    push([5])
    before = server.metric_sum("haltless_messages_total", actor="query")
    answer = tenant.post("/readings/query", {"start": iso(START - 86400), "end": iso(START + 86400), "interval": "1d",
                                             "aggregation": "count", "group_by": "all"})
    assert answer.status_code == 200, answer.text[:300]
    assert sum(p["value"] for p in answer.json()["series"][0]["data"]) == metrics * (ticks + 1)
    assert server.metric_sum("haltless_messages_total", actor="query") - before < 20000
