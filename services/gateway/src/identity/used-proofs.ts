// Which proofs of possession were used: in this process, and, where there is a Redis, by every gateway together.
import type { MeshLog } from "@warren/mesh";
import { PROOF_LIFETIME_MS, type UsedProofs } from "./dpop.ts";

/** Proofs that are remembered at once. Beyond that none is taken: whoever got so far holds keys, and sends 1,500 a second. */
const MOST = 100_000;

/** Remembers in this process: two generations, so that nothing has to be looked through to forget. */
export class ProofMemory implements UsedProofs {
  readonly #now: () => number;
  readonly #most: number;
  #young = new Set<string>();
  #old = new Set<string>();
  #turnAt: number;

  constructor(now: () => number = Date.now, most = MOST) {
    this.#now = now;
    this.#most = most;
    this.#turnAt = now() + PROOF_LIFETIME_MS;
  }

  use(id: string): Promise<boolean> {
    this.#turn();
    if (this.#young.has(id) || this.#old.has(id)) return Promise.resolve(false);
    if (this.#young.size >= this.#most) return Promise.resolve(false);
    this.#young.add(id);
    return Promise.resolve(true);
  }

  #turn(): void {
    const now = this.#now();
    if (now < this.#turnAt) return;
    // After two lifetimes of quiet, nothing of the older generation could still be used.
    this.#old = now < this.#turnAt + PROOF_LIFETIME_MS ? this.#young : new Set();
    this.#young = new Set();
    this.#turnAt = now + PROOF_LIFETIME_MS;
  }
}

/** The part of a Redis client that is used here. */
export interface ProofRedis {
  set(key: string, value: string, unit: "PX", milliseconds: number, condition: "NX"): Promise<"OK" | null>;
}

const LONGEST_WAIT_MS = 20;

/**
 * Remembers in Redis what this process has not seen itself, so that a proof works once among all gateways. While Redis
 * does not answer within 20 ms, each gateway remembers for itself: a proof that was overheard then works at most once at
 * each, within its 65 s.
 */
export class SharedProofs implements UsedProofs {
  readonly #own = new ProofMemory();
  readonly #redis: ProofRedis;
  readonly #log: Pick<MeshLog, "warn">;
  readonly #waitMs: number;
  #away = false;

  /** @param waitMs How long Redis may take, in milliseconds. */
  constructor(redis: ProofRedis, log: Pick<MeshLog, "warn">, waitMs = LONGEST_WAIT_MS) {
    this.#waitMs = waitMs;
    this.#redis = redis;
    this.#log = log;
  }

  async use(id: string): Promise<boolean> {
    if (!(await this.#own.use(id))) return false;
    try {
      const set = this.#redis.set(`warren:proof:${id}`, "1", "PX", PROOF_LIFETIME_MS, "NX");
      const fresh = (await within(set, this.#waitMs)) === "OK";
      this.#away = false;
      return fresh;
    } catch (err) {
      if (!this.#away) this.#log.warn({ err }, "Redis does not answer: each gateway remembers used proofs for itself");
      this.#away = true;
      return true;
    }
  }
}

async function within<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
