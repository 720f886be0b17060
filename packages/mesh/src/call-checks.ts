// What is checked of a call by its headers alone, before its request is read or it waits for its turn.
import type { MethodContract } from "@warren/contract";
import { type CallerAssertion, type CallerVerifier, holdsScope } from "./caller.ts";
import { assertKnown } from "./contracts.ts";
import { deadlineWithin } from "./deadline.ts";
import { type RequestHeaders, RPC_HEADER, unpackCall } from "./headers.ts";
import { Invocation } from "./invocation.ts";
import { RpcError, StatusCode } from "./status.ts";
import { unpackStream } from "./stream/resume.ts";
import type { TimerWheel } from "./timer-wheel.ts";

const ANONYMOUS = {
  caller: { principal: "anonymous", tenant: "default", scopes: [], expiresAt: Number.MAX_SAFE_INTEGER },
  assertion: "" as CallerAssertion,
};

/**
 * The context of a call that arrived at `arrived`, in monotonic milliseconds.
 * @throws RpcError INVALID_ARGUMENT for malformed headers, UNAUTHENTICATED or PERMISSION_DENIED for its caller,
 *   FAILED_PRECONDITION for a version of the contract that is not known here.
 */
export function checkedInvocation(
  method: MethodContract,
  carried: RequestHeaders,
  arrived: number,
  verifier: CallerVerifier,
  wheel: TimerWheel,
): Invocation {
  const packed = carried.rpc;
  const call = unpackCall(packed);
  // Without its deadline and its idempotency key it would be another call than the one that was made.
  if (packed !== undefined && !call)
    throw new RpcError(StatusCode.INVALID_ARGUMENT, `The header ${RPC_HEADER} of the call is malformed`);
  const { caller, assertion } =
    carried.caller === undefined && method.scope === "public" ? ANONYMOUS : verifier.verified(carried.caller);
  if (!holdsScope(caller, method.scope))
    throw new RpcError(StatusCode.PERMISSION_DENIED, `${method.path} needs the scope ${method.scope}`, {
      reason: "SCOPE_MISSING",
      metadata: { scope: method.scope },
    });
  assertKnown(method, call?.contracts);
  const deadline = deadlineWithin(call?.remainingMs ?? method.timeoutMs, undefined, arrived);
  const { attempt = 1, idempotencyKey } = call ?? {};
  const resumeFrom = method.streaming ? unpackStream(carried.window)?.position : undefined;
  return new Invocation({ deadline, caller, assertion, idempotencyKey, attempt, resumeFrom }, wheel);
}
