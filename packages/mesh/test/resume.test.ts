import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { headers } from "@nats-io/transport-node";
import { type CallContext, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { ChatRequest } from "@warren/proto/warren/agent/v1/agent";
import { startNats, waitUntil } from "@warren/testing";
import * as fc from "fast-check";
import { CallerSigner } from "../src/caller.ts";
import { CALLER_HEADER, STREAM_HEADER } from "../src/headers.ts";
import { decodeStatus } from "../src/status.ts";
import { movedError, packStream, resumeToken, unpackStream } from "../src/stream/resume.ts";
import { FrameKind } from "../src/stream/frame.ts";
import { credentialsOf, rawConnection } from "./raw.ts";
import { noStreams, streamingContract, StreamingDefinition, type StreamingHandlers } from "./streaming-contract.ts";
import { codeOf } from "./support.ts";
import { anyText } from "./hostile.ts";

const contractOf = streamingContract;
const METHOD = `mesh.${StreamingDefinition.fullName}.Count`;

/** Two replicas of an agent, one after the other, and a gateway that reads from whoever serves. */
async function scene(t: TestContext, count: StreamingHandlers["count"]) {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway", { contractOf });
  const replica = async (): Promise<Mesh> => {
    const mesh = await nats.connect("agent", { contractOf });
    await mesh.serve(StreamingDefinition, { ...noStreams, count });
    return mesh;
  };
  return { nats, gateway, replica, agent: gateway.client(StreamingDefinition) };
}

test("a stream goes on at another replica", async (t) => {
  const opened: (string | undefined)[] = [];
  const { gateway, replica, agent } = await scene(t, async function* (request, ctx) {
    opened.push(ctx.resumeFrom);
    const [what = "", last = "0"] = request.message.split(" ");
    let at = Number(ctx.resumeFrom ?? 0);
    ctx.resumable(() => (what === "tens" && at % 10 !== 0 ? undefined : String(at)));
    while (at < Number(last)) {
      at += 1;
      // What is looked up after the position moved, and before it is yielded, must not be lost.
      if (what === "slow") await new Promise((resolve) => setTimeout(resolve, 2));
      yield {
        sequence: at,
        event: { $case: "text", value: { text: what === "large" ? "x".repeat(1_500_000) : "" } },
      };
    }
    if (what === "idle") await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
  });
  let current = await replica();
  const replace = async (): Promise<void> => {
    const next = await replica();
    const started = performance.now();
    await current.drain();
    // Nobody waited for the grace to end.
    assert.ok(performance.now() - started < 20_000);
    await current.close();
    current = next;
  };
  const iterate = (message: string) => agent.count({ message }, { timeoutMs: 60_000 })[Symbol.asyncIterator]();
  const expectAll = async (iterator: AsyncIterator<{ sequence: number }>, from: number, to: number): Promise<void> => {
    for (let i = from; i <= to; i++) assert.equal((await iterator.next()).value?.sequence, i);
    assert.equal((await iterator.next()).done, true);
  };

  await t.test("while its handler is about to yield", async () => {
    const iterator = iterate("slow 200");
    for (let i = 1; i <= 20; i++) assert.equal((await iterator.next()).value?.sequence, i);
    const rest = expectAll(iterator, 21, 200);
    await replace();
    await rest;
  });
  await t.test("while its handler waits for something to say, before its first message too", async () => {
    for (const said of [0, 3]) {
      opened.length = 0;
      const iterator = iterate(`idle ${said}`);
      for (let i = 1; i <= said; i++) assert.equal((await iterator.next()).value?.sequence, i);
      const next = iterator.next();
      await waitUntil("the stream", 30_000, () => current.load.calls === 1 || undefined);
      await replace();
      await waitUntil("its second opening", 30_000, () => opened.length === 2 || undefined);
      assert.deepEqual(opened, [undefined, String(said)]);
      await iterator.return?.();
      await next.catch(() => undefined);
    }
  });
  await t.test(
    "while it waits for a reader that takes its time: what was sent is kept, the rest comes after",
    async () => {
      const iterator = iterate("fast 5000");
      assert.equal((await iterator.next()).value?.sequence, 1);
      await replace();
      await expectAll(iterator, 2, 5000);
    },
  );
  await t.test("in the middle of a message that is sent in parts", async () => {
    const iterator = iterate("large 8");
    assert.equal((await iterator.next()).value?.sequence, 1);
    await replace();
    await expectAll(iterator, 2, 8);
  });
  await t.test("at the next place where its handler can go on", async () => {
    opened.length = 0;
    const iterator = iterate("tens 3000");
    for (let i = 1; i <= 5; i++) assert.equal((await iterator.next()).value?.sequence, i);
    const rest = expectAll(iterator, 6, 3000);
    await replace();
    await rest;
    assert.ok(opened.every((each) => Number(each ?? 0) % 10 === 0));
  });
  await t.test("as often as replicas leave", async () => {
    const iterator = iterate("slow 400");
    const rest = expectAll(iterator, 1, 400);
    for (let i = 0; i < 3; i++) await replace();
    await rest;
  });
  await t.test("and leaves nothing behind", async () => {
    await waitUntil("the end of all", 30_000, () => {
      const { calls } = current.load;
      return (calls === 0 && gateway.load.routes === 0) || undefined;
    });
  });
  await t.test("but fails where nobody else serves it", async () => {
    const iterator = iterate("idle 1");
    await iterator.next();
    const next = iterator.next();
    const code = codeOf(next);
    await current.drain();
    assert.equal(await code, StatusCode.UNAVAILABLE);
  });
});

test("a stream whose handler cannot go on elsewhere runs to its end, or until the grace is over", async (t) => {
  const ends = Promise.withResolvers<void>();
  const { replica, agent } = await scene(t, async function* ({ message }, ctx: CallContext) {
    yield { sequence: 1 };
    if (message === "ends") await ends.promise;
    else await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
    yield { sequence: 2 };
  });
  const [leaving, _] = [await replica(), await replica()];
  const streams = ["ends", "never", "ends", "never"].map((message) =>
    agent.count({ message }, { timeoutMs: 60_000 })[Symbol.asyncIterator](),
  );
  for (const each of streams) await each.next();
  const outcomes = streams.map((each) => each.next().catch((error: unknown) => error as RpcError));
  await Promise.all([leaving.drain(500), new Promise<void>((resolve) => setTimeout(resolve, 50)).then(ends.resolve)]);
  for (const index of [0, 2])
    assert.equal(((await outcomes[index]) as { value?: { sequence: number } }).value?.sequence, 2);
  await _.drain(200);
  for (const index of [1, 3]) {
    const error = (await outcomes[index]) as RpcError;
    assert.ok(error instanceof RpcError, String(error));
    assert.deepEqual([error.code, error.details], [StatusCode.UNAVAILABLE, { reason: "CUT_BY_DRAIN" }]);
  }
});

test("a stream that is asked to go on where its handler cannot is refused, not begun again", async (t) => {
  const { nats, replica } = await scene(t, async function* () {
    yield { sequence: 1 };
  });
  await replica();
  const raw = await rawConnection(nats, "gateway");
  t.after(() => raw.close());
  const caller = new CallerSigner("gateway", credentialsOf(nats, "gateway").seed);
  const ask = async (window: string): Promise<RpcError> => {
    const answer = Promise.withResolvers<RpcError>();
    const reply = `_INBOX.gateway.resume.${Math.random().toString(36).slice(2)}`;
    raw.subscribe(reply, {
      callback: (_, { data, headers: carried }) => {
        if (carried?.has("Nats-Service-Error-Code")) answer.resolve(decodeStatus(data));
        else if (data[0] === FrameKind.ERROR) answer.resolve(decodeStatus(data.subarray(1)));
      },
    });
    const carried = headers();
    carried.set(CALLER_HEADER, caller.self());
    carried.set(STREAM_HEADER, window);
    raw.publish(METHOD, ChatRequest.encode(ChatRequest.fromPartial({ message: "a" })).finish(), {
      reply,
      headers: carried,
    });
    return answer.promise;
  };
  const refused = await ask(`16;1000;${Buffer.from("7").toString("base64url")}`);
  assert.deepEqual([refused.code, refused.details.reason], [StatusCode.FAILED_PRECONDITION, "NOT_RESUMABLE"]);
  for (const malformed of ["16;1000;!", "16;1000;a;b", `16;1000;${"a".repeat(1400)}`, "0;0;YQ"])
    assert.equal((await ask(malformed)).code, StatusCode.INVALID_ARGUMENT, malformed);
});

test("a position travels as it is, and only on what came whole", () => {
  fc.assert(
    fc.property(anyText(300), fc.nat(), (position, sent) => {
      fc.pre(position.isWellFormed());
      const moved = movedError(position, sent);
      const token = resumeToken(moved, sent);
      assert.notEqual(token, undefined);
      const window = "16;1000";
      assert.deepEqual(unpackStream(packStream(window, token)), { window, position });
      assert.throws(() => resumeToken(moved, sent + 1), { code: StatusCode.DATA_LOSS });
    }),
  );
  assert.deepEqual(unpackStream("16;1000"), { window: "16;1000", position: undefined });
  for (const other of [
    new RpcError(StatusCode.UNAVAILABLE, "", { reason: "CUT_BY_DRAIN" }),
    new RpcError(StatusCode.INTERNAL, "", movedError("a", 1).details),
    new RpcError(StatusCode.UNAVAILABLE, "", { ...movedError("a", 1).details, reason: "DEPENDENCY_CUT_BY_DRAIN" }),
  ])
    assert.equal(resumeToken(other, 1), undefined);
});
