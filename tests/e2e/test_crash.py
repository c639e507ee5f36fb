"""kill -9 of every actor process and of the whole server, while readings are pushed: nothing that was reported
accepted is lost, nothing is there twice, and other partitions never notice."""
import ctypes
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
import requests

from haltless import BINARY, SLOW, Pusher, Tenant, iso, reading, wait_until

START = 1775260800
ROWS = 50
TGKILL = 234          # x86-64


class Load(threading.Thread):
    """Pushes rows of one machine for ever; remembers which values a 207 covered."""

    def __init__(self, server, key, machine):
        super().__init__(daemon=True)
        self.server, self.key, self.machine = server, key, machine
        self.acknowledged = {}
        self.next = 0
        self.failures = []            # (when, status or exception)
        self.ending = threading.Event()

    def run(self):
        pusher = Pusher(self.server, self.key)
        while not self.ending.is_set():
            rows = {START + self.next + i: float(self.next + i) for i in range(ROWS)}
            try:
                answer = pusher.push([reading(self.machine, value=v, timestamp=iso(t)) for t, v in rows.items()],
                                     timeout=10)
            except requests.RequestException as e:
                self.failures.append((time.monotonic(), e))
                pusher = Pusher(self.server, self.key)
                time.sleep(0.01)
                continue
            if answer.status_code == 207:
                assert answer.json()["accepted_count"] == ROWS, answer.text
                self.acknowledged.update(rows)
                self.next += ROWS
            else:
                assert answer.status_code == 503 and "Retry-After" in answer.headers, answer.text
                self.failures.append((time.monotonic(), 503))
                time.sleep(0.01)

    def end(self):
        self.ending.set()
        self.join(60 * SLOW)
        assert not self.is_alive()


