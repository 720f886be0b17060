// Many connections that do nothing, and some that do what they must not.
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { status as Code } from "@grpc/grpc-js";
import { waitUntil } from "@warren/testing";
import { GrpcTestClient } from "../grpc/support.ts";
import { raw, startGateway } from "../support.ts";

const IDLE = 10_000;
/** Open files of a process beside its connections. */
const OTHER_FILES = 500;

test(`${IDLE} idle connections do not keep anybody from being served`, async (t) => {
  const files = mostOpenFiles();
  if (files < IDLE + OTHER_FILES)
    return t.skip(`a process may open ${files} files here: raise it to ${IDLE + OTHER_FILES} with ulimit -n`);
  const { port, call } = await startGateway(t, { config: { maxConnections: 2 * IDLE } });
  const before = process.memoryUsage().rss;
  await openIdle(t, port);
  const kib = (process.memoryUsage().rss - before) / 1024 / IDLE;
  const started = performance.now();
  for (let i = 0; i < 20; i += 1) assert.equal((await call("GET", "/health/live")).status, 200);
  const each = (performance.now() - started) / 20;
  t.diagnostic(`${IDLE} idle: ${each.toFixed(1)} ms a request, ${kib.toFixed(1)} KiB a connection in the gateway`);
  assert.ok(kib < 50, `${kib} KiB a connection`);
});

test("connections beyond the bound are refused, and those within it go on; HTTP and gRPC alike", async (t) => {
  const { port, grpcAddress, call } = await startGateway(t, { config: { maxConnections: 5 } });
  const grpcPort = Number(grpcAddress.split(":").at(-1));
  for (const each of [port, grpcPort]) {
    const sockets: Socket[] = [];
    t.after(() => sockets.forEach((socket) => socket.destroy()));
    while (sockets.length < 5) {
      const socket = connect(each, "127.0.0.1");
      sockets.push(socket);
      await once(socket, "connect");
      if (each !== port) continue;
      // Those who ask for nothing would be ended before anybody is refused.
      socket.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
      await once(socket, "data");
    }
    const more = connect(each, "127.0.0.1");
    more.resume();
    more.on("error", () => undefined);
    await once(more, "close");
    for (const socket of sockets) socket.destroy();
    await Promise.all(sockets.filter(({ closed }) => !closed).map((socket) => once(socket, "close")));
  }
  let status = 0;
  while (status !== 200) ({ status } = await call("GET", "/health/live").catch(() => ({ status: 0 })));
});

test("connections that ask for nothing leave room for those who ask, however many there are", async (t) => {
  const { port, call } = await startGateway(t, { config: { maxConnections: 20 } });
  // Has asked once: it is left alone.
  const asked = connect(port, "127.0.0.1");
  t.after(() => asked.destroy());
  asked.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await once(asked, "data");
  asked.resume();
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  for (let i = 0; i < 60; i += 1) {
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.resume();
    sockets.push(socket);
    await once(socket, "connect");
    if (i % 10 === 9) assert.equal((await call("GET", "/health/live")).status, 200, `${i + 1} idle`);
  }
  await waitUntil("The end of the oldest", 5_000, () =>
    Promise.resolve(sockets.filter(({ closed }) => closed).length >= 50 || undefined),
  );
  assert.equal(asked.closed, false);
  assert.deepEqual(
    sockets.slice(-9).map(({ closed }) => closed),
    Array.from({ length: 9 }, () => false),
    "the youngest stay",
  );
});

test("bytes that are no gRPC end their connection alone", async (t) => {
  const { grpcAddress, operator } = await startGateway(t);
  const grpcPort = Number(grpcAddress.split(":").at(-1));
  const client = new GrpcTestClient(t, grpcAddress);
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const garbage: (string | Buffer)[] = [
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    Buffer.from([0x16, 3, 1, 2, 0, 1, 0]),
    Buffer.concat([Buffer.from(preface), Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0])]),
    Buffer.concat([Buffer.from(preface), Buffer.alloc(4096, 0xaa)]),
  ];
  for (const bytes of garbage) await raw(grpcPort, bytes).catch(() => "");
  const { code } = await client.call("warren.agent.v1.AgentService/GetSession", { id: "" }, { token: operator });
  assert.equal(code, Code.INVALID_ARGUMENT, "the server lives on");
});

test("peers of the gRPC port that do nothing, or too slowly, are cut; others are served meanwhile", async (t) => {
  const grpcPatience = { silenceMs: 300, answerMs: 300, firstMessageMs: 500 };
  const { grpcAddress, operator } = await startGateway(t, { grpcPatience });
  const port = Number(grpcAddress.split(":").at(-1));
  const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  // HEADERS of stream 1 that announces more than ever comes.
  const headers = Buffer.from([0, 64, 0, 1, 0, 0, 0, 0, 1]);
  const said: Record<string, Buffer> = {
    "never a word": Buffer.alloc(0),
    "a preface, byte by byte": preface,
    "settings, byte by byte": Buffer.concat([preface, settings]),
    "headers without an end": Buffer.concat([preface, settings, headers, Buffer.alloc(1000, 0x82)]),
  };
  const client = new GrpcTestClient(t, grpcAddress);
  const ask = () => client.call("warren.agent.v1.AgentService/GetSession", { id: "" }, { token: operator });
  const cut = Object.values(said).map((bytes) => sayingSlowly(t, port, bytes));
  assert.equal((await ask()).code, Code.INVALID_ARGUMENT);
  await Promise.all(cut);
  assert.equal((await ask()).code, Code.INVALID_ARGUMENT);
});

test("a gRPC call whose message never comes ends, though its connection is alive", async (t) => {
  const grpcPatience = { silenceMs: 300, answerMs: 300, firstMessageMs: 500 };
  const { grpcAddress, operator } = await startGateway(t, { grpcPatience });
  const session = connectHttp2(`http://${grpcAddress}`);
  t.after(() => session.destroy());
  const call = session.request({
    ":method": "POST",
    ":path": "/warren.agent.v1.AgentService/GetSession",
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${operator}`,
  });
  const [head] = (await once(call, "response")) as [IncomingHttpHeaders];
  assert.equal(head["grpc-status"], String(Code.DEADLINE_EXCEEDED));
  assert.match(decodeURIComponent(String(head["grpc-message"])), /first message did not come within 0.5 s/);
});

/** Holds idle connections in a process of its own until the test ends: both ends of each would need two files. */
async function openIdle(t: TestContext, port: number): Promise<void> {
  const child = fork(fileURLToPath(new URL("idle-connections.ts", import.meta.url)), [String(port), String(IDLE)]);
  t.after(async () => {
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  });
  const [word] = (await Promise.race([once(child, "message"), once(child, "exit")])) as [unknown];
  assert.equal(word, "open", `the connections could not be opened: ${String(word)}`);
}

/** Node.js raises its own limit as far as it may go. */
function mostOpenFiles(): number {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  return Number(limit ?? Number.POSITIVE_INFINITY);
}

/** Sends the bytes one by one, slowly, and resolves when the other side has cut the connection. */
async function sayingSlowly(t: TestContext, port: number, bytes: Buffer): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  t.after(() => socket.destroy());
  socket.resume();
  socket.on("error", () => undefined);
  let at = 0;
  const speaking = setInterval(() => void (at < bytes.length && socket.write(bytes.subarray(at, (at += 1)))), 20);
  await once(socket, "close");
  clearInterval(speaking);
}
