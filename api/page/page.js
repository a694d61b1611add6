// The page: one fleet, live. Everything comes from the HTTP API that everybody has (docs/http-api.md); nothing from elsewhere.

import { ansi, element, outputRows, phasesOf, seconds, span, testParts } from "/drawing.js";

const $ = (id) => document.getElementById(id);
const tasks = new Map(); // by id
let order = [];          // ids, newest first
let shown = [];          // what the filters leave
let agents = [], engines = [];
let chosen = null, detail = null;
let token = sessionStorage.getItem("davit-token") || "";
let lastEvent = 0;
const mostTasks = 20000, rowHeight = 28;

// -- talking to the agent ------------------------------------------------------------------------------------------------

class Refused extends Error {}

async function call(path, options = {}) {
  const headers = { ...(options.headers || {}) };
  if (token) headers.Authorization = "Bearer " + token;
  let answer = await fetch(path, { ...options, headers });
  // Somebody else uses the same token, and a lot: its turn comes.
  for (let i = 0; answer.status === 429 && i < 20; ++i) {
    await new Promise((done) => setTimeout(done, 1000 * Math.min(10, Number(answer.headers.get("Retry-After")) || 1)));
    answer = await fetch(path, { ...options, headers });
  }
  if (answer.status === 401) { askForToken("This agent requires a token."); throw new Refused("401"); }
  if (!answer.ok) {
    let text = answer.status + " " + answer.statusText;
    try { text = (await answer.json()).detail || text; } catch { /* no JSON */ }
    throw new Error(text);
  }
  return answer;
}
const get = async (path) => (await call(path)).json();

function askForToken(why) {
  $("gate-why").textContent = why;
  $("gate").hidden = false;
  $("gate-token").focus();
}
$("gate-form").addEventListener("submit", (e) => {
  e.preventDefault();
  token = $("gate-token").value.trim();
  sessionStorage.setItem("davit-token", token);
  location.reload();
});

/// Server-Sent Events by fetch, since EventSource can't carry a token.
async function readEvents(path, headers, signal, on) {
  const answer = await call(path, { headers: { Accept: "text/event-stream", ...headers }, signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const event = { event: "message", data: "", id: "" };
      for (const line of rest.slice(0, end).split("\n")) {
        const colon = line.indexOf(":");
        const name = line.slice(0, colon), text = line.slice(colon + 1).replace(/^ /, "");
        if (name === "data") event.data += (event.data ? "\n" : "") + text;
        else if (name) event[name] = text;
      }
      rest = rest.slice(end + 2);
      if (event.data) on(event);
    }
  }
}

// -- what is known ---------------------------------------------------------------------------------------------------------

function keep(task) {
  if (!tasks.has(task.id)) {
    // Ids begin with their time: newest first, mostly at the front.
    let at = 0;
    while (at < order.length && order[at] > task.id) ++at;
    order.splice(at, 0, task.id);
    while (order.length > mostTasks) tasks.delete(order.pop());
  }
  tasks.set(task.id, task);
}

async function loadTasks() {
  let cursor = "";
  for (let first = true; first || order.length < mostTasks; first = false) { // a page ends early if its tasks are long
    const answer = await get("/v1/tasks?limit=1000" + (cursor ? "&cursor=" + cursor : ""));
    if (first && order.length === 0) {
      for (const task of answer.tasks) tasks.set(task.id, task);
      order = answer.tasks.map((t) => t.id);
    } else for (const task of answer.tasks) if (!tasks.has(task.id)) { tasks.set(task.id, task); order.push(task.id); } else tasks.set(task.id, task);
    draw();
    cursor = answer.cursor;
    if (!cursor) break;
  }
}

