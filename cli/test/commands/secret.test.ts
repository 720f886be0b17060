import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { type FakeGateway, json, sendJson, startFakeGateway } from "../support/fake-gateway.ts";
import { writeTestProfile } from "../support/profile.ts";
import { type Home, makeHome } from "../support/warren.ts";

test("a value comes from stdin, without the line break that ends it", async (t) => {
  const { gateway, home } = await vault(t);
  const { code, stdout, stderr } = await home.warren(["secret", "set", "db.password", "--description", "main"], {
    input: "pässword 1\n",
  });
  assert.equal(code, 0, stderr);
  assert.deepEqual(gateway.bodies("PUT /v1/secrets/db.password"), [{ value: "pässword 1", description: "main" }]);
  assert.equal(stdout, "Stored db.password, version 3.\n");
  assert.doesNotMatch(stdout + stderr, /pässword/);
});

test("a value comes from a file as it is", async (t) => {
  const { gateway, home } = await vault(t);
  await writeFile(join(home.folder, "key.pem"), "line 1\nline 2\n");
  const { stdout } = await home.warren(["secret", "set", "db.password", "--from-file", "key.pem", "--json"]);
  assert.deepEqual(gateway.bodies("PUT /v1/secrets/db.password"), [{ value: "line 1\nline 2\n" }]);
  assert.equal((JSON.parse(stdout) as Record<string, unknown>)["version"], 3);
});

test("a value is never taken from the command line", async (t) => {
  const { gateway, home } = await vault(t);
  const { code } = await home.warren(["secret", "set", "db.password", "hunter2"], { input: "x" });
  assert.equal(code, 2);
  assert.equal(gateway.requests.length, 0);
});

test("an empty value and one that is no text are refused before anything is sent", async (t) => {
  const { gateway, home } = await vault(t);
  for (const input of ["", "\n", Buffer.from([0xff, 0xfe]), "x".repeat(65_537)]) {
    const { code, stderr } = await home.warren(["secret", "set", "db.password"], { input });
    assert.equal(code, 2);
    assert.match(stderr, /empty|not UTF-8|longer/);
  }
  assert.equal(gateway.requests.length, 0);
});

test("a piped value is printed exactly", async (t) => {
  const { gateway, home } = await vault(t);
  const { code, stdout } = await home.warren(["secret", "get", "db.password", "--secret-version", "2"]);
  assert.equal(code, 0);
  assert.equal(stdout, "line 1\nline 2");
  assert.equal(gateway.requests[0]?.query.get("version"), "2");
  const document = JSON.parse((await home.warren(["secret", "get", "db.password", "--json"])).stdout);
  assert.equal((document as Record<string, unknown>)["value"], "line 1\nline 2");
});

test("the list shows every page and no value", async (t) => {
  const { home } = await vault(t);
  const { stdout } = await home.warren(["secret", "list"]);
  assert.match(stdout, /^NAME +VERSION +UPDATED +DESCRIPTION\n/);
  assert.match(stdout, /db\.password +3 +2 hours ago +main/);
  assert.match(stdout, /second\.page +1/);
  const document = JSON.parse((await home.warren(["secret", "list", "--json"])).stdout) as { secrets: unknown[] };
  assert.equal(document.secrets.length, 2);
});

test("a secret is deleted", async (t) => {
  const { gateway, home } = await vault(t);
  const { code, stdout } = await home.warren(["secret", "delete", "db.password", "--json"]);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), { name: "db.password", deleted: true });
  assert.equal(gateway.requests[0]?.method, "DELETE");
});

test("a hostile name stays one part of the path", async (t) => {
  const { gateway, home } = await vault(t);
  const { code } = await home.warren(["secret", "get", "../devices?x=1"]);
  assert.equal(code, 5);
  assert.equal(gateway.requests[0]?.path, "/v1/secrets/../devices?x=1");
});

async function vault(t: TestContext): Promise<{ gateway: FakeGateway; home: Home }> {
  const secret = { name: "db.password", version: 3, description: "main", createTime: new Date(0).toISOString() };
  const updateTime = new Date(Date.now() - 2 * 3_600_000 - 60_000).toISOString();
  const gateway = await startFakeGateway(t, {
    "PUT /v1/secrets/db.password": json(secret),
    "GET /v1/secrets/db.password": json({ name: "db.password", version: 3, value: "line 1\nline 2", updateTime }),
    "DELETE /v1/secrets/db.password": json({}),
    "GET /v1/secrets": ({ query }, response) =>
      query.get("pageToken") === "next"
        ? sendJson(response, { secrets: [{ name: "second.page", version: 1 }], nextPageToken: "" })
        : sendJson(response, { secrets: [{ ...secret, updateTime }], nextPageToken: "next" }),
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  return { gateway, home };
}
