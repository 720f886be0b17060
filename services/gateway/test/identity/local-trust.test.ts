import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { readLocalToken } from "../../src/identity/local-trust.ts";
import { parsePolicy } from "../../src/limits/policy.ts";
import { startGateway } from "../support.ts";

const secret = "0123456789abcdef0123456789abcdef";
const policy = parsePolicy({ limits: [{ name: "ip", algorithm: "window", key: "ip", limit: 1, period: 3600 }] });
const handlers = { agent: { listSessions: () => Promise.resolve({}) } };

function folder(t: TestContext): string {
  const made = mkdtempSync(join(tmpdir(), "warren-local-"));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  return made;
}

function tokenFile(t: TestContext, mode = 0o600, text = `${secret}\n`): string {
  const file = join(folder(t), "local-token");
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

test("a loopback address grants nothing; the secret of a private file does, unless somebody forwards", async (t) => {
  const { call } = await startGateway(t, { policy, handlers, config: { localTokenFile: tokenFile(t) } });
  const ask = async (headers: Record<string, string> = {}): Promise<number> =>
    (await call("GET", "/v1/sessions", { headers })).status;
  assert.deepEqual([await ask(), await ask()], [200, 429]);
  const local = { "x-warren-local-token": secret };
  assert.deepEqual([await ask(local), await ask(local)], [200, 200]);
  assert.equal(await ask({ "x-warren-local-token": `${secret}x` }), 429);
  assert.equal(await ask({ "x-warren-local-token": "" }), 429);
  for (const header of [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Real-IP",
    "Via",
    "CF-Connecting-IP",
    "True-Client-IP",
  ])
    assert.equal(await ask({ ...local, [header]: "127.0.0.1" }), 429, header);
  assert.equal((await call("GET", "/v1/sessions", { anonymous: true, headers: local })).status, 401, "it is no token");
});

test("without a file nobody is trusted by a secret", async (t) => {
  const { call } = await startGateway(t, { policy, handlers });
  const headers = { "x-warren-local-token": secret };
  await call("GET", "/v1/sessions", { headers });
  assert.equal((await call("GET", "/v1/sessions", { headers })).status, 429);
});

test("a secret that others can read, or that is none, keeps the gateway from starting", (t) => {
  assert.equal(readLocalToken(tokenFile(t)), secret);
  assert.throws(() => readLocalToken(tokenFile(t, 0o640)), /chmod 600/);
  assert.throws(() => readLocalToken(tokenFile(t, 0o600, "short")), /at least 32/);
});

test("the Unix socket is this user's alone, serves every route, and its callers are local unless they forward", async (t) => {
  const socket = join(folder(t), "gateway.sock");
  const { operator } = await startGateway(t, { policy, handlers, config: { socket } });
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  const ask = (headers: Record<string, string> = {}): Promise<number> =>
    new Promise((resolve, reject) => {
      const all = { host: "localhost", authorization: `Bearer ${operator}`, ...headers };
      httpRequest({ socketPath: socket, path: "/v1/sessions", headers: all, agent: false }, (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode ?? 0));
      })
        .on("error", reject)
        .end();
    });
  assert.deepEqual([await ask(), await ask(), await ask()], [200, 200, 200]);
  const forwarded = { "x-forwarded-for": "192.0.2.1" };
  assert.deepEqual([await ask(forwarded), await ask(forwarded)], [200, 429]);
});
