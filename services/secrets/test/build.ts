import { join } from "node:path";
import type { TestContext } from "node:test";
import { memoryStore } from "../src/store/memory.ts";
import type { SecretStore } from "../src/store/store.ts";
import { type KeyRing, type KeyRingOptions, openKeyRing } from "../src/vault/key-ring.ts";
import { fileRootKey } from "../src/vault/root-key.ts";
import { hasSecrets, Vault } from "../src/vault/vault.ts";
import { folder } from "./folder.ts";

/** The back ends that replicas share. */
export interface Backend {
  readonly secrets: SecretStore;
  readonly keyring: SecretStore;
  readonly rootKeyFile: string;
}

/** Back ends in memory, and a place for a root key. */
export async function backend(t: TestContext): Promise<Backend> {
  return { secrets: memoryStore(), keyring: memoryStore(), rootKeyFile: join(await folder(t), "root-key") };
}

/** Opens the ring of one replica. */
export async function ringOn(t: TestContext, on: Backend, options: Partial<KeyRingOptions> = {}): Promise<KeyRing> {
  const ring = await openKeyRing({
    store: on.keyring,
    rootKey: fileRootKey(on.rootKeyFile),
    hasSecrets: () => hasSecrets(on.secrets),
    ...options,
  });
  t.after(() => ring.close());
  return ring;
}

/** One replica of the vault, with a clock that ticks a millisecond for each question. */
export async function vaultOn(t: TestContext, on: Backend): Promise<Vault> {
  let time = Date.UTC(2026, 0, 1);
  return new Vault({ store: on.secrets, ring: await ringOn(t, on), now: () => (time += 1) });
}

/** What an attacker with the bucket can do: change the stored bytes of a key. */
export async function tamper(store: SecretStore, key: string, change: (bytes: Buffer) => Uint8Array): Promise<void> {
  const entry = await store.read(key);
  if (!entry) throw new Error(`Nothing is stored at ${key}`);
  const revision = await store.write(key, change(Buffer.from(entry.value)), entry.revision);
  if (revision === undefined) throw new Error(`Someone else wrote ${key}`);
}
