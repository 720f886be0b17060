import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { test, type TestContext } from "node:test";
import { bytesToJson, registry } from "@warren/contract";
import {
  AgentMessageSent,
  DeviceRevoked,
  PluginInstalled,
  PluginRemoved,
  SecretAccessed,
  SessionCreated,
} from "@warren/proto/warren/events/v1/events";
import { visibleFamilies } from "../../src/events/visibility.ts";
import { contractOf, encode, GrpcTestClient } from "../grpc/support.ts";
import { accessToken, addCredential, addKey, startGateway, type TestGateway, type TestOptions } from "../support.ts";
import { openSocket } from "../websocket-client.ts";

const EVENTS = "warren.gateway.v1.EventService/StreamEvents";

interface World extends TestGateway {
  /** Publishes one of each kind. */
  readonly happen: (pluginId?: string) => Promise<void>;
}

async function world(t: TestContext, options: TestOptions = {}): Promise<World> {
  const gateway = await startGateway(t, options);
  const { nats } = gateway;
  const [host, agent, auth, secrets] = await Promise.all([
    nats.connect("plugin-host"),
    nats.connect("agent"),
    nats.connect("auth"),
    nats.connect("secrets"),
  ]);
  const happen = async (pluginId = "clock"): Promise<void> => {
    const plugin = { pluginId, principal: "operator", time: undefined };
    await host.publish(
      PluginInstalled,
      { ...plugin, version: "1.0.0", packageDigest: "", grants: [] },
      { key: pluginId },
    );
    const mine = { sessionId: "s1", turnId: "t1", toolCalls: 0, time: undefined };
    await agent.publish(AgentMessageSent, { ...mine, principal: "device:d1" });
    await agent.publish(AgentMessageSent, { ...mine, principal: "operator" });
    await auth.publish(DeviceRevoked, { deviceId: "d1", reason: "lost", principal: "operator", time: undefined });
    await secrets.publish(SecretAccessed, {
      ...{ action: "get", name: "key", version: 1, principal: "operator", pluginId: "", time: undefined },
    });
    await host.publish(PluginRemoved, { ...plugin }, { key: pluginId });
  };
  return { ...gateway, happen };
}

/** Lines of JSON from a stream, as they come. */
function lines(url: string, token: string, accept = "application/x-ndjson") {
  const received: string[] = [];
  let wake: (() => void) | undefined;
  const outgoing = request(url, { headers: { authorization: `Bearer ${token}`, accept }, agent: false });
  const response = once(outgoing, "response").then(([incoming]) => {
    const message = incoming as IncomingMessage;
    let text = "";
    message.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      const parts = text.split("\n");
      text = parts.pop() ?? "";
      received.push(...parts.filter(Boolean));
      wake?.();
    });
    message.on("error", () => undefined);
    return message;
  });
  outgoing.on("error", () => undefined);
  outgoing.end();
  return {
    outgoing,
    response,
    async next(): Promise<string> {
      while (received.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return received.shift() ?? "";
    },
  };
}

const nameOf = (line: string): unknown => (JSON.parse(line) as { name: unknown }).name;

test("every event says who may be told of it; those of one principal name the field", () => {
  assert.deepEqual(visibleFamilies, ["agent", "plugin", "security", "session", "system"]);
  for (const type of registry)
    if (type.kind === "message" && type.file.proto.package === "warren.events.v1")
      for (const field of type.fields) assert.doesNotMatch(field.name, /value|token|code|password/, type.typeName);
});

