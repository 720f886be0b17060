// A worker process as the suite sees it.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { cpuMicrosOf } from "../process-cpu.ts";
import type { Start } from "./worker-main.ts";

const MAIN = fileURLToPath(new URL("worker-main.ts", import.meta.url));

/** One side of a subject in a process of its own. */
export class Worker {
  readonly #child: ChildProcess;
  #address = "";

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** @throws Error with what went wrong there. */
  static async start(start: Start): Promise<Worker> {
    // Nothing of ours is inherited but PATH; the process ends when the channel closes.
    const worker = new Worker(
      fork(MAIN, [], {
        execArgv: ["--no-warnings"],
        env: { PATH: process.env["PATH"], NODE_ENV: "production" },
        stdio: ["ignore", "ignore", "inherit", "ipc"],
      }),
    );
    try {
      worker.#address = await worker.#ask(start);
    } catch (error) {
      await worker.stop();
      throw error;
    }
    return worker;
  }

  /** Where it listens; empty for a back that nobody dials. */
  get address(): string {
    return this.#address;
  }

  /** CPU time so far, in microseconds; NaN where the system does not tell. */
  get cpuMicros(): number {
    return cpuMicrosOf(this.#child.pid ?? -1) ?? Number.NaN;
  }

  async startProfile(): Promise<void> {
    await this.#ask({ profile: "start" });
  }

  async stopProfile(file: string): Promise<void> {
    await this.#ask({ profile: file });
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  async #ask(what: object): Promise<string> {
    const ended = once(this.#child, "exit").then(() => [{ error: "The process ended" }]);
    this.#child.send(what);
    const [answer] = (await Promise.race([once(this.#child, "message"), ended])) as [
      { address?: string; error?: string },
    ];
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.address ?? "";
  }
}
