// A person with `nats micro` and the observer's seed sees every service, by NATS' own convention, and can do nothing else.
import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import test from "node:test";
import { connect, errors, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { services } from "@warren/mesh/policy";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, type TestNats, waitUntil } from "@warren/testing";
import { serveSecrets } from "./support.ts";

interface Described {
  readonly name: string;
  readonly id: string;
  readonly type: string;
  readonly endpoints?: readonly { readonly subject: string; readonly num_requests?: number }[];
}

/** Connects as `nats --nkey <file> --inbox-prefix _INBOX.observer` does. */
function observe({ url, observerFile }: Pick<TestNats, "url" | "observerFile">): Promise<NatsConnection> {
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(readFileSync(observerFile, "utf8").trim()));
  return connect({ servers: url, authenticator, inboxPrefix: "_INBOX.observer", noAsyncTraces: true });
}

async function ask(observer: NatsConnection, subject: string, answers: number): Promise<Described[]> {
  const found: Described[] = [];
  for await (const message of await observer.requestMany(subject, undefined, {
    strategy: "count",
    maxMessages: answers,
    maxWait: 5000,
  }))
    found.push(message.json<Described>());
  return found;
}

test("the observer sees every replica of every service, what it serves, and what it has done", async (t) => {
  const nats = await startNats(t);
  const names = [...Object.keys(services), "secrets"];
  const meshes = await Promise.all(names.map((name) => nats.connect(name)));
  const secrets = meshes.filter(({ name }) => name === "secrets");
  for (const mesh of secrets) await serveSecrets(mesh, { getSecret: async ({ name }) => ({ name }) });
  const gateway = meshes.find(({ name }) => name === "gateway");
  await gateway?.client(SecretsServiceDefinition).getSecret({ name: "a" });
  const observer = await observe(nats);
  t.after(() => observer.close());
  const pings = await ask(observer, "$SRV.PING", names.length);
  assert.deepEqual(pings.map(({ name }) => name).toSorted(), names.toSorted());
  assert.ok(pings.every(({ type }) => type === "io.nats.micro.v1.ping_response"));
  const infos = await ask(observer, "$SRV.INFO.secrets", 2);
  assert.deepEqual(infos.map(({ id }) => id).toSorted(), secrets.map(({ instanceId }) => instanceId).toSorted());
  assert.ok(infos[0]?.endpoints?.some(({ subject }) => subject === "mesh.warren.secrets.v1.SecretsService.GetSecret"));
  const stats = await ask(observer, "$SRV.STATS.secrets", 2);
  const counted = stats.flatMap(({ endpoints = [] }) => endpoints.map((each) => each.num_requests ?? 0));
  assert.equal(
    counted.reduce((sum, each) => sum + each, 0),
    1,
  );
});

test("the observer may ask and hear its answers, and nothing else", async (t) => {
  const nats = await startNats(t);
  assert.equal(statSync(nats.observerFile).mode & 0o777, 0o600);
  const observer = await observe(nats);
  t.after(() => observer.close());
  const refused = new Set<string>();
  void (async () => {
    for await (const status of observer.status())
      if (status.type === "error" && status.error instanceof errors.PermissionViolationError)
        refused.add(`${status.error.operation} ${status.error.subject}`);
  })();
  const publishing = [
    "mesh.warren.secrets.v1.SecretsService.GetSecret",
    "events.system.x",
    "$JS.API.INFO",
    "_INBOX.auth.x",
  ];
  const subscribing = [">", "_INBOX.auth.>", "_INBOX.>", "$SRV.>", "events.>", "changed.>"];
  for (const subject of publishing) observer.publish(subject);
  for (const subject of subscribing) observer.subscribe(subject, { callback: () => undefined });
  const expected = [
    ...publishing.map((subject) => `publish ${subject}`),
    ...subscribing.map((subject) => `subscription ${subject}`),
  ];
  await waitUntil("the refusals", 5000, () => refused.size >= expected.length || undefined);
  assert.deepEqual([...refused].toSorted(), expected.toSorted());
});