const stale = new Set();
let fetching = false;
/// Events say what has changed; the task itself is asked for, each once however many events there were.
async function refreshStale() {
  if (fetching || stale.size === 0) return;
  fetching = true;
  try {
    if (stale.size > 40) {
      stale.clear();
      for (const task of (await get("/v1/tasks?limit=1000")).tasks) keep(task);
    } else {
      const ids = [...stale];
      stale.clear();
      for (const task of await Promise.all(ids.map((id) => get("/v1/tasks/" + id).catch(() => null)))) if (task) { keep(task); if (detail && detail.id === task.id) { detail = task; drawDetail(); } }
    }
  } finally { fetching = false; }
  draw();
}

async function loadFleet() {
  const [a, e] = await Promise.all([get("/v1/agents"), get("/v1/engines")]);
  agents = a.agents;
  engines = e.engines;
  draw();
}

async function follow() {
  for (;;) {
    try {
      $("link").textContent = "live";
      $("link").className = "";
      await readEvents("/v1/events", lastEvent ? { "Last-Event-ID": String(lastEvent) } : {}, undefined, (event) => {
        if (event.id) lastEvent = Number(event.id);
        const what = JSON.parse(event.data);
        if (what.task) stale.add(what.task);
      });
    } catch (e) {
      if (e instanceof Refused) return;
    }
    $("link").textContent = "The agent does not answer; this page shows old data";
    $("link").className = "bad";
    await new Promise((done) => setTimeout(done, 1500));
    try { await loadFleet(); for (const task of (await get("/v1/tasks?limit=1000")).tasks) keep(task); draw(); } catch { /* again */ }
  }
}

// -- drawing -----------------------------------------------------------------------------------------------------------------

const stateOf = (t) => t.state === "finished" ? t.outcome : t.state;
const labelOf = (t) => t.name || (t.spec.command || []).join(" ").slice(0, 80) || t.id.slice(0, 13);
const last = (t) => t.attempts[t.attempts.length - 1];
/// The token is in a header, so a plain link would not do.
async function download(id, name, button) {
  button.disabled = true;
  try {
    const link = element("a", { href: URL.createObjectURL(await (await call(`/v1/tasks/${id}/outputs/${encodeURIComponent(name)}`)).blob()), download: name + ".tar" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  } catch (e) { $("detail-state").textContent = e.message; }
  button.disabled = false;
}

function phaseBar(task) {
  const bar = element("div", { class: "phases" });
  const attempt = last(task);
  if (!attempt) return bar;
  const parts = phasesOf(task, attempt, Date.now() / 1000), sum = parts.reduce((s, p) => s + p[1], 0) || 1;
  for (const [name, time] of parts) {
    const part = element("i", { class: name, title: name + " " + span(time) });
    part.style.width = (100 * time / sum) + "%";
    bar.append(part);
  }
  return bar;
}

let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; drawNumbers(); drawLanes(); filterTasks(); if (shownEngine) drawEngine(); });
}

/// Every engine of the fleet once, by its id, with the agents that reach it.
function allEngines() {
  const byId = new Map();
  const own = new Map(engines.map((e) => [e.info && e.info.id || e.name, e]));
  for (const agent of agents) for (const one of agent.engines) {
    if (agent.state === "gone") continue;
    const id = one.id || agent.name + "/" + one.name;
    const entry = byId.get(id) || { id, name: one.name, state: one.state, slots: one.slots, busy: 0, agents: [], message: one.message || "", blocked: one.blocked || "", labels: one.labels || [] };
    entry.agents.push(agent.name);
    entry.busy += one.busy;
    if (one.state === "ready") entry.state = "ready";
    byId.set(id, entry);
  }
  for (const [id, one] of own) { const entry = byId.get(id); if (entry) Object.assign(entry, { message: one.message, blocked: one.blocked, info: one.info, disk_free: one.disk_free }); }
  return [...byId.values()].sort((a, b) => a.name.localeCompare(b.name));
}

