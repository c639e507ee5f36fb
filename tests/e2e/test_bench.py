"""The benches are programs that users run: they work on a small load, check what they measured and say it as JSON."""
import http.server
import json
import subprocess
import threading
import urllib.parse

import pytest

from haltless import BINARY, SLOW

pytestmark = pytest.mark.once


def bench(*words, server=()):
    done = subprocess.run([BINARY, "bench", *words, "--json", "--", *server], capture_output=True, text=True, timeout=120 * SLOW)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done, lines[:1], {(row["case"], row["metric"]): row["value"] for row in lines[1:]}


@pytest.mark.parametrize("form", ["json", "msgpack"])
def test_ingest_reads_back_every_reading_it_was_told_is_stored(form, tmp_path):
    done, env, rows = bench("ingest", "--machines", "20", "--readings", "30000", "--per-request", "300", "--rate", "100000",
                            "--format", form, "--dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert env[0]["env"]["commit"]
    assert [v for (_, metric), v in rows.items() if metric in ("stored", "wrong")] == [30000, 0]


def test_query_asks_every_kind_of_question_of_threads_and_of_processes(tmp_path):
    done, env, rows = bench("query", "--machines", "4", "--requests", "20", "--mixed", "--dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for topology in ("threads", "threads, mixed", "processes", "processes, mixed"):
        for case in ("nothing", "latest", "one series by 5 min", "all series by hour", "fleet status"):
            assert rows[f"{case}/{topology}", "p50"] > 0
    assert rows["engine", "decode"] > 0


def test_ws_sends_every_alert_to_every_viewer_once_and_closes_who_stops_reading(tmp_path):
    done, env, rows = bench("ws", "--clients", "200", "--seconds", "3", "--deaf", "6", "--dir", str(tmp_path),
                            server=("--limits-behind-s", "1"))
    assert done.returncode == 0, done.stderr
    assert rows["check", "alerts raised"] == rows["check", "fewest sent to a client"] == rows["check", "most sent to a client"] > 0
    assert rows["check", "who stopped reading was closed with"] == 1013
    assert rows["calm/200c", "frames"] > rows["silent/200c", "frames"] > 0


def test_ws_says_what_to_do_when_there_are_too_few_files(tmp_path):
    done = subprocess.run(["bash", "-c", f"ulimit -n 400; exec {BINARY} bench ws --clients 400 --dir {tmp_path}"], capture_output=True,
                          text=True, timeout=60 * SLOW)
    assert done.returncode == 1 and "ulimit -Hn" in done.stderr and "--clients" in done.stderr


def test_alert_tells_each_alert_once_and_lays_rules_beside_none(tmp_path):
    done, env, rows = bench("alert", "--alerts", "10", "--rate", "100", "--rules", "100", "--machines", "20", "--rounds", "1",
                            "--slice", "0.3", "--dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert rows["latency/idle", "reading to frame p50"] > 0
    assert rows["latency/ingest at half", "alerts told"] == 20
    assert rows["rules/none", "throughput"] > 0 and rows["rules/100 over 20 machines", "throughput"] > 0


def test_fair_asks_alone_and_beside_a_flood(tmp_path):
    done, env, rows = bench("fair", "--seconds", "1", "--rate", "50", "--long", "2", "--short", "2", "--slow", "100", "--queries", "1", "--dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for phase in ("alone", "slow clients", "flooded", "queried"):
        for case in ("latest", "buckets"):
            assert 0 < rows[f"{case}/{phase}", "p50"] <= rows[f"{case}/{phase}", "p99"]
    assert rows["flood/10 MB bodies", "acknowledged"] > 0 and rows["flood/1000-reading bodies", "acknowledged"] > 0
    assert rows["loop turns", "all"] > 0


class Rival(http.server.BaseHTTPRequestHandler):
    """As much of a VictoriaMetrics as the bench speaks with: counts what it is given, finds series by their labels."""
    protocol_version = "HTTP/1.1"
    series = {}
    asked = []

    def answer(self, status, body=b""):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        lines = self.rfile.read(int(self.headers["Content-Length"])).splitlines()
        for line in map(json.loads, lines):
            assert len(line["values"]) == len(line["timestamps"]) > 0
            self.series[line["metric"]["machine"], line["metric"]["__name__"]] = len(line["values"])
        self.answer(204)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        machines = {m for m, _ in self.series}
        text = urllib.parse.parse_qs(query).get("query", [""])[0]
        self.asked.append(text or path)
        count = (len(machines) if "by (machine)" in text else len(self.series) if 'machine!=""' in text else
                 1 if "avg_over_time" in text else sum(f'"{m}"' in text for m, _ in self.series))
        result = [{"metric": {"n": str(i)}, "value": [0, "1"]} for i in range(count)]
        self.answer(200, json.dumps({"status": "success", "data": {"result": result}}, separators=(",", ":")).encode())

    def log_message(self, *words):
        pass


def test_query_puts_the_same_to_another_database(tmp_path):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rival) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        done, env, rows = bench("query", "--machines", "4", "--requests", "20", "--threads", "--dir", str(tmp_path),
                                "--against", f"127.0.0.1:{other.server_address[1]}")
        other.shutdown()
    assert done.returncode == 0, done.stderr
    assert len(Rival.series) == 20 and set(Rival.series.values()) == {6 * 360}
    assert "/internal/force_flush" in Rival.asked
    for case in ("nothing", "latest", "one series by 5 min", "all series by hour", "fleet status"):
        assert rows[f"{case}/victoria-metrics", "p50"] > 0 and rows[f"{case}/victoria-metrics", "rate"] > 0
        assert rows[f"{case}/threads", "p50"] > 0
