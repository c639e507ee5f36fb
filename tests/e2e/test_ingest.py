"""POST /ingest: what is accepted, what is refused and with which words."""
import gzip
import json
import time

import msgpack
import pytest

from haltless import Pusher, Tenant, iso, reading

pytestmark = pytest.mark.short


def error(index, machine, text):
    return {"index": index, "machine_identifier": machine, "error": text}


def test_good_and_bad_readings_mix_with_exact_texts(server, tenant, pusher):
    tenant.machine("M")
    soon, late, old = iso(time.time() + 240), iso(time.time() + 600), iso(time.time() - 3651 * 86400)
    rows = [
        (reading("M"), None),
        (reading("nobody"), ("nobody", "Machine not found")),
        (reading("M", timestamp="2026-04-04 half past ten"), ("M", "Timestamp is not RFC 3339")),
        (reading("M", timestamp="2026-02-30T10:30:00Z"), ("M", "Timestamp is not RFC 3339")),
        (reading("M", timestamp=late), ("M", "Timestamp is more than 5 minutes in the future")),
        (reading("M", timestamp=old), ("M", "Timestamp is older than 3650 days")),
        (reading("M", timestamp=soon, metric="soon"), None),
        (reading("M", metric="m" * 256), ("M", "Metric name must have 1 to 255 characters")),
        (reading("M", metric=""), ("M", "Metric name must have 1 to 255 characters")),
        (reading("M", metric="ü" * 255), None),
        (reading("M", value="12"), ("M", "Value must be a number")),
        (reading("M", value=None), ("M", "Value must be a number")),
        (reading("M", value=True), ("M", "Value must be a number")),
        (reading("M", value=[1]), ("M", "Value must be a number")),
        (reading("M", unit="u" * 65), ("M", "Unit must have at most 64 characters")),
        (reading("M", unit=7), ("M", "Unit must be a string")),
        (reading("M", raw_tag="t" * 256), ("M", "Raw tag must have at most 255 characters")),
        (reading("M", raw_tag="a tag", extra={"ignored": [1, {"x": None}]}), None),
        ({k: v for k, v in reading("M").items() if k != "unit"}, ("M", "Unit is required")),
        ({k: v for k, v in reading("M").items() if k != "value"}, ("M", "Value is required")),
        ({k: v for k, v in reading("M").items() if k != "timestamp"}, ("M", "Timestamp is required")),
        ({k: v for k, v in reading("M").items() if k != "metric_name"}, ("M", "Metric name is required")),
        ({k: v for k, v in reading("M").items() if k != "machine_identifier"},
         (None, "Machine identifier is required")),
        (42, (None, "Reading must be an object")),
    ]
    answer = pusher.push([r for r, _ in rows])
    assert answer.status_code == 207, answer.text
    expected = [error(i, *bad) for i, (_, bad) in enumerate(rows) if bad]
    body = answer.json()
    assert body["errors"] == expected
    assert body["accepted_count"] == len(rows) - len(expected) and body["rejected_count"] == len(expected)
    assert answer.headers["X-Durability"] == "fsync"


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_value_that_is_not_finite_is_named(tenant, pusher, literal):
    tenant.machine("M")
    body = json.dumps({"readings": [reading("M", value=12345), reading("M")]}).replace("12345", literal)
    answer = pusher.push_raw(body)
    assert answer.status_code == 207, answer.text
    assert answer.json() == {"accepted_count": 1, "rejected_count": 1,
                             "errors": [error(0, "M", "Value must be finite")]}


def test_a_member_twice_is_a_bad_reading(tenant, pusher):
    tenant.machine("M")
    one = json.dumps(reading("M"))
    answer = pusher.push_raw('{"readings":[' + one[:-1] + ', "unit": "again"}]}')
    assert answer.status_code == 207
    assert answer.json()["errors"][0]["error"] == "Duplicate member: unit"


