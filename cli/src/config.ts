// The environment, read here and nowhere else.
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { usageError } from "./errors.ts";

/** What the environment says. Options of the command line go before it. */
export interface Config {
  /** `WARREN_URL`, else the local gateway when `WARREN_HTTP_PORT` is set, else nothing was said. */
  readonly url: string | undefined;
  /** `WARREN_HTTP_PORT` (8080): where the local gateway listens. */
  readonly httpPort: number;
  /** `WARREN_GRPC_PORT`: where it serves gRPC. Undefined: 8081, or any free port where `httpPort` is 0. */
  readonly grpcPort: number | undefined;
  /** `WARREN_DATA_DIR` (`.warren`), absolute. */
  readonly dataDir: string;
  /** `WARREN_PLUGIN_HOSTS` (1): how many plugin hosts `up` starts. */
  readonly pluginHosts: number;
  /** `WARREN_TOKEN_FILE`: a file that holds a token. */
  readonly tokenFile: string | undefined;
  /** `WARREN_PROFILE`, else `warren/profile.json` in `XDG_CONFIG_HOME` (`~/.config`): the device's key and tokens. */
  readonly profileFile: string;
  /** `warren/conversations.json` in `XDG_STATE_HOME` (`~/.local/state`): the last conversation with each gateway. */
  readonly conversationsFile: string;
  /** `NO_COLOR` forbids colour, `FORCE_COLOR` asks for it; else a terminal gets it (no-color.org). */
  readonly color: boolean | undefined;
  /** All of it: what `up` passes on to the services, which read their own settings. */
  readonly all: NodeJS.ProcessEnv;
  /** `PATH`, split: where `doctor` looks for programs. */
  readonly path: readonly string[];
}

/**
 * Reads the environment.
 * @throws CliError (usage) naming the variable that is wrong.
 */
export function readConfig(env: NodeJS.ProcessEnv = process.env, folder: string = process.cwd()): Config {
  const set = (name: string): string | undefined => env[name]?.trim() || undefined;
  const home = set("HOME") ?? homedir();
  const httpPort = wholeNumber("WARREN_HTTP_PORT", set("WARREN_HTTP_PORT") ?? "8080", 0, 65_535);
  return {
    all: env,
    url: set("WARREN_URL") ?? (httpPort > 0 && set("WARREN_HTTP_PORT") ? localUrl(httpPort) : undefined),
    httpPort,
    grpcPort: optionalPort("WARREN_GRPC_PORT", set("WARREN_GRPC_PORT")),
    dataDir: resolve(folder, set("WARREN_DATA_DIR") ?? ".warren"),
    pluginHosts: wholeNumber("WARREN_PLUGIN_HOSTS", set("WARREN_PLUGIN_HOSTS") ?? "1", 1, 64),
    tokenFile: set("WARREN_TOKEN_FILE"),
    profileFile: resolve(
      folder,
      set("WARREN_PROFILE") ?? join(set("XDG_CONFIG_HOME") ?? join(home, ".config"), "warren", "profile.json"),
    ),
    conversationsFile: join(set("XDG_STATE_HOME") ?? join(home, ".local", "state"), "warren", "conversations.json"),
    color: set("NO_COLOR") ? false : set("FORCE_COLOR") ? true : undefined,
    path: (env["PATH"] ?? "").split(":").filter(Boolean),
  };
}

/** @throws CliError (usage) naming `name`. */
export function optionalPort(name: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : wholeNumber(name, text, 0, 65_535);
}

/** The address of a gateway on this machine. */
export function localUrl(port: number): string {
  return `http://127.0.0.1:${port}`;
}

/**
 * Reads a whole number within bounds, both included.
 * @throws CliError (usage) naming `name`.
 */
export function wholeNumber(name: string, text: string, least: number, most: number): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw usageError(`${name} is "${text}": it must be a whole number from ${least} to ${most}`);
}
