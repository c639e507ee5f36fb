"""A message that kills its actor is set aside after its third death, alone; it can be looked at, replayed, dropped."""
import json
import os
import struct
import subprocess

import pytest
import requests

from haltless import BINARY, SLOW, Pusher, Tenant, iso, reading, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
START = 1775260800


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    out = tmp_path_factory.mktemp("preload") / "poison.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", str(out), os.path.join(HERE, "poison.c"), "-ldl"], check=True)
    return str(out)


def dead(server, *words):
    return subprocess.run([BINARY, "dead", *words, "--data", server.data], capture_output=True, text=True,
                          timeout=60 * SLOW)


def letters(server):
    answer = dead(server, "list", "--json")
    assert answer.returncode == 0, answer.stderr
    return [json.loads(line) for line in answer.stdout.splitlines()]


def values(tenant, machine):
    page = tenant.get(f"/machines/{machine['id']}/readings", params={"metric": "temperature", "start": iso(START)})
    assert page.status_code == 200, page.text
    return [p["value"] for p in page.json()["data"]]


def push(server, key, value, at):
    """The status, or None when the connection was lost."""
    try:
        return Pusher(server, key).push([reading("M", value=value, timestamp=iso(START + at))]).status_code
    except requests.RequestException:
        return None


def test_a_poison_is_buried_and_everything_else_goes_on(own_server, library, tmp_path, topology):
    switch = tmp_path / "poison"
    server = own_server(env={"LD_PRELOAD": library, "POISON": str(switch)}, flags=["--limits-ingest-wait-ms", "30000"])
    tenant = Tenant(server)
    machine = tenant.machine("M")
    key = tenant.key()["key"]
    assert letters(server) == []
    assert push(server, key, 1.0, 0) == 207
    switch.touch()
    answer = push(server, key, 666.666, 1)
    # The asker hears it for good; where the front is a thread of the same process, it died along.
    assert answer == 500 or (answer is None and "threads" in topology), answer
    assert wait_until(lambda: push(server, key, 2.0, 2) == 207, 30)
    found = wait_until(lambda: letters(server), 30)
    assert len(found) == 1, found
    letter = found[0]
    assert letter["actor"].startswith("ingest.") and letter["from"].startswith("front."), letter
    assert letter["type"] == "readings" and letter["deaths"] == 3 and letter["signal"] == 11, letter
    assert letter["reason"].endswith("3 times, the last by SIGSEGV"), letter
    assert len(letter["build"]) == 40, letter
    assert values(tenant, machine) == [1.0, 2.0]
    assert server.metric_sum("haltless_dead_letters_total") == 1
    assert "event=message.buried" in open(server.log_path).read()

    shown = json.loads(dead(server, "show", letter["letter"], "--json").stdout)
    assert struct.pack("<d", 666.666).hex() in shown["body"] and len(shown["body"]) == 2 * letter["len"]
    deaths = server.metric_sum("haltless_restarts_total")
    again = dead(server, "replay", letter["letter"])                # it still kills
    assert again.returncode == 1 and "died of it again; the letter is kept" in again.stderr, again
    assert [x["letter"] for x in letters(server)] == [letter["letter"]]
    wait_until(lambda: push(server, key, 3.0, 3) == 207, 30)
    assert server.metric_sum("haltless_restarts_total") > deaths or "threads" in topology

    switch.unlink()                                                 # the bug is mended
    again = dead(server, "replay", "all")
    assert again.returncode == 0 and again.stdout == f"{letter['letter']} replayed\n", again
    assert letters(server) == []
    assert values(tenant, machine) == [1.0, 666.666, 2.0, 3.0]
    again = dead(server, "replay", letter["letter"])
    assert again.returncode == 1 and "No such file" in again.stderr, again


@pytest.mark.once
def test_letters_are_read_and_dropped_without_a_server(own_server, library, tmp_path):
    switch = tmp_path / "poison"
    # Long enough that the message is not late before its third death.
    server = own_server(env={"LD_PRELOAD": library, "POISON": str(switch)}, flags=["--limits-ingest-wait-ms", "30000"])
    tenant = Tenant(server)
    tenant.machine("M")
    key = tenant.key()["key"]
    switch.touch()
    push(server, key, 666.666, 1)
    wait_until(lambda: letters(server), 30)
    wait_until(lambda: push(server, key, 2.0, 2) == 207, 30)
    assert server.stop() == 0
    letter, = letters(server)
    answer = dead(server, "replay", letter["letter"])
    assert answer.returncode == 1 and "no server runs" in answer.stderr, answer
    assert dead(server, "show", letter["letter"]).returncode == 0
    answer = dead(server, "drop", "all")
    assert answer.returncode == 0 and answer.stdout == f"{letter['letter']} dropped\n"
    assert letters(server) == []
    assert dead(server, "drop", letter["letter"]).returncode == 1
    assert dead(server, "drop").returncode == 2
