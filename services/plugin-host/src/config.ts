// Every setting of the service, beside those that all services have.
import { existsSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { z } from "zod";

/** The settings, as `runService` reads them from the environment or the configuration file. */
export const config = z.object({
  dataDir: z.string().default(".warren").describe("Folder of this machine's data.").meta({ env: "WARREN_DATA_DIR" }),
  storeDir: z
    .string()
    .optional()
    .describe(
      "Folder for unpacked plugins, of which copies may be shared by hosts of one machine. Default: plugins in WARREN_DATA_DIR.",
    )
    .meta({ env: "WARREN_PLUGIN_STORE_DIR" }),
  cgroupParent: z
    .string()
    .default("auto")
    .describe("Parent of the plugins' cgroups: a path in the hierarchy, auto, or none for rlimits and sampling.")
    .meta({ env: "WARREN_PLUGIN_CGROUP_PARENT" }),
  startTimeoutMs: z.coerce
    .number()
    .int()
    .min(100)
    .max(120_000)
    .default(15_000)
    .describe("How long a plugin may take from its start to its list of tools, in milliseconds.")
    .meta({ env: "WARREN_PLUGIN_START_TIMEOUT_MS" }),
  npmTimeoutMs: z.coerce
    .number()
    .int()
    .min(1000)
    .max(170_000)
    .default(120_000)
    .describe("How long npm may take to fetch an MCP server, in milliseconds.")
    .meta({ env: "WARREN_PLUGIN_NPM_TIMEOUT_MS" }),
  npmRegistry: z
    .url()
    .optional()
    .describe("Registry for MCP servers. Default: npm's own.")
    .meta({ env: "WARREN_PLUGIN_NPM_REGISTRY" }),
  path: z.string().default("").describe("Where npm is looked for, after Node.js' own folder.").meta({ env: "PATH" }),
  httpsProxy: z.string().optional().describe("Proxy for npm.").meta({ env: "HTTPS_PROXY" }),
  noProxy: z.string().optional().describe("Hosts that npm reaches without the proxy.").meta({ env: "NO_PROXY" }),
  extraCaCerts: z
    .string()
    .optional()
    .describe("File with further certificate authorities (PEM) for npm.")
    .meta({ env: "NODE_EXTRA_CA_CERTS" }),
});

/** The settings as read. */
export type Config = z.infer<typeof config>;

/** The folder for unpacked plugins. */
export function storeFolder({ dataDir, storeDir }: Config): string {
  return storeDir ?? join(dataDir, "plugins");
}

/** npm's environment: what it needs to reach its registry, and nothing else. */
export function npmEnvironment({ npmRegistry, httpsProxy, noProxy, extraCaCerts }: Config): Record<string, string> {
  const known = {
    npm_config_registry: npmRegistry,
    HTTPS_PROXY: httpsProxy,
    NO_PROXY: noProxy,
    NODE_EXTRA_CA_CERTS: extraCaCerts,
  };
  return Object.fromEntries(Object.entries(known).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** This process's Node.js, without symbolic links. */
export function nodeProgram(): string {
  return realpathSync(process.execPath);
}

/** npm beside Node.js or on the PATH; where there is none, the name that says so when it is started. */
export function npmProgram(path: string): string {
  const folders = [dirname(process.execPath), dirname(nodeProgram()), ...path.split(delimiter)];
  return (
    folders
      .filter(Boolean)
      .map((folder) => join(folder, "npm"))
      .find(existsSync) ?? "/usr/bin/npm"
  );
}
