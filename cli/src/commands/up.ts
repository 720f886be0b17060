import type { Command } from "commander";
import { resolve } from "node:path";
import { optionalPort, wholeNumber } from "../config.ts";
import { connectAsOperator, type Context, type GlobalOptions } from "../context.ts";
import { CliError, ExitCode } from "../errors.ts";
import { oneLine } from "../output/sanitize.ts";
import { installFirstPlugins } from "./first-plugins.ts";
import type { Terminal } from "../output/terminal.ts";
import type { RunningStack } from "../parts.ts";

interface UpOptions extends GlobalOptions {
  readonly port?: string;
  readonly grpcPort?: string;
  readonly dataDir?: string;
  readonly pluginHosts?: string;
}

/** `warren up`: a mesh on this machine, until Ctrl-C. */
export function registerUp(program: Command, context: Context): void {
  program
    .command("up")
    .description("start a mesh on this machine, until Ctrl-C")
    .option("--port <port>", "HTTP port (WARREN_HTTP_PORT, 8080); 0: any free one")
    .option("--grpc-port <port>", "gRPC port (WARREN_GRPC_PORT, 8081; with --port 0: any free one); 0: any free one")
    .option("--data-dir <folder>", "where everything that lasts is kept (WARREN_DATA_DIR, .warren)")
    .option("--plugin-hosts <count>", "how many plugin hosts to start (WARREN_PLUGIN_HOSTS, 1)")
    .action(async (_options: UpOptions, command: Command) => up(context, command.optsWithGlobals<UpOptions>()));
}

async function up(context: Context, options: UpOptions): Promise<void> {
  const { config, terminal, startLocalStack } = context;
  const settings = {
    httpPort: options.port === undefined ? config.httpPort : wholeNumber("--port", options.port, 0, 65_535),
    grpcPort: options.grpcPort === undefined ? config.grpcPort : optionalPort("--grpc-port", options.grpcPort),
    env: config.all,
    dataDir: options.dataDir === undefined ? config.dataDir : resolve(options.dataDir),
    pluginHosts:
      options.pluginHosts === undefined
        ? config.pluginHosts
        : wholeNumber("--plugin-hosts", options.pluginHosts, 1, 64),
    log: (line: string) => terminal.note(line),
  };
  const wish = stopWish(terminal);
  try {
    const stack = await startLocalStack(settings).catch((error: unknown) => {
      const why = error instanceof Error ? error.message : String(error);
      throw new CliError(ExitCode.failure, `the mesh did not start: ${why}`, '"warren doctor" shows what is missing', {
        cause: error,
      });
    });
    try {
      // A wish to stop that came while it started is met now: only a whole stack can be stopped in order.
      if (!wish.made) await welcome(context, stack, options.json);
      await wish.promise;
    } finally {
      // Also when the mesh cannot be used: what was started must not outlive a command that failed.
      await stack.stop();
      terminal.note("stopped");
    }
  } finally {
    wish.forget();
  }
}

/** Gives the mesh its first plugins, and says how to use it. */
async function welcome(context: Context, stack: RunningStack, json: boolean | undefined): Promise<void> {
  const client = await connectAsOperator(context, { url: stack.url, tokenFile: stack.operatorTokenFile });
  for (const problem of await installFirstPlugins(context, client)) context.terminal.note(oneLine(problem));
  announce(context.terminal, stack, json);
}

/** Resolves at the first SIGINT or SIGTERM; a second one ends the process at once. */
function stopWish(terminal: Terminal): { readonly promise: Promise<void>; readonly made: boolean; forget(): void } {
  const { promise, resolve: wished } = Promise.withResolvers<void>();
  let made = false;
  const onSignal = (): void => {
    if (made) process.exit(ExitCode.interrupted);
    made = true;
    terminal.note("stopping; Ctrl-C again to stop at once");
    wished();
  };
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  return {
    promise,
    get made() {
      return made;
    },
    forget: () => signals.forEach((signal) => process.off(signal, onSignal)),
  };
}

function announce(terminal: Terminal, stack: RunningStack, json: boolean | undefined): void {
  const { url, grpcAddress, operatorTokenFile } = stack;
  const curl = curlLine(url, operatorTokenFile);
  if (json) return terminal.json({ url, grpcAddress, operatorTokenFile, curl });
  terminal.print(
    [
      "",
      `${terminal.paint("bold", `Warren runs at ${url}`)}, and speaks gRPC at ${grpcAddress}`,
      `The operator's token is in ${oneLine(operatorTokenFile)}`,
      "",
      "Say something to it:",
      `  ${curl}`,
      "",
      'Or pair this device with "warren pair --approve" and talk with "warren chat". Ctrl-C stops everything.',
      "",
    ].join("\n"),
  );
}

/** A line for any shell. The token goes through a pipe: in curl's arguments every user of the machine could read it. */
function curlLine(url: string, tokenFile: string): string {
  return (
    `sed 's/^/Authorization: Bearer /' ${quote(tokenFile)} | ` +
    `curl -sS -H @- -H 'Content-Type: application/json' -d '{"message":"Hello!"}' ${url}/v1/chat`
  );
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
