import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { json, startFakeGateway } from "./support/fake-gateway.ts";
import { writeTestProfile } from "./support/profile.ts";
import { type Home, makeHome } from "./support/warren.ts";

// util-linux's script gives a command a terminal.
const script = "/usr/bin/script";
const launcher = fileURLToPath(new URL("../bin/warren", import.meta.url));

test("a secret is asked for on a terminal and is not shown", async (t) => {
  if (!existsSync(script)) return t.skip(`there is no ${script} to make a terminal with`);
  const gateway = await startFakeGateway(t, { "PUT /v1/secrets/key": json({ name: "key", version: 1 }) });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const { code, shown } = await onTerminal(t, home, "secret set key", [["Value of key", "hunter2\r"]]);
  assert.equal(code, 0, shown);
  assert.deepEqual(gateway.bodies("PUT /v1/secrets/key"), [{ value: "hunter2" }]);
  assert.doesNotMatch(shown, /hunter2/);
});

test("what cannot be undone is asked for, and Enter alone is no", async (t) => {
  if (!existsSync(script)) return t.skip(`there is no ${script} to make a terminal with`);
  const gateway = await startFakeGateway(t, { "DELETE /v1/secrets/key": json({}) });
  const home = await makeHome(t);
  await writeTestProfile(home.profile, gateway.url);
  const refused = await onTerminal(t, home, "secret delete key", [["Delete key", "\r"]]);
  assert.equal(refused.code, 130);
  assert.equal(gateway.requests.length, 0);
  const agreed = await onTerminal(t, home, "secret delete key", [["Delete key", "y"]]);
  assert.equal(agreed.code, 0);
  assert.equal(gateway.requests.length, 1);
});

test("a wrong code is asked for again", async (t) => {
  if (!existsSync(script)) return t.skip(`there is no ${script} to make a terminal with`);
  const grant = { accessToken: "a", refreshToken: "r", expiresIn: 600, deviceId: "d1", scopes: ["chat"] };
  const gateway = await startFakeGateway(t, {
    "POST /v1/pairing": json({ id: "p".repeat(32), challenge: "c" }),
    [`POST /v1/pairing/${"p".repeat(32)}:complete`]: ({ json: body }, response) => {
      const right = (body as { code: string }).code === "ABCD2345";
      response.writeHead(right ? 200 : 401, { "content-type": "application/json" });
      response.end(JSON.stringify(right ? grant : { status: 401, title: "No", detail: "The pairing was refused" }));
    },
  });
  const home = await makeHome(t);
  const { code, shown } = await onTerminal(t, home, `pair --url ${gateway.url}`, [
    ["Code", "zzzz9999\r"],
    ["Try again", ""],
    ["Code", "abcd2345\r"],
  ]);
  assert.equal(code, 0, shown);
  assert.match(shown, /Paired with/);
});

/** Runs a command line on a terminal of its own; types each answer once its question has been shown. */
async function onTerminal(
  t: TestContext,
  home: Home,
  words: string,
  answers: readonly (readonly [question: string, typed: string])[],
): Promise<{ code: number | null; shown: string }> {
  const child = spawn(script, ["-qec", `stty cols 80 rows 24; ${launcher} ${words}`, "/dev/null"], {
    env: {
      PATH: process.env["PATH"],
      TERM: "xterm",
      HOME: home.folder,
      XDG_CONFIG_HOME: `${home.folder}/config`,
      XDG_STATE_HOME: `${home.folder}/state`,
    },
    stdio: ["pipe", "pipe", "inherit"],
    timeout: 60_000,
  });
  t.after(() => child.kill("SIGKILL"));
  const ended = Promise.all([text(child.stdout), once(child, "close")]);
  let unread = "";
  let next = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    unread += chunk.toString();
    for (let answer = answers[next]; answer; answer = answers[next]) {
      const at = unread.indexOf(answer[0]);
      if (at < 0) break;
      unread = unread.slice(at + answer[0].length);
      child.stdin.write(answer[1]);
      next += 1;
    }
  });
  const [shown] = await ended;
  return { code: child.exitCode, shown };
}
