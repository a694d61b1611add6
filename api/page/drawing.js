// Elements, spans of time, and what a terminal's escape sequences look like: needs nothing of the page.

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((c) => c !== null && c !== undefined));
  return made;
}
export const seconds = (text) => Date.parse(text) / 1000;
export function span(s) {
  if (s < 1) return Math.round(s * 1000) + " ms";
  if (s < 90) return (s < 10 ? s.toFixed(1) : Math.round(s)) + " s";
  if (s < 5400) return Math.round(s / 60) + " min";
  if (s < 172800) return Math.round(s / 3600) + " h";
  return Math.round(s / 86400) + " d";
}

/// SGR sequences become classes; every other escape sequence is taken out.
export function ansi(text, state) {
  const parts = [];
  const pattern = /\x1b\[([0-9;:]*)m|\x1b\[[0-9;?]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;
  let at = 0, match;
  const put = (piece) => { if (piece) parts.push(state.classes.size ? element("span", { class: [...state.classes].join(" ") }, piece) : piece); };
  while ((match = pattern.exec(text))) {
    put(text.slice(at, match.index));
    at = pattern.lastIndex;
    if (match[1] === undefined) continue;
    const codes = match[1].split(/[;:]/).map((c) => Number(c || 0));
    for (let i = 0; i < codes.length; ++i) {
      const c = codes[i], drop = (prefix) => { for (const one of [...state.classes]) if (one.startsWith(prefix) && one.length === 2) state.classes.delete(one); };
      if (c === 0) state.classes.clear();
      else if (c === 1) state.classes.add("b"); else if (c === 2) state.classes.add("dim"); else if (c === 3) state.classes.add("i"); else if (c === 4) state.classes.add("u");
      else if (c === 22) { state.classes.delete("b"); state.classes.delete("dim"); } else if (c === 23) state.classes.delete("i"); else if (c === 24) state.classes.delete("u");
      else if (c >= 30 && c <= 37 || c >= 90 && c <= 97) { drop("c"); state.classes.add("c" + c % 10); } else if (c === 39) drop("c");
      else if (c >= 40 && c <= 47 || c >= 100 && c <= 107) { drop("g"); state.classes.add("g" + c % 10); } else if (c === 49) drop("g");
      else if (c === 38 || c === 48) { const kind = c === 38 ? "c" : "g"; if (codes[i + 1] === 5) { drop(kind); state.classes.add(kind + codes[i + 2] % 8); i += 2; } else if (codes[i + 1] === 2) i += 4; }
    }
  }
  put(text.slice(at));
  return parts;
}

function sizeOf(bytes) {
  for (const unit of ["B", "KiB", "MiB"]) { if (bytes < 1024) return `${Math.round(bytes * 10) / 10} ${unit}`; bytes /= 1024; }
  return `${Math.round(bytes * 10) / 10} GiB`;
}

/// A table of what came out of a task, if anything was wanted: `download(task, output, button)` is what a click does.
export function outputRows(task, download) {
  const attempt = [...task.attempts].reverse().find((a) => (a.outputs || []).length);
  if (!attempt) return [];
  const head = element("tr", {}, ...["output", "", "files", "size", ""].map((h) => element("th", { scope: "col" }, h)));
  const row = (o) => element("tr", {},
    element("td", {}, o.state === "kept" ? element("button", { type: "button", title: "Download as a tar", onclick: (event) => download(task.id, o.name, event.target) }, o.name) : o.name),
    ...[o.state, ...(o.state === "kept" ? [String(o.files), sizeOf(o.bytes)] : ["", ""]), o.message || ""].map((text) => element("td", {}, text)));
  return [element("table", { class: "outputs" }, element("thead", {}, head), element("tbody", {}, ...attempt.outputs.map(row)))];
}

const counted = (n, one, many) => `${n} ${n === 1 ? one : many}`;

/// What the reports among a task's outputs say, a part for each output that has any.
export function testParts(task) {
  const attempt = [...task.attempts].reverse().find((a) => (a.outputs || []).length);
  return (attempt ? attempt.outputs : []).filter((o) => o.tests).map((o) => {
    const t = o.tests, failed = t.failed || [], slowest = t.slowest || [], bad = t.failures + t.errors, id = `tests-${o.name}`;
    const count = (n, text, kind) => n ? element("li", {}, element("span", { class: kind }, text)) : null;
    const list = (title, rows) => rows.length ? [element("h4", {}, title), element("ul", {}, ...rows)] : [];
    return element("section", { class: "tests", "aria-labelledby": id },
      element("h3", { id }, `Tests of ${o.name}`),
      element("ul", { class: "counts" }, element("li", {}, element("span", { class: "tag " + (bad || t.unread ? "failed" : "succeeded") }, counted(t.tests, "test", "tests")), ` in ${span(t.seconds)}`),
        count(t.failures, `${t.failures} failed`, "bad"), count(t.errors, counted(t.errors, "error", "errors"), "bad"), count(t.skipped, `${t.skipped} skipped`),
        count(t.unread, `${counted(t.unread, "report", "reports")} not read`, "bad")),
      ...list("Failed", [...failed.map((f) => element("li", {}, element("b", {}, f.name), f.message ? `: ${f.message}` : "")), ...(bad > failed.length ? [element("li", {}, `${bad - failed.length} more`)] : [])]),
      ...list("Slowest", slowest.map((s) => element("li", {}, `${span(s.seconds)} ${s.name}`))));
  });
}

const phaseNames = ["queue", "pull", "create", "input", "start", "run", "collect", "output"];

/// The phases of an attempt with when they began. What is not over yet reaches until now.
export function phasesOf(task, attempt, now) {
  const known = attempt.phases || {};
  const parts = [];
  if (Object.keys(known).length) for (const name of phaseNames) { if (known[name]) parts.push([name, known[name]]); }
  else {
    const made = seconds(attempt.created_at), asked = seconds(task.created_at);
    if (attempt.number === 1 && made > asked) parts.push(["queue", made - asked]);
    if (attempt.started_at) { parts.push(["start", Math.max(0, seconds(attempt.started_at) - made)]); parts.push(["run", Math.max(0, now - seconds(attempt.started_at))]); }
    else parts.push(["start", Math.max(0, now - made)]);
  }
  return parts;
}
