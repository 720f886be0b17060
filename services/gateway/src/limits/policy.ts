// The limits that requests meet: what a policy may say, what it says by default, and which of it a request meets.
import { createHash } from "node:crypto";
import { z } from "zod";

const name = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,39}$/, "a name is lower-case letters, digits and hyphens")
  .describe("What the limit is called in headers, errors and metrics");

const limitSchema = z
  .strictObject({
    name,
    algorithm: z
      .enum(["bucket", "window"])
      .describe("bucket: GCRA, which lets a burst through and then a steady rate; window: sliding-window counter"),
    key: z
      .enum(["global", "ip", "principal", "tenant", "endpoint"])
      .describe("Who shares it. A principal's limit is an address's for callers without a token"),
    limit: z.number().positive().max(1e9).describe("Requests per period"),
    period: z.number().positive().max(86_400).describe("Seconds"),
    burst: z.number().positive().max(1e9).optional().describe("bucket: requests at once after a rest; default: limit"),
    cost: z.number().positive().max(1e6).default(1).describe("What one request takes"),
    shadow: z.boolean().default(false).describe("Counted and reported, never enforced"),
    classes: z.array(z.string().min(1)).min(1).optional().describe("Limit classes it holds for; default: all"),
  })
  .refine((limit) => limit.cost <= (limit.algorithm === "bucket" ? (limit.burst ?? limit.limit) : limit.limit), {
    message: "cost is more than the limit ever allows: no request would pass",
    path: ["cost"],
  })
  .refine((limit) => limit.burst === undefined || limit.algorithm === "bucket", {
    message: "burst belongs to the bucket algorithm",
    path: ["burst"],
  });

/** What a policy file holds. */
export const policySchema = z
  .strictObject({ limits: z.array(limitSchema).max(64) })
  .refine(({ limits }) => new Set(limits.map((limit) => limit.name)).size === limits.length, {
    message: "two limits have the same name",
    path: ["limits"],
  });

/** A policy as a file gives it. */
export type PolicyInput = z.input<typeof policySchema>;

/** One limit, with what is derived from it. */
export interface Limit {
  readonly name: string;
  readonly algorithm: "bucket" | "window";
  readonly key: "global" | "ip" | "principal" | "tenant" | "endpoint";
  /** Requests per period. */
  readonly limit: number;
  readonly periodMicros: number;
  /** Requests at once after a rest; of a window: its limit. */
  readonly burst: number;
  readonly cost: number;
  readonly shadow: boolean;
  readonly classes: ReadonlySet<string> | undefined;
  /** Changes with the parameters: a changed limit starts with fresh counters. */
  readonly version: string;
}

/** Every limit of a gateway, in the order in which headers name them. */
export interface Policy {
  readonly limits: readonly Limit[];
}

/** What of a request decides which limits it meets and with whom it shares them. */
export interface LimitSubject {
  /** From `addressKey`. */
  readonly address: string;
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

/** The limits of a gateway that is given none. */
export const defaultPolicy: PolicyInput = {
  limits: [
    { name: "global", algorithm: "bucket", key: "global", limit: 20, period: 1, burst: 100 },
    { name: "ip", algorithm: "window", key: "ip", limit: 60, period: 60 },
    { name: "principal", algorithm: "window", key: "principal", limit: 120, period: 60 },
    { name: "chat", algorithm: "window", key: "principal", limit: 10, period: 60, classes: ["chat"] },
    { name: "query", algorithm: "window", key: "principal", limit: 5, period: 60, classes: ["query"] },
    { name: "pairing", algorithm: "window", key: "ip", limit: 5, period: 300, classes: ["pairing"] },
    { name: "token", algorithm: "window", key: "ip", limit: 10, period: 60, classes: ["token"] },
  ],
};

/**
 * A policy from what a file holds.
 * @throws ZodError naming each entry that is wrong.
 */
export function parsePolicy(input: unknown): Policy {
  return { limits: policySchema.parse(input).limits.map(derive) };
}

function derive(entry: z.output<typeof limitSchema>): Limit {
  const burst = entry.algorithm === "bucket" ? (entry.burst ?? entry.limit) : entry.limit;
  const parameters = [entry.algorithm, entry.key, entry.limit, entry.period, burst];
  return {
    name: entry.name,
    algorithm: entry.algorithm,
    key: entry.key,
    limit: entry.limit,
    periodMicros: entry.period * 1e6,
    burst,
    cost: entry.cost,
    shadow: entry.shadow,
    classes: entry.classes && new Set(entry.classes),
    version: createHash("sha256").update(parameters.join(" ")).digest("hex").slice(0, 8),
  };
}

/** The limits that a request meets, each with its counter's key. */
export function limitsFor(policy: Policy, subject: LimitSubject): KeyedLimit[] {
  const met: KeyedLimit[] = [];
  for (const limit of policy.limits) {
    if (limit.classes && !limit.classes.has(subject.limitClass)) continue;
    const who = sharer(limit, subject);
    if (who !== undefined) met.push({ limit, key: `warren:limit:{${who}}:${limit.name}:${limit.version}` });
  }
  return met;
}

function sharer(limit: Limit, subject: LimitSubject): string | undefined {
  switch (limit.key) {
    case "global":
      return "global";
    case "ip":
      return `ip ${subject.address}`;
    case "endpoint":
      return `endpoint ${subject.endpoint}`;
    case "tenant":
      return subject.tenant === undefined ? undefined : `tenant ${subject.tenant}`;
    case "principal":
      if (subject.principal !== undefined) return `principal ${subject.principal}`;
      // Without a token there is nobody to count but the address; a limit for all classes has its own for that.
      return limit.classes ? `ip ${subject.address}` : undefined;
  }
}
