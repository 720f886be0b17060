import assert from "node:assert/strict";
import { test } from "node:test";
import { Leases } from "../src/leases.ts";

const holder = { tenant: "default", pluginId: "clock", instanceId: "i1" };
const secret = { name: "api.key", version: 3 };

function leasesAt(time: { now: number }): Leases {
  return new Leases({ now: () => time.now });
}

test("a lease lasts as long as it was asked for, five minutes when no time was named", () => {
  const time = { now: 1000 };
  const leases = leasesAt(time);
  assert.equal(leases.grant(holder, secret, 10).expiresAt, 11_000);
  assert.equal(leases.grant(holder, { ...secret, name: "other" }, 0).expiresAt, 301_000);
  time.now = 10_999;
  assert.equal(leases.heldBy(holder).length, 2);
  time.now = 11_000;
  assert.deepEqual(
    leases.heldBy(holder).map(({ name }) => name),
    ["other"],
  );
  time.now = 301_000;
  assert.deepEqual(leases.heldBy(holder), []);
  assert.equal(leases.size, 0);
});

test("a lease is bound to one process of one plugin of one tenant, and ends with it", () => {
  const leases = leasesAt({ now: 0 });
  const others = [
    { ...holder, instanceId: "i2" },
    { ...holder, pluginId: "text" },
    { ...holder, tenant: "other" },
    { tenant: "default", pluginId: 'clock","i1', instanceId: "" },
  ];
  const lease = leases.grant(holder, secret, 60);
  for (const other of others) leases.grant(other, secret, 60);
  assert.deepEqual(leases.revoke(holder), [lease]);
  assert.deepEqual(leases.heldBy(holder), []);
  for (const other of others) assert.equal(leases.heldBy(other).length, 1);
  assert.deepEqual(leases.revoke(holder), []);
});

test("a process that asks again for the same secret has one lease of it, the newest, with an id of its own", () => {
  const leases = leasesAt({ now: 0 });
  const ids = new Set(Array.from({ length: 100 }, () => leases.grant(holder, secret, 60).id));
  assert.equal(ids.size, 100);
  assert.equal(leases.size, 1);
  assert.equal(leases.heldBy(holder)[0]?.id, [...ids].at(-1));
});
