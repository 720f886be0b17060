import assert from "node:assert/strict";
import test from "node:test";
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { headers, type Msg, type NatsConnection } from "@nats-io/transport-node";
import { connectMesh, type MeshLog } from "@warren/mesh";
import { SessionEntry } from "@warren/proto/warren/agent/v1/agent";
import { silentLog, startNats } from "@warren/testing";
import type { MessageType } from "../src/definition.ts";
import { MessageWriter } from "../src/message-writer.ts";
import { hasHeaders, headerBlock, headerIn, replyOf, slowerPaths, subjectOf, Wire } from "../src/wire.ts";
import { credentialsOf, rawConnection } from "./raw.ts";

/** What a later nats.js may be: the public way, and nothing behind it. */
function publicOnly(nats: NatsConnection): NatsConnection {
  return { publish: nats.publish.bind(nats) } as unknown as NatsConnection;
}
function publicMessage({ subject, reply, headers: carried, data }: Msg): Msg {
  return { subject, reply, headers: carried, data } as Msg;
}

/** A writer that shows nothing of its inside, as a later version may. */
function closedWriter(): BinaryWriter {
  const writer = new BinaryWriter();
  const closed: BinaryWriter = new Proxy(writer, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return undefined;
      return (...given: unknown[]) => {
        const result: unknown = value.apply(target, given);
        return result === target ? closed : result;
      };
    },
  });
  return closed;
}

test("with the libraries of the lock file every message takes the fast path, and the log says so once", async (t) => {
  const nats = await startNats(t);
  const lines: object[] = [];
  const log: MeshLog = { ...silentLog, info: (fields) => lines.push(fields), warn: (fields) => lines.push(fields) };
  const mesh = await connectMesh({ servers: [nats.url], credentials: credentialsOf(nats, "gateway"), log });
  await mesh.close();
  assert.deepEqual(lines, [{ path: "fast" }]);
});

test("what the slower path is taken for is named", async (t) => {
  const nats = await startNats(t);
  const raw = await rawConnection(nats, "gateway");
  t.after(() => raw.close());
  const paths = slowerPaths(publicOnly(raw), { subject: "a" } as Msg);
  assert.match(paths[0] ?? "", /sendCommand/);
  assert.match(paths[1] ?? "", /_msg/);
  assert.match(slowerPaths(raw, undefined)[0] ?? "", /did not come back/);
  assert.deepEqual(new MessageWriter().slowerPaths, []);
  assert.match(new MessageWriter(closedWriter).slowerPaths[0] ?? "", /buffer/);
});

test("both paths put the same on the wire, and read the same from it", async (t) => {
  const nats = await startNats(t);
  const raw = await rawConnection(nats, "gateway");
  t.after(() => raw.close());
  const came: Msg[] = [];
  raw.subscribe("_INBOX.gateway.path.*", { callback: (_, message) => void came.push(message) });
  const lines = { text: "Warren-Rpc: 100;1;\r\n", bytes: Buffer.from("Warren-Caller: abc\r\n") };
  for (const wire of [new Wire(raw), new Wire(publicOnly(raw))]) {
    wire.send("_INBOX.gateway.path.a", "_INBOX.gateway.reply", Uint8Array.of(1, 2, 0, 255), lines);
    wire.send("_INBOX.gateway.path.b", "", new Uint8Array());
  }
  const last = headers();
  last.set("A", "b");
  raw.publish("_INBOX.gateway.path.c", "text", { headers: last });
  await raw.flush();
  assert.equal(came.length, 5);
  const read = (message: Msg) => ({
    subject: subjectOf(message, 0),
    end: subjectOf(message, 20),
    reply: replyOf(message) || undefined,
    has: hasHeaders(message),
    rpc: headerIn(headerBlock(message), "Warren-Rpc"),
    caller: headerIn(headerBlock(message), "Warren-Caller"),
    a: headerIn(headerBlock(message), "A"),
    data: Buffer.from(message.data).toString("hex"),
  });
  const [fast, fastBare, slow, slowBare] = came.map(read);
  assert.deepEqual(slow, fast);
  assert.deepEqual(slowBare, fastBare);
  assert.deepEqual(
    [fast?.rpc, fast?.caller, fast?.reply, fast?.data],
    ["100;1;", "abc", "_INBOX.gateway.reply", "010200ff"],
  );
  assert.deepEqual(
    came.map((message) => read(publicMessage(message))),
    came.map(read),
  );
});

test("a closed writer writes the same bytes, one message after the other, after one that could not be written too", () => {
  const type = SessionEntry as unknown as MessageType<object, object>;
  const entry = (text: string): object =>
    SessionEntry.fromPartial({
      turnId: "t_1",
      principal: "operator",
      entry: { $case: "userMessage", value: { text } },
    });
  const [open, closed] = [new MessageWriter(), new MessageWriter(closedWriter)];
  for (const text of ["", "a", "x".repeat(100_000), "ü"]) {
    const expected = Buffer.from(SessionEntry.encode(entry(text) as SessionEntry).finish());
    for (const writer of [open, closed]) {
      assert.throws(() => writer.encode(type, { ...entry("half"), time: "no date" }));
      assert.deepEqual(Buffer.from(writer.encode(type, entry(text))), expected);
    }
  }
});
