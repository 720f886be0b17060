// Messages that come in by a stream, whichever side reads: their sequence, their credit, parts put together, each once.
import { RpcError, StatusCode } from "../status.ts";
import { CreditMeter, DEFAULT_WINDOW, type Window } from "./credit.ts";
import { type Frame, FrameKind, unbatch } from "./frame.ts";

/** The largest message that is put together from parts, in bytes. */
const LARGEST_MESSAGE = 64 << 20;
/** Its parts: frames of 4 KiB or more, so that parts of next to nothing do not hold many times their size. */
const MOST_PARTS = LARGEST_MESSAGE / 4096;

export interface IncomingOptions {
  /** Allows the other side to send so much more. */
  readonly grant: (more: Window) => void;
  /** The reader stopped before the end. */
  readonly onLeave: () => void;
}

/** Messages in order, as one reader takes them. */
export class Incoming implements AsyncIterable<Uint8Array> {
  readonly #options: IncomingOptions;
  readonly #meter = new CreditMeter(DEFAULT_WINDOW);
  readonly #queue: { message: Uint8Array; lastFrame: number }[] = [];
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #sequence = 0;
  #over = false;
  #failure: RpcError | undefined;
  #wake: (() => void) | undefined;

  constructor(options: IncomingOptions) {
    this.#options = options;
  }

  /** Counts the frames that came, in 32 bits. */
  get sequence(): number {
    return this.#sequence;
  }

  /** Takes a frame that counts; returns why the stream cannot go on, if it cannot. END ends it. */
  receive(frame: Frame): RpcError | undefined {
    if (this.#over) return undefined;
    // Sequence numbers are 32 bits wide and start over after the last.
    if (frame.sequence !== (this.#sequence + 1) >>> 0)
      return lost(`A stream went from frame ${this.#sequence} to ${frame.sequence}`);
    this.#sequence = frame.sequence;
    if (frame.kind === FrameKind.END) return this.#parts.length ? lost("A stream ended within a message") : this.end();
    if (frame.kind === FrameKind.BATCH) return this.#batch(frame.payload);
    if (!this.#meter.receive(frame.payload.length)) return overrun();
    // The view is on the connection's read buffer, which nats.js hands over for good.
    this.#parts.push(frame.payload);
    // Credit for parts of a message is granted as they come: the rest of it could never arrive otherwise.
    if (frame.kind === FrameKind.MORE) return this.#part(frame.payload.length);
    const whole = this.#parts.length === 1 ? frame.payload : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#partBytes = 0;
    this.#queue.push({ message: whole, lastFrame: frame.payload.length });
    this.#wakeUp();
    return undefined;
  }

  /** Nothing comes any more; what came is still read, then the failure, if there is one. */
  end(failure?: RpcError): undefined {
    if (this.#over) return;
    this.#over = true;
    this.#failure = failure;
    this.#wakeUp();
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    // By hand: a generator costs several promises for each message.
    return {
      next: () => this.#next(),
      return: () => {
        this.#options.onLeave();
        return Promise.resolve({ done: true, value: undefined });
      },
    };
  }

  async #next(): Promise<IteratorResult<Uint8Array, undefined>> {
    for (;;) {
      const next = this.#queue.shift();
      if (next) {
        this.#consumed(next.lastFrame);
        return { done: false, value: next.message };
      }
      if (this.#failure) throw this.#failure;
      if (this.#over) return { done: true, value: undefined };
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  #batch(payload: Uint8Array): RpcError | undefined {
    const messages = unbatch(payload);
    if (!messages || this.#parts.length) return lost("A stream held a batch that cannot be read");
    // The frame's own number is that of its first message.
    this.#sequence = (this.#sequence + messages.length - 1) >>> 0;
    for (const message of messages) {
      if (!this.#meter.receive(message.length)) return overrun();
      this.#queue.push({ message, lastFrame: message.length });
    }
    this.#wakeUp();
    return undefined;
  }

  #part(bytes: number): RpcError | undefined {
    this.#partBytes += bytes;
    if (this.#partBytes > LARGEST_MESSAGE || this.#parts.length > MOST_PARTS)
      return new RpcError(StatusCode.RESOURCE_EXHAUSTED, "A message of a stream is larger than a reader takes", {
        reason: "TOO_LARGE",
      });
    this.#consumed(bytes);
    return undefined;
  }

  #consumed(bytes: number): void {
    const more = this.#meter.consume(bytes);
    if (more && !this.#over) this.#options.grant(more);
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}

function lost(text: string): RpcError {
  return new RpcError(StatusCode.DATA_LOSS, text);
}

function overrun(): RpcError {
  return new RpcError(StatusCode.RESOURCE_EXHAUSTED, "A stream sent more than its reader allowed");
}
