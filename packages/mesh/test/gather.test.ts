import assert from "node:assert/strict";
import test from "node:test";
import { methodContract } from "@warren/contract";
import { type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { Trace, TelemetryServiceDefinition } from "@warren/proto/warren/telemetry/v1/telemetry";
import { startNats, waitUntil } from "@warren/testing";
import { codeOf } from "./support.ts";

const getTrace = methodContract(TelemetryServiceDefinition.fullName, "GetTrace");
const REQUEST = Buffer.concat([Uint8Array.of(10, 32), Buffer.from("a".repeat(32))]);

/** Serves telemetry whose one span bears this name; none: it fails. */
function tell(mesh: Mesh, name: string | undefined): Promise<void> {
  return mesh.serve(TelemetryServiceDefinition, {
    getTrace: ({ traceId }) =>
      name === undefined
        ? Promise.reject(new RpcError(StatusCode.FAILED_PRECONDITION, "no traces here"))
        : Promise.resolve({ spans: [{ traceId, name }] }),
    getHealth: () => Promise.resolve({}),
  });
}

test("what every replica of every service knows is gathered into one answer", async (t) => {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway");
  const names = ["secrets", "secrets", "auth", "agent"];
  const meshes = await Promise.all(names.map((service) => nats.connect(service)));

  await t.test("where nobody is, nothing is known, and that at once", async () => {
    const started = performance.now();
    assert.deepEqual(await gateway.gather(getTrace, REQUEST), []);
    assert.ok(performance.now() - started < 1500);
  });
  await Promise.all(meshes.slice(0, 3).map((mesh, i) => tell(mesh, `span-${i}`)));
  await t.test("each replica answers once, also those of one service, and the answers join", async () => {
    const answers = await gateway.gather(getTrace, REQUEST);
    assert.equal(answers.length, 3);
    const { spans } = Trace.decode(Buffer.concat(answers));
    assert.deepEqual(spans.map(({ name }) => name).toSorted(), ["span-0", "span-1", "span-2"]);
  });
  await t.test("one that fails does not spoil what the others know", async () => {
    const failing = meshes[3];
    assert.ok(failing);
    await tell(failing, undefined);
    assert.equal((await gateway.gather(getTrace, REQUEST)).length, 3);
    await Promise.all(meshes.slice(0, 3).map((mesh) => mesh.drain(100)));
    assert.equal(await codeOf(gateway.gather(getTrace, REQUEST)), StatusCode.FAILED_PRECONDITION);
  });
  await t.test("a deadline that has passed asks nobody, and nothing waits afterwards", async () => {
    const late = gateway.gather(getTrace, REQUEST, { deadline: performance.now() - 1 });
    assert.equal(await codeOf(late), StatusCode.DEADLINE_EXCEEDED);
    await waitUntil("the end of every wait", 2000, () => (gateway.load.routes === 0 ? true : undefined));
  });
});
