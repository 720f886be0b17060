// Secrets on loan and traces: what passes between a plugin, its host and the services behind it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { context, trace } from "@opentelemetry/api";
import { RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startTelemetry } from "@warren/service";
import { ofDigest, startMesh, textOf } from "./support/host.ts";
import { until } from "./support/until.ts";

test("a plugin leases the secrets it was granted, by its host's own identity, and they are revoked when it ends", async (t) => {
  const mesh = await startMesh(t);
  const vault = await mesh.nats.connect("secrets");
  const asked: { principal: string; name: string; pluginId: string; instanceId: string }[] = [];
  const revoked: string[] = [];
  const refuse = (): Promise<never> => Promise.reject(new RpcError(StatusCode.UNIMPLEMENTED, "not here"));
  await vault.serve(SecretsServiceDefinition, {
    putSecret: refuse,
    getSecret: refuse,
    listSecrets: refuse,
    deleteSecret: refuse,
    leaseSecret: ({ name, pluginId, instanceId }, ctx) => {
      asked.push({ principal: ctx.caller.principal, name, pluginId, instanceId });
      if (name === "gone") return Promise.reject(new RpcError(StatusCode.NOT_FOUND, "no such secret"));
      return Promise.resolve({ id: "lease-1", value: "s3cret-canary", version: 2, expireTime: new Date(0) });
    },
    revokeLeases: ({ instanceId }) => {
      revoked.push(instanceId);
      return Promise.resolve({});
    },
  });
  await mesh.startHost();
  const permissions = { required: ["secrets:lease:db.password"], optional: ["secrets:lease:gone"] };
  const digest = await mesh.upload({ flags: ["--host-channel"], permissions });
  await mesh.plugins.installPlugin({
    ...ofDigest(digest),
    grants: ["secrets:lease:db.password", "secrets:lease:gone"],
  });

  const lease = async (
    name: unknown,
  ): Promise<{ result?: Record<string, unknown>; error?: { message: string; data: { reason: string } } }> =>
    JSON.parse(
      textOf(await mesh.plugins.callTool({ pluginId: "tester", tool: "lease", arguments: { name } })),
    ) as never;
  assert.deepEqual((await lease("db.password")).result, {
    name: "db.password",
    value: "s3cret-canary",
    version: 2,
    expireTime: "1970-01-01T00:00:00.000Z",
  });
  assert.equal((await lease("other.password")).error?.data.reason, "PERMISSION_DENIED");
  assert.equal((await lease("db.password.more")).error?.data.reason, "PERMISSION_DENIED");
  assert.equal((await lease("*")).error?.data.reason, "PERMISSION_DENIED");
  assert.equal((await lease(42)).error?.data.reason, "INVALID_ARGUMENT");
  assert.equal((await lease("gone")).error?.data.reason, "NOT_FOUND");
  assert.deepEqual(
    asked.map(({ name }) => name),
    ["db.password", "gone"],
  );
  assert.ok(asked.every(({ principal, pluginId }) => principal === "service:plugin-host" && pluginId === "tester"));

  const { lines } = await mesh.plugins.getPluginLogs({ id: "tester" });
  assert.ok(lines.some(({ text }) => text.includes('refused the secret "other.password"')));
  assert.ok(!JSON.stringify(lines).includes("s3cret-canary"));
  await mesh.plugins.removePlugin({ id: "tester" });
  await until("its leases are revoked", () => revoked.includes(asked[0]?.instanceId ?? ""));
});

test("a plugin that asks for no host calls gets no channel for them", async (t) => {
  const mesh = await startMesh(t);
  const { sandbox } = await mesh.startHost();
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({})));
  assert.deepEqual(
    sandbox.started.map(({ spec }) => spec.hostChannel),
    [false],
  );
});

test("a tool call is one span, its context reaches the plugin, and the plugin's own spans hang below it", async (t) => {
  const telemetry = await startTelemetry({ service: "plugin-host", instanceId: "i1", version: "0", env: {} });
  t.after(async () => {
    await telemetry.shutdown();
    trace.disable();
    context.disable();
  });
  const mesh = await startMesh(t);
  const host = await mesh.startHost({ tracer: trace.getTracer("test") });
  await mesh.plugins.installPlugin(ofDigest(await mesh.upload({})));
  const { traceId, meta } = await trace.getTracer("test").startActiveSpan("caller", async (span) => {
    const answer = JSON.parse(
      textOf(await mesh.plugins.callTool({ pluginId: "tester", tool: "meta", arguments: { private: "canary" } })),
    ) as { traceparent: string };
    const spans = await mesh.plugins.callTool({ pluginId: "tester", tool: "spans" });
    assert.ok(!JSON.stringify(spans).includes("dev.warren/spans"));
    span.end();
    return { traceId: span.spanContext().traceId, meta: answer };
  });
  const recorded = telemetry.spans.read(traceId);
  const call = recorded.find(({ name }) => name === "tools/call meta");
  assert.ok(call);
  assert.equal(meta.traceparent, `00-${traceId}-${call.spanId}-01`);
  assert.equal(call.attributes?.["gen_ai.tool.name"], "meta");
  assert.equal(call.attributes?.["warren.plugin.id"], "tester");
  assert.ok(!JSON.stringify(recorded).includes("canary"));

  const parent = recorded.find(({ name }) => name === "tools/call spans");
  assert.ok(parent);
  const [foreign, ...others] = host.foreignSpans;
  assert.equal(others.length, 0, "a span that hangs on nothing is left out");
  assert.equal(foreign?.service, "plugin:tester");
  assert.equal(foreign?.span.traceId, traceId);
  assert.equal(foreign?.span.parentSpanId, parent.spanId);
  assert.ok(
    foreign && Math.abs(foreign.span.startTime - (parent.startTime?.getTime() ?? 0)) < 50,
    "a start a quarter of an hour ago is pulled into the call",
  );
});
