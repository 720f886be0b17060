// A whole plugin host over a throwaway NATS, and packages of the test server to install on it.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { realpathSync } from "node:fs";
import type { TestContext } from "node:test";
import { trace } from "@opentelemetry/api";
import type { Mesh, ServiceClient } from "@warren/mesh";
import { type Package, packFolder } from "@warren/plugin-manifest";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import type { ForeignSpan } from "@warren/service";
import { startNats, type TestNats } from "@warren/testing";
import { createPluginHost, type PluginHost, type PluginHostOptions } from "../../src/app.ts";
import { FakeSandbox } from "./fake-sandbox.ts";

/** A host and what it stands on. */
export interface TestHost {
  readonly mesh: Mesh;
  readonly host: PluginHost;
  readonly sandbox: FakeSandbox;
  readonly foreignSpans: { service: string; span: ForeignSpan }[];
  /** Leaves as a service does at SIGTERM. */
  stop(): Promise<void>;
}

/** A mesh with a caller on it, as the gateway is one. */
export interface TestMesh {
  readonly nats: TestNats;
  readonly caller: Mesh;
  readonly plugins: ServiceClient<PluginServiceDefinition>;
  startHost(more?: Partial<PluginHostOptions>): Promise<TestHost>;
  /** Puts a package of the test server into the mesh. */
  upload(options: PackOptions): Promise<string>;
}

export interface PackOptions {
  readonly id?: string;
  readonly version?: string;
  readonly flags?: readonly string[];
  readonly limits?: Record<string, number>;
  readonly permissions?: { required?: string[]; optional?: string[] };
  readonly manifest?: Record<string, unknown>;
}

/** Packs the test server as a plugin. */
export async function packTestServer({
  id = "tester",
  version = "1.0.0",
  flags = [],
  limits = {},
  permissions = {},
  manifest = {},
}: PackOptions = {}): Promise<Package> {
  const server = await readFile(fileURLToPath(new URL("server.mjs", import.meta.url)));
  const command = ["/runtime/node", "/plugin/server.mjs", ...flags];
  const json = {
    id,
    version,
    name: id,
    description: "For tests",
    runtime: "mcp",
    command,
    limits,
    permissions,
    ...manifest,
  };
  return packFolder([
    { path: "plugin.json", bytes: Buffer.from(JSON.stringify(json)) },
    { path: "server.mjs", bytes: server },
  ]);
}

/** Starts NATS and joins it. */
export async function startMesh(t: TestContext): Promise<TestMesh> {
  const hosts: TestHost[] = [];
  const folders: string[] = [];
  t.after(async () => {
    await Promise.allSettled(hosts.map((each) => each.stop()));
    for (const folder of folders) await rm(folder, { recursive: true, force: true });
  });
  const nats = await startNats(t);
  // Keeps the audit.
  await nats.connect("auth");
  const caller = await nats.connect("gateway");
  const meshes: Mesh[] = [];
  return {
    nats,
    caller,
    plugins: caller.client(PluginServiceDefinition),
    startHost: async (more = {}) => {
      const mesh = await nats.connect("plugin-host");
      meshes.push(mesh);
      const storeDir = await mkdtemp(join(tmpdir(), "warren-store-"));
      folders.push(storeDir);
      const sandbox = new FakeSandbox();
      const foreignSpans: TestHost["foreignSpans"] = [];
      const host = await createPluginHost({
        mesh,
        sandbox,
        log: { info: () => undefined, warn: () => undefined, error: () => undefined },
        health: { check: () => undefined },
        telemetry: { recordForeignSpan: (service, span) => foreignSpans.push({ service, span }) },
        tracer: trace.getTracer("test"),
        storeDir,
        nodePath: realpathSync(process.execPath),
        npm: { npmPath: "/nonexistent/npm", nodePath: realpathSync(process.execPath), env: {}, timeoutMs: 60_000 },
        drainMs: 5000,
        figures: { startTimeoutMs: 5000, graceMs: 500, stopMs: 300 },
        ...more,
      });
      let stopped = false;
      const started: TestHost = {
        mesh,
        host,
        sandbox,
        foreignSpans,
        stop: async () => {
          if (stopped) return;
          stopped = true;
          await host.drain();
          await mesh.drain(2000);
          await host.stop();
        },
      };
      hosts.push(started);
      return started;
    },
    upload: async (options) => {
      const { bytes, digest } = await packTestServer(options);
      const objects = await caller.objects("plugin_packages");
      await objects.put(digest.slice("sha256:".length), bytes);
      return digest;
    },
  };
}

/** The text of a tool's first content block. */
export function textOf(result: { content: Record<string, unknown>[] }): string {
  return String(result.content[0]?.["text"]);
}

/** The request that installs an uploaded package. */
export function ofDigest(digest: string): { source: { $case: "packageDigest"; value: string } } {
  return { source: { $case: "packageDigest", value: digest } };
}
