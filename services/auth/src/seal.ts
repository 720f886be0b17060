// Values that this service alone may read at rest: AES-256-GCM (NIST SP 800-38D) under a key of one purpose each,
// derived by HKDF-SHA256 (RFC 5869) from the service's own secret.
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";

const IV_BYTES = 12;
const TAG_BYTES = 16;
const VERSION = "v1";

/** A 32-byte key for one purpose. Keys of different purposes tell nothing of each other. */
export function deriveKey(secret: Uint8Array, purpose: string): Buffer {
  if (secret.length !== 32) throw new Error(`The sealing key has ${secret.length} bytes: it must have 32`);
  return Buffer.from(hkdfSync("sha256", secret, "", `warren-auth-v1:${purpose}`, 32));
}

/** Seals and opens the values of one purpose. `context` (the record it belongs to) is bound: a value moved elsewhere does not open. */
export interface Sealer {
  seal(plaintext: string, context: string): string;
  /** @throws Error when the value was sealed with another key, for another context, or was changed. */
  open(sealed: string, context: string): string;
}

/** A sealer for one purpose under `secret` (32 bytes). */
export function createSealer(secret: Uint8Array, purpose: string): Sealer {
  const key = deriveKey(secret, purpose);
  return {
    seal(plaintext, context) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv("aes-256-gcm", key, iv).setAAD(Buffer.from(context));
      const sealed = Buffer.concat([iv, cipher.update(plaintext, "utf8"), cipher.final(), cipher.getAuthTag()]);
      return `${VERSION}.${sealed.toString("base64url")}`;
    },
    open(sealed, context) {
      const [version, body] = sealed.split(".");
      const bytes = Buffer.from(body ?? "", "base64url");
      if (version !== VERSION || bytes.length < IV_BYTES + TAG_BYTES) throw new Error("A sealed value is malformed");
      const decipher = createDecipheriv("aes-256-gcm", key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
        .setAAD(Buffer.from(context))
        .setAuthTag(bytes.subarray(-TAG_BYTES));
      const plaintext = Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
      return plaintext.toString("utf8");
    },
  };
}
