import assert from "node:assert/strict";
import { test } from "node:test";
import { TelemetryServiceDefinition, type ServiceHealth } from "@warren/proto/warren/telemetry/v1/telemetry";
import { type TestNats, waitUntil } from "@warren/testing";
import { addCredential, startGateway } from "../support.ts";

async function serve(nats: TestNats, service: string, status: number, message = ""): Promise<void> {
  const mesh = await nats.connect(service);
  const answer = {
    service,
    instanceId: mesh.instanceId,
    version: "1",
    status,
    checks: [{ name: "disk", status, message, durationMs: 1 }],
  } as ServiceHealth;
  await mesh.serve(TelemetryServiceDefinition, {
    getTrace: () => Promise.resolve({}),
    getHealth: () => Promise.resolve(answer),
  });
}

test("health is joined from every service, and a service that nobody answers for is unhealthy", async (t) => {
  const { call, nats, auth } = await startGateway(t, { services: ["agent", "secrets"] });
  await serve(nats, "agent", 1);
  const part = await call("GET", "/health?detailed=true");
  assert.equal(part.status, 503);
  assert.equal(part.json["status"], "unhealthy");
  assert.partialDeepStrictEqual(part.json["services"], [
    { service: "agent", status: "healthy" },
    { service: "secrets", status: "unhealthy", replicas: [] },
  ]);
  await serve(nats, "secrets", 2, "the disk at /srv is nearly full");
  const whole = await waitUntil("The new answer", 5000, async () => {
    const answer = await call("GET", "/health?detailed=true");
    return answer.status === 200 ? answer : undefined;
  });
  assert.equal(whole.json["status"], "degraded");
  assert.match(whole.text, /nearly full/);
  const brief = await call("GET", "/health?detailed=true", { anonymous: true });
  assert.equal(brief.json["status"], "degraded");
  assert.doesNotMatch(brief.text, /nearly full|instanceId/, "reasons are for those who may know them");
  const other = await addCredential(auth, { scopes: ["chat"] });
  assert.doesNotMatch(
    (await call("GET", "/health?detailed=true", { headers: { authorization: `Bearer ${other}` } })).text,
    /nearly full/,
  );
});

test("one sick replica among well ones degrades its service, no more", async (t) => {
  const { call, nats } = await startGateway(t, { services: ["agent"] });
  await serve(nats, "agent", 1);
  await serve(nats, "agent", 3, "out of memory");
  const { status, json } = await call("GET", "/health?detailed=true");
  assert.deepEqual([status, json["status"]], [200, "degraded"]);
});

test("without NATS the gateway lives, is not ready, answers 503, and comes back", async (t) => {
  const { call, nats } = await startGateway(t, { handlers: { agent: { listSessions: () => Promise.resolve({}) } } });
  assert.equal((await call("GET", "/health/ready")).status, 200);
  await nats.kill();
  await waitUntil("The loss", 5000, async () => (await call("GET", "/health/ready")).status === 503 || undefined);
  assert.equal((await call("GET", "/health/live")).status, 200);
  const refused = await call("GET", "/v1/sessions");
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers.get("retry-after")) >= 1);
  await nats.start();
  await waitUntil(
    "The return",
    10_000,
    async () =>
      ((await call("GET", "/v1/sessions")).status === 200 && (await call("GET", "/health/ready")).status === 200) ||
      undefined,
  );
});
