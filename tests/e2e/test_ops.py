"""What lies outside the API: health, metrics, and how the server speaks HTTP."""
import json
import os
import socket
import subprocess

import pytest
import requests

from haltless import BINARY, Tenant, reading, wait_until

pytestmark = pytest.mark.short


def test_health_and_readiness(server):
    assert requests.get(server.url + "/healthz").status_code == 200
    ready = requests.get(server.url + "/readyz")
    assert ready.status_code == 200, ready.text


def test_metrics_count_readings(server, tenant, pusher):
    tenant.machine("M")
    before = server.metric_sum("haltless_readings_total")
    pusher.push([reading("M"), reading("M", metric="b")])
    assert server.metric_sum("haltless_readings_total") >= before + 2
    text = requests.get(server.url + "/metrics").text
    assert "# TYPE haltless_readings_total counter" in text and "# HELP haltless_readings_total" in text


def test_metrics_show_lanes_and_states(server):
    metrics = server.metrics()
    lanes = {(labels["from"], labels["to"]): v for labels, v in metrics["haltless_lane_bytes"]}
    assert lanes["front.0", "ingest.0"] >= 0 and lanes["registry.0", "front.0"] >= 0
    states = {labels["actor"]: labels["state"] for labels, _ in metrics["haltless_actor_state"]}
    assert set(states.values()) <= {"run", "io", "parked"} and "ingest" in states


def test_no_wake_up_was_lost(server):
    assert server.metric_sum("haltless_bells_missed_total") == 0


def test_unknown_paths_and_methods(server, tenant):
    answer = tenant.get("/no/such/route")
    assert answer.status_code == 404 and "detail" in answer.json()
    answer = tenant.call("PUT", "/machines")
    assert answer.status_code == 405
    assert {m.strip() for m in answer.headers["Allow"].split(",")} >= {"GET", "POST"}
    assert tenant.get("/ingest/XX").status_code == 404


def test_every_answer_has_its_headers(server, tenant):
    answer = tenant.get("/machines", headers={"X-Request-Id": "my-id-1"})
    assert answer.headers["X-Request-Id"] == "my-id-1"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "application/json" in answer.headers["Content-Type"]
    assert "h2o" not in answer.headers.get("Server", "").lower()
    made = tenant.get("/machines").headers["X-Request-Id"]
    assert made and made != tenant.get("/machines").headers["X-Request-Id"]


def test_problem_json_on_demand(tenant):
    answer = tenant.get("/machines/none", headers={"Accept": "application/problem+json"})
    assert answer.status_code == 404 and answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["status"] == 404 and answer.json()["detail"] == "Machine not found."


def raw(server, data, wait=3.0):
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as s:
        s.sendall(data)
        out = b""
        try:
            while chunk := s.recv(65536):
                out += chunk
        except TimeoutError:
            pass
        return out


HEAD = b"POST /api/v1/ingest HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("headers", [
    b"Content-Length: 2\r\nContent-Length: 30\r\n", b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    b"X-A: b\r\n folded: c\r\nContent-Length: 2\r\n"])
def test_requests_that_could_smuggle_another_are_refused(server, headers):
    smuggled = b"{}GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    if b"chunked" in headers:
        smuggled = b"2\r\n{}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    out = raw(server, HEAD + headers + b"\r\n" + smuggled)
    assert out.split(b" ", 2)[1] == b"400", out[:200]
    assert out.count(b"HTTP/1.1") == 1, out


def test_a_head_that_is_too_large_is_431(server):
    out = raw(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 100_000 + b"\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 431 ") and b'"detail"' in out
    out = raw(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + b"a" * 30_000 + b"\r\n\r\n")
    assert out.startswith(b"HTTP/1.1 200 ")


def test_an_expectation_that_cannot_be_met_is_417(server):
    out = raw(server, HEAD + b"Expect: miracles\r\nContent-Length: 2\r\n\r\n{}")
    assert out.startswith(b"HTTP/1.1 417 Expectation Failed\r\n")


@pytest.mark.parametrize("kind", ["APPLICATION/JSON", "Application/Json; Charset=UTF-8", "application/json ;a=b"])
def test_media_types_have_no_case(server, tenant, pusher, kind):
    made = tenant.post("/machines", headers={"Content-Type": kind}, body={
        "name": "A press", "machine_identifier": kind, "protocol": "json"})
    assert made.status_code == 201, made.text
    pushed = pusher.push_raw(json.dumps({"readings": [reading(kind)]}), content_type=kind)
    assert pushed.status_code == 207 and pushed.json()["accepted_count"] == 1


