// A worker process as the suite sees it.
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Answer, OperationName, Operations } from "./worker-protocol.ts";

const MAIN = fileURLToPath(new URL("worker-main.ts", import.meta.url));

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** Asks a child process to do things. */
export class Worker {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  /** @param name For messages: `moleculer 0.15, server`. */
  constructor(name: string) {
    this.#name = name;
    // Nothing of ours is inherited but PATH; the channel closes when either side is gone.
    this.#child = fork(MAIN, [], {
      execArgv: ["--expose-gc", "--no-warnings"],
      env: { PATH: process.env["PATH"], NODE_ENV: "production" },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#child.on("message", (answer: Answer) => this.#settle(answer));
    this.#child.once("exit", (code, signal) => this.#lost(`ended with ${signal ?? code}`));
  }

  /**
   * Has it perform an operation.
   * @throws Error with what went wrong there, or when the process is gone.
   */
  ask<N extends OperationName>(name: N, argument: Operations[N]["takes"]): Promise<Operations[N]["gives"]> {
    if (!this.#child.connected) return Promise.reject(new Error(`${this.#name} is gone`));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as Waiting["resolve"], reject });
      this.#child.send({ id, name, argument });
    });
  }

  /** Ends the process, kindly at first. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once("exit", resolve));
    const force = setTimeout(() => this.#child.kill("SIGKILL"), 3000);
    await this.ask("stop", undefined).catch(() => this.#child.kill("SIGKILL"));
    await ended;
    clearTimeout(force);
  }

  #settle({ id, result, error }: Answer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(`${this.#name}: ${error}`));
  }

  #lost(how: string): void {
    for (const waiting of this.#waiting.values()) waiting.reject(new Error(`${this.#name} ${how}`));
    this.#waiting.clear();
  }
}
