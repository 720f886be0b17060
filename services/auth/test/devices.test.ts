import assert from "node:assert/strict";
import { test } from "node:test";
import { startNats } from "@warren/testing";
import { createDevices, type DeviceRecord } from "../src/devices.ts";
import { openStores } from "../src/stores.ts";
import { testClock } from "./support/clock.ts";
import { namesField, withCode } from "./support/errors.ts";
import { apart, failing } from "./support/stores.ts";

test("devices", async (t) => {
  const nats = await startNats(t);
  const shared = await openStores(await nats.connect("auth"));
  const begin = () => {
    const clock = testClock();
    const stores = apart(shared);
    const kv = failing(stores.devices);
    return { clock, kv, stores, devices: createDevices({ kv, revocations: stores.revocations, clock: clock.now }) };
  };
  const device = (id: string, createdAt: number): DeviceRecord => ({
    id,
    name: `Device ${id}`,
    key: { kty: "OKP", crv: "Ed25519", x: "x" },
    thumbprint: "thumb",
    scopes: ["chat"],
    tenant: "default",
    family: `family-${id}`,
    createdAt,
    lastSeenAt: createdAt,
  });

  await t.test("are listed page by page, in the order of their pairing, whatever is added meanwhile", async () => {
    const { clock, devices } = begin();
    for (const [i, id] of ["e", "d", "c", "b", "a"].entries()) await devices.add(device(id, clock.now() + i));
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await devices.list({ pageSize: 2, pageToken });
      assert.ok(page.devices.length <= 2);
      seen.push(...page.devices.map(({ id }) => id));
      if (seen.length === 2) await devices.add(device("early", clock.now() - 1));
      pageToken = page.nextPageToken;
    } while (pageToken);
    assert.deepEqual(seen, ["e", "d", "c", "b", "a"]);
    assert.equal((await devices.list({ pageSize: 6, pageToken: "" })).nextPageToken, "");
  });

  await t.test("are listed by 100 unless asked otherwise", async () => {
    const { clock, devices } = begin();
    await Promise.all(Array.from({ length: 101 }, (_, i) => devices.add(device(`d${i}`, clock.now() + i))));
    const page = await devices.list({ pageSize: 0, pageToken: "" });
    assert.equal(page.devices.length, 100);
    assert.equal((await devices.list({ pageSize: 0, pageToken: page.nextPageToken })).devices.length, 1);
  });

  await t.test("do not take a page token from elsewhere", async () => {
    const { devices } = begin();
    for (const pageToken of ["x", Buffer.from("../..").toString("base64url"), "%%%"])
      await assert.rejects(devices.list({ pageSize: 0, pageToken }), namesField("pageToken"));
  });

  await t.test("note when they were seen, and never go back", async () => {
    const { clock, devices, stores } = begin();
    await devices.add(device("a", clock.now()));
    clock.advance(5000);
    await devices.seen("a");
    assert.equal((await stores.devices.get("a"))?.value.lastSeenAt, clock.now());
    clock.advance(-1000);
    await devices.seen("a");
    assert.equal((await stores.devices.get("a"))?.value.lastSeenAt, clock.now() + 1000);
    await devices.seen("nobody");
  });

  await t.test("are shut out for the gateways first, then in all else", async () => {
    const { clock, devices, stores } = begin();
    await devices.add(device("a", clock.now()));
    assert.equal((await devices.active("a"))?.id, "a");
    await devices.revoke("a", async () => {
      assert.deepEqual((await stores.revocations.get("a"))?.value, { revokedAt: clock.now() });
      assert.equal((await stores.devices.get("a"))?.value.revokedAt, undefined);
    });
    assert.equal((await stores.devices.get("a"))?.value.revokedAt, clock.now());
    assert.equal(await devices.active("a"), undefined);
    let again = 0;
    await devices.revoke("a", async () => void again++);
    assert.equal(again, 0);
    await assert.rejects(
      devices.revoke("nobody", async () => undefined),
      withCode("NOT_FOUND"),
    );
  });

  await t.test("stay out when the process dies while it revokes them, and a second try does the rest", async () => {
    const { clock, kv, devices } = begin();
    await devices.add(device("a", clock.now()));
    let told = 0;
    kv.failNext("update", "before");
    await assert.rejects(
      devices.revoke("a", async () => void told++),
      withCode("UNAVAILABLE"),
    );
    assert.equal(await devices.active("a"), undefined);
    await devices.revoke("a", async () => void told++);
    assert.equal(told, 2);
    assert.equal((await devices.list({ pageSize: 0, pageToken: "" })).devices[0]?.revokedAt, clock.now());
  });
});
