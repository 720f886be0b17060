import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import {
  type FakeGateway,
  json,
  problem,
  type Route,
  sendJson,
  sendProblem,
  startFakeGateway,
} from "../support/fake-gateway.ts";
import { writeTestProfile } from "../support/profile.ts";
import { type Home, makeHome } from "../support/warren.ts";

const main = fileURLToPath(new URL("../support/main-with-fake-parts.ts", import.meta.url));
const digest = `sha256:${"a".repeat(64)}`;
const installed = {
  id: "text",
  version: "1.2.3",
  runtime: "python",
  state: "PLUGIN_STATE_RUNNING",
  runningHosts: 2,
  grants: ["fs:read:/srv/docs"],
  tools: [{ name: "count_words" }, { name: "upper" }],
};

test("a folder is packed, uploaded as it is, and installed with what --yes grants", async (t) => {
  const { gateway, home, folder } = await host(t, { required: ["fs:read:/srv/docs"], optional: ["net:outbound:*"] });
  const words = ["plugin", "add", folder, "--yes", "--id", "words", "--replace"];
  const { code, stdout, stderr } = await home.warren(words, { main });
  assert.equal(code, 0, stderr);
  const upload = gateway.requests.find(({ path }) => path === "/v1/packages");
  assert.equal(upload?.headers["content-type"], "application/gzip");
  assert.equal(upload?.bytes.toString(), "package of text");
  assert.deepEqual(gateway.bodies("POST /v1/plugins"), [
    { packageDigest: digest, grants: ["fs:read:/srv/docs"], id: "words", replace: true },
  ]);
  assert.match(stdout, /Installed text 1\.2\.3: running\.\nIt may: fs:read:\/srv\/docs\.\nTools: count_words, upper\./);
});

test("nothing is granted that nobody granted", async (t) => {
  const { gateway, home, folder } = await host(t, { required: ["fs:read:/srv/docs", "system:info"] });
  for (const words of [[], ["--json"], ["--grant", "system:info"]]) {
    const { code, stderr } = await home.warren(["plugin", "add", folder, ...words], { main });
    assert.equal(code, 1);
    assert.match(stderr, /fs:read:\/srv\/docs/);
    assert.match(stderr, /--grant|--yes/);
  }
  assert.equal(gateway.requests.length, 0);
});

test("a grant that covers what is required is enough", async (t) => {
  const { gateway, home, folder } = await host(t, { required: ["fs:read:/srv/docs"] });
  const words = ["plugin", "add", "--grant", "fs:read:/srv", "--grant", "system:info", folder, "--json"];
  const { code, stdout } = await home.warren(words, { main });
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), installed);
  const [body] = gateway.bodies("POST /v1/plugins") as Record<string, unknown>[];
  assert.deepEqual(body?.["grants"], ["fs:read:/srv", "system:info"]);
});

test("a grant that is none is refused before anything is sent", async (t) => {
  const { gateway, home, folder } = await host(t, {});
  const { code, stderr } = await home.warren(["plugin", "add", folder, "--grant", "fs:everything"], { main });
  assert.equal(code, 2);
  assert.match(stderr, /fs has no action "everything"/);
  assert.equal(gateway.requests.length, 0);
});

test("a package that arrives changed is not installed", async (t) => {
  const { gateway, home, folder } = await host(t, {}, { "POST /v1/packages": json({ digest: "sha256:b", size: 1 }) });
  const { code, stderr } = await home.warren(["plugin", "add", folder], { main });
  assert.equal(code, 1);
  assert.match(stderr, /changed on its way/);
  assert.equal(gateway.bodies("POST /v1/plugins").length, 0);
});

test("a folder that is no plugin is refused by name", async (t) => {
  const { home } = await host(t, {});
  const { code, stderr } = await home.warren(["plugin", "add", "nowhere"], { main });
  assert.equal(code, 1);
  assert.match(stderr, /nowhere cannot be packed: there is no such folder/);
});

