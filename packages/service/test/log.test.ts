import assert from "node:assert/strict";
import test from "node:test";
import { context, trace, TraceFlags } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { createLog, type Logger, redact } from "@warren/service";
import * as fc from "fast-check";

fc.configureGlobal({ seed: 20_260_201 });

const SECRET = "hunter2-hunter2";

/** A log and the lines it wrote. */
function written(level = "trace"): { log: Logger; lines: string[] } {
  const lines: string[] = [];
  const destination = { write: (text: string) => void lines.push(text) };
  return { log: createLog({ service: "auth", instanceId: "auth-1", level, destination }), lines };
}

function parsed(lines: readonly string[]): Record<string, unknown> {
  assert.equal(lines.length, 1);
  return JSON.parse(lines[0] ?? "") as Record<string, unknown>;
}

test("a line is one JSON object with who wrote it, when and how grave it is", () => {
  const { log, lines } = written("info");
  log.debug({}, "not written");
  log.info({ pluginId: "clock" }, "It runs");
  const { time, ...rest } = parsed(lines);
  assert.deepEqual(rest, { level: "info", service: "auth", instance: "auth-1", pluginId: "clock", message: "It runs" });
  assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
});

test("no text can begin a line of its own", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (text, name) => {
      const { log, lines } = written();
      const forged = `${text}\n{"level":"fatal"}\r\u2028\u001b[2J`;
      log.info({ [`field-${name}`]: forged }, forged);
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? "", /^[^\n\r]*\n$/);
      assert.ok(!lines.join("").includes("\u001b"));
      assert.equal(parsed(lines)["message"], forged.toWellFormed());
    }),
  );
});

test("what stands under a secret's name is hidden, at any depth, in any spelling", () => {
  const names = ["password", "apiKey", "API_KEY", "x-api-key", "token", "access_token", "Authorization", "Set-Cookie"];
  const more = [
    "clientSecret",
    "client-secret",
    "privateKey",
    "seed",
    "passphrase",
    "totp",
    "X-Warren-Token",
    "refreshToken",
  ];
  for (const name of [...names, ...more]) {
    const { log, lines } = written();
    log.info({ [name]: SECRET, deep: { list: [{ [name]: { of: SECRET } }] } }, "text");
    assert.ok(!lines.join("").includes(SECRET), name);
    assert.equal(parsed(lines)[name], "[redacted]");
  }
});

test("what a child log is bound to is redacted too", () => {
  const { log, lines } = written();
  log.child({ token: SECRET, pluginId: "clock" }).child({ apiKey: SECRET, turn: 1 }).info("text");
  assert.ok(!lines.join("").includes(SECRET));
  const { pluginId, turn, service } = parsed(lines);
  assert.deepEqual([pluginId, turn, service], ["clock", 1, "auth"]);
});

test("a code that is an error's or a status is shown, one that may be a pairing code is not", () => {
  for (const shown of [14, "ECONNREFUSED", "ERR_INVALID_ARG_TYPE", "NOT_FOUND"])
    assert.deepEqual(redact({ code: shown }), { code: shown });
  for (const hidden of ["ABCD-2345", "WXYZ2345", "abc"])
    assert.deepEqual(redact({ code: hidden }), { code: "[redacted]" });
});

test("an error is written with its type, its stack, its own fields and its causes, without their secrets", () => {
  const root = Object.assign(new TypeError("root"), { password: SECRET, host: "db" });
  const { log, lines } = written();
  log.error({ err: new Error("outer", { cause: new Error("middle", { cause: root }) }) }, "Failed");
  assert.ok(!lines.join("").includes(SECRET));
  const err = parsed(lines)["err"] as { type: string; stack: string; cause: { cause: Record<string, unknown> } };
  assert.match(err.stack, /log\.test\.ts/);
  const { stack: _, ...cause } = err.cause.cause;
  assert.deepEqual(cause, { type: "TypeError", message: "root", password: "[redacted]", host: "db" });
});

test("an error given alone is redacted as well", () => {
  const { log, lines } = written();
  log.error(Object.assign(new Error("alone"), { apiKey: SECRET }));
  assert.ok(!lines.join("").includes(SECRET));
  assert.equal((parsed(lines)["err"] as { message: string }).message, "alone");
});

test("an object within itself is named as such: in objects, lists, errors and their causes", () => {
  const circle: Record<string, unknown> = { a: 1 };
  circle["self"] = circle;
  circle["list"] = [circle];
  const error = new Error("round");
  error.cause = error;
  assert.deepEqual(redact(circle), { a: 1, self: "[circular]", list: ["[circular]"] });
  const { log, lines } = written();
  log.error({ err: error, circle }, "text");
  assert.equal((parsed(lines)["err"] as { cause: string }).cause, "[circular]");
});

test("the same object twice is no circle", () => {
  const shared = { a: 1 };
  assert.deepEqual(redact({ one: shared, two: [shared] }), { one: { a: 1 }, two: [{ a: 1 }] });
});

test("however large, deep or tangled, what is logged costs little and one line", () => {
  let deep: object = { token: SECRET };
  for (let i = 0; i < 10_000; i++) deep = { deep };
  const tangle: Record<string, unknown>[] = Array.from({ length: 40 }, () => ({}));
  for (const each of tangle) tangle.forEach((other, i) => (each[`to${i}`] = other));
  const started = performance.now();
  const { log, lines } = written();
  log.info({ deep, tangle, wide: Array.from({ length: 100_000 }, (_, i) => i) }, "text");
  assert.equal(lines.length, 1);
  assert.ok(performance.now() - started < 1000);
  assert.ok((lines[0] ?? "").length < 100_000);
  assert.ok(!lines.join("").includes(SECRET));
});

test("bytes are counted, not written; dates stay dates", () => {
  const at = new Date(0);
  assert.deepEqual(redact({ body: Buffer.from(SECRET), at }), { body: "[15 bytes]", at });
});

test("redaction changes no value and throws at none", () => {
  fc.assert(
    fc.property(fc.anything({ withDate: true, withTypedArray: true, withBigInt: true }), (value) => {
      const { log, lines } = written();
      log.info({ value }, "text");
      assert.equal(lines.length, 1);
      assert.equal(typeof JSON.parse(lines[0] ?? ""), "object");
    }),
  );
});

test("a line written within a span names its trace", (t) => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  t.after(() => context.disable());
  const span = trace.wrapSpanContext({
    traceId: "1".repeat(32),
    spanId: "2".repeat(16),
    traceFlags: TraceFlags.SAMPLED,
  });
  const { log, lines } = written();
  context.with(trace.setSpan(context.active(), span), () => log.info("within"));
  assert.deepEqual([parsed(lines)["traceId"], parsed(lines)["spanId"]], ["1".repeat(32), "2".repeat(16)]);
});
