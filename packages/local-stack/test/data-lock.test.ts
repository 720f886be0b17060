import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { lockDataFolder } from "../src/data-lock.ts";
import { waitUntil } from "../src/wait-until.ts";
import { endProcess, gone, lineOf, startCode, temporaryFolder } from "./support.ts";

const SOURCE = JSON.stringify(new URL("../src/data-lock.ts", import.meta.url).href);

/** Code that claims a folder, says whether it could, and stays. */
function claiming(folder: string): string {
  return `const { lockDataFolder } = await import(${SOURCE});
    setInterval(() => {}, 1000);
    try { lockDataFolder(${JSON.stringify(folder)}); console.log("claimed"); } catch (error) { console.log(error.message); }`;
}

test("a folder that another process holds is refused, with whose it is and what to do", async (t) => {
  const folder = temporaryFolder(t);
  const { running, lines } = await startCode(t, claiming(folder));
  await lineOf(lines, /claimed/);
  assert.throws(
    () => lockDataFolder(folder),
    (error: Error) => {
      assert.ok(error.message.includes(folder));
      assert.ok(error.message.includes(`process ${running.pid}`));
      assert.match(error.message, /stop it, or .*WARREN_DATA_DIR/);
      return true;
    },
  );
  assert.equal(readFileSync(join(folder, "stack.pid"), "utf8"), String(running.pid));
});

test("the lock of a process that is gone is taken over", async (t) => {
  const folder = temporaryFolder(t);
  const { running, lines } = await startCode(t, claiming(folder));
  await lineOf(lines, /claimed/);
  await endProcess(running);
  await gone(running.pid);
  const unlock = lockDataFolder(folder);
  assert.equal(readFileSync(join(folder, "stack.pid"), "utf8"), String(process.pid));
  unlock();
});

test("a lock that names no process is taken over", (t) => {
  const folder = temporaryFolder(t);
  for (const text of ["", "nonsense", "0", "-1", "1.5"]) {
    writeFileSync(join(folder, "stack.pid"), text);
    lockDataFolder(folder)();
    assert.deepEqual(readdirSync(folder), [], text);
  }
});

test("given back, a folder is free, and nothing is left behind; the lock is its owner's only", (t) => {
  const folder = temporaryFolder(t);
  const unlock = lockDataFolder(folder);
  assert.deepEqual(readdirSync(folder), ["stack.pid"]);
  assert.equal(statSync(join(folder, "stack.pid")).mode & 0o777, 0o600);
  unlock();
  unlock();
  assert.equal(existsSync(join(folder, "stack.pid")), false);
  lockDataFolder(folder)();
});

test("of several that find a stale lock at the same time, one gets the folder", async (t) => {
  const folder = temporaryFolder(t);
  const stale = await startCode(t, claiming(folder));
  await lineOf(stale.lines, /claimed/);
  await endProcess(stale.running);
  await gone(stale.running.pid);
  const all = await Promise.all(Array.from({ length: 6 }, () => startCode(t, claiming(folder))));
  await waitUntil("every outcome", 10_000, () => (all.every(({ lines }) => lines.length > 0) ? true : undefined));
  const holders = all.filter(({ lines }) => lines[0] === "claimed").map(({ running }) => running.pid);
  assert.equal(holders.length, 1);
  assert.equal(readFileSync(join(folder, "stack.pid"), "utf8"), String(holders[0]));
  for (const { lines } of all) if (lines[0] !== "claimed") assert.match(lines[0] ?? "", /already runs/);
});
