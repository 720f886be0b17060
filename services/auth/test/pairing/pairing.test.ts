import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { test } from "node:test";
import type { RpcError } from "@warren/mesh";
import { startNats } from "@warren/testing";
import { createAttemptCounter, FLEET_BACKOFF, NETWORK_BACKOFF } from "../../src/pairing/backoff.ts";
import { parseDeviceKey } from "../../src/pairing/device-key.ts";
import {
  createPairings,
  MAX_ATTEMPTS,
  MAX_WAITING,
  PAIRING_MS,
  type PairingProof,
  PairingRefusal,
  type Pairings,
  type RefusalReason,
} from "../../src/pairing/pairing.ts";
import { createSealer } from "../../src/seal.ts";
import { type AuthStores, openStores } from "../../src/stores.ts";
import { testClock } from "../support/clock.ts";
import { newDevice } from "../support/device.ts";
import { withCode } from "../support/errors.ts";
import { apart, failing } from "../support/stores.ts";

const ADDRESS = "203.0.113.5";
const WRONG_CODE = "22222222";

function build(stores: AuthStores, clock: () => number, secret: Uint8Array): Pairings {
  const counter = { kv: stores.attempts, clock };
  return createPairings({
    factor: { judge: async () => undefined },
    factorPolicy: "enabled",
    kv: stores.pairings,
    networks: createAttemptCounter({ ...counter, prefix: "network", policy: NETWORK_BACKOFF }),
    fleet: createAttemptCounter({ ...counter, prefix: "fleet", policy: FLEET_BACKOFF }),
    sealer: createSealer(secret, "pairing-code"),
    clock,
  });
}

const refused = (why: RefusalReason) => (error: unknown) => error instanceof PairingRefusal && error.why === why;

