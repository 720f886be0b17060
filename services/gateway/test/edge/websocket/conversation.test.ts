import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { ChatEvent } from "@warren/proto/warren/agent/v1/agent";
import { parsePolicy } from "../../../src/limits/policy.ts";
import { accessToken, addCredential, addKey, raw, startGateway } from "../../support.ts";
import { openSocket } from "../../websocket-client.ts";

const text = (sequence: number, value: string) =>
  ChatEvent.create({ sequence, event: { $case: "text", value: { text: value } } });

test("a conversation: each message is a turn, answered event by event, one after the other", async (t) => {
  const seen: unknown[] = [];
  const { url, operator } = await startGateway(t, {
    handlers: {
      agent: {
        async *streamChat({ message, sessionId }, { caller }) {
          seen.push([message, sessionId, caller.principal]);
          yield text(1, `re: ${message}`);
          if (message === "fail") throw new RpcError(StatusCode.UNAVAILABLE, "busy", { reason: "BUSY" });
          yield text(2, "end");
        },
      },
    },
  });
  const socket = await openSocket(t, `${url}/v1/chat`, operator);
  socket.send({ message: "one" });
  socket.send({ message: "two", session_id: "s1" });
  const got = [await socket.next(), await socket.next(), await socket.next(), await socket.next()];
  assert.deepEqual(
    got.map((event) => (event?.["text"] as { text: string } | undefined)?.text),
    ["re: one", "end", "re: two", "end"],
  );
  assert.deepEqual(seen, [
    ["one", "", "operator"],
    ["two", "s1", "operator"],
  ]);
  const wrong: [message: string, code: string][] = [
    ["{", "INVALID_JSON"],
    ["[]", "INVALID_ARGUMENT"],
    ['{"message":""}', "INVALID_ARGUMENT"],
    ['{"message":"x","unknown":1}', "INVALID_ARGUMENT"],
    ['{"message":"x","__proto__":{}}', "FORBIDDEN_KEY"],
    [`${'{"a":'.repeat(100)}1${"}".repeat(100)}`, "INVALID_JSON"],
  ];
  for (const [message, code] of wrong) {
    socket.send(message);
    assert.partialDeepStrictEqual(await socket.next(), { error: { status: 400, code } }, message.slice(0, 40));
  }
  socket.send({ message: "fail" });
  assert.ok((await socket.next())?.["text"]);
  const failed = (await socket.next())?.["error"] as Record<string, unknown>;
  assert.deepEqual([failed["status"], failed["code"]], [503, "BUSY"]);
  assert.match(String(failed["instance"]), /^[0-9a-f-]{36}$/);
  socket.send({ message: "still here" });
  assert.ok((await socket.next())?.["text"], "a failed turn does not end the conversation");
});

test("the handshake passes the one admission; a refusal is a problem", async (t) => {
  const { url, port, operator, auth, call } = await startGateway(t);
  const reader = await addCredential(auth, { kind: "api-key", scopes: ["plugins:read"] });
  await assert.rejects(openSocket(t, `${url}/v1/chat`), /401/);
  await assert.rejects(openSocket(t, `${url}/v1/chat`, reader), /403/);
  await assert.rejects(openSocket(t, `${url}/v1/nowhere`, operator), /404/);
  await assert.rejects(openSocket(t, `${url}/v1/chat`, operator, { origin: "https://evil.example" }), /403/);
  await assert.rejects(openSocket(t, `${url}/v1/chat`, operator, { headers: { host: "evil.example" } }), /421/);
  const own = await openSocket(t, `${url}/v1/chat`, operator, { origin: url });
  own.socket.close();
  await own.closed;
  const plain = await call("GET", "/v1/chat");
  assert.deepEqual(
    [plain.status, plain.json["code"], plain.headers.get("upgrade")],
    [426, "UPGRADE_REQUIRED", "websocket"],
  );
  const handshake = (more: string): string =>
    `GET /v1/chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nAuthorization: Bearer ${operator}\r\n${more}\r\n`;
  for (const [more, status] of [
    ["", 400],
    ["Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n", 400],
    ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 8\r\n", 426],
  ] as const) {
    const [head = "", body = ""] = (await raw(port, handshake(more))).split("\r\n\r\n");
    assert.match(head, new RegExp(`^HTTP/1.1 ${status} `), more);
    assert.match(head, /application\/problem\+json/);
    assert.equal((JSON.parse(body) as { status: number }).status, status);
  }
  // Another route than a stream's answers as it always does.
  assert.match(await raw(port, handshake("").replace("/v1/chat", "/health/live")), /^HTTP\/1.1 200 [\s\S]*"healthy"/);
});

