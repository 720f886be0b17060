import assert from "node:assert/strict";
import { chmod, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { json, problem, sendJson, sendProblem, startFakeGateway } from "./support/fake-gateway.ts";
import { writeTestProfile } from "./support/profile.ts";
import { makeHome } from "./support/warren.ts";

const noDevices = { "GET /v1/devices": json({ devices: [], nextPageToken: "" }) };

test("the token file named on the command line goes before every other access", async (t) => {
  const gateway = await startFakeGateway(t, noDevices);
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const words = ["devices", "--url", gateway.url, "--token-file", await home.tokenFile("from-file")];
  assert.equal((await home.warren(words)).code, 0);
  assert.equal(gateway.requests[0]?.headers.authorization, "Bearer from-file");
});

test("a token file is sent to the address named", async (t) => {
  const gateway = await startFakeGateway(t, noDevices);
  const home = await makeHome(t);
  const file = await home.tokenFile("from-file");
  const { code } = await home.warren(["devices"], { env: { WARREN_URL: gateway.url, WARREN_TOKEN_FILE: file } });
  assert.equal(code, 0);
  assert.equal(gateway.requests[0]?.headers.authorization, "Bearer from-file");
});

test("a paired device uses its own gateway and its own token", async (t) => {
  const gateway = await startFakeGateway(t, noDevices);
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const { code } = await home.warren(["devices"]);
  assert.equal(code, 0);
  assert.equal(gateway.requests[0]?.headers.authorization, "Bearer access-1");
});

test("a device's token is not sent to a gateway it was not issued by", async (t) => {
  const own = await startFakeGateway(t, noDevices);
  const other = await startFakeGateway(t, noDevices);
  const home = await makeHome(t);
  await writeTestProfile(home.profile, own.url);
  const { code, stderr } = await home.warren(["devices", "--url", other.url]);
  assert.equal(code, 4);
  assert.match(stderr, /not paired with/);
  assert.equal(other.requests.length, 0);
  const named = await home.warren(["devices", "--url", other.url, "--profile", home.profile]);
  assert.equal(named.code, 2);
  assert.match(named.stderr, /is paired with/);
  assert.equal(other.requests.length, 0);
});

test("the operator's token of the data directory is used on this machine", async (t) => {
  const gateway = await startFakeGateway(t, noDevices);
  const home = await makeHome(t);
  await mkdir(home.dataDir);
  await writeFile(join(home.dataDir, "operator-token"), "operator-1\n", { mode: 0o600 });
  const { code } = await home.warren(["devices"], { env: { WARREN_HTTP_PORT: String(gateway.port) } });
  assert.equal(code, 0);
  assert.equal(gateway.requests[0]?.headers.authorization, "Bearer operator-1");
});

test("the operator's token never leaves this machine", async (t) => {
  const home = await makeHome(t);
  await mkdir(home.dataDir);
  await writeFile(join(home.dataDir, "operator-token"), "operator-1\n", { mode: 0o600 });
  const { code, stderr } = await home.warren(["devices", "--url", "http://gateway.invalid:8080"]);
  assert.equal(code, 4, "refused before the name is looked up");
  assert.match(stderr, /not paired with http:\/\/gateway\.invalid:8080/);
});

test("keys and tokens that others can read are not used", async (t) => {
  const gateway = await startFakeGateway(t, noDevices);
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  await chmod(home.profile, 0o640);
  const { code, stderr } = await home.warren(["devices"]);
  assert.equal(code, 1);
  assert.match(stderr, /can be read by others/);
  assert.match(stderr, /chmod 600/);
  assert.equal(gateway.requests.length, 0);
});

test("an access token at its end is renewed, and the profile keeps its successor", async (t) => {
  const gateway = await startFakeGateway(t, {
    ...noDevices,
    "POST /v1/token": json(grant("access-2", "refresh-2")),
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url, { accessTokenEnd: Date.now() + 5000 });
  const { code, stdout, stderr } = await home.warren(["devices"]);
  assert.equal(code, 0);
  assert.deepEqual(gateway.bodies("POST /v1/token"), [{ refreshToken: "refresh-1" }]);
  assert.equal(gateway.requests[0]?.headers.authorization, undefined);
  assert.equal(gateway.requests[1]?.headers.authorization, "Bearer access-2");
  const profile = JSON.parse(await readFile(home.profile, "utf8")) as Record<string, unknown>;
  assert.equal(profile["accessToken"], "access-2");
  assert.equal(profile["refreshToken"], "refresh-2");
  assert.equal((await stat(home.profile)).mode & 0o777, 0o600);
  assert.doesNotMatch(stdout + stderr, /access-|refresh-/);
});

test("a token the gateway refuses is renewed once, and the request repeated", async (t) => {
  const gateway = await startFakeGateway(t, {
    "GET /v1/devices": (request, response) =>
      request.headers.authorization === "Bearer access-2"
        ? sendJson(response, { devices: [] })
        : sendProblem(response, 401, "UNAUTHENTICATED", "The token is not valid"),
    "POST /v1/token": json(grant("access-2", "refresh-2")),
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  assert.equal((await home.warren(["devices"])).code, 0);
  assert.equal(gateway.bodies("POST /v1/token").length, 1);
});

test("a revoked device is told to pair again", async (t) => {
  const gateway = await startFakeGateway(t, {
    "GET /v1/devices": problem(401, "UNAUTHENTICATED", "The token is not valid"),
    "POST /v1/token": problem(401, "REFRESH_REFUSED", "The refresh token is not valid any more"),
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const { code, stderr } = await home.warren(["devices"]);
  assert.equal(code, 4);
  assert.match(stderr, /no longer accepts this device/);
  assert.match(stderr, /warren pair --replace/);
});

test("of commands that run at once one renews, and the refresh token is used once", async (t) => {
  let newest = 1;
  let reused = 0;
  const gateway = await startFakeGateway(t, {
    ...noDevices,
    "POST /v1/token": ({ json: body }, response) => {
      const { refreshToken } = body as { refreshToken: string };
      if (refreshToken !== `refresh-${newest}`) reused += 1;
      newest += 1;
      sendJson(response, grant(`access-${newest}`, `refresh-${newest}`));
    },
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url, { accessTokenEnd: 0 });
  const runs = await Promise.all(Array.from({ length: 4 }, () => home.warren(["devices"])));
  assert.deepEqual(
    runs.map(({ code }) => code),
    [0, 0, 0, 0],
  );
  assert.equal(reused, 0);
  assert.equal(gateway.bodies("POST /v1/token").length, 1);
});

test("the lock of a process that died is taken over", async (t) => {
  const gateway = await startFakeGateway(t, { ...noDevices, "POST /v1/token": json(grant("access-2", "refresh-2")) });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url, { accessTokenEnd: 0 });
  const gone = home.start(["--version"]);
  await gone.ended;
  await writeFile(`${home.profile}.lock`, String(gone.child.pid));
  assert.equal((await home.warren(["devices"])).code, 0);
});

function grant(accessToken: string, refreshToken: string): Record<string, unknown> {
  return {
    accessToken,
    tokenType: "Bearer",
    expiresIn: 600,
    refreshToken,
    deviceId: "device-1",
    scopes: ["chat", "plugins:read"],
  };
}
