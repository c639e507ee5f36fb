"""`haltless export` and `haltless import`: what goes out comes in again, and what was broken off goes on."""
import csv
import json
import os
import random
import signal
import subprocess
import time

import pytest
import requests

from haltless import BINARY, SLOW, Tenant, iso, reading

pytestmark = pytest.mark.once

BASE = 1_775_000_000
ODD = ['plain', 'a,b', 'say "x"', "two\nlines", "ü/日本", "%41&=+ #?", " spaced "]


def run(command, server, key, *words, fails=False, stdin=None):
    out = subprocess.run([BINARY, command, *map(str, words), "--url", server.url], capture_output=True, timeout=120 * SLOW,
                         input=stdin, env={**os.environ, "HALTLESS_API_KEY": key})
    assert (out.returncode != 0) == fails, out.stderr.decode()
    return out


@pytest.fixture
def filled(tenant, pusher):
    """Two machines; one series of 23 000 readings (three pages), and odd names."""
    tenant.machine("M 1")
    tenant.machine('M,"2"')
    rows = [reading("M 1", metric="long", value=i / 7, timestamp=iso(BASE + i)) for i in range(23_000)]
    rows += [reading('M,"2"', metric=name, value=v, timestamp=iso(BASE + i), unit=name[:5])
             for name in ODD for i, v in enumerate([1.5, -0.0, 5e-324, 1.7976931348623157e308, 0.1])]
    body = "".join(json.dumps(r) + "\n" for r in rows).encode()
    assert pusher.push_raw(body, content_type="application/x-ndjson").json()["accepted_count"] == len(rows)
    return rows


def key_of(r):
    return r["machine_identifier"], r["metric_name"], r["timestamp"]


def lines_of(path):
    with open(path) as f:
        return [json.loads(line) for line in f]


def test_what_is_exported_is_what_was_pushed_and_can_be_imported(server, tenant, filled, tmp_path):
    key = tenant.key(scopes=["read_only"])["key"]
    lines, table = tmp_path / "all.ndjson", tmp_path / "all.csv"
    run("export", server, key, "--out", lines)
    run("export", server, key, "--out", table)
    exported = lines_of(lines)
    assert sorted(exported, key=key_of) == sorted(filled, key=key_of)
    with open(table, newline="") as f:
        rows = list(csv.DictReader(f))
    assert [{**r, "value": float(r["value"])} for r in rows] == exported
    assert not [p for p in os.listdir(tmp_path) if "state" in p], "a finished export leaves no state behind"
    out = run("export", server, key, "--machine", 'M,"2"', "--metric", ODD[1], "--start", iso(BASE + 1), "--end", iso(BASE + 3))
    assert [json.loads(x)["value"] for x in out.stdout.splitlines()] == [-0.0, 5e-324]
    for path in (lines, table):
        other = Tenant(server)
        for identifier in ("M 1", 'M,"2"'):
            other.machine(identifier)
        out = run("import", server, other.key()["key"], path)
        assert out.stderr.decode().strip().endswith(f"{len(filled)} accepted, 0 rejected")
        again = tmp_path / "again.ndjson"
        run("export", server, other.key(scopes=["read_only"])["key"], "--out", again)
        assert sorted(lines_of(again), key=key_of) == sorted(exported, key=key_of)


def test_a_broken_off_export_goes_on_where_it_was(server, tenant, filled, tmp_path):
    key = tenant.key(scopes=["read_only"])["key"]
    whole, broken = tmp_path / "whole.ndjson", tmp_path / "broken.ndjson"
    run("export", server, key, "--machine", "M 1", "--out", whole)
    machine = next(m for m in tenant.get("/machines").json()["items"] if m["machine_identifier"] == "M 1")["id"]
    page = tenant.get(f"/machines/{machine}/readings", params={"metric": "long", "limit": 10000, "start": iso(BASE)}).json()
    first = b"".join(whole.read_bytes().splitlines(True)[:10000])
    broken.write_bytes(first + b'{"machine_identifier":"torn')
    (tmp_path / "broken.ndjson.state").write_text(json.dumps({
        "machine_id": machine, "metric": "long", "cursor": page["next_cursor"], "start": "1970-01-01T00:00:00Z",
        "end": iso(BASE + 30_000), "format": 0, "readings": 10000, "bytes": len(first)}))
    out = run("export", server, key, "--machine", "M 1", "--out", broken, "--resume")
    assert broken.read_bytes() == whole.read_bytes() and b"23000 readings" in out.stderr
    assert b"broken.ndjson.state" in run("export", server, key, "--out", broken, "--resume", fails=True).stderr


