import assert from "node:assert/strict";
import test from "node:test";
import { headers, type MsgHdrs } from "@nats-io/transport-node";
import { type Mesh, RpcError } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { ServiceStarted } from "@warren/proto/warren/events/v1/events";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, waitUntil } from "@warren/testing";
import * as fc from "fast-check";
import { CallerSigner } from "../src/caller.ts";
import { CALLER_HEADER, RPC_HEADER, STREAM_HEADER } from "../src/headers.ts";
import { credit, FrameKind, plain } from "../src/stream/frame.ts";
import { headerText, payload } from "./hostile.ts";
import { bareHeaders, credentialsOf, rawConnection } from "./raw.ts";
import { serveAgent, serveSecrets } from "./support.ts";

const SEED = 20_260_110;
const SECRETS = `mesh.${SecretsServiceDefinition.fullName}`;
const AGENT = `mesh.${AgentServiceDefinition.fullName}`;

/** Resolves when a process neither serves a call nor waits for an answer. */
function idle(mesh: Mesh, ms = 5000): Promise<true> {
  return waitUntil(`the rest of ${mesh.name} (${JSON.stringify(mesh.load)})`, ms, () =>
    mesh.load.calls === 0 && mesh.load.routes === 0 ? true : undefined,
  );
}

test("a service that is sent anything at all by a peer's own credential still serves", async (t) => {
  const nats = await startNats(t);
  const [secrets, agent, gateway] = await Promise.all([
    nats.connect("secrets"),
    nats.connect("agent"),
    nats.connect("gateway"),
  ]);
  await serveSecrets(secrets, { getSecret: async ({ name }) => ({ name }) });
  await serveAgent(agent, {
    async *streamChat() {
      for (let sequence = 1; sequence <= 500; sequence++) yield { sequence };
    },
  });
  let received = 0;
  await gateway.subscribe(ServiceStarted, () => void (received += 1));
  const raw = await rawConnection(nats, "gateway");
  t.after(() => raw.close());
  const caller = new CallerSigner("gateway", credentialsOf(nats, "gateway").seed);
  const callHeaders = (rpc: string, window?: string): MsgHdrs => {
    const carried = headers();
    carried.set(RPC_HEADER, rpc);
    carried.set(CALLER_HEADER, caller.self());
    if (window) carried.set(STREAM_HEADER, window);
    return carried;
  };

  await t.test("calls, cancellations, questions and events of random bytes and headers", async () => {
    const subject = fc.oneof(
      { weight: 4, arbitrary: fc.constantFrom(`${SECRETS}.GetSecret`, `${AGENT}.StreamChat`, `${AGENT}.Chat`) },
      fc.constantFrom(`${SECRETS}._cancel`, `${AGENT}._probe`, `${SECRETS}.Nope`, "events.system.service.started"),
    );
    const reply = fc.constantFrom(
      "_INBOX.gateway.fuzz.1",
      "_INBOX.gateway.fuzz.2",
      "_INBOX.secrets.guess.1",
      "_INBOX.>",
      "_INBOX.*.x",
      "events.security.forged",
      "$JS.API.STREAM.DELETE.KV_secrets",
      `${AGENT}.Chat`,
      undefined,
    );
    const carried = fc.oneof(headerText.map(bareHeaders), fc.constant(undefined), fc.constant("valid" as const));
    const message = fc.tuple(subject, payload, reply, carried);
    for (const [to, data, answerTo, block] of fc.sample(message, { numRuns: 4000, seed: SEED })) {
      const own = block === "valid" ? callHeaders("400;1;", "16;1000") : block;
      raw.publish(to, data, { ...(answerTo ? { reply: answerTo } : {}), ...(own ? { headers: own } : {}) });
    }
    await raw.flush();
    await gateway.publish(ServiceStarted, ServiceStarted.fromPartial({ service: "gateway" }));
    await waitUntil("the good event", 5000, () => (received > 0 ? true : undefined));
    await Promise.all([idle(secrets), idle(agent)]);
  });

  await t.test("random frames to the control inbox of a stream", async () => {
    const frames = fc.sample(fc.array(payload, { maxLength: 30 }), { numRuns: 60, seed: SEED });
    const accepted = new Set<string>();
    raw.subscribe("_INBOX.gateway.control.*", {
      callback: (_, message) => {
        if (message.data[0] !== FrameKind.ACK || !message.reply) return;
        accepted.add(message.reply);
        const number = Number(message.subject.split(".").at(-1));
        for (const frame of frames[number] ?? []) raw.publish(message.reply, frame, { headers: bareHeaders("junk") });
        raw.publish(message.reply, credit(0xffff_ffff, 0xffff_ffff));
      },
    });
    await raw.flush();
    for (const number of frames.keys())
      raw.publish(`${AGENT}.StreamChat`, Uint8Array.of(0x12, 1, 0x61), {
        reply: `_INBOX.gateway.control.${number}`,
        headers: callHeaders("2000;1;", "1;1"),
      });
    await waitUntil("the acceptance of every stream", 5000, () => (accepted.size === frames.length ? true : undefined));
    await idle(agent);
  });

  await t.test(
    "a reader that says it is there but takes nothing does not hold a stream beyond its deadline",
    async () => {
      const ended = Promise.withResolvers<Uint8Array>();
      let control: string | undefined;
      raw.subscribe("_INBOX.gateway.idle", {
        callback: (_, message) => {
          control ??= message.reply;
          if (message.data[0] === FrameKind.ERROR) ended.resolve(message.data);
        },
      });
      await raw.flush();
      raw.publish(`${AGENT}.StreamChat`, Uint8Array.of(0x12, 1, 0x61), {
        reply: "_INBOX.gateway.idle",
        headers: callHeaders("300;1;", "1;1"),
      });
      const alive = setInterval(() => control && raw.publish(control, plain(FrameKind.ALIVE)), 20);
      t.after(() => clearInterval(alive));
      await ended.promise;
      clearInterval(alive);
      await idle(agent);
    },
  );

  await t.test("and answers, and drains at once", async () => {
    assert.equal((await gateway.client(SecretsServiceDefinition).getSecret({ name: "a" })).name, "a");
    let events = 0;
    for await (const { sequence } of gateway.client(AgentServiceDefinition).streamChat({ message: "a" }))
      events = sequence;
    assert.equal(events, 500);
    await idle(gateway);
    const started = performance.now();
    await Promise.all([secrets.drain(20_000), agent.drain(20_000)]);
    assert.ok(performance.now() - started < 5000);
  });
});

