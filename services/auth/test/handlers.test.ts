// The service from outside: over the mesh, as the gateway calls it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Caller, jsonCodec, type RpcError } from "@warren/mesh";
import { PairingState } from "@warren/proto/warren/auth/v1/auth";
import { waitUntil } from "@warren/testing";
import { decodeJwt, importJWK, jwtVerify } from "jose";
import { displayCode } from "../src/pairing/code.ts";
import { PAIRING_MS } from "../src/pairing/pairing.ts";
import type { AuthStores } from "../src/stores.ts";
import { GRACE_MS } from "../src/tokens/refresh.ts";
import { newDevice } from "./support/device.ts";
import { namesField, withCode } from "./support/errors.ts";
import { type AuthHarness, startAuth } from "./support/harness.ts";
import { failing } from "./support/stores.ts";

/** The caller that the gateway makes of a device's access token. */
function callerOf(accessToken: string): Partial<Caller> {
  const { sub = "", scope, tenant } = decodeJwt<{ scope: string; tenant: string }>(accessToken);
  return { principal: sub, device: sub.slice("device:".length), scopes: scope.split(" "), tenant };
}

async function beginPairing({ client, as, codeOf }: AuthHarness, scopes: string[] = []) {
  const device = newDevice();
  const request = { deviceName: "Alice's laptop", publicKey: device.publicKey, scopes };
  const { id, challenge, expireTime } = await client.startPairing(request, as());
  const code = await codeOf(id);
  const proof = (typed = code) => ({ id, code: typed, signature: device.prove(challenge, typed, id), totp: "" });
  return { id, code, challenge, expireTime, proof, device };
}

test("pairings that wait come in pages, the oldest first; another list's token is refused", async (t) => {
  const { client, as, operator, clock } = await startAuth(t);
  const started: string[] = [];
  for (const [i, address] of ["203.0.113.1", "203.0.113.2", "198.51.100.3"].entries()) {
    const request = { deviceName: `device ${i}`, publicKey: newDevice("Ed25519").publicKey };
    started.push((await client.startPairing(request, as({ address }))).id);
    clock.advance(1000);
  }
  const first = await client.listPairings({ pageSize: 2 }, operator);
  assert.deepEqual(
    first.pairings.map(({ id }) => id),
    started.slice(0, 2),
  );
  const rest = await client.listPairings({ pageSize: 2, pageToken: first.nextPageToken }, operator);
  assert.deepEqual([rest.pairings.map(({ id }) => id), rest.nextPageToken], [started.slice(2), ""]);
  await assert.rejects(client.listPairings({ pageToken: "bm9uZQ" }, operator), withCode("INVALID_ARGUMENT"));
});

test("a device is paired by the code that the operator reads out", async (t) => {
  for (const algorithm of ["Ed25519", "P-256"] as const)
    await t.test(`with a key of ${algorithm}`, async (t) => {
      const { client, as, operator, stores, clock, codeOf, events } = await startAuth(t);
      const device = newDevice(algorithm);
      const request = { deviceName: "Alice's laptop", publicKey: device.publicKey, scopes: ["chat", "devices:admin"] };
      const started = await client.startPairing(request, as());
      assert.equal(started.expireTime?.getTime(), clock.now() + PAIRING_MS);

      const { pairings } = await client.listPairings({}, operator);
      const code = await codeOf(started.id);
      const shown = {
        deviceName: "Alice's laptop",
        address: "203.0.113.1",
        scopes: ["chat", "devices:admin"],
        attempts: 0,
      };
      assert.deepEqual(pairings, [
        {
          ...shown,
          id: started.id,
          code: displayCode(code),
          state: PairingState.PENDING,
          createTime: new Date(clock.now()),
          expireTime: started.expireTime,
        },
      ]);

      const signature = device.prove(started.challenge, code, started.id);
      const grant = await client.completePairing(
        { id: started.id, code: displayCode(code), signature, totp: "" },
        as(),
      );
      assert.deepEqual([grant.tokenType, grant.expiresIn, grant.scopes], ["Bearer", 600, ["chat", "devices:admin"]]);
      assert.deepEqual((await client.listPairings({}, operator)).pairings, []);

      const kid = (await stores.publicKeys.entries())[0]?.key ?? "";
      const jwk = (await stores.publicKeys.get(kid))?.value.jwk;
      assert.ok(jwk);
      const { payload, protectedHeader } = await jwtVerify(grant.accessToken, await importJWK(jwk, "EdDSA"), {
        issuer: "warren",
        audience: "warren",
        algorithms: ["EdDSA"],
      });
      assert.equal(protectedHeader.kid, kid);
      assert.equal(payload.sub, `device:${grant.deviceId}`);
      const { devices } = await client.listDevices({ pageSize: 0, pageToken: "" }, operator);
      assert.deepEqual(payload["cnf"], { jkt: devices[0]?.keyThumbprint });
      assert.deepEqual(events, [
        {
          type: "DevicePaired",
          event: {
            deviceId: grant.deviceId,
            deviceName: "Alice's laptop",
            scopes: ["chat", "devices:admin"],
            time: new Date(clock.now()),
          },
        },
      ]);
    });
});

