import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test, type TestContext } from "node:test";
import { Redis } from "ioredis";
import { type FaultyLink, openFaultyLink, startRedis, type TestRedis, waitUntil } from "@warren/testing";
import { type LimitOutcome, RedisLimiter } from "../../src/limits/limiter.ts";
import { parsePolicy } from "../../src/limits/policy.ts";
import { connectRedis } from "../../src/limits/redis-client.ts";
import { RedisStore } from "../../src/limits/redis-store.ts";

const subject = {
  address: "192.0.2.1",
  principal: "device:d",
  tenant: "default",
  limitClass: "chat",
  endpoint: "/v1/chat",
};
const policy = parsePolicy({
  limits: [{ name: "all", algorithm: "window", key: "global", limit: 900, period: 3600, lease: false }],
});
/** No request waits longer for the limiter, in milliseconds. */
const LONGEST_WAIT_MS = 50;

interface Rig {
  readonly limiter: RedisLimiter;
  readonly link: FaultyLink;
  readonly server: TestRedis;
  readonly lines: string[];
  /** Counts one request, and fails when it had to wait. */
  readonly ask: (guarded?: boolean) => Promise<LimitOutcome>;
}

/** @param patience More than a gateway has, for what is not about time: a busy machine pauses for longer than 20 ms. */
async function rig(t: TestContext, patience = 0): Promise<Rig> {
  const server = await startRedis(t);
  const link = await openFaultyLink(await listenOnTcp(server));
  const redis = connectRedis(`redis://127.0.0.1:${link.port}`);
  redis.on("error", () => {});
  await redis.connect();
  const store = new RedisStore(redis, patience ? { timeoutMs: patience } : {});
  await store.load();
  const lines: string[] = [];
  const note = (_fields: object, text: string): void => void lines.push(text);
  const limiter = new RedisLimiter({
    policy: () => policy,
    store,
    log: { error: note, warn: note, info: note, debug: () => {} },
    onDegraded: () => {},
    gateways: () => 3,
  });
  t.after(async () => {
    limiter.close();
    redis.disconnect();
    await link.close();
  });
  const ask = async (guarded = false): Promise<LimitOutcome> => {
    const checked = limiter.check(subject, guarded);
    const late = new Promise<"late">((resolve) => {
      // Two turns more, as a pause of a busy machine delays both sides of the race.
      setTimeout(
        () => setImmediate(() => setImmediate(() => setImmediate(() => resolve("late")))),
        LONGEST_WAIT_MS + patience,
      );
    });
    const outcome = await Promise.race([checked, late]);
    assert.notEqual(outcome, "late", `a request waited more than ${LONGEST_WAIT_MS} ms for the limiter`);
    return outcome as LimitOutcome;
  };
  await shared(ask);
  return { limiter, link, server, lines, ask };
}

/** Has a test's server listen on a port of its own as well. */
async function listenOnTcp(server: TestRedis): Promise<number> {
  const probe = createServer();
  const port = await new Promise<number>((resolve) =>
    probe.listen(0, "127.0.0.1", () => resolve((probe.address() as { port: number }).port)),
  );
  await new Promise((resolve) => probe.close(resolve));
  const admin = new Redis({ path: server.path });
  await admin.config("SET", "bind", "127.0.0.1");
  await admin.config("SET", "port", String(port));
  admin.disconnect();
  return port;
}

/** Waits until Redis decides. */
function shared(ask: Rig["ask"]): Promise<LimitOutcome> {
  return waitUntil("A decision of Redis", 15_000, async () => {
    const outcome = await ask();
    return outcome.shared ? outcome : undefined;
  });
}

