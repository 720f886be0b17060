import assert from "node:assert/strict";
import test from "node:test";
import { jsonCodec, lostRace, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { startNatsCluster, waitUntil } from "@warren/testing";
import { codeOf, serveSecrets } from "./support.ts";

const CALLERS = 128;
/** How often a replica goes and another comes. */
const REMOVALS = Number(process.env["WARREN_SOAK"] ? 30 : 10);
const CALLS_EACH = 500;

for (const size of [1, 3])
  test(`replicas that come and go under ${CALLERS} callers lose no call, with ${size} NATS server(s)`, async (t) => {
    const nats = await startNatsCluster(t, size);
    // As between machines: what one server knows of another's subscriptions is always a little old.
    nats.delayRoutes(5);
    const at = (index: number) => ({ servers: [nats.urls[index % size] as string] });
    const gateways = await Promise.all([0, 1].map((index) => nats.connect("gateway", at(index))));
    const clients = gateways.map((gateway) => gateway.client(SecretsServiceDefinition));
    const replica = async (index: number): Promise<Mesh> => {
      const mesh = await nats.connect("secrets", at(index));
      await serveSecrets(mesh, {
        getSecret: async ({ name }) => {
          ran += 1;
          await new Promise((resolve) => setTimeout(resolve, 1));
          return { name };
        },
      });
      return mesh;
    };
    const failures: unknown[] = [];
    let calls = 0;
    let ran = 0;
    let running = true;
    const current = [await replica(0), await replica(1)];
    const callers = Array.from({ length: CALLERS }, async (_, index) => {
      while (running) {
        calls += 1;
        await clients[index % clients.length]?.getSecret({ name: "a" }).catch((error: unknown) => failures.push(error));
      }
    });
    for (let i = 0; i < REMOVALS; i++) {
      current.push(await replica(i + 2));
      const seen = calls;
      await waitUntil("more calls", 20_000, () => (calls >= seen + CALLS_EACH ? true : undefined));
      const leaving = current.shift();
      await leaving?.drain();
      await leaving?.close();
    }
    running = false;
    await Promise.all(callers);
    assert.deepEqual(failures, []);
    assert.equal(ran, calls, "each call ran once");
    assert.ok(calls >= REMOVALS * CALLS_EACH);
  });
