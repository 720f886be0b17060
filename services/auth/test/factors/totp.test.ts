import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { test } from "node:test";
import type { RpcError } from "@warren/mesh";
import { startNats } from "@warren/testing";
import { createTotp, type Totp } from "../../src/factors/totp.ts";
import { STEP_MS, stepOf, totpAt, totpUri } from "../../src/factors/totp-code.ts";
import { createSealer } from "../../src/seal.ts";
import { openStores } from "../../src/stores.ts";
import { testClock } from "../support/clock.ts";
import { withCode } from "../support/errors.ts";
import { startAuth } from "../support/harness.ts";
import { newDevice } from "../support/device.ts";
import { apart } from "../support/stores.ts";

test("passwords are those of RFC 6238, appendix B", () => {
  // The RFC's secret, "12345678901234567890", in base32; its eight digits end in these six.
  const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
  for (const [seconds, password] of [
    [59, "287082"],
    [1111111109, "081804"],
    [1234567890, "005924"],
    [20000000000, "353130"],
  ] as const)
    assert.equal(totpAt(secret, stepOf(seconds * 1000)), password);
  assert.match(totpUri(secret, "operator"), /^otpauth:\/\/totp\/Warren:operator\?.*secret=GEZDGNBV/);
});

test("the second factor", async (t) => {
  const nats = await startNats(t);
  const [one, two] = await Promise.all(
    [nats.connect("auth"), nats.connect("auth")].map(async (mesh) => openStores(await mesh)),
  );
  assert.ok(one && two);

  /** Two replicas over the same state. */
  const begin = () => {
    const name = randomUUID();
    const clock = testClock();
    const secret = randomBytes(32);
    const kv = apart(one, name).factors;
    const build = (store: typeof kv, key = secret): Totp =>
      createTotp({ kv: store, sealer: createSealer(key, "totp"), sealingKey: key, clock: clock.now });
    return { clock, kv, totp: build(kv), replica: build(apart(two, name).factors), build };
  };
  const enabled = async () => {
    const made = begin();
    const { secret } = await made.totp.enroll({});
    const password = (steps = 0): string => totpAt(secret, stepOf(made.clock.now()) + steps);
    const codes = await made.totp.verify(password());
    made.clock.advance(2 * STEP_MS);
    return { ...made, secret, password, codes };
  };
  const judge = async (totp: Totp, proof: Parameters<Totp["judge"]>[0]): Promise<boolean | undefined> =>
    (await totp.judge(proof))?.right;

  await t.test("asks for nothing until its set-up is complete", async () => {
    const { totp, clock } = begin();
    assert.equal(await totp.judge({ totp: "000000" }), undefined);
    const { secret } = await totp.enroll({});
    assert.equal(await totp.judge({ totp: totpAt(secret, stepOf(clock.now())) }), undefined);
    assert.partialDeepStrictEqual(await totp.status(), { enabled: false, pending: true });
    await assert.rejects(totp.verify("000000"), withCode("PERMISSION_DENIED"));
    const codes = await totp.verify(totpAt(secret, stepOf(clock.now())));
    assert.equal(new Set(codes).size, 10);
    assert.partialDeepStrictEqual(await totp.status(), { enabled: true, pending: false, recoveryCodesLeft: 10 });
    await assert.rejects(totp.verify("000000"), withCode("FAILED_PRECONDITION"));
  });

  await t.test("takes a password once, and none from before it, on any replica", async () => {
    const { totp, replica, password, clock } = await enabled();
    const proof = { totp: password() };
    const [a, b] = [await totp.judge(proof), await replica.judge(proof)];
    assert.ok(a?.right && b?.right);
    const spent = await Promise.all([a.spend(), b.spend(), a.spend(), b.spend()]);
    assert.equal(spent.filter(Boolean).length, 1, "of several uses at once, one");
    assert.equal(await judge(replica, proof), false);
    assert.equal(await judge(replica, { totp: password(-1) }), false, "the one before is spent with it");
    assert.equal(await judge(replica, { totp: password(1) }), true, "a phone may be ahead");
    assert.equal(await judge(replica, { totp: password(2) }), false);
    clock.advance(STEP_MS);
    assert.equal(await judge(replica, { totp: password() }), true);
    clock.advance(2 * STEP_MS);
    assert.equal(await judge(replica, { totp: password(-1) }), true, "and behind");
  });

  await t.test("the password of the set-up is spent by it", async () => {
    const { totp, clock } = begin();
    const { secret } = await totp.enroll({});
    const password = totpAt(secret, stepOf(clock.now()));
    await totp.verify(password);
    assert.equal(await judge(totp, { totp: password }), false);
  });

  await t.test("a recovery code works once, however it is typed", async () => {
    const { totp, replica, codes } = await enabled();
    const typed = ` ${(codes[3] ?? "").toLowerCase().replaceAll("-", " ")}`;
    const judged = await totp.judge({ recoveryCode: typed });
    assert.ok(judged?.right);
    assert.equal(await judged.spend(), true);
    assert.equal(await judged.spend(), false);
    assert.equal(await judge(replica, { recoveryCode: codes[3] ?? "" }), false);
    assert.equal((await replica.status()).recoveryCodesLeft, 9);
    for (const recoveryCode of ["", "AAAA-AAAA-AAAA-AAAA", "0".repeat(16)])
      assert.equal(await judge(replica, { recoveryCode }), false);
  });

  await t.test("neither secret nor codes lie open", async () => {
    const { kv, secret, codes } = await enabled();
    const kept = JSON.stringify(await kv.entries());
    for (const hidden of [secret, ...codes, ...codes.map((code) => code.replaceAll("-", ""))])
      assert.ok(!kept.includes(hidden));
  });

  await t.test("to change or end it takes itself; wrong ones are slowed down, for all replicas", async () => {
    const { totp, replica, password, clock, codes } = await enabled();
    // One after the other: of those at the same time some meet the back-off of the others.
    for (const attempt of [
      () => totp.enroll({}),
      () => totp.disable({ totp: "000000" }),
      () => replica.renewRecoveryCodes({}),
    ])
      await assert.rejects(attempt, (error: RpcError) => error.details.reason === "WRONG_FACTOR");
    await assert.rejects(replica.disable({ totp: password() }), withCode("RESOURCE_EXHAUSTED"));
    clock.advance(1000);
    const fresh = await replica.renewRecoveryCodes({ totp: password() });
    assert.equal(await judge(totp, { recoveryCode: codes[0] ?? "" }), false, "the old codes have ended");
    await totp.disable({ recoveryCode: fresh[0] ?? "" });
    assert.equal(await totp.judge({ totp: password() }), undefined);
    await assert.rejects(totp.disable({ totp: password() }), withCode("FAILED_PRECONDITION"));
  });

  await t.test("without the service's old credentials nothing is right, and only the local way leads on", async () => {
    const { kv, build, password, codes } = await enabled();
    const other = build(kv, randomBytes(32));
    assert.equal(await judge(other, { totp: password() }), false);
    assert.equal(await judge(other, { recoveryCode: codes[0] ?? "" }), false);
    await other.reset();
    assert.equal(await other.judge({ totp: password() }), undefined);
  });
});

