// What the page promises, in a real browser: it asks for the token, shows the fleet as it is, one task with its live log, lets cancel and run again,
// works by keyboard, in dark and light, with ten thousand tasks, and talks to its own agent alone.
import { chromium } from "playwright-core";
import assert from "node:assert/strict";

const [url, token, shots, northPid] = process.argv.slice(2);
const headers = { Authorization: "Bearer " + token, "Content-Type": "application/json" };
let failures = 0;

async function call(path, method = "GET", body) {
  const answer = await fetch(url + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}
async function submit(spec) {
  return (await call("/v1/tasks", "POST", { image: "busybox:test", ...spec })).id;
}
const script = (text) => ["sh", "-c", text];
async function eventually(what, holds, limit = 60000) {
  const until = Date.now() + limit;
  for (;;) {
    if (await holds()) return;
    assert.ok(Date.now() < until, what);
    await new Promise((done) => setTimeout(done, 100));
  }
}
async function check(what, test) {
  try {
    await test();
    console.log("ok: " + what);
  } catch (e) {
    ++failures;
    console.log("FAILED: " + what + "\n" + e.stack);
  }
}

const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const context = await browser.newContext({ viewport: { width: 1500, height: 950 }, colorScheme: "light" });
const page = await context.newPage();
const foreign = [], complaints = [];
page.on("request", (r) => { if (!r.url().startsWith(url) && !r.url().startsWith("data:")) foreign.push(r.url()); });
// 401: the wrong token above. 429: this test floods the agent with the page's own token.
page.on("console", (m) => { if (m.type() === "error" && !/401|429/.test(m.text())) complaints.push(m.text()); });
page.on("pageerror", (e) => complaints.push(String(e)));

await check("it asks for a token, and says when one is not good", async () => {
  await page.goto(url + "/");
  await page.getByLabel(/Token/).fill("davit_wrong_token");
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("This agent requires a token.").waitFor();
  await page.getByLabel(/Token/).fill(token);
  await page.getByRole("button", { name: "Continue" }).click();
  await page.getByText("live", { exact: true }).waitFor();
  assert.equal(await page.locator("#gate").isVisible(), false);
});

await check("the fleet is there: two engines as lanes, with their slots", async () => {
  await eventually("two lanes", async () => (await page.locator(".lane").count()) === 2);
  const text = await page.locator("#lanes").innerText();
  assert.match(text, /north\s+\d\/4/);
  assert.match(text, /south\s+\d\/3/);
  assert.match(await page.locator("#numbers").innerText(), /engines ready\s+2 \/ 2/);
});

let colourful;
await check("tasks come and go without a reload; queued, running and finished ones, of every kind", async () => {
  colourful = await submit({ name: "build", labels: { team: "red" }, command: script("printf '\\033[32mgreen\\033[0m \\033[1;31mred\\033[0m plain\\n'; printf 'bad \\033]0;title\\007\\033[2Jescape\\n'; echo to stderr >&2; i=0; while [ $i -lt 600 ]; do i=$((i+1)); echo \"step $i of 600\"; sleep 0.1; done") });
  for (let i = 0; i < 6; ++i) await submit({ name: "test-" + i, command: script(`sleep 0.${i}; exit ${i % 3}`) });
  await submit({ name: "memory", command: script("tail /dev/zero"), resources: { memory: "16m" } });
  await submit({ name: "slow", command: script("sleep 60"), timeout: "2s", stop_timeout: "1s" });
  await submit({ name: "no-such-image", image: "localhost:1/none:1" });
  await submit({ name: "gpu-job", command: script("true"), engine: { labels: ["gpu"] } });
  for (let i = 0; i < 6; ++i) await submit({ name: "nightly-" + i, labels: { team: "blue" }, command: script("sleep 25; echo done") });
  await eventually("the build runs", async () => (await page.locator(".row", { hasText: "build" }).first().innerText()).includes("running"));
  for (const state of ["failed", "succeeded", "timed out", "image unavailable"]) await eventually(state, async () => (await page.locator("#tasks").innerText()).includes(state));
  await eventually("bars on the lanes", async () => (await page.locator(".task-bar").count()) > 8);
});

await check("one task with its live log: colours are drawn, other escape sequences do nothing, and it goes on", async () => {
  await page.locator(".row", { hasText: "build" }).first().click();
  await page.locator("#log", { hasText: "step 3 of 600" }).waitFor();
  assert.equal(await page.locator("#log .c2").first().innerText(), "green");
  assert.match(await page.locator("#log .c1").first().getAttribute("class"), /\bb\b/);
  assert.match(await page.locator("#log").innerText(), /bad escape/);
  assert.match(await page.locator("#log .err").innerText(), /to stderr/);
  const before = (await page.locator("#log").innerText()).length;
  await eventually("the log grows", async () => (await page.locator("#log").innerText()).length > before);
  await page.getByLabel("Search").fill("step 1 of");
  await eventually("a hit", async () => (await page.locator("#log mark").count()) >= 1);
  await page.getByLabel("Search").fill("");
  await page.getByLabel("follow").check();
});

await page.screenshot({ path: shots + "/busy-light.png" });
await page.emulateMedia({ colorScheme: "dark" });
await page.screenshot({ path: shots + "/busy-dark.png" });

await check("a task that waits says why", async () => {
  await page.locator(".row", { hasText: "gpu-job" }).first().click();
  await page.getByText("Why it waits").waitFor();
  assert.match(await page.locator(".why").innerText(), /north: does not have the label "gpu"/);
  await page.screenshot({ path: shots + "/waiting-dark.png" });
});

await check("cancel, and run again", async () => {
  await page.getByRole("button", { name: "Cancel" }).click();
  await eventually("it is cancelled", async () => (await page.locator("#detail-state").innerText()).includes("cancelled"));
  const before = (await call("/v1/tasks?name=gpu-job")).tasks.length;
  await page.getByRole("button", { name: "Run again" }).click();
  await eventually("there is another", async () => (await call("/v1/tasks?name=gpu-job")).tasks.length === before + 1);
  const again = (await call("/v1/tasks?name=gpu-job")).tasks[0].id;
  await eventually("which is shown", async () => (await page.locator("#detail-title").getAttribute("title")) === again);
  await eventually("and waits", async () => (await page.locator("#detail-state").innerText()).includes("queued"));
  await call(`/v1/tasks/${(await call("/v1/tasks?name=gpu-job")).tasks[0].id}/cancel`, "POST");
});

await check("by keyboard alone: /, find, arrows, Escape", async () => {
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#detail").isVisible(), false);
  await page.keyboard.press("/");
  await page.keyboard.type("team=blue");
  await eventually("six are left", async () => (await page.locator("#tasks-count").innerText()).startsWith("6 of"));
  await page.locator("#tasks").focus();
  assert.equal(await page.locator("#tasks").getAttribute("aria-activedescendant"), null);
  // The agent answers the first row's question after the second's: what is shown is the second all the same.
  const first = (await call("/v1/tasks?name=nightly-5")).tasks[0].id;
  let letGo;
  const held = new Promise((done) => { letGo = done; });
  await page.route("**/v1/tasks/" + first, async (route) => { await held; await route.continue(); });
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  const active = await page.locator("#tasks").getAttribute("aria-activedescendant");
  assert.equal(await page.locator("#" + active).getAttribute("aria-selected"), "true");
  await eventually("the second is open", async () => (await page.locator("#detail-title").innerText()) === "nightly-4");
  const late = page.waitForResponse("**/v1/tasks/" + first);
  letGo();
  await (await late).finished();
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  assert.equal(await page.locator("#detail-title").innerText(), "nightly-4");
  await page.unroute("**/v1/tasks/" + first);
  await page.keyboard.press("Escape");
  await page.getByLabel("Find").fill("");
});

await check("an engine in detail: what it is, which agents reach it, what runs there", async () => {
  await page.locator(".lane .who", { hasText: "north" }).click();
  await eventually("its name", async () => (await page.locator("#detail-title").innerText()) === "Engine north");
  const text = await page.locator("#detail-body").innerText();
  assert.match(text, /API 1\.\d+/);
  assert.match(text, /harbour/);
  await page.screenshot({ path: shots + "/engine.png" });
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#detail").isVisible(), false);
});

await check("a sick engine is named at the top, with how many tasks wait for it", async () => {
  process.kill(Number(northPid), "SIGSTOP");
  try {
    await page.getByText(/Engine north is (degraded|down)/).waitFor({ timeout: 60000 });
    await page.emulateMedia({ colorScheme: "light" });
    await page.screenshot({ path: shots + "/sick-light.png" });
  } finally {
    process.kill(Number(northPid), "SIGCONT");
  }
  await eventually("it is well again", async () => !(await page.locator("#trouble").isVisible()));
});

await check("the tests that a task's reports tell of: how many, which failed, the slowest; as text, whatever it is", async () => {
  const report = `<testsuites><testsuite name="net"><testcase classname="net" name="sends" time="0.25"/>
    <testcase classname="net" name="&lt;img src=x onerror=alert(1)&gt;" time="12.4"><failure message="expected 3&#10;got 4"/></testcase>
    <testcase classname="net" name="reads"><error message="no such file"/></testcase><testcase name="waits"><skipped/></testcase></testsuite></testsuites>`;
  const id = await submit({ name: "tested", command: script(`mkdir /out; cat > /out/report.xml <<'EOF'\n${report}\nEOF\necho '<testsuites>' > /out/half.xml; exit 1`),
    outputs: { reports: { path: "/out" }, plain: { path: "/etc/hosts" } } });
  await eventually("it has ended", async () => (await call("/v1/tasks/" + id)).state === "finished");
  await page.goto(url + "/#" + id);
  await page.reload();
  const part = page.getByRole("region", { name: "Tests of reports" });
  await part.waitFor();
  assert.equal(await page.getByRole("region", { name: /^Tests of/ }).count(), 1);
  const counts = (await part.locator(".counts").innerText()).split(/\n+/);
  assert.match(counts[0], /4 tests in 13 s/);
  assert.deepEqual(counts.slice(1), ["1 failed", "1 error", "1 skipped", "1 report not read"]);
  assert.deepEqual(await part.getByRole("heading").allInnerTexts(), ["Tests of reports", "Failed", "Slowest"]);
  const lists = part.getByRole("list");
  assert.deepEqual(await lists.nth(1).getByRole("listitem").allInnerTexts(), ["net.<img src=x onerror=alert(1)>: expected 3", "net.reads: no such file"]);
  assert.deepEqual(await lists.nth(2).getByRole("listitem").allInnerTexts(), ["12 s net.<img src=x onerror=alert(1)>", "250 ms net.sends"]);
  assert.equal(await page.locator("#detail img").count(), 0);
  await page.screenshot({ path: shots + "/tests.png" });
});

await check("every part has a name for those who listen, and colours have enough contrast", async () => {
  const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, [role]")].filter((e) => e.offsetParent && !e.classList.contains("row") && !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.innerText?.trim() || e.labels?.length || e.id === "link")).map((e) => e.outerHTML.slice(0, 120)));
  assert.deepEqual(nameless, []);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    const weak = await page.evaluate(() => {
      const luminance = (c) => { const [r, g, b] = c.match(/[\d.]+/g).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\)$/.test(c) && c !== "transparent") return c; } return "rgb(255,255,255)"; };
      const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
      return [...document.querySelectorAll(".tag, h1, h2, h3, h4, dt, dd, .age, .who span, label, .row span, small, .tests li, .tests span")].filter((e) => e.offsetParent && e.innerText.trim()).map((e) => [e.className + " " + e.tagName, ratio(getComputedStyle(e).color, ground(e))]).filter(([, r]) => r < 4.5).map(([what, r]) => what + " " + r.toFixed(2));
    });
    assert.deepEqual([...new Set(weak)], []);
  }
});

