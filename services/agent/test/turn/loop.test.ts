import assert from "node:assert/strict";
import { test } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import type { StepRequest } from "../../src/model/provider.ts";
import { cancelled, context, finish, scriptedModel, story, toolsThat, turnsWith } from "../helpers/turns.ts";

const callClock = { calls: [{ name: "get_current_time", arguments: { timezone: "UTC" } }] };

test("a plain reply is one step: told in pieces, stored, with its cost", async () => {
  const turns = turnsWith(scriptedModel([{ text: "Hello there, Alice." }]));
  const { events, response } = await finish(turns.run("Hi"));
  assert.deepEqual(
    events.map((event) => event.$case),
    ["started", "text", "text", "text", "completed"],
  );
  assert.equal(response.message, "Hello there, Alice.");
  assert.deepEqual(response.usage, {
    inputTokens: 10,
    outputTokens: 2,
    totalTokens: 12,
    model: "scripted-1",
    steps: 1,
  });
  assert.deepEqual(story(turns.state), ["userMessage", "modelStep", "turnCompleted"]);
  assert.deepEqual(turns.told, [`created ${response.sessionId}`, `completed ${response.sessionId} t_1`]);
  assert.equal(turns.state.leases.values.size, 0, "the lease is given back");
});

test("each step is stored before the next begins, a call before it runs", async () => {
  const stories: string[][] = [];
  const look = () => void stories.push(story(turns.state));
  const model = scriptedModel([
    () => (look(), { text: "I will look.", ...callClock }),
    () => (look(), { text: "It is noon." }),
  ]);
  const turns = turnsWith(model, { runTool: toolsThat({ get_current_time: () => (look(), "12:00") }) });
  const { response } = await finish(turns.run("What time is it?"));
  assert.deepEqual(stories, [
    ["userMessage"],
    ["userMessage", "modelStep"],
    ["userMessage", "modelStep", "toolResult"],
  ]);
  assert.equal(response.message, "I will look.\n\nIt is noon.");
  assert.deepEqual(response.usage, {
    inputTokens: 20,
    outputTokens: 4,
    totalTokens: 24,
    model: "scripted-1",
    steps: 2,
  });
});

test("the text of a stream is the reply, also over several steps", async () => {
  const model = scriptedModel([{ text: "One moment.", ...callClock }, callClock, { text: "Noon." }]);
  const { events, response } = await finish(
    turnsWith(model, { runTool: toolsThat({ get_current_time: () => "12:00" }) }).run("Time?"),
  );
  assert.equal(
    events.flatMap((event) => (event.$case === "text" ? [event.value.text] : [])).join(""),
    response.message,
  );
  assert.equal(response.message, "One moment.\n\nNoon.");
});

test("the model sees its call and the result", async () => {
  const model = scriptedModel([callClock, { text: "Noon." }]);
  await finish(turnsWith(model, { runTool: toolsThat({ get_current_time: () => "12:00" }) }).run("Time?"));
  const id = "t_1_1_0";
  assert.deepEqual(model.requests[1]?.messages, [
    { role: "user", text: "Time?" },
    { role: "assistant", text: "", toolCalls: [{ id, name: "get_current_time", arguments: { timezone: "UTC" } }] },
    { role: "tool", callId: id, name: "get_current_time", text: "12:00", failed: false },
  ]);
  assert.equal(model.requests[0]?.instructions, "Be brief.");
});

test("calls of one step run side by side; results are stored and told in their order", async () => {
  const clock = Promise.withResolvers<string>();
  const runTool = toolsThat({
    get_current_time: () => clock.promise,
    echo: () => {
      clock.resolve("12:00");
      return "echoed";
    },
  });
  const model = scriptedModel([{ calls: [{ name: "get_current_time" }, { name: "echo" }] }, { text: "Done." }]);
  const { events, response } = await finish(turnsWith(model, { runTool }).run("Both, please"));
  assert.deepEqual(
    response.toolCalls.map((call) => [call.name, call.result]),
    [
      ["get_current_time", "12:00"],
      ["echo", "echoed"],
    ],
  );
  assert.deepEqual(
    events.slice(1, 5).map((event) => event.$case),
    ["toolCall", "toolCall", "toolResult", "toolResult"],
  );
  assert.equal(new Set(runTool.keys).size, 2);
  assert.match(runTool.keys[0] ?? "", /^s_.+\/t_1\/1\/t_1_1_0$/);
});

