import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import type { Msg } from "@nats-io/transport-node";
import { type CallContext, type Handlers, RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { startNats, waitUntil } from "@warren/testing";
import { aborted, type Client, listen, python, rawConnection } from "./support.ts";

const AGENT = "warren.agent.v1.AgentService";
const WINDOW_FRAMES = 256;

test("a stream to Python", async (t) => {
  const nats = await startNats(t);
  const agent = await nats.connect("agent");
  const state = { written: 0, ended: 0 };
  const handlers: Partial<Handlers<typeof AgentServiceDefinition>> = {
    async *streamChat({ message }, ctx: CallContext) {
      try {
        const [kind, count = "0"] = message.split(" ");
        const text = kind === "large" ? "x".repeat(2_500_000) : "t";
        for (let i = 1; i <= Number(count); i++) {
          state.written = i;
          yield { sequence: i, event: { $case: "text", value: { text } } };
        }
        if (kind === "fail") throw new RpcError(StatusCode.ABORTED, "no more", { reason: "ENOUGH" });
        if (kind === "wait") await aborted(ctx);
      } finally {
        state.ended += 1;
      }
    },
  };
  await agent.serve(AgentServiceDefinition, handlers as Handlers<typeof AgentServiceDefinition>);
  const stream = (scenario: object): Client => python(t, nats, { run: "stream", ...scenario });

  await t.test("arrives whole and in order", async () => {
    const { count, ordered } = await stream({ message: "small 5000" }).said();
    assert.deepEqual([count, ordered], [5000, true]);
  });
  await t.test("of messages larger than NATS carries arrives whole", async () => {
    const { count, ordered, bytes } = await stream({ message: "large 3" }).said();
    assert.deepEqual([count, ordered], [3, true]);
    assert.ok((bytes as number) > 7_500_000);
  });
  await t.test("that has nothing to say ends well", async () => {
    assert.equal((await stream({ message: "none" }).said())["count"], 0);
  });
  await t.test("stops its writer while its reader does not read, and goes on when it does", async () => {
    const client = stream({ message: "small 5000", pause_after: 1 });
    assert.deepEqual(await client.said(), { paused: true });
    let before = -1;
    await waitUntil("the writer's halt", 5000, async () => {
      if (before === state.written) return true;
      before = state.written;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return undefined;
    });
    assert.ok(state.written <= 2 * WINDOW_FRAMES, `${state.written} frames were written for one that was read`);
    client.goOn();
    const { count, ordered } = await client.said();
    assert.deepEqual([count, ordered], [5000, true]);
  });
  await t.test("ends with the handler's error after what came before it", async () => {
    const { count, code, reason } = await stream({ message: "fail 3" }).said();
    assert.deepEqual([count, code, reason], [3, "ABORTED", "ENOUGH"]);
  });
  await t.test("whose reader leaves ends its handler", async () => {
    const before = state.ended;
    const client = stream({ message: "wait 3", leave_after: 2 });
    assert.equal((await client.said())["count"], 2);
    await waitUntil("the handler's end", 5000, () => (state.ended > before ? true : undefined));
  });
  await t.test("ends at its deadline on both sides", async () => {
    const before = state.ended;
    const { count, code } = await stream({ message: "wait 1", timeout: 0.5 }).said();
    assert.deepEqual([count, code], [1, "DEADLINE_EXCEEDED"]);
    await waitUntil("the handler's end", 5000, () => (state.ended > before ? true : undefined));
  });
  await t.test("is refused before it begins when the scope is missing", async () => {
    const user = { principal: "device:d1", scopes: ["sessions:read"] };
    const { count, code, reason } = await stream({ message: "small 1", user }).said();
    assert.deepEqual([count, code, reason], [0, "PERMISSION_DENIED", "SCOPE_MISSING"]);
  });
});

test("a stream to Python whose service breaks the protocol", { concurrency: true }, async (t) => {
  const frame = (kind: number, sequence?: number, payload = ""): Buffer => {
    const number = Buffer.alloc(sequence === undefined ? 0 : 4);
    if (sequence !== undefined) number.writeUInt32BE(sequence);
    return Buffer.concat([Buffer.from([kind]), number, Buffer.from(payload, "latin1")]);
  };
  const event = (sequence: number): Buffer => frame(2, sequence, `\x08${String.fromCharCode(sequence)}`);
  /** Answers the one call of a client with frames; what it hears on the control inbox and on `_cancel`. */
  const hostile = async (t: TestContext, frames: readonly Buffer[], timeout = 30, more = {}) => {
    const nats = await startNats(t);
    const raw = await rawConnection(t, nats, "agent");
    const control = await listen(raw, "_INBOX.agent.control");
    const cancelled = await listen(raw, `mesh.${AGENT}._cancel`);
    const requests = await listen(raw, `mesh.${AGENT}.StreamChat`);
    const client = python(t, nats, { run: "stream", message: "any", timeout, ...more });
    const reply = await waitUntil("the request", 10_000, () => requests[0]?.reply);
    for (const each of frames) raw.publish(reply, each, each[0] === 1 ? { reply: "_INBOX.agent.control" } : {});
    return { client, said: await client.said(), control, cancelled, reply };
  };
  const cancels = (messages: readonly Msg[]): true | undefined =>
    messages.some(({ data }) => data[0] === 8) || undefined;

  await t.test("by a gap fails with DATA_LOSS and is cancelled", async (t) => {
    const { said, control } = await hostile(t, [frame(1), event(1), event(3)]);
    assert.deepEqual([said["count"], said["code"]], [1, "DATA_LOSS"]);
    await waitUntil("the cancellation", 5000, () => cancels(control));
  });
  await t.test("by what is no frame fails with DATA_LOSS and is cancelled", async (t) => {
    const { said, control } = await hostile(t, [frame(1), event(1), frame(99)]);
    assert.deepEqual([said["count"], said["code"]], [1, "DATA_LOSS"]);
    await waitUntil("the cancellation", 5000, () => cancels(control));
  });
  await t.test("by a batch that is cut short fails with DATA_LOSS and is cancelled", async (t) => {
    const { said, control } = await hostile(t, [frame(1), event(1), frame(9, 2, "\0\0\0\x02\x08\x02\0\0\0\x03\x08")]);
    assert.deepEqual([said["count"], said["code"]], [1, "DATA_LOSS"]);
    await waitUntil("the cancellation", 5000, () => cancels(control));
  });
  await t.test("by sending more than it had credit for is cancelled", async (t) => {
    const frames = Array.from({ length: WINDOW_FRAMES + 1 }, (_, i) => frame(2, i + 1, "\x08\x01"));
    const { client, said, control } = await hostile(t, [frame(1), ...frames], 30, { pause_after: 1 });
    assert.deepEqual(said, { paused: true });
    await waitUntil("the cancellation", 5000, () => cancels(control));
    client.goOn();
    const { count, code } = await client.said();
    assert.deepEqual([count, code], [WINDOW_FRAMES, "RESOURCE_EXHAUSTED"]);
  });
  await t.test("by an error that cannot be read fails all the same", async (t) => {
    const { said } = await hostile(t, [frame(1), Buffer.from([5, 0x1a, 0xff])]);
    assert.equal(said["code"], "INTERNAL");
  });
  await t.test("by never taking the call is cancelled by its name", async (t) => {
    const { said, cancelled, reply } = await hostile(t, [], 0.5);
    assert.equal(said["code"], "DEADLINE_EXCEEDED");
    const message = await waitUntil("the cancellation", 5000, () => cancelled[0]);
    assert.equal(message.string(), reply);
  });
  await t.test("by silence is given up, after having said that it is there itself", async (t) => {
    const { said, control } = await hostile(t, [frame(1), event(1)]);
    assert.deepEqual([said["count"], said["code"], said["reason"]], [1, "UNAVAILABLE", "STREAM_LOST"]);
    await waitUntil("the cancellation", 5000, () => cancels(control));
    assert.ok(control.filter(({ data }) => data[0] === 6).length >= 3);
  });
});
