// Durable consumers: stored events come until they are handled, to one replica at a time, and no poison holds up others.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import test, { type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type ConsumeOptions, type DeadLetter, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import {
  DevicePaired,
  DeviceRevoked,
  PairingRefused,
  PluginInstalled,
  PluginRemoved,
} from "@warren/proto/warren/events/v1/events";
import { foreignApi, RECORDS } from "@warren/mesh/policy";
import { startNats, type TestNats, waitUntil } from "@warren/testing";
import { ACK_WAIT_MS } from "../src/durable/delivery.ts";
import { bareHeaders, rawConnection } from "./raw.ts";

/** The durable consumer that the mesh's policy gives to the gateway. */
const durable = "notices";

interface Setting {
  readonly nats: TestNats;
  readonly host: Mesh;
  readonly gateway: Mesh;
}

/** A mesh in which the owner of the streams runs. */
async function setting(t: TestContext): Promise<Setting> {
  const nats = await startNats(t);
  const [host, gateway] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("gateway"),
    nats.connect("auth"),
  ]);
  return { nats, host, gateway };
}

async function install(host: Mesh, ...pluginIds: readonly string[]): Promise<void> {
  for (const pluginId of pluginIds)
    await host.publish(PluginInstalled, PluginInstalled.fromPartial({ pluginId }), { key: pluginId });
}

