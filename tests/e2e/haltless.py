"""A real server on a free loopback port, and a client that knows the API: what every end-to-end test uses."""
import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import requests

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BINARY = os.environ.get("HALTLESS", os.path.join(ROOT, "build", "haltless"))

# How the actors are placed; the whole suite passes under each.
TOPOLOGIES = {
    "threads": [],
    "processes": ["--processes", "--ingest-count", "2"],
    "zmq": ["--processes", "--ingest-count", "2"]
    + list(itertools.chain.from_iterable((f"--{kind}-carrier", "zmq") for kind in
                                         ("front", "ingest", "query", "alert", "registry", "worker"))),
    "zmq-threads": list(itertools.chain.from_iterable((f"--{kind}-carrier", "zmq") for kind in
                                                      ("front", "ingest", "query", "alert", "registry", "worker"))),
}
SLOW = float(os.environ.get("HALTLESS_SLOW", "1"))  # sanitizer builds: longer waits, same checks


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(what, within=10.0, every=0.02):
    """The first true answer of what(), or an assertion after `within` seconds."""
    end = time.monotonic() + within * SLOW
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"did not happen within {within} s: {what}"
        time.sleep(every)


def remove_run_dir(data):
    """What a server that was killed and never started again left in shared memory."""
    for entry in os.scandir("/dev/shm"):
        options = os.path.join(entry.path, "options")
        if entry.name.startswith(f"haltless-{os.getuid()}-") and os.path.exists(options):
            with open(options) as f:
                if f'data = "{os.path.realpath(data)}"' in f.read():
                    shutil.rmtree(entry.path, ignore_errors=True)


class Server:
    scheme = "http"

    def __init__(self, topology="threads", flags=(), env=None, data=None, start=True):
        self.topology = topology
        self.flags = list(flags)
        self.env = dict(env or {})
        self.own_data = data is None
        self.data = data or tempfile.mkdtemp(prefix="haltless-e2e-")
        self.log_path = os.path.join(self.data + ".log")
        self.port = free_port()
        self.process = None
        if start:
            self.start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def api(self):
        return self.url + "/api/v1"

    def command(self):
        return [BINARY, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}",
                *TOPOLOGIES[self.topology], *self.flags]

    def launch(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                        env={**os.environ, **self.env})
        log.close()

    def start(self, ready_within=20.0):
        self.launch()
        self.wait_ready(ready_within)
        return self

    def wait_ready(self, within=20.0):
        def ready():
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}:\n{self.log()}"
            try:
                return requests.get(self.url + "/readyz", timeout=5 * SLOW).status_code == 200
            except requests.RequestException:
                return False
        try:
            wait_until(ready, within)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log()}") from None

    def stop(self, within=20.0):
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(within * SLOW)
        self.process = None
        return status

    def kill(self, all_of_it=True):
        """Pulls the plug: every process of the server at once.  Or the supervisor alone: the others end as for SIGTERM."""
        self.process.send_signal(signal.SIGSTOP)        # it starts nobody meanwhile
        pids = self.pids()
        self.process.kill()
        for pid in pids if all_of_it else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process = None
        for pid in pids:
            wait_until(lambda: not alive(pid), 10)

    def pids(self):
        """The processes of this server below the supervisor."""
        children = []
        for task in [self.process.pid]:
            try:
                with open(f"/proc/{task}/task/{task}/children") as f:
                    children += [int(p) for p in f.read().split()]
            except FileNotFoundError:
                pass
        return children

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return "".join(f.readlines()[-60:])

    def close(self):
        if self.process is not None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError("did not stop within its time:\n" + self.log()) from None
            finally:
                text = open(self.log_path, errors="replace").read()
        else:
            text = open(self.log_path, errors="replace").read() if os.path.exists(self.log_path) else ""
        if self.own_data:
            remove_run_dir(self.data)
            shutil.rmtree(self.data, ignore_errors=True)
            if os.path.exists(self.log_path):
                os.unlink(self.log_path)
        for sign in ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "runtime error:", "WARNING: ThreadSanitizer",
                     "event=assert"):
            assert sign not in text, text[text.index(sign) - 200:][:6000]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- what /metrics says ----
    def metrics(self):
        """{name: [(labels, value)]}"""
        out = {}
        for line in requests.get(self.url + "/metrics", timeout=10).text.splitlines():
            m = re.match(r'(\w+)(?:\{(.*)\})? (\S+)$', line)
            if m:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', m[2] or ""))
                out.setdefault(m[1], []).append((labels, float(m[3])))
        return out

    def metric_sum(self, name, **labels):
        return sum(v for have, v in self.metrics().get(name, [])
                   if all(have.get(k) == want for k, want in labels.items()))

    def actor_pids(self):
        """{("ingest", 0): pid}"""
        return {(labels["actor"], int(labels["part"])): int(labels["pid"])
                for labels, _ in self.metrics()["haltless_actor_info"]}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


