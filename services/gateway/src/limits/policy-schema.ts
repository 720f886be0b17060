// What a policy file may say, and what holds where there is none.
import { z } from "zod";

/** Most of one concurrency limit, which keeps an entry for each request in flight. */
const MOST_CONCURRENT = 100_000;

const name = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,39}$/, "a name is lower-case letters, digits and hyphens")
  .describe("What the limit is called in headers, errors and metrics");

const limitSchema = z
  .strictObject({
    name,
    algorithm: z
      .enum(["bucket", "window", "concurrency"])
      .describe(
        "bucket: GCRA, which lets a burst through and then a steady rate; window: sliding-window counter; concurrency: requests in flight at once",
      ),
    key: z
      .enum(["global", "ip", "principal", "tenant", "endpoint", "class"])
      .describe("Who shares it. A principal's limit is an address's for callers without a token"),
    limit: z.number().positive().max(1e9).describe("Requests or tokens per period; of concurrency: in flight at once"),
    period: z
      .number()
      .positive()
      .max(86_400 * 31)
      .optional()
      .describe("Seconds. Not for concurrency"),
    burst: z.number().positive().max(1e9).optional().describe("bucket: at once after a rest; default: limit"),
    unit: z
      .enum(["requests", "tokens"])
      .default("requests")
      .describe(
        "tokens: those of the model. cost is reserved before the model is asked, and set right by what it used",
      ),
    cost: z
      .number()
      .positive()
      .max(1e6)
      .optional()
      .describe("What one request takes; default: 1, of tokens: 1,000, or the whole quota where that is less"),
    prefix: z
      .union([z.literal(64), z.literal(56), z.literal(48)])
      .default(64)
      .describe("ip: the IPv6 network that is counted together. A limit of /56 or /48 does not hold for IPv4"),
    shadow: z.boolean().default(false).describe("Counted and reported, never enforced"),
    lease: z
      .boolean()
      .optional()
      .describe(
        "Whether gateways may draw requests in batches and spend them without asking Redis. Default: for global, endpoint, class and tenant, and for quotas of 10,000 or more. Needs a burst of 40 or a window of 1,000",
      ),
    classes: z.array(z.string().min(1)).min(1).optional().describe("Limit classes it holds for; default: all"),
  })
  .superRefine((limit, context) => {
    const refuse = (path: string, message: string): void => context.addIssue({ code: "custom", path: [path], message });
    const { algorithm, key, unit, burst, cost = 1, period } = limit;
    const quota = algorithm === "bucket" ? (burst ?? limit.limit) : limit.limit;
    if (cost > quota) refuse("cost", "cost is more than the limit ever allows: no request would pass");
    if (burst !== undefined && algorithm !== "bucket") refuse("burst", "burst belongs to the bucket algorithm");
    if (limit.prefix !== 64 && key !== "ip") refuse("prefix", "prefix belongs to limits by ip");
    if (algorithm === "concurrency") {
      if (period !== undefined) refuse("period", "a concurrency limit has no period");
      if (unit === "tokens") refuse("unit", "a concurrency limit counts requests");
      if (limit.cost !== undefined && cost !== 1) refuse("cost", "each request in flight counts once");
      if (limit.limit > MOST_CONCURRENT || !Number.isInteger(limit.limit))
        refuse("limit", `a concurrency limit is a whole number up to ${MOST_CONCURRENT.toLocaleString("en")}`);
      if (limit.lease) refuse("lease", "a concurrency limit cannot be leased");
    } else if (period === undefined) refuse("period", "bucket and window need a period");
    if (unit === "tokens" && limit.lease) refuse("lease", "a token budget cannot be leased");
    if (unit === "tokens" && !Number.isInteger(cost)) refuse("cost", "tokens are whole");
  });

/** What a policy file holds. */
export const policySchema = z
  .strictObject({
    $schema: z.string().optional().describe("For editors"),
    limits: z.array(limitSchema).max(64).describe("In the order in which headers name them"),
  })
  .refine(({ limits }) => new Set(limits.map((limit) => limit.name)).size === limits.length, {
    message: "two limits have the same name",
    path: ["limits"],
  });

/** A policy as a file gives it. */
export type PolicyInput = z.input<typeof policySchema>;

/** One limit as a file gives it, with what is left out filled in. */
export type LimitEntry = z.output<typeof limitSchema>;

/** The limits of a gateway that is given none. */
export const defaultPolicy: PolicyInput = {
  limits: [
    { name: "global", algorithm: "bucket", key: "global", limit: 20, period: 1, burst: 100 },
    { name: "ip", algorithm: "window", key: "ip", limit: 60, period: 60 },
    { name: "ip-56", algorithm: "window", key: "ip", prefix: 56, limit: 240, period: 60 },
    { name: "ip-48", algorithm: "window", key: "ip", prefix: 48, limit: 960, period: 60 },
    { name: "principal", algorithm: "window", key: "principal", limit: 120, period: 60 },
    { name: "chat", algorithm: "window", key: "principal", limit: 10, period: 60, classes: ["chat"] },
    { name: "query", algorithm: "window", key: "principal", limit: 5, period: 60, classes: ["query"] },
    { name: "pairing", algorithm: "window", key: "ip", limit: 5, period: 300, classes: ["pairing"] },
    { name: "token", algorithm: "window", key: "ip", limit: 10, period: 60, classes: ["token"] },
  ],
};
