import assert from "node:assert/strict";
import test from "node:test";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { silentLog, startNats, waitUntil } from "@warren/testing";
import { LoadShedding } from "../src/load-shedding.ts";
import { codeOf, serveSecrets } from "./support.ts";

/** A replica's event loop as a test sets it. */
function replica(others: boolean) {
  const state = { lagMs: 0, joined: true, left: 0 };
  const shedding = new LoadShedding({
    leave: () => {
      state.joined = false;
      state.left += 1;
      return Promise.resolve();
    },
    join: () => {
      state.joined = true;
    },
    othersServe: () => Promise.resolve(others),
    log: silentLog,
    lagMs: () => state.lagMs,
    everyMs: 2,
  });
  return { state, shedding };
}

test("a replica that lags steps aside, and comes back when it keeps up", async (t) => {
  const { state, shedding } = replica(true);
  t.after(() => shedding.stop());
  state.lagMs = 1000;
  await waitUntil("its leaving", 2000, () => (state.joined ? undefined : true));
  assert.equal(shedding.aside, true);
  state.lagMs = 100; // Better, but not yet well.
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(state.joined, false);
  state.lagMs = 1;
  await waitUntil("its return", 2000, () => (state.joined ? true : undefined));
});

test("the only replica never steps aside", async (t) => {
  const { state, shedding } = replica(false);
  t.after(() => shedding.stop());
  state.lagMs = 1000;
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(state.left, 0);
});

test("of two real replicas, calls go to the one that is not blocked", async (t) => {
  const nats = await startNats(t);
  const [gateway, quick, blocked] = await Promise.all([
    nats.connect("gateway"),
    nats.connect("secrets"),
    nats.connect("secrets"),
  ]);
  await serveSecrets(quick, { getSecret: async () => ({ name: "quick" }) });
  await serveSecrets(blocked, { getSecret: async () => ({ name: "blocked" }) });
  const secrets = gateway.client(SecretsServiceDefinition);
  const answered = new Set<string>();
  for (let i = 0; i < 50; i++) answered.add((await secrets.getSecret({ name: "a" })).name);
  assert.deepEqual([...answered].toSorted(), ["blocked", "quick"]);
  await blocked.stepAside();
  for (let i = 0; i < 50; i++) assert.equal((await secrets.getSecret({ name: "a" })).name, "quick");
  blocked.comeBack();
  await waitUntil("its return", 2000, async () =>
    (await secrets.getSecret({ name: "a" })).name === "blocked" ? true : undefined,
  );
  assert.equal(await codeOf(secrets.getSecret({ name: "a" })), 0);
});
