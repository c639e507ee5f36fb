// /docs in a browser: `docs.mjs URL CHROMIUM` prints what was seen there as JSON.
import { chromium } from "playwright-core";

const [, , url, executablePath] = process.argv;
const seen = { operations: [], requests: [], faults: [], answer: null };
const browser = await chromium.launch({ executablePath });
try {
  const page = await browser.newPage();
  page.on("request", (r) => seen.requests.push(r.url()));
  page.on("requestfailed", (r) => seen.faults.push(`failed: ${r.url()}`));
  page.on("response", (r) => r.status() >= 400 && seen.faults.push(`${r.status()}: ${r.url()}`));
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && seen.faults.push(m.text()));
  page.on("pageerror", (e) => seen.faults.push(String(e)));

  await page.goto(`${url}/docs`, { waitUntil: "networkidle" });
  await page.locator(".opblock").first().waitFor();
  for (const block of await page.locator(".opblock").all())
    seen.operations.push([(await block.locator(".opblock-summary-method").innerText()).trim(),
                          (await block.locator(".opblock-summary-path").getAttribute("data-path")) ?? ""]);

  // One of them, opened and tried: the page may talk to its own server.
  const health = page.locator(".opblock", { has: page.locator('[data-path="/healthz"]') });
  await health.locator(".opblock-summary-control").click();
  await health.getByRole("button", { name: "Try it out" }).click();
  await health.getByRole("button", { name: "Execute" }).click();
  const answered = health.locator(".live-responses-table .response-col_status").last();
  await answered.waitFor();
  seen.answer = (await answered.innerText()).trim();
} finally {
  await browser.close();
}
console.log(JSON.stringify(seen));
