// Pairing: a device proves that it holds its key and that the operator has read it the code. A code works once.
import { randomBytes } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import type { Clock } from "../clock.ts";
import { change, type Store } from "../compare-and-set.ts";
import { equalInConstantTime } from "../hash.ts";
import type { Sealer } from "../seal.ts";
import { type AttemptCounter, PAIRING_BACKOFF, refuseBefore, waitAfter } from "./backoff.ts";
import { clientNetwork } from "./client-network.ts";
import { newCode, normalizeCode } from "./code.ts";
import { challengeText, type DeviceJwk, verifySignature } from "./device-key.ts";

/** How long a pairing may be completed, in milliseconds. */
export const PAIRING_MS = 300_000;
/** Attempts until a pairing is locked. */
export const MAX_ATTEMPTS = 5;
/** Pairings that may wait at once: those of one network, and all. Strangers may start them, so there is an end. */
export const MAX_WAITING = { perNetwork: 20, total: 200 } as const;

const PREFIX = "pairing";
const FLEET = "all";

/** A pairing at rest. Times in milliseconds since 1970. */
export interface PairingRecord {
  readonly id: string;
  readonly state: "pending" | "completed";
  /** Sealed: the operator reads it, the data folder does not tell it. Gone once completed. */
  readonly sealedCode?: string;
  readonly challenge: string;
  readonly deviceName: string;
  readonly key: DeviceJwk;
  readonly scopes: readonly string[];
  readonly address?: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  /** Attempts that were claimed, whether or not they came to be judged. */
  readonly attempts: number;
  /** No attempt before this. */
  readonly notBefore: number;
}

/** What a device asks for. Its key and scopes have been checked. */
export interface PairingWish {
  readonly deviceName: string;
  readonly key: DeviceJwk;
  readonly scopes: readonly string[];
  readonly address?: string | undefined;
}

/** What a device sends to complete a pairing. */
export interface PairingProof {
  readonly id: string;
  /** As typed. */
  readonly code: string;
  /** base64url. */
  readonly signature: string;
  readonly address?: string | undefined;
}

/** Why an attempt was refused: for events and logs, never for the caller. */
export type RefusalReason = "unknown" | "expired" | "locked" | "used" | "wrong_code" | "wrong_signature";

/** The refusal. Its message is the same whatever the reason: who guesses learns nothing. */
export class PairingRefusal extends RpcError {
  readonly why: RefusalReason;
  constructor(why: RefusalReason) {
    const message = "The pairing was refused: check the code, or start again on the device (a pairing lasts 5 minutes)";
    super(StatusCode.UNAUTHENTICATED, message, { reason: "PAIRING_REFUSED" });
    this.why = why;
  }
}

/** The pairings of the mesh. */
export interface Pairings {
  /** @throws RpcError RESOURCE_EXHAUSTED when too many wait already. */
  start(wish: PairingWish): Promise<{ record: PairingRecord; code: string }>;
  /** Those that a device may still complete, oldest first, with their codes. */
  waiting(): Promise<{ record: PairingRecord; code: string }[]>;
  /**
   * Spends the pairing: of any number of right proofs, on any number of replicas, one returns.
   * @throws PairingRefusal; RpcError RESOURCE_EXHAUSTED with the time to wait.
   */
  complete(proof: PairingProof): Promise<PairingRecord>;
}