function drawNumbers() {
  const all = [...tasks.values()], now = Date.now() / 1000;
  const count = (f) => all.reduce((n, t) => n + (f(t) ? 1 : 0), 0);
  const list = allEngines();
  const recent = (t) => t.finished_at && now - seconds(t.finished_at) < 3600;
  const ready = list.filter((e) => e.state === "ready").length, living = agents.filter((a) => a.state !== "gone").length;
  const lost = count((t) => recent(t) && (t.outcome === "engine_lost" || t.outcome === "agent_lost")), failed = count((t) => recent(t) && t.outcome !== "succeeded" && t.outcome !== "cancelled");
  const numbers = [["queued", count((t) => t.state === "queued"), ""], ["running", count((t) => t.state === "running" || t.state === "starting"), ""], ["failed, 1 h", failed, failed ? "warn" : ""], ["lost, 1 h", lost, lost ? "bad" : ""],
    ["agents", living + (living < agents.length ? " / " + agents.length : ""), living < agents.length ? "warn" : ""], ["engines ready", ready + " / " + list.length, ready < list.length ? "bad" : ""],
    ["slots taken", list.reduce((n, e) => n + e.busy, 0) + " / " + list.reduce((n, e) => n + e.slots, 0), ""]];
  $("numbers").replaceChildren(...numbers.map(([what, value, kind]) => element("div", { class: kind }, element("dt", {}, what), element("dd", {}, String(value)))));
  const trouble = [];
  for (const e of list) {
    const waiting = count((t) => t.state !== "finished" && t.state !== "queued" && last(t) && last(t).engine_id === e.id);
    if (e.state !== "ready") trouble.push(`Engine ${e.name} is ${e.state}${e.message ? ": " + e.message : ""}${waiting ? ` — ${waiting} tasks wait for it` : ""}`);
    else if (e.blocked) trouble.push(`Engine ${e.name} takes no tasks: ${e.blocked}`);
  }
  for (const a of agents) if (a.state === "gone") trouble.push(`Agent ${a.name} is gone${a.heartbeat_at ? "; last heard of " + span(now - seconds(a.heartbeat_at)) + " ago" : ""}`);
  for (const a of agents) if (a.state === "draining") trouble.push(`Agent ${a.name} is draining: ${a.busy} tasks left`);
  $("trouble").hidden = trouble.length === 0;
  $("trouble-list").replaceChildren(...trouble.map((t) => element("li", {}, t)));
}

function drawLanes() {
  const now = Date.now() / 1000, width = Number($("window").value), from = now - width;
  const lanes = new Map(allEngines().map((e) => [e.id, { engine: e, bars: [] }]));
  const byName = new Map([...lanes.values()].map((l) => [l.engine.name, l]));
  for (const id of order) {
    const task = tasks.get(id);
    for (const attempt of task.attempts) {
      const begin = seconds(attempt.created_at), end = attempt.finished_at ? seconds(attempt.finished_at) : now;
      if (end < from) continue;
      const lane = lanes.get(attempt.engine_id) || byName.get(attempt.engine);
      if (lane) lane.bars.push({ task, attempt, begin, end });
    }
  }
  const nodes = [];
  for (const { engine, bars } of lanes.values()) {
    bars.sort((a, b) => a.begin - b.begin);
    const tracks = [];
    const box = element("div", { class: "tracks" });
    for (const bar of bars.slice(-600)) {
      let track = tracks.findIndex((end) => end <= bar.begin);
      if (track < 0) track = tracks.push(0) - 1;
      tracks[track] = bar.end;
      const { task, attempt } = bar;
      const outcome = attempt.outcome, live = !attempt.finished_at;
      const node = element("button", { class: "task-bar" + (outcome && outcome !== "succeeded" && outcome !== "cancelled" ? " bad" : "") + (live ? " live" : "") + (chosen === task.id ? " selected" : ""), type: "button", tabindex: "-1",
        title: `${labelOf(task)} · attempt ${attempt.number} · ${outcome || task.state} · ${span(bar.end - bar.begin)}`, "aria-label": `${labelOf(task)}, ${outcome || task.state}, ${span(bar.end - bar.begin)}`, onclick: () => choose(task.id) });
      const parts = phasesOf(task, attempt, now).filter((p) => p[0] !== "queue"), sum = parts.reduce((s, p) => s + p[1], 0) || 1;
      for (const [name, time] of parts) { const part = element("i", { class: name }); part.style.width = (100 * time / sum) + "%"; node.append(part); }
      const left = Math.max(0, (bar.begin - from) / width), right = Math.min(1, (bar.end - from) / width);
      node.style.left = left * 100 + "%";
      node.style.width = Math.max(0.15, (right - left) * 100) + "%";
      node.style.top = 4 + track * 13 + "px";
      box.append(node);
    }
    box.style.minHeight = Math.max(34, 8 + tracks.length * 13) + "px";
    nodes.push(element("div", { class: "lane " + engine.state + (engine.blocked ? " blocked" : ""), role: "listitem" },
      element("button", { class: "who", type: "button", title: engine.message || engine.blocked || "Details", onclick: () => showEngine(engine.id) }, element("b", {}, engine.name), ` ${engine.busy}/${engine.slots} `, element("span", {}, engine.state === "ready" ? (engine.blocked || `on ${engine.agents.join(", ")}`) : engine.state + (engine.message ? ": " + engine.message : ""))), box));
  }
  $("lanes").replaceChildren(...(nodes.length ? nodes : [element("p", {}, "There is no engine yet.")]));
  $("lanes-axis").replaceChildren(...[1, .8, .6, .4, .2, 0].map((part) => element("span", {}, part ? "−" + span(width * part) : "now")));
}

