import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { type RpcError, StatusCode } from "@warren/mesh";
import * as fc from "fast-check";
import { Admission } from "../src/admission.ts";
import { now } from "../src/deadline.ts";
import { TimerWheel } from "../src/timer-wheel.ts";
import { codeOf } from "./support.ts";

fc.configureGlobal({ seed: 20_260_108 });

const LATER = now() + 3_600_000;

/** An admission whose timers end with the test. They do not keep a process alive: the test does. */
function admissionOf(t: TestContext, concurrency: number, queue = 1000, maxWaitMs = 600_000): Admission {
  const wheel = new TimerWheel();
  const alive = setInterval(() => undefined, 20);
  t.after(() => {
    wheel.stop();
    clearInterval(alive);
  });
  return new Admission(wheel, { concurrency, queue, maxWaitMs });
}

test("calls enter at once while there is room, then one for each that leaves, in the order they came", async (t) => {
  const admission = admissionOf(t, 2);
  const entered: number[] = [];
  const calls = Array.from({ length: 6 }, (_, i) => admission.enter(LATER).then(() => entered.push(i)));
  await Promise.all(calls.slice(0, 2));
  assert.deepEqual(entered, [0, 1]);
  for (let i = 2; i < 6; i++) {
    admission.leave();
    await calls[i];
    assert.deepEqual(entered.at(-1), i);
    assert.equal(admission.running, 2);
  }
  admission.leave();
  admission.leave();
  assert.equal(admission.running, 0);
});

test("a call whose deadline passes while it waits does not run, and its place in the queue goes to the next", async (t) => {
  const admission = admissionOf(t, 1);
  await admission.enter(LATER);
  const late = [codeOf(admission.enter(now() - 1)), codeOf(admission.enter(now() + 30))];
  const patient = admission.enter(LATER);
  assert.deepEqual(await Promise.all(late), [StatusCode.DEADLINE_EXCEEDED, StatusCode.DEADLINE_EXCEEDED]);
  admission.leave();
  await patient;
  assert.equal(admission.running, 1);
  admission.leave();
  assert.equal(admission.running, 0);
});

test("a call that waits for too long is told so before its deadline", async (t) => {
  const admission = admissionOf(t, 1, 10, 30);
  await admission.enter(LATER);
  await assert.rejects(admission.enter(LATER), (error: RpcError) => {
    assert.deepEqual([error.code, error.details.reason], [StatusCode.RESOURCE_EXHAUSTED, "QUEUE_TIME"]);
    return true;
  });
  admission.leave();
  assert.equal(admission.running, 0);
});

test("when too many wait, the next is refused with when to come again", async (t) => {
  const admission = admissionOf(t, 1, 2);
  await admission.enter(LATER);
  const waiting = [admission.enter(LATER), admission.enter(LATER)];
  assert.throws(
    () => admission.enter(LATER),
    (error: RpcError) => {
      assert.deepEqual([error.code, error.details.reason], [StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"]);
      assert.ok((error.details.retryAfterMs ?? 0) > 0);
      return true;
    },
  );
  admission.leave();
  admission.leave();
  await Promise.all(waiting);
  admission.leave();
  assert.ok(admission.tryEnter());
  assert.ok(!admission.tryEnter());
});

test("whatever comes and goes, no more run than may, none is forgotten and every place comes back", async (t) => {
  const steps = fc.array(fc.constantFrom("leave" as const, "enter" as const, "late" as const), { maxLength: 80 });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 5 }), steps, async (concurrency, sequence) => {
      const admission = admissionOf(t, concurrency);
      let running = 0;
      let settled = 0;
      const calls: Promise<void>[] = [];
      const enter = (deadline: number): void => {
        const entered = admission.enter(deadline).then(
          () => void (running += 1),
          (error: RpcError) => assert.equal(error.code, StatusCode.DEADLINE_EXCEEDED),
        );
        calls.push(entered.finally(() => (settled += 1)));
      };
      const leave = async (): Promise<void> => {
        if (running > 0) {
          running -= 1;
          admission.leave();
        }
        // Whoever was let in runs now.
        await new Promise((resolve) => setImmediate(resolve));
      };
      for (const step of sequence) {
        if (step === "enter") enter(LATER);
        else if (step === "late") enter(now() - 1);
        else await leave();
        await new Promise((resolve) => setImmediate(resolve));
        assert.ok(running <= concurrency);
        assert.equal(admission.running, running);
      }
      while (running > 0) await leave();
      assert.equal(settled, calls.length);
      assert.equal(admission.running, 0);
    }),
    { numRuns: 100 },
  );
});
