// For each line on stdin: a container of `true` by dockerode, its output read, its exit code known, and removed; then a line on stdout. dockerode.mjs NODE_MODULES
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";

const require = createRequire(process.argv[2] + "/x.js");
const Docker = require("dockerode");
const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace("unix://", "") });

async function run() {
  const out = new PassThrough();
  out.resume();
  const options = {
    HostConfig: {
      NetworkMode: "none", Memory: 536870912, MemorySwap: 536870912, NanoCpus: 1000000000, PidsLimit: 512, SecurityOpt: ["no-new-privileges"],
      LogConfig: { Type: "local", Config: { mode: "blocking" } },
    },
  };
  const [ended, container] = await docker.run("busybox:bench", ["true"], out, options);
  if (ended.StatusCode !== 0) throw new Error("exit code " + ended.StatusCode);
  await container.remove({ v: true });
}

for await (const _ of createInterface({ input: process.stdin })) {
  await run();
  process.stdout.write("\n");
}
