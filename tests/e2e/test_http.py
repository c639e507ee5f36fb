"""HTTP as hostile clients speak it: every request has one meaning here, or none and a closed connection."""
import socket

import pytest

from test_ops import raw

pytestmark = pytest.mark.short

HOST = b"Host: x\r\n"
GET = b"GET /healthz HTTP/1.1\r\n"
POST = b"POST /api/v1/ingest HTTP/1.1\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def until_closed(server, data, within=5.0):
    """What came back, and whether the server closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=within) as s:
        s.sendall(data)
        out = b""
        try:
            while chunk := s.recv(65536):
                out += chunk
        except TimeoutError:
            return out, False
        except ConnectionResetError:
            pass
        return out, True


REFUSED = {
    "two lengths": POST + HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "a list of lengths": POST + HOST + b"Content-Length: 2, 2\r\n\r\n{}",
    "length and encoding": POST + HOST + b"Content-Length: 2\r\n" + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "two encodings": POST + HOST + CHUNKED + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "an unknown encoding": POST + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "an encoding behind another": POST + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "an encoding in HTTP/1.0": b"POST /api/v1/ingest HTTP/1.0\r\n" + CHUNKED + b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "a length with a sign": POST + HOST + b"Content-Length: +2\r\n\r\n{}",
    "a negative length": POST + HOST + b"Content-Length: -2\r\n\r\n{}",
    "a length beyond numbers": POST + HOST + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "an empty length": POST + HOST + b"Content-Length: \r\n\r\n{}",
    "a space before the colon": POST + HOST + b"Content-Length : 2\r\n\r\n{}",
    "a folded line": GET + HOST + b"X-A: b\r\n c\r\n\r\n",
    "a bare CR in a value": GET + HOST + b"X-A: a\rX-B: b\r\n\r\n",
    "a bare CR behind the request line": b"GET /healthz HTTP/1.1\rX: y\r\n" + HOST + b"\r\n",
    "a NUL": GET + HOST + b"X: a\0b\r\n\r\n",
    "no host": GET + b"\r\n",
    "two hosts": GET + HOST + HOST + b"\r\n",
    "a chunk that is no number": POST + HOST + CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a chunk beyond numbers": POST + HOST + CHUNKED + b"\r\nffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "a chunk without its end": POST + HOST + CHUNKED + b"\r\n2\r\n{}0\r\n\r\n",
    "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "another version": b"GET /healthz HTTP/2.0\r\n" + HOST + b"\r\n",
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "150 headers": GET + HOST + b"".join(b"X-%d: a\r\n" % i for i in range(150)) + b"\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_could_be_read_two_ways_is_400_and_the_connection_closed(server, name):
    out, closed = until_closed(server, REFUSED[name] + GET + HOST + b"\r\n")
    assert out.split(b" ", 2)[1] == b"400", (name, out[:200])
    assert closed and out.count(b"HTTP/1.1 ") == 1, (name, out)
    assert b'"status":"ok"' not in out


def test_absolute_targets_are_taken_for_their_path(server):
    for target, status in ((b"http://elsewhere.example:81/healthz?a=b", b"200"), (b"HTTP://x/healthz", b"200"),
                           (b"http://x/api/v1/auth/me", b"401"), (b"http://x/a/../healthz", b"200"),
                           (b"http://x", b"404"), (b"ftp://x/healthz", b"404")):
        out = raw(server, b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert out.split(b" ", 2)[1] == status, (target, out[:200])


def test_head_is_get_without_the_body(server, tenant):
    machine = tenant.machine("M")
    for path in (f"/machines/{machine['id']}", "/fleet/status", f"/machines/{machine['id']}/readings"):
        get, head = tenant.get(path), tenant.call("HEAD", path)
        assert head.status_code == get.status_code == 200 and head.content == b""
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        if "Content-Length" in get.headers and "end" not in get.text:
            assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_options_and_405_say_what_may_be_done(server, tenant):
    answer = tenant.call("OPTIONS", "/machines")
    assert answer.status_code == 204 and answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    answer = tenant.call("PUT", "/machines")
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method not allowed."})
    assert answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    out = raw(server, b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 204 ") and b"Allow: GET" in out


def test_a_body_may_be_announced_and_waited_for(server, tenant):
    key = tenant.key()["key"].encode()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
        s.sendall(POST + HOST + b"X-API-Key: " + key + b"\r\nExpect: 100-continue\r\nContent-Length: 15\r\n\r\n")
        assert s.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        s.sendall(b'{"readings":[]}')
        assert s.recv(1000).startswith(b"HTTP/1.1 422 ")


def test_chunks_of_any_size_are_one_body(server, tenant, pusher):
    tenant.machine("M")
    body = b'{"readings":[{"machine_identifier":"M","timestamp":"2026-04-04T10:30:00Z","metric_name":"m",' \
           b'"value":1,"unit":"u"}]}'
    for size in (1, 7, 1000):
        chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(body[i:i + size]), body[i:i + size])
                          for i in range(0, len(body), size))
        out = raw(server, POST + HOST + b"X-API-Key: " + pusher.key.encode() + b"\r\nConnection: close\r\n" + CHUNKED +
                  b"\r\n" + chunks + b"0\r\nTrailer: x\r\n\r\n")
        assert out.startswith(b"HTTP/1.1 207 ") and b'"accepted_count":1' in out, out
