import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { connect } from "node:net";
import test, { type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { type ProbeAnswer, serveProbes } from "@warren/service";

const PROBE = fileURLToPath(new URL("../src/probe.ts", import.meta.url));

async function build(t: TestContext, ready: () => Promise<ProbeAnswer>): Promise<number> {
  const live = (): Promise<ProbeAnswer> => Promise.resolve({ ok: true, text: "live" });
  const server = await serveProbes({
    host: "127.0.0.1",
    port: 0,
    routes: { "/health/live": live, "/health/ready": ready },
  });
  t.after(() => server.close());
  return server.port;
}

function probe(...args: readonly string[]): Promise<{ code: number | null; text: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [PROBE, ...args], (_error, text) =>
      resolve({ code: child.exitCode, text: text.trim() }),
    );
  });
}

test("a probe is answered 200 when the service is well, else 503, and never remembered", async (t) => {
  let ok = false;
  const port = await build(t, () => Promise.resolve({ ok, text: ok ? "ready" : "not ready" }));
  const before = await fetch(`http://127.0.0.1:${port}/health/ready`);
  assert.deepEqual([before.status, await before.text()], [503, "not ready\n"]);
  assert.equal(before.headers.get("cache-control"), "no-store");
  ok = true;
  assert.equal((await fetch(`http://127.0.0.1:${port}/health/ready?verbose`)).status, 200);
  assert.equal((await fetch(`http://127.0.0.1:${port}/health/live`)).status, 200);
});

test("a check that throws is 503, and its text stays inside", async (t) => {
  const port = await build(t, () => Promise.reject(new Error("password hunter2")));
  const answer = await fetch(`http://127.0.0.1:${port}/health/ready`);
  assert.deepEqual([answer.status, await answer.text()], [503, "failed\n"]);
});

test("nothing else is answered: not other paths, nor other methods", async (t) => {
  const port = await build(t, () => Promise.resolve({ ok: true, text: "ready" }));
  assert.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 404);
  assert.equal((await fetch(`http://127.0.0.1:${port}/toString`)).status, 404);
  assert.equal((await fetch(`http://127.0.0.1:${port}/health/ready`, { method: "POST" })).status, 405);
});

test("a port that is taken is named", async (t) => {
  const port = await build(t, () => Promise.resolve({ ok: true, text: "ready" }));
  await assert.rejects(serveProbes({ host: "127.0.0.1", port, routes: {} }), new RegExp(`127\\.0\\.0\\.1:${port}`));
});

test("closing does not wait for whoever holds a connection", async (t) => {
  const server = await serveProbes({ host: "127.0.0.1", port: 0, routes: {} });
  const idle = connect(server.port, "127.0.0.1");
  idle.on("error", () => undefined);
  t.after(() => idle.destroy());
  await new Promise((resolve) => idle.once("connect", resolve));
  await server.close();
});

test("the command ends with 0 when the service is well, with 1 when not, and says what it heard", async (t) => {
  let ok = true;
  const port = await build(t, () => Promise.resolve({ ok, text: ok ? "ready" : "not ready" }));
  assert.deepEqual(await probe("ready", String(port)), { code: 0, text: "ready" });
  assert.deepEqual(await probe("live", String(port)), { code: 0, text: "live" });
  ok = false;
  assert.deepEqual(await probe("ready", String(port)), { code: 1, text: "not ready" });
});

test("the command ends with 1 where nobody listens, and with 2 where it is not told what to ask", async () => {
  const server = await serveProbes({ host: "127.0.0.1", port: 0, routes: {} });
  await server.close();
  assert.equal((await probe("ready", String(server.port))).code, 1);
  assert.equal((await probe("ready")).code, 2);
  assert.equal((await probe("metrics", String(server.port))).code, 2);
});