test("a failed call is a result that the model reads", async () => {
  const runTool = toolsThat({
    get_current_time: () => {
      throw new Error("the plugin crashed");
    },
  });
  const model = scriptedModel([callClock, { text: "It failed." }]);
  const { response } = await finish(turnsWith(model, { runTool }).run("Time?"));
  assert.deepEqual([response.toolCalls[0]?.error, response.toolCalls[0]?.result], ["the plugin crashed", ""]);
  const seen = model.requests[1]?.messages.at(-1);
  assert.deepEqual(seen?.role === "tool" && [seen.text, seen.failed], ["the plugin crashed", true]);
});

test("a call of an unknown tool, with broken arguments, or one of too many is refused without running", async () => {
  const runTool = toolsThat({ echo: () => "ok" });
  const flood = Array.from({ length: 20 }, () => ({ name: "echo" }));
  const model = scriptedModel([
    { calls: [{ name: "rm_rf" }, { name: "echo", invalid: "the arguments are broken" }, ...flood] },
    { text: "Sorry." },
  ]);
  const { response } = await finish(turnsWith(model, { runTool }).run("Go"));
  assert.match(response.toolCalls[0]?.error ?? "", /no tool rm_rf/);
  assert.equal(response.toolCalls[1]?.error, "the arguments are broken");
  assert.match(response.toolCalls.at(-1)?.error ?? "", /more than 16 calls/);
  assert.equal(runTool.keys.length, 14);
});

test("in its last step the model may call nothing; one that still does ends the turn", async () => {
  const runTool = toolsThat({ get_current_time: () => "12:00" });
  const model = scriptedModel([callClock, callClock, callClock]);
  const turns = turnsWith(model, { runTool, maxSteps: 3 });
  await assert.rejects(finish(turns.run("Loop")), { code: StatusCode.RESOURCE_EXHAUSTED });
  assert.deepEqual(
    model.requests.map((request) => request.toolUse),
    ["auto", "auto", "none"],
  );
  assert.equal(story(turns.state).at(-1), "turnFailed");
});

test("a caller without the scope is offered no tool", async () => {
  const model = scriptedModel([{ text: "Hi." }]);
  await finish(turnsWith(model).run("Hi", "", context({ scopes: ["chat"] })));
  assert.deepEqual(model.requests[0]?.tools, []);
  await finish(turnsWith(model).run("Hi", "", context({ scopes: ["chat", "plugins:call"] })));
  assert.equal(model.requests[1]?.tools.length, 3);
});

test("a model that fails ends the turn; the next one goes on", async () => {
  const failing = () => Promise.reject(new RpcError(StatusCode.UNAVAILABLE, "No model answers"));
  const model = scriptedModel([{ text: "Hello." }, failing, { text: "Here again." }]);
  const turns = turnsWith(model);
  const { sessionId } = (await finish(turns.run("Hi"))).response;
  await assert.rejects(finish(turns.run("Are you there?", sessionId)), { code: StatusCode.UNAVAILABLE });
  assert.equal(story(turns.state).at(-1), "turnFailed");
  const { response } = await finish(turns.run("And now?", sessionId));
  assert.equal(response.message, "Here again.");
  assert.deepEqual(
    model.requests[2]?.messages.map((message) => message.role),
    ["user", "assistant", "user", "assistant", "user"],
  );
});

test("a caller who cancels ends the turn while the model speaks, and while a tool runs", async () => {
  for (const during of ["model", "tool"] as const) {
    const controller = new AbortController();
    const speak = ({ signal }: StepRequest): Promise<never> => {
      controller.abort(cancelled());
      return Promise.reject(signal.reason as Error);
    };
    const model = scriptedModel([during === "model" ? speak : callClock]);
    const runTool = toolsThat({
      get_current_time: async () => {
        controller.abort(cancelled());
        throw new Error("aborted");
      },
    });
    const turns = turnsWith(model, { runTool });
    const turn = finish(turns.run("Wait", "", context({ signal: controller.signal })));
    await assert.rejects(turn, { code: StatusCode.CANCELLED }, during);
    assert.equal(story(turns.state).at(-1), "turnFailed");
    assert.equal(turns.state.leases.values.size, 0);
  }
});

