"""haltless backup, restore, verify, stats: beside a server that takes readings all the while, and without one."""
import glob
import json
import os
import subprocess
import time

import pytest

from haltless import BINARY, SLOW, Server, Tenant, wait_until
from test_crash import Load, check, read_all

SMALL = ["--storage-journal-mb", "16", "--storage-heads-mb", "16"]


def command(*words, status=0):
    done = subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=120 * SLOW)
    assert done.returncode == status, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def said(*words, status=0):
    return [json.loads(line) for line in command(*words, "--json", status=status).splitlines()]


def sealed(server):
    return server.metric_sum("haltless_chunks_sealed_total")


def test_a_backup_beside_a_running_server_has_everything_acknowledged_before(topology, tmp_path):
    dest, copy = str(tmp_path / "backups"), str(tmp_path / "restored")
    with Server(topology, flags=SMALL) as server:
        tenant = Tenant(server)
        machines = [tenant.machine(f"M{i}") for i in range(4)]
        key = tenant.key()["key"]
        loads = [Load(server, key, m["machine_identifier"]) for m in machines]
        for load in loads:
            load.start()
        wait_until(lambda: sealed(server) >= 8 and all(load.acknowledged for load in loads), 60)
        before = [set(load.acknowledged.values()) for load in loads]
        first = said("backup", dest, "--data", server.data)[0]
        time.sleep(1.1)         # its name is its second
        at_second = [set(load.acknowledged.values()) for load in loads]
        second = said("backup", dest, "--data", server.data)[0]
        live = said("verify", "--data", server.data)[0]
        for load in loads:
            load.end()
        assert not any(load.failures for load in loads)
        assert not glob.glob(server.data + "/.image-*")
        for machine, load in zip(machines, loads):
            check(tenant, machine, load)
        assert live["sound"] and sum(p["readings_unsealed"] for p in live["partitions"]) > 0
        assert first["files_linked"] == 0 and first["bytes"] > 0 and second["files"] > 0
        assert sum(at_second[0]) > sum(before[0])

        verdict = said("verify", first["backup"])[0]
        assert verdict["sound"] and verdict["backup_files"] == first["files"]
        rows = said("stats", "--data", server.data)
        assert rows[0]["metrics"][0]["metric_name"] == "temperature" and rows[0]["metrics"][0]["series"] >= 1

        assert set(rows[0]["written"]) == {"readings", "journal_bytes", "log_bytes", "flushed_bytes", "merged_bytes", "amplification"}
        assert {m["machine_identifier"] for row in rows for m in row["machines_with_most_series"]} == {
            m["machine_identifier"] for m in machines}
        assert all(s["metric_name"] == "temperature" for row in rows for s in row["newest_series"])

        for backup, must in ((first["backup"], before), (dest, at_second)):     # of a directory of backups: the newest
            said("restore", backup, "--data", copy)
            with Server(topology, flags=SMALL, data=copy) as restored:
                tenant.server = restored
                for machine, values in zip(machines, must):
                    got = read_all(tenant, machine)
                    assert len(got) == len(set(got)) and values <= set(got)
                assert restored.metric_sum("haltless_machines") in (0, 4)
                tenant.server = server
            command("restore", dest, "--data", copy, status=1)                  # nothing is overwritten
            os.rename(copy, copy + os.path.basename(backup))


@pytest.mark.once
def test_table_files_are_copied_once_and_a_flipped_bit_is_found(tmp_path):
    dest = str(tmp_path / "backups")
    with Server("threads", flags=SMALL) as server:
        tenant = Tenant(server)
        machine = tenant.machine("M")
        load = Load(server, tenant.key()["key"], "M")
        load.start()
        wait_until(lambda: sealed(server) >= 4, 60)
        load.end()
        server.stop()
        for _ in range(2):      # a start writes what the log holds into table files
            server.start()
            server.stop()
        first = said("backup", dest, "--data", server.data)[0]
        time.sleep(1.1)
        second = said("backup", dest, "--data", server.data)[0]
        tables = glob.glob(second["backup"] + "/part.0/db/*.sst")
        assert second["files_linked"] >= len(tables) > 0
        for t in tables:
            assert os.path.samefile(t, t.replace(second["backup"], first["backup"]))
        assert said("verify", "--data", server.data)[0]["sound"]
        biggest = max(tables, key=os.path.getsize)
        with open(biggest, "r+b") as f:
            f.seek(os.path.getsize(biggest) // 3)
            byte = f.read(1)
            f.seek(-1, os.SEEK_CUR)
            f.write(bytes([byte[0] ^ 4]))
        verdict = said("verify", second["backup"], status=1)[0]
        assert not verdict["sound"] and verdict["backup_files_damaged"] == 1
        done = subprocess.run([BINARY, "restore", second["backup"], "--data", str(tmp_path / "r")], capture_output=True,
                              text=True)
        assert done.returncode == 1 and os.path.basename(biggest) in done.stderr and not os.path.exists(tmp_path / "r")
        server.start()
        check(tenant, machine, load)
