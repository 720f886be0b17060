import assert from "node:assert/strict";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { checkLimits } from "../../src/doctor/limits.ts";
import { checkPrograms } from "../../src/doctor/programs.ts";
import { checkSandbox, holesIn } from "../../src/doctor/sandbox.ts";
import { deadAddress, json, problem, sendJson, startFakeGateway } from "../support/fake-gateway.ts";
import { writeTestProfile } from "../support/profile.ts";
import { makeHome } from "../support/warren.ts";

interface Report {
  ok: boolean;
  findings: { group: string; name: string; state: string; detail: string; mend?: string }[];
}

const health = {
  status: "degraded",
  checks: [{ name: "limits", status: "degraded", message: "limits are local" }],
  services: [
    { service: "auth", status: "healthy", replicas: 2 },
    {
      service: "plugin-host",
      status: "unhealthy",
      replicas: [
        {
          instanceId: "plugin-host-1",
          status: "unhealthy",
          checks: [{ name: "sandbox", status: "unhealthy", message: "bwrap does not start" }],
        },
      ],
    },
  ],
};

test("it reports the mesh's health part by part, and that the token is accepted", async (t) => {
  const gateway = await startFakeGateway(t, {
    "GET /health": ({ query }, response) =>
      sendJson(response, query.get("detailed") ? health : { status: health.status }),
    "GET /v1/plugins": json({ plugins: [] }),
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const { code, stdout } = await home.warren(["doctor", "--json"]);
  const { ok, findings } = JSON.parse(stdout) as Report;
  assert.equal(code, ok ? 0 : 1);
  const found = (name: string): string | undefined => {
    const finding = findings.find((each) => each.name === name);
    return finding && `${finding.state} ${finding.detail}`;
  };
  assert.equal(found("health"), `warning ${gateway.url} is degraded`);
  assert.equal(found("gateway: limits"), "warning degraded: limits are local");
  assert.equal(found("auth"), "ok healthy, 2 replicas");
  assert.equal(found("plugin-host"), "warning unhealthy, 1 replica");
  assert.equal(found("plugin-host-1: sandbox"), "warning unhealthy: bwrap does not start");
  assert.equal(found("token"), "ok accepted (device:device-1)");
  assert.match(found("node") ?? "", /^ok \d+\.\d+/);
});

test("a gateway that is not there is a warning with the command that starts it", async (t) => {
  const home = await makeHome(t);
  const { stdout } = await home.warren(["doctor", "--url", await deadAddress()]);
  assert.match(stdout, /warn +reachable +cannot reach a gateway/);
  assert.match(stdout, /mend: warren up/);
});

test("another program in the gateway's place is recognised, whatever it speaks", async (t) => {
  const web = await startFakeGateway(t, { "GET /health": problem(404, "X", "nothing here") });
  const home = await makeHome(t);
  const { stdout } = await home.warren(["doctor", "--json", "--url", web.url]);
  const health = (JSON.parse(stdout) as Report).findings.find(({ name }) => name === "health");
  assert.match(health?.detail ?? "", /is no Warren gateway/);

  const silent = createServer((socket) => socket.destroy()).listen(0, "127.0.0.1");
  t.after(() => silent.close());
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const report = await home.warren(["doctor"], { env: { WARREN_HTTP_PORT: String(port) } });
  assert.ok(report.stdout.includes(`another program uses port ${port}`));
  assert.ok(report.stdout.includes(`mend: WARREN_HTTP_PORT=${port + 1} warren up`));
});

test("what is missing or too old is named, with the command that installs it", async (t) => {
  const folder = await fakePrograms(t, {
    "nats-server": "nats-server: v2.1.0",
    prlimit: "prlimit 2.38",
    "apt-get": "",
  });
  const findings = await checkPrograms([folder], "20.1.0");
  const by = (name: string) => findings.find((each) => each.name === name);
  assert.equal(by("node")?.state, "missing");
  assert.match(by("node")?.detail ?? "", /older than 24\.12/);
  assert.equal(by("nats-server")?.state, "missing");
  assert.match(by("nats-server")?.detail ?? "", /2\.1\.0 is older than 2\.9/);
  assert.match(by("nats-server")?.mend ?? "", /apt-get install -y nats-server$/);
  assert.equal(by("bwrap")?.state, "missing");
  assert.match(by("bwrap")?.mend ?? "", /apt-get install -y bubblewrap$/);
  assert.equal(by("redis-server")?.state, "warning", "the limiter can do without");
  assert.equal(by("prlimit")?.state, "ok");
});

test("a sandbox that does not start is missing, with what would mend it", async (t) => {
  const folder = await fakePrograms(
    t,
    { bwrap: "" },
    "echo 'bwrap: setting up uid map: Permission denied' >&2; exit 1",
  );
  const [finding] = await checkSandbox([folder]);
  assert.equal(finding?.state, "missing");
  assert.match(finding?.detail ?? "", /Permission denied/);
  assert.match(finding?.mend ?? "", /sysctl/);
});

test("a sandbox with holes does not pass", () => {
  assert.deepEqual(holesIn("65534\n4\nlo\nrefused\nalone\n"), []);
  assert.deepEqual(holesIn("0\n212\nloeth0\nwritten\nnested\n"), [
    "it runs as user 0",
    "it sees 212 processes",
    "it sees the networks loeth0",
    "it can write to /",
    "it can make user namespaces",
  ]);
});

test("a machine without any memory limit cannot run plugins", async (t) => {
  const folder = await fakePrograms(t, { prlimit: "" }, "exit 0");
  const findings = await checkLimits([folder], process.execPath);
  const [cgroup, memory] = findings;
  // A prlimit that limits nothing is not taken for one that does.
  assert.equal(memory?.state, cgroup?.state === "ok" ? "warning" : "missing");
  assert.match(memory?.detail ?? "", /does not enforce/);
});

/** Programs that print a text, or do what `does` says. */
async function fakePrograms(
  t: { after(work: () => Promise<void>): void },
  texts: Readonly<Record<string, string>>,
  does?: string,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "warren-doctor-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(texts)) {
    await writeFile(join(folder, name), `#!/bin/sh\n${does ?? `echo '${text}'`}\n`);
    await chmod(join(folder, name), 0o755);
  }
  return folder;
}
