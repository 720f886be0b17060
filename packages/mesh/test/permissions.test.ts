import assert from "node:assert/strict";
import { statSync } from "node:fs";
import test from "node:test";
import { connect, errors, type NatsConnection } from "@nats-io/transport-node";
import { eventContract, registry } from "@warren/contract";
import { type ServicePolicy, services } from "@warren/mesh/policy";
import { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, waitUntil } from "@warren/testing";
import { rawConnection } from "./raw.ts";
import { covers, type Expectations, publishing, subscribing } from "./permission-matrix.ts";
import { serveSecrets } from "./support.ts";

/** Denied to everybody: its refusal says that all before it was decided. */
const LAST = "denied.to.everybody";

/** Which of the subjects the server refuses to a connection. */
async function refused(
  connection: NatsConnection,
  operation: "publish" | "subscription",
  subjects: Iterable<string>,
): Promise<Set<string>> {
  const found = new Set<string>();
  void (async () => {
    for await (const status of connection.status())
      if (status.type === "error" && status.error instanceof errors.PermissionViolationError)
        if (status.error.operation === operation) found.add(status.error.subject);
  })();
  for (const subject of [...subjects, LAST])
    if (operation === "publish") connection.publish(subject);
    else connection.subscribe(subject, { callback: () => undefined });
  await waitUntil("the last refusal", 10_000, () => found.has(LAST) || undefined);
  found.delete(LAST);
  return found;
}

function compare(name: string, expected: Expectations, denied: ReadonlySet<string>): void {
  const wrong = [...expected].filter(([subject, may]) => may === denied.has(subject));
  assert.deepEqual(
    wrong.map(([subject, may]) => `${name} ${may ? "may not" : "MAY"}: ${subject}`),
    [],
  );
  assert.ok(denied.size > expected.size / 2, "most is denied");
}

test("each service reaches what the policy names and nothing else", async (t) => {
  const nats = await startNats(t);
  for (const name of Object.keys(services))
    await t.test(name, async () => {
      const connection = await rawConnection(nats, name);
      const [out, into] = [publishing(name), subscribing(name)];
      compare(`${name} publishing`, out, await refused(connection, "publish", out.keys()));
      compare(`${name} subscribing`, into, await refused(connection, "subscription", into.keys()));
      await connection.close();
    });
});

test("a reply subject does not make a service publish where its caller may not", async (t) => {
  const nats = await startNats(t);
  const server = await nats.connect("secrets");
  let ran = 0;
  await serveSecrets(server, {
    getSecret: async ({ name }) => {
      ran += 1;
      return { name };
    },
  });
  const [caller, victim] = await Promise.all([rawConnection(nats, "gateway"), rawConnection(nats, "auth")]);
  t.after(() => Promise.all([caller.close(), victim.close()]));
  const arrived: string[] = [];
  victim.subscribe(`mesh.${AuthServiceDefinition.fullName}.>`, {
    callback: (_, { subject }) => void arrived.push(subject),
  });
  await victim.flush();
  const method = `mesh.${SecretsServiceDefinition.fullName}.GetSecret`;
  const forbidden = [
    `mesh.${AuthServiceDefinition.fullName}.StartPairing`,
    "events.security.device.paired",
    "$KV.auth_keys.forged",
    "$JS.API.STREAM.PURGE.KV_secrets",
    "_INBOX.>",
    "_INBOX.auth",
  ];
  for (const reply of forbidden) caller.publish(method, Uint8Array.of(10, 1, 97), { reply });
  for (const verb of ["PING", "INFO", "STATS"])
    for (const reply of forbidden) caller.publish(`$SRV.${verb}.secrets`, undefined, { reply });
  // From here on NATS has sent all of it on: when the next call is answered, the rest has been looked at.
  await caller.flush();
  const gateway = await nats.connect("gateway");
  assert.equal((await gateway.client(SecretsServiceDefinition).getSecret({ name: "a" })).name, "a");
  await victim.flush();
  assert.deepEqual(arrived, []);
  assert.equal(ran, 1);
});

test("what is audited and published is fed to the audit, and nothing else is", () => {
  const events = [...registry].flatMap((type) =>
    type.kind === "message" && !type.parent && type.file.proto.package === "warren.events.v1"
      ? [eventContract(type.typeName)]
      : [],
  );
  const policies: [string, ServicePolicy][] = Object.entries(services);
  const audited = new Set(events.filter((event) => event.audited).map(({ name }) => name.split(".")[0]));
  for (const [service, { publishes, feeds }] of policies) {
    for (const { name } of events.filter((event) => event.audited && covers(publishes, event.name)))
      assert.ok(covers(feeds, name), `${service} publishes ${name}, and does not feed it`);
    // The audit takes the families of what is audited: what is fed beside them would get no answer.
    for (const pattern of feeds) {
      assert.ok(publishes.includes(pattern), `${service} feeds ${pattern}, and does not publish it`);
      assert.ok(audited.has(pattern.split(".")[0]), `${service} feeds ${pattern}, of which nothing is audited`);
    }
  }
});

test("nobody joins without a key", async (t) => {
  const nats = await startNats(t);
  await assert.rejects(connect({ servers: nats.url, reconnect: false }), /authorization/i);
});

test("credential files are their owner's only", async (t) => {
  const nats = await startNats(t);
  for (const name of Object.keys(services)) assert.equal(statSync(nats.credentialsFile(name)).mode & 0o777, 0o600);
});