@pytest.mark.parametrize("body", ["", "{", "readings", '{"readings":[}', '{"readings":[]} x', '{"readings":[{"a":tru}]}',
                                  '{"readings":[{"value":01}]}', '{"a":NaN}', "\x00", '{"readings":["\x01"]}'])
def test_what_is_not_json_is_400(pusher, body):
    answer = pusher.push_raw(body)
    assert (answer.status_code, answer.json()) == (400, {"detail": "Request body is not valid JSON."})


def test_broken_utf8_is_400(pusher):
    assert pusher.push_raw(b'{"readings":[{"unit":"\xff\xfe"}]}').status_code == 400


@pytest.mark.parametrize("body", [{}, {"readings": 1}, {"readings": []}, [], {"readings": None}])
def test_a_body_of_another_shape_is_422(pusher, body):
    answer = pusher.push_raw(json.dumps(body))
    assert answer.status_code == 422, answer.text
    item = answer.json()["detail"][0]
    assert item["loc"][0] == "body" and item["msg"] and item["type"]


def test_the_ceiling_is_a_thousand(tenant, pusher):
    tenant.machine("M")
    many = [reading("M", timestamp=iso(1775298600 + i)) for i in range(1001)]
    assert pusher.push(many[:1000]).json()["accepted_count"] == 1000
    answer = pusher.push(many)
    assert answer.status_code == 422, answer.text


def test_more_than_ten_megabytes_is_413(server, pusher):
    answer = pusher.push_raw(b'{"readings":[' + b" " * 10_000_000 + b"]}")
    assert answer.status_code == 413
    assert server.process.poll() is None


def test_a_large_body_below_the_bound_is_taken(tenant, pusher):
    """Close to 10 MB in 1 000 readings: decoded in slices, stored whole."""
    tenant.machine("M")
    pad = "x" * 9000
    answer = pusher.push([reading("M", metric="big", timestamp=iso(1775298600 + i), note=pad) for i in range(1000)])
    assert answer.status_code == 207 and answer.json()["accepted_count"] == 1000


def test_credentials_and_scopes(server, tenant):
    assert Pusher(server, "hk_nonsense").push([reading("M")]).status_code == 401
    weak = tenant.key(scopes=["read:machines"])
    answer = Pusher(server, weak["key"]).push([reading("M")])
    assert (answer.status_code, answer.json()) == (
        403, {"detail": "API key does not have the required scope: ingest"})
    none = server_post(server, {})
    assert (none.status_code, none.json()) == (401, {"detail": "Authentication is required."})
    assert "WWW-Authenticate" in none.headers


def server_post(server, headers):
    import requests
    return requests.post(server.api + "/ingest", json={"readings": [reading("M")]}, headers=headers, timeout=20)


def test_another_tenants_machine_is_unknown(server, tenant):
    tenant.machine("mine")
    stranger = Tenant(server)
    answer = Pusher(server, stranger.key()["key"]).push([reading("mine")])
    assert answer.json()["errors"] == [error(0, "mine", "Machine not found")]


def test_a_revoked_key_is_refused_as_soon_as_it_is_revoked(server, tenant):
    tenant.machine("M")
    key = tenant.key()
    pusher = Pusher(server, key["key"])
    assert pusher.push([reading("M")]).status_code == 207
    assert tenant.delete(f"/settings/api-keys/{key['id']}").status_code == 204
    answer = pusher.push([reading("M")])
    assert (answer.status_code, answer.json()) == (401, {"detail": "Invalid API key."})


def test_messagepack_is_the_same_object(tenant, pusher):
    machine = tenant.machine("M")
    body = msgpack.packb({"readings": [reading("M", value=0.1 + 0.2), reading("M", metric="n", value=7),
                                       reading("M", value=float("nan")), reading("nobody")]})
    answer = pusher.push_raw(body, content_type="application/msgpack")
    assert answer.status_code == 207, answer.text
    assert [e["error"] for e in answer.json()["errors"]] == ["Value must be finite", "Machine not found"]
    latest = tenant.get(f"/machines/{machine['id']}/readings/latest").json()["readings"]
    assert {r["metric_name"]: r["value"] for r in latest} == {"temperature": 0.1 + 0.2, "n": 7}


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\x81\xa8readings\xdd\x10\x00\x00\x00",
                                  msgpack.packb({"readings": []}) + b"x"])
