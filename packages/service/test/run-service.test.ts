import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import test, { type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { RpcError } from "@warren/mesh";
import { ServiceStarted, ServiceStopping } from "@warren/proto/warren/events/v1/events";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { HealthStatus, TelemetryServiceDefinition } from "@warren/proto/warren/telemetry/v1/telemetry";
import { serveProbes } from "@warren/service";
import { startNats, type TestNats, waitUntil } from "@warren/testing";

const MAIN = fileURLToPath(new URL("./tiny-service.ts", import.meta.url));

interface Tiny {
  readonly child: ChildProcess;
  readonly messages: { type: string; what?: string; address?: string }[];
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Every line it wrote. */
  readonly lines: () => string[];
}

/** Runs the tiny service; it ends with the test. */
function start(t: TestContext, env: Record<string, string>): Tiny {
  const child = fork(MAIN, {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  });
  const messages: Tiny["messages"] = [];
  let output = "";
  child.on("message", (message) => messages.push(message as Tiny["messages"][number]));
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  // Ended means that all it wrote was read, too.
  const outputs = [child.stdout, child.stderr].flatMap((stream) => (stream ? [once(stream, "end")] : []));
  const ended = once(child, "exit").then(async ([code, signal]) => {
    await Promise.all(outputs);
    return { code: code as number | null, signal: signal as NodeJS.Signals | null };
  });
  t.after(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { child, messages, ended, lines: () => output.split("\n").filter(Boolean) };
}

function environmentOf(nats: TestNats, more: Record<string, string> = {}): Record<string, string> {
  return { WARREN_NATS_URL: nats.url, WARREN_MESH_CREDENTIALS: nats.credentialsFile("secrets"), ...more };
}

async function freePort(): Promise<number> {
  const server = await serveProbes({ host: "127.0.0.1", port: 0, routes: {} });
  await server.close();
  return server.port;
}

function steps({ messages }: Tiny): (string | undefined)[] {
  return messages.filter(({ type }) => type === "step").map(({ what }) => what);
}

async function ready(tiny: Tiny): Promise<void> {
  await waitUntil("readiness", 15_000, () => {
    if (tiny.child.exitCode !== null) throw new Error(tiny.lines().join("\n"));
    return tiny.messages.some(({ type }) => type === "ready") || undefined;
  });
}

test("a service", async (t) => {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway");
  const secrets = gateway.client(SecretsServiceDefinition);

  await t.test("says when it is ready and where it listens, is announced, and answers for its health", async (t) => {
    const announced = gateway.waitFor(ServiceStarted, ({ service }) => service === "secrets", { timeoutMs: 20_000 });
    const tiny = start(t, environmentOf(nats, { WARREN_INSTANCE_ID: "tiny-1" }));
    await ready(tiny);
    assert.deepEqual(
      tiny.messages.find(({ type }) => type === "ready"),
      { type: "ready", address: "http://127.0.0.1:1" },
    );
    assert.equal((await announced).instanceId, "tiny-1");
    const health = await gateway.client(TelemetryServiceDefinition).getHealth({});
    assert.deepEqual([health.service, health.instanceId, health.status], ["secrets", "tiny-1", HealthStatus.HEALTHY]);
    assert.deepEqual(
      health.checks.map(({ name }) => name),
      ["nats", "tiny"],
    );
    const records = tiny.lines().map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.ok(records.some(({ message, instance }) => message === "Ready" && instance === "tiny-1"));
    assert.ok(!tiny.lines().join("").includes("hunter2"));
  });

  await t.test("told to stop, takes no more, answers what it took, stops in order and ends with 0", async (t) => {
    const announced = gateway.waitFor(ServiceStopping, ({ service }) => service === "secrets", { timeoutMs: 20_000 });
    const tiny = start(t, environmentOf(nats));
    await ready(tiny);
    const answer = secrets.getSecret({ name: "a" });
    await waitUntil("the call", 5000, () => steps(tiny).includes("call begins") || undefined);
    tiny.child.kill("SIGTERM");
    assert.equal((await answer).name, "a");
    assert.deepEqual(await tiny.ended, { code: 0, signal: null });
    assert.deepEqual(steps(tiny), ["call begins", "drain", "call ends", "stop while the mesh is up"]);
    assert.equal((await announced).service, "secrets");
    await assert.rejects(
      secrets.getSecret({ name: "a" }, { timeoutMs: 1000 }),
      (error: RpcError) => error instanceof RpcError,
    );
  });

  await t.test("pushes its lines to a collector to the last one, where it is told to", async (t) => {
    const bodies: Buffer[] = [];
    const collector = createServer((request, response) => {
      void buffer(request).then((body) => {
        if (request.url === "/v1/logs") bodies.push(body);
        response.end();
      });
    });
    await once(collector.listen(0, "127.0.0.1"), "listening");
    t.after(() => {
      collector.close();
      collector.closeAllConnections();
    });
    const { port } = collector.address() as AddressInfo;
    const otlp = { OTEL_LOGS_EXPORTER: "otlp", OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` };
    const tiny = start(t, environmentOf(nats, otlp));
    await ready(tiny);
    tiny.child.kill("SIGTERM");
    assert.deepEqual(await tiny.ended, { code: 0, signal: null });
    const sent = Buffer.concat(bodies);
    for (const line of ["Wired", "Ready", "Stopped"]) assert.ok(sent.includes(line), line);
    assert.ok(!sent.includes("hunter2"));
  });

  await t.test("answers probes: live from the start, ready when it serves, not ready while it stops", async (t) => {
    const port = await freePort();
    const probe = (path: string): Promise<number> =>
      fetch(`http://127.0.0.1:${port}${path}`).then(
        ({ status }) => status,
        () => 0,
      );
    const tiny = start(t, environmentOf(nats, { WARREN_METRICS_PORT: String(port), TINY_BEHAVIOUR: "starts-late" }));
    await waitUntil("liveness", 15_000, async () => (await probe("/health/live")) === 200 || undefined);
    assert.equal(await probe("/health/ready"), 503);
    tiny.child.send("start");
    await ready(tiny);
    assert.equal(await probe("/health/ready"), 200);
    const answer = secrets.getSecret({ name: "a" });
    await waitUntil("the call", 5000, () => steps(tiny).includes("call begins") || undefined);
    tiny.child.kill("SIGTERM");
    await waitUntil("not ready", 5000, async () => (await probe("/health/ready")) === 503 || undefined);
    assert.equal(await probe("/health/live"), 200);
    assert.equal((await answer).name, "a");
    assert.deepEqual(await tiny.ended, { code: 0, signal: null });
  });

  await t.test("whose parent is gone stops by itself", async (t) => {
    const tiny = start(t, environmentOf(nats));
    await ready(tiny);
    tiny.child.disconnect();
    assert.deepEqual(await tiny.ended, { code: 0, signal: null });
  });

  await t.test("that cannot start says why in one grave line and ends with 1", async (t) => {
    const tiny = start(t, environmentOf(nats, { TINY_BEHAVIOUR: "start-fails" }));
    assert.deepEqual(await tiny.ended, { code: 1, signal: null });
    const fatal = tiny.lines().map((line) => JSON.parse(line) as { level: string; err?: { message: string } });
    assert.deepEqual(
      fatal.filter(({ level }) => level === "fatal").map(({ err }) => err?.message),
      ["the vault is sealed"],
    );
    assert.ok(!tiny.messages.some(({ type }) => type === "ready"));
  });

  await t.test("whose stop fails says so and ends with 1", async (t) => {
    const tiny = start(t, environmentOf(nats, { TINY_BEHAVIOUR: "stop-fails" }));
    await ready(tiny);
    tiny.child.kill("SIGINT");
    assert.deepEqual(await tiny.ended, { code: 1, signal: null });
    assert.match(tiny.lines().at(-1) ?? "", /"fatal".*stop failed/);
  });

  await t.test("goes on after a rejection that nobody handles, and logs it", async (t) => {
    const tiny = start(t, environmentOf(nats, { TINY_BEHAVIOUR: "odd-rejection" }));
    await ready(tiny);
    assert.equal((await secrets.getSecret({ name: "a" })).name, "a");
    assert.ok(tiny.lines().some((line) => line.includes("nobody waits for this")));
  });
});

test("a configuration that cannot be used ends a service with 78, naming every variable", async (t) => {
  const tiny = start(t, { TINY_PORT: "many", TINY_BEHAVIOUR: "bad" });
  assert.deepEqual(await tiny.ended, { code: 78, signal: null });
  const text = tiny.lines().join("\n");
  for (const name of ["WARREN_MESH_CREDENTIALS", "TINY_PORT", "TINY_BEHAVIOUR"]) assert.ok(text.includes(name), text);
  assert.ok(!text.includes("    at "), "a person is told, not shown a stack");
});

test("a credential file that is missing ends a service with 1 and its path", async (t) => {
  const tiny = start(t, { WARREN_MESH_CREDENTIALS: "/nowhere/secrets.json", WARREN_NATS_URL: "nats://127.0.0.1:1" });
  assert.deepEqual(await tiny.ended, { code: 1, signal: null });
  assert.match(tiny.lines().join("\n"), /"fatal".*\/nowhere\/secrets.json/);
});
