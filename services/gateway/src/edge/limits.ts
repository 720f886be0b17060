// `/v1/limits`: the limits in force, what they would say of a request, and other ones in their place.
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { z } from "zod";
import { explain, type Question, questionSchema, subjectOf, trialSchema, tryOut } from "../limits/explain.ts";
import type { Limiter } from "../limits/limiter.ts";
import { parsePolicy, type Policy } from "../limits/policy.ts";
import type { PolicySource } from "../limits/policy-source.ts";
import { PUBLIC_SCOPE } from "../identity/authorize.ts";
import { invalidFields, Problem } from "./problem.ts";
import { pathPattern, type RoutePolicy } from "./routes.ts";

export interface LimitsDependencies {
  readonly source: PolicySource;
  readonly limiter: Limiter;
  readonly gateways: () => number;
  /** Puts a policy in the mesh's bucket, or takes it out. */
  readonly store: { put(policy: Uint8Array): Promise<unknown>; delete(): Promise<unknown> };
}

const READ: Omit<RoutePolicy, "template"> = { scope: "limits:read", limitClass: "read" };
const WRITE: Omit<RoutePolicy, "template"> = { scope: "limits:admin", limitClass: "write" };

/** The routes by which limits are looked at and changed. */
export const limitRoutes = {
  show: { template: "/v1/limits", ...READ },
  explain: { template: "/v1/limits:explain", ...READ },
  test: { template: "/v1/limits:test", ...READ },
  apply: { template: "/v1/limits", ...WRITE },
} as const satisfies Record<string, RoutePolicy>;

/** Adds the routes. To be called before those that questions may be about, so that it is told of them. */
export function serveLimits(app: FastifyInstance, deps: LimitsDependencies): void {
  const { source, limiter, store } = deps;
  const routes: { method: string; pattern: RegExp; policy: RoutePolicy }[] = [];
  app.addHook("onRoute", ({ method, config }) => {
    const policy = (config as { policy?: RoutePolicy } | undefined)?.policy;
    if (!policy) return;
    for (const each of [method].flat()) routes.push({ method: each, pattern: pathPattern(policy.template), policy });
  });
  const routeOf = ({ method, path }: Question): RoutePolicy => {
    const [bare = ""] = path.split(/[?#]/);
    const found = routes.find((each) => each.method === method && each.pattern.test(bare));
    return found?.policy ?? { template: "unknown", scope: PUBLIC_SCOPE, limitClass: "" };
  };

  app.get("/v1/limits", { config: { policy: limitRoutes.show } }, () => {
    const { current, origin, since, refused } = source;
    const degraded = limiter.degraded();
    return {
      version: current.version,
      origin,
      since,
      gateways: deps.gateways(),
      ...(degraded === undefined ? {} : { degraded }),
      ...(refused ? { refused } : {}),
      limits: current.limits.map(({ periodMicros, holdMicros, spec: _, classes, ...limit }) => ({
        ...limit,
        period: periodMicros / 1e6,
        hold: holdMicros / 1e6,
        ...(classes ? { classes: [...classes] } : {}),
      })),
    };
  });

  const answer = async (question: Question): Promise<object> => {
    const route = routeOf(question);
    if (route.unlimited) return { route: shown(route), verdict: "allowed", shared: true, limits: [], unlimited: true };
    return { route: shown(route), ...(await explain(limiter, source.current, subjectOf(question, route))) };
  };
  app.post("/v1/limits::explain", { config: { policy: limitRoutes.explain } }, (request) =>
    answer(bodyOf(request, questionSchema)),
  );

  app.post("/v1/limits::test", { config: { policy: limitRoutes.test } }, (request) => {
    const { policy: given, ...trial } = bodyOf(request, trialSchema);
    const policy = given === undefined ? source.current : policyOf(given, "policy.");
    const route = routeOf(trial);
    return { route: shown(route), version: policy.version, ...tryOut(policy, subjectOf(trial, route), trial) };
  });

  app.put("/v1/limits", { config: { policy: limitRoutes.apply } }, (request) => {
    const { input, version, limits } = policyOf(request.body);
    return store.put(Buffer.from(JSON.stringify(input))).then(() => ({ version, limits: limits.length }));
  });

  app.delete("/v1/limits", { config: { policy: limitRoutes.apply } }, () => store.delete().then(() => ({})));
}

function shown({ template, limitClass, scope }: RoutePolicy): object {
  return { template, limitClass, scope };
}

/** @throws Problem 400 naming each field that is wrong. */
function bodyOf<T extends z.ZodType>({ body }: FastifyRequest, schema: T): z.output<T> {
  const { data, error } = schema.safeParse(body ?? {});
  if (error) throw invalidFields(fieldsOf(error, ""));
  return data;
}

/** @throws Problem 400 naming each entry that is wrong. */
function policyOf(input: unknown, prefix = ""): Policy {
  try {
    return parsePolicy(input);
  } catch (error) {
    if (!isZodError(error)) throw error;
    const errors = fieldsOf(error, prefix);
    const detail = errors.map(({ field, message }) => `${field || "the policy"}: ${message}`).join("; ");
    throw new Problem(400, { code: "INVALID_LIMITS", detail, errors });
  }
}

function isZodError(error: unknown): error is z.ZodError {
  return error instanceof Error && Array.isArray((error as z.ZodError).issues);
}

function fieldsOf({ issues }: z.ZodError, prefix: string): { field: string; message: string }[] {
  return issues.slice(0, 20).map(({ path, message }) => ({ field: `${prefix}${path.join(".")}`, message }));
}
