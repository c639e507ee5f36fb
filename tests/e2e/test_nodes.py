"""One server over several nodes: fronts on one, partitions on others, each in a network namespace of its own where
those are to be had (else on loopback addresses, where a node stands still instead of its cable being pulled)."""
import asyncio
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest
import requests
from test_alerts import Feed, rule

from haltless import BINARY, ROOT, SLOW, Pusher, Server, Tenant, free_port, iso, reading, wait_until

pytestmark = pytest.mark.once
_numbers = itertools.count(os.getpid() % 200)


def run(*words, check=True):
    return subprocess.run(words, check=check, capture_output=True, text=True)


class Place:
    """Where a node lives: a namespace joined to ours by a cable that can be pulled."""

    def __init__(self):
        self.name = f"htl{os.getpid() % 10000}n{next(_numbers)}"
        n = next(_numbers) % 250
        self.here, self.there = f"10.213.{n}.1", f"10.213.{n}.2"
        self.real = (not os.environ.get("HALTLESS_NO_NETNS") and shutil.which("ip") is not None and
                     run("ip", "netns", "add", self.name, check=False).returncode == 0)
        if not self.real:
            self.here, self.there = "127.0.0.1", f"127.0.0.{n + 2}"
            return
        self.cable = f"v{self.name}"[:14]
        far = f"w{self.name}"[:14]
        try:
            run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", far)
            run("ip", "link", "set", far, "netns", self.name)
            run("ip", "addr", "add", f"{self.here}/30", "dev", self.cable)
            run("ip", "link", "set", self.cable, "up")
            run("ip", "-n", self.name, "addr", "add", f"{self.there}/30", "dev", far)
            run("ip", "-n", self.name, "link", "set", far, "up")
            run("ip", "-n", self.name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError:
            self.close()
            self.real = False
            self.here, self.there = "127.0.0.1", f"127.0.0.{n + 2}"

    def prefix(self):
        return ["ip", "netns", "exec", self.name] if self.real else []

    def cut(self, node):
        if self.real:
            run("ip", "link", "set", self.cable, "down")
        else:
            node.signal_all(signal.SIGSTOP)

    def heal(self, node):
        if self.real:
            run("ip", "link", "set", self.cable, "up")
        else:
            node.signal_all(signal.SIGCONT)

    def close(self):
        if self.real:
            run("ip", "netns", "del", self.name, check=False)


class Away(Server):
    """A node with partitions: no front, so it is ready when its log says so."""

    def __init__(self, place, flags):
        super().__init__(flags=flags, start=False)
        self.place = place

    def command(self):
        return self.place.prefix() + [BINARY, "serve", "--data", self.data, *self.flags]

    def wait_ready(self, within=20.0):
        def ready():
            assert self.process.poll() is None, f"the node ended:\n{self.log()}"
            return "event=server.ready" in self.log()
        wait_until(ready, within)

    def kill(self):
        super().kill()
        os.unlink(self.log_path)

    def signal_all(self, number):
        for pid in [self.process.pid, *self.pids()]:
            os.kill(pid, number)


class Nodes:
    """Node a with the fronts, and one node for each set of partitions."""

    def __init__(self, parts=("0-1",), flags=()):
        self.dir = tempfile.mkdtemp(prefix="haltless-nodes-")
        self.places = [Place() for _ in parts]
        names = [chr(ord("b") + i) for i in range(len(parts))]
        self.keys = {n: self.keygen(n) for n in ["a", *names]}
        self.port = free_port()
        ports = [free_port() for _ in parts]
        peers = "; ".join(f"{n} {p.there}:{port} {self.keys[n]} {set_}"
                          for n, p, port, set_ in zip(names, self.places, ports, parts))
        self.a = Server(flags=["--node-name", "a", "--node-key-file", self.file("a"), "--node-listen",
                               f"0.0.0.0:{self.port}", "--node-peers", peers, *flags], start=False)
        self.away = [Away(p, ["--node-name", n, "--node-key-file", self.file(n), "--node-listen", f"{p.there}:{port}",
                              "--node-home", "a", "--node-partitions", set_, "--node-peers",
                              f"a {p.here}:{self.port} {self.keys['a']}", *flags])
                     for n, p, port, set_ in zip(names, self.places, ports, parts)]

    def file(self, name):
        return os.path.join(self.dir, name + ".key")

    def keygen(self, name):
        return run(BINARY, "keygen", self.file(name)).stdout.strip()

    def __enter__(self):
        for node in self.away:
            node.start()
        self.a.start()
        return self

    def __exit__(self, *_):
        for node in [self.a, *self.away]:
            node.close()
        for place in self.places:
            place.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def points(tenant, machine, metric="temperature", **query):
    answer = tenant.get(f"/machines/{machine['id']}/readings", params={
        "metric": metric, "start": "2026-01-01T00:00:00Z", "end": "2027-12-31T00:00:00Z", "limit": 10000, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


BASE = 1775300000


def at(i):
    return iso(BASE + i)


# ---- what works as on one node ----

def test_readings_go_to_partitions_of_other_nodes_and_come_back():
    with Nodes(parts=("0-1", "2")) as n:
        t = Tenant(n.a)
        machines = [t.machine(f"M{i}") for i in range(6)]
        pusher = Pusher(n.a, t.key()["key"])
        for i in range(5):
            answer = pusher.push([reading(f"M{m}", value=m * 10 + i, timestamp=at(i)) for m in range(6)])
            assert answer.status_code == 207 and answer.json()["accepted_count"] == 6, answer.text
            for m, machine in enumerate(machines):            # visible as soon as the 207 is there
                latest = t.get(f"/machines/{machine['id']}/readings/latest").json()["readings"]
                assert [r["value"] for r in latest] == [m * 10 + i]
        for m, machine in enumerate(machines):
            assert [p["value"] for p in points(t, machine)] == [m * 10 + i for i in range(5)]
        assert len(t.get("/fleet/status").json()["machines"]) == 6
        assert t.get("/machines").json()


def test_a_query_over_machines_of_several_nodes_is_as_on_one():
    def ask(server_flags, nodes):
        with nodes:
            server = nodes.a if isinstance(nodes, Nodes) else nodes
            t = Tenant(server)
            ids = [t.machine(f"M{i}")["id"] for i in range(6)]
            pusher = Pusher(server, t.key()["key"])
            for i in range(0, 40):
                assert pusher.push([reading(f"M{m}", metric, value=m * 7 + i * (1 if metric == "a" else 3), timestamp=at(i * 10 + m))
                                    for m in range(6) for metric in ("a", "b")]).status_code == 207
            out = []
            for group_by in (None, "machine", "metric", "all"):
                for aggregation in ("avg", "p95", "rate", "time_weighted_avg", "count"):
                    body = {"machine_ids": ids, "metrics": ["a", "b"], "start": at(0), "end": at(600), "interval": "1m",
                            "aggregation": aggregation, **({"group_by": group_by} if group_by else {})}
                    answer = t.post("/readings/query", body)
                    assert answer.status_code == 200, answer.text
                    series = answer.json()["series"]
                    for s in series:
                        if s.get("machine_id"):
                            s["machine_id"] = ids.index(s["machine_id"])
                    out.append(sorted(series, key=lambda s: (str(s.get("machine_id")), str(s.get("metric_name")))))
            return out

    one = ask((), Server(flags=["--ingest-count", "3"]))
    several = ask((), Nodes(parts=("0-1", "2")))
    assert one == several
    assert all(one)


def test_alerts_and_the_live_view_see_partitions_of_other_nodes():
    async def work(n):
        t = Tenant(n.a)
        t.machine("M0")
        pusher = Pusher(n.a, t.key()["key"])
        assert pusher.push([reading("M0", value=1, timestamp=at(0))]).status_code == 207
        rule(t)
        async with Feed(n.a, t.token) as feed:
            for i in range(200):                             # until the far partition knows of the subscriber
                assert pusher.push([reading("M0", value=95, timestamp=at(i + 1))]).status_code == 207
                try:
                    await feed.next("sensor_update", 0.05)
                    break
                except AssertionError:
                    pass
            assert any(f["type"] == "sensor_update" and f["value"] == 95 for f in feed.frames), feed.frames
            if not any(f["type"] == "alert" for f in feed.frames):
                await feed.next("alert", 5)

    with Nodes() as n:
        asyncio.run(work(n))


# ---- what fails, and what goes on ----

def test_a_partition_that_is_away_is_503_and_the_others_go_on():
    with Nodes(parts=("0", "1")) as n:
        t = Tenant(n.a)
        machines = [t.machine(f"M{i}") for i in range(2)]
        pusher = Pusher(n.a, t.key()["key"])
        assert pusher.push([reading("M0"), reading("M1")]).json()["accepted_count"] == 2
        n.away[1].kill()
        waits = wait_until(lambda: [r.headers["Retry-After"] for m in ("M0", "M1")
                                    for r in [pusher.push([reading(m, value=2)])] if r.status_code == 503], 15)
        assert int(waits[0]) >= 1
        codes = sorted(pusher.push([reading(m, value=3)]).status_code for m in ("M0", "M1"))
        assert codes == [207, 503]
        assert sorted(t.get(f"/machines/{m['id']}/readings").status_code for m in machines) == [200, 503]
        assert requests.get(n.a.url + "/readyz", timeout=10 * SLOW).status_code == 503
        assert t.get("/fleet/status").status_code == 200
        n.away[1].start()
        n.a.wait_ready()
        assert pusher.push([reading("M0", value=4), reading("M1", value=4)]).json()["accepted_count"] == 2
        assert [len(points(t, m)) for m in machines] == [1, 1]


class Load:
    """Pushes numbered readings until told to stop; knows which were acknowledged."""

    def __init__(self, server, key, machines):
        self.acknowledged, self.codes, self.number, self.ends = {m: set() for m in machines}, [], 0, False
        self.server, self.key, self.machines = server, key, machines
        self.thread = threading.Thread(target=self.go)
        self.thread.start()

    def go(self):
        pusher = Pusher(self.server, self.key)
        while not self.ends:
            first, self.number = self.number, self.number + 20
            try:
                answer = pusher.push([reading(m, value=i, timestamp=at(i)) for i in range(first, first + 20)
                                      for m in self.machines], timeout=20)
            except requests.RequestException:
                continue
            self.codes.append(answer.status_code)
            if answer.status_code == 207:
                assert answer.json()["rejected_count"] == 0
                for m in self.machines:
                    self.acknowledged[m] |= set(range(first, first + 20))
            else:
                time.sleep(0.05)

    def acknowledgements(self):
        return sum(c == 207 for c in self.codes)

    def stop(self):
        self.ends = True
        self.thread.join()


def stored(node):
    """Readings that the partitions of a node have written, as they count themselves."""
    out = run(BINARY, "top", "--json", "--once", "--data", node.data).stdout
    return sum(a["counters"]["readings_total"] for a in json.loads(out)["actors"] if a["actor"].startswith("ingest"))


def check_nothing_lost(t, machines, load, node=None):
    """Each push is made once, so a partition that wrote more than is there wrote something twice."""
    total = 0
    for m in machines:
        have = []
        for start in range(0, load.number, 5000):
            have += points(t, m, start=at(start), end=at(min(start + 5000, load.number)))
        values = [int(p["value"]) for p in have]
        assert len(values) == len(set(values)), "twice"
        assert load.acknowledged[m["machine_identifier"]] <= set(values), "lost"
        total += len(values)
    if node is not None:
        assert stored(node) == total, "twice"
    return total


def test_a_link_that_is_cut_and_healed_loses_nothing():
    with Nodes() as n:
        t = Tenant(n.a)
        machines = [t.machine(f"M{i}") for i in range(2)]
        load = Load(n.a, t.key()["key"], ["M0", "M1"])
        try:
            for away in (0.3, 0.3, 6.0, 0.5):                # some shorter than what is noticed, one longer
                before = load.acknowledgements()
                wait_until(lambda: load.acknowledgements() > before + 5, 30)
                n.places[0].cut(n.away[0])
                time.sleep(away)
                n.places[0].heal(n.away[0])
            before = load.acknowledgements()
            wait_until(lambda: load.acknowledgements() > before + 5, 30)
        finally:
            load.stop()
        check_nothing_lost(t, machines, load, n.away[0])
        assert 503 in load.codes


def pid_of(node, actor):
    out = run(BINARY, "top", "--json", "--once", "--data", node.data).stdout
    return next(a["pid"] for a in json.loads(out)["actors"] if a["actor"] == actor)


def test_nodes_and_links_that_are_killed_again_and_again_lose_nothing():
    with Nodes(flags=["--processes"]) as n:
        t = Tenant(n.a)
        machines = [t.machine(f"M{i}") for i in range(2)]
        load = Load(n.a, t.key()["key"], ["M0", "M1"])
        try:
            for round_ in range(14):
                before = load.acknowledgements()
                wait_until(lambda: load.acknowledgements() > before + 3, 40)
                if round_ < 2:                               # the whole node, as a power cut would
                    n.away[0].kill()
                    n.away[0].start()
                    continue
                node, actor = [(n.away[0], "link.0"), (n.a, "link.0"), (n.away[0], "ingest.0"), (n.a, "link.0"),
                               (n.away[0], "link.0")][round_ % 5]
                os.kill(pid_of(node, actor), signal.SIGKILL)
            before = load.acknowledgements()
            wait_until(lambda: load.acknowledgements() > before + 5, 40)
        finally:
            load.stop()
        assert 0 < stored(n.away[0]) <= check_nothing_lost(t, machines, load), "twice"


def test_home_that_is_killed_finds_its_partitions_again():
    with Nodes() as n:
        t = Tenant(n.a)
        machine = t.machine("M0")
        pusher = Pusher(n.a, t.key()["key"])
        assert pusher.push([reading("M0", value=i, timestamp=at(i)) for i in range(50)]).status_code == 207
        n.a.kill()
        n.a.start()
        assert [p["value"] for p in points(t, machine)] == list(range(50))
        assert pusher.push([reading("M0", value=50, timestamp=at(50))]).status_code == 207
        assert len(points(t, machine)) == 51


# ---- who may come ----

def test_a_node_with_another_key_is_refused():
    with Nodes() as n:
        other = n.away[0]
        other.stop()
        os.unlink(n.file("b"))
        os.unlink(n.file("b") + ".pub")
        n.keygen("b")                                        # not the one that a was told
        os.unlink(other.log_path)
        other.start()
        wait_until(lambda: n.a.metric_sum("haltless_link_refused_total") > 0, 15)
        assert requests.get(n.a.url + "/readyz", timeout=10 * SLOW).status_code == 503


def test_nodes_that_count_differently_say_so():
    with Nodes() as n:
        n.away[0].stop()
        n.away[0].flags += ["--front-count", "3"]
        os.unlink(n.away[0].log_path)
        n.away[0].start()
        wait_until(lambda: "event=link.strange" in n.a.log(), 10)
        assert "front.count=3" in n.a.log() and "front.count=1" in n.a.log()


# ---- settings ----

def config_error(*flags):
    answer = run(BINARY, "check-config", *flags, check=False)
    assert answer.returncode == 1 and answer.stderr.count("\n") == 1, answer.stderr
    return answer.stderr


KEY = "ab" * 32
HOME = ["--node-name", "a", "--node-key-file", "k", "--node-listen", "127.0.0.1:7400"]


@pytest.mark.parametrize("flags, says", [
    (["--node-partitions", "0"], "node.peers"),
    (HOME + ["--node-peers", "b 127.0.0.1:1 " + KEY], "b has no partitions"),
    (HOME + ["--node-peers", f"b 127.0.0.1:1 {KEY} 0; c 127.0.0.1:2 {'cd' * 32} 0"], "partition 0 is on two nodes"),
    (HOME + ["--node-peers", f"b 127.0.0.1:1 {KEY} 0; c 127.0.0.1:2 {'cd' * 32} 2"], "some number is on no node"),
    (HOME + ["--node-peers", f"b 127.0.0.1:1 {KEY} 0; c 127.0.0.1:2 {KEY} 1"], "name or key of another one"),
    (HOME + ["--node-peers", f"b 127.0.0.1 {KEY} 0"], "is not ADDRESS:PORT"),
    (HOME + ["--node-peers", "b 127.0.0.1:1 abcd 0"], "its key is not"),
    (HOME + ["--node-peers", f"b 127.0.0.1:1 {KEY} 0-99"], "not partitions"),
    (HOME + ["--node-peers", f"a 127.0.0.1:1 {KEY} 0"], "not a name of another node"),
    (HOME + ["--node-peers", f"b 127.0.0.1:1 {KEY} 0", "--node-home", "b"], "node.peers: must be the home node"),
    (HOME[:2] + HOME[4:] + ["--node-peers", f"b 127.0.0.1:1 {KEY} 0"], "node.key_file"),
    (HOME[:4] + ["--node-peers", f"b 127.0.0.1:1 {KEY} 0"], "node.listen"),
])
def test_wrong_settings_are_one_line(flags, says):
    assert says in config_error(*flags)


def test_a_key_file_that_others_may_read_is_refused(tmp_path):
    key = str(tmp_path / "k")
    run(BINARY, "keygen", key)
    flags = HOME[:3] + [key] + HOME[4:] + ["--node-peers", f"b 127.0.0.1:1 {KEY} 0"]
    said = run(BINARY, "check-config", *flags).stdout
    assert "nodes:2" in said and "node b at tcp://127.0.0.1:1: partitions 0\n" in said
    os.chmod(key, 0o644)
    assert "chmod 600" in config_error(*flags)


def test_partitions_stay_where_their_directory_is():
    with Server(flags=["--ingest-count", "2"]) as server:
        server.stop()
        with tempfile.TemporaryDirectory() as d:
            key = os.path.join(d, "k")
            run(BINARY, "keygen", key)
            answer = run(BINARY, "serve", "--data", server.data, "--listen", f"127.0.0.1:{free_port()}", *HOME[:3], key,
                         *HOME[4:], "--node-partitions", "0", "--node-peers", f"b 127.0.0.1:1 {KEY} 1", check=False)
            assert answer.returncode == 1 and "holds partition 1, which node.partitions does not name" in answer.stderr


# ---- the README ----

def test_the_two_nodes_of_the_readme(tmp_path):
    text = open(os.path.join(ROOT, "README.md")).read()
    script = re.search(r"## Two nodes.*?```sh\n(.*?)```", text, re.S)[1]
    ports = {p: free_port() for p in ("8080", "7400", "7401")}
    for p, free in ports.items():
        script = script.replace(f":{p}", f":{free}")
    os.mkdir(tmp_path / "build")
    os.symlink(BINARY, tmp_path / "build" / "haltless")
    shell = subprocess.Popen(["bash", "-c", script + "\nwait"], cwd=tmp_path, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    server = Server(start=False)
    server.port = ports["8080"]
    try:
        def ready():
            try:
                return requests.get(server.url + "/readyz", timeout=5 * SLOW).status_code == 200
            except requests.RequestException:
                return False
        wait_until(ready, 20)
        t = Tenant(server)
        machine = t.machine("CNC-001")
        assert Pusher(server, t.key()["key"]).push([reading("CNC-001", timestamp=at(0))]).status_code == 207
        assert len(points(t, machine)) == 1
        assert os.listdir(tmp_path / "data-b" / "part.1") and not os.path.exists(tmp_path / "data-a" / "part.0")
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(30 * SLOW)
        for data in ("data-a", "data-b"):
            wait_until(lambda: run(BINARY, "top", "--once", "--data", str(tmp_path / data), check=False).returncode != 0, 30)
        server.close()
