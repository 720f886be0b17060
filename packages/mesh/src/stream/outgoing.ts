// Messages that go out by a stream, whichever side writes: only what there is credit for, small ones together, large ones
// in parts.
import { CreditBalance, type Window } from "./credit.ts";
import { batch, FrameKind, sequenced } from "./frame.ts";

/** Bytes of a frame that NATS' own framing and our prefix may need. */
export const FRAME_RESERVE = 512;

/** Bytes up to which a message may share a frame, and up to which a shared frame grows. */
const LARGEST_BATCHED = 16_384;
/** Messages that share a frame. */
const MOST_BATCHED = 64;

export interface OutgoingOptions {
  readonly publish: (frame: Uint8Array) => void;
  /** What the other side takes before it grants more. */
  readonly window: Window;
  /** Bytes of message that a frame holds at most. */
  readonly mostPayload: number;
}

/** Writes messages as frames, until it is stopped. */
export class Outgoing {
  readonly #options: OutgoingOptions;
  readonly #credit: CreditBalance;
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #flushing: NodeJS.Immediate | undefined;
  #sequence = 0;
  #over = false;
  #halted = false;

  constructor(options: OutgoingOptions) {
    this.#options = options;
    this.#credit = new CreditBalance(options.window);
  }

  /** Counts the frames that were sent, in 32 bits. */
  get sequence(): number {
    return this.#sequence >>> 0;
  }

  /**
   * Sends one message. Small ones wait for the end of this turn of the event loop and leave together: NATS' cost is by
   * the frame, not by the byte.
   * @returns undefined when the message was taken; a promise to wait for when the other side has no room now, of whether
   *   the message was sent whole: not, when this was stopped or halted before.
   */
  write(message: Uint8Array): Promise<boolean> | undefined {
    if (message.length > LARGEST_BATCHED || !this.#credit.open) return this.#writeAlone(message);
    this.#take(message);
    return undefined;
  }

  /** The other side takes so much more. */
  grant(more: Window): void {
    this.#credit.grant(more);
  }

  /** Sends what waits to leave together. */
  flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    const [first, ...rest] = this.#batch;
    if (!first) return;
    const sequence = this.#sequence + 1;
    this.#options.publish(rest.length ? batch(sequence, this.#batch) : sequenced(FrameKind.DATA, sequence, first));
    this.#sequence += this.#batch.length;
    this.#batch = [];
    this.#batchBytes = 0;
  }

  /** Says that no more comes. */
  end(): void {
    if (this.#over) return;
    this.flush();
    this.#options.publish(sequenced(FrameKind.END, ++this.#sequence, new Uint8Array()));
    this.stop();
  }

  /** Lets no more messages in until {@link proceed}: one that waits for room is not sent. */
  halt(): void {
    this.#halted = true;
    this.#credit.release();
  }

  /** Lets messages in again. */
  proceed(): void {
    this.#halted = false;
  }

  /** Sends nothing more; whoever waits for room waits no longer. */
  stop(): void {
    this.#over = true;
    clearImmediate(this.#flushing);
    this.#credit.release();
  }

  /** Waits for room where there is none. */
  async #writeAlone(message: Uint8Array): Promise<boolean> {
    this.flush();
    if (message.length <= LARGEST_BATCHED) {
      if (!this.#credit.open) await this.#credit.whenOpen();
      return this.#take(message);
    }
    for (let at = 0; at === 0 || at < message.length;) {
      if (!this.#credit.open) await this.#credit.whenOpen();
      if (this.#over || this.#halted) return false;
      const part = message.subarray(at, at + this.#options.mostPayload);
      at += Math.max(1, part.length);
      this.#options.publish(sequenced(at < message.length ? FrameKind.MORE : FrameKind.DATA, ++this.#sequence, part));
      this.#credit.spend(part.length);
    }
    return true;
  }

  #take(message: Uint8Array): boolean {
    if (this.#over || this.#halted) return false;
    this.#credit.spend(message.length);
    this.#batch.push(message);
    this.#batchBytes += message.length;
    if (this.#batch.length >= MOST_BATCHED || this.#batchBytes >= LARGEST_BATCHED) this.flush();
    // What is full now leaves at once: the reader's next grant depends on it.
    else if (!this.#credit.open) this.flush();
    else this.#flushing ??= setImmediate(() => this.flush());
    return true;
  }
}
