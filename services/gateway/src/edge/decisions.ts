// Tells the audit who was refused, and what administrators did; and the auth service which keys were used.
import type { FastifyInstance, FastifyRequest } from "fastify";
import { methods } from "@warren/contract";
import { StatusCode } from "@warren/mesh";
import type { DecisionTrail } from "@warren/service";
import { networkKey } from "../identity/client-address.ts";
import type { Identity } from "../identity/identity.ts";
import type { EndedCall } from "../grpc/interceptor.ts";
import type { KeyUse } from "../identity/key-use.ts";
import type { Admission } from "./admission.ts";
import { problemOf } from "./problem.ts";
import type { ContractRoute, RoutePolicy } from "./routes.ts";

export interface DecisionDependencies {
  readonly admission: Pick<Admission, "seen">;
  readonly trail: Pick<DecisionTrail, "record">;
  readonly keyUse: Pick<KeyUse, "note">;
}

/** Refusals that the auth service tells the audit itself, with what only it knows. */
const TOLD_ELSEWHERE: ReadonlySet<string> = new Set(["PAIRING_REFUSED", "REFRESH_REFUSED", "WRONG_FACTOR"]);
/** Services whose changes are in the audit under events of their own. */
const SELF_AUDITED: ReadonlySet<string> = new Set([
  "warren.auth.v1.AuthService",
  "warren.auth.v1.AccessService",
  "warren.secrets.v1.SecretsService",
]);
const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/** How a request ended, for the audit. Edges other than HTTP's call it, too. */
export interface EndedRequest {
  /** `POST /v1/keys`, from the route's template: never from the path. */
  readonly action: string;
  /** What it was about: the path itself. */
  readonly resource?: string | undefined;
  readonly identity: Identity | undefined;
  readonly address: string;
  readonly outcome: "allowed" | "denied";
  /** Why it was denied: a problem's code. */
  readonly reason?: string | undefined;
}

/** Tells the audit of a request. */
export function tell(trail: Pick<DecisionTrail, "record">, ended: EndedRequest): void {
  const { action, resource, identity, address, outcome, reason } = ended;
  trail.record({
    principal: identity?.principal ?? "anonymous",
    action,
    // What anonymous callers write into paths is theirs to choose: it stays out.
    resource: identity ? resource : undefined,
    allowed: outcome === "allowed",
    reason,
    address,
    network: networkKey(address),
  });
}

/** Follows every request of a server to its end. Call it before routes are added. */
export function followDecisions(app: FastifyInstance, { admission, trail, keyUse }: DecisionDependencies): void {
  const reasons = new WeakMap<FastifyRequest["raw"], string>();
  app.addHook("onError", (request, _reply, error, done) => {
    const problem = problemOf(error, () => undefined);
    if (problem.status === 401 || problem.status === 403) reasons.set(request.raw, problem.options.code);
    done();
  });
  app.addHook("onResponse", (request, reply, done) => {
    const policy = request.routeOptions.config?.policy;
    const seen = admission.seen(request);
    if (policy && seen) {
      const { identity, address } = seen;
      const action = `${request.method} ${policy.template}`;
      const resource = (request.raw.url ?? "").split("?")[0];
      const { statusCode } = reply;
      const denied = statusCode === 401 || statusCode === 403;
      const reason = reasons.get(request.raw) ?? "";
      const about = { action, resource, identity, address };
      if (denied && !TOLD_ELSEWHERE.has(reason)) tell(trail, { ...about, outcome: "denied", reason });
      else if (statusCode < 400 && identity && isAdministration(request.method, policy))
        tell(trail, { ...about, outcome: "allowed" });
      if (!denied && identity?.credential !== undefined && identity.principal.startsWith("key:"))
        keyUse.note(identity.credential);
    }
    done();
  });
}

/** A change that asks for the right to change or to administer, of a service that does not tell of it itself. */
export function isAdministration(verb: string, policy: RoutePolicy): boolean {
  const { unary } = policy as Partial<ContractRoute>;
  return /:(?:write|admin)$/.test(policy.scope) && !SAFE_METHODS.has(verb) && !SELF_AUDITED.has(unary?.service ?? "");
}

/** Tells of a gRPC call what {@link followDecisions} tells of a request. */
export function callFollower({ admission, trail, keyUse }: DecisionDependencies): (call: EndedCall) => void {
  return ({ path, code, reason, request, policy }) => {
    const seen = admission.seen({ raw: request });
    if (!policy || !seen) return;
    const { identity, address } = seen;
    const about = { action: `gRPC ${path}`, identity, address };
    const denied = code === StatusCode.UNAUTHENTICATED || code === StatusCode.PERMISSION_DENIED;
    if (denied && !TOLD_ELSEWHERE.has(reason ?? "")) tell(trail, { ...about, outcome: "denied", reason });
    else if (code === StatusCode.OK && identity && isAdministrativeCall(path, policy))
      tell(trail, { ...about, outcome: "allowed" });
    if (!denied && identity?.credential !== undefined && identity.principal.startsWith("key:"))
      keyUse.note(identity.credential);
  };
}

function isAdministrativeCall(path: string, { scope }: RoutePolicy): boolean {
  const method = methods.get(path);
  if (method === undefined || SELF_AUDITED.has(method.service)) return false;
  return /:(?:write|admin)$/.test(scope) && !SAFE_METHODS.has(method.http?.verb ?? "");
}