test("each message counts against the limits, and a token that has ended takes no more", async (t) => {
  const { url, auth } = await startGateway(t, {
    policy: parsePolicy({
      limits: [{ name: "chat", algorithm: "window", key: "principal", limit: 2, period: 60, classes: ["chat"] }],
    }),
    handlers: {
      agent: {
        async *streamChat({ message }) {
          yield text(1, message);
        },
      },
    },
  });
  const socket = await openSocket(t, `${url}/v1/chat`, await accessToken(await addKey(auth)));
  for (const message of ["one", "two"]) {
    socket.send({ message });
    assert.ok((await socket.next())?.["text"]);
  }
  socket.send({ message: "three" });
  assert.partialDeepStrictEqual(await socket.next(), { error: { status: 429, "violated-policies": ["chat"] } });
  await auth.revocations.put("d1", {});
  let status: unknown;
  while (status !== 401) {
    socket.send({ message: "again" });
    status = ((await socket.next())?.["error"] as { status: number } | undefined)?.status;
  }
});

test("what breaks the protocol or its bounds ends the connection with a code that says so", async (t) => {
  const busy = Promise.withResolvers<AbortSignal>();
  const { url, operator, call } = await startGateway(t, {
    handlers: {
      agent: {
        async *streamChat(_request, { signal }) {
          busy.resolve(signal);
          yield text(1, "working");
          await once(signal, "abort");
        },
      },
    },
  });
  const open = () => openSocket(t, `${url}/v1/chat`, operator);
  const binary = await open();
  binary.socket.send(Buffer.from('{"message":"x"}'), { binary: true });
  assert.equal((await binary.closed).code, 1003);
  const big = await open();
  big.send("x".repeat(1024 * 1024 + 1));
  assert.equal((await big.closed).code, 1009);
  const many = await open();
  for (let i = 0; i < 12; i += 1) many.send({ message: "x" });
  assert.equal((await many.closed).code, 1008);
  const signal = await busy.promise;
  if (!signal.aborted) await once(signal, "abort");
  const text8 = await open();
  text8.socket.send(Buffer.from([0xff, 0xfe]), { binary: false });
  assert.equal((await text8.closed).code, 1007);
  const events = await openSocket(t, `${url}/v1/events`, operator);
  events.send({});
  assert.equal((await events.closed).code, 1008);
  assert.equal((await call("GET", "/health/live")).status, 200);
});

test("who shows no sign of life is cut", async (t) => {
  const { url, operator } = await startGateway(t, { heartbeatMs: 200 });
  const silent = await openSocket(t, `${url}/v1/chat`, operator, { autoPong: false });
  assert.equal((await silent.closed).code, 1006);
  const alive = await openSocket(t, `${url}/v1/chat`, operator);
  for (let pings = 0; pings < 4; pings += 1) await once(alive.socket, "ping");
  assert.equal(alive.socket.readyState, alive.socket.OPEN);
});

test("who takes nothing is cut, and what it asked for ended", async (t) => {
  const ended = Promise.withResolvers<number>();
  const { url, operator } = await startGateway(t, {
    sendTimeoutMs: 300,
    handlers: {
      agent: {
        async *streamChat() {
          let sent = 0;
          try {
            for (; ; sent += 1) yield text(sent, "x".repeat(60_000));
          } finally {
            ended.resolve(sent);
          }
        },
      },
    },
  });
  const slow = await openSocket(t, `${url}/v1/chat`, operator);
  slow.send({ message: "x" });
  await slow.next();
  slow.socket.pause();
  assert.ok((await ended.promise) < 2_000, "no faster than the other side reads");
});

test("a stop lets a turn end and says good-bye; one that outlasts it is cut", async (t) => {
  const { url, operator, gateway } = await startGateway(t, {
    handlers: {
      agent: {
        async *streamChat({ message }, { signal }) {
          yield text(1, message);
          if (message === "long") await once(signal, "abort");
          else await ending.promise;
          yield text(2, "end");
        },
      },
    },
  });
  const ending = Promise.withResolvers<void>();
  const [idle, short, long] = await Promise.all([1, 2, 3].map(() => openSocket(t, `${url}/v1/chat`, operator)));
  assert.ok(idle && short && long);
  short.send({ message: "short" });
  long.send({ message: "long" });
  await Promise.all([short.next(), long.next()]);
  const stopped = gateway.drain(1_000);
  assert.equal((await idle.closed).code, 1001);
  ending.resolve();
  assert.partialDeepStrictEqual(await short.next(), { text: { text: "end" } });
  assert.equal((await short.closed).code, 1001);
  assert.partialDeepStrictEqual(await long.next(), { error: { status: 503, code: "STOPPING" } });
  assert.equal((await long.closed).code, 1001);
  await stopped;
});
