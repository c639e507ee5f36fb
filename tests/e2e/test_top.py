"""haltless top and haltless lane: a node seen from outside, running and killed."""
import fcntl
import glob
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from haltless import BINARY, SLOW, Pusher, Tenant, reading, wait_until

pytestmark = pytest.mark.short


def top(server, *flags):
    out = subprocess.run([BINARY, "top", "--data", server.data, *flags], capture_output=True, text=True,
                         timeout=20 * SLOW, stdin=subprocess.DEVNULL)
    assert out.returncode == 0, out.stderr
    return out.stdout


def rows(text):
    """The one object that top --json is."""
    assert text.count("\n") == 1 and text.endswith("\n")
    return json.loads(text)


def files(server):
    """What top must not touch."""
    run_dir = rows(top(server, "--json", "--interval", "0.1", "--once"))["node"]["run_dir"]
    return run_dir, {p: (os.stat(p).st_mtime_ns, open(p, "rb").read()) for p in glob.glob(run_dir + "/*")
                     if os.path.isfile(p)}


def test_top_shows_a_running_and_a_killed_server(own_server, topology):
    server = own_server()
    tenant = Tenant(server)
    tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    for i in range(20):
        assert pusher.push([reading("M", value=i)]).status_code == 207

    live = rows(top(server, "--json", "--interval", "0.2", "--once"))
    assert live["node"]["living"] == live["node"]["actors"] == len(live["actors"])
    assert {a["state"] for a in live["actors"]} <= {"run", "parked", "io"}
    pids = server.actor_pids()
    assert {a["actor"]: a["pid"] for a in live["actors"]} == {f"{k}.{p}": pid for (k, p), pid in pids.items()}
    ingest = [a for a in live["actors"] if a["actor"].startswith("ingest.")]
    assert sum(a["messages"] for a in ingest) >= 20
    assert max(a["queueing"]["p50_us"] for a in ingest) > 0 and max(a["flush"]["p99_us"] for a in ingest) > 0
    assert len(live["lanes"]) == live["node"]["lanes"] and all(lane["sound"] for lane in live["lanes"])
    pushed = [lane for lane in live["lanes"] if lane["from"] == "front.0" and lane["to"].startswith("ingest.")]
    assert sum(lane["published"] for lane in pushed) >= 20 * 128
    assert max(lane["high_water"] for lane in pushed) >= 128
    assert {lane["carrier"] for lane in live["lanes"]} == {"zmq" if topology.startswith("zmq") else "ring"}
    assert "ACTOR" in top(server, "--once", "--interval", "0.1")

    before = {a["actor"]: a for a in live["actors"]}
    server.kill()
    run_dir, was = files(server)
    dead = rows(top(server, "--json"))
    assert dead["node"]["living"] == 0
    # The supervisor's death tells its children to stop: one may have done so before the kill reached it.
    assert "dead" in {a["state"] for a in dead["actors"]} <= {"dead", "stopped"}
    for a in dead["actors"]:
        assert a["messages"] >= before[a["actor"]]["messages"]
    assert "ingest.0 " in top(server)
    assert {p: (os.stat(p).st_mtime_ns, open(p, "rb").read()) for p in was} == was     # it only reads


def test_top_of_nothing_is_one_line(tmp_path):
    out = subprocess.run([BINARY, "top", "--data", str(tmp_path)], capture_output=True, text=True, timeout=20 * SLOW)
    assert out.returncode == 1 and out.stdout == "" and out.stderr.count("\n") == 1, out.stderr


