// What the console's cookie opens, for whom, and for how long.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test, type TestContext } from "node:test";
import { waitUntil } from "@warren/testing";
import { type AuthState, send, startGateway } from "../support.ts";
import { openSocket } from "../websocket-client.ts";

const sibling = "https://app.warren.example";
const publicUrl = "https://console.warren.example";

/** Opens a session as the auth service would. */
async function openSession({ sessions }: AuthState): Promise<{ cookie: string; revoke: () => Promise<unknown> }> {
  const id = randomBytes(8).toString("hex");
  const token = `wcs_${id}.${randomBytes(32).toString("base64url")}`;
  const now = Date.now();
  const record = {
    hash: createHash("sha256").update(token).digest("hex"),
    rotatedAt: now,
    csrfHash: createHash("sha256").update("csrf").digest("hex"),
    principal: "operator",
    tenant: "default",
    scopes: ["*"],
    lastSeenAt: now,
    idleExpiresAt: now + 60_000,
    expiresAt: now + 60_000,
  };
  await sessions.put(id, record);
  const revoke = (): Promise<unknown> => sessions.put(id, { ...record, hash: "", revokedAt: Date.now() });
  return { cookie: `__Host-warren_session=${token}`, revoke };
}

async function start(t: TestContext) {
  // Both are named: their pages may call, with tokens.
  const gateway = await startGateway(t, { config: { allowedOrigins: [sibling, publicUrl], publicUrl } });
  const session = await openSession(gateway.auth);
  const { cookie } = session;
  const ask = (headers: object) => send(`${gateway.url}/v1/limits`, "GET", { cookie, ...headers });
  await waitUntil("The watch", 10_000, async () => (await ask({})).status === 200 || undefined);
  return { ...gateway, ...session, ask };
}

test("the cookie is for the gateway's own pages: not even a named origin uses it, by request or by WebSocket", async (t) => {
  const { url, cookie, ask, operator } = await start(t);
  for (const [origin, status] of [
    [url, 200],
    [publicUrl, 200],
    [sibling, 403],
    ["https://evil.example", 403],
  ] as const)
    assert.equal((await ask({ origin })).status, status, origin);
  await assert.rejects(openSocket(t, `${url}/v1/chat`, undefined, { origin: sibling, headers: { cookie } }), /403/);
  for (const origin of [url, publicUrl])
    await openSocket(t, `${url}/v1/chat`, undefined, { origin, headers: { cookie } });
  await openSocket(t, `${url}/v1/chat`, operator, { origin: sibling });
});

test("a session that is ended ends the conversations that were opened with its cookie", async (t) => {
  const { url, cookie, revoke } = await start(t);
  const socket = await openSocket(t, `${url}/v1/chat`, undefined, { origin: url, headers: { cookie } });
  const answer = async (): Promise<unknown> => {
    socket.send("{");
    return ((await socket.next())?.["error"] as { status?: number } | undefined)?.status;
  };
  assert.equal(await answer(), 400, "judged");
  await revoke();
  await waitUntil("The refusal", 5_000, async () => (await answer()) === 401 || undefined);
});
