import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import test from "node:test";
import { startProcess } from "../src/managed-process.ts";
import { waitUntil } from "../src/wait-until.ts";
import { gone, isAlive, lineOf, startCode } from "./support.ts";

const STAY = "setInterval(() => {}, 1000);";

test("every line of both outputs is passed on with where it came from", async (t) => {
  const seen: string[] = [];
  const running = await startProcess({
    command: process.execPath,
    args: ["-e", 'console.log("one\\ntwo"); console.error("three"); process.stdout.write("no newline")'],
    env: {},
    onLine: (line, stream) => seen.push(`${stream}: ${line}`),
  });
  t.after(() => running.kill("SIGKILL"));
  assert.deepEqual(await running.ended, { code: 0, signal: null });
  await waitUntil("the last line", 2000, () => (seen.length === 4 ? true : undefined));
  assert.deepEqual(seen.toSorted(), ["stderr: three", "stdout: no newline", "stdout: one", "stdout: two"]);
});

test("a child gets the environment it is given and nothing else", async (t) => {
  const { running, lines } = await startCode(t, "console.log(JSON.stringify(Object.keys(process.env).sort()))", {
    ONLY: "this",
  });
  await running.ended;
  const names = JSON.parse(await lineOf(lines, /^\[/)) as string[];
  // Node.js itself passes on where it writes coverage.
  assert.deepEqual(
    names.filter((name) => name !== "NODE_V8_COVERAGE"),
    ["ONLY", "PATH"],
  );
});

test("a child that stops when asked ends in its own way; asking again changes nothing", async (t) => {
  const { running, lines } = await startCode(
    t,
    `process.on("SIGTERM", () => process.exit(7)); ${STAY} console.log("up")`,
  );
  await lineOf(lines, /up/);
  assert.deepEqual(await running.stop(10_000), { code: 7, signal: null });
  assert.deepEqual(await running.stop(10_000), { code: 7, signal: null });
});

test("a child that does not stop when asked is killed after its grace, not before", async (t) => {
  const { running, lines } = await startCode(
    t,
    `process.on("SIGTERM", () => console.log("heard")); ${STAY} console.log("up")`,
  );
  await lineOf(lines, /up/);
  const started = performance.now();
  const stopped = running.stop(300);
  await lineOf(lines, /heard/);
  assert.deepEqual(await stopped, { code: null, signal: "SIGKILL" });
  assert.ok(performance.now() - started >= 295);
  assert.equal(isAlive(running.pid), false);
});

test("a program that is not there is told by its name", async () => {
  const lines: string[] = [];
  const outcome = await startProcess({
    command: "/nowhere/program",
    args: [],
    env: {},
    onLine: (line) => lines.push(line),
  }).then(
    async (running) => {
      const ending = await running.ended;
      assert.notEqual(ending.code, 0);
      return lineOf(lines, /program/);
    },
    (error: Error) => error.message,
  );
  assert.match(outcome, /\/nowhere\/program/);
});

test("a child does not outlive its parent, however that ends", async (t) => {
  if (!existsSync("/usr/bin/setpriv")) return t.skip("only Linux with setpriv ends a child with its parent");
  const source = JSON.stringify(new URL("../src/managed-process.ts", import.meta.url).href);
  const child = JSON.stringify(`process.on("SIGTERM", () => {}); ${STAY} console.log("child " + process.pid)`);
  const parent = `const { startProcess } = await import(${source});
    await startProcess({ command: process.execPath, args: ["-e", ${child}], env: {}, onLine: (line) => console.log(line) });
    ${STAY}`;
  const { running, lines } = await startCode(t, parent);
  const pid = Number((await lineOf(lines, /^child \d+$/)).split(" ")[1]);
  t.after(() => isAlive(pid) && process.kill(pid, "SIGKILL"));
  assert.ok(isAlive(pid));
  running.kill("SIGKILL");
  await gone(pid);
});

test("a child with a channel sends messages, and is asked to stop when its parent is gone", async (t) => {
  const messages: unknown[] = [];
  const running = await startProcess({
    command: process.execPath,
    args: ["-e", `process.send({ type: "ready" }); process.once("disconnect", () => process.exit(3)); ${STAY}`],
    env: {},
    onLine: () => undefined,
    onMessage: (message) => messages.push(message),
  });
  t.after(() => running.kill("SIGKILL"));
  await waitUntil("the message", 5000, () => (messages.length > 0 ? true : undefined));
  assert.deepEqual(messages, [{ type: "ready" }]);
  await running.stop(5000);
});
