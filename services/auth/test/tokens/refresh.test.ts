import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { test } from "node:test";
import { startNats } from "@warren/testing";
import { openStores } from "../../src/stores.ts";
import { createRefreshTokenMint, newFamily } from "../../src/tokens/refresh-token.ts";
import { createRefreshTokens, GRACE_MS, type RefreshTokens } from "../../src/tokens/refresh.ts";
import { testClock } from "../support/clock.ts";
import { withCode } from "../support/errors.ts";
import { apart, failing } from "../support/stores.ts";

test("refresh tokens", async (t) => {
  const nats = await startNats(t);
  const all = await Promise.all(
    [nats.connect("auth"), nats.connect("auth")].map(async (mesh) => openStores(await mesh)),
  );

  /** Two replicas, and a device's first token. */
  const begin = async () => {
    const clock = testClock();
    const name = randomUUID();
    const mint = createRefreshTokenMint(randomBytes(32));
    const stores = all.map((each) => failing(apart(each, name).refresh));
    const [one, two] = stores.map((kv) => createRefreshTokens({ kv, mint, clock: clock.now }));
    const kv = stores[0];
    assert.ok(one && two && kv);
    const family = newFamily();
    return { clock, mint, kv, one, two, family, first: await one.open("device-1", family) };
  };
  const rotated = async (tokens: RefreshTokens, token: string): Promise<string> => {
    const rotation = await tokens.rotate(token);
    assert.ok(rotation.outcome === "rotated", rotation.outcome);
    return rotation.token;
  };

  await t.test("are stored as hashes alone", async () => {
    const { kv, one, first } = await begin();
    const second = await rotated(one, first);
    const stored = JSON.stringify(await kv.entries());
    for (const token of [first, second]) assert.ok(!stored.includes(token.split(".")[1] ?? ""));
  });

  await t.test("rotate at every use, on any replica", async () => {
    const { clock, one, two, family, first } = await begin();
    const seen = new Set([first]);
    let token = first;
    for (const replica of [one, two, one, two]) {
      clock.advance(600_000);
      token = await rotated(replica, token);
      seen.add(token);
    }
    assert.equal(seen.size, 5);
    assert.deepEqual(await two.rotate(token), { ...(await one.rotate(token)), deviceId: "device-1", family });
  });

  await t.test("give the same successor for 30 s: an answer may get lost", async () => {
    const { clock, one, two, first } = await begin();
    const second = await rotated(one, first);
    clock.advance(GRACE_MS);
    assert.equal(await rotated(two, first), second);
  });

  await t.test("give the same successor to 100 uses at the same time", async () => {
    const { one, two, first } = await begin();
    const successors = await Promise.all(Array.from({ length: 100 }, (_, i) => rotated(i % 2 ? one : two, first)));
    assert.equal(new Set(successors).size, 1);
  });

  await t.test("tell when the previous token is used after its 30 s", async () => {
    const { clock, one, two, family, first } = await begin();
    await rotated(one, first);
    clock.advance(GRACE_MS + 1);
    assert.deepEqual(await two.rotate(first), { outcome: "reused", deviceId: "device-1", family });
  });

  await t.test("tell when any older token is used, however soon", async () => {
    const { one, two, family, first } = await begin();
    await rotated(one, await rotated(one, first));
    assert.deepEqual(await two.rotate(first), { outcome: "reused", deviceId: "device-1", family });
  });

  await t.test("do not let a token that was made up end a family", async () => {
    const { one, family, first } = await begin();
    const forged = createRefreshTokenMint(randomBytes(32)).first(family);
    for (const token of [
      forged,
      `wrt_${family}.${"A".repeat(64)}`,
      `wrt_${newFamily()}.${"A".repeat(64)}`,
      "",
      "wrt_x.y",
    ])
      assert.deepEqual(await one.rotate(token), { outcome: "refused", why: "unknown" });
    await rotated(one, first);
  });

  await t.test("end with their family", async () => {
    const { one, two, family, first } = await begin();
    const second = await rotated(one, first);
    await two.revoke(family);
    for (const token of [first, second])
      assert.deepEqual(await one.rotate(token), { outcome: "refused", why: "revoked" });
    await one.revoke(newFamily());
  });

  await t.test("survive a crash in the middle of a rotation", async () => {
    for (const when of ["before", "after"] as const) {
      const { kv, one, two, first } = await begin();
      kv.failNext("update", when);
      await assert.rejects(one.rotate(first), withCode("UNAVAILABLE"));
      const second = await rotated(two, first);
      await rotated(two, second);
    }
  });

  await t.test("stay good when the service's credentials are replaced", async () => {
    const { clock, kv, one, family, first } = await begin();
    const second = await rotated(one, first);
    const successor = createRefreshTokens({ kv, mint: createRefreshTokenMint(randomBytes(32)), clock: clock.now });
    assert.deepEqual(
      await successor.rotate(first),
      { outcome: "refused", why: "superseded" },
      "its successor cannot be made again",
    );
    const third = await rotated(successor, second);
    clock.advance(GRACE_MS + 1);
    assert.deepEqual(await successor.rotate(second), { outcome: "reused", deviceId: "device-1", family });
    await rotated(successor, third);
  });
});
