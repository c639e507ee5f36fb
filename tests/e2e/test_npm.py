"""The description as others read it: a linter without errors, a client with types made of it, and its page in a browser.
Needs npm; the page needs chromium, and a server that was built with it."""
import json
import os
import shutil
import subprocess

import pytest
import requests

from haltless import ROOT, SLOW

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def tools(server, tmp_path_factory):
    """A directory with the packages, the checks and the description of a running server."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("npm is not here: the description's linter and the typed client were not run")
    folder = tmp_path_factory.mktemp("npm")
    shutil.copytree(os.path.join(ROOT, "tests", "npm"), folder, dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("node_modules"))
    try:
        out = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"], cwd=folder,
                             capture_output=True, text=True, timeout=180 * SLOW)
        failed = out.returncode != 0 and out.stderr.strip().splitlines()[-1]
    except subprocess.TimeoutExpired:
        failed = "it takes too long"
    if failed:
        pytest.skip(f"npm cannot fetch its packages here ({failed}): linter and typed client were not run")
    (folder / "openapi.json").write_bytes(requests.get(server.url + "/openapi.json", timeout=20 * SLOW).content)
    return folder


def run(folder, *words):
    out = subprocess.run(["npx", "--no-install", *words], cwd=folder, capture_output=True, text=True, timeout=120 * SLOW)
    assert out.returncode == 0, out.stdout[-3000:] + out.stderr[-3000:]
    return out.stdout


def test_the_linter_finds_no_error(tools):
    run(tools, "spectral", "lint", "openapi.json", "--fail-severity", "error", "--quiet")
    doc = json.loads((tools / "openapi.json").read_text())
    doc["components"]["schemas"]["MachineCreate"]["properties"]["name"] = {"type": "array"}
    (tools / "broken.json").write_text(json.dumps(doc))
    with pytest.raises(AssertionError):
        run(tools, "spectral", "lint", "broken.json", "--fail-severity", "error", "--quiet")


def test_a_typed_client_runs_the_quick_start(server, tools):
    run(tools, "openapi-typescript", "openapi.json", "-o", "api.ts")
    run(tools, "tsc", "-p", ".")
    out = subprocess.run(["node", "out/quickstart.js", server.url], cwd=tools, capture_output=True, text=True,
                         timeout=60 * SLOW)
    assert out.returncode == 0, out.stdout + out.stderr
    assert json.loads(out.stdout) == [1, 72.5, 1, "offline", 1, "critical", True, "webhook", False, 5]


def test_docs_in_a_browser_show_every_operation_and_ask_nobody_else(server, tools):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not here: /docs was not looked at")
    if requests.get(server.url + "/docs", timeout=20 * SLOW).status_code == 404:
        pytest.skip("the server was built without /docs")
    out = subprocess.run(["node", "docs.mjs", server.url, chromium], cwd=tools, capture_output=True, text=True,
                         timeout=120 * SLOW)
    assert out.returncode == 0, out.stdout[-3000:] + out.stderr[-3000:]
    seen = json.loads(out.stdout)
    doc = requests.get(server.url + "/openapi.json", timeout=20 * SLOW).json()
    described = sorted([method.upper(), path] for path, item in doc["paths"].items() for method in item)
    assert sorted(seen["operations"]) == described and len(described) > 60
    assert seen["faults"] == [] and seen["answer"] == "200"
    assert {r for r in seen["requests"] if not r.startswith((server.url + "/", "data:"))} == set()
    assert server.url + "/openapi.json" in seen["requests"] and server.url + "/healthz" in seen["requests"]


FRAMES = {  # as documented
    "heartbeat": {"type", "server_time"},
    "sensor_update": {"type", "machine_id", "metric_name", "value", "unit", "timestamp"},
    "alert": {"type", "alert_id", "machine_id", "severity", "message", "metric_value", "threshold_value", "created_at", "seq"},
    "machine_status": {"type", "machine_id", "old_status", "new_status", "timestamp", "seq"}}


def test_the_ws_package_and_a_browser_get_the_documented_frames(server, tenant, tools):
    machine = tenant.machine("LIVE")
    answer = tenant.post("/alert-rules", {"name": "hot", "metric_name": "temperature", "operator": "gt", "threshold": 90,
                                          "severity": "critical"})
    assert answer.status_code == 201, answer.text
    chromium = shutil.which("chromium")
    out = subprocess.run(["node", "live.mjs", server.url, tenant.token, tenant.key()["key"], "LIVE", *([chromium] if chromium else [])],
                         cwd=tools, capture_output=True, text=True, timeout=180 * SLOW)
    assert out.returncode == 0, out.stdout[-3000:] + out.stderr[-3000:]
    seen = json.loads(out.stdout)
    assert sorted(seen) == (["browser", "ws"] if chromium else ["ws"])
    for who, got in seen.items():
        assert (got["code"], got["clean"]) in ((1000, True), (1000, None)), (who, got)
        for kind, members in FRAMES.items():
            frame = got["frames"][kind]
            assert set(frame) - {"resolved_at"} == members, (who, frame)
            assert frame.get("machine_id", machine["id"]) == machine["id"]
