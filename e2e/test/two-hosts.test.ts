import assert from "node:assert/strict";
import test from "node:test";
import { startStack } from "@warren/testing";

const CALLERS = 32;
const CALLS = 5000;

test("of two plugin hosts, one can leave under load without failing a call", async (t) => {
  const stack = await startStack(t, { pluginHosts: 2 });
  const failures: string[] = [];
  let made = 0;
  const leaving = stack.pids()["plugin-host-1"];
  assert.ok(leaving);
  const leave = Promise.withResolvers<void>();
  const callers = Array.from({ length: CALLERS }, async () => {
    while (made < CALLS) {
      made += 1;
      if (made === CALLS / 5) leave.resolve();
      const answer = await stack.request("POST", "/v1/plugins/clock/tools/get_current_time:call", {
        body: { arguments: {} },
      });
      if (answer.status !== 200) failures.push(`${answer.status} ${answer.text}`);
    }
  });
  const before = await stack.request("GET", "/v1/plugins/clock");
  assert.equal(before.json["runningHosts"], 2);
  await leave.promise;
  process.kill(leaving, "SIGTERM");
  await Promise.all(callers);
  assert.deepEqual(failures.slice(0, 3), []);
  assert.ok(made >= CALLS);
  const spans = stack.lines.filter((line) => line.startsWith("plugin-host-1") && line.includes('"Stopped"'));
  assert.equal(spans.length, 1, "the host did not leave in order");
});
