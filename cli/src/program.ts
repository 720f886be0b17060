// The command line: what can be typed.
import { Command, CommanderError } from "commander";
import { registerAuth } from "./commands/auth.ts";
import { registerChat } from "./commands/chat.ts";
import { registerDevices } from "./commands/devices.ts";
import { registerDoctor } from "./commands/doctor.ts";
import { registerLimits } from "./commands/limits.ts";
import { registerMesh } from "./commands/mesh.ts";
import { registerPair } from "./commands/pair.ts";
import { registerPlugin } from "./commands/plugin.ts";
import { registerSecret } from "./commands/secret.ts";
import { registerUp } from "./commands/up.ts";
import manifest from "../package.json" with { type: "json" };
import type { Context } from "./context.ts";
import { ExitCode, QuietExit, usageError } from "./errors.ts";
import { showFailure } from "./output/failure.ts";

/**
 * Runs one command line, shows what went wrong, and returns the exit code.
 * @param words What was typed after `warren`.
 */
export async function runProgram(words: readonly string[], context: Context): Promise<ExitCode> {
  const json = words.includes("--json");
  try {
    await createProgram(context).parseAsync(words, { from: "user" });
    return ExitCode.ok;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Asked-for help and the version have been printed already.
      if (error.exitCode === 0) return ExitCode.ok;
      if (error.code === "commander.help") return ExitCode.usage;
      const message = error.message.replace(/^error: /, "");
      return showFailure(context.terminal, usageError(message, "warren --help shows what can be typed"), json);
    }
    return error instanceof QuietExit ? error.exitCode : showFailure(context.terminal, error, json);
  }
}

function createProgram(context: Context): Command {
  const program = new Command("warren");
  program
    .description("Runs and talks to a Warren mesh: agents and the sandboxed plugins they use.")
    .version(manifest.version, "-V, --version", "print the version")
    .option("--url <address>", "the gateway's address (WARREN_URL)")
    .option("--token-file <file>", "use the token in this file (WARREN_TOKEN_FILE)")
    .option("--profile <file>", "use the device paired in this file (WARREN_PROFILE)")
    .option("--json", "print one JSON document")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({
      writeOut: (text) => context.terminal.write(text),
      writeErr: (text) => void context.terminal.stderr.write(text),
      // Shown by runProgram, in the same form as every other failure.
      outputError: () => undefined,
    })
    .exitOverride()
    .showSuggestionAfterError();
  // Commands made after this point inherit what is set above.
  registerUp(program, context);
  registerPair(program, context);
  registerChat(program, context);
  registerPlugin(program, context);
  registerSecret(program, context);
  registerDevices(program, context);
  registerLimits(program, context);
  registerAuth(program, context);
  registerDoctor(program, context);
  registerMesh(program, context);
  return program;
}
