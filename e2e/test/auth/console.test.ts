// The web console's cookie, as a browser holds it and as a foreign page would use it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { waitUntil } from "@warren/testing";
import { SESSION_COOKIE } from "../../../services/gateway/src/identity/sessions.ts";
import { IDLE_MS, LONGEST_MS, ROTATE_MS, type SessionRecord } from "../../../services/auth/src/console/sessions.ts";
import { send, startWorld } from "./world.ts";

test("console sessions", async (t) => {
  const { auth, url, gateways, operator, pair } = await startWorld(t);
  const open = async () => {
    const answer = await operator("POST", "/v1/session");
    assert.equal(answer.status, 201, answer.text);
    const setCookie = answer.headers.get("set-cookie") ?? "";
    const cookie = setCookie.split(";")[0] ?? "";
    const csrf = String(answer.json["csrfToken"]);
    for (const gateway of gateways)
      await waitUntil("the session at each gateway", 5000, async () => {
        const { status } = await send(`${gateway.url}/v1/keys`, "GET", { cookie });
        return status === 200 || undefined;
      });
    return { id: String(answer.json["sessionId"]), cookie, csrf, setCookie };
  };
  /** Changes a session as time would. */
  const age = async (id: string, change: (record: SessionRecord) => Partial<SessionRecord>): Promise<void> => {
    const entry = await auth.stores.sessions.get(id);
    assert.ok(entry);
    await auth.stores.sessions.update(id, { ...entry.value, ...change(entry.value) }, entry.revision);
  };

  await t.test(
    "the cookie is one that no script reads, no other site sends, and no plain connection carries",
    async () => {
      const { setCookie, csrf } = await open();
      const attributes = setCookie.split(";").map((each) => each.trim());
      assert.match(attributes[0] ?? "", new RegExp(`^${SESSION_COOKIE}=wcs_[0-9a-f]{16}\\.[A-Za-z0-9_-]{43}$`));
      assert.deepEqual(attributes.slice(1).toSorted(), [
        "HttpOnly",
        "Max-Age=43200",
        "Path=/",
        "SameSite=Strict",
        "Secure",
      ]);
      assert.match(csrf, /^[A-Za-z0-9_-]{43}$/);
      const kept = JSON.stringify(await auth.stores.sessions.entries());
      assert.ok(!kept.includes((attributes[0] ?? "").split(".")[1] ?? "no secret"), "only hashes are kept");
      assert.ok(!kept.includes(csrf));
    },
  );

  await t.test("reading needs the cookie alone; changing needs the page's token, too", async () => {
    const { cookie, csrf } = await open();
    const json = { cookie, "content-type": "application/json" };
    assert.equal((await send(`${url}/v1/keys`, "GET", { cookie })).status, 200);
    for (const attack of [{}, { "x-csrf-token": "" }, { "x-csrf-token": "a".repeat(43) }, { "x-csrf-token": cookie }]) {
      const refused = await send(`${url}/v1/keys`, "POST", { ...json, ...attack }, { name: "foreign" });
      assert.deepEqual([refused.status, refused.json["code"]], [403, "CSRF_TOKEN_MISSING"]);
      assert.equal((await send(`${url}/v1/session`, "DELETE", { cookie, ...attack })).status, 403);
    }
    const made = await send(`${url}/v1/keys`, "POST", { ...json, "x-csrf-token": csrf }, { name: "own" });
    assert.equal(made.status, 200, made.text);
    const foreign = { ...json, "x-csrf-token": csrf, origin: "https://evil.example" };
    assert.equal(
      (await send(`${url}/v1/keys`, "POST", foreign, { name: "foreign" })).json["code"],
      "ORIGIN_NOT_ALLOWED",
    );
    const other = await open();
    const mixed = { ...json, "x-csrf-token": other.csrf };
    assert.equal((await send(`${url}/v1/keys`, "POST", mixed, { name: "mixed" })).status, 403, "of another session");
  });

  await t.test("a page that was loaded again asks for its token", async () => {
    const { cookie, csrf, id } = await open();
    const { json } = await send(`${url}/v1/session`, "GET", { cookie });
    assert.partialDeepStrictEqual(json, { principal: "operator", kind: "session", sessionId: id, csrfToken: csrf });
  });

  await t.test("it ends when its owner logs out, everywhere", async () => {
    const { cookie, csrf } = await open();
    const ended = await send(`${url}/v1/session`, "DELETE", { cookie, "x-csrf-token": csrf });
    assert.equal(ended.status, 204);
    assert.match(ended.headers.get("set-cookie") ?? "", /Max-Age=0/);
    for (const gateway of gateways)
      await waitUntil("the end", 5000, async () => {
        const { status } = await send(`${gateway.url}/v1/keys`, "GET", { cookie });
        return status === 401 || undefined;
      });
  });

  await t.test("it ends when nobody uses it, and after its longest time whoever does", async () => {
    for (const change of [() => ({ idleExpiresAt: Date.now() - 1 }), () => ({ expiresAt: Date.now() - 1 })]) {
      const { id, cookie } = await open();
      const { value } = (await auth.stores.sessions.get(id)) ?? {};
      assert.equal(value && value.idleExpiresAt - value.createdAt, IDLE_MS);
      assert.equal(value && value.expiresAt - value.createdAt, LONGEST_MS);
      await age(id, change);
      await waitUntil("the end", 5000, async () => {
        const { status } = await send(`${url}/v1/keys`, "GET", { cookie });
        return status === 401 || undefined;
      });
    }
  });

  await t.test(
    "its cookie changes with time; the one before is good for what is under way, and then for nothing",
    async () => {
      const { id, cookie } = await open();
      await age(id, ({ rotatedAt }) => ({ rotatedAt: rotatedAt - ROTATE_MS }));
      const fresh = await waitUntil("the new cookie", 5000, async () => {
        const { headers } = await send(`${url}/v1/keys`, "GET", { cookie });
        return (headers.get("set-cookie") ?? "").split(";")[0] || undefined;
      });
      assert.notEqual(fresh, cookie);
      for (const gateway of gateways)
        for (const each of [fresh, cookie])
          await waitUntil("both at any gateway", 5000, async () => {
            const { status } = await send(`${gateway.url}/v1/keys`, "GET", { cookie: each });
            return status === 200 || undefined;
          });
      await age(id, ({ rotatedAt }) => ({ rotatedAt: rotatedAt - 31_000 }));
      await waitUntil("the end of the old cookie", 5000, async () => {
        const { status } = await send(`${url}/v1/keys`, "GET", { cookie });
        return status === 401 || undefined;
      });
      assert.equal((await send(`${url}/v1/keys`, "GET", { cookie: fresh })).status, 200);
    },
  );

  await t.test("it ends with the credential that it was opened with", async () => {
    const { cookie } = await open();
    const id = (gateways[0]?.operator ?? "").split("_")[1] ?? "";
    const entry = await auth.stores.credentials.get(id);
    assert.ok(entry);
    const revision = await auth.stores.credentials.update(
      id,
      { ...entry.value, revokedAt: Date.now() },
      entry.revision,
    );
    await waitUntil("the end", 5000, async () => {
      const { status } = await send(`${url}/v1/keys`, "GET", { cookie });
      return status === 401 || undefined;
    });
    await auth.stores.credentials.update(id, entry.value, revision);
    await waitUntil("the operator's return", 5000, async () => {
      const { status } = await operator("GET", "/v1/session");
      return status === 200 || undefined;
    });
  });

  await t.test("keys for machines open none, a session opens no other, and a cookie is no token", async () => {
    const { json } = await operator("POST", "/v1/keys", { name: "CI", role: "admin" });
    const key = { authorization: `Bearer ${String(json["token"])}` };
    await waitUntil("the key", 5000, async () => {
      const { status } = await send(`${url}/v1/session`, "GET", key);
      return status === 200 || undefined;
    });
    assert.equal((await send(`${url}/v1/session`, "POST", key)).json["code"], "NOT_FOR_KEYS");
    const { cookie, csrf } = await open();
    const again = await send(`${url}/v1/session`, "POST", { cookie, "x-csrf-token": csrf });
    assert.equal(again.json["code"], "SESSION_OPEN");
    const value = cookie.slice(SESSION_COOKIE.length + 1);
    assert.equal((await send(`${url}/v1/keys`, "GET", { authorization: `Bearer ${value}` })).status, 401);
    assert.equal((await send(`${url}/v1/keys`, "GET", { cookie: `${cookie}; ${cookie}` })).status, 401);
    assert.equal((await send(`${url}/v1/keys`, "GET", { cookie: `${cookie}x` })).status, 401);
  });

  await t.test("it holds no more than the token it was opened with", async () => {
    const device = await pair({ scopes: ["devices:read"] });
    const opened = await device.call("POST", `${url}/v1/session`);
    const cookie = (opened.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
    assert.deepEqual(opened.json["scopes"], ["devices:read"]);
    const { status, json } = await send(`${url}/v1/devices`, "GET", { cookie });
    assert.equal(status, 200);
    assert.deepEqual(
      (json["devices"] as { id: string }[]).map(({ id }) => id),
      [device.id],
    );
    assert.equal((await send(`${url}/v1/keys`, "GET", { cookie })).status, 403);
  });
});
