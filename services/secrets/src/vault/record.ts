// One secret as it is stored: a single entry with its description and its last versions, so that one compare-and-set writes all of it.
import type { Binding } from "./envelope.ts";
import { joinFrames, splitFrames } from "./frames.ts";
import { PayloadError } from "./errors.ts";

/** What is known of a secret beside its values. */
export interface SecretRecord {
  /** Random, given when the secret is created: values of an earlier secret of the same name do not open in this one. */
  readonly uid: string;
  readonly description: string;
  /** Milliseconds since 1970. */
  readonly createTime: number;
  /** The kept versions, oldest first. Never empty. */
  readonly versions: readonly VersionRecord[];
}

/** One kept version. */
export interface VersionRecord {
  /** From 1, without gaps. */
  readonly version: number;
  /** Milliseconds since 1970. */
  readonly createTime: number;
}

/** A secret as it is stored: the sealed record, and the sealed values in the order of its versions. */
export interface SealedSecret {
  readonly record: Uint8Array;
  readonly values: readonly Uint8Array[];
}

/** What the key ring does for the vault. */
export interface Sealer {
  seal(plaintext: Uint8Array, binding: Binding): Promise<Buffer>;
  open(payload: Uint8Array, binding: Binding): Promise<Buffer>;
}

/** Whose secret it is, and what it is called. */
export interface SecretId {
  readonly tenant: string;
  readonly name: string;
}

/** The bytes to store. */
export function encodeSecret(sealed: SealedSecret): Buffer {
  return joinFrames([sealed.record, ...sealed.values]);
}

/** Splits stored bytes, opening nothing. Throws PayloadError. */
export function decodeSecret(bytes: Uint8Array): SealedSecret {
  const [record, ...values] = splitFrames(bytes);
  if (!record) throw new PayloadError("truncated", "The entry has no record");
  return { record, values };
}

/** Seals what is known of a secret. */
export function sealRecord(sealer: Sealer, id: SecretId, record: SecretRecord): Promise<Buffer> {
  return sealer.seal(Buffer.from(JSON.stringify(record), "utf8"), recordBinding(id));
}

/** Opens what `sealRecord` made, and checks that there is a value for each version. Rejects with PayloadError. */
export async function openRecord(sealer: Sealer, id: SecretId, sealed: SealedSecret): Promise<SecretRecord> {
  const opened = await sealer.open(sealed.record, recordBinding(id));
  // Sealed by a vault, so of this shape: the schema in the binding names it.
  const record = JSON.parse(opened.toString("utf8")) as SecretRecord;
  if (record.versions.length !== sealed.values.length) {
    throw new PayloadError(
      "truncated",
      `The entry has ${sealed.values.length} values for ${record.versions.length} versions`,
    );
  }
  return record;
}

/** Seals one value. */
export async function sealValue(
  sealer: Sealer,
  id: SecretId,
  uid: string,
  version: number,
  value: string,
): Promise<Buffer> {
  const plaintext = Buffer.from(value, "utf8");
  try {
    return await sealer.seal(plaintext, valueBinding(id, uid, version));
  } finally {
    plaintext.fill(0);
  }
}

/** Opens what `sealValue` made for the same secret and version. Rejects with PayloadError. */
export async function openValue(
  sealer: Sealer,
  id: SecretId,
  uid: string,
  version: number,
  payload: Uint8Array,
): Promise<string> {
  const plaintext = await sealer.open(payload, valueBinding(id, uid, version));
  try {
    return plaintext.toString("utf8");
  } finally {
    plaintext.fill(0);
  }
}

function recordBinding({ tenant, name }: SecretId): Binding {
  return { schema: "warren.secrets.record/1", tenant, name, version: 0, uid: "" };
}

function valueBinding({ tenant, name }: SecretId, uid: string, version: number): Binding {
  return { schema: "warren.secrets.value/1", tenant, name, version, uid };
}
