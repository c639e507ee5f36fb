"""A 207 really waits for the disk; a disk that fails is never covered up."""
import os
import subprocess
import time

import pytest

from haltless import Pusher, Tenant, iso, reading, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    out = tmp_path_factory.mktemp("preload") / "slowsync.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(out), os.path.join(HERE, "slowsync.c"), "-ldl"],
                   check=True)
    return str(out)


@pytest.fixture
def slow(own_server, library, tmp_path):
    """A server whose journal's syncs obey a file."""
    switch = tmp_path / "switch"
    switch.write_text("ok")
    server = own_server(env={"LD_PRELOAD": library, "SLOWSYNC": str(switch)})
    t = Tenant(server)
    t.machine("M")
    return server, t, Pusher(server, t.key()["key"]), switch


def test_every_207_takes_as_long_as_the_sync(slow):
    _, _, pusher, switch = slow
    pusher.push([reading("M")])
    switch.write_text("delay 50")
    for i in range(12):
        before = time.monotonic()
        answer = pusher.push([reading("M", value=i)])
        took = time.monotonic() - before
        assert answer.status_code == 207 and took >= 0.050, took


def test_a_failing_sync_is_never_acknowledged_and_ends(slow):
    server, t, pusher, switch = slow
    machine = t.get("/machines").json()["items"][0]
    assert pusher.push([reading("M", value=1, timestamp=iso(1775260800))]).json()["accepted_count"] == 1
    switch.write_text("fail")
    for i in range(5):
        answer = pusher.push([reading("M", value=2 + i, timestamp=iso(1775260801 + i))])
        assert answer.status_code == 503, (answer.status_code, answer.text)
        assert "accepted_count" not in answer.text and "Retry-After" in answer.headers
    wait_until(lambda: "journal" in server.log(), 5)
    switch.write_text("ok")

    def again():
        return pusher.push([reading("M", value=9, timestamp=iso(1775260900))]).status_code == 207
    wait_until(again, 10)
    server.kill()
    server.env = {}
    server.start()
    data = t.get(f"/machines/{machine['id']}/readings?metric=temperature&start={iso(1775260800)}").json()["data"]
    assert data[0]["value"] == 1 and data[-1]["value"] == 9