test("a reader that leaves ends the turn, and the model's stream with it", async () => {
  let closed = false;
  const model = scriptedModel([
    async function* () {
      try {
        for (;;) yield { type: "text", text: "and on " } as const;
      } finally {
        closed = true;
      }
    },
  ]);
  const turns = turnsWith(model);
  for await (const event of turns.run("Talk")) if (event.$case === "text") break;
  assert.ok(closed);
  assert.equal(story(turns.state).at(-1), "turnFailed");
  assert.equal(turns.state.leases.values.size, 0);
});

test("a second turn in a session is ABORTED while one is in progress; other sessions are free", async () => {
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const model = scriptedModel([
    { text: "Hello." },
    async () => {
      begun.resolve();
      await gate.promise;
      return { text: "Late." };
    },
    { text: "Other." },
  ]);
  const turns = turnsWith(model);
  const { sessionId } = (await finish(turns.run("Hi"))).response;
  const slow = finish(turns.run("Slow", sessionId));
  await begun.promise;
  await assert.rejects(finish(turns.run("Too early", sessionId)), {
    code: StatusCode.ABORTED,
    message: /turn is in progress/,
  });
  assert.equal((await finish(turns.run("Elsewhere"))).response.message, "Other.");
  gate.resolve();
  assert.equal((await slow).response.message, "Late.");
  await finish(turns.run("Again", sessionId));
});

test("a turn that a crash left open is closed, and its work stays in the conversation", async () => {
  const model = scriptedModel([{ text: "Noon, then." }]);
  const turns = turnsWith(model);
  const crashed = turns.sessions.begin({ tenant: "default", principal: "device:alice" });
  await crashed.append("t_0", { $case: "userMessage", value: { text: "Time?" } });
  const call = {
    id: "t_0_1_0",
    pluginId: "clock",
    name: "get_current_time",
    arguments: {},
    result: "",
    error: "",
    durationMs: 0,
  };
  await crashed.append("t_0", {
    $case: "modelStep",
    value: { step: 1, text: "", toolCalls: [call], usage: undefined },
  });
  await finish(turns.run("Well?", crashed.id));
  assert.deepEqual(story(turns.state), [
    "userMessage",
    "modelStep",
    "turnFailed",
    "userMessage",
    "modelStep",
    "turnCompleted",
  ]);
  const result = model.requests[0]?.messages[2];
  assert.ok(result?.role === "tool" && result.failed && /interrupted/.test(result.text), "every call has an answer");
});

test("a replica that remembers a conversation goes on from where another left it", async () => {
  const here = turnsWith(scriptedModel([{ text: "One." }, { text: "Three." }]), { instance: "here" });
  const there = turnsWith(scriptedModel([{ text: "Two." }]), { instance: "there", state: here.state });
  const { sessionId } = (await finish(here.run("1", ""))).response;
  let reads = 0;
  const { read } = here.state.log;
  here.state.log.read = (key) => (reads++, read(key));
  await finish(there.run("2", sessionId));
  assert.equal(reads, 1, "it knew nothing of the conversation");
  const { response } = await finish(here.run("3", sessionId));
  assert.equal(reads, 2, "the log refused what it remembered");
  assert.equal(response.message, "Three.");
  await finish(here.run("4", sessionId));
  assert.equal(reads, 2, "what it remembers is up to date");
  const { entries } = await here.sessions.open({ tenant: "default", principal: "device:alice" }, sessionId);
  const said = entries.flatMap(({ entry }) => (entry?.$case === "userMessage" ? [entry.value.text] : []));
  assert.deepEqual(said, ["1", "2", "3", "4"]);
});

test("an unknown session, or another's, is NOT_FOUND and leaves nothing behind", async () => {
  const turns = turnsWith(scriptedModel([{ text: "Hello." }]));
  const { sessionId } = (await finish(turns.run("Hi"))).response;
  await assert.rejects(finish(turns.run("Hi", "s_unknown")), { code: StatusCode.NOT_FOUND });
  await assert.rejects(finish(turns.run("Hi", sessionId, context({ principal: "device:bob" }))), {
    code: StatusCode.NOT_FOUND,
  });
  assert.equal(turns.state.log.entries.size, 1);
  assert.equal(turns.state.leases.values.size, 0);
});
