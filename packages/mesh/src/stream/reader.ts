// The client's side of a stream: checks the sequence, grants credit as frames are consumed, cancels when its reader leaves.
import type { Msg } from "@nats-io/transport-node";
import type { Connection } from "../connection.ts";
import { now } from "../deadline.ts";
import type { Inbox, Route } from "../inbox.ts";
import { decodeStatus, RpcError, StatusCode } from "../status.ts";
import type { TimerWheel, WheelTimer } from "../timer-wheel.ts";
import { CreditMeter, DEFAULT_WINDOW, packWindow } from "./credit.ts";
import { ALIVE_EVERY_MS, credit, FrameKind, GONE_AFTER_MS, parseFrame, plain, unbatch } from "./frame.ts";

/** The largest message that is put together from parts, in bytes. */
const LARGEST_MESSAGE = 64 << 20;

export interface StreamReaderOptions {
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  /** The error when the deadline passes. */
  readonly onExpired: () => RpcError;
  /** The error when `signal` fires. */
  readonly onCancelled: () => RpcError;
  /** The error that a message carries in place of a frame: the service refused the call. */
  readonly errorOf: (message: Msg) => RpcError | undefined;
  /** Cancels a call that no service has accepted yet. */
  readonly onUnaccepted: (route: Route) => void;
}

/** Messages of a stream, in order, each once. */
export class StreamReader implements AsyncIterable<Uint8Array> {
  /** Where the frames arrive: open before the request goes out. */
  readonly route: Route;
  readonly window = packWindow(DEFAULT_WINDOW);
  /** Resolves when a service has taken the call; rejects when it did not. */
  readonly accepted: Promise<void>;
  readonly #options: StreamReaderOptions;
  readonly #meter = new CreditMeter(DEFAULT_WINDOW);
  readonly #queue: { message: Uint8Array; lastFrame: number }[] = [];
  readonly #ended: (() => void)[] = [];
  readonly #timers: WheelTimer[] = [];
  readonly #abort = (): void => this.#cancel(this.#options.onCancelled());
  #accept!: () => void;
  #refuse!: (error: RpcError) => void;
  #control: string | undefined;
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #sequence = 0;
  #lastHeard = now();
  #over = false;
  #failure: RpcError | undefined;
  #wake: (() => void) | undefined;

  constructor(options: StreamReaderOptions) {
    this.#options = options;
    this.accepted = new Promise((resolve, reject) => {
      this.#accept = resolve;
      this.#refuse = reject;
    });
    this.accepted.catch(() => undefined);
    this.route = options.inbox.open((message) => this.#receive(message));
    this.#timers.push(options.wheel.at(options.deadline, () => this.#cancel(options.onExpired())));
    this.#watch();
    if (options.signal?.aborted) this.#abort();
    else options.signal?.addEventListener("abort", this.#abort);
  }

  /** Calls back when the stream is over, however it ended. */
  onEnd(callback: () => void): void {
    this.#ended.push(callback);
  }

  /** Ends the stream with an error from this side. */
  fail(error: RpcError): void {
    if (this.#over) return;
    this.#failure = error;
    this.#finish();
    this.#refuse(error);
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    // By hand: a generator costs several promises for each message.
    return {
      next: () => this.#next(),
      return: () => {
        this.#cancel(new RpcError(StatusCode.CANCELLED, "The reader of the stream left"));
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

  #receive(message: Msg): void {
    if (this.#over) return;
    this.#lastHeard = now();
    const error = this.#options.errorOf(message);
    if (error) return this.fail(error);
    const frame = parseFrame(message.data);
    if (!frame) return this.#cancel(new RpcError(StatusCode.DATA_LOSS, "A stream held something that is no frame"));
    if (frame.kind === FrameKind.ACK) {
      this.#control = message.reply;
      return this.#accept();
    }
    if (frame.kind === FrameKind.ERROR) return this.fail(decodeStatus(frame.payload));
    if (frame.kind === FrameKind.ALIVE) return;
    // Sequence numbers are 32 bits wide and start over after the last.
    if (frame.sequence !== (this.#sequence + 1) >>> 0)
      return this.#cancel(
        new RpcError(StatusCode.DATA_LOSS, `A stream went from frame ${this.#sequence} to ${frame.sequence}`),
      );
    this.#sequence = frame.sequence;
    if (frame.kind === FrameKind.END) return this.#finish();
    if (frame.kind === FrameKind.BATCH) return this.#batch(frame.payload);
    if (!this.#meter.receive(frame.payload.length)) return this.#overrun();
    // The view is on the connection's read buffer, which nats.js hands over for good.
    this.#parts.push(frame.payload);
    // Credit for parts of a message is granted as they come: the rest of it could never arrive otherwise.
    if (frame.kind === FrameKind.MORE) return this.#part(frame.payload.length);
    const whole = this.#parts.length === 1 ? frame.payload : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#partBytes = 0;
    this.#queue.push({ message: whole, lastFrame: frame.payload.length });
    this.#wakeUp();
  }

  #batch(payload: Uint8Array): void {
    const messages = unbatch(payload);
    if (!messages) return this.#cancel(new RpcError(StatusCode.DATA_LOSS, "A stream held a batch that cannot be read"));
    this.#sequence = (this.#sequence + messages.length - 1) >>> 0;
    for (const message of messages) {
      if (!this.#meter.receive(message.length)) return this.#overrun();
      this.#queue.push({ message, lastFrame: message.length });
    }
    this.#wakeUp();
  }

  /** A writer that does not heed the window could fill this process's memory. */
  #overrun(): void {
    this.#cancel(new RpcError(StatusCode.RESOURCE_EXHAUSTED, "A stream sent more than it had credit for"));
  }

  #part(bytes: number): void {
    this.#partBytes += bytes;
    if (this.#partBytes > LARGEST_MESSAGE)
      return this.#cancel(
        new RpcError(StatusCode.RESOURCE_EXHAUSTED, `A message of a stream is over ${LARGEST_MESSAGE} bytes`),
      );
    this.#consumed(bytes);
  }

  #consumed(bytes: number): void {
    const grant = this.#meter.consume(bytes);
    if (grant && !this.#over) this.#send(credit(grant.frames, grant.bytes));
  }

  #send(frame: Uint8Array): void {
    if (this.#control && this.#options.connection.up) this.#options.connection.nats.publish(this.#control, frame);
  }

  #cancel(error: RpcError): void {
    if (this.#over) return;
    if (this.#control) this.#send(plain(FrameKind.CANCEL));
    else this.#options.onUnaccepted(this.route);
    this.fail(error);
  }

  /** Says that this side is there, and notices when the other is not. */
  #watch(): void {
    this.#timers[1] = this.#options.wheel.at(now() + ALIVE_EVERY_MS, () => {
      if (this.#over) return;
      if (now() - this.#lastHeard > GONE_AFTER_MS)
        return this.#cancel(
          new RpcError(StatusCode.UNAVAILABLE, "The service of a stream fell silent", { reason: "STREAM_LOST" }),
        );
      this.#send(plain(FrameKind.ALIVE));
      this.#watch();
    });
  }

  #finish(): void {
    this.#over = true;
    this.route.close();
    for (const timer of this.#timers) timer.clear();
    this.#options.signal?.removeEventListener("abort", this.#abort);
    for (const callback of this.#ended) callback();
    this.#wakeUp();
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