def test_an_import_names_what_is_refused_and_goes_on(server, tenant, tmp_path):
    tenant.machine("M")
    key = tenant.key()["key"]
    good = [reading("M", value=i, timestamp=iso(BASE + i)) for i in range(7000)]
    path, rejects = tmp_path / "some.ndjson", tmp_path / "rejects"
    bad = [json.dumps(reading("nobody")), "{not json", "", json.dumps(reading("M", value="x"))]
    path.write_text("\n".join(bad + [json.dumps(r) for r in good]))
    out = run("import", server, key, path, "--rejects", rejects, fails=True)
    assert out.returncode == 1 and b"7000 accepted, 3 rejected" in out.stderr
    assert sorted((r["line"], r["error"]) for r in lines_of(rejects)) == [
        (1, "Machine not found"), (2, "Not JSON"), (4, "Value must be a number")]
    skipped = len("\n".join(bad).encode()) + 1 + sum(len(json.dumps(r)) + 1 for r in good[:6990])
    (tmp_path / "some.ndjson.imported").write_text(json.dumps({"bytes": skipped, "line": 6994, "accepted": 6990, "rejected": 0}))
    out = run("import", server, key, path, "--resume")
    assert b"7000 accepted, 0 rejected" in out.stderr
    table = 'unit,value,extra,"metric_name",timestamp,machine_identifier\r\nc,1,?,t,2026-04-04T10:30:00Z,M\r\n' \
            'c,one,?,t,2026-04-04T10:30:00Z,M\r\nc,2\r\nc,3,?,"t\r\n2",2026-04-04T10:30:00Z,M\r\n'
    out = run("import", server, key, "-", "--format", "csv", stdin=table.encode(), fails=True)
    assert b"2 accepted, 2 rejected" in out.stderr and b'"line":3,"error":"Value must be a number"' in out.stderr
    assert b'"line":4,"error":"Not a record of CSV"' in out.stderr


def test_refusals_are_said_in_one_line(server, tenant, tmp_path):
    out = run("export", server, "hk_unknown", fails=True)
    assert b"the server says 401: Invalid API key." in out.stderr
    out = run("export", server, tenant.key(scopes=["ingest"])["key"], fails=True)
    assert b"403" in out.stderr and b"read:machines" in out.stderr
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert b"has no column machine_identifier" in run("import", server, tenant.key()["key"], tmp_path / "x.csv", fails=True).stderr
    out = subprocess.run([BINARY, "export"], capture_output=True, timeout=30, env={k: v for k, v in os.environ.items()
                                                                                   if not k.startswith("HALTLESS_")})
    assert out.returncode == 1 and b"HALTLESS_API_KEY" in out.stderr
    out = subprocess.run([BINARY, "export", "--url", "http://127.0.0.1:1"], capture_output=True, timeout=30,
                         env={**os.environ, "HALTLESS_API_KEY": "x"})
    assert out.returncode == 1 and b"127.0.0.1" in out.stderr
    assert requests.get(server.url + "/healthz").ok


# ---- kill -9 ----

class Killed:
    """A command that is killed some times, at random, and gone on with; then left alone."""

    def __init__(self, server, key, state, rng):
        self.server, self.key, self.state, self.rng = server, key, state, rng
        self.kills = self.resumes = 0

    def run(self, *words):
        """The last run's output."""
        took = 0.1
        while True:
            resume = os.path.exists(self.state)
            began = time.monotonic()
            process = subprocess.Popen([BINARY, *map(str, words), *(["--resume"] if resume else []), "--url", self.server.url],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                       env={**os.environ, "HALTLESS_API_KEY": self.key})
            self.resumes += resume
            try:
                said = process.communicate(timeout=None if self.kills == 15 else self.rng.uniform(0, took))[1]
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                self.kills += 1
                continue
            took = max(0.02, time.monotonic() - began)
            if self.kills >= 3:
                assert process.returncode in (0, 1), said
                return said.decode()
            for name in (self.state, words[-1] if words[0] == "export" else self.state):
                if os.path.exists(name):        # it was done too soon: from the beginning
                    os.unlink(name)