function filterTasks() {
  const state = $("filter-state").value, outcome = $("filter-outcome").value, words = $("filter-text").value.toLowerCase().split(/\s+/).filter(Boolean);
  shown = order.filter((id) => {
    const t = tasks.get(id);
    if (state && t.state !== state || outcome && t.outcome !== outcome) return false;
    if (!words.length) return true;
    const text = [t.id, t.name, t.spec.image, t.owner, (t.spec.command || []).join(" "), ...Object.entries(t.spec.labels || {}).map(([k, v]) => k + "=" + v)].join(" ").toLowerCase();
    return words.every((w) => text.includes(w));
  });
  $("tasks-count").textContent = shown.length === order.length ? String(order.length) : `${shown.length} of ${order.length}`;
  drawRows();
}

/// Only the rows that can be seen are there.
function drawRows() {
  const box = $("tasks"), space = $("tasks-space"), now = Date.now() / 1000;
  space.style.height = shown.length * rowHeight + "px";
  const first = Math.max(0, Math.floor(box.scrollTop / rowHeight) - 5), end = Math.min(shown.length, first + Math.ceil(box.clientHeight / rowHeight) + 10);
  const rows = [];
  for (let i = first; i < end; ++i) {
    const t = tasks.get(shown[i]), state = stateOf(t), attempt = last(t);
    const row = element("div", { class: "row" + (t.id === chosen ? " active" : ""), role: "option", id: "row-" + t.id, "aria-selected": String(t.id === chosen), "aria-posinset": i + 1, "aria-setsize": shown.length, onclick: () => choose(t.id) },
      element("span", { class: "tag " + state }, state.replace("_", " ") + (t.state === "finished" && t.exit_code ? " " + t.exit_code : "")), element("span", { title: t.id }, labelOf(t), t.attempts.length > 1 ? element("small", {}, ` · attempt ${t.attempts.length}`) : null),
      element("span", { title: t.spec.image }, t.spec.image), element("span", {}, attempt ? `${attempt.engine} ` : "—", attempt ? element("small", {}, attempt.agent) : null), element("span", {}, phaseBar(t)), element("span", { class: "age" }, span(Math.max(0, now - seconds(t.created_at)))));
    row.style.top = i * rowHeight + "px";
    rows.push(row);
  }
  space.replaceChildren(...rows);
  if (rows.some((row) => row.id === "row-" + chosen)) box.setAttribute("aria-activedescendant", "row-" + chosen);
  else box.removeAttribute("aria-activedescendant");
}

