import assert from "node:assert/strict";
import test from "node:test";
import type { Msg } from "@nats-io/transport-node";
import { methodContract } from "@warren/contract";
import type { Connection, OnMessage } from "../src/connection.ts";
import { serveDiscovery } from "../src/discovery.ts";
import { EndpointStats } from "../src/endpoint.ts";
import type { Server } from "../src/server.ts";

const REPLY = "_INBOX.operator.a.0";

/** Discovery of a service with one method, and how to ask it. */
function discovered(stats: EndpointStats) {
  const listeners = new Map<string, OnMessage>();
  const published: { subject: string; answer: Record<string, unknown> }[] = [];
  const connection = {
    subscribe: (subject: string, onMessage: OnMessage) => listeners.set(subject, onMessage),
    nats: {
      publish: (subject: string, text: string) =>
        published.push({ subject, answer: JSON.parse(text) as Record<string, unknown> }),
    },
  } as unknown as Connection;
  const method = methodContract("warren.secrets.v1.SecretsService", "GetSecret");
  const server = { serving: true, endpoints: new Map([[method.path, { method, stats }]]) } as unknown as Server;
  serveDiscovery({
    name: "secrets",
    instanceId: "s-1",
    version: "1.2.3",
    description: "Keeps secrets.",
    connection,
    server,
  });
  const ask = (subject: string, reply: string | undefined = REPLY): Record<string, unknown> | undefined => {
    published.length = 0;
    listeners.get(subject)?.({ reply } as Msg);
    assert.ok(published.every((each) => each.subject === reply));
    return published[0]?.answer;
  };
  return { ask, subjects: [...listeners.keys()] };
}

test("a service answers for all, for its name and for itself, as ADR-32 has it", () => {
  const { ask, subjects } = discovered(new EndpointStats());
  assert.equal(subjects.length, 9);
  for (const suffix of ["", ".secrets", ".secrets.s-1"]) {
    assert.deepEqual(ask(`$SRV.PING${suffix}`), {
      name: "secrets",
      id: "s-1",
      version: "1.2.3",
      metadata: { serving: "true" },
      type: "io.nats.micro.v1.ping_response",
    });
    const info = ask(`$SRV.INFO${suffix}`);
    assert.deepEqual([info?.["type"], info?.["description"]], ["io.nats.micro.v1.info_response", "Keeps secrets."]);
    assert.deepEqual(info?.["endpoints"], [
      {
        name: "warren_secrets_v1_SecretsService_GetSecret",
        subject: "mesh.warren.secrets.v1.SecretsService.GetSecret",
        queue_group: "secrets",
        metadata: { contract: methodContract("warren.secrets.v1.SecretsService", "GetSecret").hash },
      },
    ]);
  }
});

test("its statistics count calls, failures and times", () => {
  const stats = new EndpointStats();
  for (let ms = 1; ms <= 100; ms++) stats.record(ms, ms === 7 ? "NOT_FOUND: there is none" : undefined);
  const answer = discovered(stats).ask("$SRV.STATS");
  const [endpoint] = (answer?.["endpoints"] ?? []) as Record<string, unknown>[];
  assert.deepEqual([endpoint?.["num_requests"], endpoint?.["num_errors"]], [100, 1]);
  assert.equal(endpoint?.["last_error"], "NOT_FOUND: there is none");
  assert.equal(endpoint?.["processing_time"], 5050 * 1e6);
  assert.equal(endpoint?.["average_processing_time"], 50.5 * 1e6);
  assert.deepEqual(endpoint?.["data"], { p50Ms: 51, p99Ms: 100 });
  const untouched = discovered(new EndpointStats()).ask("$SRV.STATS")?.["endpoints"] ?? [];
  const [none] = untouched as Record<string, unknown>[];
  assert.deepEqual([none?.["average_processing_time"], none?.["data"]], [0, { p50Ms: 0, p99Ms: 0 }]);
});

test("the times are those of the last calls alone", () => {
  const stats = new EndpointStats();
  for (let i = 0; i < 1000; i++) stats.record(5000);
  for (let i = 0; i < 512; i++) stats.record(1);
  assert.equal(stats.quantileMs(1), 1);
});

test("whoever asks cannot make a service publish anywhere but to an inbox", () => {
  const { ask } = discovered(new EndpointStats());
  for (const reply of ["events.security.forged", "_INBOX.>", "mesh.x.y", ""])
    assert.equal(ask("$SRV.PING", reply), undefined);
});
