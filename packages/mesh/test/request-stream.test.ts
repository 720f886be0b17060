import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import { type CallContext, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import type { ChatEvent, ChatRequest } from "@warren/proto/warren/agent/v1/agent";
import { startNats, type TestNats, waitUntil } from "@warren/testing";
import { DEFAULT_WINDOW } from "../src/stream/credit.ts";
import { startChild } from "./child.ts";
import { noStreams, streamingContract, StreamingDefinition, type StreamingHandlers } from "./streaming-contract.ts";
import { codeOf } from "./support.ts";

const contractOf = streamingContract;

/** An agent that serves these handlers, and a gateway that calls it. */
async function served(t: TestContext, handlers: Partial<StreamingHandlers>) {
  const nats = await startNats(t);
  const [server, gateway] = await both(nats);
  await server.serve(StreamingDefinition, { ...noStreams, ...handlers });
  return { nats, server, gateway, agent: gateway.client(StreamingDefinition) };
}

function both(nats: TestNats): Promise<[Mesh, Mesh]> {
  return Promise.all([nats.connect("agent", { contractOf }), nats.connect("gateway", { contractOf })]);
}

const text = (value: string) => ({ sequence: 0, event: { $case: "text" as const, value: { text: value } } });
const textOf = ({ event }: ChatEvent): string => (event?.$case === "text" ? event.value.text : "");

async function* from<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of items) found.push(each);
  return found;
}

/** Resolves when no more goes on than this at either end. */
async function idle(server: Mesh, gateway: Mesh, calls = 0): Promise<void> {
  await waitUntil("the rest of both", 30_000, () => {
    const [here, there] = [server.load, gateway.load];
    return (here.calls <= calls && here.routes <= calls && there.routes === 0) || undefined;
  });
}

test("a stream of requests", async (t) => {
  const state = { read: 0, ended: 0, made: 0 };
  const { server, gateway, agent } = await served(t, {
    collect: async (requests: AsyncIterable<ChatRequest>) => {
      const words: string[] = [];
      for await (const { message } of requests) {
        if (message === "enough") return { message: `${words.length} and enough` };
        if (message === "fail") throw new RpcError(StatusCode.FAILED_PRECONDITION, "no more");
        words.push(message);
      }
      return { message: words.length > 10 ? String(words.length) : words.join(" ") };
    },
  });
  async function* make(count: number, then?: () => Promise<string>): AsyncGenerator<{ message: string }> {
    try {
      for (let i = 1; i <= count; i++) {
        state.made = i;
        yield { message: `m${i}` };
      }
      while (then) yield { message: await then() };
    } finally {
      state.ended += 1;
    }
  }

  await t.test("is answered once, when it is over", async () => {
    assert.equal((await agent.collect(from(["a", "b", "c"].map((message) => ({ message }))))).message, "a b c");
    assert.equal((await agent.collect(make(0))).message, "");
    assert.equal((await agent.collect(make(5000))).message, "5000");
    await idle(server, gateway);
  });
  await t.test("may be answered before it is over: whoever makes the requests is told to stop", async () => {
    state.ended = 0;
    const answer = await agent.collect(make(2, () => Promise.resolve("enough")));
    assert.equal(answer.message, "2 and enough");
    await waitUntil("the end of the requests", 30_000, () => state.ended === 1 || undefined);
    await idle(server, gateway);
  });
  await t.test("ends with the handler's error", async () => {
    await assert.rejects(agent.collect(make(3, () => Promise.resolve("fail"))), {
      code: StatusCode.FAILED_PRECONDITION,
      message: "no more",
    });
    await idle(server, gateway);
  });
  await t.test("is checked request by request", async () => {
    const code = await codeOf(agent.collect(from([{ message: "fine" }, { message: "" }])));
    assert.equal(code, StatusCode.INVALID_ARGUMENT);
    await idle(server, gateway);
  });
  await t.test("whose requests cannot be made is cancelled, and its caller is told why", async () => {
    const broken = agent.collect(make(1, () => Promise.reject(new RpcError(StatusCode.DATA_LOSS, "the disk is gone"))));
    await assert.rejects(broken, { code: StatusCode.DATA_LOSS, message: "the disk is gone" });
    await idle(server, gateway);
  });
  await t.test("ends at its deadline, whatever its requests wait for", async () => {
    const stuck = agent.collect(
      make(1, () => new Promise(() => undefined)),
      { timeoutMs: 200 },
    );
    assert.equal(await codeOf(stuck), StatusCode.DEADLINE_EXCEEDED);
    await idle(server, gateway);
  });
  await t.test("is for a caller who holds the scope", async () => {
    const caller = { principal: "device:d1", tenant: "default", scopes: [], expiresAt: Date.now() + 60_000 };
    const before = state.made;
    const code = await codeOf(agent.collect(make(5), { assertion: gateway.assert(caller) }));
    assert.equal(code, StatusCode.PERMISSION_DENIED);
    assert.equal(state.made, before, "no request was made");
  });
});