// -- one task --------------------------------------------------------------------------------------------------------------

async function choose(id) {
  shownEngine = null;
  for (const one of ["detail-cancel", "detail-retry", "log-part"]) $(one).hidden = false;
  chosen = id;
  location.hash = id;
  $("detail").hidden = false;
  detail = tasks.get(id) || null;
  drawRows();
  // By the time of the answer another row may be chosen: what comes late is kept, and not shown.
  try {
    const task = await get("/v1/tasks/" + id);
    keep(task);
    if (chosen === id) detail = task;
  } catch (e) {
    if (chosen === id) $("detail-state").textContent = String(e.message);
  }
  if (chosen === id && detail) drawDetail(true);
  draw();
}

function drawDetail(fresh = false) {
  const t = detail, state = stateOf(t);
  $("detail-title").textContent = labelOf(t);
  $("detail-title").title = t.id;
  const status = element("span", { class: "tag " + state }, state.replace("_", " "));
  $("detail-state").replaceChildren(status, t.exit_code !== null && t.exit_code !== undefined ? ` · exit code ${t.exit_code}` : "", t.message ? " · " + t.message : "");
  $("detail-cancel").disabled = t.state === "finished" || t.cancel_requested;
  $("detail-retry").disabled = t.state !== "finished";
  const facts = [["id", t.id], ["image", t.spec.image], ["command", (t.spec.command || []).join(" ")], ["owner", t.owner], ["labels", Object.entries(t.spec.labels || {}).map(([k, v]) => k + "=" + v).join(", ")], ["accepted", t.created_at], ["finished", t.finished_at],
    ["progress", t.progress ? `${t.progress.phase}${t.progress.waiting ? ", waits: " + t.progress.waiting : ""}${t.progress.layers ? `, ${t.progress.layers_done}/${t.progress.layers} layers` : ""}` : ""]].filter((f) => f[1]);
  const body = [element("dl", {}, ...facts.flatMap(([k, v]) => [element("dt", {}, k), element("dd", {}, v)]))];
  if (t.waiting && t.waiting.length) body.unshift(element("div", { class: "why" }, element("b", {}, "Why it waits"), element("ul", {}, ...t.waiting.map((w) => element("li", {}, (w.engine ? `${w.engine}${w.agent ? " of " + w.agent : ""}: ` : "") + w.reason)))));
  if (t.attempts.length) body.push(element("table", {}, element("thead", {}, element("tr", {}, ...["#", "engine", "outcome", "phases", "message"].map((h) => element("th", { scope: "col" }, h)))),
    element("tbody", {}, ...t.attempts.map((a) => element("tr", {}, element("td", {}, String(a.number)), element("td", {}, `${a.engine} (${a.agent})`), element("td", {}, (a.outcome || "—") + (a.exit_code !== null && a.exit_code !== undefined ? " " + a.exit_code : "")),
      element("td", {}, phasesOf(t, a, Date.now() / 1000).map(([n, s]) => `${n} ${span(s)}`).join(", ")), element("td", {}, [a.message, a.evidence && a.evidence.note].filter(Boolean).join("; ")))))));
  body.push(...outputRows(t, download), ...testParts(t));
  $("detail-body").replaceChildren(...body);
  const select = $("log-attempt"), numbers = t.attempts.map((a) => a.number);
  if (fresh || select.options.length !== numbers.length) {
    select.replaceChildren(...numbers.map((n) => element("option", { value: n }, String(n))));
    if (numbers.length) select.value = numbers[numbers.length - 1];
    openLog();
  }
}

// -- one engine, and the agents that reach it ------------------------------------------------------------------------------

let shownEngine = null;
function showEngine(id) {
  chosen = null;
  detail = null;
  closeLog();
  shownEngine = id;
  $("detail").hidden = false;
  drawEngine();
  draw();
  $("detail").focus();
}

