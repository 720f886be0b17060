import assert from "node:assert/strict";
import { statSync } from "node:fs";
import test from "node:test";
import { startStack, waitUntil } from "@warren/testing";

test("a person pairs a device", async (t) => {
  const stack = await startStack(t);
  const profile = `${stack.dataDir}/profile.json`;
  const device = (...args: string[]) => stack.warren([...args, "--profile", profile, "--json"]);

  await t.test("with a code that the operator reads out", async () => {
    const begun = await device("pair", "--name", "Test laptop");
    assert.equal(begun.code, 0, begun.stderr);
    const waiting = await stack.warren(["pair", "--list", "--json"]);
    const { pairings } = JSON.parse(waiting.stdout) as { pairings: { code: string; deviceName: string }[] };
    assert.equal(pairings[0]?.deviceName, "Test laptop");
    const wrong = await device("pair", "--code", "22222222");
    assert.notEqual(wrong.code, 0);
    await waitUntil("the end of the back-off", 20_000, async () => {
      const { code } = await device("pair", "--code", pairings[0]?.code ?? "");
      return code === 0 ? true : undefined;
    });
    assert.equal(statSync(profile).mode & 0o777, 0o600);
    const again = await device("pair", "--code", pairings[0]?.code ?? "");
    assert.notEqual(again.code, 0, "a code worked twice");
  });
  await t.test("chats with it, and may do no more than it asked for", async () => {
    const chat = await device("chat", "What time is it?");
    assert.equal(chat.code, 0, chat.stderr);
    const { toolCalls } = JSON.parse(chat.stdout) as { toolCalls: { name: string }[] };
    assert.equal(toolCalls[0]?.name, "get_current_time");
    assert.equal((await device("secret", "list")).code, 4);
    assert.equal((await device("plugin", "remove", "clock")).code, 4);
  });
  await t.test("does not see other people's conversations", async () => {
    const { json } = await stack.request("POST", "/v1/chat", { body: { message: "the operator's own" } });
    const foreign = await device("chat", "--session", String(json["sessionId"]), "hello");
    assert.equal(foreign.code, 5, foreign.stderr);
  });
  await t.test("and revoked, it is refused everywhere in under a second", async () => {
    const { devices } = JSON.parse((await stack.warren(["devices", "list", "--json"])).stdout) as {
      devices: { id: string }[];
    };
    assert.equal(devices.length, 1);
    assert.equal((await stack.warren(["devices", "revoke", devices[0]?.id ?? "", "--json"])).code, 0);
    await waitUntil("the refusal", 1000, async () => ((await device("chat", "Hello!")).code === 4 ? true : undefined));
  });
});
