"""The public quick start, each curl as it is written there; only the base URL and the placeholders are replaced."""
import json
import subprocess

import pytest

from haltless import Server, Tenant

BASE = "https://api.haltless.io"

CREATE_KEY = r"""curl -X POST https://api.haltless.io/api/v1/settings/api-keys \
-H "Authorization: Bearer YOUR_JWT_TOKEN" \
-H "Content-Type: application/json" \
-d '{"name": "edge-agent-prod"}'"""

REGISTER_MACHINE = r"""curl -X POST https://api.haltless.io/api/v1/machines \
-H "Authorization: Bearer YOUR_JWT_TOKEN" \
-H "Content-Type: application/json" \
-d '{
"name": "CNC Mill #1",
"machine_identifier": "CNC-001",
"protocol": "json",
"location": "Building A, Line 3"
}'"""

PUSH = r"""curl -X POST https://api.haltless.io/api/v1/ingest \
-H "X-API-Key: YOUR_API_KEY" \
-H "Content-Type: application/json" \
-d '{
"readings": [
{
"machine_identifier": "CNC-001",
"timestamp": "2026-04-04T10:30:00Z",
"metric_name": "temperature",
"value": 72.5,
"unit": "celsius"
},
{
"machine_identifier": "CNC-001",
"timestamp": "2026-04-04T10:30:00Z",
"metric_name": "vibration",
"value": 3.2,
"unit": "mm/s"
}
]
}'"""

LATEST = r"""curl https://api.haltless.io/api/v1/machines/MACHINE_ID/readings/latest \
-H "Authorization: Bearer YOUR_JWT_TOKEN" """

SERIES = (r"""curl "https://api.haltless.io/api/v1/machines/MACHINE_ID/readings?metric=temperature&interval=5m"""
          r"""&start=2026-04-04T00:00:00Z" \
-H "Authorization: Bearer YOUR_JWT_TOKEN" """)

FLEET = r"""curl https://api.haltless.io/api/v1/fleet/status \
-H "Authorization: Bearer YOUR_JWT_TOKEN" """


def run(server, command, **placeholders):
    for name, value in placeholders.items():
        command = command.replace(name, value)
    command = command.replace(BASE, server.url).replace("curl ", "curl -s -w '\\n%{http_code}' ", 1)
    out = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True).stdout
    body, status = out.rsplit("\n", 1)
    return int(status), json.loads(body)


@pytest.mark.short
def test_every_step_answers_as_written(topology):
    with Server(topology) as server:
        jwt = {"YOUR_JWT_TOKEN": Tenant(server).token}

        status, key = run(server, CREATE_KEY, **jwt)
        assert status == 201
        assert key["name"] == "edge-agent-prod"
        assert key["plaintext_key"].startswith("hk_") and key["key"] == key["plaintext_key"]
        assert key["key_prefix"] == key["plaintext_key"][:8]
        assert {"id", "created_at", "scopes", "tenant_id", "expires_at"} <= key.keys()
        assert key["scopes"] == ["ingest", "agent"]

        status, machine = run(server, REGISTER_MACHINE, **jwt)
        assert status == 201
        assert machine["machine_identifier"] == "CNC-001" and machine["location"] == "Building A, Line 3"

        status, answer = run(server, PUSH, YOUR_API_KEY=key["plaintext_key"])
        assert (status, answer) == (207, {"accepted_count": 2, "rejected_count": 0, "errors": []})

        ids = {**jwt, "MACHINE_ID": machine["id"]}
        status, latest = run(server, LATEST, **ids)
        assert status == 200
        assert latest == {"machine_id": machine["id"], "readings": [
            {"metric_name": "temperature", "value": 72.5, "unit": "celsius", "timestamp": "2026-04-04T10:30:00Z"},
            {"metric_name": "vibration", "value": 3.2, "unit": "mm/s", "timestamp": "2026-04-04T10:30:00Z"}]}

        status, series = run(server, SERIES, **ids)
        assert status == 200
        assert series["machine_id"] == machine["id"] and series["metric_name"] == "temperature"
        assert series["unit"] == "celsius" and series["interval"] == "5m" and series["aggregation"] == "avg"
        assert series["data"] == [{"timestamp": "2026-04-04T10:30:00Z", "value": 72.5, "count": 1, "min": 72.5,
                                   "max": 72.5}]

        status, fleet = run(server, FLEET, **jwt)
        assert status == 200
        assert fleet["total_machines"] == 1
        only = fleet["machines"][0]
        assert {k: only[k] for k in ("id", "name", "status", "alert_count", "last_reading_at")} == {
            "id": machine["id"], "name": "CNC Mill #1", "status": "healthy", "alert_count": 0,
            "last_reading_at": "2026-04-04T10:30:00Z"}
