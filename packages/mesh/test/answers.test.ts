import assert from "node:assert/strict";
import test from "node:test";
import { headers } from "@nats-io/transport-node";
import { type CallContext, RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, waitUntil } from "@warren/testing";
import { CallerSigner } from "../src/caller.ts";
import { CALLER_HEADER, RPC_HEADER } from "../src/headers.ts";
import { decodeStatus } from "../src/status.ts";
import { credentialsOf, rawConnection } from "./raw.ts";
import { codeOf, serveAgent, serveSecrets } from "./support.ts";

/** As the server admits at once; see admission.ts. */
const CONCURRENCY = 512;

test("whatever a handler throws, its caller is answered at once", async (t) => {
  const nats = await startNats(t);
  const [secrets, agent, gateway] = await Promise.all([
    nats.connect("secrets"),
    nats.connect("agent"),
    nats.connect("gateway"),
  ]);
  await serveSecrets(secrets, {
    getSecret: ({ name }) => {
      if (name === "odd-retry") throw new RpcError(StatusCode.UNAVAILABLE, "later", { retryAfterMs: 333.3 });
      if (name === "undefined") throw undefined;
      // Fits into a message by itself, but not with the headers of an error.
      throw new RpcError(StatusCode.NOT_FOUND, "x".repeat(1_048_400));
    },
  });
  await serveAgent(agent, {
    async *streamChat({ message }) {
      yield { sequence: 1 };
      throw new RpcError(StatusCode.ABORTED, message === "large" ? "x".repeat(2 << 20) : "small");
    },
  });
  const client = gateway.client(SecretsServiceDefinition);
  assert.equal(await codeOf(client.getSecret({ name: "odd-retry" })), StatusCode.UNAVAILABLE);
  assert.equal(await codeOf(client.getSecret({ name: "undefined" })), StatusCode.INTERNAL);
  assert.equal(await codeOf(client.getSecret({ name: "large" })), StatusCode.RESOURCE_EXHAUSTED);
  for (const message of ["large", "small"]) {
    const reading = async (): Promise<void> => {
      for await (const event of gateway.client(AgentServiceDefinition).streamChat({ message }))
        assert.equal(event.sequence, 1);
    };
    assert.equal(await codeOf(reading()), StatusCode.ABORTED, message);
  }
  for (const mesh of [secrets, agent, gateway])
    await waitUntil(`the rest of ${mesh.name}`, 2000, () =>
      mesh.load.calls + mesh.load.routes === 0 ? true : undefined,
    );
});

test("a call that is cancelled while it waits for its turn never reaches the handler", async (t) => {
  const nats = await startNats(t);
  const [secrets, gateway] = await Promise.all([nats.connect("secrets"), nats.connect("gateway")]);
  const gate = Promise.withResolvers<void>();
  const ran: string[] = [];
  await serveSecrets(secrets, {
    getSecret: async ({ name }) => {
      ran.push(name);
      await gate.promise;
      return { name };
    },
  });
  const client = gateway.client(SecretsServiceDefinition);
  const first = Array.from({ length: CONCURRENCY }, (_, i) => client.getSecret({ name: `n${i}` }));
  await waitUntil("a full service", 5000, () => (ran.length === CONCURRENCY ? true : undefined));
  const controller = new AbortController();
  const waiting = codeOf(client.getSecret({ name: "late" }, { signal: controller.signal }));
  await waitUntil("the call in the queue", 5000, () => (secrets.load.calls === CONCURRENCY + 1 ? true : undefined));
  controller.abort();
  assert.equal(await waiting, StatusCode.CANCELLED);
  // What a caller sends arrives in order: after this answer the cancellation is known.
  assert.equal(await codeOf(client.listSecrets({})), StatusCode.UNIMPLEMENTED);
  gate.resolve();
  await Promise.all(first);
  await waitUntil("the end of every call", 5000, () => (secrets.load.calls === 0 ? true : undefined));
  assert.ok(!ran.includes("late"));
});

test("a call whose deadline and key cannot be read is refused, not served as another call", async (t) => {
  const nats = await startNats(t);
  const secrets = await nats.connect("secrets");
  const seen: CallContext[] = [];
  await serveSecrets(secrets, {
    getSecret: async ({ name }, ctx) => {
      seen.push(ctx);
      return { name };
    },
  });
  const raw = await rawConnection(nats, "gateway");
  t.after(() => raw.close());
  const caller = new CallerSigner("gateway", credentialsOf(nats, "gateway").seed);
  const ask = (rpc: string) => {
    const carried = headers();
    carried.set(RPC_HEADER, rpc);
    carried.set(CALLER_HEADER, caller.self());
    const subject = `mesh.${SecretsServiceDefinition.fullName}.GetSecret`;
    return raw.request(subject, Uint8Array.of(10, 1, 97), { headers: carried, timeout: 5000 });
  };
  assert.equal(decodeStatus((await ask("1500;1;%zz")).data).code, StatusCode.INVALID_ARGUMENT);
  assert.equal(seen.length, 0);
  await ask("1500;2;key");
  assert.deepEqual([seen[0]?.attempt, seen[0]?.idempotencyKey], [2, "key"]);
});
