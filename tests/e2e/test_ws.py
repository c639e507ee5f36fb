"""The live view: RFC 6455 as a server has to keep it, and what is ours: filters, resume, gap, limits, close codes."""
import json
import socket
import subprocess
import threading
import time

import pytest
import requests

from haltless import SLOW, Pusher, Server, Tenant, iso, reading, wait_until
from rawws import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Raw, frame, live

START = 1775260800


def rule(tenant, **more):
    answer = tenant.post("/alert-rules", {"name": "hot", "metric_name": "temperature", "operator": "gt", "threshold": 90,
                                          "severity": "critical", **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def plant(tenant, pusher):
    """A tenant with two machines and a rule for each; raise_alert(machine, i) opens and closes the i-th one."""
    tenant.ids = {m: tenant.machine(m)["id"] for m in ("A", "B")}
    rule(tenant)

    def raise_alert(machine, i):
        answer = pusher.push([reading(machine, value=95 + i, timestamp=iso(START + 2 * i)),
                              reading(machine, value=20, timestamp=iso(START + 2 * i + 1))])
        assert answer.json()["accepted_count"] == 2, answer.text

    tenant.raise_alert = raise_alert
    return tenant


def alerts_of(s, n, within=10):
    return [s.json("alert", within=within) for _ in range(n)]


# ---- RFC 6455 ----

GOOD = json.dumps({"nothing": "é€𝄞" * 40}).encode()
LONG = json.dumps({"nothing": "x" * 65000}).encode()

WELL_FORMED = {
    "one frame": [frame(TEXT, GOOD)],
    "empty": [frame(TEXT, b"")],
    "16-bit length": [frame(TEXT, b"x" * 126)],
    "125 bytes": [frame(TEXT, b"x" * 125)],
    "65535 bytes": [frame(TEXT, LONG.ljust(65535))],
    "64-bit length": [frame(TEXT, LONG.ljust(65536))],
    "in bytes": [frame(TEXT, GOOD)[i:i + 1] for i in range(len(frame(TEXT, GOOD)))],
    "two fragments, a character across": [frame(TEXT, GOOD[:16], fin=False), frame(CONTINUATION, GOOD[16:])],
    "a fragment a byte": [frame(TEXT, GOOD[:1], fin=False), *(frame(CONTINUATION, GOOD[i:i + 1], fin=False) for i in range(1, len(GOOD))),
                          frame(CONTINUATION)],
    "empty fragments": [frame(TEXT, b"", fin=False), frame(CONTINUATION, b"", fin=False), frame(CONTINUATION, GOOD)],
    "a ping between fragments": [frame(TEXT, GOOD[:16], fin=False), frame(PING, b"p"), frame(CONTINUATION, GOOD[16:])],
    "an unasked pong": [frame(PONG, b"who asked?"), frame(TEXT, GOOD)],
    "binary": [frame(BINARY, b"\0\1\2")],
    "mask of zeros": [frame(TEXT, GOOD, mask=b"\0\0\0\0")],
}


@pytest.mark.parametrize("case", WELL_FORMED)
def test_what_is_well_formed_is_heard(server, tenant, case):
    with live(server, tenant.token) as s:
        for piece in WELL_FORMED[case]:
            s.send(piece)
        assert s.json("error")["detail"]
        s.send(frame(CLOSE, b"\x03\xe8bye"))
        assert s.close_code() == 1000


MALFORMED = {
    "reserved bit 1": (frame(TEXT, GOOD, rsv=4), 1002),
    "reserved bit 2": (frame(TEXT, GOOD, rsv=2), 1002),
    "reserved bit 3": (frame(TEXT, GOOD, rsv=1), 1002),
    "reserved bit of a ping": (frame(PING, b"", rsv=4), 1002),
    **{f"opcode {o}": (frame(o, GOOD), 1002) for o in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "not masked": (frame(TEXT, GOOD, mask=None), 1002),
    "a ping not masked": (frame(PING, b"p", mask=None), 1002),
    "16-bit length of 125": (frame(TEXT, b"x" * 125, form=16), 1002),
    "64-bit length of 126": (frame(TEXT, b"x" * 126, form=64), 1002),
    "64-bit length of 65535": (frame(TEXT, b"x" * 65535, form=64), 1002),
    "64-bit length with its highest bit": (frame(TEXT, b"", length=1 << 63, form=64), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a closing frame of 126 bytes": (frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
    "a ping in fragments": (frame(PING, b"x", fin=False), 1002),
    "a closing frame in fragments": (frame(CLOSE, b"\x03\xe8", fin=False), 1002),
    "a continuation of nothing": (frame(CONTINUATION, GOOD), 1002),
    "a text inside a text": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "a binary inside a text": (frame(TEXT, b"x", fin=False) + frame(BINARY, b"y"), 1002),
    "invalid UTF-8": (frame(TEXT, b"\"\xff\""), 1007),
    "half a character at the end": (frame(TEXT, "é".encode()[:1]), 1007),
    "half a character at the end of the last fragment": (frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"\xe2\x82"), 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "an overlong form": (frame(TEXT, b"\xc0\xaf"), 1007),
    "beyond Unicode": (frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
    "invalid across fragments": (frame(TEXT, b"\xe2\x82", fin=False) + frame(CONTINUATION, b"x"), 1007),
    "invalid in the first of many fragments": (frame(TEXT, b"\xff", fin=False), 1007),
    "a message of 65537 bytes": (frame(TEXT, b"x" * 65537), 1009),
    "a claim of 4 GiB": (frame(TEXT, b"x", length=1 << 32), 1009),
    "a message of 65537 bytes in fragments": (b"".join([frame(TEXT, b"x" * 60000, fin=False), frame(CONTINUATION, b"x" * 5537)]), 1009),
    "close code 999": (frame(CLOSE, b"\x03\xe7"), 1002),
    "close code 1004": (frame(CLOSE, b"\x03\xec"), 1002),
    "close code 1005": (frame(CLOSE, b"\x03\xed"), 1002),
    "close code 1006": (frame(CLOSE, b"\x03\xee"), 1002),
    "close code 1015": (frame(CLOSE, b"\x03\xf7"), 1002),
    "close code 2999": (frame(CLOSE, b"\x0b\xb7"), 1002),
    "close code 5000": (frame(CLOSE, b"\x13\x88"), 1002),
    "half a close code": (frame(CLOSE, b"\x03"), 1005),    # as if it had none: it goes anyway
    "a close reason that is not UTF-8": (frame(CLOSE, b"\x03\xe8\xff"), 1007),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_not_well_formed_ends_the_connection_with_its_code(server, tenant, case):
    data, code = MALFORMED[case]
    with live(server, tenant.token) as s:
        s.send(data)
        assert s.close_code() == code


@pytest.mark.parametrize("case", ["reserved bit 1", "not masked", "invalid UTF-8", "a message of 65537 bytes"])
def test_a_stranger_is_held_to_the_same_rules(server, case):
    data, code = MALFORMED[case]
    with Raw(server) as s:
        s.send(data)
        assert s.close_code() == code


@pytest.mark.parametrize("payload, code", [(b"", 1005), (b"\x03\xe8", 1000), (b"\x03\xe9going", 1001), (b"\x0b\xb8", 3000),
                                           (b"\x13\x87", 4999)])
def test_a_closing_frame_is_answered_and_the_connection_ends(server, tenant, payload, code):
    with live(server, tenant.token) as s:
        s.send(frame(CLOSE, payload) + frame(TEXT, b"after it: not heard"))
        assert s.close_code() == code
        with pytest.raises((EOFError, ConnectionError)):
            s.next()


def test_pings_are_answered_in_order_with_what_they_carry(server, tenant):
    with live(server, tenant.token) as s:
        sent = [bytes([i]) * i for i in range(126)]
        s.send(b"".join(frame(PING, p) for p in sent))
        got = [s.next() for _ in sent]
        assert got == [(PONG, p) for p in sent]


def test_a_flood_of_pings_whose_answers_nobody_reads_is_cut_off(own_server):
    server = own_server()
    tenant = Tenant(server)
    with live(server, tenant.token, rcvbuf=4096) as s, pytest.raises(OSError):
        ping = frame(PING, b"x" * 125) * 500
        for _ in range(2000):                       # 130 MB: far more than sockets hold
            s.send(ping)


@pytest.mark.parametrize("change, status", [
    ({"Sec-WebSocket-Version": "12"}, 426), ({"Sec-WebSocket-Key": "short"}, 400), ({"Sec-WebSocket-Key": None}, 400),
    ({"Upgrade": None}, 426), ({"Upgrade": "h2c"}, 426)])
def test_a_handshake_that_is_none_is_told_so(server, change, status):
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
               "Sec-WebSocket-Version": "13", **change}
    answer = requests.get(server.api + "/ws/dashboard", headers=headers, timeout=10 * SLOW)
    assert answer.status_code == status and answer.json()["detail"]
    if status == 426:
        assert answer.headers["Sec-WebSocket-Version"] == "13"


def test_extensions_and_protocols_are_not_agreed_to(server):
    with Raw(server, headers=["Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: chat"]) as s:
        assert s.status == 101 and b"extensions" not in s.head.lower() and b"sec-websocket-protocol" not in s.head.lower()


# ---- who may ----

def test_origins_are_held_against_the_list(own_server):
    server = own_server(flags=["--http-cors-origins", "https://good.example, https://also.example"])
    for origin, status in ((f"http://127.0.0.1:{server.port}", 101), ("https://good.example", 101), ("https://also.example", 101),
                           ("https://bad.example", 403), ("null", 403), ("https://good.example.bad", 403)):
        with Raw(server, headers=["Origin: " + origin]) as s:
            assert s.status == status, origin


def test_more_than_twenty_strangers_of_an_address_are_too_many(own_server):
    server = own_server()
    tenant = Tenant(server)
    crowd = [Raw(server) for _ in range(20)]
    with Raw(server) as s:
        assert s.close_code() == 4003
    crowd.pop().socket.close()
    crowd[0].text(tenant.token)                     # who is known is no stranger

    def there_is_room():
        with Raw(server) as s:
            s.text(tenant.token)
            s.say(nothing=True)
            return s.next()[0] == TEXT
    wait_until(there_is_room)
    for s in crowd:
        s.socket.close()


def test_a_tenant_has_its_share_of_sockets(own_server):
    server = own_server(flags=["--limits-sockets-per-tenant", "3", "--front-count", "1"])
    tenant, other = Tenant(server), Tenant(server)
    mine = [live(server, tenant.token) for _ in range(3)]
    with Raw(server) as s:
        s.text(tenant.token)
        assert s.close_code() == 4004
    with live(server, other.token):
        pass
    mine.pop().socket.close()

    def there_is_room():
        with Raw(server) as s:
            s.text(tenant.token)
            s.say(nothing=True)
            return s.next()[0] == TEXT
    wait_until(there_is_room)
    for s in mine:
        s.socket.close()


def test_a_token_ends_a_connection_when_it_expires_unless_it_is_renewed(own_server):
    life = int(5 + SLOW)
    server = own_server(flags=["--auth-access-token-s", str(life)])
    tenant = Tenant(server)
    began = time.time()
    with live(server, tenant.token) as ends, live(server, tenant.token) as stays:
        time.sleep(life / 2)
        stays.say(token=tenant.login(tenant.email).token)
        assert ends.close_code(within=20) == 4001
        assert time.time() - began > life - 1.5         # it is issued in whole seconds, not earlier
        stays.say(nothing=True)
        stays.json("error")


def test_a_renewal_is_of_the_same_tenant_and_good(server, tenant):
    with live(server, tenant.token) as s:
        s.say(token=tenant.token)
        s.say(nothing=True)
        s.json("error")
        s.say(token=Tenant(server).token)
        assert s.close_code() == 4001
    with live(server, tenant.token) as s:
        s.say(token="nonsense")
        assert s.close_code() == 4001


def test_who_logs_out_or_loses_the_key_is_let_go(server, tenant):
    key = tenant.key(scopes=["stream"])
    gone = tenant.login(tenant.email)
    with live(server, key["key"]) as by_key, live(server, gone.token) as by_token, live(server, tenant.token) as stays:
        assert tenant.delete(f"/settings/api-keys/{key['id']}").status_code in (200, 204)
        assert gone.post("/auth/logout").status_code in (200, 204)
        assert by_key.close_code() == 4001 and by_token.close_code() == 4001
        stays.say(nothing=True)
        stays.json("error")


class TlsServer(Server):
    scheme = "https"


def test_closing_frames_come_over_tls_too(topology, tmp_path, monkeypatch):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key),
                    "-out", str(cert)], check=True, capture_output=True)
    import ssl
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
    context = ssl.create_default_context(cafile=str(cert))
    with TlsServer(topology, flags=["--tls-cert", str(cert), "--tls-key", str(key), "--limits-rate-open", "0"]) as server:
        tenant = Tenant(server)
        with live(server, tenant.token, tls=context) as s:
            s.send(frame(CLOSE, b"\x03\xe8"))
            assert s.close_code() == 1000
        with Raw(server, tls=context) as s:
            s.text("not a token")
            assert s.close_code() == 4001


# ---- filters ----

def test_a_client_gets_what_it_asked_for_alone(server, plant, pusher):
    wide, machine, metric, types = (live(server, plant.token) for _ in range(4))
    machine.say(subscribe={"machine_ids": [plant.ids["B"], "not-an-id"]})
    metric.say(subscribe={"metrics": ["pressure", "flow"]})
    types.say(subscribe={"types": ["alert"]})
    for s in (machine, metric, types):
        s.say(nothing=True)
        s.json("error")
    pusher.push([reading(m, metric_name=n, value=v, timestamp=iso(START)) for v, (m, n) in
                 enumerate((m, n) for m in "AB" for n in ("pressure", "flow", "speed"))])
    plant.raise_alert("A", 0)
    plant.raise_alert("B", 1)

    def all_until_last_alert(s, n):
        seen = []
        while sum(f["type"] == "alert" for f in seen) < n:
            seen.append(s.json())
        return seen

    def updates(seen):
        return {(f["machine_id"], f["metric_name"]) for f in seen if f["type"] == "sensor_update" and f["metric_name"] != "temperature"}

    a, b = plant.ids["A"], plant.ids["B"]
    seen = all_until_last_alert(wide, 4)
    assert updates(seen) == {(m, n) for m in (a, b) for n in ("pressure", "flow", "speed")}
    seen = all_until_last_alert(machine, 2)
    assert updates(seen) == {(b, n) for n in ("pressure", "flow", "speed")}
    assert {f["machine_id"] for f in seen if f["type"] != "heartbeat"} == {b}
    seen = all_until_last_alert(metric, 4)
    assert updates(seen) == {(m, n) for m in (a, b) for n in ("pressure", "flow")}
    assert not [f for f in seen if f.get("metric_name") == "temperature"]
    assert {f["type"] for f in all_until_last_alert(types, 4)} <= {"alert", "heartbeat"}
    types.say(subscribe={})                         # everything again
    types.say(nothing=True)
    types.json("error")
    pusher.push([reading("A", metric_name="speed", value=77, timestamp=iso(START + 50))])
    types.json("sensor_update", value=77)
    for s in (wide, machine, metric, types):
        s.socket.close()


@pytest.mark.parametrize("bad", [
    {"subscribe": []}, {"subscribe": {"machine_ids": "A"}}, {"subscribe": {"metrics": [1]}},
    {"subscribe": {"metrics": ["m"] * 1001}}, {"subscribe": {"types": ["telemetry"]}}, {"subscribe": {"min_interval_ms": -1}},
    {"subscribe": {"min_interval_ms": "100"}}, {"subscribe": {"min_interval_ms": 3600001}}, {"resume": -1}, {"resume": "1"},
    {"token": 1}, {}, [], 7])
def test_what_cannot_be_done_is_said_and_changes_nothing(server, plant, pusher, bad):
    with live(server, plant.token) as s:
        s.text(json.dumps(bad))
        assert s.json("error")["detail"]
        pusher.push([reading("A", metric_name="speed", value=5, timestamp=iso(START))])
        s.json("sensor_update", value=5)


def test_an_interval_gives_the_newest_of_each_series(server, plant, pusher):
    with live(server, plant.token) as s, live(server, plant.token) as wide:
        s.say(subscribe={"min_interval_ms": 1000, "types": ["sensor_update"]})
        s.say(nothing=True)
        s.json("error")
        for i in range(40):
            pusher.push([reading(m, metric_name="speed", value=i, timestamp=iso(START + i)) for m in "AB"])
        seen, last = [], {}
        while last != {plant.ids["A"]: 39, plant.ids["B"]: 39}:
            f = s.json("sensor_update")
            seen.append(f)
            last[f["machine_id"]] = f["value"]
        each = [[f["value"] for f in seen if f["machine_id"] == m] for m in plant.ids.values()]
        assert all(v == sorted(set(v)) for v in each), "each is newer than the one before it"
        values = []
        while values.count(39) < 2:
            values.append(wide.json("sensor_update")["value"])
        assert len(values) == 80 and len(seen) < 80


def test_a_late_reading_does_not_stand_for_its_series(server, plant, pusher):
    with live(server, plant.token) as s:
        s.say(subscribe={"min_interval_ms": 500})
        s.say(nothing=True)
        s.json("error")
        pusher.push([reading("A", metric_name="speed", value=1, timestamp=iso(START + 9))])
        s.json("sensor_update", value=1)            # the next ones wait together
        pusher.push([reading("A", metric_name="speed", value=2, timestamp=iso(START + 10))])
        pusher.push([reading("A", metric_name="speed", value=3, timestamp=iso(START + 5))])
        assert s.json("sensor_update")["value"] == 2


# ---- events: numbered, replayed, none twice ----

def test_events_are_numbered_without_a_hole(server, plant):
    with live(server, plant.token) as s:
        s.say(subscribe={"types": ["alert", "machine_status"]})
        for i in range(10):
            plant.raise_alert("A", i)
        seqs = []
        while len(seqs) < 20:
            f = s.json()
            if "seq" in f:
                seqs.append(f["seq"])
        assert seqs == list(range(seqs[0], seqs[0] + 20))


def collect(s, until):
    seqs = []
    while not seqs or seqs[-1] < until:
        f = s.json()
        if "seq" in f:
            seqs.append(f["seq"])
        assert f["type"] != "gap", f
    return seqs


def last_seq(server, tenant):
    """Of what has happened so far: asks for all of it."""
    with live(server, tenant.token) as s:
        s.say(resume=0)
        seqs = []
        while True:
            try:
                f = s.json(within=1)
            except AssertionError:
                return seqs[-1]
            if "seq" in f:
                seqs.append(f["seq"])


def settled(server, tenant, alerts):
    wait_until(lambda: tenant.get("/alerts", params={"status": "resolved"}).json()["total"] == alerts)
    wait_until(lambda: tenant.get("/alerts", params={"status": "open"}).json()["total"] == 0)


def test_resume_replays_what_was_missed_and_then_goes_on(server, plant):
    plant.raise_alert("A", 0)
    settled(server, plant, 1)
    with live(server, plant.token) as s:
        s.say(resume=0)
        assert s.json("alert")["seq"] == 1
        plant.raise_alert("A", 1)
        came = collect(s, 4)
        assert came == list(range(came[0], 5)) and came[0] >= 2
    end = last_seq(server, plant)
    for n in (0, 1, end - 1, end, end + 5):
        with live(server, plant.token) as s:
            s.say(resume=n)
            expected = list(range(n + 1, end + 1))
            assert (collect(s, end) if expected else []) == expected


def test_resume_works_over_a_crash_and_names_what_is_not_kept(own_server):
    server = own_server()
    tenant = Tenant(server)
    pusher = Pusher(server, tenant.key()["key"])
    tenant.machine("A")
    rule(tenant)
    n = 560                                         # two events each: more than the thousand that are kept
    pusher.push([reading("A", value=95 if i % 2 == 0 else 20, timestamp=iso(START + i)) for i in range(2 * n - 200)])
    wait_until(lambda: tenant.get("/alerts", params={"status": "resolved"}).json()["total"] >= n - 100, 60)
    server.kill()
    server.start()
    pusher.push([reading("A", value=95 if i % 2 == 0 else 20, timestamp=iso(START + i)) for i in range(2 * n - 200, 2 * n)])
    wait_until(lambda: tenant.get("/alerts", params={"status": "resolved"}).json()["total"] == n, 60)
    with live(server, tenant.token) as s:
        s.say(resume=0)
        gap = s.json("gap", within=20)
        assert gap["from"] == 1
        first = s.json()
        while "seq" not in first:
            first = s.json()
        assert first["seq"] == gap["to"] + 1
        seqs = [first["seq"], *collect(s, gap["to"] + 1000)]
        assert seqs == list(range(first["seq"], first["seq"] + 1000)), "pages join, a thousand are kept"


def test_a_client_that_resumes_late_gets_nothing_twice(server, plant):
    plant.raise_alert("A", 0)
    settled(server, plant, 1)
    with live(server, plant.token) as s:
        s.say(subscribe={"types": ["alert"]})
        plant.raise_alert("A", 1)
        came = [f["seq"] for f in alerts_of(s, 2)]
        s.say(resume=0)
        more = [f["seq"] for f in alerts_of(s, 2)]
        assert len(set(came + more)) == 4 and max(more) < min(came)
        s.say(nothing=True)
        assert s.json()["type"] in ("error", "heartbeat")


# ---- who is slow ----

def test_who_stops_reading_is_conflated_then_closed_and_nobody_else_notices(own_server):
    behind_s = 2 * max(1, int(SLOW))
    server = own_server(flags=["--limits-behind-s", str(behind_s)])
    tenant = Tenant(server)
    pusher = Pusher(server, tenant.key()["key"])
    for i in range(20):
        tenant.machine(f"M{i}")
    rule(tenant)
    slow, quick, pause = (live(server, tenant.token, rcvbuf=4096) for _ in range(3))
    heard = []

    def read_on():
        try:
            while True:
                opcode, payload = quick.next()
                heard.append(json.loads(payload) if opcode == TEXT else opcode)
        except (OSError, EOFError):
            pass
    reader = threading.Thread(target=read_on)
    reader.start()
    began, n = time.monotonic(), 0
    while n < 10 or time.monotonic() - began < behind_s / 2:    # much more than its socket takes
        pusher.push([reading(f"M{i % 20}", metric_name=f"metric{i // 20}", value=n, timestamp=iso(START + n)) for i in range(1000)])
        n += 1
    pusher.push([reading("M0", value=95, timestamp=iso(START))])
    # who paused gets the alert, and of each series the newest in the end, and never an older one behind it
    last, alert = {}, None
    while alert is None or len(last) < 1000 or set(last.values()) != {n - 1}:
        f = pause.json(within=20)
        alert = f if f["type"] == "alert" else alert
        if f["type"] == "sensor_update" and f["metric_name"] != "temperature":
            series = f["machine_id"], f["metric_name"]
            assert f["value"] >= last.get(series, 0)
            last[series] = f["value"]
    wait_until(lambda: server.metric_sum("haltless_websockets") == 3)
    deadline = time.monotonic() + 1.5 * behind_s + 2
    while time.monotonic() < deadline:              # the others read on; it has had its time
        pusher.push([reading("M1", metric_name="speed", value=1, timestamp=iso(START + n))])
        pause.json(within=20)
        time.sleep(0.1)
    assert slow.close_code(within=20) == 1013
    quick.say(nothing=True)
    wait_until(lambda: any(isinstance(f, dict) and f["type"] == "error" for f in list(heard)))
    assert sum(isinstance(f, dict) and f["type"] == "alert" for f in heard) == 1 and CLOSE not in heard
    quick.socket.shutdown(socket.SHUT_RDWR)
    reader.join()
    for s in (quick, pause):
        s.socket.close()


def test_more_than_may_be_sent_is_conflated_and_alerts_do_not_wait_for_it(own_server):
    server = own_server(flags=["--limits-live-mb-s", "1"])
    tenant = Tenant(server)
    pusher = Pusher(server, tenant.key()["key"])
    for i in range(10):
        tenant.machine(f"M{i}")
    rule(tenant)
    with live(server, tenant.token) as s:
        for n in range(40):                         # 40 000 frames are 7 MB
            pusher.push([reading(f"M{i % 10}", metric_name=f"metric{i // 10}", value=n, timestamp=iso(START + n)) for i in range(1000)])
        pusher.push([reading("M0", value=95, timestamp=iso(START))])
        last, frames, alert = {}, 0, None
        while len(last) < 1000 or set(last.values()) != {39} or alert is None:
            f = s.json(within=30)
            alert = f if f["type"] == "alert" else alert
            if f["type"] == "sensor_update" and f["metric_name"] != "temperature":
                assert f["value"] >= last.get((f["machine_id"], f["metric_name"]), 0)
                last[(f["machine_id"], f["metric_name"])] = f["value"]
                frames += 1
        assert 1000 <= frames < 40000
