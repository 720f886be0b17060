import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { startStack, type TestStack, waitUntil } from "@warren/testing";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const allGone = (pids: number[]): Promise<true> =>
  waitUntil("the end of every process", 20_000, () => (pids.some(isAlive) ? undefined : true));

const hello = async (stack: TestStack): Promise<number> =>
  (await stack.request("POST", "/v1/chat", { body: { message: "Hello!" } })).status;

test("a mesh on one machine", async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "warren-life-"));
  t.after(() => rmSync(dataDir, { recursive: true, force: true }));
  const first = await startStack(t, { dataDir });
  const token = first.token;

  await t.test("runs beside another one", async () => {
    const other = await startStack(t);
    assert.notEqual(other.url, first.url);
    assert.deepEqual([await hello(first), await hello(other)], [200, 200]);
    assert.equal((await first.request("GET", "/v1/plugins", { token: other.token })).status, 401);
    assert.equal(await other.stop(), 0);
  });
  await t.test("has its data folder for itself", async () => {
    const { code, stderr } = await first.warren(["up", "--port", "0"]);
    assert.equal(code, 1);
    assert.match(stderr, /already runs/);
    assert.equal(await hello(first), 200);
  });
  await t.test("leaves no process behind when its supervisor is killed", async () => {
    const pids = Object.values(first.pids());
    assert.equal(pids.length, 7);
    process.kill(Number(readFileSync(join(dataDir, "stack.pid"), "utf8")), "SIGKILL");
    await allGone(pids);
  });
  await t.test("starts again on what is there in under 10 s, with the same token, and stops in order", async () => {
    const started = performance.now();
    const again = await startStack(t, { dataDir });
    assert.ok(performance.now() - started < 10_000);
    assert.equal(again.token, token);
    assert.equal(await hello(again), 200);
    const pids = Object.values(again.pids());
    assert.equal(await again.stop(), 0);
    await allGone(pids);
  });
});
