import assert from "node:assert/strict";
import { createHmac, createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import { waitUntil } from "@warren/testing";
import { accessToken, addCredential, addKey, type AuthState, raw, send, startGateway } from "../support.ts";

const sessions = { listSessions: () => Promise.resolve({}) };

test("without a token there is no way in but the public ones", async (t) => {
  const { call } = await startGateway(t, { handlers: { agent: sessions } });
  const closed = await call("GET", "/v1/sessions", { anonymous: true });
  assert.deepEqual([closed.status, closed.headers.get("www-authenticate")], [401, 'Bearer realm="warren"']);
  for (const path of ["/health/live", "/health/ready", "/health", "/metrics", "/openapi.json"])
    assert.equal((await call("GET", path, { anonymous: true })).status, 200, path);
});

test("a token is taken from either header, and two different ones are refused", async (t) => {
  const { url, port, operator, auth } = await startGateway(t, { handlers: { agent: sessions } });
  const other = await addCredential(auth);
  const ask = async (headers: Record<string, string>): Promise<number> =>
    (await send(`${url}/v1/sessions`, "GET", headers)).status;
  await waitUntil("The watch", 5000, async () => (await ask({ "x-warren-token": other })) === 200 || undefined);
  assert.equal(await ask({ authorization: `Bearer ${operator}` }), 200);
  assert.equal(await ask({ authorization: `bearer  ${operator}` }), 200);
  assert.equal(await ask({ "x-warren-token": operator }), 200);
  assert.equal(await ask({ authorization: `Bearer ${operator}`, "x-warren-token": operator }), 200);
  assert.equal(await ask({ authorization: `Bearer ${operator}`, "x-warren-token": other }), 400);
  assert.equal(await ask({ authorization: "Basic b3A6b3A=", "x-warren-token": operator }), 400);
  const twice = `Authorization: Bearer ${operator}\r\nAuthorization: Bearer ${other}\r\n`;
  const answer = await raw(port, `GET /v1/sessions HTTP/1.1\r\nHost: localhost\r\n${twice}Connection: close\r\n\r\n`);
  assert.match(answer, /^HTTP\/1.1 400 /);
});

test("every token that is not valid gets the same answer", async (t) => {
  const { url, auth, operator } = await startGateway(t, { handlers: { agent: sessions } });
  const key = await addKey(auth);
  const retired = await addKey(auth, { expiresAt: Date.now() - 1 });
  const future = await addKey(auth, { notBefore: Date.now() + 600_000 });
  const expired = await addCredential(auth, { expiresAt: Date.now() - 1 });
  const valid = await accessToken(key, { scope: "sessions:read" });
  const ask = (token: string) => send(`${url}/v1/sessions`, "GET", { authorization: `Bearer ${token}` });
  await waitUntil("The watch", 5000, async () => (await ask(valid)).status === 200 || undefined);

  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const [head = "", claims = "", signature = ""] = valid.split(".");
  const now = Math.floor(Date.now() / 1000);
  const bad: Record<string, string> = {
    "no signature": `${head}.${claims}.`,
    "changed claims": `${head}.${encode({ iss: "warren", aud: "warren", sub: "device:d1", scope: "*", tenant: "default", exp: now + 60 })}.${signature}`,
    "alg none": `${encode({ alg: "none", typ: "at+jwt", kid: key.kid })}.${claims}.`,
    "alg HS256 over the public key": `${encode({ alg: "HS256", typ: "at+jwt", kid: key.kid })}.${claims}.${signature}`,
    ...(await confused(auth, key.kid, claims)),
    "a clock that is behind": await accessToken(key, { iat: now - 120, exp: now - 6 }),
    "a clock that is ahead": await accessToken(key, { nbf: now + 30 }),
    "audience among others of which none is ours": await accessToken(key, { aud: ["warren2", "warren "] }),
    "audience that is no text": await accessToken(key, { aud: 1 }).catch(() => "a.b.c"),
    "bound in a way nobody knows": await accessToken(key, { cnf: { "x5t#S256": "a" } }),
    "asks for a proof of no key": await accessToken(key, { token_type: "DPoP" }),
    "asks for a proof": await accessToken(key, { token_type: "DPoP", cnf: { jkt: "a".repeat(43) } }),
    "other kid": await accessToken(key, {}, { kid: retired.kid }),
    "unknown kid": await accessToken(key, {}, { kid: "nobody" }),
    "kid that reaches for prototypes": await accessToken(key, {}, { kid: "__proto__" }),
    "kid with wildcard": await accessToken(key, {}, { kid: "*" }),
    "no kid": await accessToken(key, {}, { kid: undefined }),
    "another type": await accessToken(key, {}, { typ: "JWT" }),
    "critical header": await accessToken(key, {}, { crit: ["x"], x: 1 }).catch(() => "a.b.c"),
    "retired key": await accessToken(retired),
    "key of the future": await accessToken(future),
    expired: await accessToken(key, { exp: now - 60 }),
    "not yet valid": await accessToken(key, { nbf: now + 600 }),
    "no expiry": await accessToken(key, { exp: undefined }),
    "other issuer": await accessToken(key, { iss: "mallory" }),
    "other audience": await accessToken(key, { aud: "elsewhere" }),
    "no scope": await accessToken(key, { scope: undefined }),
    "scope that is no text": await accessToken(key, { scope: ["*"] }),
    "no subject": await accessToken(key, { sub: undefined }),
    "subject of a service": await accessToken(key, { sub: "service:agent/../x" }),
    "no tenant": await accessToken(key, { tenant: undefined }),
    "opaque, expired": expired,
    "opaque, unknown id": `wop_000000000000_${"a".repeat(32)}`,
    "opaque, other secret": `${operator.slice(0, -2)}xx`,
    "opaque, other kind": operator.replace(/^wop/, "wak"),
    "opaque, malformed": "wop_",
    "very long": "a".repeat(5000),
    garbage: "%%%",
  };
  const bodies = new Set<string>();
  for (const [name, token] of Object.entries(bad)) {
    const { status, json, headers } = await ask(token);
    assert.equal(status, 401, name);
    assert.equal(headers.get("www-authenticate"), 'Bearer realm="warren"', name);
    bodies.add(JSON.stringify({ ...json, instance: "" }));
  }
  assert.equal(bodies.size, 1, [...bodies].join("\n"));
});

/** Tokens that lead to a key of the attacker's, or to an algorithm of the attacker's choice (RFC 8725 §2). */
async function confused(auth: AuthState, kid: string, claims: string): Promise<Record<string, string>> {
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const { jwk } = (await auth.keys.get(kid))?.value ?? {};
  assert.ok(jwk?.x);
  const own = generateKeyPairSync("ed25519");
  const ownJwk = own.publicKey.export({ format: "jwk" });
  const byOwnKey = (header: object): string => {
    const text = `${encode({ alg: "EdDSA", typ: "at+jwt", kid, ...header })}.${claims}`;
    return `${text}.${sign(null, Buffer.from(text), own.privateKey).toString("base64url")}`;
  };
  const byPublicKey = (secret: string | Buffer): string => {
    const text = `${encode({ alg: "HS256", typ: "at+jwt", kid })}.${claims}`;
    return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`;
  };
  const pem = createPublicKey({ key: jwk, format: "jwk" }).export({ format: "pem", type: "spki" });
  const found: Record<string, string> = {
    "HS256, its secret the public key": byPublicKey(Buffer.from(jwk.x, "base64url")),
    "HS256, its secret the public key in PEM": byPublicKey(pem),
    "HS256, its secret the public key in JSON": byPublicKey(JSON.stringify(jwk)),
    "a key of its own": byOwnKey({}),
    "a key of its own in jwk": byOwnKey({ jwk: ownJwk }),
    "a key of its own at jku": byOwnKey({ jku: "http://127.0.0.1:1/keys.json" }),
    "a key of its own at x5u": byOwnKey({ x5u: "http://127.0.0.1:1/cert.pem" }),
    "a certificate of its own": byOwnKey({ x5c: ["MIIB"] }),
    "claims that are not encoded": byOwnKey({ b64: false, crit: ["b64"] }),
  };
  for (const alg of ["none", "None", "nOnE", "", "ES256", "RS256", "PS256", "HS512", "Ed448"])
    found[`alg ${alg}`] = `${encode({ alg, typ: "at+jwt", kid })}.${claims}.`;
  for (const path of [
    "../../etc/passwd",
    "/dev/null",
    "file:///dev/null",
    `${kid}/../${kid}`,
    `${kid}\0`,
    "' OR 1=1 --",
  ])
    found[`kid ${path}`] = byOwnKey({ kid: path });
  return found;
}

test("scopes open what they name and nothing else", async (t) => {
  const { url, auth } = await startGateway(t, { handlers: { agent: sessions } });
  const key = await addKey(auth);
  const ask = async (scope: string, method: string, path: string) =>
    send(
      url + path,
      method,
      { authorization: `Bearer ${await accessToken(key, { scope })}`, "content-type": "application/json" },
      method === "POST" ? "{}" : undefined,
    );
  await waitUntil(
    "The watch",
    5000,
    async () => (await ask("sessions:read", "GET", "/v1/sessions")).status === 200 || undefined,
  );
  const denied: [scope: string, method: string, path: string, needs: string][] = [
    ["chat", "GET", "/v1/sessions", "sessions:read"],
    ["sessions", "GET", "/v1/sessions", "sessions:read"],
    ["sessions:*", "GET", "/v1/sessions", "sessions:read"],
    ["", "GET", "/v1/sessions", "sessions:read"],
    ["internal public", "GET", "/v1/sessions", "sessions:read"],
    ["sessions:read", "POST", "/v1/chat", "chat"],
    ["plugins:read", "POST", "/v1/plugins", "plugins:write"],
    ["plugins:read", "POST", "/v1/packages", "plugins:write"],
    ["devices:read", "GET", "/v1/pairing", "devices:admin"],
    ["secrets:read", "DELETE", "/v1/secrets/a", "secrets:write"],
  ];
  for (const [scope, method, path, needs] of denied) {
    const answer = await ask(scope, method, path);
    assert.deepEqual(
      [answer.status, answer.json["code"], answer.json["scope"]],
      [403, "SCOPE_MISSING", needs],
      `${scope} ${path}`,
    );
    assert.match(
      answer.headers.get("www-authenticate") ?? "",
      new RegExp(`error="insufficient_scope", scope="${needs}"`),
    );
  }
  assert.equal((await ask("*", "GET", "/v1/sessions")).status, 200);
});

test("a revoked device is out everywhere within a second, and a withdrawn credential too", async (t) => {
  const { url, auth, nats } = await startGateway(t, { handlers: { agent: sessions } });
  const second = await startGateway(t, { nats });
  const token = await accessToken(await addKey(auth), { sub: "device:lost", scope: "sessions:read" });
  const id = "a1b2c3";
  const apiKey = await addCredential(auth, { kind: "api-key", scopes: ["sessions:read"] });
  const ask = async (base: string, with_: string): Promise<number> =>
    (await send(`${base}/v1/sessions`, "GET", { authorization: `Bearer ${with_}` })).status;
  for (const base of [url, second.url])
    for (const each of [token, apiKey])
      await waitUntil("The watch", 5000, async () => (await ask(base, each)) === 200 || undefined);
  const before = performance.now();
  await auth.revocations.create("lost", { revokedAt: Date.now() });
  await auth.credentials.delete(apiKey.split("_")[1] ?? id);
  for (const base of [url, second.url])
    for (const each of [token, apiKey])
      await waitUntil("The revocation", 5000, async () => (await ask(base, each)) === 401 || undefined);
  assert.ok(performance.now() - before < 1000);
});

test("a token that was withdrawn with its key is out, though it was verified before", async (t) => {
  const { url, auth } = await startGateway(t, { handlers: { agent: sessions } });
  const key = await addKey(auth);
  const token = await accessToken(key, { scope: "sessions:read" });
  const ask = async (): Promise<number> =>
    (await send(`${url}/v1/sessions`, "GET", { authorization: `Bearer ${token}` })).status;
  await waitUntil("The watch", 5000, async () => (await ask()) === 200 || undefined);
  await auth.keys.delete(key.kid);
  await waitUntil("The withdrawal", 1000, async () => (await ask()) === 401 || undefined);
});

test("only our own web pages may call, and only under our own names", async (t) => {
  const config = { allowedHosts: ["localhost", "warren.example"], allowedOrigins: ["https://console.example"] };
  const { call, port } = await startGateway(t, { config, handlers: { agent: sessions } });
  const table: [host: string, origin: string | undefined, status: number][] = [
    [`localhost:${port}`, undefined, 200],
    ["LOCALHOST", undefined, 200],
    ["warren.example", "https://warren.example", 200],
    ["warren.example", "https://console.example", 200],
    [`localhost:${port}`, `http://localhost:${port}`, 200],
    [`localhost:${port}`, "http://localhost:1", 403],
    ["warren.example", "https://evil.example", 403],
    ["warren.example", "null", 403],
    ["127.0.0.1", undefined, 421],
    ["evil.example", undefined, 421],
    ["warren.example.evil.example", undefined, 421],
    ["[::1]", undefined, 421],
  ];
  for (const [host, origin, status] of table) {
    const answer = await call("GET", "/v1/sessions", {
      headers: { host, ...(origin === undefined ? {} : { origin }) },
    });
    assert.equal(answer.status, status, `${host} ${origin}`);
    // Our own page needs no leave to read; a page elsewhere that the configuration names has it.
    const named = origin === config.allowedOrigins[0] ? origin : null;
    assert.equal(answer.headers.get("access-control-allow-origin"), named);
  }
  assert.equal(
    (await call("GET", "/health/live", { headers: { host: "10.1.2.3:8080" } })).status,
    200,
    "probes come by address",
  );
});