/** Sees what is promised of a time without Redis. */
async function goesOnAlone({ ask, limiter }: Rig): Promise<void> {
  for (let i = 0; i < 5; i++) assert.equal((await ask()).verdict, "allowed");
  await waitUntil("The breaker", 5000, async () => (await ask(), limiter.degraded()));
  assert.equal((await ask(true)).verdict, "unavailable", "what must not go unlimited waits");
  let alone = 0;
  while ((await ask()).verdict === "allowed") alone += 1;
  // A third of 900, less what passed above.
  assert.ok(alone <= 300 && alone > 250, `${alone} passed by the local count`);
}

test("a Redis that answers after 2 s keeps nobody waiting, and is taken up again when it is quick", async (t) => {
  const one = await rig(t);
  one.link.delay(1000);
  await goesOnAlone(one);
  one.link.delay(0);
  assert.equal((await shared(one.ask)).verdict, "allowed");
  assert.deepEqual(one.lines, [
    "Redis does not answer: limits are counted by each gateway for itself; pairing and tokens wait",
    "Redis answers again: limits are shared",
  ]);
});

test("a connection that breaks, and a network that swallows everything, keep nobody waiting", async (t) => {
  const one = await rig(t);
  one.link.cut();
  await goesOnAlone(one);
  one.link.mend();
  await shared(one.ask);
  one.link.pause();
  await waitUntil("The breaker", 5000, async () => (await one.ask(), one.limiter.degraded()));
  one.link.resume();
  await shared(one.ask);
});

test("a Redis that is flushed, with its code, goes on within the same request", async (t) => {
  const { ask, server, limiter } = await rig(t, 10_000);
  const admin = new Redis({ path: server.path });
  t.after(() => admin.disconnect());
  for (let i = 0; i < 10; i++) await ask();
  await admin.flushall();
  const [after] = (await shared(ask)).decisions;
  assert.equal(after?.remaining, 899, "counters begin anew");
  await admin.call("FUNCTION", "FLUSH");
  assert.equal((await shared(ask)).decisions[0]?.remaining, 898, "the counters stay, the code comes back");
  assert.equal(limiter.degraded(), undefined);
});

test("a Redis that is restarted empty is taken up again", async (t) => {
  const one = await rig(t);
  await one.server.kill();
  await goesOnAlone(one);
  await one.server.start();
  one.link.aim(await listenOnTcp(one.server));
  await shared(one.ask);
  assert.equal((await shared(one.ask)).verdict, "allowed");
});

test("after a failover the new primary decides, with what it had been told", async (t) => {
  const { ask, link, server } = await rig(t);
  const second = await startRedis(t);
  const newPort = await listenOnTcp(second);
  const [old, next] = [new Redis({ path: server.path }), new Redis({ path: second.path })];
  t.after(() => {
    old.disconnect();
    next.disconnect();
  });
  const primary = (await old.call("CONFIG", "GET", "port")) as string[];
  await next.call("REPLICAOF", "127.0.0.1", String(portOf(primary)));
  await waitUntil(
    "The replica",
    10_000,
    async () => /master_link_status:up/.test(await next.info("replication")) || undefined,
  );
  for (let i = 0; i < 10; i++) await ask();
  const before = (await shared(ask)).decisions[0]?.remaining ?? 0;
  const offset = async (of: Redis): Promise<string | undefined> =>
    /(?:master_repl_offset|slave_repl_offset):(\d+)/.exec(await of.info("replication"))?.[1];
  await waitUntil("What was written", 5000, async () =>
    (await offset(old)) === (await offset(next)) ? true : undefined,
  );
  await next.call("REPLICAOF", "NO", "ONE");
  await old.call("REPLICAOF", "127.0.0.1", String(newPort));
  // The address leads to the new primary; the connection is still to the old one, which refuses to write.
  link.aim(newPort);
  const after = await shared(ask);
  assert.ok((after.decisions[0]?.remaining ?? 0) < before, "the count goes on");
  assert.equal(after.verdict, "allowed");
});

function portOf(answer: string[] | Record<string, string>): string {
  return Array.isArray(answer) ? (answer[1] ?? "") : (answer["port"] ?? "");
}
