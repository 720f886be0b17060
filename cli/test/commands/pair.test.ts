import assert from "node:assert/strict";
import { createPublicKey, type JsonWebKey, verify } from "node:crypto";
import { access, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { test } from "node:test";
import {
  type FakeGateway,
  json,
  type Route,
  sendJson,
  sendProblem,
  startFakeGateway,
} from "../support/fake-gateway.ts";
import { writeTestProfile } from "../support/profile.ts";
import { makeHome } from "../support/warren.ts";

const id = "0123456789abcdef0123456789abcdef";
const code = "ABCD2345";
const challenge = "Y2hhbGxlbmdl";

test("a device pairs with the code: it signs the challenge with its key and keeps both private", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  const words = [
    "pair",
    "--url",
    gateway.url,
    "--name",
    "Alice's laptop",
    "--scope",
    "chat",
    "--scope",
    "secrets:write",
  ];
  const { code: exit, stdout, stderr } = await home.warren(words, { input: "abcd-2345\n" });
  assert.equal(exit, 0, stderr);
  assert.match(stdout, /Paired with .* as Alice's laptop \(device-7\)/);
  const [start] = gateway.bodies("POST /v1/pairing") as Record<string, unknown>[];
  assert.equal(start?.["deviceName"], "Alice's laptop");
  assert.deepEqual(start?.["scopes"], ["chat", "secrets:write"]);
  const publicKey = JSON.parse(String(start?.["publicKey"])) as JsonWebKey;
  assert.deepEqual(Object.keys(publicKey).toSorted(), ["crv", "kty", "x"], "the private half stays here");
  const [complete] = gateway.bodies(`POST /v1/pairing/${id}:complete`) as { code: string; signature: string }[];
  assert.equal(complete?.code, code);
  assert.ok(isSigned(publicKey, complete.signature));
  assert.equal((await stat(home.profile)).mode & 0o777, 0o600);
  assert.equal((await stat(dirname(home.profile))).mode & 0o777, 0o700);
  const profile = JSON.parse(await readFile(home.profile, "utf8")) as Record<string, unknown>;
  assert.equal(profile["url"], gateway.url);
  assert.equal(profile["deviceId"], "device-7");
  assert.equal((profile["privateKey"] as JsonWebKey).x, publicKey.x);
  assert.doesNotMatch(stdout + stderr, /the-access-token|the-refresh-token/);
  assert.doesNotMatch(stdout + stderr, new RegExp(String((profile["privateKey"] as JsonWebKey).d)));
  await assert.rejects(access(`${home.profile}.pairing`), "what waited is gone");
});

test("with --json a pairing begins, and another command completes it with the code", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  const begun = await home.warren(["pair", "--url", gateway.url, "--json"]);
  assert.equal(begun.code, 0);
  assert.equal((JSON.parse(begun.stdout) as Record<string, unknown>)["id"], id);
  assert.equal((await stat(`${home.profile}.pairing`)).mode & 0o777, 0o600);
  await assert.rejects(access(home.profile), "it is not paired yet");
  const done = await home.warren(["pair", "--code", "ABCD 2345", "--totp", "123456", "--json"]);
  assert.equal(done.code, 0, done.stderr);
  const document = JSON.parse(done.stdout) as Record<string, unknown>;
  assert.deepEqual(Object.keys(document).toSorted(), ["deviceId", "deviceName", "profile", "scopes", "url"]);
  const [complete] = gateway.bodies(`POST /v1/pairing/${id}:complete`) as Record<string, unknown>[];
  assert.equal(complete?.["totp"], "123456");
});

test("without an answer the pairing waits", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  const { code: exit, stderr } = await home.warren(["pair", "--url", gateway.url]);
  assert.equal(exit, 0);
  assert.match(stderr, /warren pair --code/);
  assert.equal((await home.warren(["pair", "--code", code])).code, 0);
});

