import assert from "node:assert/strict";
import { Agent, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { RpcError, StatusCode } from "@warren/mesh";
import { waitUntil } from "@warren/testing";
import { send, startGateway } from "../support.ts";

test("a stop lets what is in flight end, tells connections to close, and takes no more", async (t) => {
  const { promise: finish, resolve: release } = Promise.withResolvers<void>();
  let inFlight = 0;
  const { url, port, operator, gateway } = await startGateway(t, {
    handlers: {
      agent: {
        chat: async () => {
          inFlight += 1;
          await finish;
          return { message: "done" };
        },
      },
    },
  });
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const chat = (): Promise<{ status: number | undefined; connection: string | undefined }> =>
    new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${operator}`, "content-type": "application/json" };
      const outgoing = httpRequest(`${url}/v1/chat`, { method: "POST", headers, agent }, (response) => {
        response.resume();
        response.on("end", () => resolve({ status: response.statusCode, connection: response.headers.connection }));
      });
      outgoing.on("error", reject);
      outgoing.end('{"message":"x"}');
    });
  const answers = Array.from({ length: 8 }, chat);
  await waitUntil("The calls", 5000, () => Promise.resolve(inFlight === 8 || undefined));
  let stopped = false;
  const stopping = gateway.drain(10_000).then(() => (stopped = true));
  await waitUntil(
    "The end of accepting",
    5000,
    () =>
      new Promise<true | undefined>((resolve) => {
        const socket = connect(port, "127.0.0.1", () => (socket.destroy(), resolve(undefined)));
        socket.on("error", () => resolve(true));
      }),
  );
  assert.equal(stopped, false, "it waits");
  release();
  for (const { status, connection } of await Promise.all(answers))
    assert.deepEqual([status, connection], [200, "close"]);
  await stopping;
});

test("a stop that may wait no longer ends what is in flight with 503", async (t) => {
  let inFlight = 0;
  const { url, operator, gateway } = await startGateway(t, {
    handlers: {
      agent: {
        chat: (_request, ctx) =>
          new Promise((_resolve, reject) => {
            inFlight += 1;
            ctx.signal.addEventListener("abort", () => reject(new RpcError(StatusCode.CANCELLED, "cut")));
          }),
      },
    },
  });
  const headers = { authorization: `Bearer ${operator}`, "content-type": "application/json" };
  const answer = send(`${url}/v1/chat`, "POST", headers, '{"message":"x"}');
  await waitUntil("The call", 5000, () => Promise.resolve(inFlight || undefined));
  await gateway.drain(50);
  const { status, json } = await answer;
  assert.deepEqual([status, json["code"]], [503, "STOPPING"]);
});

test("while it is being told to load balancers, a stop still serves", async (t) => {
  const { call, gateway } = await startGateway(t, {
    config: { drainDelayMs: 300 },
    handlers: { agent: { listSessions: () => Promise.resolve({}) } },
  });
  const stopping = gateway.drain(1000);
  const { status, headers } = await call("GET", "/v1/sessions");
  assert.deepEqual([status, headers.get("connection")], [200, "close"]);
  await stopping;
});

test("connections over the bound are turned away, and those within it are served", async (t) => {
  const { call, port } = await startGateway(t, { config: { maxConnections: 3 } });
  const open: Socket[] = [];
  t.after(() => open.forEach((socket) => socket.destroy()));
  // Each asks for something before the next comes: of those that have not, half of the bound may be open.
  for (let i = 0; i < 3; i++) {
    const socket = connect(port, "127.0.0.1");
    open.push(socket);
    socket.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await new Promise((resolve) => socket.once("data", resolve));
  }
  await waitUntil("The bound", 5000, () =>
    call("GET", "/health/live").then(
      () => undefined,
      () => true as const,
    ),
  );
  open.pop()?.destroy();
  await waitUntil("A free place", 5000, () =>
    call("GET", "/health/live").then(
      (answer) => answer.status === 200 || undefined,
      () => undefined,
    ),
  );
});

test("a client that sends its headers too slowly is cut off with 408", async (t) => {
  const { port } = await startGateway(t, { headersTimeoutMs: 200 });
  const socket = connect(port, "127.0.0.1", () => socket.write("GET /health/live HTTP/1.1\r\nHost: local"));
  let text = "";
  socket.on("data", (chunk) => (text += chunk.toString()));
  await new Promise((resolve) => socket.once("close", resolve));
  assert.match(text, /^HTTP\/1.1 408 /);
  assert.match(text, /"code":"REQUEST_TIMEOUT"/);
});
