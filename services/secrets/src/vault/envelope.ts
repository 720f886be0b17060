// Authenticated encryption of one value. The byte layout is documented in docs/reference/secret-payload.md.
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { PayloadError } from "./errors.ts";

/** Bytes of an AES-256 key. */
export const KEY_BYTES = 32;
/** Bytes of a key id on the wire. */
export const KEY_ID_BYTES = 8;

const PAYLOAD_VERSION = 1;
const AES_256_GCM = 1;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 2 + KEY_ID_BYTES;
const OVERHEAD_BYTES = HEADER_BYTES + IV_BYTES + TAG_BYTES;

/** A key and the id by which payloads name it. */
export interface SealingKey {
  /** 16 lower-case hexadecimal digits. */
  readonly id: string;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

/** What a payload belongs to. A payload opens only with the binding that it was sealed with, so it cannot be moved. */
export interface Binding {
  /** What the plaintext is, with its format's version: `warren.secrets.value/1`. */
  readonly schema: string;
  readonly tenant: string;
  readonly name: string;
  /** From 0 to 2³² − 1. */
  readonly version: number;
  /** Tells a secret from an earlier one of the same name, deleted since. */
  readonly uid: string;
}

/**
 * Seals `plaintext` by AES-256-GCM (NIST SP 800-38D) with a fresh random 96-bit IV: a key must not seal more than 2³² times.
 * Returns `v | alg | kid | iv | tag | ct`, 38 bytes longer than the plaintext.
 */
export function seal(key: SealingKey, plaintext: Uint8Array, binding: Binding): Buffer {
  const header = Buffer.from([PAYLOAD_VERSION, AES_256_GCM, ...Buffer.from(key.id, "hex")]);
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key.key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(header, binding));
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  return Buffer.concat([header, iv, cipher.getAuthTag(), ciphertext]);
}

/** The id of the key that sealed `payload`. Throws PayloadError when it is cut short or of a format that this code does not know. */
export function sealedBy(payload: Uint8Array): string {
  const bytes = view(payload);
  if (bytes[0] !== undefined && bytes[0] !== PAYLOAD_VERSION) {
    const message = `The payload has format ${bytes[0]}; this vault knows ${PAYLOAD_VERSION}: run a version that knows it`;
    throw new PayloadError("unsupported_version", message);
  }
  if (bytes.length < OVERHEAD_BYTES) {
    throw new PayloadError(
      "truncated",
      `The payload has ${bytes.length} bytes, fewer than the ${OVERHEAD_BYTES} of an empty one`,
    );
  }
  if (bytes[1] !== AES_256_GCM) {
    throw new PayloadError(
      "unsupported_algorithm",
      `The payload names algorithm ${bytes[1]}, which this vault does not know`,
    );
  }
  return bytes.toString("hex", 2, HEADER_BYTES);
}

/**
 * Opens what `seal` made with the same key and binding. The caller zeroes the returned buffer when it is done with it.
 * Throws PayloadError; nothing of the plaintext leaves before it is authenticated.
 */
export function open(key: SealingKey, payload: Uint8Array, binding: Binding): Buffer {
  if (sealedBy(payload) !== key.id)
    throw new PayloadError("unknown_key", `The payload was not sealed by key ${key.id}`);
  const bytes = view(payload);
  const iv = bytes.subarray(HEADER_BYTES, HEADER_BYTES + IV_BYTES);
  const tag = bytes.subarray(HEADER_BYTES + IV_BYTES, OVERHEAD_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key.key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(additionalData(bytes.subarray(0, HEADER_BYTES), binding));
  decipher.setAuthTag(tag);
  const plaintext = decipher.update(bytes.subarray(OVERHEAD_BYTES));
  try {
    // GCM keeps nothing back: this yields no bytes, it checks the tag.
    decipher.final();
  } catch {
    plaintext.fill(0);
    throw new PayloadError(
      "unauthentic",
      "The payload was changed, or belongs to another tenant, name, version or key",
    );
  }
  return plaintext;
}

/** Every field with its length before it: no two bindings give the same bytes. */
function additionalData(header: Uint8Array, binding: Binding): Buffer {
  const version = Buffer.alloc(4);
  version.writeUInt32BE(binding.version);
  const texts = [binding.schema, binding.tenant, binding.name, binding.uid].map((text) => Buffer.from(text, "utf8"));
  return Buffer.concat([header, version, ...texts.flatMap((text) => [lengthOf(text), text])]);
}

function lengthOf(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return length;
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
