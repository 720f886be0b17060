// The server's side of a stream: sends what it has credit for, cuts messages to what a frame may hold, and stops the
// handler when the reader cancels or is gone.
import type { Connection } from "../connection.ts";
import { now } from "../deadline.ts";
import type { Inbox, Route } from "../inbox.ts";
import { encodeStatus, RpcError } from "../status.ts";
import type { TimerWheel, WheelTimer } from "../timer-wheel.ts";
import { CreditBalance, type Window } from "./credit.ts";
import { ALIVE_EVERY_MS, FrameKind, GONE_AFTER_MS, parseFrame, plain, sequenced } from "./frame.ts";

/** Bytes of a frame that NATS' own framing and our prefix may need. */
const FRAME_RESERVE = 512;

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

  /** Sends one message, when the reader has room for it. */
  async write(message: Uint8Array): Promise<void> {
    for (let at = 0; at === 0 || at < message.length;) {
      if (!this.#credit.open) await this.#credit.whenOpen();
      if (this.#over) return;
      const part = message.subarray(at, at + this.#mostPayload);
      at += Math.max(1, part.length);
      this.#publish(sequenced(at < message.length ? FrameKind.MORE : FrameKind.DATA, ++this.#sequence, part));
      this.#credit.spend(part.length);
    }
  }

  /** Ends the stream well, or with an error. */
  end(error?: RpcError): void {
    if (this.#over) return;
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
    this.#control.close();
    this.#timer?.clear();
    this.#credit.release();
  }

  #publish(frame: Uint8Array, reply?: string): void {
    if (!this.#options.connection.up) return this.#gone();
    this.#options.connection.nats.publish(this.#options.reply, frame, reply ? { reply } : {});
  }
}