test("what cannot be a code costs no attempt", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  await home.warren(["pair", "--url", gateway.url, "--json"]);
  const { code: exit, stderr } = await home.warren(["pair", "--code", "ABCD0000"]);
  assert.equal(exit, 2);
  assert.match(stderr, /0, 1, I, L and O/);
  assert.equal(gateway.bodies(`POST /v1/pairing/${id}:complete`).length, 0);
});

test("a wrong code is refused, and the pairing can still be completed", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  await home.warren(["pair", "--url", gateway.url, "--json"]);
  const wrong = await home.warren(["pair", "--code", "ZZZZ9999"]);
  assert.equal(wrong.code, 4);
  assert.match(wrong.stderr, /The pairing was refused/);
  assert.equal((await home.warren(["pair", "--code", code])).code, 0);
});

test("--approve completes a pairing with the operator's token of this machine", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  await mkdir(home.dataDir);
  await writeFile(join(home.dataDir, "operator-token"), "operator-1\n", { mode: 0o600 });
  const { code: exit, stderr } = await home.warren(["pair", "--approve", "--url", gateway.url]);
  assert.equal(exit, 0, stderr);
  const listing = gateway.requests.find(({ method, path }) => method === "GET" && path === "/v1/pairing");
  assert.equal(listing?.headers.authorization, "Bearer operator-1");
  assert.match(await readFile(home.profile, "utf8"), /the-access-token/);
});

test("--approve without the operator's token begins nothing", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  const { code: exit, stderr } = await home.warren(["pair", "--approve", "--url", gateway.url]);
  assert.equal(exit, 4);
  assert.match(stderr, /no operator's token/);
  assert.equal(gateway.requests.length, 0);
});

test("the operator sees the pairings that wait, with their codes", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  const words = ["pair", "--list", "--url", gateway.url, "--token-file", await home.tokenFile("operator-1")];
  const { code: exit, stdout } = await home.warren(words);
  assert.equal(exit, 0);
  assert.match(stdout, /CODE +DEVICE +ADDRESS/);
  assert.match(stdout, /ABCD-2345 +Alice\\x1b\[2J +192\.0\.2\.7 +waiting/);
  const document = JSON.parse((await home.warren([...words, "--json"])).stdout) as { pairings: { code: string }[] };
  assert.equal(document.pairings[0]?.code, code);
});

test("a paired device is paired again only when told to", async (t) => {
  const gateway = await pairingGateway(t);
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const { code: exit, stderr } = await home.warren(["pair"]);
  assert.equal(exit, 2);
  assert.match(stderr, /--replace/);
  assert.equal(gateway.requests.length, 0);
  assert.equal((await home.warren(["pair", "--replace"], { input: `${code}\n` })).code, 0);
  assert.match(await readFile(home.profile, "utf8"), /device-7/);
});

async function pairingGateway(t: Parameters<typeof startFakeGateway>[0]): Promise<FakeGateway> {
  const complete: Route = ({ json: body }, response) => {
    if ((body as { code: string }).code !== code)
      return sendProblem(response, 401, "PAIRING_REFUSED", "The pairing was refused: check the code");
    sendJson(response, {
      accessToken: "the-access-token",
      tokenType: "Bearer",
      expiresIn: 600,
      refreshToken: "the-refresh-token",
      deviceId: "device-7",
      scopes: ["chat", "secrets:write"],
    });
  };
  const expireTime = new Date(Date.now() + 300_000).toISOString();
  return startFakeGateway(t, {
    "POST /v1/pairing": json({ id, challenge, expireTime }),
    [`POST /v1/pairing/${id}:complete`]: complete,
    "GET /v1/pairing": json({
      pairings: [
        {
          id,
          code,
          deviceName: "Alice\u001b[2J",
          address: "192.0.2.7",
          scopes: ["chat"],
          state: "PAIRING_STATE_PENDING",
          attempts: 0,
          expireTime,
        },
      ],
    }),
  });
}

function isSigned(publicKey: JsonWebKey, signature: string): boolean {
  const text = Buffer.from(`warren-pairing-v1\n${challenge}\n${code}\n${id}`);
  const key = createPublicKey({ key: publicKey, format: "jwk" });
  return verify(null, text, key, Buffer.from(signature, "base64url"));
}