@pytest.mark.parametrize("kind", ["application/jsonx", "text/plain, application/json", "text/plain"])
def test_other_media_types_are_415(tenant, pusher, kind):
    assert tenant.post("/machines", headers={"Content-Type": kind}, body={}).status_code == 415
    assert pusher.push_raw("{}", content_type=kind).status_code == 415


@pytest.mark.parametrize("page", ["1e3", "1.0", "01", "-", "1-", "", "%2B1", "0x1"])
def test_an_integer_of_a_query_is_digits(tenant, page):
    answer = tenant.get("/machines?page=" + page)
    assert answer.status_code == 422 and answer.json()["detail"][0]["loc"] == ["query", "page"]


def test_pipelining_and_chunked_bodies(server):
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert raw(server, one * 4 + last).count(b"HTTP/1.1 200") == 5
    out = raw(server, HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert out.split(b" ", 2)[1] == b"401"


def test_log_lines_are_events(own_server):
    s = own_server(flags=["--log-format", "json"])
    wait_until(lambda: "server.ready" in s.log())
    events = [json.loads(line) for line in s.log().splitlines()]
    assert any(e["event"] == "server.ready" for e in events)
    assert all({"ts", "level", "event"} <= e.keys() for e in events)


@pytest.mark.once
def test_a_second_server_on_the_same_data_is_refused(own_server):
    s = own_server()
    second = subprocess.run([BINARY, "serve", "--data", s.data, "--listen", "127.0.0.1:1"], capture_output=True,
                            text=True, timeout=20)
    assert second.returncode != 0
    assert "locked" in second.stderr


@pytest.mark.once
def test_an_unknown_setting_names_its_line(tmp_path):
    config = tmp_path / "haltless.toml"
    config.write_text("[storage]\njournal_mb = 64\nheds_mb = 1\n")
    out = subprocess.run([BINARY, "check-config", "--config", str(config)], capture_output=True, text=True, timeout=20)
    assert out.returncode != 0 and "heds_mb" in out.stderr + out.stdout and "3" in out.stderr + out.stdout


@pytest.mark.once
@pytest.mark.parametrize("command", ["serve", "actor", "user", "key", "secrets", "export", "import", "check-config", "doctor", "version", "bench"])
def test_every_command_explains_itself(command):
    out = subprocess.run([BINARY, command, "--help"], capture_output=True, text=True, timeout=20)
    assert out.returncode == 0 and len(out.stdout) > 80 and command in out.stdout


@pytest.mark.once
def test_doctor_looks_at_the_machine(tmp_path):
    out = subprocess.run([BINARY, "doctor", "--data", str(tmp_path / "d")], capture_output=True, text=True, timeout=60)
    for word in ("shm", "sync", "files"):
        assert word in out.stdout.lower(), out.stdout


def test_sighup_reloads_and_says_what_it_cannot(own_server, tmp_path):
    config = tmp_path / "haltless.toml"
    config.write_text('[log]\nlevel = "info"\n')
    s = own_server(flags=["--config", str(config)])
    config.write_text('[log]\nlevel = "debug"\n[storage]\njournal_mb = 99\n')
    s.process.send_signal(1)
    wait_until(lambda: "journal_mb" in s.log(), 5)
    Tenant(s)


def test_commands_reach_a_running_server_and_a_stopped_one(own_server):
    s = own_server()
    t = Tenant(s)
    password = {**os.environ, "HALTLESS_PASSWORD": "from the shell 1"}

    def add(email):
        out = subprocess.run([BINARY, "user", "add", "--data", s.data, "--email", email, "--role", "operator",
                              "--name", "Op"], capture_output=True, text=True, timeout=30, env=password)
        assert out.returncode == 0, out.stderr
        return email

    def works(email):
        answer = requests.post(s.api + "/auth/login", json={"email": email, "password": "from the shell 1"})
        return answer.status_code == 200

    assert works(add("live@example.com"))
    out = subprocess.run([BINARY, "key", "add", "--data", s.data, "--name", "shell"], capture_output=True, text=True,
                         timeout=30)
    assert out.returncode == 0 and "hk_" in out.stdout, out.stderr
    t.machine("M")
    key = next(w for w in out.stdout.split() if w.startswith("hk_"))
    from haltless import Pusher
    assert Pusher(s, key).push([reading("M")]).status_code == 207
    s.stop()
    add("offline@example.com")
    s.start()
    assert works("offline@example.com") and works("live@example.com")
