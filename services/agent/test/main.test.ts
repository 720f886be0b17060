import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { startNats } from "@warren/testing";
import { DEVICE_SCOPES } from "./helpers/agent.ts";
import { servePlugins } from "./helpers/plugins.ts";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));

test("the process starts from its settings alone, answers, and stops on SIGTERM", async (t) => {
  const nats = await startNats(t);
  await servePlugins(await nats.connect("plugin-host"));
  const env = {
    PATH: process.env["PATH"],
    WARREN_NATS_URL: nats.url,
    WARREN_MESH_CREDENTIALS: nats.credentialsFile("agent"),
  };
  const child = fork(main, { env, silent: true });
  t.after(() => child.kill("SIGKILL"));
  const [ready] = (await once(child, "message")) as [{ type: string }];
  assert.equal(ready.type, "ready");
  const gateway = await nats.connect("gateway");
  const caller = {
    principal: "device:alice",
    tenant: "default",
    scopes: DEVICE_SCOPES,
    expiresAt: Date.now() + 60_000,
  };
  const assertion = gateway.assert(caller);
  const reply = await gateway.client(AgentServiceDefinition).chat({ message: "Hello!" }, { assertion });
  assert.match(reply.message, /^Hello!/);
  child.kill("SIGTERM");
  assert.deepEqual(await once(child, "exit"), [0, null]);
});

test("a setting that cannot be used ends the process with its name", async (t) => {
  const env = { PATH: process.env["PATH"], WARREN_MESH_CREDENTIALS: "/nowhere", WARREN_MODELS: "gpt" };
  const child = fork(main, { env, silent: true });
  t.after(() => child.kill("SIGKILL"));
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const [code] = (await once(child, "close")) as [number];
  assert.equal(code, 78);
  assert.match(said, /WARREN_MODELS: "gpt" is no model/);
});
