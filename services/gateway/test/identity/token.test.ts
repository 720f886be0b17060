import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { test } from "node:test";
import { Unauthenticated } from "../../src/identity/identity.ts";
import { CredentialVerifier } from "../../src/identity/credentials.ts";
import { DpopVerifier } from "../../src/identity/dpop.ts";
import { JwtVerifier } from "../../src/identity/jwt.ts";
import { Lru } from "../../src/identity/lru.ts";
import { SessionVerifier } from "../../src/identity/sessions.ts";
import { ProofMemory } from "../../src/identity/used-proofs.ts";
import { Authenticator } from "../../src/identity/token.ts";
import { exportJWK, generateKeyPair } from "jose";
import { accessToken } from "../support.ts";

function bearing(token: string): IncomingMessage {
  return {
    headers: { authorization: `Bearer ${token}` },
    rawHeaders: ["Authorization", `Bearer ${token}`],
  } as unknown as IncomingMessage;
}

async function setUp() {
  const { publicKey, privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const keys = new Map([["k", { jwk: await exportJWK(publicKey), notBefore: 0 }]]);
  const lookups: string[] = [];
  const watched = { get: (kid: string) => (lookups.push(kid), keys.get(kid)) };
  const revoked = new Map<string, object>();
  let now = Date.now();
  const clock = (): number => now;
  const authenticator = new Authenticator({
    jwt: new JwtVerifier(watched, clock),
    credentials: new CredentialVerifier(new Map(), clock),
    revocations: revoked,
    sessions: new SessionVerifier(new Map(), clock),
    dpop: new DpopVerifier({ used: new ProofMemory(clock), now: clock }),
    now: clock,
  });
  const token = await accessToken({ kid: "k", privateKey });
  return { authenticator, token, lookups, keys, revoked, pass: (milliseconds: number) => (now += milliseconds) };
}

test("a token is verified once, however often it comes, until it ends", async () => {
  const { authenticator, token, lookups, pass } = await setUp();
  for (let i = 0; i < 5; i++) {
    const identity = await authenticator.authenticate(bearing(token));
    assert.partialDeepStrictEqual(identity, {
      principal: "device:d1",
      device: "d1",
      tenant: "default",
      scopes: ["chat", "sessions:read"],
    });
  }
  assert.deepEqual(lookups, ["k"]);
  pass(61_000);
  await assert.rejects(authenticator.authenticate(bearing(token)), Unauthenticated);
});

test("a revocation holds for a token that is remembered", async () => {
  const { authenticator, token, revoked } = await setUp();
  await authenticator.authenticate(bearing(token));
  revoked.set("d1", {});
  await assert.rejects(authenticator.authenticate(bearing(token)), Unauthenticated);
});

test("a key that is withdrawn while a token is being verified leaves nothing remembered", async () => {
  const { authenticator, token, keys, lookups } = await setUp();
  const verifying = authenticator.authenticate(bearing(token));
  keys.delete("k");
  authenticator.forget();
  await verifying;
  await assert.rejects(authenticator.authenticate(bearing(token)), Unauthenticated);
  assert.deepEqual(lookups, ["k", "k"]);
});

test("what was used least recently is forgotten first", () => {
  const lru = new Lru<number>(2);
  lru.set("a", 1);
  lru.set("b", 2);
  lru.get("a");
  lru.set("c", 3);
  assert.deepEqual([lru.get("a"), lru.get("b"), lru.get("c"), lru.size], [1, undefined, 3, 2]);
});
