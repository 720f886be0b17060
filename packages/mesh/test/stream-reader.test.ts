import assert from "node:assert/strict";
import test from "node:test";
import type { Msg } from "@nats-io/transport-node";
import { RpcError, StatusCode } from "@warren/mesh";
import * as fc from "fast-check";
import type { Connection } from "../src/connection.ts";
import { now } from "../src/deadline.ts";
import type { Inbox } from "../src/inbox.ts";
import { FrameKind, parseFrame, plain, sequenced } from "../src/stream/frame.ts";
import { DEFAULT_WINDOW } from "../src/stream/credit.ts";
import { StreamReader } from "../src/stream/reader.ts";
import { TimerWheel } from "../src/timer-wheel.ts";
import { payload } from "./hostile.ts";

fc.configureGlobal({ seed: 20_260_111 });

const ACK = plain(FrameKind.ACK);
const data = (sequence: number, text = "", kind: FrameKind = FrameKind.DATA) =>
  sequenced(kind, sequence, Buffer.from(text));
const end = (sequence: number) => sequenced(FrameKind.END, sequence, new Uint8Array());

/** A reader that is fed by hand, and what it published in turn. */
function fedReader(signal?: AbortSignal) {
  const wheel = new TimerWheel();
  const published: { subject: string; kind: number }[] = [];
  let feed: ((message: Msg) => void) | undefined;
  const open = (onMessage: (message: Msg) => void) => {
    feed = onMessage;
    return { subject: "_INBOX.gateway.test.0", close: () => void (feed = undefined) };
  };
  const publish = (subject: string, frame: Uint8Array) =>
    published.push({ subject, kind: parseFrame(frame)?.kind ?? 0 });
  const unaccepted: string[] = [];
  const reader = new StreamReader({
    connection: { up: true, nats: { publish } } as unknown as Connection,
    inbox: { open } as unknown as Inbox,
    wheel,
    deadline: now() + 60_000,
    signal,
    onExpired: () => new RpcError(StatusCode.DEADLINE_EXCEEDED, "late"),
    onCancelled: () => new RpcError(StatusCode.CANCELLED, "cancelled"),
    errorOf: () => undefined,
    onUnaccepted: (route) => unaccepted.push(route.subject),
  });
  return {
    reader,
    published,
    unaccepted,
    isOpen: () => feed !== undefined,
    give: (...frames: Uint8Array[]) => {
      for (const each of frames) feed?.({ data: each, reply: "_INBOX.agent.control.0" } as unknown as Msg);
    },
    stop: () => wheel.stop(),
  };
}

/** Everything that a reader yields, and how it ended. */
async function drain(reader: StreamReader): Promise<{ messages: string[]; error?: unknown }> {
  const messages: string[] = [];
  try {
    for await (const message of reader) messages.push(Buffer.from(message).toString());
    return { messages };
  } catch (error) {
    return { messages, error };
  }
}

test("messages come in order, those cut into parts whole, until the end", async () => {
  const { reader, give, isOpen } = fedReader();
  give(
    ACK,
    data(1, "a"),
    data(2, "b", FrameKind.MORE),
    data(3, "c", FrameKind.MORE),
    data(4, "d"),
    plain(FrameKind.ALIVE),
    end(5),
  );
  await reader.accepted;
  assert.deepEqual(await drain(reader), { messages: ["a", "bcd"] });
  assert.equal(isOpen(), false);
});

test("a frame that is missing, doubled, out of order or none at all ends the stream with DATA_LOSS, and the writer is told", async () => {
  for (const broken of [
    data(3),
    data(1),
    data(0),
    end(3),
    Uint8Array.of(),
    Uint8Array.of(99),
    data(2).subarray(0, 3),
  ]) {
    const { reader, give, published, isOpen } = fedReader();
    give(ACK, data(1, "a"), broken, data(2, "never"));
    const { messages, error } = await drain(reader);
    assert.deepEqual(messages, ["a"]);
    assert.equal((error as RpcError).code, StatusCode.DATA_LOSS);
    assert.deepEqual(published, [{ subject: "_INBOX.agent.control.0", kind: FrameKind.CANCEL }]);
    assert.equal(isOpen(), false);
  }
});

test("a stream that nobody has accepted is cancelled by its route", async () => {
  const controller = new AbortController();
  const { reader, unaccepted, published } = fedReader(controller.signal);
  controller.abort();
  await assert.rejects(reader.accepted, { code: StatusCode.CANCELLED });
  assert.deepEqual(unaccepted, ["_INBOX.gateway.test.0"]);
  assert.deepEqual(published, []);
});

test("credit is granted as messages are taken, not before", async () => {
  const { reader, give, published, stop } = fedReader();
  give(ACK, ...Array.from({ length: DEFAULT_WINDOW.frames }, (_, i) => data(i + 1)));
  assert.deepEqual(published, []);
  const iterator = reader[Symbol.asyncIterator]();
  for (let i = 1; i < DEFAULT_WINDOW.frames / 2; i++) await iterator.next();
  assert.deepEqual(published, []);
  await iterator.next();
  assert.deepEqual(
    published.map(({ kind }) => kind),
    [FrameKind.CREDIT],
  );
  await iterator.return?.(undefined);
  stop();
});

test("whatever frames come, a reader yields what was whole before the first fault, and fails only by an RpcError", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(payload, { maxLength: 20 }), fc.nat({ max: 5 }), async (noise, good) => {
      const { reader, give, isOpen } = fedReader();
      give(ACK, ...Array.from({ length: good }, (_, i) => data(i + 1, `${i}`)), ...noise, end(good + 1));
      reader.fail(new RpcError(StatusCode.UNAVAILABLE, "the test is over"));
      const { messages, error } = await drain(reader);
      assert.deepEqual(
        messages.slice(0, good),
        Array.from({ length: good }, (_, i) => `${i}`),
      );
      if (error !== undefined) assert.ok(error instanceof RpcError);
      assert.equal(isOpen(), false);
    }),
  );
});
