import { readConfig } from "./config.ts";
import { ExitCode } from "./errors.ts";
import { showFailure } from "./output/failure.ts";
import { createTerminal } from "./output/terminal.ts";
import { runProgram } from "./program.ts";

const { stdin, stdout, stderr } = process;
// A reader that has seen enough, such as `head`, is no failure.
stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? ExitCode.ok : ExitCode.failure),
);

const words = process.argv.slice(2);
try {
  const config = readConfig();
  process.exitCode = await runProgram(words, {
    config,
    terminal: createTerminal({ stdin, stdout, stderr }, config.color),
    fetch: globalThis.fetch,
    startLocalStack: async (options) => (await import("@warren/local-stack")).startLocalStack(options),
    packPlugin: async (folder) => (await import("./pack/pack.ts")).packPlugin(folder),
    meshParts: async () => {
      const { KINDS: kinds, ...parts } = await import("@warren/bootstrap");
      return { kinds, ...parts };
    },
  });
} catch (error) {
  process.exitCode = showFailure(createTerminal({ stdin, stdout, stderr }, undefined), error, words.includes("--json"));
}
