// The operator's second factor: a one-time password, or a recovery code in its place. Either works once, on any replica.
import { RpcError, StatusCode } from "@warren/mesh";
import type { Clock } from "../clock.ts";
import { change, type Store } from "../compare-and-set.ts";
import { type BackoffPolicy, refuseBefore, waitAfter } from "../pairing/backoff.ts";
import { deriveKey, type Sealer } from "../seal.ts";
import { matchingCode, newRecoveryCodes, type RecoveryCodeRecord } from "./recovery-codes.ts";
import { matchingStep, newTotpSecret, totpUri } from "./totp-code.ts";

/** The second factor at rest, in `auth_factors` under `operator`. Times in milliseconds since 1970. */
export interface TotpRecord {
  /** Sealed, base32. Absent: not set up. */
  readonly secret?: string;
  readonly enabledAt?: number;
  /** The step of the last password that was taken: it and those before are spent. */
  readonly lastStep: number;
  readonly recoveryCodes: readonly RecoveryCodeRecord[];
  /** Sealed: a set-up that waits for its first password. */
  readonly pendingSecret?: string;
  /** Wrong passwords in a row. */
  readonly failures: number;
  /** No attempt before this. */
  readonly notBefore: number;
}

/** A second factor as a caller gives it: one of the two, or neither. */
export interface FactorProof {
  readonly totp?: string;
  readonly recoveryCode?: string;
}

/** What became of a proof: whether it is right now; and, later, its use, which of many at once succeeds for one. */
export interface FactorJudgement {
  readonly right: boolean;
  /** @returns false when it has been used meanwhile. */
  spend(): Promise<boolean>;
}

/** How one-time passwords stand. */
export interface TotpStatus {
  readonly enabled: boolean;
  readonly pending: boolean;
  readonly recoveryCodesLeft: number;
  readonly enabledAt: number | undefined;
}

/** The operator's second factor. */
export interface Totp {
  status(): Promise<TotpStatus>;
  /** Begins a set-up, which replaces one that waits. @throws RpcError when one is in force and the proof is not right. */
  enroll(proof: FactorProof): Promise<{ readonly secret: string; readonly uri: string }>;
  /** Completes the set-up. @returns recovery codes. @throws RpcError when none waits, or the password is wrong. */
  verify(totp: string): Promise<string[]>;
  /** @throws RpcError when nothing is set up, or the proof is not right. */
  disable(proof: FactorProof): Promise<void>;
  /** @returns new recovery codes; the old ones end. @throws RpcError as {@link disable}. */
  renewRecoveryCodes(proof: FactorProof): Promise<string[]>;
  /** Judges a proof without using it up. Undefined: no factor is set up. Takes the same time whatever is right. */
  judge(proof: FactorProof): Promise<FactorJudgement | undefined>;
  /** Ends the factor without any proof: for the person who sits at the machine. */
  reset(): Promise<void>;
}

const KEY = "operator";
const BACKOFF: BackoffPolicy = { free: 2, baseMs: 1_000, maxMs: 300_000 };
const NOTHING: TotpRecord = { lastStep: 0, recoveryCodes: [], failures: 0, notBefore: 0 };