def read_all(tenant, machine):
    got, cursor = [], None
    while True:
        params = {"metric": "temperature", "start": iso(START), "limit": 10000, **({"cursor": cursor} if cursor else {})}
        page = tenant.get(f"/machines/{machine['id']}/readings", params=params, timeout=60)
        assert page.status_code == 200, page.text
        page = page.json()
        got += [p["value"] for p in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            return got


def check(tenant, machine, load):
    """Every acknowledged row once; what was sent without an answer may be there, once."""
    got = read_all(tenant, machine)
    assert len(got) == len(set(got)), "a reading is there twice"
    missing = set(load.acknowledged.values()) - set(got)
    assert not missing, f"{len(missing)} acknowledged readings are lost, e.g. {sorted(missing)[:5]}"
    count = tenant.get(f"/machines/{machine['id']}/readings", params={
        "metric": "temperature", "start": iso(START), "interval": "1mo", "aggregation": "count"}).json()["data"]
    assert sum(p["value"] for p in count) == len(got)


def prepare(server):
    tenant = Tenant(server)
    machines = [tenant.machine(f"M{i}") for i in range(4)]     # over both partitions
    key = tenant.key()["key"]
    loads = [Load(server, key, m["machine_identifier"]) for m in machines]
    return tenant, machines, loads


def kills(topology, long_run):
    return 200 if long_run else 20


@pytest.mark.parametrize("kind", ["ingest", "front", "query", "registry", "alert", "worker"])
def test_kill_of_an_actor_process(own_server, topology, long_run, kind):
    if topology in ("threads", "zmq-threads"):
        pytest.skip("actors share one process")
    server = own_server(flags=["--front-count", "2"])
    tenant, machines, loads = prepare(server)
    for load in loads:
        load.start()
    wait_until(lambda: all(load.acknowledged for load in loads))
    outages = []
    for i in range(kills(topology, long_run)):
        victim = server.actor_pids()[kind, 0]
        seen = [load.next for load in loads]
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server_pid(server, kind) not in (None, victim), 10)
        wait_until(lambda: all(load.next > n for load, n in zip(loads, seen)), 10)
        outages.append(time.monotonic() - began)
        time.sleep(0.05 * (i % 4))
    assert sorted(outages)[len(outages) // 2] < 1.0 * SLOW, outages     # back within a second
    for load in loads:
        load.end()
    for machine, load in zip(machines, loads):
        check(tenant, machine, load)
    assert server.metric_sum("haltless_restarts_total", actor=kind, part="0") >= len(outages)
    if kind == "ingest":
        # Machines of the other partition saw no failure at all.
        assert [load for load in loads if not load.failures], [len(load.failures) for load in loads]
    if kind in ("query", "alert", "worker", "registry"):
        assert not any(load.failures for load in loads), [load.failures[:3] for load in loads]
    assert server.metric_sum("haltless_bells_missed_total") == 0


def server_pid(server, kind):
    try:
        return server.actor_pids().get((kind, 0))
    except requests.RequestException:
        return None


def test_a_partition_that_does_not_answer_is_503_and_the_others_go_on(own_server, topology):
    if topology in ("threads", "zmq-threads"):
        pytest.skip("actors share one process")
    server = own_server(flags=["--limits-ingest-wait-ms", "200"])
    tenant = Tenant(server)
    machines = [tenant.machine(f"M{i}")["machine_identifier"] for i in range(4)]
    pusher = Pusher(server, tenant.key()["key"])

    def statuses():
        return [pusher.push([reading(m)]) for m in machines]

    assert [a.status_code for a in statuses()] == [207] * 4
    stopped = server.actor_pids()["ingest", 0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        answers = statuses()
        assert sorted(a.status_code for a in answers) == [207, 207, 503, 503]
        refused = [a for a in answers if a.status_code == 503]
        assert all(int(a.headers["Retry-After"]) >= 1 for a in refused)
        assert all(a.json() == {"detail": "The partition is restarting; retry."} for a in refused)
    finally:
        os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: [a.status_code for a in statuses()] == [207] * 4, 5)


def test_kill_of_the_whole_server(own_server, topology, long_run):
    server = own_server()
    tenant, machines, loads = prepare(server)
    for load in loads:
        load.start()
    for i in range(kills(topology, long_run)):
        seen = [len(load.acknowledged) for load in loads]
        wait_until(lambda: all(len(load.acknowledged) > n for load, n in zip(loads, seen)), 20)
        time.sleep(0.02 * (i % 5))
        server.kill(all_of_it=i % 2 == 0)               # the lanes are taken over in both cases
        server.start()
    assert open(server.log_path).read().count("event=node.attached") == kills(topology, long_run)
    for load in loads:
        load.end()
    for machine, load in zip(machines, loads):
        check(tenant, machine, load)


@pytest.mark.once
def test_the_address_of_a_server_just_killed_is_taken_over(own_server):
    """A front that has not died yet holds the old socket: here it is another process that lets go after a second."""
    server = own_server(start=False)
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", server.port))
    holder.listen()
    threading.Timer(1.0, holder.close).start()
    server.start()
    Tenant(server)


def test_a_clean_stop_loses_nothing_and_ends_with_0(own_server):
    server = own_server()
    tenant, machines, loads = prepare(server)
    for load in loads:
        load.start()
    for _ in range(3):
        seen = [len(load.acknowledged) for load in loads]
        wait_until(lambda: all(len(load.acknowledged) > n for load, n in zip(loads, seen)), 20)
        assert server.stop() == 0
        server.start()
    for load in loads:
        load.end()
    for machine, load in zip(machines, loads):
        check(tenant, machine, load)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_leaves_a_report_and_the_server_goes_on(own_server, topology, number):
    if subprocess.run([BINARY, "version"], capture_output=True, text=True).stdout.count("sanitizers none") == 0:
        pytest.skip("sanitizers report themselves")
    server = own_server()
    tenant = Tenant(server)
    tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    assert pusher.push([reading("M")]).status_code == 207
    victim = server.actor_pids()["ingest", 0]
    thread = next(int(t) for t in os.listdir(f"/proc/{victim}/task")
                  if open(f"/proc/{victim}/task/{t}/comm").read().strip() == "ingest.0")
    assert ctypes.CDLL(None, use_errno=True).syscall(TGKILL, victim, thread, int(number)) == 0
    wait_until(lambda: server_pid(server, "ingest") not in (None, victim), 10)
    wait_until(lambda: Pusher(server, pusher.key).push([reading("M")]).status_code == 207, 10)
    log = open(server.log_path).read().splitlines()
    at = next(i for i, line in enumerate(log) if "event=crash" in line)
    name = signal.Signals(number).name[3:]
    assert re.search(rf"ts=\S+ level=error event=crash signal={name} actor=ingest\.0 .*pid={victim} build=[0-9a-f]{{40}} "
                     r"commit=\S+$", log[at]), log[at]
    assert sum("haltless(" in line for line in log[at + 1:at + 40]) >= 3, log[at:at + 40]
    assert any(re.match(r"  #\d+ actor_main\+\d+ at \S*haltless\(", line) for line in log[at + 1:at + 40]), log[at:at + 40]
    assert any(f"event=actor.exit" in line and f"signal={name}" in line for line in log[at:]), log[at:]


def test_a_standby_takes_the_place_of_who_dies(own_server, topology):
    def standby_of(server):
        """The process that hosts nobody yet."""
        hosts = server.actor_pids().values()
        for pid in server.pids():
            try:
                with open(f"/proc/{pid}/cmdline") as f:
                    if "\0standby:" in f.read() and pid not in hosts:
                        return pid
            except OSError:                             # it was about to end
                pass
        return None

    server = own_server()
    tenant = Tenant(server)
    machine = tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    assert pusher.push([reading("M", timestamp=iso(START))]).status_code == 207
    for kind in ("query", "ingest", "front"):           # one and the same process can be any of them
        waits = wait_until(lambda: standby_of(server), 20)
        log_at = os.path.getsize(server.log_path)
        victim = server.actor_pids()[kind, 0]
        # It has to say that it is ready before it is taken; a busy machine takes its time.
        wait_until(lambda: open(f"/proc/{waits}/wchan").read() not in ("0", ""), 20)
        time.sleep(0.3 * SLOW)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: server_pid(server, kind) not in (None, victim), 20)
        assert server_pid(server, kind) == waits
        with open(server.log_path) as f:
            f.seek(log_at)
            assert f"pid={waits} standby=yes" in f.read()
    wait_until(lambda: Pusher(server, pusher.key).push([reading("M", timestamp=iso(START + 1))]).status_code == 207, 10)
    assert len(read_all(tenant, machine)) == 2
    waits = wait_until(lambda: standby_of(server), 20)
    os.kill(waits, signal.SIGKILL)                      # nobody needs it, and there is another one
    assert wait_until(lambda: standby_of(server) not in (None, waits), 20)
    assert server.stop() == 0


@pytest.mark.once
def test_no_standby_when_none_is_wanted(own_server):
    server = own_server(flags=["--standby=false"])
    time.sleep(0.5 * SLOW)
    assert len(server.pids()) == 1
