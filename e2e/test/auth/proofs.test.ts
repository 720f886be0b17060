// Proofs of possession (DPoP, RFC 9449) as a client and an attacker use them.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { newDevice, send, startWorld } from "./world.ts";

test("proofs of possession", async (t) => {
  const { url, gateways, pair, operator } = await startWorld(t);
  const target = `${url}/v1/session`;

  for (const algorithm of ["Ed25519", "P-256"] as const)
    await t.test(`a device with a key of ${algorithm} proves it with each request, at any gateway`, async () => {
      const device = await pair({ algorithm });
      assert.equal(device.grant["tokenType"], "DPoP");
      for (const gateway of gateways) {
        const answer = await device.call("GET", `${gateway.url}/v1/session`);
        assert.equal(answer.status, 200, answer.text);
        assert.partialDeepStrictEqual(answer.json, { principal: `device:${device.id}`, proofRequired: true });
      }
      const { json } = await device.call("GET", `${url}/v1/devices?pageSize=5`);
      assert.partialDeepStrictEqual(json["devices"], [{ id: device.id, proofRequired: true }]);
      assert.equal((await device.renew(url)).status, 200);
      assert.equal((await device.call("GET", target)).status, 200);
    });

  await t.test("a token without the proof that it asks for gets the one answer that every bad token gets", async () => {
    const device = await pair();
    const { accessToken: token } = device;
    const good = (): string => device.prove("GET", target, token);
    const used = good();
    assert.equal((await send(target, "GET", { authorization: `DPoP ${token}`, dpop: used })).status, 200);
    const other = newDevice("Ed25519", true);
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const now = Math.floor(Date.now() / 1000);
    const changed = (claims: Record<string, unknown>, header: Record<string, unknown> = {}): string =>
      device.prove("GET", target, token, { claims, header });
    const attacks: Record<string, Record<string, string>> = {
      "as a bearer's, without a proof": { authorization: `Bearer ${token}` },
      "as a bearer's, with a proof": { authorization: `Bearer ${token}`, dpop: good() },
      "in the other header, without a proof": { "x-warren-token": token },
      "no proof": { authorization: `DPoP ${token}` },
      "a proof that was used": { authorization: `DPoP ${token}`, dpop: used },
      "of another key": { authorization: `DPoP ${token}`, dpop: other.prove("GET", target, token) },
      "signed with another key": {
        authorization: `DPoP ${token}`,
        dpop: device.prove("GET", target, token, { signWith: other.privateKey }),
      },
      "for another method": { authorization: `DPoP ${token}`, dpop: device.prove("POST", target, token) },
      "for another path": { authorization: `DPoP ${token}`, dpop: device.prove("GET", `${url}/v1/devices`, token) },
      "for another host": {
        authorization: `DPoP ${token}`,
        dpop: device.prove("GET", "http://elsewhere.example/v1/session", token),
      },
      "for another port": {
        authorization: `DPoP ${token}`,
        dpop: device.prove("GET", `${gateways[1]?.url}/v1/session`, token),
      },
      "for a user at this host": {
        authorization: `DPoP ${token}`,
        dpop: changed({ htu: target.replace("http://", "http://me@") }),
      },
      "for another token": { authorization: `DPoP ${token}`, dpop: device.prove("GET", target, "another") },
      "for no token": { authorization: `DPoP ${token}`, dpop: device.prove("GET", target) },
      "of two minutes ago": { authorization: `DPoP ${token}`, dpop: changed({ iat: now - 120 }) },
      "of the future": { authorization: `DPoP ${token}`, dpop: changed({ iat: now + 120 }) },
      "of no time": { authorization: `DPoP ${token}`, dpop: changed({ iat: undefined }) },
      "without a name": { authorization: `DPoP ${token}`, dpop: changed({ jti: undefined }) },
      "of another type": { authorization: `DPoP ${token}`, dpop: changed({}, { typ: "JWT" }) },
      "by no algorithm": {
        authorization: `DPoP ${token}`,
        dpop: changed({}, { alg: "none" }).replace(/[^.]*$/, ""),
      },
      "by a symmetric one": { authorization: `DPoP ${token}`, dpop: changed({}, { alg: "HS256" }) },
      "with a key that is no device's": {
        authorization: `DPoP ${token}`,
        dpop: changed({}, { jwk: rsa.publicKey.export({ format: "jwk" }) }),
      },
      "with a private key": {
        authorization: `DPoP ${token}`,
        dpop: changed({}, { jwk: generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" }) }),
      },
      "without a key": { authorization: `DPoP ${token}`, dpop: changed({}, { jwk: undefined }) },
      garbage: { authorization: `DPoP ${token}`, dpop: "%%%" },
      "too long": { authorization: `DPoP ${token}`, dpop: "a".repeat(5000) },
    };
    const none = await send(target, "GET", {});
    for (const [name, headers] of Object.entries(attacks)) {
      const answer = await send(target, "GET", headers);
      assert.equal(answer.status, 401, name);
      assert.deepEqual({ ...answer.json, instance: "" }, { ...none.json, instance: "" }, name);
      assert.equal(answer.headers.get("www-authenticate"), none.headers.get("www-authenticate"), name);
    }
    assert.equal((await device.call("GET", target)).status, 200, "and the device itself carries on");
  });

  await t.test("the query of a request and the letters of its host do not matter", async () => {
    const device = await pair();
    const { accessToken: token } = device;
    const proof = device.prove("GET", `${url.toUpperCase().replace("HTTP", "http")}/v1/devices?x=1#y`, token);
    const answer = await send(`${url}/v1/devices?pageSize=1`, "GET", { authorization: `DPoP ${token}`, dpop: proof });
    assert.equal(answer.status, 200, answer.text);
  });

  await t.test("a refresh token is worth nothing without its device's key", async () => {
    const device = await pair();
    const json = { "content-type": "application/json" };
    const body = { refreshToken: device.refreshToken };
    const token = `${url}/v1/token`;
    assert.equal((await send(token, "POST", json, body)).status, 401);
    const thief = newDevice("Ed25519", true);
    assert.equal((await send(token, "POST", { ...json, dpop: thief.prove("POST", token) }, body)).status, 401);
    assert.equal((await device.renew(url)).status, 200, "the thief has neither used it up nor ended its family");
    const { json: audit } = await operator("GET", "/v1/audit?action=token.refresh&outcome=AUDIT_OUTCOME_DENIED");
    assert.partialDeepStrictEqual(audit["entries"], [{ reason: "wrong_key" }]);
  });

  await t.test("a device that was paired without a proof may go on so, until it gives its first", async () => {
    const device = await pair({ proves: false });
    assert.equal(device.grant["tokenType"], "Bearer");
    assert.equal((await device.call("GET", target)).status, 200);
    const foreign = newDevice("Ed25519", true).prove("GET", target, device.accessToken);
    const attack = { authorization: `Bearer ${device.accessToken}`, dpop: foreign };
    assert.equal((await send(target, "GET", attack)).status, 401, "a proof that is there counts");
    const own = device.prove("POST", `${url}/v1/token`);
    const headers = { "content-type": "application/json", dpop: own };
    const renewed = await send(`${url}/v1/token`, "POST", headers, { refreshToken: device.refreshToken });
    assert.equal(renewed.json["tokenType"], "DPoP");
    const bearer = { authorization: `Bearer ${String(renewed.json["accessToken"])}` };
    assert.equal((await send(target, "GET", bearer)).status, 401);
  });

  await t.test("a device cannot be paired with the proof of another key", async () => {
    const device = newDevice("Ed25519", true);
    const json = { "content-type": "application/json" };
    const wish = { deviceName: "Laptop", publicKey: device.publicKey };
    const started = await send(`${url}/v1/pairing`, "POST", json, wish);
    const id = String(started.json["id"]);
    const { json: waiting } = await operator("GET", "/v1/pairing");
    const { code = "" } =
      (waiting["pairings"] as { id: string; code: string }[]).find((pairing) => pairing.id === id) ?? {};
    const bare = code.replace("-", "");
    const signature = device.sign(`warren-pairing-v1\n${String(started.json["challenge"])}\n${bare}\n${id}`);
    const path = `${url}/v1/pairing/${id}:complete`;
    const dpop = newDevice("Ed25519", true).prove("POST", path);
    assert.equal((await send(path, "POST", { ...json, dpop }, { code, signature })).status, 401);
  });
});

test("a mesh that asks for proofs pairs no device without", async (t) => {
  const { url, pair, auth } = await startWorld(t, { settings: { requireProof: true } });
  await assert.rejects(pair({ proves: false }), /PROOF_REQUIRED/);
  assert.equal((await (await pair()).call("GET", `${url}/v1/session`)).status, 200);
  assert.equal(auth.events.filter(({ type }) => type === "DevicePaired").length, 1);
});
