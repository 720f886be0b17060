import assert from "node:assert/strict";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { test } from "node:test";
import { type CallContext, RpcError, StatusCode } from "@warren/mesh";
import type { ChatEvent } from "@warren/proto/warren/agent/v1/agent";
import { waitUntil } from "@warren/testing";
import { startGateway, type TestGateway } from "../support.ts";

const events: Partial<ChatEvent>[] = [
  { sequence: 1, event: { $case: "started", value: { sessionId: "s1", turnId: "t1" } } },
  { sequence: 2, event: { $case: "text", value: { text: "Hel\nlo" } } },
  {
    sequence: 3,
    event: {
      $case: "toolCall",
      value: { id: "c1", pluginId: "clock", name: "now", arguments: {}, result: "", error: "", durationMs: 0 },
    },
  },
];
const expected = [
  { sequence: 1, started: { sessionId: "s1", turnId: "t1" } },
  { sequence: 2, text: { text: "Hel\nlo" } },
  {
    sequence: 3,
    toolCall: { id: "c1", pluginId: "clock", name: "now", arguments: {}, result: "", error: "", durationMs: 0 },
  },
];

async function* all(): AsyncGenerator<Partial<ChatEvent>> {
  yield* events;
}

const eventStream = { accept: "text/event-stream" };
const body = { message: "Hi" };

