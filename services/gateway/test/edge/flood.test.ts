// Many connections that do nothing, and some that do what they must not.
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import { status as Code } from "@grpc/grpc-js";
import { GrpcTestClient } from "../grpc/support.ts";
import { raw, startGateway } from "../support.ts";

/** Both ends of each lie in this process: 10,000 need 20,000 open files, which not every machine allows. */
const IDLE = Number(process.env["WARREN_IDLE_CONNECTIONS"] ?? 3_000);

test(`${IDLE} idle connections do not keep anybody from being served`, async (t) => {
  const { port, call } = await startGateway(t);
  const sockets: Socket[] = [];
  t.after(() => sockets.forEach((socket) => socket.destroy()));
  const before = process.memoryUsage().rss;
  for (let opened = 0; opened < IDLE; opened += 250) {
    const some = Array.from({ length: Math.min(250, IDLE - opened) }, () => connect(port, "127.0.0.1"));
    sockets.push(...some);
    for (const socket of some) socket.on("error", () => undefined);
    await Promise.all(some.map((socket) => once(socket, "connect")));
  }
  const started = performance.now();
  for (let i = 0; i < 20; i += 1) assert.equal((await call("GET", "/health/live")).status, 200);
  const each = (performance.now() - started) / 20;
  const kib = (process.memoryUsage().rss - before) / 1024 / IDLE;
  t.diagnostic(`${IDLE} idle: ${each.toFixed(1)} ms a request, ${kib.toFixed(1)} KiB a connection, both ends together`);
  assert.ok(kib < 100, `${kib} KiB a connection`);
});

test("connections beyond the bound are refused, and those within it go on; HTTP and gRPC alike", async (t) => {
  const { port, grpcAddress, call } = await startGateway(t, { config: { maxConnections: 5 } });
  const grpcPort = Number(grpcAddress.split(":").at(-1));
  for (const each of [port, grpcPort]) {
    const sockets = Array.from({ length: 5 }, () => connect(each, "127.0.0.1"));
    t.after(() => sockets.forEach((socket) => socket.destroy()));
    await Promise.all(sockets.map((socket) => once(socket, "connect")));
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