@pytest.fixture
def wide(tenant, pusher):
    """A long series, and many short ones of several machines: pages' worth end within and between them."""
    rows = []
    for m in range(4):
        tenant.machine(f"W{m}")
        rows += [reading(f"W{m}", metric=f"short {k}", value=k + i / 3, timestamp=iso(BASE + i)) for k in range(120) for i in range(60)]
    rows += [reading("W1", metric="long", value=i / 7, timestamp=iso(BASE + i)) for i in range(35_000)]
    for i in range(0, len(rows), 30_000):
        body = "".join(json.dumps(r) + "\n" for r in rows[i:i + 30_000]).encode()
        answer = pusher.push_raw(body, content_type="application/x-ndjson")
        assert answer.json()["rejected_count"] == 0
    return rows


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_export_that_is_killed_again_and_again_is_the_whole_in_the_end(server, tenant, wide, tmp_path, form):
    key = tenant.key(scopes=["read_only"])["key"]
    whole, parts = tmp_path / f"whole.{form}", tmp_path / f"parts.{form}"
    run("export", server, key, "--end", iso(BASE + 100_000), "--out", whole)
    killed = Killed(server, key, f"{parts}.state", random.Random(form))
    said = killed.run("export", "--end", iso(BASE + 100_000), "--out", parts)
    assert killed.kills >= 3 and killed.resumes >= 1
    assert parts.read_bytes() == whole.read_bytes() and said.strip().endswith(f"{len(wide)} readings")
    assert sorted(os.listdir(tmp_path)) == sorted([whole.name, parts.name])


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_import_that_is_killed_again_and_again_is_the_whole_in_the_end(server, tenant, wide, tmp_path, form):
    source, rejects, expected = tmp_path / f"all.{form}", tmp_path / "rejects", tmp_path / "expected"
    run("export", server, tenant.key(scopes=["read_only"])["key"], "--out", source)
    text = source.read_text().splitlines(True)
    for i in range(500, len(text), 900):        # what is refused by the server, and what is no reading at all
        text.insert(i, text[i].replace("W", "V") if i % 2 else "torn,\"line\n" if form == "ndjson" else "torn,line\n")
    source.write_text("".join(text))
    results = []
    for kill in (False, True):
        other = Tenant(server)
        for m in range(4):
            other.machine(f"W{m}")
        key = other.key()["key"]
        if kill:
            killed = Killed(server, key, f"{source}.imported", random.Random(form))
            said = killed.run("import", source, "--rejects", rejects)
            assert killed.kills >= 3 and killed.resumes >= 1
        else:
            said = run("import", server, key, source, "--rejects", expected, fails=True).stderr.decode()
        back = tmp_path / f"back{kill}.ndjson"
        run("export", server, other.key(scopes=["read_only"])["key"], "--out", back)
        results.append((said.splitlines()[-1], sorted(lines_of(back), key=key_of)))
    assert results[0] == results[1] and len(results[0][1]) == len(wide)
    assert rejects.read_bytes() == expected.read_bytes() and len(lines_of(rejects)) > 50
    assert not os.path.exists(f"{source}.imported")


def test_states_of_other_files_are_not_gone_on_with(server, tenant, pusher, tmp_path):
    tenant.machine("M")
    key, reads = tenant.key()["key"], tenant.key(scopes=["read_only"])["key"]
    out = tmp_path / "x.ndjson"
    out.write_text("short\n")
    for suffix in ("state", "imported"):
        (tmp_path / f"x.ndjson.{suffix}").write_text(json.dumps({"bytes": 1_000_000, "readings": 5, "accepted": 5}))
    assert b"shorter than its state says" in run("export", server, reads, "--out", out, "--resume", fails=True).stderr
    assert b"shorter than its state says" in run("import", server, key, out, "--resume", fails=True).stderr
    assert out.read_text() == "short\n"
    assert b"0 readings" in run("export", server, reads, "--out", out).stderr     # anew
    assert b"0 accepted, 0 rejected" in run("import", server, key, out).stderr
    assert os.listdir(tmp_path) == ["x.ndjson"]


def test_a_resumed_export_keeps_its_flags(server, tenant, filled, tmp_path):
    key = tenant.key(scopes=["read_only"])["key"]
    whole, broken = tmp_path / "whole.ndjson", tmp_path / "broken.ndjson"
    run("export", server, key, "--machine", "M 1", "--metric", "long", "--out", whole)
    broken.write_bytes(b"")
    (tmp_path / "broken.ndjson.state").write_text(json.dumps({
        "machine_id": "", "metric": "", "cursor": "", "only_machine": "M 1", "only_metric": "long",
        "start": "1970-01-01T00:00:00Z", "end": iso(BASE + 30_000), "format": 0, "readings": 0, "bytes": 0}))
    run("export", server, key, "--out", broken, "--resume")
    assert broken.read_bytes() == whole.read_bytes()
