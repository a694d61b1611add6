// Lines of JSON (see bench/run) in; FOLDER/results.md, results.json, latency.svg and throughput.svg out. report.mjs FOLDER < LINES
import { readFileSync, writeFileSync } from "node:fs";

const folder = process.argv[2];
const rows = readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const number = (x) => (x === undefined ? "" : x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toPrecision(3));
const table = ["| what | davit | compared with | its value | ratio | asked |", "|---|---|---|---|---|---|"];
for (const r of rows)
  table.push(`| ${r.what} | ${number(r.value)} ${r.unit} | ${r.peer ?? ""} | ${r.peer ? number(r.peer_value) + " " + r.unit : ""} | ${r.ratio === undefined ? "" : r.ratio.toFixed(3)} | ${r.asked ?? ""} |`);
writeFileSync(`${folder}/results.md`, table.join("\n") + "\n");
writeFileSync(`${folder}/results.json`, JSON.stringify(rows, null, 1) + "\n");

const escape = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;");

/** Bars from left to right, each with its name before it and its value behind it; those of the same `kind` have one colour. */
function bars(title, unit, list) {
  const left = 280, width = 420, high = 22, most = Math.max(...list.map((one) => one.value));
  const lines = [`<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 110}" height="${list.length * high + 44}" font-family="sans-serif" font-size="13">`,
    `<rect width="100%" height="100%" fill="#fff"/>`, `<text x="10" y="22" font-weight="bold">${escape(title)}</text>`];
  list.forEach((one, i) => {
    const y = 36 + i * high, w = Math.max(1, (one.value / most) * width);
    lines.push(`<text x="${left - 8}" y="${y + 15}" text-anchor="end">${escape(one.name)}</text>`,
      `<rect x="${left}" y="${y + 3}" width="${w.toFixed(1)}" height="${high - 6}" fill="${one.kind === "davit" ? "#1769aa" : "#9aa7b1"}"/>`,
      `<text x="${(left + w + 6).toFixed(1)}" y="${y + 15}">${number(one.value)} ${unit}</text>`);
  });
  return lines.join("\n") + "\n</svg>\n";
}

function collect(match, name) {
  const list = new Map();
  for (const r of rows.filter((one) => match.test(one.what))) {
    list.set(name(r), { name: name(r), value: r.value, kind: "davit" });
    const peer = r.peer + (name(r).match(/, \d+ at once$/)?.[0] ?? "");
    list.set(peer, { name: peer, value: r.peer_value, kind: "peer" });
  }
  return [...list.values()];
}

const latency = collect(/, submit to exit code, p50$/, (r) => "davit, " + r.what.replace(/, submit to exit code, p50$/, ""));
if (latency.length) writeFileSync(`${folder}/latency.svg`, bars("`true` in a container of its own: submit to exit code, p50", "ms", latency.sort((a, b) => a.value - b.value)));
const throughput = collect(/^throughput.* at once$/, (r) => "davit" + r.what.replace(/^throughput/, ""));
if (throughput.length) writeFileSync(`${folder}/throughput.svg`, bars("Tasks per second that can be kept up", "/s", throughput));
process.stdout.write(table.join("\n") + "\n");