test("the start of a pairing refuses, by field, keys and scopes that do not exist", async (t) => {
  const { client, as } = await startAuth(t);
  const { publicKey } = newDevice();
  const start = (request: object) =>
    client.startPairing({ deviceName: "Laptop", publicKey, scopes: [], ...request }, as());
  await assert.rejects(start({ publicKey: "{}" }), namesField("publicKey"));
  await assert.rejects(start({ scopes: ["chat", "everything"] }), namesField("scopes[1]"));
  await assert.rejects(start({ deviceName: "" }), namesField("deviceName"));
  await assert.rejects(start({ deviceName: "Lap\u0007top" }), namesField("deviceName"));
});

test("only who administers devices sees the codes", async (t) => {
  const { client, as, pair } = await startAuth(t);
  const { grant } = await pair();
  for (const caller of [as(), as(callerOf(grant.accessToken))])
    await assert.rejects(client.listPairings({}, caller), withCode("PERMISSION_DENIED"));
});

test("a code stays out of the log, unless the stack is told to show it", async (t) => {
  for (const showCodeInLog of [false, true])
    await t.test(String(showCodeInLog), async (t) => {
      const harness = await startAuth(t, { showCodeInLog });
      const { code, proof } = await beginPairing(harness);
      await harness.client.completePairing(proof(), harness.as());
      const log = harness.logged.join("\n");
      assert.equal(log.includes(displayCode(code)), showCodeInLog);
      assert.ok(!log.includes(code));
    });
});

test("of 100 right completions at the same time, over two replicas, one makes a device", async (t) => {
  const harness = await startAuth(t);
  await harness.addReplica();
  const { client, as, operator, events } = harness;
  const { proof } = await beginPairing(harness);
  const outcomes = await Promise.allSettled(Array.from({ length: 100 }, () => client.completePairing(proof(), as())));
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
  for (const outcome of outcomes)
    if (outcome.status === "rejected")
      assert.ok(
        withCode("RESOURCE_EXHAUSTED")(outcome.reason) || withCode("UNAUTHENTICATED")(outcome.reason),
        String(outcome.reason),
      );
  assert.equal((await client.listDevices({ pageSize: 0, pageToken: "" }, operator)).devices.length, 1);
  assert.equal(events.filter(({ type }) => type === "DevicePaired").length, 1);
});

test("whoever is refused is told the same, whatever was wrong; the event tells what", async (t) => {
  const harness = await startAuth(t);
  const { client, as, clock, events } = harness;
  const [wrongCode, foreignKey, spent, expired] = await Promise.all(
    Array.from({ length: 4 }, () => beginPairing(harness)),
  );
  assert.ok(wrongCode && foreignKey && spent && expired);
  await client.completePairing(spent.proof(), as());
  const attempts = [
    () => wrongCode.proof("22222222"),
    () => ({
      ...foreignKey.proof(),
      signature: newDevice().prove(foreignKey.challenge, foreignKey.code, foreignKey.id),
    }),
    () => ({ ...wrongCode.proof(), id: "0".repeat(32) }),
    () => spent.proof(),
    () => expired.proof(),
  ];
  const answers = new Set<string>();
  for (const [i, attempt] of attempts.entries()) {
    if (i === 4) clock.advance(PAIRING_MS);
    await assert.rejects(client.completePairing(attempt(), as()), (error: RpcError) => {
      answers.add(JSON.stringify([error.code, error.message, error.details]));
      return withCode("UNAUTHENTICATED")(error);
    });
  }
  assert.equal(answers.size, 1);
  const reasons = (): string[] =>
    events.flatMap(({ type, event }) => (type === "PairingRefused" && "reason" in event ? [String(event.reason)] : []));
  await waitUntil("Every event", 5000, () => reasons().length === attempts.length || undefined);
  assert.deepEqual(reasons(), ["wrong_code", "wrong_signature", "unknown", "used", "expired"]);
});

