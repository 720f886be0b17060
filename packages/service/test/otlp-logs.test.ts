import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { createLog, type Logger } from "../src/log.ts";
import type { LogPush } from "../src/otlp-logs.ts";
import { startLogPush } from "../src/telemetry.ts";

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

interface Collected {
  readonly path: string | undefined;
  readonly body: Buffer;
}

/** A collector that takes what it is sent; or the address of one that is gone. */
async function collector(t: TestContext, gone = false): Promise<Collected[]> {
  const collected: Collected[] = [];
  const server = createServer((request, response) => {
    void buffer(request).then((body) => {
      collected.push({ path: request.url, body });
      response.end();
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  if (gone) await once(server.close(), "close");
  t.after(() => {
    delete process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
    server.close();
    server.closeAllConnections();
  });
  return collected;
}

async function open(): Promise<{ log: Logger; lines: string[]; push: LogPush }> {
  const env = { OTEL_LOGS_EXPORTER: "otlp" };
  const push = await startLogPush({ service: "agent", instanceId: "agent-1", version: "1.2.3", env });
  assert.ok(push);
  const lines: string[] = [];
  const destination = {
    write: (line: string) => {
      lines.push(line);
      push.write(line);
    },
  };
  return { log: createLog({ service: "agent", instanceId: "agent-1", level: "info", destination }), lines, push };
}

test("a line reaches the collector with its trace, its severity and its fields, and without its secrets", async (t) => {
  const collected = await collector(t);
  const { log, push } = await open();
  const span = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331", traceFlags: 1 };
  context.with(trace.setSpanContext(context.active(), span), () =>
    log.warn({ pluginId: "clock-1", attempts: 3, token: "hunter2" }, "A plugin is slow"),
  );
  await push.stop();
  assert.deepEqual([...new Set(collected.map(({ path }) => path))], ["/v1/logs"]);
  const sent = Buffer.concat(collected.map(({ body }) => body));
  for (const told of [
    "A plugin is slow",
    "warn",
    "pluginId",
    "clock-1",
    "attempts",
    "service.name",
    "agent-1",
    "1.2.3",
  ])
    assert.ok(sent.includes(told), told);
  for (const id of [span.traceId, span.spanId]) assert.ok(sent.includes(Buffer.from(id, "hex")), id);
  assert.ok(!sent.includes("hunter2"));
});

test("a collector that is gone loses no printed line, and keeps no process from ending", async (t) => {
  await collector(t, true);
  const { log, lines, push } = await open();
  for (let i = 0; i < 5000; i++) log.info({ i }, "Busy");
  assert.equal(lines.length, 5000);
  const before = performance.now();
  await push.stop();
  assert.ok(performance.now() - before < 10_000);
  assert.equal(lines.length, 5000, "nothing about the collector is logged for each line");
});

test("nothing is pushed unless it is asked for", async () => {
  for (const env of [{}, { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" }, { OTEL_LOGS_EXPORTER: "none" }])
    assert.equal(await startLogPush({ service: "a", instanceId: "b", version: "c", env }), undefined);
  const env = { OTEL_LOGS_EXPORTER: "otlp", OTEL_SDK_DISABLED: "true" };
  assert.equal(await startLogPush({ service: "a", instanceId: "b", version: "c", env }), undefined);
});
