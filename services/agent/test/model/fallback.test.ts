import assert from "node:assert/strict";
import { test } from "node:test";
import { createFallback } from "../../src/model/fallback.ts";
import { ModelError, type ModelErrorKind, type ModelProvider, type StepEvent } from "../../src/model/provider.ts";
import { stepRequest, takeStep } from "../helpers/steps.ts";

function scripted(name: string, events: readonly StepEvent[], failure?: unknown): ModelProvider & { asked: number } {
  const provider = {
    name,
    asked: 0,
    async *step(): AsyncGenerator<StepEvent> {
      provider.asked++;
      yield* events;
      if (failure !== undefined) throw failure;
    },
  };
  return provider;
}

const broken = (name: string, kind: ModelErrorKind, events: readonly StepEvent[] = []) =>
  scripted(name, events, new ModelError(kind, name, `${name} is ${kind}`));
const good = () =>
  scripted("good", [
    { type: "text", text: "hi" },
    { type: "finish", model: "good", usage: { inputTokens: 1, outputTokens: 1 }, reason: "stop" },
  ]);
const request = stepRequest([{ role: "user", text: "Hi" }]);

test("the next model answers where one is unavailable, and somebody is told", async () => {
  const told: string[] = [];
  const model = createFallback([broken("a", "unavailable"), broken("b", "unavailable"), good()], (failed, next) =>
    told.push(`${failed.provider}>${next.name}`),
  );
  const step = await takeStep(model, request);
  assert.deepEqual([step.text, step.finish?.model], ["hi", "good"]);
  assert.deepEqual(told, ["a>b", "b>good"]);
});

test("the first that answers is the only one asked", async () => {
  const second = good();
  await takeStep(
    createFallback([good(), second], () => undefined),
    request,
  );
  assert.equal(second.asked, 0);
});

test("after the first piece of an answer no other model takes over", async () => {
  const second = good();
  const model = createFallback([broken("a", "unavailable", [{ type: "text", text: "Once" }]), second], () => undefined);
  await assert.rejects(takeStep(model, request), { name: "RpcError", code: 14 });
  assert.equal(second.asked, 0);
});

for (const kind of ["misconfigured", "rejected"] as const) {
  test(`a ${kind} model is an error at once, FAILED_PRECONDITION`, async () => {
    const second = good();
    const model = createFallback([broken("a", kind), second], () => undefined);
    await assert.rejects(takeStep(model, request), { name: "RpcError", code: 9, message: /a is/ });
    assert.equal(second.asked, 0);
  });
}

test("when none is left, the error names them all, UNAVAILABLE", async () => {
  const model = createFallback([broken("a", "unavailable"), broken("b", "unavailable")], () => undefined);
  await assert.rejects(takeStep(model, request), { code: 14, message: /a is unavailable; b is unavailable/ });
});

test("what is no model's error passes as it is", async () => {
  const reason = new Error("the caller left");
  await assert.rejects(
    takeStep(
      createFallback([scripted("a", [], reason), good()], () => undefined),
      request,
    ),
    reason,
  );
});
