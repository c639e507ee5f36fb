// The live view, by the `ws` package and by a browser's own WebSocket: `live.mjs URL TOKEN KEY MACHINE [CHROMIUM]` prints as
// JSON the first frame of each type that either was sent.  MACHINE is there, with a rule on temperature over 90.
import WebSocket from "ws";

const [, , url, token, key, machine, executablePath] = process.argv;
const types = ["heartbeat", "sensor_update", "alert", "machine_status"];
const within = 60_000;

async function push(value) {
  const reading = { machine_identifier: machine, timestamp: new Date().toISOString(), metric_name: "temperature", value, unit: "celsius" };
  const answer = await fetch(`${url}/api/v1/ingest`, {
    method: "POST", headers: { "X-API-Key": key, "Content-Type": "application/json" }, body: JSON.stringify({ readings: [reading] }),
  });
  if (answer.status !== 207) throw new Error(`ingest: ${answer.status}`);
}

// The same code in Node and in a page: only standard members of WebSocket.
const listen = ({ Socket, address, token, types, within }) => new Promise((resolve, reject) => {
  const socket = new Socket(address), frames = {};
  const late = setTimeout(() => reject(new Error("only " + Object.keys(frames))), within);
  socket.onopen = () => socket.send(token);
  socket.onerror = () => reject(new Error("error"));
  socket.onclose = (e) => { clearTimeout(late); resolve({ frames, code: e.code, clean: e.wasClean }); };
  socket.onmessage = (m) => {
    const frame = JSON.parse(m.data);
    frames[frame.type] ??= frame;
    if (types.every((t) => t in frames)) socket.close(1000, "seen");
  };
});

const address = url.replace("http", "ws") + "/api/v1/ws/dashboard";
let hot = false; // each state for longer than a status takes to be looked at
const stir = setInterval(() => push((hot = !hot) ? 95 : 20).catch((e) => { console.error(e); process.exit(1); }), 700);
const out = { ws: await listen({ Socket: WebSocket, address, token, types, within }) };
if (executablePath) {
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({ executablePath });
  try {
    const page = await browser.newPage();
    await page.goto(`${url}/healthz`); // a page of the server's own origin
    out.browser = await page.evaluate(`(${listen})({ Socket: WebSocket, ...${JSON.stringify({ address, token, types, within })} })`);
  } finally {
    await browser.close();
  }
}
clearInterval(stir);
console.log(JSON.stringify(out));
