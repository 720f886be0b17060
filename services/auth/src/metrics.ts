// What the auth service decides, counted: each method of the contract, by whether it granted what was asked for.
import { type CallContext, type Handlers, RpcError, StatusCode } from "@warren/mesh";
import type { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import { Counter, type Registry, startAtZero } from "@warren/service";

/** Statuses that are a decision against the caller, and no failure of the service. */
const REFUSALS: ReadonlySet<StatusCode> = new Set([
  StatusCode.UNAUTHENTICATED,
  StatusCode.PERMISSION_DENIED,
  StatusCode.INVALID_ARGUMENT,
  StatusCode.NOT_FOUND,
  StatusCode.FAILED_PRECONDITION,
  StatusCode.RESOURCE_EXHAUSTED,
  StatusCode.ABORTED,
]);

type AuthHandlers = Handlers<typeof AuthServiceDefinition>;
type Handler = (request: object, ctx: CallContext) => Promise<object>;

/** The same handlers, their decisions counted. */
export function countDecisions(registry: Registry, handlers: AuthHandlers): AuthHandlers {
  const decisions = new Counter({
    name: "warren_auth_decisions_total",
    help: "Decisions about pairing, tokens and devices, by what was asked for and how it ended",
    labelNames: ["action", "outcome"] as const,
    registers: [registry],
  });
  startAtZero(decisions, { action: Object.keys(handlers), outcome: ["granted", "refused", "failed"] });
  const counted = Object.entries(handlers).map(([action, handler]) => {
    const decide = handler as unknown as Handler;
    return [
      action,
      async (request: object, ctx: CallContext) => {
        try {
          const answer = await decide(request, ctx);
          decisions.inc({ action, outcome: "granted" });
          return answer;
        } catch (error) {
          const refused = error instanceof RpcError && REFUSALS.has(error.code);
          decisions.inc({ action, outcome: refused ? "refused" : "failed" });
          throw error;
        }
      },
    ];
  });
  return Object.fromEntries(counted) as AuthHandlers;
}
