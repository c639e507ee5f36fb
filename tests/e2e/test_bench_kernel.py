"""haltless bench kernel: every case passes its own checks, and says so in JSON."""
import glob
import json
import os
import subprocess
import time

import pytest

from haltless import BINARY, SLOW

pytestmark = pytest.mark.once

SIZES = ["64B", "256B", "1KiB", "64KiB"]
CASES = ({f"copy/{s}" for s in SIZES} |
         {f"lane/{s}/{b}/{p}" for s in SIZES for b in ("batch1", "batch32", "step") for p in ("2threads", "2proc")} |
         {f"{c}/64B/batch32/{w}" for c, w in (("ring", "inproc"), ("ring", "ipc"), ("zmq", "inproc"), ("zmq", "ipc"),
                                              ("link", "tcp+curve"), ("socket", "ipc"), ("socket", "tcp"),
                                              ("socket", "tcp+curve"))} |
         {f"trip/{w}" for w in ("lane/2threads", "lane/2proc", "ring/inproc", "ring/ipc", "zmq/inproc", "zmq/ipc",
                                "link/tcp+curve")} |
         {f"ask/ring/{p}/{m}" for p in ("2threads", "2proc") for m in ("polling", "sleeping")} |
         {"message/counted", "message/uncounted", "message/ask"})


def run(*flags):
    return subprocess.run([BINARY, "bench", "kernel", *flags], capture_output=True, text=True, timeout=100 * SLOW,
                          stdin=subprocess.DEVNULL)


def test_every_case_of_the_kernel_bench_passes():
    out = run("--seconds", "0.02", "--json")
    assert out.returncode == 0, out.stdout[-2000:] + out.stderr
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert {"cores", "cpu", "commit", "command"} <= set(rows[0]["env"])
    assert CASES <= {r["case"] for r in rows[1:]}
    for r in rows[1:]:
        assert r["bench"] == "kernel" and r["value"] > 0 and r["unit"] in ("msg/s", "B/s", "ns", "1"), r


def test_nothing_is_left_behind():
    def left():
        return {p for p in glob.glob("/dev/shm/haltless-bench-*") + glob.glob("/tmp/haltless-bench-*")
                if os.stat(p).st_mtime > began}

    began = time.time() - 1
    assert run("--seconds", "0.02", "--case", "64B/batch32").returncode == 0
    assert not left()


def test_cases_are_chosen_and_bad_flags_refused():
    out = run("--seconds", "0.02", "--case", "copy/64B", "--json")
    assert out.returncode == 0 and {json.loads(line)["case"] for line in out.stdout.splitlines()[1:]} == {"copy/64B"}
    assert run("--seconds", "0").returncode == 2
    assert run("--help").returncode == 0
