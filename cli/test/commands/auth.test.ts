import assert from "node:assert/strict";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { json, problem, sendJson, startFakeGateway } from "../support/fake-gateway.ts";
import { writeTestProfile } from "../support/profile.ts";
import { makeHome } from "../support/warren.ts";

test("a device with proofs sends one with each request, bound to its token, and never its token alone", async (t) => {
  const gateway = await startFakeGateway(t, {
    "GET /v1/session": json({ principal: "device:d1", kind: "device", scopes: [] }),
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url, { tokenType: "DPoP" });
  assert.equal((await home.warren(["auth", "status"])).code, 0);
  const headers = gateway.requests[0]?.headers;
  assert.equal(headers?.authorization, "DPoP access-1");
  const [head = "", body = ""] = String(headers?.["dpop"]).split(".");
  const read = (part: string) => JSON.parse(Buffer.from(part, "base64url").toString()) as Record<string, unknown>;
  assert.partialDeepStrictEqual(read(head), { typ: "dpop+jwt", alg: "EdDSA", jwk: { kty: "OKP" } });
  assert.ok(!("d" in (read(head)["jwk"] as object)), "the private key stays");
  assert.partialDeepStrictEqual(read(body), { htm: "GET", htu: `${gateway.url}/v1/session` });
});

test("a new key is all that stdout holds; who may not make one ends with 4", async (t) => {
  const key = { id: "k1", scopes: ["chat"], expireTime: "2030-01-01T00:00:00Z" };
  const gateway = await startFakeGateway(t, { "POST /v1/keys": json({ token: "wak_k1_secret", key }) });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const made = await home.warren(["auth", "keys", "create", "CI", "--scope", "chat", "--expires", "12h"]);
  assert.deepEqual([made.code, made.stdout], [0, "wak_k1_secret\n"]);
  assert.deepEqual(gateway.bodies("POST /v1/keys"), [{ name: "CI", scopes: ["chat"], role: "", ttlSeconds: 43_200 }]);
  const other = await startFakeGateway(t, {
    "POST /v1/keys": problem(403, "SCOPE_MISSING", "The token does not hold it"),
  });
  await writeTestProfile(home.profile, other.url);
  assert.equal((await home.warren(["auth", "keys", "create", "CI"])).code, 4);
  for (const wrong of [
    ["--expires", "soon"],
    ["--expires", "9999d"],
    ["--role", "user", "--scope", "chat"],
  ])
    assert.equal((await home.warren(["auth", "keys", "create", "CI", ...wrong])).code, 2, wrong.join(" "));
});

test("pages of the audit are joined until there is enough", async (t) => {
  const gateway = await startFakeGateway(t, {
    "GET /v1/audit": ({ query }, response) => {
      const token = query.get("pageToken");
      const denied = { action: "GET /v1/keys", outcome: "AUDIT_OUTCOME_DENIED", reason: "SCOPE_MISSING", count: 3 };
      if (!token) sendJson(response, { entries: [], nextPageToken: "a" });
      else sendJson(response, { entries: [denied], nextPageToken: token === "a" ? "b" : "" });
    },
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const shown = await home.warren(["auth", "audit", "--outcome", "denied", "--since", "1h"]);
  assert.equal(shown.code, 0);
  assert.equal(shown.stdout.match(/denied: SCOPE_MISSING ×3/g)?.length, 2);
  assert.equal(gateway.requests[0]?.query.get("outcome"), "AUDIT_OUTCOME_DENIED");
  assert.ok(Number.isFinite(Date.parse(gateway.requests[0]?.query.get("startTime") ?? "")));
});

test("a request for local recovery is a private file beside the operator's token, and needs no gateway", async (t) => {
  const home = await makeHome(t);
  const file = join(home.dataDir, "operator-token.recover");
  assert.equal((await home.warren(["auth", "recovery", "local", "--totp", "--json"])).code, 5, "no data directory");
  await mkdir(home.dataDir);
  assert.equal((await home.warren(["auth", "recovery", "local"])).code, 2);
  const asked = await home.warren(["auth", "recovery", "local", "--totp", "--json"]);
  assert.deepEqual(JSON.parse(asked.stdout), { file, end: ["totp"], done: false });
  assert.deepEqual(JSON.parse(await readFile(file, "utf8")), { end: ["totp"] });
  assert.equal((await stat(file)).mode & 0o777, 0o600);
});
