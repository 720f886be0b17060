import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Duplex } from "node:stream";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";

const repository = fileURLToPath(new URL("../../../../", import.meta.url));

/** The fixture in both languages. */
export const fixtures = {
  TypeScript: [process.execPath, "packages/plugin-sdk/test/support/plugin.ts"],
  Python: ["python3", "-B", "sdk/python/test/plugin.py"],
} as const;

export type Message = Record<string, unknown>;

/** Collects lines and hands out the first one not yet taken that fits. */
class Lines {
  readonly #lines: string[] = [];
  #held = "";
  #changed = Promise.withResolvers<void>();

  constructor(stream: NodeJS.ReadableStream) {
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      const parts = (this.#held + chunk).split("\n");
      this.#held = parts.pop() ?? "";
      this.#lines.push(...parts);
      this.#changed.resolve();
      this.#changed = Promise.withResolvers<void>();
    });
  }

  get all(): readonly string[] {
    return this.#lines;
  }

  async take(fits: (line: string) => boolean): Promise<string> {
    for (;;) {
      const index = this.#lines.findIndex(fits);
      if (index !== -1) return this.#lines.splice(index, 1)[0] ?? "";
      await this.#changed.promise;
    }
  }
}

/** A plugin as a child process, spoken to line by line. */
export class Session {
  readonly child: ChildProcess;
  readonly stdout: Lines;
  readonly stderr: Lines;
  readonly host: { readonly socket: Duplex; readonly lines: Lines } | undefined;
  readonly exited: Promise<number | null>;
  #lastId = 0;

  constructor(t: TestContext, command: readonly [string, ...string[]], options: { host?: boolean; env?: object } = {}) {
    const [program, ...args] = command;
    const child = spawn(program, args, {
      cwd: repository,
      env: { ...process.env, PYTHONPATH: `${repository}sdk/python`, ...options.env },
      // Without a channel the higher descriptors are closed, and free for whatever the plugin opens.
      stdio: options.host ? ["pipe", "pipe", "pipe", "ignore", "pipe"] : ["pipe", "pipe", "pipe"],
    });
    this.child = child;
    this.exited = once(child, "exit").then(([code]) => code as number | null);
    this.stdout = new Lines(child.stdout as NodeJS.ReadableStream);
    this.stderr = new Lines(child.stderr as NodeJS.ReadableStream);
    const socket = child.stdio[4] as Duplex | null | undefined;
    this.host = socket ? { socket, lines: new Lines(socket) } : undefined;
    t.after(() => child.kill("SIGKILL"));
  }

  write(text: string): void {
    this.child.stdin?.write(text);
  }

  send(message: Message): void {
    this.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  /** Sends a request and returns its id. */
  post(method: string, params?: Message): number {
    const id = ++this.#lastId;
    this.send({ id, method, ...(params && { params }) });
    return id;
  }

  async answerTo(id: number | string | null): Promise<Message> {
    const line = await this.stdout.take((each) => (JSON.parse(each) as Message)["id"] === id);
    return JSON.parse(line) as Message;
  }

  request(method: string, params?: Message): Promise<Message> {
    return this.answerTo(this.post(method, params));
  }

  async call(name: string, args: Message = {}, meta?: Message): Promise<Message> {
    const answer = await this.request("tools/call", { name, arguments: args, ...(meta && { _meta: meta }) });
    return (answer["result"] ?? answer["error"]) as Message;
  }

  async initialize(): Promise<Message> {
    return this.request("initialize", {
      protocolVersion: "2025-11-25",
      capabilities: {},
      clientInfo: { name: "test" },
    });
  }

  /** The next message on the host channel. */
  async fromPlugin(method?: string): Promise<Message> {
    const fits = (line: string) => method === undefined || (JSON.parse(line) as Message)["method"] === method;
    return JSON.parse((await this.host?.lines.take(fits)) ?? "{}") as Message;
  }

  toPlugin(message: Message): void {
    this.host?.socket.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }

  end(): Promise<number | null> {
    this.child.stdin?.end();
    return this.exited;
  }
}
