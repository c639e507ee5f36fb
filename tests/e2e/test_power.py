"""Power cuts, failing and full disks, at any moment: what a 207 covered is there, once, and the server always starts.

The ledger is this process: it outlives the server and writes down every batch that was acknowledged."""
import errno
import random
import shutil
import tempfile
import time

import pytest
import requests

import power
from haltless import BINARY, Pusher, Server, Tenant, iso, reading, wait_until
from test_crash import ROWS, START, Load, check

pytestmark = pytest.mark.once
SMALL = ["--storage-journal-mb", "16", "--storage-heads-mb", "16"]
assert BINARY


class Ledger(Load):
    """Any refusal will do, as long as it is one."""

    def run(self):
        pusher = Pusher(self.server, self.key)
        while not self.ending.is_set():
            rows = {START + self.next + i: float(self.next + i) for i in range(ROWS)}
            try:
                answer = pusher.push([reading(self.machine, value=v, timestamp=iso(t)) for t, v in rows.items()],
                                     timeout=10)
            except requests.RequestException:
                pusher = Pusher(self.server, self.key)
                time.sleep(0.01)
                continue
            if answer.status_code == 207 and answer.json()["accepted_count"] == ROWS:
                self.acknowledged.update(rows)
                self.next += ROWS
            else:
                self.failures.append((time.monotonic(), answer.status_code))
                time.sleep(0.01)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return power.build(str(tmp_path_factory.mktemp("preload")))


@pytest.fixture
def place():
    """Server and log of the writes in one file system, as hard links want it."""
    made = tempfile.mkdtemp(prefix="haltless-power-", dir="/var/tmp")
    yield made
    shutil.rmtree(made, ignore_errors=True)


class Rig:
    """One data directory with a tenant, two machines and their ledgers, over many lives of the server."""

    def __init__(self, library, place, name):
        self.power = power.Power(library, tempfile.mkdtemp(dir=place), tempfile.mkdtemp(dir=place))
        self.server = Server("threads", flags=SMALL, env=self.power.env, data=self.power.data)
        self.tenant = Tenant(self.server, email=f"{name}@example.com")
        self.machines = [self.tenant.machine(f"M{i}") for i in range(2)]
        self.key = self.tenant.key()["key"]
        self.ledgers = [Ledger(self.server, self.key, m["machine_identifier"]) for m in self.machines]

    def load(self):
        """The ledgers go on from what they have."""
        fresh = []
        for old in self.ledgers:
            ledger = Ledger(self.server, self.key, old.machine)
            ledger.acknowledged, ledger.next = old.acknowledged, old.next + ROWS
            fresh.append(ledger)
            ledger.start()
        self.ledgers = fresh

    def rest(self):
        for ledger in self.ledgers:
            ledger.end()

    def check(self):
        for machine, ledger in zip(self.machines, self.ledgers):
            check(self.tenant, machine, ledger)

    def start(self):
        """Up, whatever the files look like."""
        self.server.start(ready_within=30)
        assert len(self.tenant.get("/machines").json()["items"]) == len(self.machines)

    def close(self):
        self.server.close()


def campaign(library, place, long_run, name, short, one):
    """`one`(rig, rng) takes a running server and leaves a running one; a fresh data directory now and then."""
    runs = 1000 if long_run else short
    for first in range(0, runs, 10):
        rig = Rig(library, place, f"{name}{first}")
        try:
            for seed in range(first, min(first + 10, runs)):
                try:
                    one(rig, random.Random(seed))
                except Exception as e:
                    raise AssertionError(f"{name} of seed {seed}: {e}\n{rig.server.log()}") from e
        finally:
            rig.rest()
            rig.close()


def power_cut(rig, rng):
    rig.load()
    time.sleep(rng.uniform(0.05, 0.7))
    rig.server.kill()
    rig.rest()
    said = rig.power.cut(rng)
    try:
        rig.start()
        rig.check()
    except Exception as e:
        raise AssertionError(f"{e}\nthe cut: {said}") from e


def failing_calls(rig, rng):
    """From some call on, a few fail; then the plug is pulled."""
    rig.load()
    rig.power.fault(after=rng.randint(0, 300), count=rng.choice([1, 1, 3, 50]),
                    error=rng.choice([errno.EIO, errno.ENOSPC]),
                    calls=rng.choice([power.WRITES, power.SYNCS, power.WRITES | power.SYNCS | power.NAMES]))
    time.sleep(rng.uniform(0.2, 0.8))
    rig.server.kill()
    rig.rest()
    rig.power.heal()
    rig.power.cut(rng)
    rig.start()
    rig.check()


def failing_start(rig, rng):
    """The disk has a bad moment while the server starts: it comes up by itself, or at the next start, and nothing that
    could not be read just then is taken for damaged."""
    rig.load()
    time.sleep(rng.uniform(0.1, 0.3))
    rig.server.kill()
    rig.rest()
    rig.power.cut(rng)
    rig.power.fault(after=rng.randint(0, 200), count=rng.choice([1, 3, 30]), error=rng.choice([errno.EIO, errno.ENOSPC]))
    try:
        rig.server.start(ready_within=3)
    except AssertionError:
        pass
    rig.power.heal()
    if rig.server.process.poll() is not None:
        rig.start()
    wait_until(lambda: requests.get(rig.server.url + "/readyz", timeout=10).status_code == 200, 30)
    rig.check()


@pytest.mark.parametrize("what, runs", [(power_cut, 18), (failing_calls, 7), (failing_start, 5)],
                         ids=["power_cut", "failing_calls", "failing_start"])
def test_nothing_acknowledged_is_lost_by(what, runs, library, place, long_run):
    campaign(library, place, long_run, what.__name__, runs, what)
