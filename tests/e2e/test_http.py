"""HTTP as hostile clients speak it: every request has one meaning here, or none and a closed connection."""
import socket
import ssl
import struct
import subprocess
import time

import pytest
import requests

from haltless import SLOW, Server, Tenant, wait_until

from test_ops import raw

pytestmark = [pytest.mark.short, pytest.mark.once]

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


def test_who_trickles_is_cut_off_and_an_honest_slow_body_is_not(own_server):
    server = own_server(flags=["--http-request-timeout-s", "1"])

    def lasts(first, piece, every, most):
        """Seconds until the server closes, or None; and what it said."""
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
            s.sendall(first)
            s.settimeout(every)
            begun, out = time.monotonic(), b""
            while time.monotonic() - begun < most:
                try:
                    s.sendall(piece)
                    got = s.recv(1000)
                    out += got
                    if got == b"":
                        return time.monotonic() - begun, out
                except TimeoutError:
                    pass
                except OSError:
                    return time.monotonic() - begun, out
            return None, out

    body = POST + HOST + b"Content-Length: 5000000\r\n\r\n"
    for first, piece in ((GET + HOST + b"X-A: ", b"a"), (body, b"{"), (body, b"a" * 500)):
        took, out = lasts(first, piece, 0.1, 6)
        assert took is not None and took < 5, (first, took)
        assert out == b"" or out.startswith(b"HTTP/1.1 408 "), out
    took, _ = lasts(b"", b"", 0.1, 6)
    assert took is not None and took < 5, "idle connections go too"
    took, out = lasts(body, b" " * 10000, 0.1, 3.5)     # 100 kB/s
    assert took is None and out == b"", (took, out)


def test_a_thousand_who_trickle_are_cut_off_and_others_are_answered(own_server):
    server = own_server(flags=["--http-request-timeout-s", "2"])
    machine = Tenant(server).machine("M")
    tenant = Tenant(server)
    begins = (GET + HOST + b"X-A: ", POST + HOST + b"Content-Length: 5000000\r\n\r\n", b"", b"P")
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(1000)]
    for i, s in enumerate(slow):
        s.sendall(begins[i % len(begins)])
    open_ones, answered, deadline = slow, 0, time.monotonic() + 60 * SLOW
    while open_ones and time.monotonic() < deadline:
        still = []
        for s in open_ones:
            try:
                s.settimeout(0)
                while s.recv(1000):                     # a 408
                    pass
                s.close()
            except BlockingIOError:
                try:
                    s.send(b"x")
                    still.append(s)
                except OSError:
                    s.close()
            except OSError:
                s.close()
        open_ones = still
        assert tenant.get("/fleet/status").status_code == 200       # a new connection and a kept one
        assert requests.get(server.url + "/healthz", timeout=20 * SLOW).status_code == 200
        answered += 1
        time.sleep(0.2)
    for s in open_ones:
        s.close()
    assert not open_ones and answered > 5
    assert tenant.get(f"/machines/{machine['id']}").status_code == 404


def certificate(folder, name):
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
                    "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return cert, key


class TlsServer(Server):
    scheme = "https"


def test_tls_is_spoken_and_its_certificate_changes_without_a_restart(topology, tmp_path, monkeypatch):
    first, second = certificate(tmp_path, "first"), certificate(tmp_path, "second")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    both = tmp_path / "both.pem"
    both.write_bytes(first[0].read_bytes() + second[0].read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(both))

    def install(pair):
        cert.write_bytes(pair[0].read_bytes())
        key.write_bytes(pair[1].read_bytes())

    def served(**limits):
        context = ssl.create_default_context(cafile=str(both))
        context.check_hostname = False
        for name, value in limits.items():
            setattr(context, name, value)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s, \
                context.wrap_socket(s) as tls:
            return tls.getpeercert()["subject"][0][0][1], tls.version()

    install(first)
    with TlsServer(topology, flags=["--tls-cert", str(cert), "--tls-key", str(key), "--limits-rate-open", "0"]) as server:
        tenant = Tenant(server)         # 201: the certificate was verified
        login = requests.post(server.api + "/auth/login", json={"email": tenant.email, "password": tenant.password})
        assert "; Secure" in login.headers["Set-Cookie"]
        assert served() == ("first", "TLSv1.3")
        assert served(maximum_version=ssl.TLSVersion.TLSv1_2) == ("first", "TLSv1.2")
        with pytest.raises(OSError):
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
                old.wrap_socket(s)
        assert not raw(server, GET + HOST + b"Connection: close\r\n\r\n").startswith(b"HTTP/1.1 200"), "no plain HTTP"
        kept = requests.Session()
        assert kept.get(server.url + "/healthz").ok
        cert.write_text("not a certificate")
        server.process.send_signal(1)
        wait_until(lambda: "tls.not_reloaded" in server.log())
        assert served() == ("first", "TLSv1.3"), "the one before stays"
        install(second)
        server.process.send_signal(1)
        wait_until(lambda: served()[0] == "second")
        assert kept.get(server.url + "/healthz").ok, "connections from before go on"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


HEADERS, RST, SETTINGS = 1, 3, 4
# :method GET, :scheme http, :path /healthz, :authority x
H2_GET = b"\x82\x86\x04\x08/healthz\x41\x01x"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)


def test_http2_is_behind_a_switch_and_who_resets_rapidly_is_cut_off(own_server):
    server = own_server(flags=["--http-http2", "true"])
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
        s.sendall(PREFACE + frame(HEADERS, 5, 1, H2_GET))
        out = b""
        while b'{"status":"ok"}' not in out:
            got = s.recv(65536)
            assert got, out
            out += got
    burst = b"".join(frame(HEADERS, 5, i, H2_GET.replace(b"/healthz", b"/metricz")) + frame(RST, 0, i, b"\0\0\0\x08")
                     for i in range(1, 4001, 2))
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as s:
        begun = time.monotonic()
        closed = False
        next_stream = 4001
        try:
            s.sendall(PREFACE + burst)
            while time.monotonic() - begun < 5 and not closed:
                try:
                    s.settimeout(0.02)
                    closed = s.recv(65536) == b""
                except TimeoutError:
                    pass
                s.settimeout(5)
                s.sendall(frame(HEADERS, 5, next_stream, H2_GET) + frame(RST, 0, next_stream, b"\0\0\0\x08"))
                next_stream += 2
        except OSError:
            closed = True
        assert closed
    for _ in range(5):
        assert requests.get(server.url + "/healthz", timeout=2).ok
