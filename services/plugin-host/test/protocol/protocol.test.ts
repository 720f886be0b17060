import assert from "node:assert/strict";
import { duplexPair, PassThrough } from "node:stream";
import { test } from "node:test";
import { Guard } from "../../src/permissions/guard.ts";
import { foreignSpans } from "../../src/protocol/foreign-spans.ts";
import {
  defaultHostCallLimits,
  HostCallRefused,
  type HostMethods,
  serveHostCalls,
} from "../../src/protocol/host-calls.ts";
import { createHostMethods } from "../../src/protocol/host-methods.ts";
import { nestsDeeperThan, printable, readLines } from "../../src/protocol/lines.ts";
import { until } from "../support/until.ts";

test("lines are read whatever the chunks, CRLF too, and one that is too long ends the reading", async () => {
  const stream = new PassThrough();
  const lines: string[] = [];
  let overflows = 0;
  readLines(stream, { maxLineBytes: 8, onLine: (line) => lines.push(line.toString()), onOverflow: () => overflows++ });
  for (const chunk of ["ab", "c\nde\r\n\n", "12345678\n", "123456789", "\nlater\n"]) stream.write(chunk);
  stream.end();
  await new Promise((resolve) => stream.once("close", resolve));
  assert.deepEqual(lines, ["abc", "de", "12345678"]);
  assert.equal(overflows, 1);
});

test("nesting is counted outside of strings only", () => {
  const nests = (text: string, limit: number) => nestsDeeperThan(Buffer.from(text), limit);
  assert.equal(nests('{"a":[{"b":1}]}', 3), false);
  assert.equal(nests('{"a":[{"b":1}]}', 2), true);
  assert.equal(nests('"[[[[[["', 1), false);
  assert.equal(nests('["\\"[[[["]', 1), false);
  assert.equal(nests("[".repeat(1_000_000), 32), true);
});

test("text of a plugin is shown on one line, without what moves a terminal's cursor", () => {
  assert.equal(printable("a\u001b[2Jb\nc\td\u202e\u0000", 100), "a\\u001b[2Jb\\u000ac d\\u202e\\u0000");
  assert.equal(printable("abcdef", 4), "abc…");
});

const call = { traceId: "a".repeat(32), spanId: "1".repeat(16), startTime: 1000, endTime: 2000 };
const span = (spanId: string, parentSpanId: string, more = {}) => ({
  spanId,
  parentSpanId,
  name: "work",
  startTimeUnixNano: "1100000000",
  endTimeUnixNano: "1200000000",
  status: "ok",
  ...more,
});

test("a plugin's spans are taken when they hang on the call, in any order, and pulled into its time", () => {
  const [parent, child] = ["2".repeat(16), "3".repeat(16)];
  const taken = foreignSpans(
    [
      span(child, parent, { startTimeUnixNano: 0, endTimeUnixNano: "99000000000", status: "error" }),
      span(parent, call.spanId),
    ],
    call,
  );
  assert.deepEqual(taken, [
    {
      traceId: call.traceId,
      spanId: parent,
      parentSpanId: call.spanId,
      name: "work",
      startTime: 1100,
      endTime: 1200,
      failed: false,
    },
    {
      traceId: call.traceId,
      spanId: child,
      parentSpanId: parent,
      name: "work",
      startTime: 1000,
      endTime: 2000,
      failed: true,
    },
  ]);
});

test("spans that lie are left out: foreign parents, used ids, circles, bad ids, names and times, too many", () => {
  const [a, b] = ["2".repeat(16), "3".repeat(16)];
  const none = (...list: unknown[]) => assert.deepEqual(foreignSpans(list, call), []);
  none(span(a, "9".repeat(16)));
  none(span(call.spanId, call.spanId));
  none(span(a, b), span(b, a));
  none(span("zz", call.spanId), span("0".repeat(16), call.spanId), null, 7, "x", []);
  none(
    span(a, call.spanId, { name: "x\u001b[31m" }),
    span(a, call.spanId, { name: "" }),
    span(a, call.spanId, { name: "x".repeat(200) }),
  );
  none(span(a, call.spanId, { startTimeUnixNano: "now" }), span(a, call.spanId, { endTimeUnixNano: -1 }));
  assert.equal(foreignSpans([span(a, call.spanId), span(a, call.spanId)], call).length, 1);
  assert.deepEqual(
    foreignSpans(
      Array.from({ length: 33 }, (_, i) => span(i.toString(16).padStart(16, "f"), call.spanId)),
      call,
    ),
    [],
  );
  assert.deepEqual(foreignSpans("spans", call), []);
});

interface Answer {
  id: unknown;
  result?: unknown;
  error?: { code: number; message: string; data?: { reason: string } };
}

