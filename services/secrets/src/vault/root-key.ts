// The key that seals the key ring: from a file of this machine, or from a passphrase.
import { createHmac, randomBytes, scrypt, type ScryptOptions } from "node:crypto";
import { KEY_BYTES, KEY_ID_BYTES, type SealingKey } from "./envelope.ts";
import { KeyRingError } from "./errors.ts";
import { createPrivateFile, readPrivateFile } from "./private-file.ts";

/** What is stored beside the ring, in the clear, to find the root key again. Bound to the ring: a changed one does not open it. */
export type RootKeyHeader =
  | { readonly kind: "file" }
  | { readonly kind: "passphrase"; readonly N: number; readonly r: number; readonly p: number; readonly salt: string };

/** A way to come by the root key. Callers zero the keys they are given. Both methods throw KeyRingError. */
export interface RootKey {
  readonly kind: RootKeyHeader["kind"];
  /** The key for a ring that does not exist yet. */
  establish(): Promise<{ readonly header: RootKeyHeader; readonly key: Buffer }>;
  /** The key for the ring stored with `header`, which is of this kind. Never makes a new one. */
  unlock(header: RootKeyHeader): Promise<Buffer>;
  /** Where the key comes from, for messages: never the key. */
  readonly source: string;
}

/** A kind of root key and the file that it comes from. */
export interface RootKeySource {
  readonly kind: RootKeyHeader["kind"];
  readonly path: string;
}

// RFC 7914, with the cost that OWASP's password storage cheat sheet asks for: 128 MiB and some 0.4 s, once at the start.
const SCRYPT = { N: 2 ** 17, r: 8, p: 1 } as const;
const MAX_SCRYPT_N = 2 ** 20;
const SALT_BYTES = 16;
const MIN_PASSPHRASE_BYTES = 12;

/** How to go on without the root key, for messages. */
export const RECOVERY =
  'Put the right one back from a backup or from the machine that first started the vault. To start over and lose every stored secret, stop the secrets service and delete the buckets "secrets" and "secrets_keyring"';

/** The root key that a configuration names. Reads nothing yet. */
export function rootKeyFrom({ kind, path }: RootKeySource): RootKey {
  return kind === "file" ? fileRootKey(path) : passphraseRootKey(path);
}

/** A root key of 32 random bytes in a file of mode 0600, bound to the machine that has the file. Created when the first ring is. */
export function fileRootKey(path: string): RootKey {
  return {
    kind: "file",
    source: `the root key file ${path}`,
    async establish() {
      const found = await readKey(path);
      if (found) return { header: { kind: "file" }, key: found };
      const fresh = randomBytes(KEY_BYTES);
      const created = await createPrivateFile(path, fresh);
      if (created) return { header: { kind: "file" }, key: fresh };
      fresh.fill(0);
      return { header: { kind: "file" }, key: await this.unlock({ kind: "file" }) };
    },
    async unlock() {
      const found = await readKey(path);
      if (found) return found;
      throw new KeyRingError(
        "root_key_missing",
        `The key ring needs a root key file, and there is none at ${path}. ${RECOVERY}`,
      );
    },
  };
}

/** A root key derived by scrypt from the passphrase in the file at `path` (one trailing line break is not part of it). */
export function passphraseRootKey(path: string): RootKey {
  return {
    kind: "passphrase",
    source: `the passphrase in ${path}`,
    async establish() {
      const salt = randomBytes(SALT_BYTES);
      const header = { kind: "passphrase", ...SCRYPT, salt: salt.toString("base64") } as const;
      return { header, key: await derive(path, salt, SCRYPT) };
    },
    async unlock(header) {
      if (header.kind !== "passphrase" || !isSound(header)) {
        throw new KeyRingError(
          "ring_damaged",
          `The key ring names scrypt parameters that the vault never writes. ${RECOVERY}`,
        );
      }
      return derive(path, Buffer.from(header.salt, "base64"), header);
    },
  };
}

/** A root key with its id, by which a wrong key is told from a damaged ring. The id says nothing of the key. */
export function identified(key: Buffer): SealingKey {
  const digest = createHmac("sha256", key).update("warren.secrets.root-key-id/1").digest();
  return { id: digest.toString("hex", 0, KEY_ID_BYTES), key };
}

async function readKey(path: string): Promise<Buffer | undefined> {
  const bytes = await readPrivateFile(path);
  if (!bytes || bytes.length === KEY_BYTES) return bytes;
  const message = `The root key file ${path} has ${bytes.length} bytes instead of ${KEY_BYTES}: it is damaged or another file. ${RECOVERY}`;
  bytes.fill(0);
  throw new KeyRingError("root_key_unsafe", message);
}

async function derive(path: string, salt: Buffer, cost: { N: number; r: number; p: number }): Promise<Buffer> {
  const bytes = await readPrivateFile(path);
  if (!bytes) throw new KeyRingError("root_key_missing", `There is no passphrase file at ${path}. ${RECOVERY}`);
  try {
    const passphrase = withoutLineBreak(bytes);
    if (passphrase.length < MIN_PASSPHRASE_BYTES) {
      const message = `The passphrase in ${path} has fewer than ${MIN_PASSPHRASE_BYTES} bytes: choose a longer one`;
      throw new KeyRingError("root_key_unsafe", message);
    }
    // scrypt takes 128·N·r bytes and a little; Node's own bound of 32 MiB is too small for this cost.
    return await deriveScrypt(passphrase, salt, { N: cost.N, r: cost.r, p: cost.p, maxmem: 256 * cost.N * cost.r });
  } finally {
    bytes.fill(0);
  }
}

function deriveScrypt(passphrase: Buffer, salt: Buffer, options: ScryptOptions): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, KEY_BYTES, options, (error, key) => (error ? reject(error) : resolve(key)));
  });
}

/** The header is read before it can be authenticated: it must not make the vault derive for hours, nor cheaply. */
function isSound({ N, r, p }: { N: number; r: number; p: number }): boolean {
  return r === SCRYPT.r && p === SCRYPT.p && Number.isInteger(Math.log2(N)) && N >= SCRYPT.N && N <= MAX_SCRYPT_N;
}

function withoutLineBreak(bytes: Buffer): Buffer {
  const text = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
  return text.at(-1) === 0x0d ? text.subarray(0, -1) : text;
}
