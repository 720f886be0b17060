// Limits as headers: draft-ietf-httpapi-ratelimit-headers (RateLimit-Policy, RateLimit), the older X-RateLimit-*, and
// Retry-After (RFC 9110 §10.2.3).
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

/**
 * The headers of a response. On a denial `RateLimit` names only the limits that denied, so that `Retry-After` is never
 * earlier than a `t` beside it.
 */
export function limitHeaders(decisions: readonly LimitDecision[]): Record<string, string> {
  const enforced = decisions.filter((decision) => !decision.limit.shadow);
  const denials = denialsOf(enforced);
  const shown = denials.length ? denials : enforced;
  const [first] = shown;
  if (!first) return {};
  const tightest = shown.reduce((least, each) => (share(each) < share(least) ? each : least), first);
  const time = (each: LimitDecision): number => seconds(denials.length ? each.retryMs : each.resetMs);
  return {
    "ratelimit-policy": enforced
      .map(({ limit }) => `"${limit.name}";q=${Math.floor(limit.burst)};w=${width(limit)}`)
      .join(", "),
    ratelimit: shown.map((each) => `"${each.limit.name}";r=${left(each)};t=${time(each)}`).join(", "),
    "x-ratelimit-limit": String(Math.floor(tightest.limit.burst)),
    "x-ratelimit-remaining": String(left(tightest)),
    "x-ratelimit-reset": String(time(tightest)),
    ...(denials.length ? { "retry-after": String(retryAfterSeconds(denials)) } : {}),
  };
}

function left(decision: LimitDecision): number {
  return decision.allowed ? decision.remaining : 0;
}

function share(decision: LimitDecision): number {
  return left(decision) / decision.limit.burst;
}

/** Seconds over which the whole quota comes back. */
function width({ periodMicros, burst, limit }: LimitDecision["limit"]): number {
  return Math.max(1, Math.ceil((periodMicros * burst) / limit / 1e6));
}
