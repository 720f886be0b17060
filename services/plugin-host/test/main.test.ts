import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import { startNats } from "@warren/testing";
import { packTestServer, textOf } from "./support/host.ts";
import { until } from "./support/until.ts";

test("the process serves, and at SIGTERM ends with everything it started", async (t) => {
  const nats = await startNats(t);
  // Keeps the audit.
  await nats.connect("auth");
  const dataDir = await mkdtemp(join(tmpdir(), "warren-main-"));
  const child = spawn(process.execPath, [fileURLToPath(new URL("../src/main.ts", import.meta.url))], {
    env: {
      PATH: process.env["PATH"] ?? "",
      WARREN_NATS_URL: nats.url,
      WARREN_MESH_CREDENTIALS: nats.credentialsFile("plugin-host"),
      WARREN_DATA_DIR: dataDir,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.after(async () => {
    child.kill("SIGKILL");
    await rm(dataDir, { recursive: true, force: true }).catch(() => undefined);
  });
  const output = collect(child);
  const caller = await nats.connect("gateway");
  const plugins = caller.client(PluginServiceDefinition);
  await until("it serves", async () => (await plugins.listPlugins({}).catch(() => undefined)) !== undefined, 15_000);
  const { bytes, digest } = await packTestServer();
  await (await caller.objects("plugin_packages")).put(digest.slice(7), bytes);
  const installed = await plugins
    .installPlugin({ source: { $case: "packageDigest", value: digest } })
    .catch((error: Error) => error.message);
  if (typeof installed === "string") {
    assert.match(installed, /bubblewrap|sandbox/, installed);
    return t.skip(installed);
  }
  const answer = textOf(await plugins.callTool({ pluginId: "tester", tool: "echo", arguments: { text: "running" } }));
  assert.equal(answer, "running");
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  assert.equal(await ended, 0, output.join(""));
  await plugins.callTool({ pluginId: "tester", tool: "echo" }, { timeoutMs: 1000 }).then(
    () => assert.fail("nobody is left to answer"),
    () => undefined,
  );
});

function collect(child: ChildProcess): string[] {
  const chunks: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => chunks.push(chunk.toString()));
  return chunks;
}
