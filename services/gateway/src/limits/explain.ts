// Which limits a request would meet, why, and what they would say: without counting anything.
import { isIP } from "node:net";
import { z } from "zod";
import { denialsOf } from "./headers.ts";
import type { Limiter } from "./limiter.ts";
import { MemoryStore } from "./memory-store.ts";
import { type Limit, limitsFor, type LimitSubject, type Policy, sharerOf } from "./policy.ts";
import type { LimitDecision } from "./store.ts";

/** A request that is asked about. */
export const questionSchema = z.strictObject({
  method: z.enum(["GET", "POST", "PUT", "PATCH", "DELETE"]),
  path: z.string().min(1).max(2048).startsWith("/"),
  principal: z.string().min(1).max(256).optional(),
  tenant: z.string().min(1).max(64).optional(),
  address: z
    .string()
    .refine((text) => isIP(text) !== 0, "is no IP address")
    .optional(),
});

/** A run of such requests that is tried out. */
export const trialSchema = questionSchema.extend({
  count: z.number().int().min(1).max(10_000).default(100),
  /** Requests a second, evenly; 0: all at once. */
  rate: z.number().min(0).max(1_000_000).default(0),
  /** Tried in place of the limits in force. */
  policy: z.unknown().optional(),
});

export type Question = z.output<typeof questionSchema>;
export type Trial = Omit<z.output<typeof trialSchema>, "policy">;

/** What of the route that a question names is asked for. */
export interface AskedRoute {
  readonly template: string;
  readonly limitClass: string;
  readonly scope: string;
}

/** One limit, and what it has to do with the request. */
export interface Explanation {
  readonly name: string;
  readonly meets: boolean;
  /** Why the request meets it, or does not. */
  readonly why: string;
  readonly shadow: boolean;
  /** Absent where the request does not meet it. */
  readonly allowed?: boolean;
  readonly remaining?: number;
  readonly resetMs?: number;
  readonly retryMs?: number;
}

/** The subject of a question. */
export function subjectOf({ principal, tenant, address }: Question, route: AskedRoute): LimitSubject {
  return { address, principal, tenant, limitClass: route.limitClass, endpoint: route.template };
}

/** Explains what the limits in force would say of a request now. */
export async function explain(
  limiter: Limiter,
  policy: Policy,
  subject: LimitSubject,
): Promise<{ verdict: "allowed" | "denied"; shared: boolean; limits: Explanation[] }> {
  const { decisions, verdict, shared } = await limiter.peek(subject);
  const limits = policy.limits.map((limit): Explanation => {
    const decision = decisions.find((each) => each.limit.name === limit.name);
    const { meets, why } = reason(limit, subject);
    return { name: limit.name, meets, why, shadow: limit.shadow, ...standing(decision) };
  });
  return { verdict: verdict === "denied" ? "denied" : "allowed", shared, limits };
}

function standing(decision: LimitDecision | undefined): Partial<Explanation> {
  if (!decision) return {};
  const { allowed, remaining, resetMs, retryMs } = decision;
  return { allowed, remaining, resetMs: Math.ceil(resetMs), retryMs: Math.ceil(retryMs) };
}

function reason(limit: Limit, subject: LimitSubject): { meets: boolean; why: string } {
  const { limitClass, address, principal } = subject;
  const classes = [...(limit.classes ?? [])].join(", ");
  if (limit.classes && !limit.classes.has(limitClass))
    return { meets: false, why: `holds for routes of class ${classes}; this one has ${limitClass || "none"}` };
  const sharer = sharerOf(limit, subject);
  const of = limit.classes ? `routes of class ${limitClass}, ` : "";
  if (sharer !== undefined) {
    const instead = limit.key === "principal" && principal === undefined ? " (there is no principal)" : "";
    return { meets: true, why: `${of}counted by ${sharer}${instead}` };
  }
  if (limit.key === "tenant") return { meets: false, why: "counts tenants; the request has none" };
  if (limit.key === "principal") return { meets: false, why: "counts principals; the request has none" };
  if (address === undefined)
    return { meets: false, why: "counts addresses; the request has none, or is trusted as local" };
  return { meets: false, why: `counts IPv6 networks (/${limit.prefix}); ${address} is in none` };
}

/** What became of a run of requests. */
export interface TrialResult {
  readonly admitted: number;
  readonly denied: number;
  /** The first that was denied, counted from 1, by which limits, and how long it would have had to wait. */
  readonly first?: { readonly request: number; readonly limits: readonly string[]; readonly retryMs: number };
  /** How many requests each limit denied, or would have as a shadow. */
  readonly limits: Readonly<Record<string, { denied: number; remaining: number }>>;
}

/** Tries a run of requests on counters of their own that begin empty. A request holds its place until the run ends. */
export function tryOut(
  policy: Policy,
  subject: LimitSubject,
  { count, rate }: Pick<Trial, "count" | "rate">,
): TrialResult {
  // At the beginning of every window, so that the same question gets the same answer.
  let now = 0;
  const store = new MemoryStore({ nowMicros: () => Math.floor(now) });
  // Nothing is leased here, so that nothing has to be set aside.
  const limits = limitsFor(policy, subject).map(({ key, limit }) => ({ key, limit: { ...limit, reserve: 0 } }));
  const seen: Record<string, { denied: number; remaining: number }> = {};
  let admitted = 0;
  let first: TrialResult["first"];
  for (let i = 1; i <= count; i++) {
    const { decisions } = store.apply({ kind: "decide", limits, hold: `trial-${i}` });
    for (const { limit, allowed, remaining } of decisions) {
      const entry = (seen[limit.name] ??= { denied: 0, remaining });
      entry.denied += allowed ? 0 : 1;
      entry.remaining = remaining;
    }
    const denials = denialsOf(decisions);
    if (denials.length === 0) admitted += 1;
    else
      first ??= {
        request: i,
        limits: denials.map(({ limit }) => limit.name),
        retryMs: Math.ceil(Math.max(...denials.map(({ retryMs }) => retryMs))),
      };
    if (rate > 0) now += 1e6 / rate;
  }
  return { admitted, denied: count - admitted, ...(first ? { first } : {}), limits: seen };
}
