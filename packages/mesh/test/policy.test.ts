import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import test from "node:test";
import { connect, nkeyAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { services, state } from "@warren/mesh/policy";
import { startNats, type TestNats } from "@warren/testing";

async function rawConnection(nats: TestNats, service: string): Promise<NatsConnection> {
  const { seed } = JSON.parse(readFileSync(nats.credentialsFile(service), "utf8")) as { seed: string };
  return connect({
    servers: nats.url,
    authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)),
    noAsyncTraces: true,
  });
}

/** Whether the server lets a connection publish to a subject. It refuses before it answers the ping of a flush. */
function publishProbe(connection: NatsConnection): (subject: string) => Promise<boolean> {
  const denied = new Set<string>();
  void (async () => {
    for await (const status of connection.status())
      if (status.type === "error") denied.add(/"([^"]*)"/.exec(status.error.message)?.[1] ?? "");
  })();
  return async (subject) => {
    connection.publish(subject);
    await connection.flush();
    await new Promise((resolve) => setImmediate(resolve));
    return !denied.has(subject);
  };
}

test("each service reaches what the policy names and nothing else", async (t) => {
  const nats = await startNats(t);
  for (const [name, policy] of Object.entries(services)) {
    const connection = await rawConnection(nats, name);
    const mayPublish = publishProbe(connection);
    for (const [other, { serves }] of Object.entries(services))
      for (const contract of serves) {
        const subject = `mesh.${contract}.Probe`;
        const expected = (policy.calls as readonly string[]).includes(contract);
        assert.equal(await mayPublish(subject), expected, `${name} calling ${contract} of ${other}`);
      }
    for (const [key, { kind }] of Object.entries(state)) {
      if (kind !== "kv") continue;
      const expected =
        (policy.owns as readonly string[]).includes(key) || (policy.writes as readonly string[]).includes(key);
      assert.equal(await mayPublish(`$KV.${key}.probe`), expected, `${name} writing ${key}`);
    }
    for (const subject of ["$SYS.REQ.SERVER.PING", "$JS.API.STREAM.DELETE.KV_secrets", "anything"])
      assert.equal(await mayPublish(subject), false, `${name} publishing to ${subject}`);
    await connection.close();
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
