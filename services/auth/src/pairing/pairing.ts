// Pairing: a device proves that it holds its key and that the operator has read it the code. A code works once.
import { randomBytes } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import type { Clock } from "../clock.ts";
import { change, type Store } from "../compare-and-set.ts";
import { equalInConstantTime } from "../hash.ts";
import { DEFAULT_SCOPES } from "../scopes.ts";
import type { Sealer } from "../seal.ts";
import { type AttemptCounter, PAIRING_BACKOFF, refuseBefore, waitAfter } from "./backoff.ts";
import { clientNetwork } from "./client-network.ts";
import { newCode, normalizeCode } from "./code.ts";
import type { FactorProof, Totp } from "../factors/totp.ts";
import { challengeText, decoyKey, type DeviceJwk, thumbprint, verifySignature } from "./device-key.ts";

/** How long a pairing may be completed, in milliseconds. */
export const PAIRING_MS = 300_000;
/** Attempts until a pairing is locked. */
export const MAX_ATTEMPTS = 5;
/** Pairings that may wait at once: those of one network, and all. Strangers may start them, so there is an end. */
export const MAX_WAITING = { perNetwork: 20, total: 200 } as const;

const PREFIX = "pairing";
const DECOY_PREFIX = "decoy";
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
export interface PairingProof extends FactorProof {
  readonly id: string;
  /** As typed. */
  readonly code: string;
  /** base64url. */
  readonly signature: string;
  readonly address?: string | undefined;
  /** The key that the caller has proven to hold with this request: its thumbprint. It must be the device's. */
  readonly key?: string | undefined;
}

/** When a pairing asks for a one-time password: where the operator has set them up, or always, or never. */
export type FactorPolicy = "enabled" | "always" | "never";

/** Why an attempt was refused: for events and logs, never for the caller. */
export type RefusalReason =
  | "unknown"
  | "expired"
  | "locked"
  | "used"
  | "wrong_code"
  | "wrong_signature"
  | "wrong_key"
  | "wrong_factor"
  | "no_factor";

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

/** What pairings need. */
export interface PairingDeps {
  readonly kv: Store<PairingRecord>;
  /** Counts failures by network. */
  readonly networks: AttemptCounter;
  /** Counts all failures. */
  readonly fleet: AttemptCounter;
  readonly sealer: Sealer;
  readonly factor: Pick<Totp, "judge">;
  readonly factorPolicy: FactorPolicy;
  readonly clock: Clock;
}

/** Pairings over `kv`. */
export function createPairings(deps: PairingDeps): Pairings {
  const { kv, networks, fleet, sealer, factor, factorPolicy, clock } = deps;
  const keyOf = (id: string): string => `${PREFIX}.${id}`;
  const decoy: PairingRecord = {
    id: "0".repeat(32),
    state: "pending",
    sealedCode: sealer.seal(newCode(), "0".repeat(32)),
    challenge: randomBytes(32).toString("base64url"),
    deviceName: "",
    key: decoyKey(),
    scopes: DEFAULT_SCOPES,
    createdAt: 0,
    expiresAt: 0,
    attempts: 0,
    notBefore: 0,
  };

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

  /**
   * An attempt counts before it is judged, so that a crash or a crowd cannot judge one that was not counted.
   * Where there is nothing to attempt, a decoy is written and judged in its place: the time does not tell.
   */
  const claim = async (id: string): Promise<{ record: PairingRecord; refusal?: RefusalReason }> => {
    let refusal: RefusalReason | undefined;
    const claimed = await change(kv, keyOf(id), (record) => {
      refusal = refusalOf(record, clock());
      if (!record || refusal) return undefined;
      refuseBefore(record.notBefore, clock());
      const attempts = record.attempts + 1;
      return { ...record, attempts, notBefore: clock() + waitAfter(attempts, PAIRING_BACKOFF) };
    });
    if (claimed) return { record: claimed };
    await kv.create(`${DECOY_PREFIX}.${randomBytes(16).toString("hex")}`, decoy);
    return { record: decoy, refusal: refusal ?? "unknown" };
  };

  /** Why a proof does not do; every part is judged, whatever the others say. */
  const judge = async (record: PairingRecord, proof: PairingProof): Promise<Judged> => {
    const code = normalizeCode(proof.code);
    const expected = codeOf(record);
    const rightCode = equalInConstantTime(code, expected ?? "") && expected !== undefined;
    const rightSignature = verifySignature(
      record.key,
      challengeText(record.challenge, code, proof.id),
      proof.signature,
    );
    const rightKey = equalInConstantTime(proof.key ?? thumbprint(record.key), thumbprint(record.key));
    const judged = await factor.judge(proof);
    const spendFactor = async (): Promise<boolean> => factorPolicy === "never" || !judged || (await judged.spend());
    if (!rightCode) return { refusal: "wrong_code", spendFactor };
    if (!rightSignature) return { refusal: "wrong_signature", spendFactor };
    if (!rightKey) return { refusal: "wrong_key", spendFactor };
    if (factorPolicy === "always" && !judged) return { refusal: "no_factor", spendFactor };
    if (factorPolicy !== "never" && judged && !judged.right) return { refusal: "wrong_factor", spendFactor };
    return { refusal: undefined, spendFactor };
  };

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
    async complete(proof) {
      const { id, address } = proof;
      const network = clientNetwork(address);
      await networks.check(network);
      await fleet.check(FLEET);
      const { record, refusal } = await claim(id);
      // Guessed ids count like guessed codes.
      await networks.claim(network);
      await fleet.claim(FLEET);
      const judged = await judge(record, proof);
      const why = refusal ?? judged.refusal;
      if (why) throw new PairingRefusal(why);
      // Before the pairing: a password that was used up twice would be worse than one that was used up in vain.
      if (!(await judged.spendFactor())) throw new PairingRefusal("wrong_factor");
      const spent = await spend(id);
      await Promise.allSettled([networks.refund(network), fleet.refund(FLEET)]); // A count too high mends itself.
      return spent;
    },
  };
}

/** What was found of a proof, and what uses up its second factor. */
interface Judged {
  readonly refusal: RefusalReason | undefined;
  spendFactor(): Promise<boolean>;
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