test("after a wrong code the device is told how long to wait, and then succeeds", async (t) => {
  const harness = await startAuth(t);
  const { client, as, clock, operator } = harness;
  const { proof, id } = await beginPairing(harness);
  await assert.rejects(client.completePairing(proof("22222222"), as()), withCode("UNAUTHENTICATED"));
  const { pairings } = await client.listPairings({}, operator);
  assert.equal(pairings.find((pairing) => pairing.id === id)?.attempts, 1);
  await assert.rejects(client.completePairing(proof(), as()), (error: RpcError) => {
    assert.equal(error.details.retryAfterMs, 1000);
    return withCode("RESOURCE_EXHAUSTED")(error);
  });
  clock.advance(1000);
  await client.completePairing(proof(), as());
});

test("a pairing is spent when the service dies before its tokens are issued", async (t) => {
  for (const at of ["devices", "refresh"] as const)
    await t.test(`while it writes ${at}`, async (t) => {
      let dying: ReturnType<typeof failing<never>> | undefined;
      const harness = await startAuth(t, {
        wrap: (stores) => {
          const wrapped = failing<never>(stores[at] as never);
          dying = wrapped;
          return { ...stores, [at]: wrapped };
        },
      });
      const { client, as, clock, events } = harness;
      const { proof } = await beginPairing(harness);
      dying?.failNext("create", "before");
      await assert.rejects(client.completePairing(proof(), as()), withCode("UNAVAILABLE"));
      clock.advance(60_000);
      await assert.rejects(client.completePairing(proof(), as()), withCode("UNAUTHENTICATED"));
      assert.ok(!events.some(({ type }) => type === "DevicePaired"));
      await harness.pair();
    });
});

test("a refresh token gives a new access token and its successor, and shows that the device was there", async (t) => {
  const harness = await startAuth(t);
  const { client, as, clock, operator } = harness;
  const { grant } = await harness.pair({ scopes: ["chat"] });
  clock.advance(400_000);
  const renewed = await client.refreshToken({ refreshToken: grant.refreshToken }, as());
  assert.notEqual(renewed.refreshToken, grant.refreshToken);
  assert.deepEqual([renewed.deviceId, renewed.scopes, renewed.expiresIn], [grant.deviceId, ["chat"], 600]);
  assert.equal(decodeJwt(renewed.accessToken).exp, Math.floor(clock.now() / 1000) + 600);
  assert.equal(decodeJwt(renewed.accessToken)["sid"], decodeJwt(grant.accessToken)["sid"]);
  const { devices } = await client.listDevices({ pageSize: 0, pageToken: "" }, operator);
  assert.equal(devices[0]?.lastSeenTime?.getTime(), clock.now());

  const again = await client.refreshToken({ refreshToken: grant.refreshToken }, as());
  assert.equal(again.refreshToken, renewed.refreshToken, "within 30 s an answer that got lost is given again");
});

test("a refresh token that is used again after 30 s revokes the device, everywhere and once", async (t) => {
  const harness = await startAuth(t);
  const { client, as, clock, stores, events } = harness;
  const { grant } = await harness.pair();
  const renewed = await client.refreshToken({ refreshToken: grant.refreshToken }, as());
  clock.advance(GRACE_MS + 1);
  for (const refreshToken of [grant.refreshToken, grant.refreshToken, renewed.refreshToken])
    await assert.rejects(client.refreshToken({ refreshToken }, as()), withCode("UNAUTHENTICATED"));
  assert.deepEqual((await stores.revocations.get(grant.deviceId))?.value, { revokedAt: clock.now() });
  assert.deepEqual(
    events.filter(({ type }) => type === "DeviceRevoked").map(({ event }) => event),
    [
      {
        deviceId: grant.deviceId,
        reason: "refresh_token_reuse",
        principal: `device:${grant.deviceId}`,
        time: new Date(clock.now()),
      },
    ],
  );
});

test("tokens are found neither in the state nor in the log", async (t) => {
  const harness = await startAuth(t);
  const { client, as, clock, stores, logged } = harness;
  const { grant } = await harness.pair();
  const renewed = await client.refreshToken({ refreshToken: grant.refreshToken }, as());
  clock.advance(GRACE_MS + 1);
  await assert.rejects(client.refreshToken({ refreshToken: grant.refreshToken }, as()));
  const kept = await Promise.all(Object.values(stores).map((store: AuthStores["devices"]) => store.entries()));
  const text = JSON.stringify(kept) + logged.join("\n");
  assert.ok(text.includes(grant.deviceId));
  for (const token of [grant, renewed].flatMap((each) => [each.accessToken, each.refreshToken]))
    assert.ok(!text.includes(token.split(".").at(-1) ?? token));
});

