// The caller's side of a stream: opened by an ACK, read message by message, fed with requests where the method streams
// them, cancelled when its reader leaves.
import type { Msg } from "@nats-io/transport-node";
import type { Connection } from "../connection.ts";
import { now } from "../deadline.ts";
import { type Inbox, isInbox, type Route } from "../inbox.ts";
import { decodeStatus, RpcError, StatusCode } from "../status.ts";
import type { TimerWheel, WheelTimer } from "../timer-wheel.ts";
import { DEFAULT_WINDOW, packWindow, type Window } from "./credit.ts";
import { ALIVE_EVERY_MS, credit, FrameKind, GONE_AFTER_MS, parseFrame, plain, windowOf } from "./frame.ts";
import { Incoming } from "./incoming.ts";
import { FRAME_RESERVE, Outgoing } from "./outgoing.ts";

export interface StreamReaderOptions {
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  readonly deadline: number;
  readonly signal: AbortSignal | undefined;
  /** What to send once the call is accepted; undefined: the method takes one request, which went with the call. */
  readonly requests?: AsyncIterable<Uint8Array> | undefined;
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
  readonly #answers: Incoming;
  readonly #ended: (() => void)[] = [];
  readonly #timers: WheelTimer[] = [];
  readonly #abort = (): void => this.#cancel(this.#options.onCancelled());
  #accept!: () => void;
  #refuse!: (error: RpcError) => void;
  #control: string | undefined;
  #requests: Outgoing | undefined;
  #lastHeard = now();
  #over = false;

  constructor(options: StreamReaderOptions) {
    this.#options = options;
    this.accepted = new Promise((resolve, reject) => {
      this.#accept = resolve;
      this.#refuse = reject;
    });
    this.accepted.catch(() => undefined);
    this.#answers = new Incoming({
      grant: ({ frames, bytes }) => this.#send(credit(frames, bytes)),
      onLeave: () => this.#cancel(new RpcError(StatusCode.CANCELLED, "The reader of the stream left")),
    });
    this.route = options.inbox.open((message) => this.#receive(message));
    this.#timers.push(options.wheel.at(options.deadline, () => this.#cancel(options.onExpired())));
    this.#watch();
    if (options.signal?.aborted) this.#abort();
    else options.signal?.addEventListener("abort", this.#abort);
  }

  /** Counts the frames that came, in 32 bits. */
  get received(): number {
    return this.#answers.sequence;
  }

  /** Calls back when the stream is over, however it ended. */
  onEnd(callback: () => void): void {
    this.#ended.push(callback);
  }

  /** Ends the stream with an error from this side. */
  fail(error: RpcError): void {
    if (this.#over) return;
    this.#finish(error);
    this.#refuse(error);
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    return this.#answers[Symbol.asyncIterator]();
  }

  #receive(message: Msg): void {
    if (this.#over) return;
    this.#lastHeard = now();
    const error = this.#options.errorOf(message);
    if (error) return this.fail(error);
    const frame = parseFrame(message.data);
    if (!frame) return this.#cancel(lost("A stream held something that is no frame"));
    if (frame.kind === FrameKind.ACK) return this.#accepted(message.reply, frame.payload);
    if (frame.kind === FrameKind.ERROR) return this.fail(decodeStatus(frame.payload));
    if (frame.kind === FrameKind.ALIVE) return;
    if (frame.kind === FrameKind.CREDIT && this.#requests) return this.#requests.grant(frame);
    const fault = this.#answers.receive(frame);
    if (fault) this.#cancel(fault);
    else if (frame.kind === FrameKind.END) this.#finish();
  }

  #accepted(control: string | undefined, payload: Uint8Array): void {
    // Once: a second one would have the requests sent twice.
    if (this.#control) return;
    // Frames go to inboxes only: whoever accepts a call cannot make its caller publish elsewhere.
    if (!isInbox(control)) return this.#cancel(lost("A stream was accepted without a control inbox"));
    this.#control = control;
    this.#accept();
    if (!this.#options.requests) return;
    const window = windowOf(payload);
    if (window) void this.#sendAll(this.#options.requests, window);
    else this.#cancel(lost("A stream was accepted without a window for its requests"));
  }

  /** Sends every request, until the call is over: whoever makes them is told to stop then. */
  async #sendAll(requests: AsyncIterable<Uint8Array>, window: Window): Promise<void> {
    const outgoing = new Outgoing({
      window,
      mostPayload: this.#options.connection.maxPayload - FRAME_RESERVE,
      publish: (frame) => this.#send(frame),
    });
    this.#requests = outgoing;
    const iterator = requests[Symbol.asyncIterator]();
    // Not awaited: whoever makes them may wait for something itself, and never hear of it.
    this.onEnd(() => void iterator.return?.().catch(() => undefined));
    try {
      while (!this.#over) {
        const next = await iterator.next();
        if (next.done) return outgoing.end();
        const room = outgoing.write(next.value);
        if (room) await room;
      }
    } catch (thrown) {
      this.#cancel(
        thrown instanceof RpcError
          ? thrown
          : new RpcError(StatusCode.CANCELLED, "The requests of a stream could not be made", {}, { cause: thrown }),
      );
    }
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

  #finish(failure?: RpcError): void {
    this.#over = true;
    this.route.close();
    for (const timer of this.#timers) timer.clear();
    this.#options.signal?.removeEventListener("abort", this.#abort);
    this.#answers.end(failure);
    this.#requests?.stop();
    for (const callback of this.#ended) callback();
  }
}

function lost(text: string): RpcError {
  return new RpcError(StatusCode.DATA_LOSS, text);
}
