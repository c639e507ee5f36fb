"""The six libraries the server stands on are linked from the system and really used for what they are for."""
import os
import re
import stat
import subprocess

import msgpack
import pytest

from haltless import BINARY, Pusher, Tenant, reading

pytestmark = pytest.mark.once

# library -> (its file, calls of it that the product cannot do its work without)
LIBRARIES = {
    "H2O": ("libh2o-evloop", ["h2o_evloop_run", "h2o_create_handler", "h2o_send", "h2o_upgrade_to_websocket"]),
    "libzmq": ("libzmq", ["zmq_msg_recv", "zmq_send", "zmq_bind", "zmq_connect"]),
    "CZMQ": ("libczmq", ["zsock_new_checked", "zmsg_recv", "zmsg_send"]),
    "msgpack-c": ("libmsgpackc", ["msgpack_unpack_next", "msgpack_sbuffer_write"]),
    "RocksDB": ("librocksdb", ["rocksdb_write", "rocksdb_create_iterator_cf", "rocksdb_open_as_secondary_column_families",
                               "rocksdb_flush_wal"]),
    "libsodium": ("libsodium", ["crypto_pwhash_str_alg", "crypto_generichash", "crypto_auth_hmacsha256"]),
}


def imported():
    out = subprocess.run(["nm", "-D", "--undefined-only", BINARY], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in out.splitlines()}


def needed():
    out = subprocess.run(["readelf", "-d", BINARY], capture_output=True, text=True, check=True).stdout
    return re.findall(r"NEEDED.*\[(.*)\]", out)


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_a_library_is_linked_and_called(name):
    file, calls = LIBRARIES[name]
    assert any(lib.startswith(file) for lib in needed()), needed()
    have = imported()
    # msgpack-c's packer is inline code of its header, the rest of each list must be there by name.
    missing = [c for c in calls if c not in have and not (name == "msgpack-c" and c == "msgpack_sbuffer_write")]
    assert not missing, missing


def test_zeromq_notes_wake_the_actors(own_server):
    server = own_server(topology="processes")
    t = Tenant(server)
    t.machine("M")
    before = server.metric_sum("haltless_bells_total")
    for i in range(20):
        assert Pusher(server, t.key()["key"]).push([reading("M", value=i)]).status_code == 207
    assert server.metric_sum("haltless_bells_total") >= before + 20
    assert server.metric_sum("haltless_bells_missed_total") == 0


def test_czmq_carries_the_supervisors_words(own_server):
    """The supervisor knows of readiness, and a group of a reload, by the control socket alone."""
    server = own_server(topology="processes")
    with open(f"/proc/{server.actor_pids()['worker', 0]}/cmdline") as f:
        command = f.read().split("\0")                       # haltless actor RUN GROUP
    assert stat.S_ISSOCK(os.stat(os.path.join(command[2], "control")).st_mode)
    assert server.log().count("event=actor.ready") == len(server.actor_pids())


def test_rocksdb_holds_what_is_sealed(own_server):
    server = own_server()
    t = Tenant(server)
    t.machine("M")
    p = Pusher(server, t.key()["key"])
    for block in range(3):
        p.push([reading("M", value=i, timestamp=f"2026-04-04T{10 + block}:{i // 60:02d}:{i % 60:02d}Z")
                for i in range(1000)])
    from haltless import wait_until
    wait_until(lambda: server.metric_sum("haltless_chunks_sealed_total") > 0)
    assert any(f.endswith((".sst", ".log")) for _, _, files in os.walk(server.data) for f in files)


def test_msgpack_and_sodium_meet_in_an_ingest(own_server):
    server = own_server()
    t = Tenant(server)            # argon2id, HMAC
    t.machine("M")                # MessagePack between front and registry
    body = msgpack.packb({"readings": [reading("M")]})
    answer = Pusher(server, t.key()["key"]).push_raw(body, content_type="application/msgpack")   # keyed BLAKE2b
    assert answer.json()["accepted_count"] == 1
