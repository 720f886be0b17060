import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { calculateJwkThumbprint } from "jose";
import { startNats } from "@warren/testing";
import { createSealer } from "../../src/seal.ts";
import { type AuthStores, openStores } from "../../src/stores.ts";
import { openSigningKey, type SigningKey } from "../../src/tokens/signing-keys.ts";
import { testClock } from "../support/clock.ts";
import { withCode } from "../support/errors.ts";
import { apart, failing } from "../support/stores.ts";

const TOKEN_MS = 600_000;

test("the signing key", async (t) => {
  const nats = await startNats(t);
  const shared = await openStores(await nats.connect("auth"));
  const warnings: string[] = [];
  const open = (stores: AuthStores, secret: Uint8Array, clock = testClock()): Promise<SigningKey> =>
    openSigningKey({
      signing: stores.signing,
      publicKeys: stores.publicKeys,
      sealer: createSealer(secret, "signing-key"),
      clock: clock.now,
      log: { warn: (_, text) => void warnings.push(text) },
      tokenMs: TOKEN_MS,
    });
  const privatePart = ({ privateKey }: SigningKey): string => privateKey.export({ format: "jwk" }).d ?? "";

  await t.test("is one, of replicas that start at the same time", async () => {
    const stores = apart(shared);
    const secret = randomBytes(32);
    const keys = await Promise.all(Array.from({ length: 8 }, () => open(stores, secret)));
    assert.equal(new Set(keys.map(privatePart)).size, 1);
    assert.equal((await stores.publicKeys.entries()).length, 1);
  });

  await t.test("is the same after a restart", async () => {
    const stores = apart(shared);
    const secret = randomBytes(32);
    const before = await open(stores, secret);
    const after = await open(stores, secret);
    assert.equal(after.kid, before.kid);
    assert.equal(privatePart(after), privatePart(before));
  });

  await t.test("tells the gateway its public half alone, under its thumbprint", async () => {
    const stores = apart(shared);
    const clock = testClock();
    const key = await open(stores, randomBytes(32), clock);
    const told = (await stores.publicKeys.get(key.kid))?.value;
    assert.ok(told);
    assert.deepEqual(Object.keys(told.jwk).toSorted(), ["crv", "kty", "x"]);
    assert.equal(await calculateJwkThumbprint(told.jwk), key.kid);
    assert.deepEqual([told.notBefore, told.expiresAt], [clock.now(), undefined]);
  });

  await t.test("lies sealed", async () => {
    const stores = apart(shared);
    const key = await open(stores, randomBytes(32));
    assert.ok(!JSON.stringify(await stores.signing.entries()).includes(privatePart(key)));
  });

  await t.test(
    "gives way, with a warning, to a new one where it does not open; its tokens end with the last of them",
    async () => {
      const stores = apart(shared);
      const clock = testClock();
      const old = await open(stores, randomBytes(32), clock);
      const credentials = randomBytes(32);
      clock.advance(1000);
      warnings.length = 0;
      const fresh = await open(stores, credentials, clock);
      assert.notEqual(fresh.kid, old.kid);
      assert.equal(warnings.length, 1);
      assert.equal((await stores.publicKeys.get(old.kid))?.value.expiresAt, clock.now() + TOKEN_MS);
      assert.equal((await stores.publicKeys.get(fresh.kid))?.value.expiresAt, undefined);
      assert.equal((await open(stores, credentials, clock)).kid, fresh.kid);
    },
  );

  await t.test("is told to the gateway by the next to start when its maker died before", async () => {
    const stores = apart(shared);
    const secret = randomBytes(32);
    const publicKeys = failing(stores.publicKeys);
    publicKeys.failNext("create", "before");
    await assert.rejects(open({ ...stores, publicKeys }, secret), withCode("UNAVAILABLE"));
    assert.equal((await stores.publicKeys.entries()).length, 0);
    const key = await open(stores, secret);
    assert.ok(await stores.publicKeys.get(key.kid));
  });
});