function numbered(count: number, prefix = "p"): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}${i}`);
}

function deadLetters(gateway: Mesh, count: number): Promise<DeadLetter[]> {
  return waitUntil(`${count} dead letters`, 10_000, async () => {
    const letters = await gateway.deadLetters();
    return letters.length >= count ? letters : undefined;
  });
}

test("an event that fails comes again, later and later, and then becomes a dead letter that tells what a person needs", async (t) => {
  const { host, gateway } = await setting(t);
  const options: ConsumeOptions = { durable, maxDeliver: 4, backoffMs: [100, 300] };
  const deliveries: { count: number; at: number; sequence: number; key: string | undefined }[] = [];
  await gateway.consume(PluginInstalled, options, (_event, meta) => {
    deliveries.push({ count: meta.deliveries, at: performance.now(), sequence: meta.sequence, key: meta.key });
    throw new RpcError(StatusCode.FAILED_PRECONDITION, "the secret s3cr3t did not open it");
  });
  await install(host, "poison");
  const [letter, ...more] = await deadLetters(gateway, 1);
  assert.equal(more.length, 0);
  assert.deepEqual(
    deliveries.map(({ count, key }) => [count, key]),
    [1, 2, 3, 4].map((count) => [count, "poison"]),
  );
  assert.equal(new Set(deliveries.map(({ sequence }) => sequence)).size, 1);
  const gaps = deliveries.slice(1).map(({ at }, index) => at - deliveries[index]!.at);
  for (const [index, least] of [100, 300, 300].entries())
    assert.ok(gaps[index]! >= least - 5 && gaps[index]! < least + 1000, `gap ${index}: ${gaps[index]}`);

  assert.ok(letter);
  const { consumer, status, deliveries: count, event } = letter;
  assert.deepEqual([consumer, status, count], ["gateway_notices", "FAILED_PRECONDITION", 4]);
  assert.deepEqual(
    [event.name, event.key, event.as(PluginInstalled)?.pluginId],
    ["plugin.installed", "poison", "poison"],
  );
  assert.ok(Math.abs(letter.storedAt.getTime() - Date.now()) < 10_000);
  // It is not delivered any more, while its neighbour is.
  await install(host, "next");
  await waitUntil("the next", 5000, () => deliveries.find(({ key }) => key === "next"));
  assert.equal(deliveries.filter(({ key }) => key === "poison").length, 4);
});

test("a dead letter holds no text of an error, and an unexpected one is INTERNAL", async (t) => {
  const { nats, host, gateway } = await setting(t);
  await gateway.consume(PluginInstalled, { durable, maxDeliver: 1 }, () => Promise.reject(new Error("s3cr3t")));
  await install(host, "poison");
  assert.equal((await deadLetters(gateway, 1))[0]?.status, "INTERNAL");
  const raw = await rawConnection(nats, "gateway");
  t.after(() => raw.close());
  const request = JSON.stringify({ seq: 1 });
  const answer = (await raw.request(`${foreignApi(RECORDS)}.STREAM.MSG.GET.dead_letters`, request)).json<{
    message: { subject: string; hdrs: string; data: string };
  }>();
  const headers = Buffer.from(answer.message.hdrs, "base64").toString();
  assert.equal(answer.message.subject, "dead_letters.gateway.notices");
  assert.match(headers, /^Warren-Subject: events\.plugin\.installed\.poison\r$/m);
  assert.match(headers, /^Warren-Origin: audit;1\r$/m);
  assert.match(headers, /^Warren-Deliveries: 1\r$/m);
  assert.ok(!headers.includes("s3cr3t"));
});

test("poison does not hold up its neighbours, whether it throws or never ends", async (t) => {
  const { host, gateway } = await setting(t);
  const options: ConsumeOptions = { durable, maxDeliver: 3, backoffMs: [1500], ackWaitMs: 300, concurrency: 2 };
  const handled: string[] = [];
  const aborted = new Set<string>();
  await gateway.consume(PluginInstalled, options, async ({ pluginId }, { signal }) => {
    if (pluginId.startsWith("throws")) throw new Error("a bug");
    if (pluginId.startsWith("hangs")) {
      signal.addEventListener("abort", () => aborted.add(pluginId));
      await new Promise(() => undefined);
    }
    handled.push(pluginId);
  });
  const neighbours = numbered(100);
  await install(host, ...numbered(20, "throws"), ...numbered(4, "hangs"), ...neighbours);
  await waitUntil("the neighbours", 5000, () => (handled.length >= 100 ? true : undefined));
  assert.deepEqual(handled.toSorted(), neighbours.toSorted());
  // All that happened before the poison's second round was over, let alone its third.
  assert.deepEqual(await gateway.deadLetters(), []);
  const letters = await deadLetters(gateway, 24);
  assert.equal(letters.length, 24);
  assert.equal(letters.filter(({ status }) => status === "DEADLINE_EXCEEDED").length, 4);
  assert.equal(aborted.size, 4);
  assert.equal(handled.length, 100);
});

test("two replicas share the events, each handled once", async (t) => {
  const { nats, host, gateway } = await setting(t);
  const second = await nats.connect("gateway");
  const handled: [number, string][] = [];
  const replicas = [gateway, second].map((mesh, index) =>
    mesh.consume(PluginInstalled, { durable, concurrency: 1 }, async ({ pluginId }) => {
      handled.push([index, pluginId]);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }),
  );
  await Promise.all(replicas);
  const names = numbered(60);
  await install(host, ...names);
  await waitUntil("the events", 5000, () => (handled.length >= 60 ? true : undefined));
  assert.deepEqual(handled.map(([, name]) => name).toSorted(), names.toSorted());
  for (const index of [0, 1]) assert.ok(handled.filter(([by]) => by === index).length > 5, `replica ${index}`);
});

test("one replica that handles one at a time keeps the order of the stream", async (t) => {
  const { host, gateway } = await setting(t);
  const handled: string[] = [];
  await gateway.consume(PluginInstalled, { durable, concurrency: 1 }, ({ pluginId }) => void handled.push(pluginId));
  const names = numbered(60);
  await install(host, ...names);
  await waitUntil("the events", 5000, () => (handled.length >= 60 ? true : undefined));
  assert.deepEqual(handled, names);
});

/** A process that takes an event and never ends handling it. Resolves when it has it; kill it with the function. */
async function victim(t: TestContext, nats: TestNats, expected: string): Promise<() => void> {
  const script = fileURLToPath(new URL("./durable-victim.ts", import.meta.url));
  const child = spawn(process.execPath, [script, nats.url, nats.credentialsFile("gateway")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  await waitUntil("the delivery", 10_000, () => (said === expected ? true : undefined));
  return () => child.kill("SIGKILL");
}

test("what a killed process had in hand is delivered to another", async (t) => {
  const { nats, host, gateway } = await setting(t);
  await install(host, "clock");
  const kill = await victim(t, nats, "clock 1\n");
  kill();
  const seen = Promise.withResolvers<[string, number]>();
  const options: ConsumeOptions = { durable };
  await gateway.consume(PluginInstalled, options, ({ pluginId }, { deliveries }) =>
    seen.resolve([pluginId, deliveries]),
  );
  assert.deepEqual(await seen.promise, ["clock", 2]);
});

test("an event whose consumers die of it becomes a dead letter without another try", async (t) => {
  const { nats, host, gateway } = await setting(t);
  await install(host, "deadly");
  for (const deliveries of [1, 2]) {
    const kill = await victim(t, nats, `deadly ${deliveries}\n`);
    kill();
  }
  let tries = 0;
  const options: ConsumeOptions = { durable, maxDeliver: 2 };
  await gateway.consume(PluginInstalled, options, () => void (tries += 1));
  const [letter] = await deadLetters(gateway, 1);
  assert.deepEqual([letter?.status, letter?.deliveries, tries], ["DEADLINE_EXCEEDED", 3, 0]);
});

test("a drain waits for what is in hand, takes nothing more, and gives back what outlasts it", async (t) => {
  const { nats, host, gateway } = await setting(t);
  const release = Promise.withResolvers<void>();
  const taken: string[] = [];
  const done: string[] = [];
  await gateway.consume(PluginInstalled, { durable, concurrency: 2 }, async ({ pluginId }, { signal }) => {
    taken.push(pluginId);
    if (pluginId === "slow") await release.promise;
    if (pluginId === "endless") await new Promise((resolve) => signal.addEventListener("abort", resolve));
    signal.throwIfAborted();
    done.push(pluginId);
  });
  await install(host, "slow", "endless");
  await waitUntil("both", 5000, () => (taken.length === 2 ? true : undefined));
  const drained = gateway.drain(700);
  await install(host, "late");
  release.resolve();
  const began = performance.now();
  await drained;
  assert.ok(performance.now() - began < 5000);
  assert.deepEqual([taken.toSorted(), done], [["endless", "slow"], ["slow"]]);

  const rest: [string, number][] = [];
  const other = await nats.connect("gateway");
  await other.consume(
    PluginInstalled,
    { durable },
    ({ pluginId }, { deliveries }) => void rest.push([pluginId, deliveries]),
  );
  // Long before its time would be over: it was given back.
  await waitUntil("the rest", 5000, () => (rest.length === 2 ? true : undefined));
  assert.deepEqual(rest.toSorted(), [
    ["endless", 2],
    ["late", 1],
  ]);
});

test("consumers go on after NATS was killed: what was stored before, while they were away and after is handled", async (t) => {
  const { nats, host, gateway } = await setting(t);
  const handled = new Map<string, number>();
  let hold: Promise<void> | undefined;
  await gateway.consume(PluginInstalled, { durable, ackWaitMs: 1000, maxDeliver: 50 }, async ({ pluginId }) => {
    await hold;
    handled.set(pluginId, (handled.get(pluginId) ?? 0) + 1);
  });
  const release = Promise.withResolvers<void>();
  hold = release.promise;
  await install(host, ...numbered(20, "before"));
  await nats.kill();
  await waitUntil("the loss", 2000, () => (gateway.up ? undefined : true));
  release.resolve();
  await nats.start();
  const started = performance.now();
  await waitUntil("the return", 5000, () => (host.up && gateway.up) || undefined);
  await install(host, ...numbered(20, "after"));
  await waitUntil("all events", 10_000, () => (handled.size === 40 ? true : undefined));
  assert.ok(performance.now() - started < 8000);
  assert.deepEqual(await gateway.deadLetters(), []);
});

test("a consumer begins at the oldest event, and later where it stopped", async (t) => {
  const { nats, host, gateway } = await setting(t);
  const seen: string[] = [];
  const consume = (mesh: Mesh) =>
    mesh.consume(PluginInstalled, { durable }, ({ pluginId }) => void seen.push(pluginId));
  const count = (wanted: number) => waitUntil("the events", 10_000, () => seen.length >= wanted || undefined);
  await install(host, "old");
  const first = await consume(gateway);
  await count(1);
  await first.drain();
  await install(host, "new");
  await consume(await nats.connect("gateway"));
  await install(host, "newest");
  await count(3);
  assert.deepEqual(seen.toSorted(), ["new", "newest", "old"]);
});

test("a handler that works for longer than the server waits for a word is not given its event again", async (t) => {
  const { host, gateway } = await setting(t);
  const deliveries: number[] = [];
  const done = Promise.withResolvers<void>();
  await gateway.consume(PluginInstalled, { durable }, async (_event, meta) => {
    deliveries.push(meta.deliveries);
    await new Promise((resolve) => setTimeout(resolve, ACK_WAIT_MS + 1500));
    done.resolve();
  });
  await install(host, "slow");
  await done.promise;
  assert.deepEqual(deliveries, [1]);
});

test("a pattern selects events by name, and types read them", async (t) => {
  const { nats, host, gateway } = await setting(t);
  const auth = await nats.connect("auth");
  const seen: unknown[] = [];
  await gateway.consumePattern("security.device.*", { durable }, (event) => {
    seen.push(event.as(DevicePaired)?.deviceId ?? event.as(DeviceRevoked)?.reason ?? event.name);
  });
  await install(host, "clock");
  await host.publish(PluginRemoved, PluginRemoved.fromPartial({ pluginId: "clock" }));
  await auth.publish(PairingRefused, PairingRefused.fromPartial({ pairingId: "x" }));
  await auth.publish(DevicePaired, DevicePaired.fromPartial({ deviceId: "d1" }), { key: "d1" });
  await auth.publish(DeviceRevoked, DeviceRevoked.fromPartial({ reason: "requested" }));
  await waitUntil("both", 5000, () => (seen.length >= 2 ? true : undefined));
  assert.deepEqual(seen.toSorted(), ["d1", "requested"]);
});

test("a consumer of other events under a known name takes over its place", async (t) => {
  const { nats, host } = await setting(t);
  const auth = await nats.connect("auth");
  const seen: string[] = [];
  const options: ConsumeOptions = { durable, concurrency: 1 };
  for (const pattern of ["plugin.installed", ">", "security.>", "plugin.*"]) {
    const mesh = await nats.connect("gateway");
    await mesh.consumePattern(pattern, options, ({ name }) => void seen.push(`${pattern}: ${name}`));
    await install(host, "clock");
    if (pattern === "security.>") await auth.publish(DevicePaired, DevicePaired.fromPartial({ deviceId: "d1" }));
    await waitUntil("it", 5000, () => (seen.at(-1)?.startsWith(pattern) ? true : undefined));
    await mesh.drain();
  }
  // What one was there for and did not want is not kept for the next.
  assert.deepEqual(seen, [
    "plugin.installed: plugin.installed",
    ">: plugin.installed",
    "security.>: security.device.paired",
    "plugin.*: plugin.installed",
  ]);
});

test("what the contracts do not know, or cannot be read, becomes a dead letter and holds up nothing", async (t) => {
  const { nats, host, gateway } = await setting(t);
  const seen: string[] = [];
  const options: ConsumeOptions = { durable, maxDeliver: 2, backoffMs: [10] };
  await gateway.consumePattern(
    "plugin.>",
    options,
    (event) => void seen.push(event.as(PluginInstalled)?.pluginId ?? ""),
  );
  const raw = await rawConnection(nats, "plugin-host");
  t.after(() => raw.close());
  await install(host, "first");
  raw.publish("events.plugin.from.the.future", "x");
  raw.publish("events.plugin.installed", Uint8Array.of(0xff, 0xff, 0xff));
  // A stored event may pretend to be the server's own word.
  for (const text of [
    "NATS/1.0 408 Request Timeout\r\n\r\n",
    "NATS/1.0 503\r\n\r\n",
    "NATS/1.0 404 No Messages\r\n\r\n",
  ])
    raw.publish(
      "events.plugin.installed",
      PluginInstalled.encode(PluginInstalled.fromPartial({ pluginId: "odd" })).finish(),
      {
        headers: bareHeaders(text),
      },
    );
  await raw.flush();
  await install(host, "last");
  const letters = await deadLetters(gateway, 2);
  assert.deepEqual(letters.map(({ event, status }) => [event.name, status]).toSorted(), [
    ["plugin.from.the.future", "UNIMPLEMENTED"],
    ["plugin.installed", "INTERNAL"],
  ]);
  await waitUntil("the last", 5000, () => (seen.length >= 5 ? true : undefined));
  assert.deepEqual(seen.toSorted(), ["first", "last", "odd", "odd", "odd"]);
});

test("mistakes are told at once", async (t) => {
  const { host, gateway } = await setting(t);
  const ignore = (): void => undefined;
  await assert.rejects(
    gateway.consume(PluginInstalled, { durable: "others" }, ignore),
    /policy names no durable consumer/,
  );
  await assert.rejects(host.consume(PluginInstalled, { durable }, ignore), /policy names no durable consumer/);
  await assert.rejects(gateway.consume(PluginInstalled, { durable, maxDeliver: 0 }, ignore), /maxDeliver must be/);
  await assert.rejects(gateway.consume(PluginInstalled, { durable, concurrency: 1.5 }, ignore), /concurrency must be/);
  await assert.rejects(gateway.consumePattern("system.>", { durable }, ignore), /No event that is kept matches/);
  await assert.rejects(gateway.consumePattern("plugin.>.x", { durable }, ignore), /is no pattern/);
});
