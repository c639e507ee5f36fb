// The quick start, by a client whose types are made of /openapi.json: it compiles only if the description fits what
// is sent and read here, and runs only if the server does what the description says.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[]; exit(code: number): never };
declare function setTimeout(fn: () => void, ms: number): unknown;
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

// A rule, tried on what is stored and then set; who is told of its alerts; and the alert that it raises.
const draft = { metric_name: "temperature", operator: "gt", threshold: 70, severity: "critical" } as const;
const tried = must("try", await api.POST("/api/v1/alert-rules/test", {
  body: { ...draft, machine_id: machine.id, start: "2026-04-04T00:00:00Z", end: "2026-04-05T00:00:00Z" },
}));
const channel = must("channel", await api.POST("/api/v1/notification-channels", {
  body: { name: "ops", type: "webhook", config: { url: "https://192.0.2.1/hook" }, is_active: false },
}));
const policy = must("policy", await api.POST("/api/v1/escalation-policies", {
  body: { name: "night", severity: "critical", wait_minutes: 5, channel_id: channel.id },
}));
const rule = must("rule", await api.POST("/api/v1/alert-rules", { body: { ...draft, channel_ids: [channel.id] } }));
must("second push", await agent.POST("/api/v1/ingest", {
  body: { readings: [{ machine_identifier: "CNC-001", timestamp: "2026-04-04T10:31:00Z", metric_name: "temperature",
                       value: 80, unit: "celsius" }] },
}));
const query = { page: 1, page_size: 20, status: "open" } as const;
let alert: components["schemas"]["Alert"] | undefined;
for (let i = 0; alert === undefined && i < 200; i++) {
  const page = must("alerts", await api.GET("/api/v1/alerts", { params: { query } }));
  alert = page.items.find((a) => a.rule_id === rule.id);
  if (alert === undefined) await new Promise<void>((done) => setTimeout(done, 50));
}
const taken = must("acknowledge", await api.POST("/api/v1/alerts/{id}/acknowledge", { params: { path: { id: alert!.id } } }));

console.log(JSON.stringify([pushed.accepted_count, latest.readings[0]?.value, fleet.total_machines, machine.status,
                            tried.machines[0]?.fired_count, taken.severity, taken.is_acknowledged, channel.type,
                            channel.is_active, policy.wait_minutes]));