_numbers = itertools.count(1)


class Tenant:
    """A tenant with its admin, made over the API; `get`, `post`, ... speak as that admin."""

    def __init__(self, server, email=None, password="correct horse 1"):
        self.server = server
        self.email = email or f"admin{next(_numbers)}-{os.getpid()}@example.com"
        self.password = password
        self.http = requests.Session()
        answer = self.http.post(server.api + "/auth/register", timeout=20 * SLOW, json={
            "email": self.email, "password": password, "full_name": "Ada Admin", "tenant_name": f"Works {self.email}"})
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["access_token"]

    def headers(self):
        return {"Authorization": "Bearer " + self.token}

    def call(self, method, path, **kw):
        headers = {**self.headers(), **kw.pop("headers", {})}
        url = path if path.startswith("http") else self.server.api + path
        return self.http.request(method, url, headers=headers, timeout=kw.pop("timeout", 20 * SLOW), **kw)

    def get(self, path, **kw):
        return self.call("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.call("POST", path, json=body, **kw)

    def patch(self, path, body, **kw):
        return self.call("PATCH", path, json=body, **kw)

    def delete(self, path, **kw):
        return self.call("DELETE", path, **kw)

    def machine(self, identifier, **more):
        answer = self.post("/machines", {"name": f"Machine {identifier}", "machine_identifier": identifier,
                                         "protocol": "json", **more})
        assert answer.status_code == 201, answer.text
        return answer.json()

    def key(self, scopes=None, **more):
        body = {"name": "a key", **({"scopes": scopes} if scopes is not None else {}), **more}
        answer = self.post("/settings/api-keys", body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def user(self, role):
        """A user of this tenant with that role, logged in; speaks as a Tenant does."""
        email = f"{role}{next(_numbers)}-{os.getpid()}@example.com"
        answer = self.post("/users", {"email": email, "full_name": role.title(), "password": self.password,
                                      "role": role, "is_active": True})
        assert answer.status_code == 201, answer.text
        return self.login(email)

    def login(self, email):
        other = Tenant.__new__(Tenant)
        other.server, other.email, other.password = self.server, email, self.password
        other.http = requests.Session()
        answer = other.http.post(self.server.api + "/auth/login", timeout=20 * SLOW,
                                 json={"email": email, "password": self.password})
        assert answer.status_code == 200, answer.text
        other.token = answer.json()["access_token"]
        return other


class Pusher:
    """Pushes readings with an API key, on one kept-alive connection."""

    def __init__(self, server, key):
        self.server = server
        self.key = key
        self.http = requests.Session()

    def push(self, readings, **kw):
        return self.push_raw(json.dumps({"readings": readings}), **kw)

    def push_raw(self, body, content_type="application/json", headers=None, timeout=30):
        return self.http.post(self.server.api + "/ingest", data=body, timeout=timeout * SLOW,
                              headers={"X-API-Key": self.key, "Content-Type": content_type, **(headers or {})})


def reading(machine, metric="temperature", value=1.0, timestamp="2026-04-04T10:30:00Z", unit="celsius", **more):
    return {"machine_identifier": machine, "timestamp": timestamp, "metric_name": metric, "value": value,
            "unit": unit, **more}


def iso(seconds):
    """RFC 3339 of seconds since the epoch (a multiple of a millisecond)."""
    whole = int(seconds // 1)
    millis = round((seconds - whole) * 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return text + (f".{millis:03d}" if millis else "") + "Z"
