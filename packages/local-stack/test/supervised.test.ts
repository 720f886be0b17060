import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import type { ManagedProcess } from "../src/managed-process.ts";
import { Supervised } from "../src/supervised.ts";
import { waitUntil } from "../src/wait-until.ts";
import { isAlive, startCode } from "./support.ts";

const STAY = "setInterval(() => {}, 1000)";

/** A supervised process, when it was started, and what was said of it. */
function supervise(t: TestContext, start: (attempt: number) => Promise<ManagedProcess>) {
  const starts: number[] = [];
  const said: string[] = [];
  const pids: (number | undefined)[] = [];
  const supervised: Supervised = new Supervised({
    name: "probe",
    start: () => {
      starts.push(performance.now());
      return start(starts.length);
    },
    say: (text) => said.push(text),
    onChange: () => pids.push(supervised.pid),
  });
  t.after(() => supervised.stop(0));
  return { supervised, starts, said, pids };
}

test("a process that ends by itself is started again, and whoever asks learns of it", async (t) => {
  const { supervised, starts, said, pids } = supervise(t, async () => (await startCode(t, STAY)).running);
  await supervised.start();
  const first = supervised.pid;
  assert.ok(first);
  process.kill(first, "SIGKILL");
  await waitUntil("another process", 10_000, () =>
    supervised.pid !== undefined && supervised.pid !== first ? true : undefined,
  );
  assert.equal(starts.length, 2);
  assert.deepEqual(said, ["ended by itself (SIGKILL); starting it again"]);
  assert.deepEqual(pids, [first, undefined, supervised.pid]);
});

test("one that ends again and again is started at growing intervals", async (t) => {
  const { supervised, starts, said } = supervise(t, async () => (await startCode(t, "process.exit(3)")).running);
  await supervised.start();
  await waitUntil("five starts", 20_000, () => (starts.length >= 5 ? true : undefined));
  await supervised.stop(1000);
  const waits = starts.slice(1).map((at, i) => at - (starts[i] ?? 0));
  // At once, then after 100, 200 and 400 ms, beside what a start itself takes.
  [0, 100, 200, 400].forEach((least, i) => assert.ok((waits[i] ?? 0) >= least - 2, waits.join(", ")));
  assert.match(said[0] ?? "", /exit code 3/);
});

test("a start that fails is said and tried again; the first start's failure is the caller's", async (t) => {
  const failing = supervise(t, () => Promise.reject(new Error("no such program")));
  await assert.rejects(failing.supervised.start(), /no such program/);
  assert.equal(failing.starts.length, 1);
  const { supervised, starts, said } = supervise(t, async (attempt) => {
    if (attempt === 2) throw new Error("the port is taken");
    return (await startCode(t, attempt === 1 ? "" : STAY)).running;
  });
  await supervised.start();
  await waitUntil("the third start", 10_000, () => (starts.length === 3 && supervised.pid ? true : undefined));
  assert.ok(said.includes("could not be started: the port is taken"));
});

test("stopped, it stays stopped", async (t) => {
  const { supervised, starts } = supervise(t, async () => (await startCode(t, STAY)).running);
  await supervised.start();
  const pid = supervised.pid;
  assert.ok(pid);
  await supervised.stop(5000);
  assert.equal(isAlive(pid), false);
  assert.equal(supervised.pid, undefined);
  await supervised.stop(5000);
  assert.equal(starts.length, 1);
});

test("stopped while it waits to start again, it ends at once and starts no more", async (t) => {
  const { supervised, starts, pids } = supervise(t, async () => (await startCode(t, "")).running);
  await supervised.start();
  // The sixth start comes 800 ms after the fifth.
  await waitUntil("five starts and an end", 20_000, () => (pids.length === 10 ? true : undefined));
  const started = performance.now();
  await supervised.stop(1000);
  assert.ok(performance.now() - started < 500);
  assert.equal(starts.length, 5);
});

test("stopped while it starts, what was started is stopped too", async (t) => {
  for (const again of [false, true]) {
    const gate = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const pids: number[] = [];
    const { supervised } = supervise(t, async (attempt) => {
      const { running } = await startCode(t, again && attempt === 1 ? "" : STAY);
      pids.push(running.pid);
      if (again && attempt === 1) return running;
      begun.resolve();
      await gate.promise;
      return running;
    });
    const starting = supervised.start();
    await begun.promise;
    const stopping = supervised.stop(5000);
    gate.resolve();
    await Promise.all([starting, stopping]);
    for (const pid of pids) assert.equal(isAlive(pid), false);
  }
});