function drawEngine() {
  const engine = allEngines().find((e) => e.id === shownEngine);
  if (!engine) return;
  const info = engine.info || {}, now = Date.now() / 1000;
  $("detail-title").textContent = "Engine " + engine.name;
  $("detail-title").title = engine.id;
  $("detail-state").replaceChildren(element("span", { class: "tag " + (engine.state === "ready" && !engine.blocked ? "succeeded" : "failed") }, engine.state), engine.message ? " · " + engine.message : "", engine.blocked ? " · takes no tasks: " + engine.blocked : "");
  for (const one of ["detail-cancel", "detail-retry", "log-part"]) $(one).hidden = true;
  const here = [...tasks.values()].filter((t) => t.state !== "finished" && last(t) && last(t).engine_id === engine.id);
  const facts = [["id", engine.id], ["slots", `${engine.busy} of ${engine.slots} taken`], ["labels", engine.labels.join(", ")], ["Docker", info.version && `${info.version}, API ${info.api_version} (${info.api_range})`], ["system", info.operating_system && `${info.operating_system}, ${info.architecture}, ${info.cpus} CPUs, ${Math.round(info.memory / 2 ** 30)} GiB`],
    ["storage", info.storage_driver && `${info.storage_driver} at ${info.data_root}${engine.disk_free ? ", " + Math.round(engine.disk_free / 2 ** 30) + " GiB free" : ""}`], ["live-restore", info.version && String(info.live_restore)], ["warnings", (info.warnings || []).join("; ")]].filter((f) => f[1]);
  const table = (heads, rows) => element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((h) => element("th", { scope: "col" }, h)))), element("tbody", {}, ...rows.map((r) => element("tr", {}, ...r.map((c) => element("td", {}, c))))));
  $("detail-body").replaceChildren(element("dl", {}, ...facts.flatMap(([k, v]) => [element("dt", {}, k), element("dd", {}, v)])), element("h3", {}, "Agents that reach it"),
    table(["agent", "state", "version", "busy", "last heard of"], agents.filter((a) => a.engines.some((e) => (e.id || a.name + "/" + e.name) === engine.id)).map((a) => [a.name, a.state, a.version, `${a.busy} of ${a.slots}`, a.heartbeat_at ? span(Math.max(0, now - seconds(a.heartbeat_at))) + " ago" : "this one"])),
    element("h3", {}, `Tasks there (${here.length})`), table(["task", "state", "for"], here.slice(0, 50).map((t) => [element("a", { href: "#" + t.id, onclick: (e) => { e.preventDefault(); choose(t.id); } }, labelOf(t)), t.state, span(now - seconds(t.created_at))])));
}

function closeDetail() {
  shownEngine = null;
  chosen = null;
  detail = null;
  closeLog();
  $("detail").hidden = true;
  history.replaceState(null, "", location.pathname);
  draw();
  $("tasks").focus();
}
$("detail-close").addEventListener("click", closeDetail);
$("detail-cancel").addEventListener("click", async () => { try { await call(`/v1/tasks/${detail.id}/cancel`, { method: "POST" }); choose(detail.id); } catch (e) { $("detail-state").textContent = e.message; } });
$("detail-retry").addEventListener("click", async () => { try { choose((await (await call(`/v1/tasks/${detail.id}/retry`, { method: "POST" })).json()).id); } catch (e) { $("detail-state").textContent = e.message; } });

// -- its log ---------------------------------------------------------------------------------------------------------------

let logStop = null, logText = [], logState = null, logPending = [], logTimer = 0;
const mostLogLines = 5000;
function closeLog() { if (logStop) logStop.abort(); logStop = null; }
function openLog() {
  closeLog();
  logText = [];
  logPending = [];
  logState = { classes: new Set() };
  $("log").replaceChildren();
  if (!detail || !detail.attempts.length) { $("log").textContent = "No output: the task has no container yet."; return; }
  const stop = logStop = new AbortController();
  readEvents(`/v1/tasks/${detail.id}/logs?follow=1&tail=${mostLogLines}&attempt=${$("log-attempt").value}`, {}, stop.signal, (event) => {
    if (event.event === "end" || stop.signal.aborted) return;
    let record;
    try { record = JSON.parse(event.data); } catch { return; }
    logPending.push(record);
    if (!logTimer) logTimer = setTimeout(flushLog, 60);
  }).catch((e) => { if (!stop.signal.aborted) $("log").append(element("span", { class: "note" }, "\n" + e.message)); });
}

