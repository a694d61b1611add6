// The dashboard and the rules against what a live agent really exports: every metric that a query names is there, every panel has data.
import fs from "node:fs";

const [top, prometheus] = process.argv.slice(2);
const dashboard = JSON.parse(fs.readFileSync(`${top}/config/grafana/davit.json`, "utf8"));
const rules = fs.readFileSync(`${top}/config/prometheus/rules.yml`, "utf8");
const ask = async (path) => {
  const answer = await (await fetch(prometheus + path)).json();
  if (answer.status !== "success") throw new Error(`${path}: ${JSON.stringify(answer)}`);
  return answer.data;
};
let failures = 0;
const names = new Set(await ask("/api/v1/label/__name__/values"));
// Nothing of these has happened to a healthy agent: a counter with labels is there from its first time on. And this one has no TLS.
const later = new Set(["davit_actor_restarts_total", "davit_sink_failures_total", "davit_sink_dropped_bytes_total", "davit_certificate_reload_failed",
  "davit_certificate_not_after_timestamp_seconds"]);
const queries = [...dashboard.panels.flatMap((p) => p.targets.map((t) => [p.title, t.expr])), ...[...rules.matchAll(/expr: '?(.*?)'?$/gm)].map((m) => ["rules.yml", m[1].replaceAll("''", "'")])];
for (const [where, query] of queries)
  for (const [name] of query.matchAll(/\b(?:davit|caf)[_:][a-z0-9_:]+/g))
    if (!names.has(name) && !later.has(name)) {
      ++failures;
      console.log(`FAILED: ${where}: no metric ${name} is exported`);
    }
console.log(`ok: ${queries.length} queries of the dashboard and the rules name ${names.size} metrics that are there`);
// A rate needs two scrapes with the series in them: asked again until then.
async function emptyPanels() {
  const empty = [];
  for (const panel of dashboard.panels) {
    let series = 0;
    for (const target of panel.targets) series += (await ask("/api/v1/query?query=" + encodeURIComponent(target.expr))).result.length;
    if (series === 0 && !panel.targets.every((t) => [...later].some((l) => t.expr.includes(l)))) empty.push(panel.title);
  }
  return empty;
}
let without = await emptyPanels();
for (let i = 0; without.length && i < 30; ++i) {
  await new Promise((done) => setTimeout(done, 1000));
  without = await emptyPanels();
}
for (const title of without) console.log(`FAILED: the panel "${title}" has no data`);
const empty = without.length;
if (!empty) console.log(`ok: all ${dashboard.panels.length} panels have data (but those of failures that have not happened)`);
const firing = (await ask("/api/v1/alerts")).alerts.filter((a) => a.state === "firing").map((a) => a.labels.alertname);
if (firing.length) {
  ++failures;
  console.log(`FAILED: a healthy agent fires ${firing.join(", ")}`);
} else console.log("ok: a healthy agent fires no alert");
process.exit(failures + empty ? 1 : 0);
