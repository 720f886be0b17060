// One stream that is served: the handler's answers to its caller, and a way to leave so that it can go on elsewhere.
import type { MeshLog } from "../connection.ts";
import type { Invocation } from "../invocation.ts";
import { RpcError, StatusCode, toRpcError } from "../status.ts";
import type { Incoming } from "./incoming.ts";
import { movedError } from "./resume.ts";
import { StreamWriter, type StreamWriterOptions } from "./writer.ts";

export interface ServedStreamOptions extends Omit<StreamWriterOptions, "onGone"> {
  readonly invocation: Invocation;
  readonly log: MeshLog;
}

/** Carries what a handler yields. */
export class ServedStream {
  readonly #invocation: Invocation;
  readonly #log: MeshLog;
  readonly #writer: StreamWriter;
  /** Where the handler stood after the last message that was sent whole; undefined: it cannot go on from there. */
  #position: string | undefined;
  #leaving = false;
  #writing = false;
  #moved = false;

  constructor({ invocation, log, ...options }: ServedStreamOptions) {
    this.#invocation = invocation;
    this.#log = log;
    this.#writer = new StreamWriter({ ...options, onGone: (reason) => invocation.abort(reason) });
    // A writer that waits for credit, or for a handler that does not heed its signal, ends with the call all the same.
    invocation.signal.addEventListener("abort", () => this.#writer.end(invocation.aborted));
    invocation.onResumable = () => this.#stand();
  }

  /** What the caller streams. */
  get requests(): Incoming {
    return this.#writer.requests;
  }

  /** Sends every answer; resolves when the stream is over, with what it failed by. */
  async run(answers: AsyncIterable<Uint8Array> | Promise<Uint8Array>): Promise<RpcError | undefined> {
    try {
      if (Symbol.asyncIterator in answers) await this.#sendAll(answers);
      else await this.#send(await answers);
      if (this.#moved) return undefined;
      if (this.#invocation.aborted) throw this.#invocation.aborted;
      this.#writer.end();
      return undefined;
    } catch (thrown) {
      // What a handler does once its stream went on elsewhere is nobody's failure.
      if (this.#moved) return undefined;
      const failure =
        this.#invocation.aborted ??
        toRpcError(thrown, (errorId, err) => this.#log.error({ errorId, err }, "A streaming handler failed"));
      this.#writer.end(failure);
      return failure;
    }
  }

  /** The service stops: the stream ends as soon as it can go on at another replica, and runs on where it never can. */
  leave(): void {
    this.#leaving = true;
    if (this.#position === undefined) return;
    // A message that waits for room is either sent or not when its wait ends: only then it is known where the stream stands.
    if (this.#writing) this.#writer.halt();
    else this.#move(this.#position);
  }

  /** The caller is out of reach: the handler is told to stop. */
  lost(): void {
    this.#writer.lost();
  }

  /** Ends without a word what never ran: its caller is told otherwise. */
  abandon(): void {
    this.#writer.abandon();
  }

  async #sendAll(answers: AsyncIterable<Uint8Array>): Promise<void> {
    const iterator = answers[Symbol.asyncIterator]();
    try {
      for (let first = true; ; first = false) {
        const next = await iterator.next();
        if (this.#moved) return;
        if (this.#invocation.aborted) throw this.#invocation.aborted;
        if (first) this.#invocation.assertResumed();
        if (next.done) return;
        await this.#send(next.value);
        if (this.#moved || !this.#writer.open) return;
      }
    } finally {
      // Not awaited: a handler that waits for something may heed its signal late.
      iterator.return?.().catch(() => undefined);
    }
  }

  async #send(answer: Uint8Array): Promise<void> {
    const room = this.#writer.write(answer);
    if (room) {
      this.#writing = true;
      const sent = await room;
      this.#writing = false;
      if (!sent) {
        if (this.#leaving && this.#position !== undefined) this.#move(this.#position);
        return;
      }
    }
    this.#stand();
  }

  /** Notes where the handler stands: between two messages it waits, so that what it says is true. */
  #stand(): void {
    this.#position = this.#invocation.position();
    if (!this.#leaving) return;
    if (this.#position === undefined) this.#writer.proceed();
    else this.#move(this.#position);
  }

  #move(position: string): void {
    if (this.#moved || !this.#writer.open) return;
    this.#moved = true;
    this.#writer.end(movedError(position, this.#writer.sent()));
    this.#invocation.abort(
      new RpcError(StatusCode.UNAVAILABLE, "The service stops: the stream goes on elsewhere", { reason: "MOVED" }),
    );
  }
}
