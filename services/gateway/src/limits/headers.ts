// Limits as headers: draft-ietf-httpapi-ratelimit-headers (RateLimit-Policy, RateLimit), the older X-RateLimit-*, and
// Retry-After (RFC 9110 §10.2.3).
import type { KeyedLimit, Limit } from "./policy.ts";
import type { LimitDecision } from "./store.ts";

/** Seconds, rounded up, so that nobody comes back too early. */
function seconds(milliseconds: number): number {
  return Math.max(0, Math.ceil(milliseconds / 1000));
}

/** Whole seconds after which a denied request may be tried again: the longest wait of those that denied it. */
export function retryAfterSeconds(denials: readonly LimitDecision[]): number {
  return Math.max(1, ...denials.map((denial) => seconds(denial.retryMs)));
}

/** The decisions that deny a request: those of limits that are enforced. */
export function denialsOf(decisions: readonly LimitDecision[]): LimitDecision[] {
  return decisions.filter((decision) => !decision.allowed && !decision.limit.shadow);
}

/** What headers and problems need of an outcome. */
export interface Limited {
  readonly decisions: readonly LimitDecision[];
  /** Every limit that the request met. */
  readonly limits: readonly KeyedLimit[];
}

/** `RateLimit-Policy` by the limits it names: it says the same for every request that meets the same ones. */
const policies = new WeakMap<Limit, string>();

/**
 * The headers of a response. On a denial `RateLimit` names only the limits that denied, so that `Retry-After` is never
 * earlier than a `t` beside it.
 */
export function limitHeaders({ decisions, limits }: Limited): Record<string, string> {
  const enforced = decisions.filter((decision) => !decision.limit.shadow);
  const denials = enforced.filter((decision) => !decision.allowed);
  const shown = denials.length ? denials : enforced;
  const [first] = shown;
  if (!first) return {};
  let tightest = first;
  let rateLimit = "";
  for (const each of shown) {
    if (share(each) < share(tightest)) tightest = each;
    rateLimit += `${rateLimit && ", "}"${each.limit.name}";r=${left(each)};t=${time(each)}`;
  }
  let policy = "";
  for (const { limit } of limits) if (!limit.shadow) policy += `${policy && ", "}${policyOf(limit)}`;
  const headers: Record<string, string> = {
    "ratelimit-policy": policy,
    ratelimit: rateLimit,
    "x-ratelimit-limit": String(Math.floor(tightest.limit.burst)),
    "x-ratelimit-remaining": String(left(tightest)),
    "x-ratelimit-reset": String(time(tightest)),
  };
  if (denials.length) headers["retry-after"] = String(retryAfterSeconds(denials));
  return headers;
}

/** Seconds until the quota is whole again; of a denial until the same request would pass. */
function time({ allowed, retryMs, resetMs }: LimitDecision): number {
  return seconds(allowed ? resetMs : retryMs);
}

function left(decision: LimitDecision): number {
  return decision.allowed ? decision.remaining : 0;
}

function share(decision: LimitDecision): number {
  return left(decision) / decision.limit.burst;
}

function policyOf(limit: Limit): string {
  const known = policies.get(limit);
  if (known !== undefined) return known;
  const quota = Math.floor(limit.burst);
  const made =
    limit.algorithm === "concurrency"
      ? `"${limit.name}";q=${quota};qu="concurrent-requests"`
      : `"${limit.name}";q=${quota}${limit.unit === "tokens" ? ';qu="tokens"' : ""};w=${width(limit)}`;
  policies.set(limit, made);
  return made;
}

/** Seconds over which the whole quota comes back. */
function width({ periodMicros, burst, limit }: Limit): number {
  return Math.max(1, Math.ceil((periodMicros * burst) / limit / 1e6));
}
