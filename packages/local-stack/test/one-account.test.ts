// A data folder of an earlier version, whose services shared one NATS account, is taken over whole.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { jetstream, jetstreamManager, type JetStreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { accountOf, foreignApi, RECORDS, type state } from "@warren/mesh/policy";
import { findServer } from "../src/find-server.ts";
import { startProcess } from "../src/managed-process.ts";
import { meshCredentials } from "../src/mesh-credentials.ts";
import { startNatsServer } from "../src/nats-server.ts";
import { leaveSharedAccount } from "../src/one-account.ts";
import { waitUntil } from "../src/wait-until.ts";
import { endProcess, temporaryFolder } from "./support.ts";

const STREAMS = [
  { key: "auth_keys", stream: "KV_auth_keys", subject: "$KV.auth_keys.a" },
  { key: "agent_sessions", stream: "agent_sessions", subject: "log.agent_sessions.s" },
  { key: "secrets", stream: "KV_secrets", subject: "$KV.secrets.a" },
  { key: "audit", stream: "audit", subject: "events.security.device.paired" },
] as const satisfies { key: keyof typeof state; stream: string; subject: string }[];

/** Fills a store as a server did whose users were all of one account. */
async function oldStore(t: TestContext, storeDir: string): Promise<void> {
  const folder = temporaryFolder(t);
  const config = join(folder, "nats-server.json");
  const accounts = { WARREN: { jetstream: "enabled", users: [{ user: "old", password: "old" }] } };
  const text = { port: -1, host: "127.0.0.1", ports_file_dir: folder, jetstream: { store_dir: storeDir }, accounts };
  writeFileSync(config, JSON.stringify(text));
  const server = await startProcess({
    command: findServer("nats-server"),
    args: ["-c", config],
    env: { PATH: process.env["PATH"] },
    onLine: () => undefined,
  });
  t.after(() => endProcess(server));
  const servers = await waitUntil("the old server", 10_000, () => {
    const [ports] = readdirSync(folder).filter((name) => name.endsWith(".ports"));
    const found = ports && readFileSync(join(folder, ports), "utf8");
    return found ? (JSON.parse(found) as { nats: string[] }).nats : undefined;
  });
  const connection = await connect({ servers, user: "old", pass: "old" });
  const { streams } = await jetstreamManager(connection);
  for (const { stream, subject } of STREAMS) {
    await streams.add({ name: stream, subjects: [subject.replace(/\w+$/, ">")] });
    await jetstream(connection).publish(subject, `kept in ${stream}`);
  }
  await connection.close();
  await server.stop(5000);
}

/** What is stored of a piece of state, asked by its owner. */
async function storedText(connection: NatsConnection, key: keyof typeof state, stream: string): Promise<string> {
  const api = accountOf(key) === RECORDS ? { apiPrefix: foreignApi(RECORDS) } : {};
  const manager: JetStreamManager = await jetstreamManager(connection, { ...api, checkAPI: false });
  return (await manager.streams.getMessage(stream, { seq: 1 }))?.string() ?? "";
}

test("streams of the account that all services shared go to the accounts of their owners", async (t) => {
  const dataDir = temporaryFolder(t);
  const storeDir = join(dataDir, "nats", "jetstream");
  await oldStore(t, storeDir);
  const { publicKeys, fileOf } = meshCredentials(join(dataDir, "credentials"));
  const server = await startNatsServer({ dataDir: join(dataDir, "nats"), publicKeys, onLine: () => undefined });
  t.after(() => endProcess(server.process));
  for (const { key, stream } of STREAMS) {
    const asker = accountOf(key) === RECORDS ? "auth" : accountOf(key);
    const { seed } = JSON.parse(readFileSync(fileOf(asker), "utf8")) as { seed: string };
    const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
    const connection = await connect({ servers: server.url, authenticator, inboxPrefix: `_INBOX.${asker}` });
    t.after(() => connection.close());
    assert.equal(await storedText(connection, key, stream), `kept in ${stream}`);
  }
  assert.ok(!existsSync(join(storeDir, "jetstream", "WARREN", "streams")));
});

test("a move that was interrupted goes on, and what cannot be moved is named and left where it is", (t) => {
  const storeDir = temporaryFolder(t);
  const folder = (account: string, stream: string): string => join(storeDir, "jetstream", account, "streams", stream);
  leaveSharedAccount(storeDir);
  mkdirSync(folder("auth", "KV_auth_keys"), { recursive: true });
  mkdirSync(folder("WARREN", "KV_secrets"), { recursive: true });
  leaveSharedAccount(storeDir);
  assert.ok(existsSync(folder("secrets", "KV_secrets")) && existsSync(folder("auth", "KV_auth_keys")));
  mkdirSync(folder("WARREN", "KV_auth_keys"), { recursive: true });
  assert.throws(() => leaveSharedAccount(storeDir), /auth has a KV_auth_keys of its own already.*Move the folder away/);
  assert.ok(existsSync(folder("WARREN", "KV_auth_keys")));
  mkdirSync(folder("WARREN", "A_STRANGER"), { recursive: true });
  assert.throws(() => leaveSharedAccount(storeDir), /no service owns A_STRANGER/);
});
