"""A full or failing disk: nothing is lost, nothing is pretended, and it goes on by itself once it can."""
import os
import shutil
import signal
import subprocess
import time

import pytest
import requests

from haltless import Pusher, Server, Tenant, iso, reading, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
START = 1775260800
METRICS = 8
SMALL = ["--limits-rate-open", "0", "--storage-journal-mb", "16", "--storage-heads-mb", "16"]


class Load:
    """One machine with METRICS metrics, a reading a second each; knows what was acknowledged."""

    def __init__(self, server):
        self.tenant = Tenant(server)
        self.machine = self.tenant.machine("M")
        self.pusher = Pusher(server, self.tenant.key()["key"])
        self.seconds = 0

    def push(self, seconds=125):
        answer = self.pusher.push([reading("M", metric=f"m{k}", value=k + (s % 977) * 0.7371, timestamp=iso(START + s))
                                   for s in range(self.seconds, self.seconds + seconds) for k in range(METRICS)])
        if answer.status_code == 207:
            assert answer.json()["accepted_count"] == seconds * METRICS
            self.seconds += seconds
        else:
            assert "accepted_count" not in answer.text
        return answer

    def check(self):
        """Exactly what was acknowledged is there."""
        path = f"/machines/{self.machine['id']}/readings"
        for k in (0, METRICS - 1):
            data, cursor = [], ""
            while cursor is not None:
                answer = self.tenant.get(f"{path}?metric=m{k}&start={iso(START)}&end={iso(START + 30 * 86400)}&limit=10000"
                                         + (f"&cursor={cursor}" if cursor else ""))
                assert answer.status_code == 200, answer.text
                data += answer.json()["data"]
                cursor = answer.json().get("next_cursor")
            assert len(data) == self.seconds
            assert [row["value"] for row in data] == [k + (s % 977) * 0.7371 for s in range(self.seconds)]


