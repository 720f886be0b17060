// What stands before every route and method, whichever protocol it came by: host, token, limits, authorization, in this
// order; and before any of the body is read.
import type { IncomingMessage } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";
import { holds, PUBLIC_SCOPE, ScopeMissing } from "../identity/authorize.ts";
import { ANONYMOUS } from "../identity/assertions.ts";
import type { ClientAddress } from "../identity/client-address.ts";
import { type Identity, Unauthenticated } from "../identity/identity.ts";
import type { LocalTrust } from "../identity/local-trust.ts";
import type { Authenticator } from "../identity/token.ts";
import { limitHeaders } from "../limits/headers.ts";
import type { Hold } from "../limits/holds.ts";
import type { Limiter, LimitOutcome } from "../limits/limiter.ts";
import type { LimitSubject } from "../limits/policy.ts";
import type { HostCheck } from "./host-check.ts";
import type { LimitDecision } from "./metrics.ts";
import type { UnknownRoutes } from "./not-found.ts";
import { quotaExceeded, unavailable } from "./problem.ts";
import type { RequestContexts } from "./request-context.ts";
import type { RoutePolicy } from "./routes.ts";
import { Turn } from "./turn.ts";

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

/** What admission needs of a response, whichever protocol it goes by. */
export interface Visit {
  /** Takes the headers that say what is left of the limits. */
  readonly tell: (headers: Record<string, string>) => void;
  /** Calls back when the request is over. `failed`: with an error that says that no model worked for it. */
  readonly onEnd: (callback: (failed: boolean) => void) => void;
}

