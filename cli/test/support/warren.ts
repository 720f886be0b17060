// The command as a person runs it: a process with a home of its own.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

/** How a run ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a run is given. */
export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Written to stdin, which then ends. Nothing: stdin is empty. */
  readonly input?: string | Uint8Array;
  /** Another main than the command's own. */
  readonly main?: string;
}

/** A folder in which the command finds its profile, its data and nothing else. */
export interface Home {
  readonly folder: string;
  readonly profile: string;
  readonly dataDir: string;
  /** Runs the command to its end. */
  warren(words: readonly string[], options?: RunOptions): Promise<Ended>;
  /** Starts the command; stdin stays open. It is killed at the end of the test if it still runs. */
  start(words: readonly string[], options?: RunOptions): Started;
  /** Writes a token file and returns its path. */
  tokenFile(token: string): Promise<string>;
}

/** A run under way. */
export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves when stdout and stderr together contain the text; rejects when the run ends without it. */
  says(text: string): Promise<void>;
  type(text: string): void;
}

/** Makes a home; it is removed at the end of the test. */
export async function makeHome(t: TestContext): Promise<Home> {
  const folder = await mkdtemp(join(tmpdir(), "warren-cli-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const environment = (options: RunOptions): NodeJS.ProcessEnv => ({
    PATH: process.env["PATH"],
    HOME: folder,
    XDG_CONFIG_HOME: join(folder, "config"),
    XDG_STATE_HOME: join(folder, "state"),
    WARREN_DATA_DIR: join(folder, "data"),
    ...options.env,
  });
  const start = (words: readonly string[], options: RunOptions = {}): Started => {
    const child = spawn(process.execPath, [options.main ?? main, ...words], {
      env: environment(options),
      cwd: folder,
      stdio: "pipe",
      // A command that hangs fails its test instead of holding it for ever.
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
    t.after(() => child.kill("SIGKILL"));
    // A command that ends without reading what it was given closes the pipe.
    child.stdin.on("error", () => undefined);
    let heard = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        heard += chunk.toString();
        child.emit("heard");
      });
    const ended = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]).then(
      ([stdout, stderr]) => ({ code: child.exitCode, stdout, stderr }),
    );
    const says = (wanted: string): Promise<void> =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (!heard.includes(wanted)) return;
          child.off("heard", look);
          resolve();
        };
        child.on("heard", look);
        void ended.then(() => reject(new Error(`ended without saying ${JSON.stringify(wanted)}:\n${heard}`)));
        look();
      });
    return { child, ended, says, type: (typed) => void child.stdin.write(typed) };
  };
  return {
    folder,
    profile: join(folder, "config", "warren", "profile.json"),
    dataDir: join(folder, "data"),
    start,
    warren: async (words, options = {}) => {
      const started = start(words, options);
      started.child.stdin?.end(options.input);
      return started.ended;
    },
    tokenFile: async (token) => {
      const file = join(folder, "token");
      await writeFile(file, `${token}\n`, { mode: 0o600 });
      return file;
    },
  };
}
