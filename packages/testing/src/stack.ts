// A whole mesh for end-to-end tests: started as its user starts it, by the command, and driven from outside.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { waitUntil } from "@warren/local-stack";
import { environment } from "./config.ts";

const CLI = fileURLToPath(new URL("../../../cli/src/main.ts", import.meta.url));
/** Far above what tests need: the limits have tests of their own. */
const GENEROUS_LIMITS = fileURLToPath(new URL("./generous-limits.json", import.meta.url));
const START_MS = 60_000;
const STOP_MS = 60_000;

/** What an HTTP call answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; undefined when it is none. */
  readonly json: Json;
}

/** JSON that a test looks into: anything may be there, and `String()` tells what is. */
export type Json = { readonly [key: string]: Json } & { readonly [index: number]: Json } & Iterable<Json> & {
    readonly length: number;
    toString(): string;
  };

export interface RequestOptions {
  readonly body?: unknown;
  /** Sent as it is. */
  readonly raw?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Absent: the operator's; null: none. */
  readonly token?: string | null;
  readonly signal?: AbortSignal;
}

/** How a command ended. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface TestStackOptions {
  readonly pluginHosts?: number;
  /** More settings, such as WARREN_MODELS. */
  readonly env?: Readonly<Record<string, string>>;
  /** Keep the data of an earlier stack. */
  readonly dataDir?: string;
}

/** A running mesh. */
export interface TestStack {
  readonly url: string;
  /** Where it speaks gRPC. */
  readonly grpcAddress: string;
  readonly dataDir: string;
  /** The operator's token. */
  readonly token: string;
  /** Every line that any process wrote. */
  readonly lines: readonly string[];
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  /** Runs the command on this stack. */
  warren(args: readonly string[], input?: string): Promise<CommandResult>;
  /** Process ids by name: `agent-1`, `nats`. */
  pids(): Record<string, number>;
  /** Kills a process and waits until another runs in its place. */
  killAndAwait(name: string): Promise<void>;
  /** Stops the mesh; its data stays until the test ends. */
  stop(): Promise<number | null>;
}

/** Starts a mesh that ends with the test. */
export async function startStack(t: Pick<TestContext, "after">, options: TestStackOptions = {}): Promise<TestStack> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "warren-e2e-"));
  const env = {
    ...environment(),
    WARREN_DATA_DIR: dataDir,
    WARREN_HTTP_PORT: "0",
    WARREN_GRPC_PORT: "0",
    WARREN_PLUGIN_HOSTS: String(options.pluginHosts ?? 1),
    WARREN_LIMITS_FILE: GENEROUS_LIMITS,
    XDG_CONFIG_HOME: join(dataDir, "xdg"),
    NO_COLOR: "1",
    ...options.env,
  };
  const lines: string[] = [];
  const up = spawn(process.execPath, [CLI, "up", "--json"], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve) => up.once("exit", resolve));
  let stdout = "";
  up.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  up.stderr.on("data", (chunk: Buffer) => lines.push(...chunk.toString().split("\n")));
  const stop = (): Promise<number | null> => stopProcess(up, ended);
  t.after(async () => {
    await stop();
    if (!options.dataDir) rmSync(dataDir, { recursive: true, force: true });
  });
  const started = await waitUntil("the start of the mesh", START_MS, () => {
    if (up.exitCode !== null) throw new Error(`the mesh ended at once:\n${lines.slice(-30).join("\n")}`);
    return parse(stdout) as { url: string; grpcAddress: string; operatorTokenFile: string } | undefined;
  });
  const { url, grpcAddress } = started;
  const token = readFileSync(started.operatorTokenFile, "utf8").trim();
  const pids = (): Record<string, number> =>
    (parse(readFileSync(join(dataDir, "processes.json"), "utf8")) ?? {}) as Record<string, number>;
  return {
    url,
    grpcAddress,
    dataDir,
    token,
    lines,
    pids,
    stop,
    request: (method, path, request = {}) => send(url, token, method, path, request),
    warren: (args, input) => runCommand(args, { ...env, WARREN_URL: url }, input),
    killAndAwait: async (name) => {
      const before = pids()[name];
      if (before === undefined) throw new Error(`no process ${name} runs`);
      process.kill(before, "SIGKILL");
      await waitUntil(`another ${name}`, 30_000, () => {
        const now = pids()[name];
        return now !== undefined && now !== before ? true : undefined;
      });
    },
  };
}

async function send(
  url: string,
  token: string,
  method: string,
  path: string,
  options: RequestOptions,
): Promise<Answer> {
  const { body, raw, headers = {}, signal } = options;
  const own = options.token === undefined ? token : options.token;
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(own === null ? {} : { authorization: `Bearer ${own}` }),
      ...(payload === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(payload === undefined ? {} : { body: payload }),
    ...(signal ? { signal } : {}),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, json: parse(text) as Json };
}

function runCommand(args: readonly string[], env: NodeJS.ProcessEnv, input?: string): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [CLI, ...args], { env, timeout: 180_000 }, (_error, stdout, stderr) =>
      resolve({ code: child.exitCode ?? 1, stdout, stderr }),
    );
    child.stdin?.end(input ?? "");
  });
}

async function stopProcess(child: ChildProcess, ended: Promise<number | null>): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
  const force = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
  const code = await ended;
  clearTimeout(force);
  return code;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