test("each caller is told what it may see, by server-sent events, lines of JSON, WebSocket and gRPC", async (t) => {
  const { url, grpcAddress, operator, auth, happen } = await world(t);
  const scope = "events:read sessions:read plugins:read";
  const device = await accessToken(await addKey(auth), { scope });
  const plugins = await addCredential(auth, { kind: "api-key", scopes: ["events:read", "plugins:read"] });
  const all = lines(`${url}/v1/events`, operator);
  const own = lines(`${url}/v1/events`, device);
  const sse = lines(`${url}/v1/events?pattern=plugin.%3E&key=clock`, plugins, "text/event-stream");
  const socket = await openSocket(t, `${url}/v1/events?pattern=plugin.*`, plugins);
  const { call } = new GrpcTestClient(t, grpcAddress).open(EVENTS, encode(contractOf(EVENTS), { pattern: "agent.>" }), {
    token: device,
  });
  const grpcSeen: unknown[] = [];
  const grpcTwo = new Promise<void>((resolve) =>
    call.on("data", (bytes: Buffer) => {
      if (grpcSeen.push(bytesToJson(contractOf(EVENTS).output, bytes)) === 2) resolve();
    }),
  );
  for (const stream of [all, own]) assert.equal(nameOf(await stream.next()), "stream.started");
  assert.deepEqual(
    [await sse.next(), await sse.next()],
    ["event: message", 'data: {"name":"stream.started","key":""}'],
  );
  assert.deepEqual(await socket.next(), { name: "stream.started", key: "" });
  await once(call, "metadata");
  await happen("other");
  await happen();
  const wanted = [
    "plugin.installed",
    "agent.message.sent",
    "security.device.revoked",
    "security.secret.accessed",
    "plugin.removed",
  ];
  const seen: unknown[] = [];
  for (let i = 0; i < 10; i += 1) seen.push(nameOf(await all.next()));
  assert.deepEqual(
    seen.toSorted(),
    [...wanted, ...wanted].toSorted(),
    "the operator holds all, and owns its own messages",
  );
  const ofDevice: unknown[] = [];
  for (let i = 0; i < 6; i += 1) ofDevice.push(JSON.parse(await own.next()));
  assert.equal(ofDevice.filter((event) => /security/.test(JSON.stringify(event))).length, 0);
  assert.deepEqual(
    ofDevice
      .filter((event) => (event as { name: string }).name === "agent.message.sent")
      .map((event) => (event as { payload: { principal: string } }).payload.principal),
    ["device:d1", "device:d1"],
  );
  await sse.next();
  const data = JSON.parse((await sse.next()).slice("data: ".length)) as object;
  assert.partialDeepStrictEqual(data, {
    name: "plugin.installed",
    key: "clock",
    payload: { "@type": "type.googleapis.com/warren.events.v1.PluginInstalled", pluginId: "clock", version: "1.0.0" },
  });
  assert.partialDeepStrictEqual(await socket.next(), { name: "plugin.installed", key: "other" });
  await grpcTwo;
  assert.partialDeepStrictEqual(grpcSeen[1], { name: "agent.message.sent", payload: { principal: "device:d1" } });
  const none = await addCredential(auth, { kind: "api-key", scopes: ["plugins:read"] });
  const refused: [url: string, token: string, status: number][] = [
    [`${url}/v1/events`, none, 403],
    [`${url}/v1/events?pattern=plugin.%3E.x`, operator, 400],
    [`${url}/v1/events?pattern=%24JS.%3E`, operator, 400],
  ];
  for (const [path, token, status] of refused) {
    assert.equal((await lines(path, token).response).statusCode, status, path);
    await assert.rejects(openSocket(t, path, token), new RegExp(String(status)), path);
  }
  for (const { outgoing } of [all, own, sse]) outgoing.destroy();
  call.cancel();
});

test("a stream ends with its token: revoked or run out", async (t) => {
  const { url, auth } = await world(t);
  const key = await addKey(auth);
  const scope = "events:read";
  const device = await openSocket(t, `${url}/v1/events`, await accessToken(key, { scope }));
  const now = Math.floor(Date.now() / 1000);
  const short = await openSocket(
    t,
    `${url}/v1/events`,
    await accessToken(key, { scope, sub: "device:d2", exp: now + 2 }),
  );
  for (const { next } of [device, short]) await next();
  await auth.revocations.put("d1", {});
  for (const { next, closed } of [device, short]) {
    assert.partialDeepStrictEqual(await next(), { error: { status: 401, code: "TOKEN_ENDED" } });
    assert.deepEqual(await closed, { code: 1008, reason: "TOKEN_ENDED" });
  }
});

test("a reader that does not read is cut, and costs the gateway a bounded queue; others are told on", async (t) => {
  const { url, operator, nats } = await world(t, { sendTimeoutMs: 1_000 });
  const slow = await openSocket(t, `${url}/v1/events`, operator);
  const quick = await openSocket(t, `${url}/v1/events?pattern=session.created`, operator);
  await slow.next();
  await quick.next();
  slow.socket.pause();
  const agent = await nats.connect("agent");
  const big = { sessionId: "s", turnId: "x".repeat(100_000), principal: "operator", toolCalls: 0, time: undefined };
  for (let sent = 0; sent < 200; sent += 1) await agent.publish(AgentMessageSent, big);
  await agent.publish(SessionCreated, { sessionId: "s", principal: "operator", time: undefined });
  assert.partialDeepStrictEqual(await quick.next(), { name: "session.created" });
  // It has been told of all by now.
  slow.socket.resume();
  let last: unknown;
  for (let message = await slow.next(); message !== undefined; message = await slow.next()) last = message;
  // Cut without a word where it does not even take the news of its end.
  const { code } = await slow.closed;
  assert.ok([1006, 1013].includes(code), String(code));
  if (code === 1013) assert.partialDeepStrictEqual(last, { error: { code: "SLOW_READER" } });
});

test("a stop ends streams at once, and they say that it does", async (t) => {
  const { url, operator, gateway } = await world(t);
  const socket = await openSocket(t, `${url}/v1/events`, operator);
  const stream = lines(`${url}/v1/events`, operator);
  await Promise.all([socket.next(), stream.next()]);
  const stopped = gateway.drain(60_000);
  assert.partialDeepStrictEqual(await socket.next(), { error: { status: 503, code: "STOPPING" } });
  assert.equal((await socket.closed).code, 1001);
  assert.partialDeepStrictEqual(JSON.parse(await stream.next()), { error: { code: "STOPPING" } });
  await stopped;
});
