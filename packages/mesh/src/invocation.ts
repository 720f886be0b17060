// One call that is being served: its deadline, its cancellation, its caller.
import type { CallContext } from "./call-context.ts";
import type { Caller, CallerAssertion } from "./caller.ts";
import { RpcError, StatusCode } from "./status.ts";
import { assertPosition } from "./stream/resume.ts";
import { type TimerWheel, WheelEntry } from "./timer-wheel.ts";

/** The context of one call. The signal is made when a handler first asks for it: most never do. */
export class Invocation extends WheelEntry implements CallContext {
  readonly deadline: number;
  readonly caller: Caller;
  readonly assertion: CallerAssertion;
  readonly idempotencyKey: string | undefined;
  readonly attempt: number;
  readonly resumeFrom: string | undefined;
  /** Called when the handler says that its stream can be resumed. */
  onResumable: (() => void) | undefined = undefined;
  readonly #wheel: TimerWheel;
  #controller: AbortController | undefined;
  #reason: RpcError | undefined;
  #position: (() => string | undefined) | undefined;

  constructor(call: Omit<CallContext, "signal" | "resumable">, wheel: TimerWheel) {
    super();
    this.deadline = call.deadline;
    this.caller = call.caller;
    this.assertion = call.assertion;
    this.idempotencyKey = call.idempotencyKey;
    this.attempt = call.attempt;
    this.resumeFrom = call.resumeFrom;
    this.#wheel = wheel;
    wheel.arm(this, call.deadline);
  }

  override onDue(): void {
    this.abort(new RpcError(StatusCode.DEADLINE_EXCEEDED, "The deadline of the call passed while it was served"));
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  /** See {@link CallContext.resumable}. */
  resumable(position: () => string | undefined): void {
    this.#position = position;
    this.onResumable?.();
  }

  /** Where the handler says that its stream stands; undefined when it cannot be resumed from here. */
  position(): string | undefined {
    const position = this.#position?.();
    if (position !== undefined) assertPosition(position);
    return position;
  }

  /** @throws RpcError FAILED_PRECONDITION when the stream is to go on somewhere, and its handler cannot do that. */
  assertResumed(): void {
    if (this.resumeFrom === undefined || this.#position) return;
    throw new RpcError(StatusCode.FAILED_PRECONDITION, "This method cannot resume a stream", {
      reason: "NOT_RESUMABLE",
    });
  }

  /** Why the call was ended before its time, if it was. */
  get aborted(): RpcError | undefined {
    return this.#reason;
  }

  /**
   * Whichever clock is first, the caller's own or this one's, the caller is told the same.
   * @throws RpcError DEADLINE_EXCEEDED when the deadline passed before the answer was there.
   */
  assertInTime(): void {
    if (this.#reason?.code === StatusCode.DEADLINE_EXCEEDED) throw this.#reason;
  }

  /** Tells the handler to stop. */
  abort(reason: RpcError): void {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
  }

  /** The call is over. */
  end(): void {
    this.#wheel.disarm(this);
  }
}
