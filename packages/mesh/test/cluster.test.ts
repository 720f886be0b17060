import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { jetstreamManager } from "@nats-io/jetstream";
import { jsonCodec, type Kv, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNatsCluster, type TestNatsCluster, type TestNatsNode, waitUntil } from "@warren/testing";
import { assertSafeReplicas } from "../src/state/jetstream.ts";
import { rawConnection } from "./hostile.ts";
import { codeOf, serveSecrets } from "./support.ts";

const CALLERS = 128;
/** How often a replica goes and another comes. */
const REMOVALS = Number(process.env["WARREN_SOAK"] ? 30 : 10);
const CALLS_EACH = 500;

for (const size of [1, 3])
  test(`replicas that come and go under ${CALLERS} callers lose no call, with ${size} NATS server(s)`, async (t) => {
    const nats = await startNatsCluster(t, size);
    // As between machines: what one server knows of another's subscriptions is always a little old.
    nats.delayRoutes(5);
    const at = (index: number) => ({ servers: [nats.urls[index % size] as string] });
    // Callers at one server, replicas at the others: every call crosses from server to server.
    const gateway = await nats.connect("gateway", at(0));
    const secrets = gateway.client(SecretsServiceDefinition);
    const replica = async (index: number): Promise<Mesh> => {
      const mesh = await nats.connect("secrets", at(1 + (index % 2)));
      await serveSecrets(mesh, {
        getSecret: async ({ name }) => {
          ran += 1;
          await new Promise((resolve) => setTimeout(resolve, 1));
          return { name };
        },
      });
      return mesh;
    };
    const failures: unknown[] = [];
    let calls = 0;
    let ran = 0;
    let running = true;
    const current = [await replica(0), await replica(1)];
    const callers = Array.from({ length: CALLERS }, async () => {
      while (running) {
        calls += 1;
        await secrets.getSecret({ name: "a" }).catch((error: unknown) => failures.push(error));
      }
    });
    for (let i = 0; i < REMOVALS; i++) {
      current.push(await replica(i + 2));
      const seen = calls;
      await waitUntil("more calls", 20_000, () => (calls >= seen + CALLS_EACH ? true : undefined));
      const leaving = current.shift();
      await leaving?.drain();
      await leaving?.close();
    }
    running = false;
    await Promise.all(callers);
    assert.deepEqual(failures, []);
    assert.equal(ran, calls, "each call ran once");
    assert.ok(calls >= REMOVALS * CALLS_EACH);
  });

/** Writers at every server that all change one key by compare-and-set, and what they were told. */
class Contest {
  /** Revisions that a writer was told it had replaced, with what it wrote. */
  readonly wins = new Map<number, string[]>();
  readonly #last: number[] = [];
  readonly #writers: Promise<void>[];
  #over = false;

  constructor(buckets: readonly Kv<string>[]) {
    this.#writers = buckets.map((kv, writer) => this.#write(kv, writer));
  }

