// Keys for machines, and the audit of every decision.
import assert from "node:assert/strict";
import { test } from "node:test";
import { waitUntil } from "@warren/testing";
import { send, startWorld } from "./world.ts";

interface Entry {
  readonly principal: string;
  readonly action: string;
  readonly resource: string;
  readonly outcome: string;
  readonly reason: string;
  readonly address: string;
  readonly count: number;
}

test("keys for machines, and the audit", async (t) => {
  const { auth, url, operator, gateways, pair } = await startWorld(t);
  const audit = async (query: string): Promise<Entry[]> => {
    const { status, text, json } = await operator("GET", `/v1/audit?${query}`);
    assert.equal(status, 200, text);
    return json["entries"] as Entry[];
  };
  const bearer = (token: unknown) => ({ authorization: `Bearer ${String(token)}` });
  const inForce = (headers: Record<string, string>): Promise<unknown> =>
    waitUntil("the key", 5000, async () => {
      const { status } = await send(`${url}/v1/session`, "GET", headers);
      return status === 200 || undefined;
    });

  await t.test(
    "a key may do what it was made for, is listed with its last use, and only its hash is kept",
    async () => {
      const made = await operator("POST", "/v1/keys", {
        name: "CI of the shop",
        scopes: ["devices:read"],
        ttlSeconds: 3600,
      });
      const { token, key } = made.json as {
        token: string;
        key: { id: string; expireTime: string; createTime: string };
      };
      assert.match(token, /^wak_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
      assert.equal(Date.parse(key.expireTime) - Date.parse(key.createTime), 3_600_000);
      await inForce(bearer(token));
      assert.equal((await send(`${url}/v1/devices`, "GET", bearer(token))).status, 200);
      assert.equal((await send(`${url}/v1/keys`, "GET", bearer(token))).status, 403);
      const kept = JSON.stringify(await auth.stores.credentials.entries());
      assert.ok(!kept.includes(token.split("_").at(-1) ?? "none"));
      const used = await waitUntil("the last use", 10_000, async () => {
        const { json } = await operator("GET", "/v1/keys");
        const listed = (json["keys"] as Record<string, unknown>[]).find((each) => each["id"] === key.id);
        assert.equal(listed?.["name"], "CI of the shop");
        return listed?.["lastUsedTime"];
      });
      assert.ok(typeof used === "string");
    },
  );

  await t.test("a key ends with its time", async () => {
    const { json } = await operator("POST", "/v1/keys", { name: "brief", ttlSeconds: 2 });
    const headers = bearer(json["token"]);
    await waitUntil("its end", 10_000, async () => {
      const { status } = await send(`${url}/v1/session`, "GET", headers);
      return status === 401 || undefined;
    });
  });

  await t.test("nobody makes a key that holds more than they do, or what there is not", async () => {
    const made = await operator("POST", "/v1/keys", { name: "administrator", scopes: ["auth:admin"] });
    const headers = { ...bearer(made.json["token"]), "content-type": "application/json" };
    await inForce(bearer(made.json["token"]));
    const ask = (wish: object) => send(`${url}/v1/keys`, "POST", headers, { name: "more", ...wish });
    assert.equal((await ask({ scopes: ["chat"] })).json["code"], "SCOPE_NOT_HELD");
    assert.equal((await ask({ role: "admin" })).json["code"], "SCOPE_NOT_HELD");
    assert.equal((await ask({})).json["code"], "SCOPE_NOT_HELD");
    for (const wish of [
      { scopes: ["*"] },
      { scopes: ["everything"] },
      { role: "operator" },
      { role: "user", scopes: ["chat"] },
    ])
      assert.equal((await ask(wish)).status, 400, JSON.stringify(wish));
    assert.equal((await ask({ scopes: ["auth:admin"] })).status, 200);
    const [entry] = await audit("action=POST%20/v1/keys&outcome=AUDIT_OUTCOME_DENIED");
    assert.equal(entry?.reason, "SCOPE_NOT_HELD");
  });

  await t.test("the operator's token cannot be revoked as if it were a key", async () => {
    const id = (gateways[0]?.operator ?? "").split("_")[1];
    assert.equal((await operator("DELETE", `/v1/keys/${id}`)).status, 404);
  });

  await t.test("denials are in the audit, those that repeat as one", async () => {
    const device = await pair({ scopes: ["chat"] });
    for (let i = 0; i < 30; i++) {
      assert.equal((await send(`${url}/v1/devices`, "GET", bearer("no-token"))).status, 401);
      assert.equal((await device.call("GET", `${url}/v1/devices`)).status, 403);
    }
    const unauthenticated = await waitUntil("the first denial", 5000, async () => {
      const found = await audit("action=GET%20/v1/devices&principal=anonymous");
      return found.length > 0 ? found : undefined;
    });
    assert.partialDeepStrictEqual(unauthenticated, [
      { outcome: "AUDIT_OUTCOME_DENIED", reason: "UNAUTHENTICATED", address: "127.0.0.1", count: 1 },
    ]);
    const forbidden = await audit(`principal=device:${device.id}&outcome=AUDIT_OUTCOME_DENIED`);
    assert.partialDeepStrictEqual(forbidden, [{ action: "GET /v1/devices", reason: "SCOPE_MISSING", count: 1 }]);
    assert.deepEqual([unauthenticated.length, forbidden.length], [1, 1], "thirty of each are told as one for now");
  });

  await t.test("a gateway that stops tells what it has not told yet", async () => {
    await gateways[0]?.gateway.drain(0);
    const second = gateways[1];
    assert.ok(second);
    const { json } = await second.call("GET", "/v1/audit?action=GET%20/v1/devices&principal=anonymous");
    assert.deepEqual(
      (json["entries"] as Entry[]).map(({ count }) => count),
      [29, 1],
    );
  });

  await t.test("administrators' actions are in it, with what they were done to", async () => {
    const second = gateways[1];
    assert.ok(second);
    const made = await second.call("POST", "/v1/keys", { body: { name: "to be ended" } });
    const { id } = made.json["key"] as { id: string };
    await second.call("DELETE", `/v1/keys/${id}`);
    const read = async (query: string): Promise<Record<string, unknown>> =>
      (await second.call("GET", `/v1/audit?${query}`)).json;
    const entries = await waitUntil("both", 5000, async () => {
      const found = (await read("action=key."))["entries"] as Entry[];
      return found.some(({ action, resource }) => action === "key.revoke" && resource === id) ? found : undefined;
    });
    assert.partialDeepStrictEqual(entries.slice(0, 2), [
      { principal: "operator", action: "key.revoke", outcome: "AUDIT_OUTCOME_ALLOWED", resource: id },
      { principal: "operator", action: "key.create", outcome: "AUDIT_OUTCOME_ALLOWED" },
    ]);
    // Page by page, newest first, nothing twice and nothing left out.
    const all = (await read("pageSize=1000"))["entries"] as (Entry & { sequence: string })[];
    const paged: string[] = [];
    for (let pageToken = ""; ;) {
      const page = await read(`pageSize=7&pageToken=${pageToken}`);
      paged.push(...(page["entries"] as { sequence: string }[]).map(({ sequence }) => sequence));
      pageToken = (page["nextPageToken"] as string | undefined) ?? "";
      if (pageToken === "") break;
    }
    assert.deepEqual(
      paged,
      all.map(({ sequence }) => sequence),
    );
    assert.deepEqual(
      paged,
      paged.toSorted((a, b) => Number(b) - Number(a)),
    );
    const future = new Date(Date.now() + 60_000).toISOString();
    assert.deepEqual((await read(`startTime=${encodeURIComponent(future)}`))["entries"] ?? [], []);
    assert.equal((await second.call("GET", "/v1/audit?pageToken=abc")).status, 400);
  });
});