function flushLog() {
  logTimer = 0;
  const box = $("log"), add = document.createDocumentFragment();
  for (const record of logPending.splice(0)) {
    logText.push(record.text);
    const kind = record.stream === "stderr" ? "err" : record.stream === "note" ? "note" : "";
    add.append(element("span", kind ? { class: kind } : {}, ...ansi(record.text, logState)));
  }
  box.append(add);
  while (box.childNodes.length > mostLogLines) { box.firstChild.remove(); logText.shift(); }
  if ($("log-follow").checked) box.scrollTop = box.scrollHeight;
  if ($("log-search").value) searchLog();
}

function searchLog() {
  const box = $("log"), word = $("log-search").value;
  for (const mark of box.querySelectorAll("mark")) mark.replaceWith(...mark.childNodes);
  box.normalize();
  let hits = 0, first = null;
  if (word) {
    const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT), found = [];
    const low = word.toLowerCase();
    for (let node; (node = walker.nextNode());) if (node.data.toLowerCase().includes(low)) found.push(node);
    for (let node of found) {
      let at;
      while (hits < 2000 && (at = node.data.toLowerCase().indexOf(low)) >= 0) {
        const rest = node.splitText(at), after = rest.splitText(word.length), mark = document.createElement("mark");
        rest.replaceWith(mark);
        mark.append(rest);
        first = first || mark;
        ++hits;
        node = after;
      }
    }
  }
  $("log-hits").textContent = word ? `${hits} found` : "";
  if (first && document.activeElement === $("log-search")) { $("log-follow").checked = false; first.scrollIntoView({ block: "center" }); }
}
$("log-search").addEventListener("input", searchLog);
$("log-attempt").addEventListener("change", openLog);
$("log").addEventListener("scroll", () => { const box = $("log"); if (box.scrollHeight - box.scrollTop - box.clientHeight > 40) $("log-follow").checked = false; });
$("log-follow").addEventListener("change", () => { if ($("log-follow").checked) $("log").scrollTop = $("log").scrollHeight; });

// -- keyboard and start ----------------------------------------------------------------------------------------------------

$("tasks").addEventListener("keydown", (e) => {
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -1e9, End: 1e9 };
  if (!(e.key in steps) || !shown.length) return;
  e.preventDefault();
  const now = shown.indexOf(chosen), next = Math.min(shown.length - 1, Math.max(0, (now < 0 ? -1 : now) + steps[e.key]));
  choose(shown[next]);
  const box = $("tasks"), top = next * rowHeight;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + rowHeight - box.clientHeight;
});
document.addEventListener("keydown", (e) => {
  if (e.key === "Escape" && (chosen || shownEngine)) closeDetail();
  else if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { e.preventDefault(); $("filter-text").focus(); }
});
$("tasks").addEventListener("scroll", drawRows);
for (const id of ["filter-state", "filter-outcome", "filter-text"]) $(id).addEventListener("input", () => { $("tasks").scrollTop = 0; filterTasks(); });
$("window").addEventListener("change", draw);
addEventListener("resize", draw);

async function begin() {
  try {
    await loadFleet();
  } catch (e) {
    if (e instanceof Refused) return;
    $("link").textContent = "The agent does not answer: " + e.message;
    $("link").className = "bad";
  }
  follow();
  await loadTasks().catch(() => {});
  const wanted = location.hash.slice(1);
  if (wanted) choose(wanted);
  setInterval(() => refreshStale().catch(() => {}), 250);
  setInterval(() => loadFleet().catch(() => {}), 2000);
  setInterval(draw, 1000);
}
begin();
