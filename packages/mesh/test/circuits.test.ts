import assert from "node:assert/strict";
import test from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { Circuits } from "../src/circuits.ts";

const silence = (): Promise<never> =>
  Promise.reject(new RpcError(StatusCode.UNAVAILABLE, "lost", { reason: "CALL_LOST" }));
const reasonOf = (call: Promise<unknown>): Promise<string | undefined> =>
  call.then(
    () => "answered",
    (error: RpcError) => error.details.reason,
  );

test("a subject that stays silent is left alone, and tried again by one call after a moment", async () => {
  const circuits = new Circuits();
  let attempts = 0;
  const counted = (outcome: () => Promise<string>) => () => {
    attempts += 1;
    return outcome();
  };
  for (let i = 0; i < 5; i++) assert.equal(await reasonOf(circuits.attempt("a", counted(silence))), "CALL_LOST");
  assert.equal(await reasonOf(circuits.attempt("a", counted(silence))), "CIRCUIT_OPEN");
  assert.equal(attempts, 5, "an open circuit let a call through");
  assert.equal(
    await reasonOf(
      circuits.attempt(
        "b",
        counted(() => Promise.resolve("fine")),
      ),
    ),
    "answered",
  );
  const patience = Date.now() + 5000;
  while ((await reasonOf(circuits.attempt("a", () => Promise.resolve("back")))) !== "answered")
    assert.ok(Date.now() < patience, "the circuit never closed");
  assert.equal(circuits.size, 0, "a subject that answers needs no circuit");
});

test("errors that a service answers with open nothing", async () => {
  const circuits = new Circuits();
  const refusal = (): Promise<never> =>
    Promise.reject(new RpcError(StatusCode.UNAVAILABLE, "no", { reason: "PLUGIN_CRASHED" }));
  for (let i = 0; i < 20; i++) assert.equal(await reasonOf(circuits.attempt("a", refusal)), "PLUGIN_CRASHED");
  assert.equal(circuits.size, 0);
});

test("an answer between silences starts the count anew", async () => {
  const circuits = new Circuits();
  for (let i = 0; i < 20; i++)
    assert.equal(
      await reasonOf(circuits.attempt("a", i % 4 === 3 ? () => Promise.resolve("x") : silence)),
      i % 4 === 3 ? "answered" : "CALL_LOST",
    );
});
