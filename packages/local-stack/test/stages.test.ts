import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { Stages } from "../src/stages.ts";
import { startServiceProcess } from "../src/service-process.ts";
import { waitUntil } from "../src/wait-until.ts";
import { isAlive, startCode, temporaryFolder } from "./support.ts";

const STAY = "setInterval(() => {}, 1000)";

test("stages start together and stop the last first; the table names what runs", async (t) => {
  const tablePath = join(temporaryFolder(t), "processes.json");
  const lines: string[] = [];
  const stages = new Stages({ log: (line) => lines.push(line), tablePath });
  t.after(() => stages.stop());
  const table = (): Record<string, number> => JSON.parse(readFileSync(tablePath, "utf8")) as Record<string, number>;
  const ended: string[] = [];
  const process_ = (name: string) =>
    stages.process(name, async (onLine) => {
      const { running } = await startCode(t, STAY);
      void running.ended.then(() => ended.push(name));
      onLine("started");
      return running;
    });
  await stages.start([[process_("nats")], [process_("auth"), process_("secrets")], [process_("gateway")]]);
  const pids = table();
  assert.deepEqual(Object.keys(pids).toSorted(), ["auth", "gateway", "nats", "secrets"]);
  assert.equal(statSync(tablePath).mode & 0o777, 0o600);
  assert.ok(lines.includes("nats          | started"));
  await stages.stop();
  assert.deepEqual([ended[0], ended.slice(1, 3).toSorted(), ended[3]], ["gateway", ["auth", "secrets"], "nats"]);
  for (const pid of Object.values(pids)) assert.equal(isAlive(pid), false);
  assert.deepEqual(table(), {});
});

test("when one does not start, the first failure is told, after all have started or failed", async (t) => {
  const stages = new Stages({ log: () => undefined, tablePath: join(temporaryFolder(t), "processes.json") });
  let pid = 0;
  const good = stages.process("good", async () => {
    await new Promise((resolve) => setTimeout(resolve, 50));
    const { running } = await startCode(t, STAY);
    pid = running.pid;
    return running;
  });
  const bad = stages.process("bad", () => Promise.reject(new Error("bad has no credential")));
  await assert.rejects(stages.start([[bad], [good]]), /bad has no credential/);
  assert.ok(isAlive(pid), "what did start is there to be stopped");
  await stages.stop();
  assert.equal(isAlive(pid), false);
});

test("a service that ends before it is ready is told by its name and how it ended", async () => {
  const lines: string[] = [];
  const starting = startServiceProcess({
    service: "auth",
    env: { PATH: process.env["PATH"] },
    onLine: (line) => lines.push(line),
  });
  await assert.rejects(starting, /^Error: auth ended before it was ready \(exit code 78\); its lines above say why$/);
  await waitUntil("why", 2000, () => lines.find((line) => line.includes("WARREN_MESH_CREDENTIALS")));
});

test("a wait ends with what was looked for, with the look's own failure, or with what did not happen", async () => {
  let looks = 0;
  assert.equal(await waitUntil("three looks", 1000, () => (++looks === 3 ? looks : undefined)), 3);
  await assert.rejects(
    waitUntil("anything", 1000, () => {
      throw new Error("it broke");
    }),
    /it broke/,
  );
  await assert.rejects(
    waitUntil("The end of time", 40, () => undefined),
    /The end of time did not happen within 40 ms/,
  );
});