function hostCalls(methods: HostMethods, limits = {}) {
  const [plugin, host] = duplexPair();
  const answers: Answer[] = [];
  const told = { faults: [] as string[], fatal: [] as string[], failures: [] as string[] };
  readLines(plugin, {
    maxLineBytes: 1 << 20,
    onLine: (line) => answers.push(JSON.parse(line.toString()) as Answer),
    onOverflow: () => undefined,
  });
  const served = serveHostCalls(
    host,
    methods,
    { ...defaultHostCallLimits, ...limits },
    {
      onFault: (text) => told.faults.push(text),
      onFatal: (reason) => told.fatal.push(reason),
      onFailure: (method) => told.failures.push(method),
    },
  );
  const ask = (id: unknown, method: string, params: unknown = {}) =>
    plugin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
  return { plugin, answers, told, ask, served };
}

test("host calls are answered; refusals are told, failures stay with the host", async () => {
  const { answers, told, ask } = hostCalls({
    "host/echo": (params) => Promise.resolve(params),
    "host/refuse": () => Promise.reject(new HostCallRefused("PERMISSION_DENIED", "no")),
    "host/break": () => Promise.reject(new Error("a secret detail")),
  });
  ask(1, "host/echo", { a: 1 });
  ask("two", "host/refuse");
  ask(3, "host/break");
  ask(4, "host/none");
  ask(5, "constructor");
  ask(6, "host/echo", [1]);
  await until("all are answered", () => answers.length === 6);
  const by = (id: unknown) => answers.find((each) => each.id === id);
  assert.deepEqual(by(1)?.result, { a: 1 });
  assert.deepEqual(by("two")?.error, { code: -32_000, message: "no", data: { reason: "PERMISSION_DENIED" } });
  assert.equal(by(3)?.error?.code, -32_603);
  assert.ok(!JSON.stringify(answers).includes("secret detail"));
  assert.deepEqual(told.failures, ["host/break"]);
  assert.equal(by(4)?.error?.code, -32_601);
  assert.equal(by(5)?.error?.code, -32_601);
  assert.equal(by(6)?.error?.code, -32_600);
});

test("host calls are bounded in number, time, size and nesting, and their ids are not used twice", async () => {
  const aborted: string[] = [];
  const wait = (name: string) => (_params: unknown, signal: AbortSignal) =>
    new Promise((_resolve, reject) =>
      signal.addEventListener("abort", () => (aborted.push(name), reject(new HostCallRefused("ABORTED", "late")))),
    );
  const { plugin, answers, told, ask } = hostCalls(
    { "host/wait": wait("wait") },
    { maxOutstanding: 2, timeoutMs: 100, maxLineBytes: 1000, maxDepth: 4 },
  );
  ask(1, "host/wait");
  ask(1, "host/wait");
  ask(2, "host/wait");
  ask(3, "host/wait");
  await until("the third is refused", () =>
    answers.some(({ id, error }) => id === 3 && error?.data?.reason === "RESOURCE_EXHAUSTED"),
  );
  await until("the others run out of time", () => answers.length === 3);
  plugin.write("nonsense\n");
  ask(4, "host/wait", { a: [[[[1]]]] });
  plugin.write('{"jsonrpc":"2.0","id":9,"result":{}}\n');
  await until("four errors are noted", () => told.faults.length === 4);
  plugin.write("x".repeat(2000));
  await until("the channel is given up", () => told.fatal.length === 1);
});

test("calls in flight are aborted when the plugin ends", async () => {
  let aborted = false;
  const { ask, served } = hostCalls({
    "host/wait": (_params, signal) => new Promise(() => signal.addEventListener("abort", () => (aborted = true))),
  });
  ask(1, "host/wait");
  await new Promise((resolve) => setImmediate(resolve));
  served.close();
  await until("it is aborted", () => aborted);
});

test("a plugin can write to its log through the host, at a level that is known", async () => {
  const lines: string[] = [];
  const leases = { lease: () => Promise.resolve(undefined), revokeAll: () => Promise.resolve() };
  const methods = createHostMethods({ guard: new Guard([]), leases, log: (text) => lines.push(text) });
  const { ask, answers } = hostCalls(methods);
  ask(1, "host/log", { level: "warn", message: "careful" });
  ask(2, "host/log", { level: "shout", message: "hello" });
  ask(3, "host/log", { message: 7 });
  await until("all are answered", () => answers.length === 3);
  assert.deepEqual(lines, ["[warn] careful", "[info] hello"]);
  assert.equal(answers.find(({ id }) => id === 3)?.error?.data?.reason, "INVALID_ARGUMENT");
});
