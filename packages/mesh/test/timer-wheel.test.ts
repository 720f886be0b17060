import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import * as fc from "fast-check";
import { deadlineWithin, now, remainingMs } from "../src/deadline.ts";
import { TimerWheel, type WheelTimer } from "../src/timer-wheel.ts";

fc.configureGlobal({ seed: 20_260_107 });

const TICK_MS = 5;

/** A wheel whose time is the test's: `pass` lets it go by, in steps of one real timer's call. */
function fakeWheel(t: TestContext, start = 1000) {
  t.mock.timers.reset();
  t.mock.timers.enable({ apis: ["setInterval"] });
  let time = start;
  const wheel = new TimerWheel(TICK_MS, () => time);
  const pass = (ms: number): void => {
    const end = time + ms;
    while (time < end) {
      const step = Math.min(1, end - time);
      time += step;
      t.mock.timers.tick(step);
    }
  };
  /** The process does nothing for so long: its timers come late, all at once. */
  const freeze = (ms: number): void => {
    time += ms;
    t.mock.timers.tick(TICK_MS);
  };
  return { wheel, pass, freeze, time: () => time };
}

test("a deadline is never early and at most two ticks late: one of the wheel's, one of the real timer's", (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 4000 }), { minLength: 1, maxLength: 200, size: "max" }),
      fc.nat({ max: 9 }),
      (waits, offset) => {
        const { wheel, pass, time } = fakeWheel(t, 1000 + offset / 2);
        const fired: { deadline: number; at: number }[] = [];
        for (const wait of waits) {
          const deadline = time() + wait / 10;
          wheel.at(deadline, () => fired.push({ deadline, at: time() }));
        }
        pass(400 + 3 * TICK_MS);
        assert.equal(fired.length, waits.length);
        for (const { deadline, at } of fired) {
          assert.ok(at >= deadline, `${deadline} came at ${at}`);
          assert.ok(at <= deadline + 2 * TICK_MS, `${deadline} came at ${at}`);
        }
      },
    ),
    { numRuns: 50 },
  );
});

test("a deadline that is cleared never comes, the others do", (t) => {
  const { wheel, pass, time } = fakeWheel(t);
  const fired: number[] = [];
  const timers = Array.from({ length: 1000 }, (_, i) => wheel.at(time() + (i % 50), () => fired.push(i)));
  timers.forEach((timer, i) => {
    if (i % 3 === 0) timer.clear();
  });
  pass(100);
  assert.deepEqual(
    fired.toSorted((a, b) => a - b),
    timers.map((_, i) => i).filter((i) => i % 3 !== 0),
  );
});

test("a deadline that has passed comes at the next tick, on a wheel that stands or turns", (t) => {
  const { wheel, pass } = fakeWheel(t);
  const fired: string[] = [];
  wheel.at(0, () => fired.push("on a wheel that stood"));
  wheel.at(-1000, () => fired.push("on a wheel that turned"));
  pass(3 * TICK_MS);
  assert.deepEqual(fired.length, 2);
});

test("a deadline that is set while others come is not lost, whatever it is", (t) => {
  const { wheel, pass, freeze, time } = fakeWheel(t);
  const fired: number[] = [];
  const chain = (left: number): void => {
    if (left > 0)
      wheel.at(time() - left * 1000, () => {
        fired.push(left);
        chain(left - 1);
      });
  };
  wheel.at(time() + 10, () => chain(5));
  freeze(500);
  pass(20 * TICK_MS);
  assert.deepEqual(fired, [5, 4, 3, 2, 1]);
});

test("after a pause of the whole process every deadline comes at once, in order", (t) => {
  const { wheel, freeze, time } = fakeWheel(t);
  const fired: number[] = [];
  for (const wait of [300, 100, 200]) wheel.at(time() + wait, () => fired.push(wait));
  freeze(10_000);
  assert.deepEqual(fired, [100, 200, 300]);
});

test("a stopped wheel forgets what it held, and can be used again", (t) => {
  const { wheel, pass, time } = fakeWheel(t);
  const fired: string[] = [];
  wheel.at(time() + 20, () => fired.push("before"));
  wheel.stop();
  wheel.at(time() + 40, () => fired.push("after"));
  pass(100);
  assert.deepEqual(fired, ["after"]);
});

test("on the real clock thousands of deadlines come in time, for one timer of the process", async (t) => {
  const wheel = new TimerWheel(TICK_MS);
  let early = 0;
  const timersBefore = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  // The wheel does not keep a process alive: this does.
  const alive = setInterval(() => undefined, 50);
  t.after(() => {
    wheel.stop();
    clearInterval(alive);
  });
  const all = Array.from(
    { length: 5000 },
    (_, i) =>
      new Promise<void>((resolve) => {
        const deadline = now() + (i % 100);
        wheel.at(deadline, () => {
          if (now() < deadline) early += 1;
          resolve();
        });
      }),
  );
  const kept: WheelTimer[] = Array.from({ length: 5000 }, () =>
    wheel.at(now() + 60_000, () => assert.fail("was cleared")),
  );
  const timers = process.getActiveResourcesInfo().filter((name) => name === "Timeout").length - timersBefore;
  assert.ok(timers <= 2, `${timers} timers`);
  for (const timer of kept) timer.clear();
  await Promise.all(all);
  assert.equal(early, 0);
});

test("the earlier of two deadlines counts, and time left is never negative", () => {
  fc.assert(
    fc.property(
      fc.nat({ max: 1e6 }),
      fc.option(fc.integer({ min: -1e6, max: 1e6 }), { nil: undefined }),
      (timeoutMs, ahead) => {
        const before = now();
        const given = ahead === undefined ? undefined : before + ahead;
        const deadline = deadlineWithin(timeoutMs, given);
        const after = now();
        assert.ok(deadline >= Math.min(before + timeoutMs, given ?? Infinity));
        assert.ok(deadline <= Math.min(after + timeoutMs, given ?? Infinity));
        assert.ok(remainingMs(deadline) >= 0);
      },
    ),
  );
  assert.equal(remainingMs(now() - 1), 0);
  assert.ok(remainingMs(now() + 1000) > 900);
});
