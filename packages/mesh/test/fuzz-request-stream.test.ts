// Streams of requests whose client keeps to no protocol: frames in any order, numbers, credits, sizes and headers.
import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { headers } from "@nats-io/transport-node";
import { type Mesh, StatusCode } from "@warren/mesh";
import { ChatEvent, ChatRequest } from "@warren/proto/warren/agent/v1/agent";
import { startNats, waitUntil } from "@warren/testing";
import * as fc from "fast-check";
import { CallerSigner } from "../src/caller.ts";
import { CALLER_HEADER, RPC_HEADER, STREAM_HEADER } from "../src/headers.ts";
import { decodeStatus } from "../src/status.ts";
import { batch, credit, FrameKind, plain, sequenced } from "../src/stream/frame.ts";
import { headerText, payload } from "./hostile.ts";
import { bareHeaders, credentialsOf, rawConnection } from "./raw.ts";
import { noStreams, streamingContract, StreamingDefinition } from "./streaming-contract.ts";

const SEED = 20_261_126;
const AGENT = `mesh.${StreamingDefinition.fullName}`;
const contractOf = streamingContract;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** One thing that a client does: a frame whose number is the next one plus `skip`, or something else altogether. */
type Step =
  | { readonly do: "frame"; readonly kind: FrameKind; readonly skip: number; readonly data: Uint8Array }
  | { readonly do: "batch"; readonly skip: number; readonly messages: readonly Uint8Array[] }
  | { readonly do: "oversized"; readonly kind: FrameKind }
  | { readonly do: "credit"; readonly frames: number; readonly bytes: number }
  | { readonly do: "again" }
  | { readonly do: "raw"; readonly data: Uint8Array; readonly headers: string | undefined }
  | { readonly do: "control"; readonly name: "_cancel" | "_probe" };

const message = fc.oneof(
  { weight: 3, arbitrary: fc.constant(ChatRequest.encode(ChatRequest.fromPartial({ message: "a" })).finish()) },
  payload,
  fc.constant(new Uint8Array()),
);
// Mostly the next number, so that streams live long enough for what comes after.
const skip = fc.oneof({ weight: 12, arbitrary: fc.constant(0) }, fc.constantFrom(-1, 1, 7, 0x7fff_ffff, 0xffff_ffff));
const uint32 = fc.oneof(fc.constantFrom(0, 1, 0xffff_ffff), fc.nat({ max: 2000 }));
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("frame" as const),
      kind: fc.constantFrom(FrameKind.DATA, FrameKind.DATA, FrameKind.MORE, FrameKind.END),
      skip,
      data: message,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("batch" as const), skip, messages: fc.array(message, { maxLength: 70 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("oversized" as const),
      kind: fc.constantFrom(FrameKind.DATA, FrameKind.MORE),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("credit" as const), frames: uint32, bytes: uint32 }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("again" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("raw" as const),
      data: fc.oneof(payload, fc.constantFrom(...[1, 5, 6, 7, 8, 9].map((kind) => Uint8Array.of(kind)))),
      headers: fc.option(headerText, { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("control" as const),
      name: fc.constantFrom("_cancel" as const, "_probe" as const),
    }),
  },
);
const call = fc.record({
  method: fc.constantFrom("Collect", "Relay"),
  window: fc.constantFrom("1;1", "4;1000", "1024;1048576"),
  steps: fc.array(step, { maxLength: 40 }),
});

async function scene(t: TestContext) {
  const nats = await startNats(t);
  const [agent, gateway] = await Promise.all([
    nats.connect("agent", { contractOf }),
    nats.connect("gateway", { contractOf }),
  ]);
  await agent.serve(StreamingDefinition, {
    ...noStreams,
    collect: async (requests) => {
      let count = 0;
      for await (const _ of requests) count += 1;
      return { message: String(count) };
    },
    async *relay(requests) {
      for await (const request of requests) yield request;
    },
  });
  const raw = await rawConnection(nats, "gateway");
  t.after(() => raw.close());
  const caller = new CallerSigner("gateway", credentialsOf(nats, "gateway").seed);
  const open = (method: string, reply: string, window: string, timeMs: number): void => {
    const carried = headers();
    carried.set(RPC_HEADER, `${timeMs};1;`);
    carried.set(CALLER_HEADER, caller.self());
    carried.set(STREAM_HEADER, window);
    raw.publish(`${AGENT}.${method}`, new Uint8Array(), { reply, headers: carried });
  };
  return { agent, gateway, raw, open };
}

function idle(mesh: Mesh): Promise<true> {
  return waitUntil(`the rest of ${mesh.name} (${JSON.stringify(mesh.load)})`, 10_000, () => {
    const { calls, queued, routes, timers } = mesh.load;
    return calls + queued + routes + timers === 0 ? true : undefined;
  });
}