/** The second factor over `kv`. */
export function createTotp(deps: {
  readonly kv: Store<TotpRecord>;
  readonly sealer: Sealer;
  /** 32 secret bytes, of which the key of the recovery codes is derived. */
  readonly sealingKey: Uint8Array;
  readonly clock: Clock;
}): Totp {
  const { kv, sealer, clock } = deps;
  const codeKey = deriveKey(deps.sealingKey, "recovery-code");
  // Judged where there is none to judge, so that the time does not tell.
  const decoy = newTotpSecret();

  /** Undefined: sealed under credentials of the past. Nothing is right then; the way out is the local one. */
  const open = (sealed: string | undefined): string | undefined => {
    try {
      return sealed && sealer.open(sealed, KEY);
    } catch {
      return undefined;
    }
  };

  /** The record once the proof is used up; undefined: the proof is not right. */
  const used = (record: TotpRecord, { totp = "", recoveryCode = "" }: FactorProof): TotpRecord | undefined => {
    const secret = open(record.secret);
    const step = matchingStep(secret ?? decoy, totp, clock(), record.lastStep);
    const index = matchingCode(codeKey, record.recoveryCodes, recoveryCode);
    if (secret !== undefined && step !== undefined) return { ...record, lastStep: step, failures: 0, notBefore: 0 };
    if (index === undefined) return undefined;
    const recoveryCodes = record.recoveryCodes.map((each, i) => (i === index ? { ...each, usedAt: clock() } : each));
    return { ...record, recoveryCodes, failures: 0, notBefore: 0 };
  };

  /**
   * Changes the record if the proof is right. A wrong one is counted, by the same compare-and-set.
   * @throws RpcError PERMISSION_DENIED when it is wrong, RESOURCE_EXHAUSTED with the time to wait.
   */
  const withProof = async (
    prove: (record: TotpRecord) => TotpRecord | undefined,
    then: (record: TotpRecord) => TotpRecord,
  ): Promise<void> => {
    let right = false;
    await change(kv, KEY, (record = NOTHING) => {
      refuseBefore(record.notBefore, clock());
      const proven = prove(record);
      right = proven !== undefined;
      if (proven) return then(proven);
      const failures = record.failures + 1;
      return { ...record, failures, notBefore: clock() + waitAfter(failures, BACKOFF) };
    });
    if (!right) throw wrongFactor();
  };

  const mustBeEnabled = (record: TotpRecord | undefined): void => {
    if (record?.secret === undefined)
      throw new RpcError(StatusCode.FAILED_PRECONDITION, "One-time passwords are not set up", {
        reason: "TOTP_NOT_ENABLED",
      });
  };

  return {
    async status() {
      const record = (await kv.get(KEY))?.value ?? NOTHING;
      return {
        enabled: record.secret !== undefined,
        pending: record.pendingSecret !== undefined,
        recoveryCodesLeft: record.recoveryCodes.filter(({ usedAt }) => usedAt === undefined).length,
        enabledAt: record.enabledAt,
      };
    },
    async enroll(proof) {
      const secret = newTotpSecret();
      const pendingSecret = sealer.seal(secret, KEY);
      await withProof(
        (record) => (record.secret === undefined ? record : used(record, proof)),
        (record) => ({ ...record, pendingSecret }),
      );
      return { secret, uri: totpUri(secret, KEY) };
    },
    async verify(typed) {
      const { codes, records } = newRecoveryCodes(codeKey);
      await withProof(
        (record) => {
          if (record.pendingSecret === undefined)
            throw new RpcError(StatusCode.FAILED_PRECONDITION, "No set-up waits: begin one", {
              reason: "TOTP_NOT_PENDING",
            });
          const step = matchingStep(open(record.pendingSecret) ?? decoy, typed, clock(), 0);
          if (step === undefined) return undefined;
          const { pendingSecret: secret, ...rest } = record;
          return { ...rest, secret, lastStep: step };
        },
        (record) => ({ ...record, enabledAt: clock(), recoveryCodes: records, failures: 0, notBefore: 0 }),
      );
      return codes;
    },
    async disable(proof) {
      mustBeEnabled((await kv.get(KEY))?.value);
      await withProof(
        (record) => used(record, proof),
        () => NOTHING,
      );
    },
    async renewRecoveryCodes(proof) {
      mustBeEnabled((await kv.get(KEY))?.value);
      const { codes, records } = newRecoveryCodes(codeKey);
      await withProof(
        (record) => used(record, proof),
        (record) => ({ ...record, recoveryCodes: records }),
      );
      return codes;
    },
    async judge(proof) {
      const record = (await kv.get(KEY))?.value ?? NOTHING;
      const right = used(record, proof) !== undefined;
      if (record.secret === undefined) return undefined;
      return {
        right,
        async spend() {
          let spent = false;
          await change(kv, KEY, (current = NOTHING) => {
            const next = used(current, proof);
            spent = next !== undefined;
            return next;
          });
          return spent;
        },
      };
    },
    async reset() {
      await change(kv, KEY, (record) => record && NOTHING);
    },
  };
}

function wrongFactor(): RpcError {
  const message = "The one-time password or recovery code is wrong, or was used before";
  return new RpcError(StatusCode.PERMISSION_DENIED, message, { reason: "WRONG_FACTOR" });
}
