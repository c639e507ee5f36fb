"""Long bodies and long answers: taken in slices, with the result that one go would have had, and others are served meanwhile."""
import gzip
import json
import socket
import threading

import msgpack
import pytest
import requests

from haltless import Tenant, reading, wait_until

pytestmark = [pytest.mark.short, pytest.mark.once]

MEGABYTES = 9_900_000


def one(member):
    return b'{"readings":[{' + member + b"}]}"


# What a hostile client puts into one value; the answer is that of a short value of its kind.
LONG = {
    "a string nobody asked for": (one(b'"x":"' + b"a" * MEGABYTES + b'"'), 207, "Machine identifier is required"),
    "a string of escapes": (one(b'"unit":"' + b"\\u00e9" * (MEGABYTES // 6) + b'"'), 207, "Machine identifier is required"),
    "a string that never ends": (b'{"readings":[{"x":"' + b"a" * MEGABYTES, 400, None),
    "a string beside the readings": (b'{"x":"' + b"a" * MEGABYTES + b'","readings":[]}', 422, None),
    "a number": (one(b'"machine_identifier":"M","value":1' + b"0" * MEGABYTES), 207, "Timestamp is required"),
    "a number as exponent": (one(b'"value":1e' + b"0" * MEGABYTES + b"1"), 207, "Machine identifier is required"),
    "blanks": (b'{"readings":[' + b" " * MEGABYTES + b"]}", 422, None),
    "blanks behind": (b'{"readings":[]}' + b" " * MEGABYTES, 422, None),
    "members nobody asked for": (one(b",".join([b'"x":[1,{"y":null}]'] * 500_000)), 207, "Machine identifier is required"),
    "a member twice, far apart": (one(b'"unit":"a","x":"' + b"a" * MEGABYTES + b'","unit":"b"'), 207, "Duplicate member: unit"),
    "nesting": (one(b'"x":' + b"[" * 64 + b"0" + b"]" * 64 + b',"y":"' + b"a" * MEGABYTES + b'"'), 207,
                "Machine identifier is required"),
    "deeper nesting": (one(b'"y":"' + b"a" * MEGABYTES + b'","x":' + b"[" * 65 + b"0" + b"]" * 65), 400, None),
}


@pytest.mark.parametrize("name", LONG)
def test_one_long_value_is_judged_like_a_short_one(tenant, pusher, name):
    body, status, error = LONG[name]
    tenant.machine("M")
    for _ in range(2):
        answer = pusher.push_raw(body)
        assert answer.status_code == status, answer.text[:300]
        if error is not None:
            assert [e["error"] for e in answer.json()["errors"]] == [error]
    assert pusher.push([reading("M")]).json()["accepted_count"] == 1


def test_a_long_value_in_messagepack_is_judged_like_a_short_one(tenant, pusher):
    tenant.machine("M")
    for body, status, error in (
            (msgpack.packb({"readings": [{"unit": "é" * (MEGABYTES // 2)}]}), 207, "Machine identifier is required"),
            (msgpack.packb({"readings": [reading("M", x="a" * MEGABYTES)]}), 207, None),
            (b"\x82\xa1x\xdd\x00\x96\x00\x00" + b"\x90" * 0x960000 + b"\xa8readings\x90", 422, None),
            (b"\x81\xa8readings\x91\x81\xa4unit\xdb\x00\x96\x00\x00" + b"\xff" * 0x960000, 400, None)):
        answer = pusher.push_raw(body, "application/msgpack")
        assert answer.status_code == status, answer.text[:300]
        if status == 207:
            assert [e["error"] for e in answer.json()["errors"]] == ([error] if error else [])


def test_a_long_identifier_is_said_again_only_in_part(pusher):
    answer = pusher.push_raw(one(b'"machine_identifier":"' + "ü".encode() * (MEGABYTES // 2) + b'"')).json()
    said = answer["errors"][0]["machine_identifier"]
    assert set(said) == {"ü"} and 255 < len(said) < 2000 and answer["errors"][0]["error"] == "Machine not found"


def test_the_readings_of_a_long_body_are_all_there(tenant, pusher):
    machine = tenant.machine("M")
    rows = [reading("M", value=i, timestamp=f"2026-04-0{1 + i // 40000}T{i // 3600 % 10:02}:{i // 60 % 60:02}:{i % 60:02}.{i % 1000:03}Z")
            for i in range(70_000)]
    lines = "\n".join(json.dumps(r) for r in rows).encode()[:9_990_000].rsplit(b"\n", 1)[0]
    sent = lines.count(b"\n") + 1
    times = len({r["timestamp"] for r in rows[:sent]})
    for headers, body in (({}, lines), ({"Content-Encoding": "gzip"}, gzip.compress(lines, 1)),
                          ({}, (lines[at:at + 100_000] for at in range(0, len(lines), 100_000)))):
        answer = pusher.push_raw(body, "application/x-ndjson", headers)
        assert answer.json()["accepted_count"] == sent, answer.text[:300]
    got = tenant.get(f"/machines/{machine['id']}/readings?metric=temperature&start=2026-04-01T00:00:00Z"
                     "&end=2026-05-01T00:00:00Z&interval=1mo&aggregation=count").json()
    assert got["data"][0]["value"] == times


def test_a_request_right_behind_a_long_body_is_answered(server, tenant):
    key = tenant.key()["key"]
    body = one(b'"x":"' + b"a" * 3_000_000 + b'"')
    head = (f"POST /api/v1/ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: {len(body)}\r\n").encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as s:
        for expect in (b"", b"Expect: 100-continue\r\n"):
            s.sendall(head + expect + b"\r\n" + body + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            out = b""
            while out.count(b"\r\n\r\n") < 2 + (expect != b"") or b'"status":"ok"' not in out:
                out += s.recv(65536)
            assert b" 207 " in out and b" 200 " in out


def test_a_long_answer_comes_whole_to_a_client_that_reads_slowly(server, tenant, pusher):
    n = 10_000
    body = b"\n".join([b"{}"] * n)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(20)
        s.connect(("127.0.0.1", server.port))
        s.sendall((f"POST /api/v1/ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {pusher.key}\r\nContent-Type: application/x-ndjson\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
        out = s.recv(1000)
        assert pusher.push([reading("nobody")]).status_code == 207        # others do not wait for it
        head, rest = out.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        assert length > 500_000
        while len(rest) < length:
            rest += s.recv(65536)
        answer = json.loads(rest)
        assert (answer["accepted_count"], answer["rejected_count"], len(answer["errors"])) == (0, n, n)
        assert [e["index"] for e in answer["errors"]] == list(range(n))
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert s.recv(1000).startswith(b"HTTP/1.1 200 ")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as s:   # or leaves
        s.sendall((f"POST /api/v1/ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {pusher.key}\r\nContent-Type: application/x-ndjson\r\n"
                   f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
        s.recv(1000)
    wait_until(lambda: requests.get(server.url + "/healthz", timeout=20).ok)


def test_a_machine_of_many_series_says_all_its_newest_values(tenant, pusher):
    machine = tenant.machine("M")
    names = [f"m{i:04}" for i in range(700)]
    assert pusher.push([reading("M", metric=n, value=i) for i, n in enumerate(names)]).json()["accepted_count"] == 700
    latest = tenant.get(f"/machines/{machine['id']}/readings/latest").json()["readings"]
    assert [(r["metric_name"], r["value"]) for r in latest] == [(n, i) for i, n in enumerate(names)]


def test_bodies_in_flight_have_a_bound_together(own_server):
    server = own_server(flags=["--limits-bodies-mb", "16", "--front-count", "1"])
    tenant = Tenant(server)
    machine = tenant.machine("M")
    key = tenant.key()["key"]
    body = b'{"readings":[{"x":"' + b"a" * 6_000_000 + b'"}]}'
    head = f"POST /api/v1/ingest HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    clients = []
    for i in range(4):                                   # 24 MB, but for their last bytes
        s = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        try:
            s.sendall(head + body[:-2])
        except OSError:
            pass                                         # it was one too many
        clients.append(s)

    def answers():
        out = []
        for s in clients:
            try:
                s.settimeout(0)
                out.append(s.recv(1000, socket.MSG_PEEK))
            except BlockingIOError:
                out.append(b"")
            except OSError:
                out.append(b"gone")
        return out

    wait_until(lambda: any(answers()))
    for said in answers():
        assert said in (b"", b"gone") or (said.startswith(b"HTTP/1.1 503 ") and b"retry-after" in said.lower()), said
    assert tenant.get(f"/machines/{machine['id']}").status_code == 200
    waiting = [s for s, said in zip(clients, answers()) if said == b""]
    assert len(waiting) >= 2
    for s in waiting[:2]:
        s.settimeout(20)
        s.sendall(body[-2:])
        assert s.recv(1000).startswith(b"HTTP/1.1 207 ")
    for s in clients:
        s.close()


def test_others_are_answered_while_a_tenant_floods(server, tenant, pusher):
    other = Tenant(server)
    machine = other.machine("M")
    stop = threading.Event()
    bodies = [LONG[n][0] for n in ("a string of escapes", "members nobody asked for", "a number")]
    faults = []

    def flood(body):
        while not stop.is_set():
            answer = requests.post(server.api + "/ingest", data=body, headers={"X-API-Key": pusher.key}, timeout=60)
            if answer.status_code not in (207, 503):
                faults.append(answer.text)

    floods = [threading.Thread(target=flood, args=(b,)) for b in bodies]
    for t in floods:
        t.start()
    try:
        for _ in range(50):
            assert other.get(f"/machines/{machine['id']}/readings/latest").status_code == 200
            assert other.get(f"/machines/{machine['id']}/readings?interval=5m").status_code == 200
    finally:
        stop.set()
        for t in floods:
            t.join()
    assert not faults
    turns = server.metric_sum("haltless_loop_turn_seconds_count")
    assert turns > 100