test("a device sees and revokes itself alone; who administers devices, all", async (t) => {
  const harness = await startAuth(t);
  const { client, as, operator } = harness;
  const [mine, other, admin] = [
    await harness.pair(),
    await harness.pair(),
    await harness.pair({ scopes: ["devices:read", "devices:write", "devices:admin"] }),
  ].map(({ grant }) => grant);
  assert.ok(mine && other && admin);
  const ids = async (caller: ReturnType<typeof as>) =>
    (await client.listDevices({ pageSize: 0, pageToken: "" }, caller)).devices.map(({ id }) => id).toSorted();
  const all = [mine, other, admin].map(({ deviceId }) => deviceId).toSorted();
  assert.deepEqual(await ids(as(callerOf(mine.accessToken))), [mine.deviceId]);
  assert.deepEqual(await ids(as(callerOf(admin.accessToken))), all);
  assert.deepEqual(await ids(operator), all);
  assert.deepEqual(await ids(as({ principal: "key:machine", scopes: ["devices:read"] })), []);

  const me = as(callerOf(mine.accessToken));
  const refusals: string[] = [];
  for (const id of [other.deviceId, "0".repeat(32)])
    await assert.rejects(client.revokeDevice({ id }, me), (error: RpcError) => {
      refusals.push(error.message.replace(id, "…"));
      return withCode("NOT_FOUND")(error);
    });
  assert.equal(refusals[0], refusals[1], "a foreign device looks like one that is not there");
  await assert.rejects(client.revokeDevice({ id: "0".repeat(32) }, operator), withCode("NOT_FOUND"));

  await client.revokeDevice({ id: mine.deviceId }, me);
  await client.revokeDevice({ id: other.deviceId }, as(callerOf(admin.accessToken)));
  await client.revokeDevice({ id: admin.deviceId }, operator);
  const { devices } = await client.listDevices({ pageSize: 0, pageToken: "" }, operator);
  assert.equal(devices.filter(({ revokeTime }) => revokeTime !== undefined).length, 3);
});

test("a revoked device gets no more tokens, gateways hear of it, and revoking it again changes nothing", async (t) => {
  const harness = await startAuth(t);
  const { client, as, operator, clock, nats, events } = harness;
  const { grant } = await harness.pair();
  const gateway = await nats.connect("gateway");
  const revocations = await gateway.kvView("auth_revocations", jsonCodec<{ revokedAt: number }>());
  const heard = (async () => {
    for await (const change of revocations.watch()) if (change !== "caught-up") return change;
    return undefined;
  })();
  await client.revokeDevice({ id: grant.deviceId }, operator);
  const revokedAt = clock.now();
  const change = await heard;
  assert.deepEqual([change?.key, change?.value], [grant.deviceId, { revokedAt }]);
  clock.advance(1000);
  await client.revokeDevice({ id: grant.deviceId }, operator);
  await assert.rejects(client.refreshToken({ refreshToken: grant.refreshToken }, as()), withCode("UNAUTHENTICATED"));
  const { devices } = await client.listDevices({ pageSize: 0, pageToken: "" }, operator);
  assert.equal(devices[0]?.revokeTime?.getTime(), revokedAt);
  assert.deepEqual(
    events.filter(({ type }) => type === "DeviceRevoked").map(({ event }) => event),
    [{ deviceId: grant.deviceId, reason: "requested", principal: "operator", time: new Date(revokedAt) }],
  );
});

test("devices, pairings and tokens outlast the NATS server and the service", async (t) => {
  const harness = await startAuth(t);
  const { client, as, nats, operator } = harness;
  const { grant } = await harness.pair();
  const { proof } = await beginPairing(harness);
  await nats.restart();
  await harness.addReplica();
  const listed = () => client.listPairings({}, operator).catch(() => undefined);
  await waitUntil("The return of the mesh", 10_000, listed);
  const renewed = await client.refreshToken({ refreshToken: grant.refreshToken }, as());
  assert.equal(renewed.deviceId, grant.deviceId);
  await client.completePairing(proof(), as());
  assert.equal((await client.listDevices({ pageSize: 0, pageToken: "" }, operator)).devices.length, 2);
});

test("what has been decided holds although nobody can be told", async (t) => {
  const harness = await startAuth(t, { deaf: true });
  const { grant } = await harness.pair();
  await harness.client.revokeDevice({ id: grant.deviceId }, harness.operator);
  assert.ok(await harness.stores.revocations.get(grant.deviceId));
  const unheard = harness.logged.filter((line) => line.includes("An event could not be published"));
  assert.deepEqual(
    unheard.map((line) => (JSON.parse(line) as { event: string }).event),
    ["warren.events.v1.DevicePaired", "warren.events.v1.DeviceRevoked"],
  );
});
