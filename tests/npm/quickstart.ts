// The quick start, by a client whose types are made of /openapi.json: it compiles only if the description fits what
// is sent and read here, and runs only if the server does what the description says.
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

declare const process: { argv: string[]; exit(code: number): never };
declare const console: { log(...what: unknown[]): void; error(...what: unknown[]): void };

function must<T>(what: string, answer: { data?: T; error?: unknown; response: { status: number } }): T {
  if (answer.data === undefined) {
    console.error(what, answer.response.status, JSON.stringify(answer.error));
    process.exit(1);
  }
  return answer.data;
}

const baseUrl = process.argv[2]!;
const open = createClient<paths>({ baseUrl });
const session = must("register", await open.POST("/api/v1/auth/register", {
  body: { email: `ts-${Date.now()}@example.com`, password: "correct horse 1", full_name: "T", tenant_name: "S" },
}));
const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${session.access_token}` } });

const key = must("key", await api.POST("/api/v1/settings/api-keys", { body: { name: "edge-agent-prod" } }));
const machine = must("machine", await api.POST("/api/v1/machines", {
  body: { name: "CNC Mill #1", machine_identifier: "CNC-001", protocol: "json", location: "Building A, Line 3" },
}));

const agent = createClient<paths>({ baseUrl, headers: { "X-API-Key": key.key } });
const pushed = must("ingest", await agent.POST("/api/v1/ingest", {
  body: { readings: [{ machine_identifier: "CNC-001", timestamp: "2026-04-04T10:30:00Z", metric_name: "temperature",
                       value: 72.5, unit: "celsius" }] },
}));

const path = { id: machine.id };
const latest = must("latest", await api.GET("/api/v1/machines/{id}/readings/latest", { params: { path } }));
await api.GET("/api/v1/machines/{id}/readings", {
  params: { path, query: { metric: ["temperature"], interval: "5m", start: "2026-04-04T00:00:00Z" } },
});
const fleet = must("fleet", await api.GET("/api/v1/fleet/status", {}));
console.log(JSON.stringify([pushed.accepted_count, latest.readings[0]?.value, fleet.total_machines, machine.status]));
