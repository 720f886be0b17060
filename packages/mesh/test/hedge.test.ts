import assert from "node:assert/strict";
import test from "node:test";
import { type CallContext, type RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNats, waitUntil } from "@warren/testing";
import { hedged } from "../src/hedge.ts";
import { CallError, RpcError as AnyError } from "../src/status.ts";
import { TimerWheel } from "../src/timer-wheel.ts";
import { codeOf, serveSecrets } from "./support.ts";

/** Longer than any try takes that is answered here, and far shorter than a call may take. */
const AFTER_MS = 60;

test("a call that takes long is made again beside the first; the first answer counts, and the other handler is told to stop", async (t) => {
  const nats = await startNats(t);
  const [stuck, quick, gateway] = await Promise.all([
    nats.connect("secrets"),
    nats.connect("secrets"),
    nats.connect("gateway"),
  ]);
  const state = { runs: 0, stopped: 0 };
  const never = (ctx: CallContext): Promise<never> => {
    state.runs += 1;
    return new Promise((_, reject) =>
      ctx.signal.addEventListener("abort", () => {
        state.stopped += 1;
        reject(ctx.signal.reason as Error);
      }),
    );
  };
  await serveSecrets(stuck, { getSecret: (_, ctx) => never(ctx), putSecret: (_, ctx) => never(ctx) });
  await serveSecrets(quick, {
    getSecret: async ({ name }) => ({ name, value: "quick" }),
    putSecret: async ({ name }) => ({ name }),
  });
  const secrets = gateway.client(SecretsServiceDefinition);
  // NATS chooses: of forty calls with two tries each, hardly one finds the stuck replica twice, and its deadline ends it.
  const options = { hedgeAfterMs: AFTER_MS, timeoutMs: 3000 };
  const outcomes = await Promise.all(
    Array.from({ length: 40 }, () => codeOf(secrets.getSecret({ name: "a" }, options))),
  );
  assert.ok(state.runs > 0, "NATS gave the stuck replica no call");
  const answered = outcomes.filter((code) => code === StatusCode.OK).length;
  assert.ok(answered > 40 - state.runs, `${answered} of 40 were answered, ${state.runs} tries were stuck`);
  await waitUntil("the end of every try that lost", 10_000, () => state.stopped === state.runs || undefined);

  // What may not run twice is not tried twice.
  const before = { ...state };
  const writes = await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      codeOf(secrets.putSecret({ name: `n${i}`, value: "v" }, { ...options, timeoutMs: 500 })),
    ),
  );
  const late = writes.filter((code) => code === StatusCode.DEADLINE_EXCEEDED).length;
  assert.equal(state.runs - before.runs, late);
  assert.ok(gateway.load.routes === 0);
});

test("tries overlap as they should", async (t) => {
  const wheel = new TimerWheel(1);
  t.after(() => wheel.stop());
  type Try = { signal: AbortSignal; answer: (value: string) => void; fail: (error: RpcError) => void };
  const begin = (budget: number, signal?: AbortSignal) => {
    const tries: Try[] = [];
    const left = { budget };
    const outcome = hedged(
      { afterMs: 5, wheel, signal, withdraw: () => left.budget-- > 0 },
      (own) => new Promise<string>((answer, fail) => tries.push({ signal: own, answer, fail })),
    );
    outcome.catch(() => undefined);
    const second = (): Promise<true> => waitUntil("the second try", 30_000, () => tries.length === 2 || undefined);
    return { tries, outcome, second };
  };
  const lost = new CallError(StatusCode.UNAVAILABLE, "", { reason: "CALL_LOST" });
  const told = new AnyError(StatusCode.NOT_FOUND, "there is none");

  await t.test("the second is not made where the first answers in time", async () => {
    const { tries, outcome } = begin(1);
    tries[0]?.answer("a");
    assert.equal(await outcome, "a");
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(tries.length, 1);
  });
  await t.test("nor where the budget is spent", async () => {
    const { tries, outcome } = begin(0);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(tries.length, 1);
    tries[0]?.answer("a");
    assert.equal(await outcome, "a");
  });
  await t.test("an answer of either counts, and ends the other", async () => {
    for (const winner of [0, 1]) {
      const { tries, outcome, second } = begin(1);
      await second();
      tries[winner]?.answer("a");
      assert.equal(await outcome, "a");
      assert.equal((tries[1 - winner]?.signal.reason as RpcError | undefined)?.code, StatusCode.CANCELLED);
    }
  });
  await t.test("so does an error that a service answers", async () => {
    const { tries, outcome, second } = begin(1);
    await second();
    tries[1]?.fail(told);
    await assert.rejects(outcome, told);
    assert.equal(tries[0]?.signal.aborted, true);
  });
  await t.test("silence of one does not end the other; of both, it is what the first met", async () => {
    const { tries, outcome, second } = begin(1);
    await second();
    tries[0]?.fail(lost);
    tries[1]?.answer("b");
    assert.equal(await outcome, "b");
    const again = begin(1);
    await again.second();
    again.tries[1]?.fail(lost);
    again.tries[0]?.fail(new CallError(StatusCode.UNAVAILABLE, "later", { reason: "CALL_LOST" }));
    await assert.rejects(again.outcome, lost);
  });
  await t.test("a failure before its time is a failure: whether to try again is decided elsewhere", async () => {
    const { tries, outcome } = begin(1);
    tries[0]?.fail(lost);
    await assert.rejects(outcome, lost);
    await new Promise((resolve) => setTimeout(resolve, 30));
    assert.equal(tries.length, 1);
  });
  await t.test("the caller's own signal ends both", async () => {
    const controller = new AbortController();
    const { tries, second } = begin(1, controller.signal);
    await second();
    controller.abort();
    assert.ok(tries.every(({ signal }) => signal.aborted));
  });
});