def test_broken_messagepack_is_refused_at_little_cost(pusher, body):
    assert pusher.push_raw(body, content_type="application/msgpack").status_code in (400, 422)


def test_an_unknown_content_type_is_415(pusher):
    assert pusher.push_raw("{}", content_type="text/plain").status_code == 415


def test_gzip_is_inflated_within_the_bound(tenant, pusher):
    tenant.machine("M")
    squeezed = gzip.compress(json.dumps({"readings": [reading("M")]}).encode())
    answer = pusher.push_raw(squeezed, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 207, answer.text
    bomb = gzip.compress(b" " * 50_000_000)
    assert pusher.push_raw(bomb, headers={"Content-Encoding": "gzip"}).status_code == 413


def test_the_same_reading_again_keeps_the_last(tenant, pusher):
    machine = tenant.machine("M")
    for value in (1, 2, 3):
        assert pusher.push([reading("M", value=value)]).json()["accepted_count"] == 1
    assert pusher.push([reading("M", value=4), reading("M", value=5)]).json()["accepted_count"] == 2
    data = tenant.get(f"/machines/{machine['id']}/readings", params={
        "metric": "temperature", "start": "2026-04-04T00:00:00Z"}).json()["data"]
    assert data == [{"timestamp": "2026-04-04T10:30:00Z", "value": 5}]


def test_values_come_back_bit_for_bit(tenant, pusher):
    machine = tenant.machine("M")
    values = [0.0, -0.0, 5e-324, 1.7976931348623157e308, -2.2250738585072014e-308, 0.1, 1 / 3, 123456789.125, 1e21,
              9007199254740993.0, -1e-7, 100.0]
    start = 1775298600
    answer = pusher.push([reading("M", value=v, timestamp=iso(start + i)) for i, v in enumerate(values)])
    assert answer.json()["accepted_count"] == len(values)
    text = tenant.get(f"/machines/{machine['id']}/readings?metric=temperature&start={iso(start)}").text
    data = json.loads(text, parse_int=float)["data"]     # an integer of Python's would lose the sign of -0
    assert [p["value"].hex() for p in data] == [v.hex() for v in values]
    assert '"value":0.1}' in text and '"value":100}' in text      # the shortest decimal


def test_times_of_any_offset_and_fraction(tenant, pusher):
    machine = tenant.machine("M")
    stamps = {"2026-04-04T12:30:00+02:00": "2026-04-04T10:30:00Z",
              "2026-04-04T10:30:00.5Z": "2026-04-04T10:30:00.500Z",
              "2026-04-04T10:30:00.123456789Z": "2026-04-04T10:30:00.123456Z",
              "2026-04-04T05:00:01-05:30": "2026-04-04T10:30:01Z"}
    assert pusher.push([reading("M", timestamp=t) for t in stamps]).json()["accepted_count"] == len(stamps)
    data = tenant.get(f"/machines/{machine['id']}/readings?metric=temperature&start=2026-04-04T00:00:00Z").json()
    assert [p["timestamp"] for p in data["data"]] == sorted(stamps.values(), key=lambda t: t.rstrip("Z"))


def test_a_new_unit_is_shown(tenant, pusher):
    machine = tenant.machine("M")
    pusher.push([reading("M", unit="celsius")])
    pusher.push([reading("M", unit="kelvin", timestamp="2026-04-04T10:31:00Z")])
    latest = tenant.get(f"/machines/{machine['id']}/readings/latest").json()["readings"]
    assert latest == [{"metric_name": "temperature", "value": 1, "unit": "kelvin",
                       "timestamp": "2026-04-04T10:31:00Z"}]


def lines(readings):
    return "".join(json.dumps(r) + "\n" for r in readings).encode()


def push_lines(pusher, body, **headers):
    return pusher.push_raw(body, content_type="application/x-ndjson", headers=headers)


def test_json_lines_are_a_reading_a_line(tenant, pusher):
    tenant.machine("M")
    answer = push_lines(pusher, b"\n \r\n" + lines([reading("M"), reading("nobody"), reading("M", value="x")])
                        + json.dumps(reading("M", metric="last")).encode())
    assert (answer.status_code, answer.json()) == (207, {
        "accepted_count": 2, "rejected_count": 2,
        "errors": [error(1, "nobody", "Machine not found"), error(2, "M", "Value must be a number")]})
    assert answer.headers["X-Durability"] == "fsync"
    for body in (b'{"a":', b"{} {}", b"{}\n]", b"\xff\n", lines([reading("M")]) + b'{"machine_identifier":"M"'):
        answer = push_lines(pusher, body)
        assert (answer.status_code, answer.json()) == (400, {"detail": "Request body is not valid JSON."}), body
    for body in (b"", b"\n\n"):
        assert push_lines(pusher, body).status_code == 422, body


def test_json_lines_have_no_ceiling_but_ten_megabytes(tenant, pusher):
    machine = tenant.machine("M")
    base = int(time.time()) - 80000
    many = [reading("M", timestamp=iso(base + i), value=i, metric="many") for i in range(70000)]
    body = lines(many)
    assert 8_000_000 < len(body) < 10_000_000
    answer = push_lines(pusher, body)
    assert (answer.status_code, answer.json()["accepted_count"]) == (207, 70000)
    answer = tenant.get(f"/machines/{machine['id']}/readings", params={
        "metric": "many", "start": iso(base), "interval": "36500d", "aggregation": "sum"}).json()
    assert [(p["count"], p["value"]) for p in answer["data"]] == [(70000, 70000 * 69999 / 2)]
    assert push_lines(pusher, gzip.compress(body, 1), **{"Content-Encoding": "gzip"}).json()["accepted_count"] == 70000
    for big in (body + body, gzip.compress(body + body, 1)):
        headers = {"Content-Encoding": "gzip"} if big[:2] == b"\x1f\x8b" else {}
        assert push_lines(pusher, big, **headers).status_code == 413


def test_a_body_of_faults_is_counted_and_the_first_ten_thousand_are_listed(tenant, pusher):
    answer = push_lines(pusher, b"0\n" * 60000)
    body = answer.json()
    assert (answer.status_code, body["accepted_count"], body["rejected_count"]) == (207, 0, 60000)
    assert body["errors"] == [error(i, None, "Reading must be an object") for i in range(10000)]


@pytest.mark.once
def test_a_tenants_budget_of_series_refuses_new_ones_alone(own_server):
    server = own_server(flags=["--limits-series-per-tenant", "3"])
    tenant = Tenant(server)
    machine = tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    assert pusher.push([reading("M", metric=f"m{i}", value=i) for i in range(3)]).json()["accepted_count"] == 3
    answer = pusher.push([reading("M", metric=f"m{i}", value=10 + i) for i in range(5)]).json()
    assert answer["accepted_count"] == 3 and answer["rejected_count"] == 2
    assert [e["index"] for e in answer["errors"]] == [3, 4]
    assert all("series" in e["error"].lower() for e in answer["errors"]), answer
    latest = tenant.get(f"/machines/{machine['id']}/readings/latest").json()["readings"]
    assert {r["metric_name"]: r["value"] for r in latest} == {"m0": 10, "m1": 11, "m2": 12}
    other = Tenant(server)
    other.machine("M")
    assert Pusher(server, other.key()["key"]).push([reading("M", metric="own")]).json()["accepted_count"] == 1
