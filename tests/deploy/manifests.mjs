// Every Kubernetes document against Kubernetes' own schemas (the npm package kubernetes-models ships them), and the Helm chart against the
// overlays for the same choices. Run by tests/deploy/run.
import * as yaml from "js-yaml";
import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const require = createRequire(import.meta.url);
const [top, render, kubectl] = process.argv.slice(2);
let failures = 0;

function documents(text) {
  return yaml.loadAll(text).filter(Boolean);
}
function kustomize(overlay) {
  return documents(execFileSync(kubectl, ["kustomize", `${top}/k8s/overlays/${overlay}`], { encoding: "utf8" }));
}
function helm(...settings) {
  return documents(execFileSync(render, [`${top}/k8s/helm/davit`, ...settings], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
}

function validate(origin, document) {
  const [group, version] = document.apiVersion.includes("/") ? document.apiVersion.split("/") : ["", document.apiVersion];
  if (group === "monitoring.coreos.com") return; // the Prometheus operator's own kinds
  const kinds = require(`kubernetes-models/${group ? group + "/" : ""}${version}/${document.kind}`);
  new kinds[document.kind](document).validate();
}

/// What is compared: not the labels and names that each tool makes by itself, not the configuration's text, not tests and hooks.
function comparable(all) {
  const map = new Map();
  for (const one of all) {
    if (one.kind === "ConfigMap" || one.metadata.annotations?.["helm.sh/hook"]) continue;
    const copy = structuredClone(one);
    const pod = copy.spec?.template;
    if (pod) {
      delete pod.metadata.annotations;
      if (pod.metadata.creationTimestamp === null) delete pod.metadata.creationTimestamp;
      for (const volume of pod.spec.volumes) if (volume.configMap) volume.configMap.name = volume.configMap.name.replace(/-[a-z0-9]{10}$/, "");
    }
    map.set(`${copy.kind}/${copy.metadata.name}`, copy);
  }
  return Object.fromEntries([...map].sort());
}

function check(what, test) {
  try {
    test();
    console.log(`ok: ${what}`);
  } catch (e) {
    ++failures;
    console.log(`FAILED: ${what}\n${e.message}`);
  }
}

const variants = {
  ...(kubectl ? { "overlay dind": kustomize("dind"), "overlay host-socket": kustomize("host-socket") } : {}),
  "chart": helm(),
  "chart, socket": helm("engine.mode=socket", "autoscaling.enabled=false"),
  "chart, rootless": helm("engine.mode=dind-rootless"),
  "chart, without TLS": helm("dind.tls=false"),
  "chart, remote": helm("engine.mode=remote", "engine.remote.endpoint=tcp://engine:2376", "engine.remote.tlsSecret=engine-certs"),
  "chart, all on": helm("metrics.serviceMonitor.enabled=true", "metrics.rules=true", "dashboards.enabled=true", "image.registry=registry.example", "image.digest=sha256:" + "0".repeat(64)),
  "chart, all off": helm("pdb.enabled=false", "networkPolicy.enabled=false", "autoscaling.enabled=false", "serviceAccount.create=false"),
};
for (const [name, all] of Object.entries(variants))
  for (const one of all) check(`${name}: ${one.kind} ${one.metadata.name} is as Kubernetes' schema wants it`, () => validate(name, one));
if (kubectl) check("the chart and the overlay dind are the same", () => assert.deepEqual(comparable(variants["chart"]), comparable(variants["overlay dind"])));
if (kubectl) check("the chart of mode socket and the overlay host-socket are the same", () => assert.deepEqual(comparable(variants["chart, socket"]), comparable(variants["overlay host-socket"])));
check("a schema that is not kept is noticed", () => assert.throws(() => validate("", { apiVersion: "apps/v1", kind: "StatefulSet", metadata: { name: "x" }, spec: { replicas: "three" } })));
check("a mode without an endpoint is refused", () => assert.throws(() => helm("engine.mode=remote")));
const pod = variants["chart"].find((d) => d.kind === "StatefulSet").spec.template.spec;
check("the engine is a native sidecar, and outlives the agent", () => assert.equal(pod.initContainers.find((c) => c.name === "docker-in-docker").restartPolicy, "Always"));
check("the agent itself has no privilege", () => {
  const c = pod.containers[0].securityContext;
  assert.ok(c.runAsNonRoot && c.readOnlyRootFilesystem && c.allowPrivilegeEscalation === false && c.capabilities.drop[0] === "ALL");
});
check("values.yaml keeps to values.schema.json, which knows every value", () => {
  const fs = require("node:fs");
  const Ajv = require("ajv").default;
  const schema = JSON.parse(fs.readFileSync(`${top}/k8s/helm/davit/values.schema.json`, "utf8"));
  const values = yaml.load(fs.readFileSync(`${top}/k8s/helm/davit/values.yaml`, "utf8"));
  const judge = new Ajv({ strict: false }).compile(schema);
  assert.ok(judge(values), JSON.stringify(judge.errors));
  assert.ok(!judge({ ...values, replica: 3 }));
  assert.ok(!judge({ ...values, engine: { ...values.engine, mode: "podman" } }));
});
for (const file of ["overlay dind", "overlay host-socket", "chart", "chart, socket", "chart, remote", "chart, without TLS"].filter((name) => variants[name]))
  check(`${file}: davit.conf is one that davit takes`, () => {
    const fs = require("node:fs");
    const text = variants[file].find((d) => d.kind === "ConfigMap" && d.data["davit.conf"]).data["davit.conf"];
    const at = fs.mkdtempSync("/tmp/davit-test-");
    // The certificates lie elsewhere: what matters here is every option's name and form.
    fs.writeFileSync(`${at}/davit.conf`, text);
    try {
      execFileSync(process.env.DAVIT, ["check-config", `${at}/davit.conf`], { encoding: "utf8", stdio: "pipe" });
    } catch (e) {
      const others = e.stderr.split("\n").filter((line) => line && !line.includes("can't be read"));
      assert.deepEqual(others, []);
    } finally {
      fs.rmSync(at, { recursive: true });
    }
  });
process.exit(failures ? 1 : 0);