await check("ten thousand tasks: the list scrolls to its end, and finds one among them", async () => {
  // Nobody has their label, so that they wait and the engines have their peace.
  const spec = JSON.stringify({ image: "busybox:test", command: ["true"], engine: { labels: ["gpu"] } });
  const body = (i) => spec.replace("{", `{"name":"bulk-${i}",`);
  for (let i = 0; i < 10000; i += 50)
    await Promise.all(Array.from({ length: 50 }, (_, j) => fetch(url + "/v1/tasks", { method: "POST", headers, body: body(i + j) }).then(async (r) => { if (r.status === 429) { await new Promise((d) => setTimeout(d, 1200)); return fetch(url + "/v1/tasks", { method: "POST", headers, body: body(i + j) }); } return r; })));
  await page.reload();
  await eventually("all are loaded", async () => Number((await page.locator("#tasks-count").innerText()).split(" ")[0]) >= 10000, 120000);
  const rows = await page.locator(".row").count();
  assert.ok(rows < 100, `only what is seen is drawn, not ${rows} rows`);
  await page.locator("#tasks").evaluate((box) => { box.scrollTop = box.scrollHeight; });
  await eventually("the oldest is seen", async () => (await page.locator("#tasks").innerText()).includes("build"));
  const begun = Date.now();
  await page.getByLabel("Find").fill("bulk-7777");
  await eventually("one is left", async () => (await page.locator("#tasks-count").innerText()).startsWith("1 of"));
  console.log(`   found among ten thousand in ${Date.now() - begun} ms`);
  await page.screenshot({ path: shots + "/ten-thousand.png" });
});

await check("on a telephone", async () => {
  await page.setViewportSize({ width: 400, height: 800 });
  await page.getByLabel("Find").fill("");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 400, `it is ${wide} wide`);
  await page.screenshot({ path: shots + "/telephone.png" });
});

await check("it spoke to its own agent alone, and the browser had nothing to complain of", () => {
  assert.deepEqual(foreign, []);
  assert.deepEqual(complaints, []);
});

await browser.close();
process.exit(failures ? 1 : 0);
