import assert from "node:assert/strict";
import { test } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { createTurnLeases, type LeaseHolder } from "../../src/session/turn-lease.ts";
import { memoryBucket } from "../helpers/memory-state.ts";

const times = { refreshMs: 10, staleMs: 120 };
const never = new AbortController().signal;
const inProgress = { code: StatusCode.ABORTED, message: /turn is in progress/ };

test("one replica holds a lease at a time, and the other learns it from a refresh", async () => {
  const bucket = memoryBucket<LeaseHolder>();
  const [here, there] = ["here", "there"].map((instance) => createTurnLeases(bucket, instance, times));
  const lease = await here?.acquire("k", "t1", never);
  await assert.rejects(there?.acquire("k", "t2", never) ?? Promise.resolve(), inProgress);
  await assert.rejects(here?.acquire("k", "t3", never) ?? Promise.resolve(), inProgress);
  await lease?.release();
  await lease?.release();
  const next = await there?.acquire("k", "t4", never);
  assert.equal(bucket.values.get("k")?.value.turnId, "t4");
  await next?.release();
  assert.equal(bucket.values.size, 0);
});

test("a crashed replica's lease is taken over once nobody refreshes it", async () => {
  const bucket = memoryBucket<LeaseHolder>();
  await bucket.create("k", { instance: "dead", turnId: "t0" });
  const started = performance.now();
  const lease = await createTurnLeases(bucket, "here", times).acquire("k", "t1", never);
  assert.ok(performance.now() - started >= times.staleMs - 1);
  assert.equal(bucket.values.get("k")?.value.instance, "here");
  await lease.release();
});

test("of two that wait for a crashed replica's lease, one gets it", async () => {
  const bucket = memoryBucket<LeaseHolder>();
  await bucket.create("k", { instance: "dead", turnId: "t0" });
  const tries = ["a", "b"].map((instance) => createTurnLeases(bucket, instance, times).acquire("k", instance, never));
  const results = await Promise.allSettled(tries);
  assert.deepEqual(results.map((result) => result.status).sort(), ["fulfilled", "rejected"]);
  for (const result of results) if (result.status === "fulfilled") await result.value.release();
});

test("an instance that was started again takes its own old lease at once", async () => {
  const bucket = memoryBucket<LeaseHolder>();
  await bucket.create("k", { instance: "here", turnId: "t0" });
  const lease = await createTurnLeases(bucket, "here", { refreshMs: 10, staleMs: 3_600_000 }).acquire("k", "t1", never);
  await lease.release();
});

test("whoever loses the lease is told, and leaves the new holder's alone", async () => {
  const bucket = memoryBucket<LeaseHolder>();
  const lease = await createTurnLeases(bucket, "here", times).acquire("k", "t1", never);
  await bucket.put("k", { instance: "there", turnId: "t2" });
  await new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
  assert.ok(lease.signal.reason instanceof RpcError && lease.signal.reason.code === StatusCode.ABORTED);
  await lease.release();
  assert.equal(bucket.values.get("k")?.value.instance, "there");
});

test("a lease that vanished with its server is set up again", async () => {
  const bucket = memoryBucket<LeaseHolder>();
  const lease = await createTurnLeases(bucket, "here", times).acquire("k", "t1", never);
  bucket.values.clear();
  while (!bucket.values.has("k")) await new Promise((resolve) => setImmediate(resolve));
  assert.ok(!lease.signal.aborted);
  await lease.release();
  assert.equal(bucket.values.size, 0);
});

test("waiting for a lease ends with the caller", async () => {
  const bucket = memoryBucket<LeaseHolder>();
  await bucket.create("k", { instance: "dead", turnId: "t0" });
  const reason = new Error("the caller left");
  const waiting = createTurnLeases(bucket, "here", { refreshMs: 10, staleMs: 3_600_000 }).acquire(
    "k",
    "t1",
    AbortSignal.abort(reason),
  );
  await assert.rejects(waiting, reason);
});

test("a lease that was left is taken at once for the same turn, and by nobody else before it is stale", async () => {
  const bucket = memoryBucket<LeaseHolder>();
  const [here, there, third] = ["here", "there", "third"].map((instance) =>
    createTurnLeases(bucket, instance, { refreshMs: 10, staleMs: 60_000 }),
  );
  const left = await here?.acquire("k", "t1", never);
  await left?.leave();
  await left?.release();
  assert.equal(bucket.values.get("k")?.value.turnId, "t1");
  const other = third?.acquire("k", "t2", never) ?? Promise.resolve();
  const refused = assert.rejects(other, inProgress);
  const taken = await there?.acquire("k", "t1", never);
  assert.equal(bucket.values.get("k")?.value.instance, "there");
  await refused;
  await taken?.release();
  assert.equal(bucket.values.size, 0);
});