test("pairing", async (t) => {
  const nats = await startNats(t);
  const [one, two] = await Promise.all(
    [nats.connect("auth"), nats.connect("auth")].map(async (mesh) => openStores(await mesh)),
  );
  assert.ok(one && two);

  /** Two replicas over the same state, a device, and a pairing that it has started. */
  const begin = async (wrap: (stores: AuthStores) => AuthStores = (stores) => stores) => {
    const name = randomUUID();
    const clock = testClock();
    const secret = randomBytes(32);
    const stores = wrap(apart(one, name));
    const pairings = build(stores, clock.now, secret);
    const replica = build(apart(two, name), clock.now, secret);
    const device = newDevice();
    const start = (address = ADDRESS) =>
      pairings.start({ deviceName: "Laptop", key: parseDeviceKey(device.publicKey), scopes: ["chat"], address });
    const { record, code } = await start();
    const proof = (typed = code): PairingProof => ({
      id: record.id,
      code: typed,
      signature: device.prove(record.challenge, typed, record.id),
      address: ADDRESS,
    });
    return { clock, secret, stores, pairings, replica, device, record, code, proof, start };
  };
  const afterBackoff = 60_000;

  await t.test("is completed by the code and the device's signature, on any replica", async () => {
    const { replica, proof, record } = await begin();
    const completed = await replica.complete(proof());
    assert.deepEqual(completed, {
      ...completed,
      id: record.id,
      state: "completed",
      deviceName: "Laptop",
      scopes: ["chat"],
    });
  });

  await t.test("takes the code as people type it", async () => {
    const { pairings, proof, code } = await begin();
    await pairings.complete({ ...proof(), code: `${code.slice(0, 4).toLowerCase()} - ${code.slice(4)}` });
  });

  await t.test("shows the operator the code, and the data folder nothing of it", async () => {
    const { replica, stores, record, code } = await begin();
    assert.deepEqual(
      (await replica.waiting()).map((each) => [each.record.id, each.code]),
      [[record.id, code]],
    );
    assert.ok(!JSON.stringify(await stores.pairings.entries()).includes(code));
  });

  await t.test("works once", async () => {
    const { clock, pairings, proof } = await begin();
    await pairings.complete(proof());
    clock.advance(afterBackoff);
    await assert.rejects(pairings.complete(proof()), refused("used"));
    assert.deepEqual(await pairings.waiting(), []);
  });

  await t.test("ends after five minutes", async () => {
    const { clock, pairings, proof } = await begin();
    clock.advance(PAIRING_MS - 1);
    assert.equal((await pairings.waiting()).length, 1);
    clock.advance(1);
    assert.deepEqual(await pairings.waiting(), []);
    await assert.rejects(pairings.complete(proof()), refused("expired"));
  });

  await t.test(
    "refuses a wrong code, another key, another pairing's signature, and an id that was made up",
    async () => {
      const { clock, pairings, proof, record, code } = await begin();
      const stranger = newDevice();
      const wrong: [RefusalReason, PairingProof][] = [
        ["wrong_code", proof(WRONG_CODE)],
        ["wrong_code", { ...proof(), code: "" }],
        ["wrong_signature", { ...proof(), signature: stranger.prove(record.challenge, code, record.id) }],
        ["wrong_signature", { ...proof(), signature: proof(WRONG_CODE).signature }],
        ["unknown", { ...proof(), id: "0".repeat(32) }],
      ];
      const answers = new Set<string>();
      for (const [why, each] of wrong) {
        await assert.rejects(pairings.complete(each), (error: RpcError) => {
          answers.add(JSON.stringify([error.code, error.message, error.details]));
          return refused(why)(error);
        });
        clock.advance(afterBackoff - 1000);
      }
      assert.equal(answers.size, 1, "whoever guesses is told the same whatever was wrong");
    },
  );

  await t.test("makes the next attempt wait: 1, 2, 4, 8 s", async () => {
    const { clock, pairings, replica, proof } = await begin();
    for (const wait of [1000, 2000, 4000, 8000]) {
      await assert.rejects(pairings.complete(proof(WRONG_CODE)), refused("wrong_code"));
      clock.advance(wait - 1);
      await assert.rejects(replica.complete(proof()), (error: RpcError) => {
        assert.ok(withCode("RESOURCE_EXHAUSTED")(error));
        return error.details.retryAfterMs === 1;
      });
      clock.advance(1);
    }
    await replica.complete(proof());
  });

  await t.test("is locked after five attempts, also for the right code", async () => {
    const { clock, pairings, proof } = await begin();
    for (let i = 0; i < MAX_ATTEMPTS; i++) {
      await assert.rejects(pairings.complete(proof(WRONG_CODE)), refused("wrong_code"));
      clock.advance(20_000);
    }
    await assert.rejects(pairings.complete(proof()), refused("locked"));
    assert.deepEqual(await pairings.waiting(), []);
  });

  await t.test("succeeds once of 100 right attempts at the same time, over two replicas", async () => {
    const { pairings, replica, proof } = await begin();
    const attempts = Array.from({ length: 100 }, (_, i) => (i % 2 ? pairings : replica).complete(proof()));
    const outcomes = await Promise.allSettled(attempts);
    assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
    for (const outcome of outcomes)
      if (outcome.status === "rejected")
        assert.ok(
          withCode("RESOURCE_EXHAUSTED")(outcome.reason) || refused("used")(outcome.reason),
          String(outcome.reason),
        );
  });

  await t.test("succeeds once even where no backoff parts the attempts", async () => {
    const { clock, secret, stores, proof } = await begin();
    // Each look at the clock is 9 s after the last: no attempt is too early for the one before.
    const leaping = () => {
      clock.advance(9000);
      return clock.now();
    };
    const expiresLate = {
      ...stores,
      pairings: {
        ...stores.pairings,
        get: async (key: string) => {
          const entry = await stores.pairings.get(key);
          return entry && { ...entry, value: { ...entry.value, expiresAt: Number.MAX_SAFE_INTEGER } };
        },
      },
    };
    const hurried = build(expiresLate, leaping, secret);
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => hurried.complete(proof())));
    const winners = outcomes.filter(({ status }) => status === "fulfilled");
    assert.equal(winners.length, 1);
    const record = (await stores.pairings.get(`pairing.${proof().id}`))?.value;
    assert.equal(record?.state, "completed");
    assert.ok(record.attempts <= MAX_ATTEMPTS);
  });

  await t.test("counts an attempt before it judges it: a crash in between costs one", async () => {
    let store: ReturnType<typeof failing<never>> | undefined;
    const { clock, pairings, replica, proof, stores } = await begin((real) => {
      const pairing = failing(real.pairings);
      store = pairing as typeof store;
      return { ...real, pairings: pairing };
    });
    store?.failNext("update", "after"); // The claim is written; nothing after it happens.
    await assert.rejects(pairings.complete(proof()), withCode("UNAVAILABLE"));
    assert.equal((await stores.pairings.get(`pairing.${proof().id}`))?.value.attempts, 1);
    clock.advance(afterBackoff);
    await replica.complete(proof());
    clock.advance(afterBackoff);
    await assert.rejects(replica.complete(proof()), refused("used"));
  });

  await t.test("is spent when the process dies while it completes it: no second attempt succeeds", async () => {
    const { clock, pairings, replica, proof } = await begin((real) => ({
      ...real,
      pairings: dyingAtCompletion(real.pairings),
    }));
    await assert.rejects(pairings.complete(proof()), withCode("UNAVAILABLE"));
    for (const other of [replica, pairings]) {
      clock.advance(afterBackoff);
      await assert.rejects(other.complete(proof()), refused("used"));
    }
  });

  await t.test("slows down a network that guesses at many pairings, and no other", async () => {
    const { clock, pairings, start, device, proof } = await begin();
    for (let i = 0; i <= NETWORK_BACKOFF.free; i++) {
      const { record } = await start(`198.51.100.${i}`);
      const signature = device.prove(record.challenge, WRONG_CODE, record.id);
      const guess = { id: record.id, code: WRONG_CODE, signature, address: "192.0.2.66" };
      await assert.rejects(pairings.complete(guess), refused("wrong_code"));
    }
    await assert.rejects(pairings.complete({ ...proof(), address: "192.0.2.66" }), withCode("RESOURCE_EXHAUSTED"));
    await pairings.complete({ ...proof(), address: "192.0.2.67" });
    clock.advance(1000);
    await assert.rejects(pairings.complete({ ...proof(), address: "192.0.2.66" }), refused("used"));
  });

  await t.test("counts guessed ids like guessed codes", async () => {
    const { pairings, proof } = await begin();
    for (let i = 0; i <= NETWORK_BACKOFF.free; i++)
      await assert.rejects(pairings.complete({ ...proof(), id: `${i}`.padStart(32, "f") }), refused("unknown"));
    await assert.rejects(pairings.complete(proof()), withCode("RESOURCE_EXHAUSTED"));
  });

  await t.test("does not let one network fill the operator's list", async () => {
    const { clock, pairings, start } = await begin();
    for (let i = 1; i < MAX_WAITING.perNetwork; i++) await start();
    await assert.rejects(start(), withCode("RESOURCE_EXHAUSTED"));
    await start("203.0.113.6");
    clock.advance(PAIRING_MS);
    await start();
    assert.equal((await pairings.waiting()).length, 1);
  });

  await t.test("cannot be completed, not even with an empty code, once its code no longer opens", async () => {
    const { clock, stores, proof } = await begin();
    const successor = build(stores, clock.now, randomBytes(32));
    assert.deepEqual(await successor.waiting(), []);
    await assert.rejects(successor.complete({ ...proof(""), code: "--" }), refused("wrong_code"));
    clock.advance(afterBackoff);
    await assert.rejects(successor.complete(proof()), refused("wrong_code"));
  });
});

/** A bucket whose process dies just after it has marked a pairing as completed. */
function dyingAtCompletion(store: AuthStores["pairings"]): AuthStores["pairings"] {
  const dying = failing(store);
  return {
    ...dying,
    update(key, value, revision) {
      if (value.state === "completed") dying.failNext("update", "after");
      return dying.update(key, value, revision);
    },
  };
}
