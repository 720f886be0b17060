import assert from "node:assert/strict";
import test from "node:test";
import type { Msg } from "@nats-io/transport-node";
import { RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { TelemetryServiceDefinition } from "@warren/proto/warren/telemetry/v1/telemetry";
import { startNats, waitUntil } from "@warren/testing";
import { rawConnection } from "./hostile.ts";
import { codeOf, serveSecrets } from "./support.ts";

test("a route serves another call of the same service only, and only after its one answer has come", async (t) => {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway");
  const raws = await Promise.all([rawConnection(nats, "secrets"), rawConnection(nats, "agent")]);
  t.after(() => Promise.all(raws.map((raw) => raw.close())));
  const seen: { contract: string; route: string }[] = [];
  const silent = new Set<string>();
  const held: Msg[] = [];
  for (const [i, contract] of [SecretsServiceDefinition, AgentServiceDefinition].entries())
    for (const { fullName } of [contract, TelemetryServiceDefinition])
      raws[i]?.subscribe(`mesh.${fullName}.>`, {
        callback: (_, message) => {
          seen.push({ contract: fullName, route: message.reply ?? "" });
          if (silent.has(fullName)) held.push(message);
          else message.respond();
        },
      });
  await Promise.all(raws.map((raw) => raw.flush()));
  const secrets = gateway.client(SecretsServiceDefinition);
  const agent = gateway.client(AgentServiceDefinition);
  const telemetry = gateway.client(TelemetryServiceDefinition);
  const routesOf = (contract: string): string[] =>
    seen.filter((each) => each.contract === contract).map(({ route }) => route);
  for (let i = 0; i < 10; i++) {
    await secrets.getSecret({ name: "a" });
    await agent.chat({ message: "a" });
    await telemetry.getHealth({});
  }
  const ofSecrets = new Set(routesOf(SecretsServiceDefinition.fullName));
  const ofAgent = new Set(routesOf(AgentServiceDefinition.fullName));
  const ofTelemetry = routesOf(TelemetryServiceDefinition.fullName);
  assert.equal(ofSecrets.size, 1, "one call at a time needs one route");
  assert.equal(ofAgent.size, 1);
  assert.deepEqual(
    [...ofSecrets].filter((route) => ofAgent.has(route)),
    [],
    "two services know one route",
  );
  // Several services serve it: each route is for once, and every service sees the same question there.
  assert.equal(new Set(ofTelemetry).size * 2, ofTelemetry.length);
  for (const route of ofTelemetry) assert.ok(!ofSecrets.has(route) && !ofAgent.has(route));

  // An answer that comes after its call was given up reaches no other call.
  silent.add(SecretsServiceDefinition.fullName);
  assert.equal(await codeOf(secrets.getSecret({ name: "late" }, { timeoutMs: 50 })), StatusCode.DEADLINE_EXCEEDED);
  silent.clear();
  const [late] = held;
  assert.ok(late);
  seen.length = 0;
  const next = secrets.getSecret({ name: "next" });
  late.respond(Buffer.from("not for the next call"));
  assert.equal((await next).name, "");
  assert.notEqual(seen[0]?.route, late.reply);
  assert.equal(gateway.load.routes, 0);
});

test("a service that is cut while it drains answers once, whatever its handler does later", async (t) => {
  const nats = await startNats(t);
  const [secrets, raw] = await Promise.all([nats.connect("secrets"), rawConnection(nats, "gateway")]);
  t.after(() => raw.close());
  const gateway = await nats.connect("gateway");
  const gate = Promise.withResolvers<void>();
  let running = 0;
  await serveSecrets(secrets, {
    getSecret: async ({ name }) => {
      running += 1;
      await gate.promise;
      return { name };
    },
  });
  let answers = 0;
  raw.subscribe("_INBOX.gateway.*.*", { callback: () => void (answers += 1) });
  await raw.flush();
  const call = gateway.client(SecretsServiceDefinition).getSecret({ name: "a" });
  call.catch(() => undefined);
  await waitUntil("the handler", 5000, () => (running === 1 ? true : undefined));
  await secrets.drain(10);
  await assert.rejects(call, (error) => error instanceof RpcError && error.details.reason === "CUT_BY_DRAIN");
  gate.resolve();
  await waitUntil("the handler's end", 5000, () => (secrets.load.calls === 0 ? true : undefined));
  await secrets.close();
  await raw.flush();
  assert.equal(answers, 1);
});