  /** Resolves when a writer has won once more. */
  async winOf(writer: number, ms: number): Promise<void> {
    const now = performance.now();
    await waitUntil(`a win of writer ${writer}`, ms, () => (this.#last[writer] ?? 0) > now || undefined);
  }

  async end(): Promise<void> {
    this.#over = true;
    await Promise.all(this.#writers);
  }

  async #write(kv: Kv<string>, writer: number): Promise<void> {
    for (let i = 0; !this.#over; i++)
      try {
        const entry = await kv.get("key");
        if (!entry) continue;
        const value = `${writer}.${i}`;
        await kv.update("key", value, entry.revision);
        this.wins.set(entry.revision, [...(this.wins.get(entry.revision) ?? []), value]);
        this.#last[writer] = performance.now();
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
  }
}

/** The server that leads the bucket's stream. */
async function leaderOf(nats: TestNatsCluster, bucket: string): Promise<TestNatsNode> {
  const raw = await rawConnection({ ...nats, url: nats.urls.join(",") }, "auth");
  try {
    const { streams } = await jetstreamManager(raw);
    return await waitUntil("a leader", 20_000, async () => {
      const name = (await streams.info(`KV_${bucket}`).catch(() => undefined))?.cluster?.leader;
      return nats.nodes.find((node) => node.name === name);
    });
  } finally {
    await raw.close();
  }
}

/** A mesh for each server, and a contest among them over one key. */
async function contest(t: TestContext, nats: TestNatsCluster): Promise<Contest> {
  const meshes = await Promise.all(nats.urls.map((url) => nats.connect("auth", { servers: [url] })));
  const buckets = await Promise.all(meshes.map((mesh) => mesh.kv("auth_devices", jsonCodec<string>())));
  await buckets[0]?.put("key", "first");
  const result = new Contest(buckets);
  t.after(() => result.end());
  return result;
}

test("when a server of a cluster is cut off from the others", async (t) => {
  const nats = await startNatsCluster(t, 3);
  const writers = await contest(t, nats);
  for (const how of ["broken", "silent"] as const)
    await t.test(`by a link that is ${how}`, async () => {
      const cut = await leaderOf(nats, "auth_devices");
      const inside = nats.nodes.indexOf(cut);
      const outside = (inside + 1) % 3;
      const at = (index: number) => ({ servers: [nats.urls[index] as string] });
      const replicas = [await nats.connect("secrets", at(inside)), await nats.connect("secrets", at(outside))];
      for (const replica of replicas)
        await serveSecrets(replica, { getSecret: async ({ name }) => ({ name, value: replica.instanceId }) });
      const [caught, free] = await Promise.all([
        nats.connect("gateway", at(inside)),
        nats.connect("plugin-host", at(3 - inside - outside)),
      ]);
      const callFrom = (mesh: Mesh) =>
        mesh.client(SecretsServiceDefinition).getSecret({ name: "a" }, { timeoutMs: 30_000 });
      await Promise.all([0, 1, 2].map((writer) => writers.winOf(writer, 20_000)));
      await callFrom(caught);

      cut.isolate(how);
      // Nobody waits for a deadline: there is an answer by the replica on one's own side, or an error in seconds.
      for (const mesh of [caught, free]) {
        const started = performance.now();
        await waitUntil("an answer", 25_000, async () => (await codeOf(callFrom(mesh))) === StatusCode.OK || undefined);
        assert.ok(performance.now() - started < 25_000);
      }
      // The two others elect a leader and go on.
      await writers.winOf(outside, 30_000);
      const answers = new Set<string>();
      await waitUntil("calls by the reachable replica only", 30_000, async () => {
        const results = await Promise.allSettled(Array.from({ length: 20 }, () => callFrom(free)));
        for (const result of results) if (result.status === "fulfilled") answers.add(result.value.value);
        return results.every(({ status }) => status === "fulfilled") || undefined;
      });
      assert.deepEqual([...answers], [replicas[1]?.instanceId]);
      // The cut server cannot decide alone, whatever it believes.
      const seen = writers.wins.size;
      await waitUntil("more wins", 20_000, () => writers.wins.size > seen + 20 || undefined);

      cut.rejoin();
      await nats.ready();
      await Promise.all([0, 1, 2].map((writer) => writers.winOf(writer, 30_000)));
      for (const mesh of [...replicas, caught, free]) await mesh.close();
    });
  await writers.end();
  for (const [revision, values] of writers.wins)
    assert.equal(values.length, 1, `revision ${revision} was replaced by ${values.join(" and ")}`);
  assert.ok(writers.wins.size > 100);
});

test("when a server of a cluster dies, its clients go on at another, and so does their state", async (t) => {
  const nats = await startNatsCluster(t, 3);
  const writers = await contest(t, nats);
  const dying = await leaderOf(nats, "auth_devices");
  const others = nats.nodes.filter((node) => node !== dying);
  // Each would rather be at the server that dies, and knows one of the others.
  const rather = (index: number) => ({ servers: [dying.url, others[index]?.url ?? ""] });
  const [server, gateway] = await Promise.all([nats.connect("secrets", rather(0)), nats.connect("gateway", rather(1))]);
  await serveSecrets(server, { getSecret: async ({ name }) => ({ name }) });
  const secrets = gateway.client(SecretsServiceDefinition);
  await secrets.getSecret({ name: "a" });
  await dying.kill();
  const started = performance.now();
  await waitUntil(
    "an answer",
    10_000,
    async () => (await codeOf(secrets.getSecret({ name: "a" }, { timeoutMs: 2000 }))) === StatusCode.OK || undefined,
  );
  assert.ok(performance.now() - started < 5000);
  await writers.winOf(nats.nodes.indexOf(others[0] as TestNatsNode), 30_000);
  await dying.start();
  await nats.ready();
  await Promise.all([0, 1, 2].map((writer) => writers.winOf(writer, 30_000)));
  await writers.end();
  for (const [revision, values] of writers.wins) assert.equal(values.length, 1, `wins over revision ${revision}`);
});

test("replicated state is refused on a server that would let two writers win", async () => {
  for (const version of ["2.9.10", "2.9.25", "2.10.18", undefined])
    assert.throws(() => assertSafeReplicas(version, 3), { code: StatusCode.FAILED_PRECONDITION }, version);
  for (const version of ["2.10.19", "2.11.0-RC.1", "2.15.2", "3.0.0"]) assertSafeReplicas(version, 3);
  assertSafeReplicas("2.9.10", 1);
});