test("a caller whose service answers anything at all gets an answer or an RpcError, and forgets the call", async (t) => {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway");
  const raw = await rawConnection(nats, "agent");
  t.after(() => raw.close());
  const answers = fc.sample(fc.array(fc.tuple(payload, fc.option(headerText, { nil: undefined })), { maxLength: 6 }), {
    numRuns: 120,
    seed: SEED,
  });
  let calls = 0;
  raw.subscribe(`${AGENT}.*`, {
    callback: (_, message) => {
      if (!message.reply) return;
      for (const [data, block] of answers[calls++ % answers.length] ?? [])
        raw.publish(message.reply, data, {
          reply: "_INBOX.agent.control",
          ...(block ? { headers: bareHeaders(block) } : {}),
        });
    },
  });
  await raw.flush();
  const agent = gateway.client(AgentServiceDefinition);
  const read = async (): Promise<void> => {
    for await (const event of agent.streamChat({ message: "a" }, { timeoutMs: 500 })) assert.ok(event);
  };
  const outcomes = await Promise.allSettled(
    answers.flatMap(() => [agent.chat({ message: "a" }, { timeoutMs: 500 }), read()]),
  );
  for (const outcome of outcomes)
    if (outcome.status === "rejected") assert.ok(outcome.reason instanceof RpcError, String(outcome.reason));
  assert.ok(calls >= 2 * answers.length);
  await idle(gateway);
});
