import assert from "node:assert/strict";
import test from "node:test";
import { type Interceptor, type IncomingCall, type OutgoingCall, RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats } from "@warren/testing";
import { serveAgent, serveSecrets, user } from "./support.ts";

test("interceptors stand around every call, on either side, the first outermost", async (t) => {
  const nats = await startNats(t);
  const seen: string[] = [];
  const around =
    (name: string): Interceptor<OutgoingCall> =>
    async (call, next) => {
      seen.push(`${name} > ${call.method.name}`);
      try {
        return await next();
      } finally {
        seen.push(`${name} <`);
      }
    };
  const guard: Interceptor<IncomingCall> = async ({ method, request, ctx }, next) => {
    seen.push(`server ${method.name} for ${ctx.caller.principal}`);
    if ("name" in request && request.name === "forbidden")
      throw new RpcError(StatusCode.PERMISSION_DENIED, "not this one");
    const outcome = await next();
    seen.push("server done");
    return outcome;
  };
  const gateway = await nats.connect("gateway", { interceptors: { client: [around("a"), around("b")] } });
  const secretsService = await nats.connect("secrets", { interceptors: { server: [guard] } });
  const agentService = await nats.connect("agent", { interceptors: { server: [guard] } });
  let handled = 0;
  await serveSecrets(secretsService, {
    getSecret: async ({ name }) => {
      handled += 1;
      return { name };
    },
  });
  await serveAgent(agentService, {
    async *streamChat() {
      yield { sequence: 1 };
      yield { sequence: 2 };
    },
  });
  const as = { assertion: gateway.assert(user(["*"])) };

  await t.test("of a unary call", async () => {
    await gateway.client(SecretsServiceDefinition).getSecret({ name: "a" }, as);
    assert.deepEqual(seen.splice(0), [
      "a > GetSecret",
      "b > GetSecret",
      "server GetSecret for device:d1",
      "server done",
      "b <",
      "a <",
    ]);
  });
  await t.test("and may answer in the handler's place", async () => {
    handled = 0;
    const call = gateway.client(SecretsServiceDefinition).getSecret({ name: "forbidden" }, as);
    await assert.rejects(call, { code: StatusCode.PERMISSION_DENIED, message: "not this one" });
    assert.equal(handled, 0);
    seen.length = 0;
  });
  await t.test("of a stream: opened on the client, ended on the server", async () => {
    for await (const event of gateway.client(AgentServiceDefinition).streamChat({ message: "a" }, as))
      seen.push(`event ${event.sequence}`);
    assert.deepEqual(
      seen.filter((line) => !line.startsWith("server done")),
      ["a > StreamChat", "b > StreamChat", "server StreamChat for device:d1", "b <", "a <", "event 1", "event 2"],
    );
    assert.ok(seen.includes("server done"));
  });
});
