import assert from "node:assert/strict";
import { test } from "node:test";
import { deadAddress, problem, sendProblem, startFakeGateway } from "./support/fake-gateway.ts";
import { makeHome } from "./support/warren.ts";

test("a command line that cannot be understood ends with 2 and says what can be typed", async (t) => {
  const home = await makeHome(t);
  for (const words of [
    ["frobnicate"],
    ["devices", "--nonsense"],
    ["devices", "revoke"],
    ["--url", "ftp://x", "devices"],
    [],
  ]) {
    const { code, stdout, stderr } = await home.warren(words);
    assert.equal(code, 2, words.join(" "));
    assert.equal(stdout, "");
    assert.notEqual(stderr, "");
  }
});

test("a variable that is wrong is named", async (t) => {
  const home = await makeHome(t);
  const { code, stderr } = await home.warren(["devices"], { env: { WARREN_HTTP_PORT: "http" } });
  assert.equal(code, 2);
  assert.match(stderr, /WARREN_HTTP_PORT is "http"/);
});

test("help and the version go to stdout and end with 0", async (t) => {
  const home = await makeHome(t);
  const help = await home.warren(["plugin", "call", "--help"]);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /--token-file/);
  const version = await home.warren(["--version"]);
  assert.equal(version.code, 0);
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/);
});

test("a gateway that is not there ends with 3 and tells how to start one", async (t) => {
  const home = await makeHome(t);
  const url = await deadAddress();
  const { code, stdout, stderr } = await home.warren([
    "devices",
    "--url",
    url,
    "--token-file",
    await home.tokenFile("x"),
  ]);
  assert.equal(code, 3);
  assert.equal(stdout, "");
  assert.ok(stderr.includes(`cannot reach a gateway at ${url}: nothing listens there`));
  assert.match(stderr, /warren up/);
});

test("each kind of refusal has its exit code", async (t) => {
  const home = await makeHome(t);
  const token = await home.tokenFile("secret-token");
  for (const [status, code] of [
    [400, 1],
    [401, 4],
    [403, 4],
    [404, 5],
    [409, 1],
    [429, 6],
    [500, 1],
    [503, 7],
    [504, 7],
  ] as const) {
    const gateway = await startFakeGateway(t, { "GET /v1/devices": problem(status, "CODE", "What happened") });
    const ended = await home.warren(["devices", "--url", gateway.url, "--token-file", token]);
    assert.equal(ended.code, code, String(status));
    assert.match(ended.stderr, /What happened/);
    assert.match(ended.stderr, /request-1/);
    assert.doesNotMatch(ended.stderr, /secret-token/);
  }
});

test("a refusal names each field, what to do and when", async (t) => {
  const gateway = await startFakeGateway(t, {
    "GET /v1/devices": (_request, response) => {
      response.setHeader("retry-after", "17");
      sendProblem(response, 429, "QUOTA_EXCEEDED", "Over the limit perip", {
        errors: [{ field: "pageSize", message: "must be at most 1000" }],
      });
    },
  });
  const home = await makeHome(t);
  const words = ["devices", "--url", gateway.url, "--token-file", await home.tokenFile("x")];
  const { stderr } = await home.warren(words);
  assert.match(stderr, /pageSize must be at most 1000/);
  assert.match(stderr, /try again in 17 s/);
  const json = await home.warren([...words, "--json"]);
  assert.equal(json.stdout, "");
  const document = JSON.parse(json.stderr) as Record<string, unknown>;
  assert.equal(document["status"], 429);
  assert.equal(document["exitCode"], 6);
  assert.equal(document["retryAfter"], 17);
  assert.equal(document["code"], "QUOTA_EXCEEDED");
});

test("a server that is no gateway is recognised", async (t) => {
  const gateway = await startFakeGateway(t, {
    "GET /v1/devices": (_request, response) =>
      void response.writeHead(200, { "content-type": "text/html" }).end("<html>"),
  });
  const home = await makeHome(t);
  const { code, stderr } = await home.warren([
    "devices",
    "--url",
    gateway.url,
    "--token-file",
    await home.tokenFile("x"),
  ]);
  assert.equal(code, 1);
  assert.match(stderr, /is it a Warren gateway/);
});

test("a redirect is not followed: the token stays where it was sent", async (t) => {
  const elsewhere = await startFakeGateway(t, {});
  const gateway = await startFakeGateway(t, {
    "GET /v1/devices": (_request, response) =>
      void response.writeHead(307, { location: `${elsewhere.url}/v1/devices` }).end(),
  });
  const home = await makeHome(t);
  const { code } = await home.warren(["devices", "--url", gateway.url, "--token-file", await home.tokenFile("x")]);
  assert.equal(code, 3);
  assert.equal(elsewhere.requests.length, 0);
});

test("what a gateway says cannot drive the terminal", async (t) => {
  const gateway = await startFakeGateway(t, { "GET /v1/devices": problem(400, "X", "\u001b[2Jgone\u009b31m\u202e") });
  const home = await makeHome(t);
  const { stderr } = await home.warren(["devices", "--url", gateway.url, "--token-file", await home.tokenFile("x")]);
  assert.doesNotMatch(stderr, /(?!\n)[\p{Cc}\u202e]/u);
  assert.match(stderr, /\\x1b\[2Jgone\\x9b31m\\u202e/);
});