class Terminal:
    """haltless top on a terminal of 80 by 24; pictures() are what it drew, as text."""

    def __init__(self, server, *flags):
        try:
            self.master, slave = pty.openpty()
        except OSError as e:
            pytest.skip(f"this place has no terminals: {e}")
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen([BINARY, "top", "--data", server.data, *flags], stdin=slave, stdout=slave,
                                        stderr=slave)
        os.close(slave)
        self.seen = b""

    def read(self):
        if select.select([self.master], [], [], 0.05)[0]:
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                pass

    def pictures(self):
        plain = self.seen.replace(b"\033[7m", b"").replace(b"\033[0m\033[K", b"").decode()
        return [p.split("\033[J")[0] for p in plain.split("\033[H")[1:] if "\033[J" in p]

    def until(self, what, within=10):
        end = time.monotonic() + within * SLOW
        while not what(self.pictures()):
            assert time.monotonic() < end, self.pictures()[-1:]
            self.read()

    def key(self, key, shows):
        """Presses it; the picture that comes says `shows`."""
        drawn = len(self.pictures())
        os.write(self.master, key)
        self.until(lambda pictures: any(shows in p for p in pictures[drawn:]))

    def leave(self):
        os.write(self.master, b"q")
        end = time.monotonic() + 10 * SLOW
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
        assert self.process.wait(5) == 0
        os.close(self.master)


@pytest.mark.once
def test_the_live_view_fits_its_terminal_and_obeys_its_keys(server):
    terminal = Terminal(server, "--interval", "0.2")
    terminal.until(lambda pictures: len(pictures) >= 3)
    for picture in terminal.pictures():
        assert "ingest.0" in picture and "QUE" in picture and "LANE" in picture
        assert all(len(line) <= 80 for line in picture.split("\r\n")) and picture.count("\r\n") < 24
    terminal.key(b"s", "by rate")
    terminal.key(b"t", "times now")
    terminal.key(b"v", "MESSAGE")
    terminal.key(b"v", "TEXT")
    terminal.key(b"v", "LANE")
    terminal.key(b"p", "PAUSED")
    terminal.read()
    drawn = len(terminal.pictures())
    fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 132, 0, 0))
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.until(lambda pictures: any("p99.9" in p for p in pictures[drawn:]))     # columns that 80 had no room for
    terminal.key(b"p", "by rate")
    terminal.leave()


def test_lane_follow_sees_each_message(own_server):
    server = own_server(flags=["--ingest-count", "1"])
    tenant = Tenant(server)
    tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    process = subprocess.Popen([BINARY, "lane", "follow", "front.0", "ingest.0", "--data", server.data, "--json",
                                "--count", "3"], stdout=subprocess.PIPE, text=True)

    def pushed():
        assert pusher.push([reading("M")]).status_code == 207
        return process.poll() is not None
    wait_until(pushed, 10)
    lines = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0 and len(lines) == 3
    seen = [line for line in lines if line["type"] == "readings"]
    assert seen and all(m["from"] == "front.0" and m["to"] == "ingest.0" and m["len"] >= 56 for m in seen)
    assert [m["pos"] for m in lines] == sorted(m["pos"] for m in lines)


def test_lane_dump_believes_nothing_that_a_dead_node_left(own_server):
    server = own_server(flags=["--ingest-count", "1"])
    tenant = Tenant(server)
    tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    for _ in range(5):
        pusher.push([reading("M")])
    run_dir = rows(top(server, "--json", "--once", "--interval", "0.1"))["node"]["run_dir"]
    server.kill()
    path = run_dir + "/lane.front.0.ingest.0"

    def dump():
        out = subprocess.run([BINARY, "lane", "dump", "front.0", "ingest.0", "--data", server.data, "--json"],
                             capture_output=True, text=True, timeout=20 * SLOW)
        assert out.returncode in (0, 1), out
        return out
    with open(path, "r+b") as f:
        f.seek(8192)
        f.write(struct.pack("<Q", 0))                       # nothing was ever acknowledged
        f.flush()
        out = dump()
        assert out.returncode == 0 and len(out.stdout.splitlines()) >= 5, out
        for seek, words in ((4096, b"\xff" * 8), (8192, b"\x01" * 8), (12288, b"\xff" * 64)):
            f.seek(seek)
            was = f.read(len(words))
            f.seek(seek)
            f.write(words)
            f.flush()
            out = dump()
            assert out.returncode == 1 and out.stderr.count("\n") == 1, (seek, out)
            assert "lane.front.0" in top(server) or "ingest.0" in top(server)
            f.seek(seek)
            f.write(was)
            f.flush()
        f.truncate(8192)
    assert dump().returncode == 1
    assert [lane for lane in rows(top(server, "--json"))["lanes"] if not lane["sound"]]
