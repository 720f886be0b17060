// What the tests of warren_mesh share: the client in a process of its own, and the other side of the wire.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { connect, type Msg, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import type { CallContext, RpcError } from "@warren/mesh";
import type { TestNats } from "@warren/testing";

const SCRIPT = fileURLToPath(new URL("./mesh_client.py", import.meta.url));

/** A line that the script printed. */
export type Said = Record<string, unknown>;

/** The script, running. */
export interface Client {
  /** The next line. */
  said(): Promise<Said>;
  /** Lets a script that waits go on. */
  goOn(): void;
}

export type Servers = Pick<TestNats, "url" | "credentialsFile">;

/** Runs a scenario; whatever it prints to stderr fails the test. */
export function python(t: TestContext, nats: Servers, scenario: object, service = "gateway"): Client {
  const args = ["-B", "-X", "dev", SCRIPT, nats.url, nats.credentialsFile(service), JSON.stringify(scenario)];
  const child = spawn("python3", args, { stdio: ["pipe", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let problems = "";
  child.stderr.on("data", (chunk: Buffer) => (problems += chunk.toString()));
  child.on("error", (error) => (problems += error.message));
  t.after(async () => {
    child.stdin.end();
    // Python's development mode tells on stderr where it was.
    const force = setTimeout(() => child.kill("SIGABRT"), 10_000);
    const code = await ended;
    clearTimeout(force);
    assert.equal(problems, "");
    assert.equal(code, 0);
  });
  return {
    goOn: () => void child.stdin.write("\n"),
    said: async () => {
      const line = await lines.next();
      if (line.done) throw new Error(`The script ended: ${problems}`);
      return JSON.parse(line.value) as Said;
    },
  };
}

/** A bare NATS connection that holds a service's credential. */
export async function rawConnection(t: TestContext, nats: TestNats, service: string): Promise<NatsConnection> {
  const { seed } = JSON.parse(readFileSync(nats.credentialsFile(service), "utf8")) as { seed: string };
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  const connection = await connect({ servers: nats.url, authenticator, inboxPrefix: `_INBOX.${service}` });
  t.after(() => connection.close());
  return connection;
}

/** Keeps the messages to a subject. */
export async function listen(connection: NatsConnection, subject: string): Promise<Msg[]> {
  const messages: Msg[] = [];
  connection.subscribe(subject, { callback: (_, message) => void messages.push(message) });
  await connection.flush();
  return messages;
}

/** Resolves when the call is over before its time, with why. */
export function aborted({ signal }: CallContext): Promise<RpcError> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(signal.reason as RpcError)));
}
