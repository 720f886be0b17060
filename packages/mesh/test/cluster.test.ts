import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { setTimeout } from "node:timers/promises";
import { jetstreamManager } from "@nats-io/jetstream";
import { jsonCodec, type Kv, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import {
  natsServerVersion,
  startNatsCluster,
  type TestNatsCluster,
  type TestNatsNode,
  waitUntil,
} from "@warren/testing";
import { assertSafeReplicas } from "../src/state/jetstream.ts";
import { rawConnection } from "./raw.ts";
import { Load } from "./load.ts";
import { noStreams, streamingContract, StreamingDefinition, type StreamingHandlers } from "./streaming-contract.ts";
import { codeOf, serveSecrets } from "./support.ts";

const CALLERS = 128;
/** How often a replica goes and another comes. */
const REMOVALS = 30;
/** Replicas that come, and then replicas that go, at the same time. */
const AT_ONCE = 3;
/** Calls between two removals: more for a long test. */
const CALLS_EACH = process.env["WARREN_SOAK"] ? 5000 : 500;

/** Servers, callers at one of them, and replicas at the others: all that is said crosses from server to server. */
async function scene(t: TestContext, size: number) {
  const nats = await startNatsCluster(t, size);
  // As between machines: what one server knows of another's subscriptions is always a little old.
  nats.delayRoutes(5);
  const at = (index: number) => ({ servers: [nats.urls[index % size] as string], contractOf: streamingContract });
  const gateway = await nats.connect("gateway", at(0));
  const comeAndGo = async (service: string, serve: (mesh: Mesh) => Promise<void>, between: () => Promise<void>) => {
    const replica = async (index: number): Promise<Mesh> => {
      const mesh = await nats.connect(service, at(1 + (index % 2)));
      await serve(mesh);
      return mesh;
    };
    const some = (from: number): Promise<Mesh[]> =>
      Promise.all(Array.from({ length: AT_ONCE }, (_, i) => replica(from + i)));
    let current = await some(0);
    const go = async (): Promise<void> => {
      for (let gone = 0; gone < REMOVALS; gone += AT_ONCE) {
        const next = await some(gone + AT_ONCE);
        await between();
        await Promise.all(
          current.map(async (leaving) => {
            await leaving.drain();
            await leaving.close();
          }),
        );
        current = next;
      }
    };
    return go;
  };
  return { gateway, comeAndGo };
}

for (const size of [1, 3]) {
  const removals = `${REMOVALS} replicas that go and ${REMOVALS} that come, with ${size} NATS server(s),`;

  test(`${removals} lose no call of ${CALLERS} callers`, async (t) => {
    const { gateway, comeAndGo } = await scene(t, size);
    let ran = 0;
    let load: Load | undefined;
    const handlers = {
      getSecret: async ({ name }: { name: string }) => {
        ran += 1;
        // Long enough that nearly all callers' calls are in flight when a replica goes.
        await setTimeout(20);
        return { name };
      },
    };
    const go = await comeAndGo(
      "secrets",
      (mesh) => serveSecrets(mesh, handlers),
      async () => load?.more(CALLS_EACH),
    );
    const secrets = gateway.client(SecretsServiceDefinition);
    load = new Load(t, CALLERS, () => secrets.getSecret({ name: "a" }));
    await go();
    await load.stop();
    assert.deepEqual(load.failures, []);
    assert.equal(ran, load.calls, "each call ran once");
    assert.ok(load.calls >= (REMOVALS / AT_ONCE) * CALLS_EACH);
  });

  test(`${removals} neither lose nor repeat a frame of ${CALLERS} streams, which go on elsewhere`, async (t) => {
    const { gateway, comeAndGo } = await scene(t, size);
    const state = { opened: 0, frames: 0, running: true };
    t.after(() => void (state.running = false));
    const handlers: StreamingHandlers = {
      ...noStreams,
      async *count(_, ctx) {
        state.opened += 1;
        let at = Number(ctx.resumeFrom ?? 0);
        ctx.resumable(() => String(at));
        while (!ctx.signal.aborted) {
          // In clusters, so that some frames travel together.
          for (let i = 0; i < 3; i++) yield { sequence: ++at };
          await setTimeout(50, undefined, { signal: ctx.signal }).catch(() => undefined);
        }
      },
    };
    const go = await comeAndGo(
      "agent",
      (mesh) => mesh.serve(StreamingDefinition, handlers),
      async () => {
        const seen = state.frames;
        await waitUntil("more frames", 20_000, () => state.frames >= seen + CALLS_EACH || undefined);
      },
    );
    const agent = gateway.client(StreamingDefinition);
    const readers = Array.from({ length: CALLERS }, async () => {
      let last = 0;
      for await (const { sequence } of agent.count({ message: "a" }, { timeoutMs: 100_000 })) {
        assert.equal(sequence, last + 1);
        last = sequence;
        state.frames += 1;
        if (!state.running) break;
      }
    });
    const reading = Promise.allSettled(readers);
    await go();
    state.running = false;
    const failed = (await reading).filter((each) => each.status === "rejected");
    assert.deepEqual(failed, []);
    assert.ok(state.opened > 3 * CALLERS, `${state.opened} streams were opened for ${CALLERS} readers`);
  });
}

/** Whether the server at hand keeps state on several servers; else the test is skipped, and says why. */
function keepsReplicas(t: TestContext): boolean {
  try {
    assertSafeReplicas(natsServerVersion(), 3);
    return true;
  } catch (error) {
    t.skip((error as RpcError).message);
    return false;
  }
}

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
        // Longer than those who lost: each has its turn, and the servers beside this process have time, too.
        await setTimeout(20);
      } catch (error) {
        if (!(error instanceof RpcError)) throw error;
        await setTimeout(5);
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

/** One winner for each revision: no two writers were told that they replaced the same one. */
function assertOneWinnerEach({ wins }: Contest): void {
  for (const [revision, values] of wins)
    assert.equal(values.length, 1, `revision ${revision} was replaced by ${values.join(" and ")}`);
}

async function cutOff(t: TestContext, how: "broken" | "silent"): Promise<void> {
  const nats = await startNatsCluster(t, 3);
  const writers = await contest(t, nats);
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
  await Promise.all([0, 1, 2].map((writer) => writers.winOf(writer, 60_000)));
  await callFrom(caught);

  cut.isolate(how);
  // Nobody waits for a deadline: there is an answer by the replica on one's own side, or an error in seconds.
  for (const mesh of [caught, free]) {
    const started = performance.now();
    await waitUntil("an answer", 25_000, async () => (await codeOf(callFrom(mesh))) === StatusCode.OK || undefined);
    assert.ok(performance.now() - started < 25_000);
  }
  // The two others elect a leader and go on.
  await writers.winOf(outside, 60_000);
  const answers = new Set<string>();
  await waitUntil("calls by the reachable replica only", 30_000, async () => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => callFrom(free)));
    for (const result of results) if (result.status === "fulfilled") answers.add(result.value.value);
    return results.every(({ status }) => status === "fulfilled") || undefined;
  });
  assert.deepEqual([...answers], [replicas[1]?.instanceId]);
  // The cut server cannot decide alone, whatever it believes.
  const seen = writers.wins.size;
  await waitUntil("more wins", 60_000, () => writers.wins.size > seen + 20 || undefined);

  cut.rejoin();
  await nats.ready();
  await Promise.all([0, 1, 2].map((writer) => writers.winOf(writer, 60_000)));
  await writers.end();
  assertOneWinnerEach(writers);
  assert.ok(writers.wins.size > 20);
}

