// What stands before every route: host, token, limits, authorization, in this order; and before any of the body is read.
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Counter } from "prom-client";
import { holds, PUBLIC_SCOPE, ScopeMissing } from "../identity/authorize.ts";
import { addressKey, type ClientAddress } from "../identity/client-address.ts";
import type { Identity } from "../identity/identity.ts";
import type { Authenticator } from "../identity/token.ts";
import { limitHeaders } from "../limits/headers.ts";
import type { Limiter, LimitOutcome } from "../limits/limiter.ts";
import type { LimitSubject } from "../limits/policy.ts";
import type { HostCheck } from "./host-check.ts";
import type { UnknownRoutes } from "./not-found.ts";
import { quotaExceeded, unavailable } from "./problem.ts";
import type { RequestContexts } from "./request-context.ts";
import type { RoutePolicy } from "./routes.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** What admission needs to know of the route. Absent: there is no such route. */
    policy?: RoutePolicy;
  }
}

/** Who was let in. */
export interface Admitted {
  /** Undefined on public routes. */
  readonly identity: Identity | undefined;
  /** The client's address. */
  readonly address: string;
}

export interface AdmissionDependencies {
  readonly contexts: RequestContexts;
  readonly hosts: HostCheck;
  readonly authenticator: Authenticator;
  readonly addresses: ClientAddress;
  readonly limiter: Limiter;
  readonly decisions: Counter<"policy" | "outcome">;
  readonly unknown: UnknownRoutes;
}

/** Classes of routes that are not served while their limits cannot be known. */
const GUARDED_CLASSES: ReadonlySet<string> = new Set(["pairing", "token"]);
const UNKNOWN_ROUTE: RoutePolicy = { template: "unknown", scope: PUBLIC_SCOPE, limitClass: "" };

/** Lets requests in, and remembers whom it let in. */
export class Admission {
  readonly #deps: AdmissionDependencies;
  readonly #admitted = new WeakMap<FastifyRequest["raw"], Admitted>();

  constructor(deps: AdmissionDependencies) {
    this.#deps = deps;
  }

  /** Who sent a request that {@link admit} has let in. */
  of(request: FastifyRequest): Admitted {
    const admitted = this.#admitted.get(request.raw);
    if (admitted === undefined) throw new Error("A request reached its handler without admission");
    return admitted;
  }

  /** @throws Problem, Unauthenticated, AmbiguousToken or ScopeMissing for a request that is not let in. */
  async admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { contexts, hosts, limiter, addresses, unknown } = this.#deps;
    const known = request.routeOptions.config?.policy;
    const policy = known ?? UNKNOWN_ROUTE;
    if (known) contexts.of(request.raw).route = known.template;
    const address = addresses.of(request.raw);
    if (policy.unlimited) {
      this.#admitted.set(request.raw, { identity: undefined, address });
      return;
    }
    hosts(request.raw);
    // A bad token is told only after the limits have counted it: guessing is limited like everything else.
    const { identity, failure } = policy.scope === PUBLIC_SCOPE ? {} : await this.#identify(request);
    const subject = subjectOf(identity, address, policy);
    const guarded = GUARDED_CLASSES.has(policy.limitClass) || policy.scope.endsWith(":admin");
    this.#enforce(await limiter.check(subject, guarded), reply);
    if (!known) throw unknown.problemOf(request);
    if (failure !== undefined) throw failure;
    if (identity !== undefined && !holds(identity, policy.scope)) throw new ScopeMissing(policy.scope);
    this.#admitted.set(request.raw, { identity, address });
  }

  /**
   * The identity of a request on an unlimited route that tells more to those who may know more; undefined for others.
   * @throws Problem over the limits: the route must not be a place to try tokens at.
   */
  async identityOf(request: FastifyRequest, reply: FastifyReply): Promise<Identity | undefined> {
    const { limiter, addresses } = this.#deps;
    const { identity } = await this.#identify(request);
    const template = request.routeOptions.config.policy?.template ?? UNKNOWN_ROUTE.template;
    const subject = subjectOf(identity, addresses.of(request.raw), { ...UNKNOWN_ROUTE, template });
    this.#enforce(await limiter.check(subject, false), reply);
    return identity;
  }

  async #identify(request: FastifyRequest): Promise<{ identity?: Identity; failure?: Error }> {
    try {
      return { identity: await this.#deps.authenticator.authenticate(request.raw) };
    } catch (failure) {
      return { failure: failure as Error };
    }
  }

  #enforce({ verdict, decisions, shared }: LimitOutcome, reply: FastifyReply): void {
    for (const { limit, allowed } of decisions) {
      const outcome = allowed ? "allowed" : limit.shadow ? "shadow_denied" : "denied";
      this.#deps.decisions.inc({ policy: limit.name, outcome });
    }
    if (verdict === "unavailable")
      throw unavailable("The limits of this route cannot be checked now", 1, "LIMITS_UNAVAILABLE");
    if (verdict === "denied") throw quotaExceeded(decisions);
    // Counters of this process alone would tell the client less than the truth.
    if (shared) void reply.headers(limitHeaders(decisions));
  }
}

function subjectOf(identity: Identity | undefined, address: string, policy: RoutePolicy): LimitSubject {
  return {
    address: addressKey(address),
    principal: identity?.principal,
    tenant: identity?.tenant,
    limitClass: policy.limitClass,
    endpoint: policy.template,
  };
}
