import assert from "node:assert/strict";
import { test } from "node:test";
import { StatusCode } from "@warren/mesh";
import type { ChatEvent } from "@warren/proto/warren/agent/v1/agent";
import type { ModelProvider, StepEvent, StepRequest } from "../src/model/provider.ts";
import { StreamProgress } from "../src/turn/progress.ts";
import { startAgent, textOf, until, untilOffered } from "./helpers/agent.ts";
import { context, finish, scriptedModel, story, turnsWith } from "./helpers/turns.ts";

const clockTools = {
  get_current_time: {
    about: { description: "Tells the time.", inputSchema: { type: "object", properties: {} } },
    does: () => "noon",
  },
};

interface Gate {
  readonly opened: Promise<void>;
  open(): void;
}
function gate(): Gate {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
}

/** A model that calls a tool, then answers in three words; it waits at its gates, and heeds its signal. */
function model(name: string, gates: { beforeCall?: Gate; beforeText?: Gate; withinText?: Gate } = {}) {
  const asked: number[] = [];
  const wait = async (at: Gate | undefined, signal: AbortSignal): Promise<void> => {
    if (!at) return;
    const aborted = new Promise<never>((_, reject) => {
      const fail = (): void => reject(signal.reason as Error);
      if (signal.aborted) fail();
      else signal.addEventListener("abort", fail, { once: true });
    });
    await Promise.race([at.opened, aborted]);
  };
  const provider: ModelProvider = {
    name,
    async *step({ messages, tools, signal }: StepRequest): AsyncGenerator<StepEvent> {
      const last = messages.at(-1);
      if (last?.role === "user" && last.text.startsWith("What can you do")) {
        yield { type: "text", text: tools.map((tool) => tool.name).join(" ") };
      } else if (last?.role === "user") {
        asked.push(1);
        await wait(gates.beforeCall, signal);
        yield { type: "text", text: "Let me see." };
        yield { type: "tool-call", id: "x", name: "get_current_time", arguments: {} };
      } else {
        asked.push(2);
        await wait(gates.beforeText, signal);
        yield { type: "text", text: "It " };
        await wait(gates.withinText, signal);
        yield { type: "text", text: "is " };
        yield { type: "text", text: "noon." };
      }
      yield { type: "finish", model: name, usage: { inputTokens: 1, outputTokens: 1 }, reason: "stop" };
    },
  };
  return { provider, asked };
}

/** Reads a stream in the background. */
function reading(stream: AsyncIterable<ChatEvent>) {
  const events: ChatEvent[] = [];
  const done = (async () => {
    for await (const event of stream) events.push(event);
  })();
  done.catch(() => undefined);
  return { events, done, has: (kind: string) => events.some(({ event }) => event?.$case === kind) };
}

const WHOLE = ["started", "text", "toolCall", "toolResult", "text", "text", "text", "completed"];

test("a chat's stream goes on at another replica when its own is removed, and nothing is lost, told or paid twice", async (t) => {
  const places = {
    "before the first word": {
      gates: () => ({ beforeCall: gate() }),
      at: (asked: number[]) => asked.length === 1,
      paid: { leaving: [1], staying: [1, 2] },
    },
    "between two steps": {
      gates: () => ({ beforeText: gate() }),
      at: (asked: number[]) => asked.length === 2,
      paid: { leaving: [1, 2], staying: [2] },
    },
  };
  for (const [name, { gates, at, paid }] of Object.entries(places))
    await t.test(name, async (t) => {
      // Its gates never open: only another replica can answer.
      const leaving = model("leaving", gates());
      const staying = model("staying");
      const agent = await startAgent(t, { models: [leaving.provider] });
      await agent.plugins.run("clock", clockTools);
      const alice = agent.as("device:alice");
      await untilOffered(alice, "get_current_time");
      const stream = reading(alice.streamChat({ message: "What time is it?" }));
      await until("the model asked", () => at(leaving.asked));
      await agent.replica({ models: [staying.provider] });
      const started = performance.now();
      await agent.mesh.drain(20_000);
      assert.ok(performance.now() - started < 5_000, "nobody waited for the grace to end");
      await stream.done;
      assert.deepEqual(
        stream.events.map(({ event }) => event?.$case),
        WHOLE,
      );
      assert.deepEqual(
        stream.events.map(({ sequence }) => sequence),
        WHOLE.map((_, index) => index + 1),
      );
      const last = stream.events.at(-1)?.event;
      assert.ok(last?.$case === "completed");
      assert.equal(last.value.message, "Let me see.\n\nIt is noon.");
      assert.equal(textOf(stream.events), last.value.message);
      assert.equal(last.value.toolCalls[0]?.result, "noon");
      assert.deepEqual({ leaving: leaving.asked, staying: staying.asked }, paid);
      assert.equal(agent.plugins.calls.length, 1);
      // One turn, and the conversation is free for the next.
      const { sessionId } = last.value;
      assert.equal((await alice.getSession({ id: sessionId })).messages.length, 2);
      assert.equal((await alice.chat({ sessionId, message: "And now?" })).message, "Let me see.\n\nIt is noon.");
    });
});

test("a step that has begun to speak is finished where it was begun", async (t) => {
  const withinText = gate();
  const leaving = model("leaving", { withinText });
  const agent = await startAgent(t, { models: [leaving.provider] });
  await agent.plugins.run("clock", clockTools);
  const alice = agent.as("device:alice");
  await untilOffered(alice, "get_current_time");
  const stream = reading(alice.streamChat({ message: "What time is it?" }));
  await until("its first word", () => textOf(stream.events).endsWith("It "));
  const staying = model("staying");
  await agent.replica({ models: [staying.provider] });
  const drained = agent.mesh.drain(20_000);
  withinText.open();
  await Promise.all([drained, stream.done]);
  assert.deepEqual(
    stream.events.map(({ event }) => event?.$case),
    WHOLE,
  );
  assert.deepEqual(staying.asked, []);
});

test("a place is looked at as any input: another's turn, one that is over, and what is no place are refused", async () => {
  const turns = turnsWith(scriptedModel([{ text: "Hello!" }]));
  const { response } = await finish(turns.run("Hi"));
  const place = new StreamProgress({ ...context(), resumeFrom: `${response.sessionId} t_1 1 3` });
  assert.deepEqual(place.from, { sessionId: response.sessionId, turnId: "t_1", steps: 1 });
  assert.equal(place.next(), 4);
  await assert.rejects(finish(turns.run("", "", context(), place)), { code: StatusCode.ABORTED });
  const bob = context({ principal: "device:bob" });
  await assert.rejects(finish(turns.run("", "", bob, place)), { code: StatusCode.NOT_FOUND });
  for (const resumeFrom of ["nonsense", "", "a b 1", "a b 1 1 1", "a.b t 1 1", "a b -1 1"])
    assert.throws(() => new StreamProgress({ ...context(), resumeFrom }), { code: StatusCode.INVALID_ARGUMENT });
  assert.deepEqual(story(turns.state), ["userMessage", "modelStep", "turnCompleted"]);
});
