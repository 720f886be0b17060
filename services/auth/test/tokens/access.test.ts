import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { it } from "node:test";
import { decodeProtectedHeader, jwtVerify } from "jose";
import { createAccessTokens } from "../../src/tokens/access.ts";
import { testClock } from "../support/clock.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const clock = testClock();
const issue = createAccessTokens({ currentKey: async () => ({ kid: "key-1", privateKey }), clock: clock.now });
const grant = {
  deviceId: "device-1",
  scopes: ["chat", "plugins:read"],
  tenant: "default",
  family: "family-1",
  thumbprint: "thumb",
};

it("says who may do what, until when, and with which key", async () => {
  const token = await issue(grant);
  const { payload, protectedHeader } = await jwtVerify(token, createPublicKey(privateKey), {
    algorithms: ["EdDSA"],
    issuer: "warren",
    audience: "warren",
    currentDate: new Date(clock.now()),
  });
  assert.deepEqual(protectedHeader, { alg: "EdDSA", typ: "at+jwt", kid: "key-1" });
  const { jti, iat, exp, ...claims } = payload;
  assert.deepEqual(claims, {
    iss: "warren",
    aud: "warren",
    sub: "device:device-1",
    scope: "chat plugins:read",
    tenant: "default",
    sid: "family-1",
    cnf: { jkt: "thumb" },
  });
  assert.equal(iat, Math.floor(clock.now() / 1000));
  assert.equal((exp ?? 0) - (iat ?? 0), 600);
  assert.match(jti ?? "", /^[0-9a-f-]{36}$/);
});

it("gives every token a name of its own", async () => {
  const names = await Promise.all([issue(grant), issue(grant)]);
  assert.notEqual(names[0], names[1]);
  assert.equal(decodeProtectedHeader(names[0] ?? "").kid, "key-1");
});

it("makes tokens that end after ten minutes", async () => {
  const token = await issue(grant);
  const late = new Date(clock.now() + 601_000);
  await assert.rejects(jwtVerify(token, createPublicKey(privateKey), { currentDate: late }), {
    code: "ERR_JWT_EXPIRED",
  });
});
