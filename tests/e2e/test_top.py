"""haltless top and haltless lane: a node seen from outside, running and killed."""
import fcntl
import glob
import json
import os
import pty
import select
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
    """{"actor": [...], "lane": [...], "node": [...]}"""
    made = {}
    for line in text.splitlines():
        row = json.loads(line)
        made.setdefault(row["type"], []).append(row)
    return made


def files(server):
    """What top must not touch."""
    run_dir = rows(top(server, "--json", "--interval", "0.1", "--once"))["node"][0]["run_dir"]
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
    assert live["node"][0]["living"] == live["node"][0]["actors"] == len(live["actor"])
    assert {a["state"] for a in live["actor"]} <= {"run", "parked", "io"}
    pids = server.actor_pids()
    assert {a["actor"]: a["pid"] for a in live["actor"]} == {f"{k}.{p}": pid for (k, p), pid in pids.items()}
    ingest = [a for a in live["actor"] if a["actor"].startswith("ingest.")]
    assert sum(a["messages"] for a in ingest) >= 20
    assert max(a["queueing"]["p50_us"] for a in ingest) > 0 and max(a["flush"]["p99_us"] for a in ingest) > 0
    assert len(live["lane"]) == live["node"][0]["lanes"] and all(lane["sound"] for lane in live["lane"])
    pushed = [lane for lane in live["lane"] if lane["from"] == "front.0" and lane["to"].startswith("ingest.")]
    assert sum(lane["published"] for lane in pushed) >= 20 * 128
    assert max(lane["high_water"] for lane in pushed) >= 128
    assert {lane["carrier"] for lane in live["lane"]} == {"zmq" if topology.startswith("zmq") else "ring"}
    assert "ACTOR" in top(server, "--once", "--interval", "0.1")

    before = {a["actor"]: a for a in live["actor"]}
    server.kill()
    run_dir, was = files(server)
    dead = rows(top(server, "--json"))
    assert dead["node"][0]["living"] == 0
    assert {a["state"] for a in dead["actor"]} == {"dead"}
    for a in dead["actor"]:
        assert a["messages"] >= before[a["actor"]]["messages"]
    assert "ingest.0 " in top(server)
    assert {p: (os.stat(p).st_mtime_ns, open(p, "rb").read()) for p in was} == was     # it only reads


def test_top_of_nothing_is_one_line(tmp_path):
    out = subprocess.run([BINARY, "top", "--data", str(tmp_path)], capture_output=True, text=True, timeout=20 * SLOW)
    assert out.returncode == 1 and out.stdout == "" and out.stderr.count("\n") == 1, out.stderr


@pytest.mark.once
def test_the_live_view_fits_its_terminal_and_q_ends_it(server):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen([BINARY, "top", "--data", server.data, "--interval", "0.2"], stdin=slave, stdout=slave,
                               stderr=slave)
    os.close(slave)
    seen = b""
    end = time.monotonic() + 10 * SLOW
    while seen.count(b"\033[H") < 3 and time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)
    os.write(master, b"q")
    drained = time.monotonic() + 10 * SLOW
    while process.poll() is None and time.monotonic() < drained:
        if select.select([master], [], [], 0.05)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:
                break
    assert process.wait(5) == 0
    os.close(master)
    pictures = seen.split(b"\033[H")[1:]
    assert len(pictures) >= 3 and all(b"ingest.0" in p for p in pictures[:2])
    for line in pictures[1].split(b"\033[J")[0].replace(b"\033[7m", b"").split(b"\033[0m\033[K\r\n"):
        assert len(line) <= 80, line
    assert pictures[1].count(b"\r\n") < 24


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
    run_dir = rows(top(server, "--json", "--once", "--interval", "0.1"))["node"][0]["run_dir"]
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
    assert [lane for lane in rows(top(server, "--json"))["lane"] if not lane["sound"]]
