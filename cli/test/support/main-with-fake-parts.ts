// The command with a packer and a local stack that do nothing but what the tests look at.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { readConfig } from "../../src/config.ts";
import { createTerminal } from "../../src/output/terminal.ts";
import type { PackedPlugin } from "../../src/parts.ts";
import { runProgram } from "../../src/program.ts";

const { stdin, stdout, stderr } = process;
const config = readConfig();
process.exitCode = await runProgram(process.argv.slice(2), {
  config,
  terminal: createTerminal({ stdin, stdout, stderr }, config.color),
  fetch: globalThis.fetch,
  meshParts: () => Promise.reject(new Error("not here")),
  packPlugin: async (folder) => ({
    bytes: Buffer.from(`package of ${basename(folder)}`),
    digest: `sha256:${"a".repeat(64)}`,
    manifest: JSON.parse(await readFile(join(folder, "plugin.json"), "utf8")) as PackedPlugin["manifest"],
  }),
  startLocalStack: async ({ dataDir, httpPort, grpcPort = 8081, pluginHosts, log }) => {
    if (httpPort === 9999) throw new Error("port 9999 is in use");
    log(`gateway-1     | starting with ${pluginHosts} plugin hosts`);
    const operatorTokenFile = join(dataDir, "operator-token");
    await mkdir(dataDir, { recursive: true });
    await writeFile(operatorTokenFile, "operator-1\n", { mode: 0o600 });
    // What runs keeps the process alive, as children do.
    const running = setInterval(() => undefined, 1000);
    return {
      url: `http://127.0.0.1:${httpPort}`,
      grpcAddress: `127.0.0.1:${grpcPort}`,
      operatorTokenFile,
      stop: async () => {
        log("gateway-1     | draining");
        if (pluginHosts === 64) return new Promise(() => undefined);
        clearInterval(running);
      },
    };
  },
});
