// What one reader has not read yet: bounded, so that a slow reader costs itself its stream and nobody else anything.
import { RpcError, StatusCode } from "@warren/mesh";

/** Most that waits for one reader: messages, and their bytes. */
const MOST_MESSAGES = 512;
const MOST_BYTES = 1024 * 1024;

/** A queue of messages with one reader. */
export class Feed implements AsyncIterableIterator<Uint8Array> {
  readonly #onEnd: () => void;
  readonly #waiting: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #failure: RpcError | undefined;
  #wake: (() => void) | undefined;

  /** @param onEnd Told once, when nothing is read any more. */
  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  push(message: Uint8Array): void {
    if (this.#ended) return;
    if (this.#waiting.length >= MOST_MESSAGES || this.#bytes + message.length > MOST_BYTES) {
      // What it has not read is of no use to a reader that has lost what came after.
      this.#waiting.length = 0;
      return this.fail(
        new RpcError(StatusCode.RESOURCE_EXHAUSTED, "Events came faster than they were read: begin again", {
          reason: "SLOW_READER",
          retryAfterMs: 1_000,
        }),
      );
    }
    this.#waiting.push(message);
    this.#bytes += message.length;
    this.#wake?.();
  }

  /** Ends it; the reader gets what is waiting, then the error. */
  fail(error: RpcError): void {
    if (this.#ended) return;
    this.#failure = error;
    this.#end();
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    for (;;) {
      const message = this.#waiting.shift();
      if (message) {
        this.#bytes -= message.length;
        return { value: message, done: false };
      }
      if (this.#failure) throw this.#failure;
      if (this.#ended) return { value: undefined, done: true };
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.#waiting.length = 0;
    this.#end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#wake?.();
    this.#onEnd();
  }
}