test("a stream both ways", async (t) => {
  const state = { read: 0, answered: 0, ended: 0, childRead: 0, childEnded: 0 };
  const { nats, server, gateway, agent } = await served(t, {
    async *relay(requests, ctx: CallContext) {
      let ofChild = false;
      try {
        for await (const request of requests) {
          ofChild ||= request.sequence > 0;
          if (ofChild) state.childRead += 1;
          const word = textOf(request);
          if (word === "stop reading") {
            await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
            return;
          }
          yield text(word);
          state.answered += 1;
        }
        yield text("the end");
      } finally {
        if (ofChild) state.childEnded += 1;
        else state.ended += 1;
      }
    },
  });

  // It takes 8 s until a caller that was killed counts as gone: killed first, and looked for last.
  const child = await startChild(t, "relays", nats.url, nats.credentialsFile("gateway"));
  await waitUntil("the child's requests", 30_000, () => state.childRead > 5 || undefined);
  child.signal("SIGKILL");

  await t.test("carries answers while requests still come, in order", async () => {
    const waiting: ((word: string) => void)[] = [];
    async function* ask() {
      for (let i = 0; i < 3; i++) yield text(await new Promise<string>((resolve) => waiting.push(resolve)));
    }
    const seen: string[] = [];
    const reading = (async () => {
      for await (const answer of agent.relay(ask())) seen.push(textOf(answer));
    })();
    for (const [i, word] of ["one", "two", "three"].entries()) {
      await waitUntil("the next question", 30_000, () => waiting.length === i + 1 || undefined);
      assert.equal(seen.length, i);
      waiting[i]?.(word);
      await waitUntil("its answer", 30_000, () => seen[i] === word || undefined);
    }
    await reading;
    assert.deepEqual(seen, ["one", "two", "three", "the end"]);
    await idle(server, gateway, 1);
  });
  await t.test("carries messages larger than NATS does, both ways", async () => {
    const large = ["x".repeat(2_500_000), "y".repeat(1_100_000), "", "z"];
    const answers = (await all(agent.relay(from(large.map(text))))).map(textOf);
    assert.deepEqual(
      answers.map((each) => [each.length, each[0]]),
      [...large, "the end"].map((each) => [each.length, each[0]]),
    );
  });
  await t.test("carries many thousands each way", async () => {
    const words = Array.from({ length: 5000 }, (_, i) => `w${i}`);
    const answers = (await all(agent.relay(from(words.map(text))))).map(textOf);
    assert.deepEqual(answers, [...words, "the end"]);
  });
  await t.test("whose handler stops reading stops its caller within a window", async () => {
    let made = 0;
    async function* many() {
      yield text("stop reading");
      for (;;) {
        made += 1;
        yield text("more");
      }
    }
    const iterator = agent.relay(many())[Symbol.asyncIterator]();
    const answer = iterator.next();
    let before = -1;
    await waitUntil("the caller's halt", 30_000, async () => {
      if (before === made && made > 0) return true;
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return undefined;
    });
    assert.ok(made <= DEFAULT_WINDOW.frames + 1, `${made} requests were made for one that was read`);
    await iterator.return?.();
    await answer.catch(() => undefined);
    await idle(server, gateway, 1);
  });
  await t.test("whose caller stops reading answers stops the handler, and with it the caller's requests", async () => {
    let made = 0;
    state.answered = 0;
    async function* many() {
      for (;;) {
        made += 1;
        yield text("more");
      }
    }
    const iterator = agent.relay(many())[Symbol.asyncIterator]();
    await iterator.next();
    let before = -1;
    await waitUntil("the halt", 30_000, async () => {
      if (before === made) return true;
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 50));
      return undefined;
    });
    assert.ok(state.answered <= 2 * DEFAULT_WINDOW.frames, `${state.answered} answers for one that was read`);
    assert.ok(made <= 4 * DEFAULT_WINDOW.frames, `${made} requests`);
    await iterator.return?.();
    await idle(server, gateway, 1);
  });
  await t.test("whose caller leaves ends its handler and its requests", async () => {
    const before = state.ended;
    let stopped = 0;
    async function* endless() {
      try {
        for (;;) yield text("more");
      } finally {
        stopped += 1;
      }
    }
    for await (const answer of agent.relay(endless())) if (textOf(answer) === "more") break;
    await waitUntil("both ends", 30_000, () => (state.ended > before && stopped === 1) || undefined);
    await idle(server, gateway, 1);
  });
  await t.test("whose caller cancels ends its handler", async () => {
    const controller = new AbortController();
    const before = state.ended;
    const reading = all(agent.relay(from([text("stop reading")]), { signal: controller.signal }));
    await waitUntil("the handler", 30_000, () => (gateway.load.routes > 0 && server.load.calls > 0) || undefined);
    controller.abort();
    assert.equal(await codeOf(reading), StatusCode.CANCELLED);
    await waitUntil("its end", 30_000, () => state.ended > before || undefined);
    await idle(server, gateway, 1);
  });
  await t.test("whose caller's process is killed ends its handler in seconds", async () => {
    await waitUntil("the handler's end", 30_000, () => state.childEnded === 1 || undefined);
    await idle(server, gateway);
  });
  await t.test("fails at once when NATS goes away", async () => {
    const reading = all(agent.relay(from([text("stop reading")])));
    const outcome = codeOf(reading);
    await waitUntil("the handler", 30_000, () => server.load.calls > 0 || undefined);
    const before = state.ended;
    await nats.kill();
    assert.equal(await outcome, StatusCode.UNAVAILABLE);
    await waitUntil("the handler's end", 6000, () => state.ended > before || undefined);
  });
});
