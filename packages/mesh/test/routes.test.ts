import assert from "node:assert/strict";
import test from "node:test";
import type { Msg } from "@nats-io/transport-node";
import { RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { TelemetryServiceDefinition } from "@warren/proto/warren/telemetry/v1/telemetry";
import { startNats, waitUntil } from "@warren/testing";
import * as fc from "fast-check";
import { AnswerBundles, BUNDLE_TOKEN, unbundle } from "../src/answer-bundle.ts";
import type { Wire } from "../src/wire.ts";
import { rawConnection } from "./raw.ts";
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
  raw.subscribe("_INBOX.gateway.>", { callback: () => void (answers += 1) });
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

test("answers that are ready at once come together, each to its call; an inbox of another form gets them one by one", async (t) => {
  const nats = await startNats(t);
  const [secrets, gateway, raw] = await Promise.all([
    nats.connect("secrets"),
    nats.connect("gateway"),
    rawConnection(nats, "gateway"),
  ]);
  t.after(() => raw.close());
  await serveSecrets(secrets, {
    getSecret: async ({ name }) => {
      if (name === "n7") throw new RpcError(StatusCode.NOT_FOUND, "no such secret");
      return { name, value: name === "n9" ? "v".repeat(100_000) : name };
    },
  });
  const seen: string[] = [];
  raw.subscribe("_INBOX.gateway.*.b.*", {
    callback: (_, message) => void seen.push(message.subject.split(".").at(-1) ?? ""),
  });
  await raw.flush();
  const client = gateway.client(SecretsServiceDefinition);
  const ask = (i: number) =>
    client.getSecret({ name: `n${i}` }).then(
      ({ value }) => value.slice(0, 8),
      (error: RpcError) => error.code,
    );
  for (let round = 0; round < 5; round++)
    assert.deepEqual(
      await Promise.all(Array.from({ length: 50 }, (_, i) => ask(i))),
      Array.from({ length: 50 }, (_, i) => (i === 7 ? StatusCode.NOT_FOUND : i === 9 ? "v".repeat(8) : `n${i}`)),
    );
  await raw.flush();
  assert.ok(seen.includes(BUNDLE_TOKEN), "no two answers came together");
  assert.ok(seen.length < 250, `${seen.length} messages for 250 calls`);
  assert.equal(gateway.load.routes, 0);
});

test("a bundle gives back what it was made of, and of anything else at most a beginning", () => {
  const sent: { subject: string; payload: Uint8Array }[] = [];
  const wire = { send: (subject: string, _: string, payload: Uint8Array) => void sent.push({ subject, payload }) };
  const entry = fc.tuple(fc.stringMatching(/^[A-Za-z0-9_-]{1,40}$/), fc.uint8Array({ maxLength: 300 }));
  return fc.assert(
    fc.asyncProperty(fc.array(entry, { minLength: 2, maxLength: 20 }), fc.nat(), async (entries, cut) => {
      sent.length = 0;
      const bundles = new AnswerBundles(wire as unknown as Wire, () => true);
      for (const [token, payload] of entries) bundles.send(`_INBOX.gateway.r.b.${token}`, payload);
      await Promise.resolve();
      assert.deepEqual(
        sent.map(({ subject }) => subject),
        ["_INBOX.gateway.r.b._"],
      );
      const frame = sent[0]?.payload ?? new Uint8Array();
      const read = (data: Uint8Array): [string, Uint8Array][] => {
        const found: [string, Uint8Array][] = [];
        unbundle(data, (token, answer) => found.push([token, Uint8Array.from(answer)]));
        return found;
      };
      assert.deepEqual(read(frame), entries);
      const part = read(frame.subarray(0, cut % frame.length));
      assert.deepEqual(part, entries.slice(0, part.length));
      read(Uint8Array.from(frame, (byte, i) => (i === cut % frame.length ? byte ^ 0xff : byte)));
    }),
    { seed: 20_260_112, numRuns: 200 },
  );
});
