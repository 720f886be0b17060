import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { startStack } from "@warren/testing";

const CANARY = "canary-2b1f9c74-secret";
const KEEPER = fileURLToPath(new URL("../fixtures/keeper", import.meta.url));

/** The files of a folder that hold a text, as it is or in base64. */
function filesWith(folder: string, text: string): string[] {
  const forms = [Buffer.from(text), ...[0, 1, 2].map((shift) => base64Core(text, shift))];
  const found: string[] = [];
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const bytes = readFileSync(join(entry.parentPath, entry.name));
    if (forms.some((form) => bytes.includes(form))) found.push(join(entry.parentPath, entry.name));
  }
  return found;
}

/** What every base64 of a text holds when it begins `shift` bytes into a group of three. */
function base64Core(text: string, shift: number): Buffer {
  const encoded = Buffer.concat([Buffer.alloc(shift), Buffer.from(text)]).toString("base64");
  return Buffer.from(encoded.slice(4, -4));
}

test("a secret", async (t) => {
  const stack = await startStack(t, { env: { WARREN_LOG_LEVEL: "trace" } });

  await t.test("is set from standard input and read back", async () => {
    const set = await stack.warren(["secret", "set", "canary", "--json"], CANARY);
    assert.equal(set.code, 0, set.stderr);
    assert.ok(!set.stdout.includes(CANARY) && !set.stderr.includes(CANARY));
    assert.equal((await stack.warren(["secret", "get", "canary"])).stdout, CANARY);
    const list = await stack.request("GET", "/v1/secrets");
    assert.deepEqual(
      [...(list.json["secrets"] ?? [])].map((secret) => String(secret["name"])),
      ["canary"],
    );
    assert.ok(!list.text.includes(CANARY));
  });
  await t.test("is leased to a plugin whose granted permissions name it, and to no other", async () => {
    const added = await stack.warren(["plugin", "add", KEEPER, "--yes", "--json"]);
    assert.equal(added.code, 0, added.stderr);
    const measure = (name: string) =>
      stack.request("POST", "/v1/plugins/keeper/tools/measure_secret:call", { body: { arguments: { name } } });
    assert.equal(String((await measure("canary")).json["content"]?.[0]?.["text"]), `${CANARY.length} characters`);
    await stack.request("PUT", "/v1/secrets/other", { body: { value: "not for the keeper" } });
    const denied = await measure("other");
    assert.equal(Boolean(denied.json["isError"]), true, denied.text);
    assert.match(denied.text, /secrets:lease:other|permission/);
  });
  await t.test("is in plain text nowhere: not in the data folder, the logs or the traces", async () => {
    const read = await stack.request("GET", "/v1/secrets/canary");
    const traceId = read.headers.get("traceparent")?.split("-")[1] ?? "";
    const trace = await stack.request("GET", `/v1/traces/${traceId}`);
    assert.ok([...(trace.json["spans"] ?? [])].length > 0);
    assert.ok(!trace.text.includes(CANARY));
    assert.ok(!stack.lines.join("\n").includes(CANARY));
    assert.deepEqual(filesWith(stack.dataDir, CANARY), []);
  });
  await t.test("leaves no process's arguments or environment with it, and no file of keys that others can read", () => {
    for (const pid of Object.values(stack.pids()))
      for (const part of ["cmdline", "environ"])
        assert.ok(!readFileSync(`/proc/${pid}/${part}`, "utf8").includes(CANARY));
    assert.equal(statSync(stack.dataDir).mode & 0o777, 0o700);
    assert.equal(statSync(join(stack.dataDir, "operator-token")).mode & 0o777, 0o600);
    assert.equal(statSync(join(stack.dataDir, "secrets", "root.key")).mode & 0o777, 0o600);
  });
  await t.test("is deleted", async () => {
    assert.equal((await stack.request("DELETE", "/v1/secrets/canary")).status, 200);
    assert.equal((await stack.request("GET", "/v1/secrets/canary")).status, 404);
  });
});
