// The server's side of a stream: sends what it has credit for, cuts messages to what a frame may hold, and stops the
// handler when the reader cancels or is gone.
import type { Connection } from "../connection.ts";
import { now } from "../deadline.ts";
import type { Inbox, Route } from "../inbox.ts";
import { encodeStatus, RpcError } from "../status.ts";
import type { TimerWheel, WheelTimer } from "../timer-wheel.ts";
import { CreditBalance, type Window } from "./credit.ts";
import { ALIVE_EVERY_MS, batch, FrameKind, GONE_AFTER_MS, parseFrame, plain, sequenced } from "./frame.ts";

/** Bytes of a frame that NATS' own framing and our prefix may need. */
const FRAME_RESERVE = 512;

/** Bytes up to which a message may share a frame, and up to which a shared frame grows. */
const LARGEST_BATCHED = 16_384;
/** Messages that share a frame. */
const MOST_BATCHED = 64;

export interface StreamWriterOptions {
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  /** Where the client reads. */
  readonly reply: string;
  readonly window: Window;
  /** The reader cancelled or is gone: the handler should stop. */
  readonly onGone: () => void;
}

/** Writes a stream's messages. */
export class StreamWriter {
  readonly #options: StreamWriterOptions;
  readonly #control: Route;
  readonly #credit: CreditBalance;
  readonly #mostPayload: number;
  #batch: Uint8Array[] = [];
  #batchBytes = 0;
  #flushing: NodeJS.Immediate | undefined;
  #sequence = 0;
  #lastHeard = now();
  #timer: WheelTimer | undefined;
  #over = false;

  constructor(options: StreamWriterOptions) {
    this.#options = options;
    this.#credit = new CreditBalance(options.window);
    this.#mostPayload = options.connection.maxPayload - FRAME_RESERVE;
    this.#control = options.inbox.open((message) => this.#receive(message.data));
    this.#publish(plain(FrameKind.ACK), this.#control.subject);
    this.#watch();
  }

  /** False once the reader is gone: write no more. */
  get open(): boolean {
    return !this.#over;
  }

  /**
   * Sends one message. Small ones wait for the end of this turn of the event loop and leave together: NATS' cost is by
   * the frame, not by the byte.
   * @returns a promise to wait for when the reader has no room now; undefined when the message was taken.
   */
  write(message: Uint8Array): Promise<void> | undefined {
    if (message.length > LARGEST_BATCHED || !this.#credit.open) return this.#writeAlone(message);
    this.#take(message);
    return undefined;
  }

  /** Waits for room where there is none. */
  async #writeAlone(message: Uint8Array): Promise<void> {
    this.#flush();
    if (message.length <= LARGEST_BATCHED) {
      if (!this.#credit.open) await this.#credit.whenOpen();
      return this.#take(message);
    }
    for (let at = 0; at === 0 || at < message.length;) {
      if (!this.#credit.open) await this.#credit.whenOpen();
      if (this.#over) return;
      const part = message.subarray(at, at + this.#mostPayload);
      at += Math.max(1, part.length);
      this.#publish(sequenced(at < message.length ? FrameKind.MORE : FrameKind.DATA, ++this.#sequence, part));
      this.#credit.spend(part.length);
    }
  }

  #take(message: Uint8Array): void {
    if (this.#over) return;
    this.#credit.spend(message.length);
    this.#batch.push(message);
    this.#batchBytes += message.length;
    if (this.#batch.length >= MOST_BATCHED || this.#batchBytes >= LARGEST_BATCHED) this.#flush();
    // What is full now leaves at once: the reader's next grant depends on it.
    else if (!this.#credit.open) this.#flush();
    else this.#flushing ??= setImmediate(() => this.#flush());
  }

  #flush(): void {
    clearImmediate(this.#flushing);
    this.#flushing = undefined;
    const [first, ...rest] = this.#batch;
    if (!first) return;
    const sequence = this.#sequence + 1;
    this.#publish(rest.length ? batch(sequence, this.#batch) : sequenced(FrameKind.DATA, sequence, first));
    this.#sequence += this.#batch.length;
    this.#batch = [];
    this.#batchBytes = 0;
  }

  /** Ends the stream well, or with an error. */
  end(error?: RpcError): void {
    if (this.#over) return;
    this.#flush();
    if (error) this.#publish(plain(FrameKind.ERROR, this.#status(error)));
    else this.#publish(sequenced(FrameKind.END, ++this.#sequence, new Uint8Array()));
    this.#finish();
  }

  /** An error too large for a frame keeps its code: its reader must learn that the stream failed. */
  #status(error: RpcError): Uint8Array {
    const status = encodeStatus(error);
    if (status.length <= this.#mostPayload) return status;
    return encodeStatus(new RpcError(error.code, "The stream failed with an error that is over the mesh's limit"));
  }

  #receive(data: Uint8Array): void {
    this.#lastHeard = now();
    const frame = parseFrame(data);
    if (frame?.kind === FrameKind.CREDIT) this.#credit.grant(frame);
    else if (frame?.kind === FrameKind.CANCEL) this.#gone();
  }

  #watch(): void {
    this.#timer = this.#options.wheel.at(now() + ALIVE_EVERY_MS, () => {
      if (this.#over) return;
      if (now() - this.#lastHeard > GONE_AFTER_MS) return this.#gone();
      this.#publish(plain(FrameKind.ALIVE));
      this.#watch();
    });
  }

  #gone(): void {
    if (this.#over) return;
    this.#finish();
    this.#options.onGone();
  }

  #finish(): void {
    this.#over = true;
    clearImmediate(this.#flushing);
    this.#control.close();
    this.#timer?.clear();
    this.#credit.release();
  }

  #publish(frame: Uint8Array, reply?: string): void {
    if (!this.#options.connection.up) return this.#gone();
    this.#options.connection.nats.publish(this.#options.reply, frame, reply ? { reply } : {});
  }
}
