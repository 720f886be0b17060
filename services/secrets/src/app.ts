// The wiring of the service: stores, key ring, vault, leases and handlers. Tests build it as main does.
import { bytesCodec, type Mesh } from "@warren/mesh";
import { type Health, type Logger, Registry } from "@warren/service";
import { SecretAccessed } from "@warren/proto/warren/events/v1/events";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { createHandlers } from "./handlers.ts";
import { Leases } from "./leases.ts";
import { countAccesses, showLeases } from "./metrics.ts";
import { jetstreamStore } from "./store/jetstream.ts";
import { openKeyRing } from "./vault/key-ring.ts";
import { RollbackWatch } from "./vault/rollback.ts";
import type { RootKey } from "./vault/root-key.ts";
import { hasSecrets, Vault } from "./vault/vault.ts";

/** What the service stands on. */
export interface SecretsOptions {
  readonly mesh: Pick<Mesh, "kv" | "publish" | "serve">;
  readonly rootKey: RootKey;
  readonly log: Logger;
  readonly health?: Pick<Health, "check">;
  /** The generation that a person has agreed to go back behind, after restoring a backup on purpose. */
  readonly acceptGeneration?: number | undefined;
  /** Where accesses are counted; absent: nowhere that anybody sees. */
  readonly registry?: Registry;
}

/** The running service. */
export interface Secrets {
  readonly leases: Leases;
  /** Zeroes the keys. Call it when no call is in flight any more. */
  stop(): Promise<void>;
}

/** Opens the vault and serves it. Rejects with KeyRingError, and serves nothing, when the key ring cannot be opened. */
export async function createSecrets({
  mesh,
  rootKey,
  log,
  health,
  acceptGeneration,
  registry = new Registry(),
}: SecretsOptions): Promise<Secrets> {
  const store = jetstreamStore(await mesh.kv("secrets", bytesCodec));
  const ring = await openKeyRing({
    store: jetstreamStore(await mesh.kv("secrets_keyring", bytesCodec)),
    rootKey,
    hasSecrets: () => hasSecrets(store),
  });
  const rollback = new RollbackWatch({
    store,
    ring,
    accepted: acceptGeneration,
    onRollback: (notice) => log.error(notice),
    onError: (err) => log.warn({ err }, "The newest revision of the bucket could not be stored with the key ring"),
  });
  await rollback.start();
  const vault = new Vault({ store, ring, observeWrite: rollback.observeWrite });
  const leases = new Leases();
  showLeases(registry, leases);
  const audit = countAccesses(registry, (event) => mesh.publish(SecretAccessed, event));
  health?.check("vault", async () => {
    await ring.check();
    if (rollback.notice !== undefined)
      return { degraded: "The bucket of secrets was set back: the log says what to do" };
  });
  await mesh.serve(SecretsServiceDefinition, createHandlers({ vault, leases, audit, log }));
  log.info({ rootKey: rootKey.kind, keys: ring.keyIds.length }, "The vault is open");
  return {
    leases,
    stop: async () => {
      await rollback.stop();
      ring.close();
    },
  };
}
