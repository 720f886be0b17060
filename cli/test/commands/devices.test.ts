import assert from "node:assert/strict";
import { test } from "node:test";
import { json, startFakeGateway } from "../support/fake-gateway.ts";
import { writeTestProfile } from "../support/profile.ts";
import { makeHome } from "../support/warren.ts";

const laptop = { id: "d1", name: "laptop", scopes: ["chat"], createTime: "2026-01-01T00:00:00Z" };
const phone = { id: "d2", name: "phone", scopes: [], revokeTime: "2026-01-02T00:00:00Z" };

test("devices are listed, with those that were revoked", async (t) => {
  const gateway = await startFakeGateway(t, { "GET /v1/devices": json({ devices: [laptop, phone] }) });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const { code, stdout } = await home.warren(["devices"]);
  assert.equal(code, 0);
  assert.match(stdout, /d1 +laptop .* active +chat/);
  assert.match(stdout, /d2 +phone .* revoked +-/);
  const document = JSON.parse((await home.warren(["devices", "list", "--json"])).stdout);
  assert.deepEqual(document, { devices: [laptop, phone] });
});

test("that there are none is said", async (t) => {
  const gateway = await startFakeGateway(t, { "GET /v1/devices": json({}) });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  assert.match((await home.warren(["devices"])).stdout, /No device is paired/);
  assert.deepEqual(JSON.parse((await home.warren(["devices", "--json"])).stdout), { devices: [] });
});

test("a device is revoked; one that is not there ends with 5", async (t) => {
  const gateway = await startFakeGateway(t, { "DELETE /v1/devices/d1": json({}) });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const { code, stdout } = await home.warren(["devices", "revoke", "d1", "--json"]);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), { id: "d1", revoked: true });
  assert.equal((await home.warren(["devices", "revoke", "d9", "--yes"])).code, 5);
});