test("a pairing with a second factor", async (t) => {
  const harness = await startAuth(t);
  const { client, access, as, operator, clock, events, codeOf } = harness;
  const { secret } = await access.enrollTotp({}, operator);
  const password = (steps = 0): string => totpAt(secret, stepOf(clock.now()) + steps);
  const { codes } = await access.verifyTotp({ totp: password() }, operator);
  const begin = async () => {
    clock.advance(2 * STEP_MS);
    const device = newDevice();
    const wish = { deviceName: "Laptop", publicKey: device.publicKey, scopes: [] };
    const { id, challenge } = await client.startPairing(wish, as());
    const code = await codeOf(id);
    return { id, code, signature: device.prove(challenge, code, id) };
  };
  const reasons = (): unknown[] =>
    events.flatMap(({ type, event }) => (type === "PairingRefused" && "reason" in event ? [event.reason] : []));

  const first = await begin();
  await assert.rejects(client.completePairing(first, as()), withCode("UNAUTHENTICATED"));
  clock.advance(1000);
  await assert.rejects(client.completePairing({ ...first, totp: "000000" }, as()), withCode("UNAUTHENTICATED"));
  clock.advance(2000);
  const spent = password();
  await client.completePairing({ ...first, totp: spent }, as());

  // The next pairing comes within the same window: the password was overheard, and is worth nothing.
  const device = newDevice();
  const wish = { deviceName: "Thief", publicKey: device.publicKey, scopes: [] };
  const { id, challenge } = await client.startPairing(wish, as({ address: "198.51.100.7" }));
  const code = await codeOf(id);
  const replay = { id, code, signature: device.prove(challenge, code, id), totp: spent };
  await assert.rejects(client.completePairing(replay, as({ address: "198.51.100.7" })), withCode("UNAUTHENTICATED"));

  const third = await begin();
  await client.completePairing({ ...third, recoveryCode: codes[0] ?? "" }, as());
  const fourth = await begin();
  const again = { ...fourth, recoveryCode: codes[0] ?? "" };
  await assert.rejects(client.completePairing(again, as({ address: "198.51.100.8" })), withCode("UNAUTHENTICATED"));
  assert.deepEqual(new Set(reasons()), new Set(["wrong_factor"]));
  assert.equal((await access.getTotp({}, operator)).recoveryCodesLeft, 9);
});

test("where pairing always asks for a second factor, none can be made without one", async (t) => {
  const { pair, access, operator, events } = await startAuth(t, { settings: { factorPolicy: "always" } });
  await assert.rejects(pair(), withCode("UNAUTHENTICATED"));
  assert.equal((await access.getTotp({}, operator)).askedForPairing, true);
  assert.partialDeepStrictEqual(events, [{ type: "PairingRefused", event: { reason: "no_factor", count: 1 } }]);
});