/** The response of a streamed chat as it comes in. */
function open({ url, operator }: TestGateway, accept = "text/event-stream"): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${operator}`, "content-type": "application/json", accept };
    const outgoing = httpRequest(`${url}/v1/chat`, { method: "POST", headers, agent: false }, resolve);
    outgoing.on("error", reject);
    outgoing.end(JSON.stringify(body));
  });
}

test("a stream is server-sent events: kind, sequence and the whole message", async (t) => {
  const { call } = await startGateway(t, { handlers: { agent: { streamChat: all } } });
  const { status, headers, text } = await call("POST", "/v1/chat", { body, headers: eventStream });
  assert.equal(status, 200);
  assert.equal(headers.get("content-type"), "text/event-stream; charset=utf-8");
  assert.match(headers.get("x-request-id") ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(headers.get("x-content-type-options"), "nosniff");
  assert.match(headers.get("cache-control") ?? "", /no-store/);
  const [one, two, three] = expected.map((message) => JSON.stringify(message));
  assert.equal(
    text,
    `event: started\nid: 1\ndata: ${one}\n\nevent: text\nid: 2\ndata: ${two}\n\nevent: tool_call\nid: 3\ndata: ${three}\n\n`,
  );
});

test("a stream is lines of JSON for those who ask for them", async (t) => {
  const { call } = await startGateway(t, { handlers: { agent: { streamChat: all } } });
  const { headers, text } = await call("POST", "/v1/chat", { body, headers: { accept: "application/x-ndjson" } });
  assert.equal(headers.get("content-type"), "application/x-ndjson; charset=utf-8");
  assert.deepEqual(
    text
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
    expected,
  );
});

test("Accept picks the method of a shared route", async (t) => {
  const chat = () => Promise.resolve({ message: "whole" });
  const { call } = await startGateway(t, { handlers: { agent: { streamChat: all, chat } } });
  const table: [accept: string, type: string][] = [
    ["*/*", "application/json"],
    ["application/json", "application/json"],
    ["text/event-stream;q=0, */*", "application/json"],
    ["application/json, text/event-stream;q=0.5", "application/json"],
    ["application/json;q=0.5, text/event-stream", "text/event-stream"],
    ["TEXT/EVENT-STREAM", "text/event-stream"],
    ["text/event-stream;q=0.1, application/x-ndjson;q=0.2", "application/x-ndjson"],
    ["__proto__, constructor, */*;q=0.1", "application/json"],
  ];
  for (const [accept, type] of table) {
    const { headers } = await call("POST", "/v1/chat", { body, headers: { accept } });
    assert.equal(headers.get("content-type"), `${type}; charset=utf-8`, accept);
  }
});

test("a failure before the first message has its own status", async (t) => {
  const { call } = await startGateway(t, {
    handlers: {
      agent: {
        async *streamChat(request) {
          if (request.message) throw new RpcError(StatusCode.NOT_FOUND, "No such conversation");
          yield {};
        },
      },
    },
  });
  const { status, headers, json } = await call("POST", "/v1/chat", { body, headers: eventStream });
  assert.deepEqual([status, json["detail"]], [404, "No such conversation"]);
  assert.equal(headers.get("content-type"), "application/problem+json");
  const bad = await call("POST", "/v1/chat", { body: {}, headers: eventStream });
  assert.deepEqual([bad.status, bad.headers.get("content-type")], [400, "application/problem+json"]);
});

test("a failure after the first message is the last event", async (t) => {
  const { call } = await startGateway(t, {
    handlers: {
      agent: {
        async *streamChat() {
          yield* events.slice(0, 1);
          throw new RpcError(StatusCode.UNAVAILABLE, "The model is away", { reason: "MODEL_AWAY" });
        },
      },
    },
  });
  const sse = await call("POST", "/v1/chat", { body, headers: eventStream });
  const [, data = ""] = /event: error\ndata: (.*)\n\n$/.exec(sse.text) ?? [];
  const problem = JSON.parse(data) as Record<string, unknown>;
  assert.deepEqual([sse.status, problem["status"], problem["code"]], [200, 503, "MODEL_AWAY"]);
  assert.equal(problem["instance"], sse.headers.get("x-request-id"));
  const lines = await call("POST", "/v1/chat", { body, headers: { accept: "application/x-ndjson" } });
  const last = JSON.parse(lines.text.trimEnd().split("\n").at(-1) ?? "") as { error: Record<string, unknown> };
  assert.equal(last.error["code"], "MODEL_AWAY");
});

test("a quiet stream gives signs of life, also before its first message", async (t) => {
  const { promise: enough, resolve } = Promise.withResolvers<void>();
  const gateway = await startGateway(t, {
    heartbeatMs: 20,
    handlers: {
      agent: {
        async *streamChat() {
          await enough;
          yield* events;
        },
      },
    },
  });
  const response = await open(gateway);
  let text = "";
  response.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await waitUntil("Heartbeats", 5000, () =>
    Promise.resolve((text.match(/^: .*\n\n/gm)?.length ?? 0) >= 2 || undefined),
  );
  assert.doesNotMatch(text, /event:/);
  resolve();
  await waitUntil("The end", 5000, () => Promise.resolve(response.complete || undefined));
  assert.match(text, /event: tool_call/);
});

test("a client that leaves ends the stream at the service", async (t) => {
  const seen: CallContext[] = [];
  const gateway = await startGateway(t, {
    handlers: {
      agent: {
        async *streamChat(_request, ctx) {
          seen.push(ctx);
          yield* events.slice(0, 1);
          await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
        },
      },
    },
  });
  const response = await open(gateway);
  assert.equal(response.statusCode, 200);
  response.on("error", () => {
    // It is this test that ends it.
  });
  response.destroy();
  await waitUntil("The cancellation", 5000, () => Promise.resolve(seen[0]?.signal.aborted || undefined));
});

test("a client that reads slowly slows the service down", async (t) => {
  let written = 0;
  const gateway = await startGateway(t, {
    handlers: {
      agent: {
        async *streamChat() {
          for (let sequence = 1; sequence <= 20_000; sequence++) {
            written = sequence;
            yield { sequence, event: { $case: "text" as const, value: { text: "x".repeat(4096) } } };
          }
        },
      },
    },
  });
  const response = await open(gateway);
  let settled = -1;
  // Unread, the stream comes to a rest long before its end.
  await waitUntil("The rest", 10_000, async () => {
    const before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
    settled = written;
    return (written > 0 && before === written) || undefined;
  });
  assert.ok(settled < 15_000, `${settled} messages were written for a client that reads none`);
  let bytes = 0;
  for await (const chunk of response) bytes += (chunk as Buffer).length;
  assert.equal(written, 20_000);
  assert.ok(bytes > 20_000 * 4096);
});