/** A request by any protocol. */
type Raw = Pick<FastifyRequest, "raw">;

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
  readonly decided: (policy: string, outcome: LimitDecision) => void;
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
  readonly #trusted = new WeakSet<FastifyRequest["raw"]>();
  readonly #turn = new Turn();

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
  counts(request: Raw): boolean {
    return this.#holds.has(request.raw);
  }

  /** Sets right what token budgets have reserved for a request. */
  used(request: Raw, tokens: number): void {
    this.#holds.get(request.raw)?.used(tokens);
  }

  /** Who sent a request, let in or not; undefined where it did not come so far. For the audit alone. */
  seen(request: Raw): Admitted | undefined {
    return this.#seen.get(request.raw);
  }

  /** @throws Problem, Unauthenticated, AmbiguousToken or ScopeMissing for a request that is not let in. */
  async admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { contexts, unknown } = this.#deps;
    const known = request.routeOptions.config?.policy;
    if (known) contexts.of(request.raw).route = known.template;
    const admitted = await this.enter(request.raw, known ?? UNKNOWN_ROUTE, visitOf(reply));
    if (!known) throw unknown.problemOf(request);
    this.#admitted.set(request.raw, admitted);
  }

  /**
   * Lets in a request of any protocol: `request` is what it said, in the form of HTTP/1.1.
   * @throws what {@link admit} throws.
   */
  async enter(request: IncomingMessage, policy: RoutePolicy, visit: Visit): Promise<Admitted> {
    const { hosts, addresses, authenticator, local } = this.#deps;
    const address = addresses.of(request);
    if (policy.unlimited) return { identity: undefined, address };
    this.#seen.set(request, { identity: undefined, address });
    hosts(request);
    // Limits by address hold for everybody but a caller of this machine whom the explicit local mode trusts.
    if (local.trusts(request)) this.#trusted.add(request);
    // A bad token is told only after the limits have counted it: guessing is limited like everything else.
    const { identity, failure } = policy.scope === PUBLIC_SCOPE ? {} : await this.#identify(request);
    this.#seen.set(request, { identity, address });
    await (this.#limit(request, { identity, address }, policy, visit) ?? this.#turn.end());
    if (failure !== undefined) throw failure;
    if (identity !== undefined) this.#authorize(identity, policy.scope);
    const proves = policy.scope === PUBLIC_SCOPE && policy !== UNKNOWN_ROUTE;
    const key = proves ? await authenticator.proofOf(request) : undefined;
    const prover = key === undefined ? undefined : { ...ANONYMOUS, expiresAt: Infinity, key };
    return { identity: identity ?? prover, address };
  }

  /**
   * Lets in one more request of somebody whom {@link enter} let in, on a connection that goes on.
   * @throws Unauthenticated when the token has ended since; Problem over the limits.
   */
  async again(request: IncomingMessage, admitted: Admitted, policy: RoutePolicy, visit: Visit): Promise<void> {
    const { identity } = admitted;
    if (identity !== undefined && !this.#deps.authenticator.inForce(identity)) throw new Unauthenticated();
    await this.#limit(request, admitted, policy, visit);
  }

  /**
   * The identity of a request on an unlimited route that tells more to those who may know more; undefined for others.
   * @throws Problem over the limits: the route must not be a place to try tokens at.
   */
  async identityOf(request: FastifyRequest, reply: FastifyReply): Promise<Identity | undefined> {
    const { addresses, local } = this.#deps;
    if (local.trusts(request.raw)) this.#trusted.add(request.raw);
    const { identity } = await this.#identify(request.raw);
    const template = request.routeOptions.config.policy?.template ?? UNKNOWN_ROUTE.template;
    const seen = { identity, address: addresses.of(request.raw) };
    await this.#limit(request.raw, seen, { ...UNKNOWN_ROUTE, template }, visitOf(reply));
    return identity;
  }

  /** @throws ScopeMissing */
  #authorize(identity: Identity, scope: string): void {
    const granted = holds(identity, scope);
    this.#deps.access("authorization", granted);
    if (!granted) throw new ScopeMissing(scope);
  }

  async #identify(request: IncomingMessage): Promise<{ identity?: Identity; failure?: Error }> {
    try {
      const identity = await this.#deps.authenticator.authenticate(request);
      this.#deps.access("authentication", true);
      return { identity };
    } catch (failure) {
      this.#deps.access("authentication", false);
      return { failure: failure as Error };
    }
  }

  /** @throws Problem over the limits, or where they cannot be known and must be. */
  #limit(request: IncomingMessage, seen: Admitted, policy: RoutePolicy, visit: Visit): Promise<void> | undefined {
    const { identity, address } = seen;
    const subject = subjectOf(identity, this.#trusted.has(request) ? undefined : address, policy);
    const guarded = GUARDED_CLASSES.has(policy.limitClass) || policy.scope.endsWith(":admin");
    const checked = this.#deps.limiter.check(subject, guarded);
    if (checked instanceof Promise) return checked.then((outcome) => this.#enforce(outcome, request, visit));
    // Decided here and now, as most are.
    this.#enforce(checked, request, visit);
    return undefined;
  }

  #enforce(outcome: LimitOutcome, request: IncomingMessage, { tell, onEnd }: Visit): void {
    const { verdict, decisions, shared, hold } = outcome;
    for (const { limit, allowed } of decisions)
      this.#deps.decided(limit.name, allowed ? "allowed" : limit.shadow ? "shadow_denied" : "denied");
    if (hold) {
      this.#holds.set(request, hold);
      // Who leaves early, or runs out of time, may have had a model at work: that is not given back.
      onEnd((failed) => hold.end(failed));
    }
    if (verdict === "unavailable")
      throw unavailable("The limits of this route cannot be checked now", 1, "LIMITS_UNAVAILABLE");
    if (verdict === "denied") throw quotaExceeded(outcome);
    // Counters of this process alone would tell the client less than the truth.
    if (shared) tell(limitHeaders(outcome));
  }
}

function visitOf(reply: FastifyReply): Visit {
  const { raw } = reply;
  return {
    tell: (headers) => void reply.headers(headers),
    onEnd: (callback) => void raw.once("close", () => callback(raw.writableFinished && isRefund(raw.statusCode))),
  };
}

/** 504: the time was up while somebody worked. */
function isRefund(status: number): boolean {
  return status >= 400 && status !== 504;
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
