// The limits that requests meet: a policy as it is used, and which of it a request meets.
import { createHash } from "node:crypto";
import { networkKey } from "../identity/client-address.ts";
import { type LimitEntry, type PolicyInput, policySchema } from "./policy-schema.ts";

export { defaultPolicy, type PolicyInput } from "./policy-schema.ts";

/** One limit, with what is derived from it. */
export interface Limit {
  readonly name: string;
  readonly algorithm: "bucket" | "window" | "concurrency";
  readonly key: "global" | "ip" | "principal" | "tenant" | "endpoint" | "class";
  readonly unit: "requests" | "tokens";
  /** Requests or tokens per period; of concurrency: in flight at once. */
  readonly limit: number;
  /** Of concurrency 0. */
  readonly periodMicros: number;
  /** At once after a rest; of a window or of concurrency: its limit. */
  readonly burst: number;
  /** What a request takes; of tokens: what is reserved for it. */
  readonly cost: number;
  readonly shadow: boolean;
  readonly classes: ReadonlySet<string> | undefined;
  /** Bits of the IPv6 network that is counted together. */
  readonly prefix: number;
  /** How much of the quota is set aside to be leased to gateways; 0: it is not leased. */
  readonly reserve: number;
  /** How long what a request holds (a place, reserved tokens) outlives its gateway, in microseconds; 0: it holds nothing. */
  readonly holdMicros: number;
  /** Changes with the parameters: a changed limit starts with fresh counters. */
  readonly version: string;
  /** The parameters as the Redis function reads them. */
  readonly spec: string;
}

/** Every limit of a gateway, in the order in which headers name them. */
export interface Policy {
  readonly limits: readonly Limit[];
  /** What it was made from. */
  readonly input: PolicyInput;
  /** Tells one policy from another: 12 hexadecimal digits. */
  readonly version: string;
}

/** What of a request decides which limits it meets and with whom it shares them. */
export interface LimitSubject {
  /** The client's address; undefined: a caller on this machine whom the explicit local mode trusts. */
  readonly address: string | undefined;
  readonly principal: string | undefined;
  readonly tenant: string | undefined;
  readonly limitClass: string;
  /** The route's template, never the path. */
  readonly endpoint: string;
}

/** A limit with the place where its counter is kept. */
export interface KeyedLimit {
  readonly limit: Limit;
  readonly key: string;
}

/** How long a place or a reservation outlives its gateway, in microseconds: a live one renews it well before. */
export const HOLD_MICROS = 30_000_000;
/** Share of a quota that is set aside for leases, and the quotas from which on that costs nobody a request. */
const RESERVED = 0.05;
const LEAST_LEASED = { bucket: 40, window: 1000, concurrency: Number.POSITIVE_INFINITY };
const WIDE: ReadonlySet<string> = new Set(["global", "endpoint", "class", "tenant"]);
/** A quota from which on a single caller's limit is leased as well: one who uses it is worth no round trip for each request. */
const GENEROUS = 10_000;
const DEFAULT_TOKENS = 1000;
/** Of the IPv6 networks that are counted together. */
const WIDEST_PREFIX = 48;

/**
 * A policy from what a file holds.
 * @throws ZodError naming each entry that is wrong.
 */
export function parsePolicy(input: unknown): Policy {
  const limits = policySchema.parse(input).limits.map(derive);
  const version = hash(JSON.stringify(limits.map(describe))).slice(0, 12);
  return { limits, input: input as PolicyInput, version };
}

function describe(limit: Limit): unknown {
  return { ...limit, classes: limit.classes && [...limit.classes] };
}

function derive(entry: LimitEntry): Limit {
  const { algorithm, key, unit, limit, period = 0, prefix, shadow } = entry;
  const burst = algorithm === "bucket" ? (entry.burst ?? limit) : limit;
  const cost = entry.cost ?? (unit === "tokens" ? Math.min(DEFAULT_TOKENS, Math.floor(burst)) : 1);
  const leased =
    (entry.lease ?? (WIDE.has(key) || burst >= GENEROUS)) && unit === "requests" && burst >= LEAST_LEASED[algorithm];
  const reserve = leased ? Math.floor(burst * RESERVED) : 0;
  const holdMicros = algorithm === "concurrency" || unit === "tokens" ? HOLD_MICROS : 0;
  const periodMicros = period * 1e6;
  const parameters = [algorithm, key, prefix, unit, limit, period, burst, reserve];
  return {
    name: entry.name,
    algorithm,
    key,
    unit,
    limit,
    periodMicros,
    burst,
    cost,
    shadow,
    classes: entry.classes && new Set(entry.classes),
    prefix,
    reserve,
    holdMicros,
    version: hash(parameters.join(" ")).slice(0, 8),
    spec: [algorithm[0], limit, periodMicros, burst, reserve, holdMicros, shadow ? 1 : 0].join(" "),
  };
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** The limits that a request meets, each with its counter's key. */
export function limitsFor(policy: Policy, subject: LimitSubject): KeyedLimit[] {
  const met: KeyedLimit[] = [];
  for (const limit of policy.limits) {
    if (limit.classes !== undefined && !limit.classes.has(subject.limitClass)) continue;
    const who = sharerOf(limit, subject);
    if (who !== undefined) met.push({ limit, key: keyOf(limit, who, subject) });
  }
  return met;
}

/** In a cluster, keys with the same text in braces lie together: so do all networks of one address, for one call. */
function keyOf({ name, version }: Limit, who: string, { address }: LimitSubject): string {
  const wide = address !== undefined && who.startsWith("ip ") ? networkKey(address, WIDEST_PREFIX) : undefined;
  return wide === undefined
    ? `warren:limit:{${who}}:${name}:${version}`
    : `warren:limit:{ip ${wide}}:${who}:${name}:${version}`;
}

/** With whom a request shares a limit; undefined: it does not meet it. */
export function sharerOf(limit: Limit, subject: LimitSubject): string | undefined {
  switch (limit.key) {
    case "global":
      return "global";
    case "ip":
      return networkOf(limit, subject);
    case "endpoint":
      return `endpoint ${subject.endpoint}`;
    case "class":
      return `class ${subject.limitClass}`;
    case "tenant":
      return subject.tenant === undefined ? undefined : `tenant ${subject.tenant}`;
    case "principal":
      if (subject.principal !== undefined) return `principal ${subject.principal}`;
      // Without a token there is nobody to count but the address; a limit for all classes has its own for that.
      return limit.classes ? networkOf(limit, subject) : undefined;
  }
}

function networkOf({ prefix }: Limit, { address }: LimitSubject): string | undefined {
  const network = address === undefined ? undefined : networkKey(address, prefix);
  return network === undefined ? undefined : `ip ${network}`;
}
