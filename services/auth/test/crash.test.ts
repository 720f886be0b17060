// The process of the auth service is killed between the check of what it is given and the issue of what it gives. What
// was given is spent, whoever asks again; and the next process, which knows nothing of the first, says so to the audit.
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { type Mesh, type RpcError, StatusCode } from "@warren/mesh";
import { AccessServiceDefinition, type ListAuditRequest } from "@warren/proto/warren/auth/v1/access";
import { AuditOutcome, AuthServiceDefinition, type CompletePairingRequest } from "@warren/proto/warren/auth/v1/auth";
import { silentLog, startNats, type TestNats, waitUntil } from "@warren/testing";
import { createAuth } from "../src/app.ts";
import { sealingKey } from "../src/config.ts";
import { normalizeCode } from "../src/pairing/code.ts";
import { type AuthStores, openStores } from "../src/stores.ts";
import { newDevice } from "./support/device.ts";
import { withCode } from "./support/errors.ts";

interface Death {
  readonly store: keyof AuthStores;
  readonly write: "create" | "update";
  readonly when: "before" | "after";
}

async function startDying(t: TestContext, nats: TestNats, death: Death): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, "support/dying-service.ts"), {
    env: {
      PATH: "",
      NATS_URL: nats.url,
      CREDENTIALS: nats.credentialsFile("auth"),
      DIE_AT_STORE: death.store,
      DIE_AT_WRITE: death.write,
      DIE_WHEN: death.when,
    },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  t.after(() => child.kill("SIGKILL"));
  await once(child, "message");
  return child;
}

function callers(gateway: Mesh) {
  const as = (principal: string, scopes: string[]) => ({
    assertion: gateway.assert({
      principal,
      tenant: "default",
      scopes,
      address: "203.0.113.1",
      expiresAt: Date.now() + 300_000,
    }),
  });
  return { nobody: () => as("anonymous", []), operator: () => as("operator", ["*"]) };
}

/** A call to a process that dies ends in one of these: nobody knows what became of it. */
function cutOff(error: RpcError): boolean {
  const codes: number[] = [StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED];
  return codes.includes(error.code);
}

test("killed between check and issue", { timeout: 120_000 }, async (t) => {
  const nats = await startNats(t);
  const gateway = await nats.connect("gateway");
  const auth = gateway.client(AuthServiceDefinition);
  const access = gateway.client(AccessServiceDefinition);
  const { nobody, operator } = callers(gateway);

  const begin = async (): Promise<CompletePairingRequest> => {
    const device = newDevice();
    const wish = { deviceName: "Laptop", publicKey: device.publicKey, scopes: [] };
    const { id, challenge } = await auth.startPairing(wish, nobody());
    const { pairings } = await auth.listPairings({}, operator());
    const code = normalizeCode(pairings.find((pairing) => pairing.id === id)?.code ?? "");
    const signature = device.prove(challenge, code, id);
    return { id, code, signature, totp: "", recoveryCode: "" };
  };
  const audited = (query: Partial<ListAuditRequest>): Promise<unknown> =>
    waitUntil("the audit", 10_000, async () => {
      const { entries } = await access.listAudit({ outcome: AuditOutcome.DENIED, ...query }, operator());
      return entries.length > 0 ? entries : undefined;
    });
  const devices = async (): Promise<number> =>
    (await auth.listDevices({ pageSize: 0, pageToken: "" }, operator())).devices.length;

  for (const [name, death, left] of [
    ["the pairing is spent, the device not yet made", { store: "devices", write: "create", when: "before" }, 0],
    ["the device is made, its tokens not yet issued", { store: "refresh", write: "create", when: "before" }, 1],
  ] as const)
    await t.test(`when ${name}, the code is refused, and audited as used`, async (t) => {
      const replica = await replicas(nats, t, death);
      const proof = await begin();
      const known = await devices();
      await assert.rejects(auth.completePairing(proof, nobody()), cutOff);
      await replica.next();
      // The attempt that died was counted, and is waited for like any other.
      await waitUntil("the end of the back-off", 20_000, async () => {
        const outcome = await auth.completePairing(proof, nobody()).catch((error: RpcError) => error.code);
        if (outcome === StatusCode.RESOURCE_EXHAUSTED) return undefined;
        assert.equal(outcome, StatusCode.UNAUTHENTICATED);
        return true;
      });
      assert.equal(await devices(), known + left);
      const entries = await audited({ action: "pairing.complete" });
      assert.partialDeepStrictEqual(entries, [{ reason: "used", resource: proof.id }]);
    });

  await t.test("when an attempt is counted but not judged, it counts", async (t) => {
    const replica = await replicas(nats, t, { store: "pairings", write: "update", when: "after" });
    const proof = await begin();
    await assert.rejects(auth.completePairing(proof, nobody()), cutOff);
    await replica.next();
    const { pairings } = await auth.listPairings({}, operator());
    assert.equal(pairings.find(({ id }) => id === proof.id)?.attempts, 1);
  });

  await t.test(
    "when a refresh token was used up and nothing issued, it gives the same successor, and that once",
    async (t) => {
      const replica = await replicas(nats, t, { store: "refresh", write: "update", when: "after" });
      const { refreshToken } = await auth.completePairing(await begin(), nobody());
      await assert.rejects(auth.refreshToken({ refreshToken }, nobody()), cutOff);
      await replica.next();
      const first = await auth.refreshToken({ refreshToken }, nobody());
      const again = await auth.refreshToken({ refreshToken }, nobody());
      assert.equal(first.refreshToken, again.refreshToken);
      const next = await auth.refreshToken({ refreshToken: first.refreshToken }, nobody());
      assert.notEqual(next.refreshToken, first.refreshToken);
      await assert.rejects(auth.refreshToken({ refreshToken }, nobody()), withCode("UNAUTHENTICATED"));
      const entries = await audited({ action: "token.refresh" });
      assert.partialDeepStrictEqual(entries, [{ reason: "reused" }]);
    },
  );
});

/** One replica of the service at a time: first the process that will die, then one that knows nothing of it. */
async function replicas(nats: TestNats, t: TestContext, death: Death) {
  const child = await startDying(t, nats, death);
  const died = once(child, "exit");
  return {
    next: async (): Promise<void> => {
      await died;
      assert.equal(child.signalCode, "SIGKILL");
      const mesh = await nats.connect("auth");
      const service = await createAuth({
        mesh,
        stores: await openStores(mesh),
        sealingKey: sealingKey({ meshCredentials: nats.credentialsFile("auth") }),
        log: silentLog,
      });
      await mesh.serve(AuthServiceDefinition, service.auth);
      await mesh.serve(AccessServiceDefinition, service.access);
      t.after(async () => {
        await service.close();
        await mesh.close();
      });
    },
  };
}
