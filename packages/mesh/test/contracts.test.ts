import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test, { type TestContext } from "node:test";
import { type MethodContract, methodContract, type MethodShape } from "@warren/contract";
import { type Mesh, type RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, type TestNats } from "@warren/testing";
import { KnownContracts } from "../src/contracts.ts";
import { CallError, RpcError as AnyError } from "../src/status.ts";
import { serveAgent, serveSecrets } from "./support.ts";

const SECRETS = SecretsServiceDefinition.fullName;

/** The contracts as another version of the software knows them: with these changes to one message. */
function version(
  message: string,
  change: (fields: MethodShape["messages"][string]) => MethodShape["messages"][string],
) {
  return (service: string, name: string): MethodContract => {
    const contract = methodContract(service, name);
    const fields = contract.shape.messages[message];
    if (!fields) return contract;
    const shape = { ...contract.shape, messages: { ...contract.shape.messages, [message]: change(fields) } };
    const hash = createHash("sha256").update(JSON.stringify(shape)).digest("base64url").slice(0, 8);
    return { ...contract, shape, hash };
  };
}

const grown = version("warren.secrets.v1.GetSecretRequest", (fields) => [
  ...fields,
  { number: 99, name: "added", type: "string", list: false, required: false },
]);
const broken = version("warren.secrets.v1.GetSecretRequest", (fields) =>
  fields.map((field) => (field.number === 1 ? { ...field, type: "int32" } : field)),
);

async function secretsOf(nats: TestNats, contractOf: typeof methodContract, value: string): Promise<Mesh> {
  const mesh = await nats.connect("secrets", { contractOf });
  await serveSecrets(mesh, { getSecret: async ({ name }) => ({ name, value }) });
  return mesh;
}

async function errorOf(call: Promise<unknown>): Promise<RpcError> {
  return call.then(
    () => assert.fail("the call was answered"),
    (error: RpcError) => error,
  );
}

test("versions of a contract that understand each other run side by side, each learned by one call", async (t: TestContext) => {
  const nats = await startNats(t);
  await secretsOf(nats, methodContract, "old");
  await secretsOf(nats, grown, "young");
  for (const contractOf of [methodContract, grown]) {
    const gateway = await nats.connect("gateway", { contractOf });
    const secrets = gateway.client(SecretsServiceDefinition);
    const answers = new Set<string>();
    for (let i = 0; i < 60; i++) answers.add((await secrets.getSecret({ name: "a" })).value);
    assert.deepEqual([...answers].toSorted(), ["old", "young"]);
  }
});

test("a version that would read something else is refused before anything runs, and says why", async (t: TestContext) => {
  const nats = await startNats(t);
  let ran = 0;
  const server = await nats.connect("secrets", { contractOf: broken });
  await serveSecrets(server, {
    getSecret: async ({ name }) => {
      ran += 1;
      return { name };
    },
    putSecret: async ({ name }) => ({ name }),
  });
  const gateway = await nats.connect("gateway");
  const secrets = gateway.client(SecretsServiceDefinition);
  for (let i = 0; i < 3; i++) {
    const { code, details, message } = await errorOf(secrets.getSecret({ name: "a" }));
    assert.deepEqual([code, details.reason], [StatusCode.FAILED_PRECONDITION, "CONTRACT_MISMATCH"]);
    assert.match(message, /GetSecret.*GetSecretRequest\.name is string as it is sent, int32 as it is read/);
  }
  assert.equal(ran, 0);
  // The rest of the contract is not in question.
  assert.equal((await secrets.putSecret({ name: "b", value: "v" })).name, "b");
});

test("streams and gathered answers are judged, too", async (t: TestContext) => {
  const nats = await startNats(t);
  const changed = (type: string) =>
    version("warren.agent.v1.ChatRequest", (fields) => [
      ...fields.filter(({ number }) => number !== 1),
      { number: 1, name: "session_id", type, list: false, required: false },
      { number: 98, name: "added", type: "string", list: false, required: false },
    ]);
  const gateway = await nats.connect("gateway");
  for (const [type, expected] of [
    ["string", "1,2"],
    ["bool", "CONTRACT_MISMATCH"],
  ] as const) {
    const server = await nats.connect("agent", { contractOf: changed(type) });
    await serveAgent(server, {
      async *streamChat() {
        yield* [{ sequence: 1 }, { sequence: 2 }];
      },
    });
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { sequence } of gateway.client(AgentServiceDefinition).streamChat({ message: "a" }))
        seen.push(sequence);
      return seen.join(",");
    })();
    assert.equal(await reading.catch((error: RpcError) => error.details.reason), expected);
    await server.drain();
    await server.close();
  }
  await secretsOf(nats, grown, "young");
  await secretsOf(nats, methodContract, "old");
  const every = await gateway.gather(methodContract(SECRETS, "GetSecret"), Buffer.from("\n\u0001a"));
  assert.ok(every.length > 0);
});

test("what a service says of its contract is taken for what it is", () => {
  const method = methodContract(SECRETS, "GetSecret");
  const refusal = (metadata: Record<string, string>) =>
    new CallError(StatusCode.FAILED_PRECONDITION, "", { reason: "CONTRACT_UNKNOWN", metadata });
  const shape = JSON.stringify(method.shape);
  const known = new KnownContracts();
  assert.equal(known.of(method), method.hash);
  for (const nonsense of ["", "null", "{}", "[1]", '{"messages":3}', "{", '{"input":"x","messages":{"x":[1]}}']) {
    const learned = known.learn(method, refusal({ hash: "aaaaaaaa", contract: nonsense }));
    assert.equal((learned as RpcError).details.reason, "CONTRACT_MISMATCH", nonsense);
  }
  for (const hash of ["", "a,b", "aaaaaaaaa", "\r\nx: y\r"]) {
    const error = refusal({ hash, contract: shape });
    assert.equal(known.learn(method, error), error, "no hash, no second try");
  }
  const other = new AnyError(StatusCode.UNAVAILABLE, "", { reason: "NO_RESPONDERS" });
  assert.equal(known.learn(method, other), other);
  // Once each; the last few are named, beside the caller's own.
  for (let i = 0; i < 9; i++) {
    const error = refusal({ hash: `hash000${i}`, contract: shape });
    assert.equal(known.learn(method, error), true);
    assert.equal(known.learn(method, error), error);
  }
  assert.equal(known.of(method), `${method.hash},hash0006,hash0007,hash0008`);
});
