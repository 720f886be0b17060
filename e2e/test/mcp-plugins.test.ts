import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { startStack } from "@warren/testing";

test("unmodified MCP servers are plugins", async (t) => {
  const stack = await startStack(t);
  const folder = mkdtempSync(join(tmpdir(), "warren-granted-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "granted"));
  mkdirSync(join(folder, "other"));
  writeFileSync(join(folder, "granted", "note.txt"), "a note\nof two lines\n");
  writeFileSync(join(folder, "other", "private.txt"), "not for plugins");
  const granted = join(folder, "granted");
  const call = async (plugin: string, tool: string, args: object): Promise<{ text: string; isError: boolean }> => {
    const { status, json, text } = await stack.request("POST", `/v1/plugins/${plugin}/tools/${tool}:call`, {
      body: { arguments: args },
    });
    assert.equal(status, 200, text);
    return { text: String(json["content"]?.[0]?.["text"]), isError: Boolean(json["isError"]) };
  };

  await t.test("server-everything installs by one command and answers", async () => {
    const added = await stack.warren([
      "plugin",
      "add",
      "--mcp",
      "npx -y @modelcontextprotocol/server-everything",
      "--json",
    ]);
    assert.equal(added.code, 0, added.stderr);
    assert.match((await call("server-everything", "echo", { message: "hi there" })).text, /hi there/);
    assert.match((await call("server-everything", "get-sum", { a: 19, b: 23 })).text, /42/);
    const structured = await call("server-everything", "get-structured-content", { location: "New York" });
    assert.match(structured.text, /temperature/);
    assert.doesNotMatch((await call("server-everything", "get-env", {})).text, /WARREN|token/i);
  });
  await t.test("server-filesystem reads the folder that it was granted and no other", async () => {
    const command = `npx -y @modelcontextprotocol/server-filesystem ${folder}`;
    const added = await stack.warren(["plugin", "add", "--mcp", command, "--grant", `fs:read:${granted}`, "--json"]);
    assert.equal(added.code, 0, added.stderr);
    assert.match(
      (await call("server-filesystem", "read_text_file", { path: join(granted, "note.txt") })).text,
      /two lines/,
    );
    assert.match((await call("server-filesystem", "list_directory", { path: granted })).text, /note\.txt/);
    assert.match((await call("server-filesystem", "get_file_info", { path: join(granted, "note.txt") })).text, /size/);
    for (const path of [join(folder, "other", "private.txt"), "/etc/passwd"])
      assert.equal((await call("server-filesystem", "read_text_file", { path })).isError, true, path);
    const write = await call("server-filesystem", "write_file", { path: join(granted, "new.txt"), content: "x" });
    assert.equal(write.isError, true, "a folder granted for reading was written to");
  });
  await t.test("the agent uses their tools", async () => {
    const { json, text } = await stack.request("POST", "/v1/chat", {
      body: { message: "Please echo the message 'ping pong'" },
    });
    assert.equal(json["toolCalls"]?.[0]?.["name"], "echo", text);
    assert.match(String(json["toolCalls"]?.[0]?.["result"]), /ping pong/);
  });
  await t.test("are removed by one command", async () => {
    const removed = await stack.warren(["plugin", "remove", "server-everything", "--json"]);
    assert.equal(removed.code, 0, removed.stderr);
    assert.equal((await stack.request("GET", "/v1/plugins/server-everything")).status, 404);
    const gone = await stack.request("POST", "/v1/plugins/server-everything/tools/echo:call", {
      body: { arguments: {} },
    });
    assert.equal(gone.status, 404, gone.text);
  });
});
