// What stands before every route: host, token, limits, authorization, in this order; and before any of the body is read.
import type { FastifyReply, FastifyRequest } from "fastify";
import { holds, PUBLIC_SCOPE, ScopeMissing } from "../identity/authorize.ts";
import { ANONYMOUS } from "../identity/assertions.ts";
import type { ClientAddress } from "../identity/client-address.ts";
import type { Identity } from "../identity/identity.ts";
import type { LocalTrust } from "../identity/local-trust.ts";
import type { Authenticator } from "../identity/token.ts";
import { limitHeaders } from "../limits/headers.ts";
import type { Hold } from "../limits/holds.ts";
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
  /** Undefined on public routes, but for one whose caller proves a key: nobody in particular then. */
  readonly identity: Identity | undefined;
  /** The client's address. */
  readonly address: string;
}

export interface AdmissionDependencies {
  readonly contexts: RequestContexts;
  readonly hosts: HostCheck;
  readonly authenticator: Authenticator;
  readonly addresses: ClientAddress;
  readonly local: LocalTrust;
  readonly limiter: Limiter;
  /** Told who was known, and who was let in. */
  readonly access: (check: "authentication" | "authorization", granted: boolean) => void;
  /** Told of each decision of a limit. */
  readonly decided: (policy: string, outcome: "allowed" | "denied" | "shadow_denied") => void;
  readonly unknown: UnknownRoutes;
}

/** Classes of routes that are not served while their limits cannot be known. */
const GUARDED_CLASSES: ReadonlySet<string> = new Set(["pairing", "token"]);
const UNKNOWN_ROUTE: RoutePolicy = { template: "unknown", scope: PUBLIC_SCOPE, limitClass: "" };

/** Lets requests in, and remembers whom it let in. */
export class Admission {
  readonly #deps: AdmissionDependencies;
  readonly #admitted = new WeakMap<FastifyRequest["raw"], Admitted>();
  readonly #holds = new WeakMap<FastifyRequest["raw"], Hold>();
  readonly #seen = new WeakMap<FastifyRequest["raw"], Admitted>();

  constructor(deps: AdmissionDependencies) {
    this.#deps = deps;
  }

  /** Who sent a request that {@link admit} has let in. */
  of(request: FastifyRequest): Admitted {
    const admitted = this.#admitted.get(request.raw);
    if (admitted === undefined) throw new Error("A request reached its handler without admission");
    return admitted;
  }

  /**
   * Whether somebody wants to know how many tokens the model used for a request; then {@link used} is to be told.
   */
  counts(request: FastifyRequest): boolean {
    return this.#holds.has(request.raw);
  }

  /** Sets right what token budgets have reserved for a request. */
  used(request: FastifyRequest, tokens: number): void {
    this.#holds.get(request.raw)?.used(tokens);
  }

  /** Who sent a request, let in or not; undefined where it did not come so far. For the audit alone. */
  seen(request: FastifyRequest): Admitted | undefined {
    return this.#seen.get(request.raw);
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
    this.#seen.set(request.raw, { identity: undefined, address });
    hosts(request.raw);
    // A bad token is told only after the limits have counted it: guessing is limited like everything else.
    const { identity, failure } = policy.scope === PUBLIC_SCOPE ? {} : await this.#identify(request);
    this.#seen.set(request.raw, { identity, address });
    const subject = subjectOf(identity, this.#limitedAddress(request, address), policy);
    const guarded = GUARDED_CLASSES.has(policy.limitClass) || policy.scope.endsWith(":admin");
    const checked = limiter.check(subject, guarded);
    this.#enforce(checked instanceof Promise ? await checked : checked, request, reply);
    if (!known) throw unknown.problemOf(request);
    if (failure !== undefined) throw failure;
    if (identity !== undefined) this.#authorize(identity, policy.scope);
    const key = policy.scope === PUBLIC_SCOPE ? await this.#deps.authenticator.proofOf(request.raw) : undefined;
    const prover = key === undefined ? undefined : { ...ANONYMOUS, expiresAt: Infinity, key };
    this.#admitted.set(request.raw, { identity: identity ?? prover, address });
  }

  /**
   * The identity of a request on an unlimited route that tells more to those who may know more; undefined for others.
   * @throws Problem over the limits: the route must not be a place to try tokens at.
   */
  async identityOf(request: FastifyRequest, reply: FastifyReply): Promise<Identity | undefined> {
    const { limiter, addresses } = this.#deps;
    const { identity } = await this.#identify(request);
    const template = request.routeOptions.config.policy?.template ?? UNKNOWN_ROUTE.template;
    const address = this.#limitedAddress(request, addresses.of(request.raw));
    const subject = subjectOf(identity, address, { ...UNKNOWN_ROUTE, template });
    this.#enforce(await limiter.check(subject, false), request, reply);
    return identity;
  }

  /** @throws ScopeMissing */
  #authorize(identity: Identity, scope: string): void {
    const granted = holds(identity, scope);
    this.#deps.access("authorization", granted);
    if (!granted) throw new ScopeMissing(scope);
  }

  async #identify(request: FastifyRequest): Promise<{ identity?: Identity; failure?: Error }> {
    try {
      const identity = await this.#deps.authenticator.authenticate(request.raw);
      this.#deps.access("authentication", true);
      return { identity };
    } catch (failure) {
      this.#deps.access("authentication", false);
      return { failure: failure as Error };
    }
  }

  /** Limits by address hold for everybody but a caller of this machine whom the explicit local mode trusts. */
  #limitedAddress(request: FastifyRequest, address: string): string | undefined {
    return this.#deps.local.trusts(request.raw) ? undefined : address;
  }

  #enforce(outcome: LimitOutcome, request: FastifyRequest, reply: FastifyReply): void {
    const { verdict, decisions, shared, hold } = outcome;
    for (const { limit, allowed } of decisions)
      this.#deps.decided(limit.name, allowed ? "allowed" : limit.shadow ? "shadow_denied" : "denied");
    if (hold) this.#keepUntilEnd(hold, request, reply);
    if (verdict === "unavailable")
      throw unavailable("The limits of this route cannot be checked now", 1, "LIMITS_UNAVAILABLE");
    if (verdict === "denied") throw quotaExceeded(outcome);
    // Counters of this process alone would tell the client less than the truth.
    if (shared) void reply.headers(limitHeaders(outcome));
  }

  #keepUntilEnd(hold: Hold, request: FastifyRequest, reply: FastifyReply): void {
    this.#holds.set(request.raw, hold);
    // A request that failed before its response began has not been answered by a model.
    reply.raw.once("close", () => hold.end(!reply.raw.headersSent || reply.raw.statusCode >= 400));
  }
}

function subjectOf(identity: Identity | undefined, address: string | undefined, policy: RoutePolicy): LimitSubject {
  return {
    address,
    principal: identity?.principal,
    tenant: identity?.tenant,
    limitClass: policy.limitClass,
    endpoint: policy.template,
  };
}