test("an MCP server is installed by its command line", async (t) => {
  const { gateway, home } = await host(t, {});
  const commandLine = "npx -y @modelcontextprotocol/server-filesystem /srv/docs";
  const words = ["plugin", "add", "--mcp", commandLine, "--grant", "fs:read:/srv/docs"];
  assert.equal((await home.warren(words)).code, 0);
  assert.deepEqual(gateway.bodies("POST /v1/plugins"), [{ mcp: { commandLine }, grants: ["fs:read:/srv/docs"] }]);
  assert.equal((await home.warren(["plugin", "add"])).code, 2);
  assert.equal((await home.warren(["plugin", "add", "x", "--mcp", "y"])).code, 2);
});

test("the list shows state, hosts and tools", async (t) => {
  const failed = { ...installed, id: "bad", state: "PLUGIN_STATE_FAILED", stateReason: "it exits with 1" };
  const { home } = await host(t, {}, { "GET /v1/plugins": json({ plugins: [installed, failed] }) });
  const { stdout } = await home.warren(["plugin", "list"]);
  assert.match(stdout, /text +1\.2\.3 +python +running +2 +count_words upper/);
  assert.match(stdout, /bad .* failed: it exits with 1/);
});

test("a tool is called with arguments read by its schema", async (t) => {
  const { gateway, home } = await host(t, {});
  const words = ["plugin", "call", "text", "repeat", "word=12", "times=3", "loud=true", "marks=[1]", 'free={"a":1}'];
  const { code, stdout } = await home.warren(words);
  assert.equal(code, 0);
  assert.equal(stdout, "12 12 12\n[image image/png, 4 characters of base64]\n");
  assert.deepEqual(gateway.bodies("POST /v1/plugins/text/tools/repeat:call"), [
    { arguments: { word: "12", times: 3, loud: true, marks: [1], free: { a: 1 } } },
  ]);
  const wrong = await home.warren(["plugin", "call", "text", "repeat", "times=many"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /times is "many": the tool wants integer/);
});

test("a tool is called with JSON, and answers JSON", async (t) => {
  const { gateway, home } = await host(t, {});
  const { code, stdout } = await home.warren(["plugin", "call", "text", "repeat", "--args", '{"word":"x"}', "--json"]);
  assert.equal(code, 0);
  assert.equal((JSON.parse(stdout) as { content: unknown[] }).content.length, 2);
  assert.deepEqual(gateway.bodies("POST /v1/plugins/text/tools/repeat:call"), [{ arguments: { word: "x" } }]);
  assert.equal((await home.warren(["plugin", "call", "text", "repeat", "--args", "[1]"])).code, 2);
  assert.equal((await home.warren(["plugin", "call", "text", "repeat", "word"])).code, 2);
});

test("a tool that fails ends with 1, its reason on stderr", async (t) => {
  const result = { content: [{ type: "text", text: "no such file" }], isError: true };
  const { home } = await host(t, {}, { "POST /v1/plugins/text/tools/repeat:call": json(result) });
  const { code, stdout, stderr } = await home.warren(["plugin", "call", "text", "repeat"]);
  assert.equal(code, 1);
  assert.equal(stdout, "");
  assert.match(stderr, /no such file/);
  const asJson = await home.warren(["plugin", "call", "text", "repeat", "--json"]);
  assert.equal(asJson.code, 1);
  assert.deepEqual(JSON.parse(asJson.stdout), result);
});

test("a caller that may only call reads arguments without the schema", async (t) => {
  const { gateway, home } = await host(t, {}, { "GET /v1/plugins/text": problem(403, "SCOPE_MISSING", "no") });
  assert.equal((await home.warren(["plugin", "call", "text", "repeat", "word=x", "times=3"])).code, 0);
  assert.deepEqual(gateway.bodies("POST /v1/plugins/text/tools/repeat:call"), [{ arguments: { word: "x", times: 3 } }]);
});

test("log lines of all hosts come in the order of time, each on one line", async (t) => {
  const lines = [line(2, "host-b", "second\u001b[31m"), line(1, "host-a", "first")];
  const { gateway, home } = await host(t, {}, { "GET /v1/plugins/text/logs": json({ lines }) });
  const { stdout } = await home.warren(["plugin", "logs", "text", "--tail", "7"]);
  assert.equal(
    stdout,
    "1970-01-01T00:00:01.000Z host-a stderr first\n1970-01-01T00:00:02.000Z host-b stderr second\\x1b[31m\n",
  );
  assert.equal(gateway.requests[0]?.query.get("tail"), "7");
  assert.equal((await home.warren(["plugin", "logs", "text", "--follow", "--json"])).code, 2);
});

test("--follow prints what is new, also when the same is said twice, and waits when it asks too often", async (t) => {
  const answers = [[line(1, "a", "one"), line(2, "a", "two")], "limited", [line(2, "a", "two"), line(2, "a", "two")]];
  const { home } = await host(
    t,
    {},
    {
      "GET /v1/plugins/text/logs": (_request, response) => {
        const answer = answers.length > 1 ? answers.shift() : answers[0];
        if (answer !== "limited") return sendJson(response, { lines: answer });
        response.setHeader("retry-after", "1");
        sendProblem(response, 429, "QUOTA_EXCEEDED", "Over the limit query");
      },
    },
  );
  const started = home.start(["plugin", "logs", "text", "--follow", "-n", "1"]);
  await started.says("two\n1970-01-01T00:00:02.000Z a stderr two\n");
  started.child.kill("SIGINT");
  const { code, stdout } = await started.ended;
  assert.equal(code, 0);
  assert.doesNotMatch(stdout, /one/, "--tail 1 leaves out what was before");
});

test("a plugin is removed", async (t) => {
  const { home } = await host(t, {}, { "DELETE /v1/plugins/text": json({}) });
  const { code, stdout } = await home.warren(["plugin", "remove", "text", "--json"]);
  assert.equal(code, 0);
  assert.deepEqual(JSON.parse(stdout), { id: "text", removed: true });
});

test("a package is written without a gateway", async (t) => {
  const home = await makeHome(t);
  const folder = await pluginFolder(home, {});
  const { code, stdout } = await home.warren(["plugin", "pack", folder, "-o", "out.tar.gz", "--json"], { main });
  assert.equal(code, 0);
  const file = join(home.folder, "out.tar.gz");
  assert.deepEqual(JSON.parse(stdout), { id: "text", version: "1.2.3", digest, size: 15, file });
  assert.equal(await readFile(file, "utf8"), "package of text");
});

function line(second: number, hostId: string, text: string): Record<string, unknown> {
  return { time: new Date(second * 1000).toISOString(), hostId, source: "stderr", text };
}

async function host(
  t: TestContext,
  permissions: Record<string, unknown>,
  routes: Record<string, Route> = {},
): Promise<{ gateway: FakeGateway; home: Home; folder: string }> {
  const properties = {
    word: { type: "string" },
    times: { type: "integer" },
    loud: { type: "boolean" },
    marks: { type: ["array", "null"] },
  };
  const gateway = await startFakeGateway(t, {
    "POST /v1/packages": json({ digest, size: 15 }),
    "POST /v1/plugins": json(installed),
    "GET /v1/plugins/text": json({ ...installed, tools: [{ name: "repeat", inputSchema: { properties } }] }),
    "POST /v1/plugins/text/tools/repeat:call": json({
      content: [
        { type: "text", text: "12 12 12" },
        { type: "image", mimeType: "image/png", data: "AAAA" },
      ],
    }),
    ...routes,
  });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  return { gateway, home, folder: await pluginFolder(home, permissions) };
}

async function pluginFolder(home: Home, permissions: Record<string, unknown>): Promise<string> {
  const folder = join(home.folder, "text");
  await mkdir(folder);
  await writeFile(join(folder, "plugin.json"), JSON.stringify({ id: "text", version: "1.2.3", permissions }));
  return folder;
}
