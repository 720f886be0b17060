// The plugins that a local mesh begins with, so that its agent has tools to call.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Client } from "../api/client.ts";
import type { Context } from "../context.ts";
import { packed } from "./plugin/packed.ts";
import { upload } from "./plugin/upload.ts";

const FOLDERS = ["clock", "text"].map((name) => fileURLToPath(new URL(`../../../plugins/${name}`, import.meta.url)));
const INSTALL_MS = 60_000;

/**
 * Installs the first-party plugins that are missing or of another version. One that a person removed stays away only
 * until the next start.
 * @returns what went wrong, one line a plugin: a mesh without them still works.
 */
export async function installFirstPlugins(context: Context, client: Client): Promise<string[]> {
  const { plugins } = await client.list("/v1/plugins", "plugins");
  const versions = new Map((plugins as { id: string; version: string }[]).map(({ id, version }) => [id, version]));
  const problems: string[] = [];
  for (const folder of FOLDERS) {
    const manifest = JSON.parse(await readFile(`${folder}/plugin.json`, "utf8")) as { id: string; version: string };
    if (versions.get(manifest.id) === manifest.version) continue;
    try {
      const plugin = await packed(context, folder);
      await upload(client, plugin);
      const body = { packageDigest: plugin.digest, replace: true };
      await client.json({ method: "POST", path: "/v1/plugins", body, timeout: INSTALL_MS });
    } catch (error) {
      problems.push(
        `the plugin ${manifest.id} is not installed: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  return problems;
}