test("clients that send request streams of anything at all leave nothing behind, and good ones are answered meanwhile", async (t) => {
  const { agent, gateway, raw, open } = await scene(t);
  const client = gateway.client(StreamingDefinition);
  const oversized = new Uint8Array((raw.info?.max_payload ?? 1 << 20) - 600);
  let number = 0;

  const perform = (each: Step, sequence: number, control: string, reply: string): number => {
    const send = (frame: Uint8Array): void => raw.publish(control, frame);
    switch (each.do) {
      case "frame":
        send(sequenced(each.kind, sequence + 1 + each.skip, each.data));
        return sequence + 1;
      case "batch":
        send(batch(sequence + 1 + each.skip, each.messages));
        return sequence + each.messages.length;
      case "oversized":
        send(sequenced(each.kind, sequence + 1, oversized));
        return sequence + 1;
      case "again":
        send(sequenced(FrameKind.DATA, sequence, new Uint8Array()));
        return sequence;
      case "credit":
        send(credit(each.frames, each.bytes));
        return sequence;
      case "raw":
        raw.publish(control, each.data, each.headers ? { headers: bareHeaders(each.headers) } : {});
        return sequence;
      case "control":
        raw.publish(`${AGENT}.${each.name}`, Buffer.from(reply), { reply });
        return sequence;
    }
  };
  /** Many calls at once; resolves when the service has forgotten all but what a good caller has there. */
  const misbehave = async (
    calls: readonly { method: string; window: string; steps: readonly Step[] }[],
  ): Promise<void> => {
    const accepted = new Set<number>();
    const round = `_INBOX.gateway.round${(number += 1)}`;
    const subscription = raw.subscribe(`${round}.*`, {
      callback: (_, { data, reply, subject }) => {
        const index = Number(subject.split(".").at(-1));
        if (data[0] !== FrameKind.ACK || !reply || accepted.has(index)) return;
        accepted.add(index);
        let sequence = 0;
        for (const each of calls[index]?.steps ?? []) sequence = perform(each, sequence, reply, subject);
      },
    });
    for (const [index, { method, window }] of calls.entries()) open(method, `${round}.${index}`, window, 700);
    await raw.flush();
    await waitUntil("the acceptance of every call", 10_000, () => accepted.size === calls.length || undefined);
    await waitUntil("the end of every call", 10_000, () => agent.load.calls <= 1 || undefined);
    subscription.unsubscribe();
  };
  const wellBehaved = async (stop: () => boolean): Promise<number> => {
    let rounds = 0;
    async function* requests() {
      for (let index = 1; index <= 100; index++) yield { sequence: index, message: "a" };
    }
    do {
      assert.equal((await client.collect(requests(), { timeoutMs: 10_000 })).message, "100");
      let last = 0;
      for await (const { sequence } of client.relay(requests(), { timeoutMs: 10_000 })) assert.equal(sequence, ++last);
      assert.equal(last, 100);
      rounds += 1;
    } while (!stop());
    return rounds;
  };
  const heap = (): number => {
    collectGarbage();
    return process.memoryUsage().heapUsed;
  };

  const rounds = fc.sample(fc.array(call, { minLength: 40, maxLength: 40 }), { numRuns: 12, seed: SEED });
  // What is compiled and cached by the way is not held for a call.
  for (const calls of rounds.slice(0, 3)) await misbehave(calls);
  await wellBehaved(() => true);
  await Promise.all([idle(agent), idle(gateway)]);
  const before = heap();
  let over = false;
  const bad = (async () => {
    for (const calls of rounds) await misbehave(calls);
  })().finally(() => (over = true));
  const [answered] = await Promise.all([wellBehaved(() => over), bad]);
  assert.ok(answered > 1, "good callers were answered while the others were served");
  await Promise.all([idle(agent), idle(gateway)]);
  const grown = heap() - before;
  assert.ok(grown < 3_000_000, `${grown} bytes are still held after ${rounds.length * 40} calls`);
});

test("a message in more parts than any writer makes is refused, however small they are", async (t) => {
  const { agent, raw, open } = await scene(t);
  const ended = Promise.withResolvers<Uint8Array>();
  let control: string | undefined;
  let sequence = 0;
  raw.subscribe("_INBOX.gateway.parts", {
    callback: (_, { data, reply }) => {
      control ??= reply;
      if (!control) return;
      if (data[0] === FrameKind.ERROR) return ended.resolve(data.subarray(1));
      const granted = data[0] === FrameKind.ALIVE ? 0 : Buffer.from(data).readUInt32BE(1);
      for (let index = 0; index < granted; index++)
        raw.publish(control, sequenced(FrameKind.MORE, ++sequence, new Uint8Array()));
    },
  });
  await raw.flush();
  open("Collect", "_INBOX.gateway.parts", "16;1000", 10_000);
  const { code, details } = decodeStatus(await ended.promise);
  assert.deepEqual([code, details.reason], [StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE"]);
  await idle(agent);
});

test("a service that names no inbox for what the client sends is left, and nothing is sent there", async (t) => {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway", { contractOf });
  const raw = await rawConnection(nats, "agent");
  t.after(() => raw.close());
  const cancelled = Promise.withResolvers<true>();
  raw.subscribe(`${AGENT}._cancel`, { callback: () => cancelled.resolve(true) });
  raw.subscribe(`${AGENT}.Relay`, {
    callback: (_, { reply = "" }) =>
      raw.publish(reply, plain(FrameKind.ACK, credit(8, 1000).subarray(1)), { reply: "events.security.forged" }),
  });
  await raw.flush();
  async function* requests() {
    yield ChatEvent.fromPartial({ sequence: 1 });
  }
  const read = async (): Promise<void> => {
    for await (const _ of gateway.client(StreamingDefinition).relay(requests(), { timeoutMs: 5_000 })) assert.fail();
  };
  await assert.rejects(read(), { code: StatusCode.DATA_LOSS });
  await cancelled.promise;
  await idle(gateway);
});
