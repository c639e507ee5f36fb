"""Starting where it cannot work: one line says what to do, and the server ends with 1; or it works within what is there."""
import os
import resource
import socket
import subprocess

import pytest

from haltless import BINARY, SLOW, Pusher, Server, Tenant, reading, remove_run_dir

pytestmark = pytest.mark.once


def start(data, *flags, wrap=(), limits=(), within=20):
    """Runs it to its end; the one line that says why."""
    def lower():
        for which, value in limits:
            resource.setrlimit(which, (value, value))
    try:
        ended = subprocess.run([*wrap, BINARY, "serve", "--data", str(data), "--listen", "127.0.0.1:0", *flags],
                               capture_output=True, text=True, timeout=within * SLOW, preexec_fn=lower)
    finally:
        if os.path.isdir(data):
            remove_run_dir(str(data))
    failed = [line for line in ended.stderr.splitlines() if "event=server.failed" in line]
    assert ended.returncode == 1 and len(failed) == 1, (ended.returncode, ended.stderr[-3000:])
    return failed[0]


def has_mount_namespaces():
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def with_shm(size):
    """Runs what follows with a /dev/shm of its own of that size."""
    if not has_mount_namespaces():
        pytest.skip("no mount namespaces here")
    return ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"', "sh"]


def test_a_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = start(tmp_path / "data", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "another program has that port" in line and "server.listen" in line, line


def test_a_run_directory_whose_parent_is_missing(tmp_path):
    line = start(tmp_path / "data", "--run-dir", str(tmp_path / "no" / "run"))
    assert "server.run_dir: its parent has to be there" in line, line


def test_a_data_directory_that_cannot_be_made():
    assert "make directory /proc/no" in start("/proc/no/data")


def test_a_run_directory_with_foreign_files_is_not_touched(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "lane.front.0.ingest.0").write_text("somebody's")
    line = start(tmp_path / "data", "--run-dir", str(run))
    assert "holds other things" in line, line
    assert (run / "lane.front.0.ingest.0").read_text() == "somebody's"


def test_stale_files_of_a_killed_server_are_taken_over_or_replaced(own_server):
    server = own_server()
    run = next(os.path.join("/dev/shm", d) for d in os.listdir("/dev/shm")
               if d.startswith("haltless-") and os.path.exists(os.path.join("/dev/shm", d, "options"))
               and server.data in open(os.path.join("/dev/shm", d, "options")).read())
    server.kill()
    server.start()
    assert "event=node.attached" in open(server.log_path).read()
    server.kill()
    for name in os.listdir(run):
        if name.startswith("lane."):
            with open(os.path.join(run, name), "r+b") as f:
                f.write(b"\xff" * 64)                               # not lanes any longer
    server.start()
    assert 'event=node.new_generation' in open(server.log_path).read()
    assert "a lane is damaged" in open(server.log_path).read()
    tenant = Tenant(server)
    tenant.machine("M")
    assert Pusher(server, tenant.key()["key"]).push([reading("M")]).status_code == 207


def test_too_many_lanes(tmp_path):
    line = start(tmp_path / "data", "--front-count", "64", "--ingest-count", "64")
    assert "front-ingest 64 x 64" in line and "more than 1024" in line, line


def test_too_few_open_files(tmp_path):
    line = start(tmp_path / "data", limits=[(resource.RLIMIT_NOFILE, 64)])
    assert "only 64 open files are allowed, 128 are needed: LimitNOFILE=" in line, line


def test_a_full_dev_shm(tmp_path):
    line = start(tmp_path / "data", wrap=with_shm("3m"))
    assert "shared memory is full: a larger tmpfs" in line, line


@pytest.mark.parametrize("wrap, limits", [("shm", []), (None, [(resource.RLIMIT_MEMLOCK, 0), (resource.RLIMIT_NOFILE, 256)])])
def test_it_works_within_what_is_there(tmp_path, wrap, limits):
    """A container's 64 MB of shared memory; no locked memory and few files."""
    server = Server("threads", start=False, flags=["--limits-rate-open", "0"])
    command = server.command()
    server.command = lambda: [*(with_shm("64m") if wrap else
                                ["prlimit", *(f"--{'memlock' if w == resource.RLIMIT_MEMLOCK else 'nofile'}={v}"
                                              for w, v in limits)]), *command]
    with server:
        server.start()
        tenant = Tenant(server)
        tenant.machine("M")
        pusher = Pusher(server, tenant.key()["key"])
        assert pusher.push([reading("M", metric=f"m{i}") for i in range(500)]).status_code == 207
