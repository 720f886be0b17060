// How the key ring is stored: what is needed to find the root key in the clear, everything else sealed by it.
import { type Binding, KEY_BYTES, KEY_ID_BYTES, open, seal, sealedBy, type SealingKey } from "./envelope.ts";
import { KeyRingError, PayloadError } from "./errors.ts";
import { joinFrames, splitFrames } from "./frames.ts";
import { identified, RECOVERY, type RootKey, type RootKeyHeader } from "./root-key.ts";

/** A data key: seals values until it has been used too often, opens them for ever. */
export interface DataKey {
  /** 16 random lower-case hexadecimal digits. */
  readonly id: string;
  /** 32 random bytes. */
  readonly key: Buffer;
  /** In milliseconds since 1970. */
  readonly createTime: number;
  /** How often it may have sealed, on all replicas: never less than it has. */
  readonly uses: number;
}

/** What the ring record holds. */
export interface RingState {
  /** The newest revision of the back end that was seen: a smaller one means that the back end was rolled back. */
  readonly generation: number;
  /** Oldest first; the last one seals. Never empty. */
  readonly keys: readonly DataKey[];
}

const HEADER_LIMIT = 1024;
const KEY_RECORD_BYTES = KEY_ID_BYTES + KEY_BYTES + 16;

/** The record to store. `root` seals it; `header` tells how to find `root` again. */
export function encodeRing(state: RingState, header: RootKeyHeader, root: SealingKey): Buffer {
  const text = JSON.stringify(header);
  const body = Buffer.alloc(8 + state.keys.length * KEY_RECORD_BYTES);
  let offset = body.writeBigUInt64BE(BigInt(state.generation), 0);
  for (const { id, key, createTime, uses } of state.keys) {
    offset += body.write(id, offset, "hex");
    offset += key.copy(body, offset);
    offset = body.writeBigUInt64BE(BigInt(createTime), offset);
    offset = body.writeBigUInt64BE(BigInt(uses), offset);
  }
  try {
    return joinFrames([Buffer.from(text), seal(root, body, binding(text))]);
  } finally {
    body.fill(0);
  }
}

/**
 * Opens a stored record with the key that `rootKey` finds for it. The caller zeroes the keys it is given. Throws KeyRingError when the
 * root key is missing, of another kind or not the right one, and when the record was changed.
 */
export async function unlockRing(
  record: Uint8Array,
  rootKey: RootKey,
): Promise<{ state: RingState; header: RootKeyHeader; root: SealingKey & { key: Buffer } }> {
  const { header } = parse(record);
  if (header.kind !== rootKey.kind) {
    const message = `The key ring is sealed by a root key of kind "${header.kind}", but ${rootKey.source} is configured: configure the kind it was made with`;
    throw new KeyRingError("root_key_kind", message);
  }
  const key = await rootKey.unlock(header);
  const root = { id: identified(key).id, key };
  try {
    return { state: decodeRing(record, root, rootKey.source), header, root };
  } catch (error) {
    key.fill(0);
    throw error;
  }
}

/** Opens a stored record with a root key that is known already; `source` names where it came from. Throws KeyRingError. */
export function decodeRing(record: Uint8Array, root: SealingKey, source: string): RingState {
  const { text, payload } = parse(record);
  try {
    if (sealedBy(payload) !== root.id) {
      throw new KeyRingError(
        "root_key_wrong",
        `The stored key ring was not sealed by ${source}, so it cannot be opened with it. ${RECOVERY}`,
      );
    }
    const body = open(root, payload, binding(text));
    try {
      return readBody(body);
    } finally {
      body.fill(0);
    }
  } catch (error) {
    throw error instanceof PayloadError ? damaged(error) : error;
  }
}

function readBody(body: Buffer): RingState {
  const keys: DataKey[] = [];
  for (let offset = 8; offset < body.length; offset += KEY_RECORD_BYTES) {
    const numbers = offset + KEY_ID_BYTES + KEY_BYTES;
    keys.push({
      id: body.toString("hex", offset, offset + KEY_ID_BYTES),
      key: Buffer.from(body.subarray(offset + KEY_ID_BYTES, numbers)),
      createTime: Number(body.readBigUInt64BE(numbers)),
      uses: Number(body.readBigUInt64BE(numbers + 8)),
    });
  }
  return { generation: Number(body.readBigUInt64BE(0)), keys };
}

function parse(record: Uint8Array): { text: string; header: RootKeyHeader; payload: Buffer } {
  try {
    const [header, payload] = splitFrames(record);
    if (!header || !payload || header.length > HEADER_LIMIT)
      throw new PayloadError("truncated", "The ring record lacks a part");
    const text = header.toString("utf8");
    return { text, header: JSON.parse(text) as RootKeyHeader, payload };
  } catch (error) {
    throw damaged(error);
  }
}

function damaged(cause: unknown): KeyRingError {
  const message = `The stored key ring is damaged or was changed. Restore the bucket "secrets_keyring" from a backup. ${RECOVERY}`;
  return new KeyRingError("ring_damaged", message, { cause });
}

function binding(header: string): Binding {
  return { schema: "warren.secrets.ring/1", tenant: "", name: header, version: 0, uid: "" };
}
