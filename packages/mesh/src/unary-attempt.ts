// An attempt at a unary call, and what its outcome settles: the call itself, or a promise of the attempt's own.
import type { OutgoingRequest, Requests } from "./requests.ts";
import type { RpcError } from "./status.ts";
import { UnaryCall } from "./unary-call.ts";

/** One attempt of a call, whoever waits for it. */
abstract class UnaryAttempt extends UnaryCall {
  protected readonly call: OutgoingRequest;
  protected readonly subject: string;
  readonly #requests: Requests;
  readonly #attempt: number;

  constructor(requests: Requests, call: OutgoingRequest, subject: string, attempt: number) {
    super(requests, call);
    this.#requests = requests;
    this.call = call;
    this.subject = subject;
    this.#attempt = attempt;
  }

  protected override send(replyTo: string): void {
    this.#requests.send(this.call, this.subject, this.#attempt, replyTo);
  }
}

type Resolve<T> = (answer: T | Promise<T>) => void;
type Reject = (error: RpcError) => void;

/** Who made a call directly, and is told of its end. */
export interface DirectCallOwner {
  readonly requests: Requests;
  /** The first attempt was answered. */
  succeeded(call: OutgoingRequest): void;
  /** What becomes of a call whose first attempt failed. */
  afterFailure(call: OutgoingRequest, subject: string, error: RpcError): Promise<unknown>;
}

/** The first attempt of a call that has nothing around it, and settles the call itself. */
export class DirectCall extends UnaryAttempt {
  readonly #owner: DirectCallOwner;
  readonly #resolve: Resolve<unknown>;
  readonly #reject: Reject;

  constructor(
    owner: DirectCallOwner,
    call: OutgoingRequest,
    subject: string,
    resolve: Resolve<unknown>,
    reject: Reject,
  ) {
    super(owner.requests, call, subject, 1);
    this.#owner = owner;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  protected override answered(answer: Uint8Array): void {
    this.#owner.succeeded(this.call);
    let read: unknown;
    try {
      read = this.call.decode(answer);
    } catch (error) {
      return this.#reject(error as RpcError);
    }
    this.#resolve(read);
  }

  protected override failed(error: RpcError): void {
    this.#resolve(this.#owner.afterFailure(this.call, this.subject, error));
  }
}

/** Any other attempt, which settles a promise of its own. */
class AwaitedAttempt extends UnaryAttempt {
  readonly #resolve: Resolve<Uint8Array>;
  readonly #reject: Reject;

  constructor(
    requests: Requests,
    call: OutgoingRequest,
    subject: string,
    attempt: number,
    resolve: Resolve<Uint8Array>,
    reject: Reject,
  ) {
    super(requests, call, subject, attempt);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  protected override answered(answer: Uint8Array): void {
    this.#resolve(answer);
  }

  protected override failed(error: RpcError): void {
    this.#reject(error);
  }
}

/** Makes one attempt; `time` is now. @throws RpcError of its failure. */
export function attemptOnce(
  requests: Requests,
  call: OutgoingRequest,
  subject: string,
  attempt: number,
  time: number,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) =>
    new AwaitedAttempt(requests, call, subject, attempt, resolve, reject).start(time),
  );
}