/** Pairings over `kv`, with `networks` counting failures by network and `fleet` counting all. */
export function createPairings(deps: {
  readonly kv: Store<PairingRecord>;
  readonly networks: AttemptCounter;
  readonly fleet: AttemptCounter;
  readonly sealer: Sealer;
  readonly clock: Clock;
}): Pairings {
  const { kv, networks, fleet, sealer, clock } = deps;
  const keyOf = (id: string): string => `${PREFIX}.${id}`;

  const codeOf = (record: PairingRecord): string | undefined => {
    try {
      return record.sealedCode && sealer.open(record.sealedCode, record.id);
    } catch {
      return undefined; // Sealed under credentials of the past: nobody can complete it any more.
    }
  };

  const waiting = async (): Promise<{ record: PairingRecord; code: string }[]> => {
    const entries = await kv.entries(PREFIX);
    return entries
      .flatMap(({ value: record }) => {
        const code = refusalOf(record, clock()) ? undefined : codeOf(record);
        return code ? [{ record, code }] : [];
      })
      .toSorted((a, b) => a.record.createdAt - b.record.createdAt);
  };

  /** An attempt counts before it is judged, so that a crash or a crowd cannot judge one that was not counted. */
  const claim = (id: string): Promise<PairingRecord> =>
    change(kv, keyOf(id), (record) => {
      const refusal = refusalOf(record, clock());
      if (!record || refusal) throw new PairingRefusal(refusal ?? "unknown");
      refuseBefore(record.notBefore, clock());
      const attempts = record.attempts + 1;
      return { ...record, attempts, notBefore: clock() + waitAfter(attempts, PAIRING_BACKOFF) };
    });

  const spend = (id: string): Promise<PairingRecord> =>
    change(kv, keyOf(id), (record): PairingRecord => {
      if (record?.state !== "pending") throw new PairingRefusal("used");
      const { sealedCode: _, ...rest } = record;
      return { ...rest, state: "completed" };
    });

  return {
    waiting,
    async start({ deviceName, key, scopes, address }) {
      const open = await waiting();
      const network = clientNetwork(address);
      const near = open.filter(({ record }) => clientNetwork(record.address) === network);
      if (open.length >= MAX_WAITING.total || near.length >= MAX_WAITING.perNetwork) throw tooMany(open, clock());
      const id = randomBytes(16).toString("hex");
      const code = newCode();
      const record: PairingRecord = {
        id,
        state: "pending",
        sealedCode: sealer.seal(code, id),
        challenge: randomBytes(32).toString("base64url"),
        deviceName,
        key,
        scopes,
        ...(address === undefined ? {} : { address }),
        createdAt: clock(),
        expiresAt: clock() + PAIRING_MS,
        attempts: 0,
        notBefore: 0,
      };
      await kv.create(keyOf(id), record);
      return { record, code };
    },
    async complete({ id, code: typed, signature, address }) {
      const network = clientNetwork(address);
      await networks.check(network);
      await fleet.check(FLEET);
      let record: PairingRecord;
      try {
        record = await claim(id);
      } catch (error) {
        // Guessed ids count like guessed codes.
        if (error instanceof PairingRefusal) await count(networks, fleet, network);
        throw error;
      }
      await count(networks, fleet, network);
      const code = normalizeCode(typed);
      const expected = codeOf(record);
      const rightCode = expected !== undefined && equalInConstantTime(code, expected);
      const rightKey = verifySignature(record.key, challengeText(record.challenge, code, id), signature);
      // Both are always judged, so that the time taken does not tell which was wrong.
      if (!rightCode || !rightKey) throw new PairingRefusal(rightCode ? "wrong_signature" : "wrong_code");
      const spent = await spend(id);
      await Promise.allSettled([networks.refund(network), fleet.refund(FLEET)]); // A count too high mends itself.
      return spent;
    },
  };
}

async function count(networks: AttemptCounter, fleet: AttemptCounter, network: string): Promise<void> {
  await networks.claim(network);
  await fleet.claim(FLEET);
}

/** Why a pairing takes no further attempt; undefined when it takes one. */
function refusalOf(record: PairingRecord | undefined, now: number): RefusalReason | undefined {
  if (!record) return "unknown";
  if (record.state !== "pending") return "used";
  if (now >= record.expiresAt) return "expired";
  return record.attempts >= MAX_ATTEMPTS ? "locked" : undefined;
}

function tooMany(open: readonly { record: PairingRecord }[], now: number): RpcError {
  const retryAfterMs = Math.max(1_000, Math.min(...open.map(({ record }) => record.expiresAt)) - now);
  return new RpcError(
    StatusCode.RESOURCE_EXHAUSTED,
    `Too many pairings wait for their codes: complete one, or try again in ${Math.ceil(retryAfterMs / 1000)} s`,
    { reason: "TOO_MANY_PAIRINGS", retryAfterMs },
  );
}