def restarts(server):
    return server.metric_sum("haltless_restarts_total")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, 200 MB."""
    at = tmp_path / "disk"
    at.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", str(at)],
                                           stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield str(at)
    subprocess.run(["umount", str(at)], check=True)


def status(load):
    """Of one push; 0: the server is not there."""
    try:
        return load.push().status_code
    except requests.RequestException:
        return 0


def kept_bytes(path):
    return os.path.getsize(path) if os.path.exists(path) else -1


def fill(path):
    with open(path, "wb", buffering=0) as f:
        try:
            while True:
                f.write(bytes(65536))
        except OSError:
            pass


def test_a_full_disk_is_507_and_space_is_enough_to_go_on(small_disk, topology, tmp_path):
    server = Server(topology, flags=SMALL, data=small_disk + "/data", start=False)
    server.log_path = str(tmp_path / "log")
    with server:
        server.start()
        load = Load(server)
        for _ in range(10):
            assert load.push().status_code == 207
        fill(small_disk + "/ballast")
        wait_until(lambda: load.push().status_code == 507, 30, every=0)
        for _ in range(20):
            answer = load.push()
            assert answer.status_code == 507 and answer.json() == {"detail": "Storage is full."}
        load.check()
        assert shutil.disk_usage(small_disk).free < 8 << 20
        killed = [pid for (kind, _), pid in server.actor_pids().items()
                  if kind == "ingest" and topology in ("processes", "zmq")]
        for pid in killed:              # a partition starts on a full disk
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: load.push().status_code == 507, 10)
        load.check()
        os.unlink(small_disk + "/ballast")
        wait_until(lambda: load.push().status_code == 207, 5)
        for _ in range(100):
            assert load.push().status_code == 207
        load.check()
        assert restarts(server) == len(killed), server.log()
        server.kill()
        server.start()
        load.check()


@pytest.fixture
def roomy_disk(tmp_path):
    """A file system of its own that is large enough for space to be kept on it: 700 MB, a 16th of them."""
    at = tmp_path / "roomy"
    at.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m", "tmpfs", str(at)],
                                           stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield str(at)
    subprocess.run(["umount", str(at)], check=True)


def test_space_is_kept_for_a_full_disk_and_what_makes_room_may_use_it(roomy_disk, topology, tmp_path):
    server = Server(topology, flags=SMALL, data=roomy_disk + "/data", start=False)
    server.log_path = str(tmp_path / "log")
    kept = roomy_disk + "/data/RESERVE"
    with server:
        server.start()
        load = Load(server)
        for _ in range(10):
            assert load.push().status_code == 207
        wait_until(lambda: kept_bytes(kept) == (700 << 20) // 16, 30)
        assert os.stat(kept).st_blocks * 512 >= (700 << 20) // 16
        fill(roomy_disk + "/ballast")
        wait_until(lambda: kept_bytes(kept) == 0, 30)
        wait_until(lambda: load.push().status_code == 507, 30)     # readings would only eat it
        load.check()
        assert shutil.disk_usage(roomy_disk).free >= 20 << 20
        answer = load.tenant.delete(f"/machines/{load.machine['id']}/readings?metric=m1&start={iso(START)}&end={iso(START + 60)}")
        assert answer.status_code in (200, 204), answer.text
        machine = {"name": "N", "machine_identifier": "N", "protocol": "json"}
        assert load.tenant.post("/machines", machine).status_code == 201
        server.stop()                   # a start on a full disk finds it spent
        server.launch()
        wait_until(lambda: status(load) == 507, 20)
        assert kept_bytes(kept) == 0
        load.check()
        os.unlink(roomy_disk + "/ballast")
        wait_until(lambda: load.push().status_code == 207, 30)
        assert kept_bytes(kept) == (700 << 20) // 16
        load.check()


@pytest.mark.once
def test_a_server_starts_on_a_full_disk_and_takes_writes_when_there_is_space(small_disk, tmp_path):
    server = Server("threads", flags=SMALL, data=small_disk + "/data", start=False)
    server.log_path = str(tmp_path / "log")
    with server:
        server.start()
        load = Load(server)
        for _ in range(10):
            assert load.push().status_code == 207
        fill(small_disk + "/ballast")
        server.kill()
        fill(small_disk + "/more")
        assert shutil.disk_usage(small_disk).free < 65536
        server.launch()

        def answers():
            try:
                return load.push().status_code == 507
            except requests.RequestException:
                assert server.process.poll() is None, server.log()
                return False
        wait_until(answers, 20)
        load.check()                    # whoever is logged in can read what is stored
        os.unlink(small_disk + "/ballast")
        os.unlink(small_disk + "/more")
        wait_until(lambda: load.push().status_code == 207, 20)
        wait_until(lambda: load.tenant.post("/machines", {"name": "N", "machine_identifier": "N", "protocol": "json"})
                   .status_code == 201, 20)
        load.check()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    out = tmp_path_factory.mktemp("preload") / "faultfs.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(out), os.path.join(HERE, "faultfs.c"), "-ldl"],
                   check=True)
    return str(out)


@pytest.mark.parametrize("fault", ["full", "fail"])
def test_seals_that_fail_lose_nothing_and_come_back(own_server, library, tmp_path, fault):
    switch = tmp_path / "switch"
    switch.write_text("ok")
    server = own_server(env={"LD_PRELOAD": library, "FAULTFS": str(switch)}, flags=SMALL)
    load = Load(server)
    for _ in range(12):
        assert load.push().status_code == 207
    wait_until(lambda: server.metric_sum("haltless_chunks_sealed_total") > 0, 5)
    switch.write_text(fault)
    refused = 0
    end = time.monotonic() + 40
    while refused < 20 and time.monotonic() < end:
        refused += load.push().status_code in (503, 507)
    assert refused == 20            # the heads and the journal have bounds
    assert "event=ingest.tend" in open(server.log_path).read()
    time.sleep(1.5)                 # so that it is tried to open it anew, in vain
    load.check()
    assert load.push().status_code in (503, 507)
    switch.write_text("ok")
    wait_until(lambda: load.push().status_code == 207, 15)
    assert "event=part.mended" in open(server.log_path).read()
    for _ in range(20):
        assert load.push().status_code == 207
    load.check()
    assert restarts(server) == 0
    server.kill()
    server.start()
    load.check()
