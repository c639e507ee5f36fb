"""README's program of two actors: built as it stands there, run as threads and as processes, and killed."""
import json
import os
import re
import signal
import subprocess

import pytest

from haltless import BINARY, ROOT, SLOW, remove_run_dir, wait_until

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    with open(os.path.join(ROOT, "README.md")) as f:
        blocks = re.findall(r"^```c\n(.*?)^```$", f.read(), re.S | re.M)
    assert len(blocks) == 1 and len(blocks[0].splitlines()) < 60
    where = tmp_path_factory.mktemp("readme")
    (where / "ping.c").write_text(blocks[0])
    out = subprocess.run([os.path.join(ROOT, "tools", "cc"), "-Werror", "ping.c", "-o", "ping"], cwd=where,
                         capture_output=True, text=True, timeout=60 * SLOW,
                         env={**os.environ, "BUILD": os.path.dirname(os.path.abspath(BINARY))})
    assert out.returncode == 0, out.stderr
    return str(where / "ping")


class Run:
    def __init__(self, program, directory, *flags):
        self.directory = str(directory)
        self.out, self.err = os.path.join(self.directory, "out"), os.path.join(self.directory, "err")
        with open(self.out, "w") as out, open(self.err, "w") as err:
            self.process = subprocess.Popen([program, *flags], cwd=directory, stdout=out, stderr=err)

    def lines(self):
        """[(ask, count)]"""
        with open(self.out) as f:
            return [tuple(map(int, m)) for m in re.findall(r"^ask (\d+): counted (\d+)\n", f.read(), re.M)]

    def actors(self):
        out = subprocess.run([BINARY, "top", "--data", self.directory, "--json", "--once", "--interval", "0.1"],
                             capture_output=True, text=True, timeout=20 * SLOW)
        return {a["actor"]: a for a in json.loads(out.stdout)["actors"]} if out.returncode == 0 else {}

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20 * SLOW)
        with open(self.err) as f:
            return status, f.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        remove_run_dir(self.directory)


@pytest.mark.parametrize("flags", [[], ["--processes"]], ids=["threads", "processes"])
def test_it_runs_as_threads_and_as_processes(program, tmp_path, flags):
    with Run(program, tmp_path, *flags) as run:
        wait_until(lambda: len(run.lines()) >= 5, 20)
        assert run.lines()[:5] == [(n, n) for n in range(1, 6)]
        actors = run.actors()
        assert set(actors) == {"ping.0", "counter.0"}
        assert (actors["ping.0"]["pid"] == actors["counter.0"]["pid"]) == (flags == [])
        assert {t["type"] for t in actors["counter.0"]["types"]} == {"count"}
        status, log = run.end()
        assert status == 0, log
        asked = [n for n, _ in run.lines()]
        assert asked == list(range(1, len(asked) + 1))
        assert "level=error" not in log and "level=warn" not in log, log


def test_one_is_killed_and_the_other_still_gets_its_answer(program, tmp_path):
    with Run(program, tmp_path, "--processes") as run:
        wait_until(lambda: len(run.lines()) >= 5 and len(run.actors()) == 2, 20)
        was = run.actors()
        os.kill(was["counter.0"]["pid"], signal.SIGKILL)
        before = len(run.lines())
        wait_until(lambda: len(run.lines()) >= before + 5, 20)
        now = run.actors()
        assert now["ping.0"]["pid"] == was["ping.0"]["pid"] and now["counter.0"]["restarts"] == 1
        status, log = run.end()
        assert status == 0, log
        lines = run.lines()
        assert [n for n, _ in lines] == list(range(1, len(lines) + 1))          # no ask was lost or answered twice
        counts = [c for _, c in lines]
        anew = [i for i in range(1, len(counts)) if counts[i] < counts[i - 1]]
        assert len(anew) == 1 and counts[anew[0]] in (1, 2)     # its successor counts from the start
        assert "signal=KILL" in log


def test_a_second_one_in_the_same_directory_is_refused(program, tmp_path):
    with Run(program, tmp_path) as run:
        wait_until(lambda: run.lines(), 20)
        out = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True, timeout=40 * SLOW)
        assert out.returncode == 1 and "locked" in out.stderr and out.stdout == "", out
        assert run.end()[0] == 0