async function dies(t: TestContext): Promise<void> {
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
  await writers.winOf(nats.nodes.indexOf(others[0] as TestNatsNode), 60_000);
  await dying.start();
  await nats.ready();
  await Promise.all([0, 1, 2].map((writer) => writers.winOf(writer, 60_000)));
  await writers.end();
  assertOneWinnerEach(writers);
}

/** On a machine that has much else to do elections take their time; waits for each single step are bounded, too. */
const PATIENCE_MS = 200_000;

// Side by side: most of their time servers wait for one another's silence before they elect a leader.
test("when a server of a cluster", { concurrency: true, timeout: PATIENCE_MS }, async (t) => {
  if (!keepsReplicas(t)) return;
  const patient = { timeout: PATIENCE_MS };
  await Promise.all([
    t.test("is cut off from the others by a link that breaks", patient, (each) => cutOff(each, "broken")),
    t.test("is cut off from the others by a link that falls silent", patient, (each) => cutOff(each, "silent")),
    t.test("dies, its clients go on at another, and so does their state", patient, dies),
  ]);
});

test("replicated state is refused on a server that would let two writers win", async () => {
  for (const version of ["2.9.10", "2.9.25", "2.10.18", undefined])
    assert.throws(() => assertSafeReplicas(version, 3), { code: StatusCode.FAILED_PRECONDITION }, version);
  for (const version of ["2.10.19", "2.11.0-RC.1", "2.15.2", "3.0.0"]) assertSafeReplicas(version, 3);
  assertSafeReplicas("2.9.10", 1);
});
