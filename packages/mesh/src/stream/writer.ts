// The server's side of a stream: sends answers as far as there is credit, takes requests where the method streams them,
// and stops the handler when the caller cancels or is gone.
import type { Connection } from "../connection.ts";
import { now } from "../deadline.ts";
import type { Inbox, Route } from "../inbox.ts";
import { encodeStatus, RpcError, StatusCode } from "../status.ts";
import type { TimerWheel, WheelTimer } from "../timer-wheel.ts";
import { DEFAULT_WINDOW, type Window } from "./credit.ts";
import { ALIVE_EVERY_MS, accepted, credit, FrameKind, GONE_AFTER_MS, parseFrame, plain } from "./frame.ts";
import { Incoming } from "./incoming.ts";
import { FRAME_RESERVE, Outgoing } from "./outgoing.ts";

export interface StreamWriterOptions {
  readonly connection: Connection;
  readonly inbox: Inbox;
  readonly wheel: TimerWheel;
  /** Where the client reads. */
  readonly reply: string;
  readonly window: Window;
  /** Whether the caller streams its requests, too. */
  readonly takesRequests?: boolean;
  /** The caller cancelled, is gone, or does not keep to the protocol: the handler should stop. */
  readonly onGone: (reason: RpcError) => void;
}

/** Writes a stream's messages. */
export class StreamWriter {
  /** What the caller streams; nothing when the method takes one request. */
  readonly requests: Incoming;
  readonly #options: StreamWriterOptions;
  readonly #control: Route;
  readonly #answers: Outgoing;
  readonly #mostPayload: number;
  #lastHeard = now();
  #timer: WheelTimer | undefined;
  #over = false;

  constructor(options: StreamWriterOptions) {
    this.#options = options;
    this.#mostPayload = options.connection.maxPayload - FRAME_RESERVE;
    const { window } = options;
    this.#answers = new Outgoing({
      window,
      mostPayload: this.#mostPayload,
      publish: (frame) => this.#publish(frame),
    });
    this.requests = new Incoming({
      grant: ({ frames, bytes }) => this.#publish(credit(frames, bytes)),
      // A handler may answer without having read everything.
      onLeave: () => this.requests.end(),
    });
    if (!options.takesRequests) this.requests.end();
    this.#control = options.inbox.open((message) => this.#receive(message.data));
    const ack = options.takesRequests ? accepted(DEFAULT_WINDOW) : plain(FrameKind.ACK);
    this.#publish(ack, this.#control.subject);
    this.#watch();
  }

  /** False once the reader is gone: write no more. */
  get open(): boolean {
    return !this.#over;
  }

  /** Counts the frames that were sent, in 32 bits; what waits to be sent leaves first. */
  sent(): number {
    this.#answers.flush();
    return this.#answers.sequence;
  }

  /** Sends one message; see {@link Outgoing.write}. */
  write(message: Uint8Array): Promise<boolean> | undefined {
    return this.#answers.write(message);
  }

  /** See {@link Outgoing.halt}. */
  halt(): void {
    this.#answers.halt();
  }

  /** See {@link Outgoing.proceed}. */
  proceed(): void {
    this.#answers.proceed();
  }

  /** Ends the stream without a word. */
  abandon(): void {
    if (!this.#over) this.#finish();
  }

  /** Ends the stream well, or with an error. */
  end(error?: RpcError): void {
    if (this.#over) return;
    if (error) {
      this.#answers.flush();
      this.#publish(plain(FrameKind.ERROR, this.#status(error)));
    } else this.#answers.end();
    this.#finish(error);
  }

  /** An error too large for a frame keeps its code: its reader must learn that the stream failed. */
  #status(error: RpcError): Uint8Array {
    const status = encodeStatus(error);
    if (status.length <= this.#mostPayload) return status;
    return encodeStatus(new RpcError(error.code, "The stream failed with an error that is over the mesh's limit"));
  }

  #receive(data: Uint8Array): void {
    if (this.#over) return;
    this.#lastHeard = now();
    const frame = parseFrame(data);
    if (frame?.kind === FrameKind.CREDIT) return this.#answers.grant(frame);
    if (frame?.kind === FrameKind.CANCEL) return this.lost();
    if (!this.#options.takesRequests || frame?.kind === FrameKind.ALIVE) return;
    const fault = frame
      ? this.requests.receive(frame)
      : new RpcError(StatusCode.DATA_LOSS, "A stream held something that is no frame");
    if (!fault) return;
    this.end(fault);
    this.#options.onGone(fault);
  }

  #watch(): void {
    this.#timer = this.#options.wheel.at(now() + ALIVE_EVERY_MS, () => {
      if (this.#over) return;
      if (now() - this.#lastHeard > GONE_AFTER_MS) return this.lost();
      this.#publish(plain(FrameKind.ALIVE));
      this.#watch();
    });
  }

  /** The caller left, or is out of reach. */
  lost(): void {
    if (this.#over) return;
    const reason = new RpcError(StatusCode.CANCELLED, "The reader of the stream left");
    this.#finish(reason);
    this.#options.onGone(reason);
  }

  #finish(reason?: RpcError): void {
    this.#over = true;
    this.#answers.stop();
    this.requests.end(reason);
    this.#control.close();
    this.#timer?.clear();
  }

  #publish(frame: Uint8Array, reply?: string): void {
    if (!this.#options.connection.up) return this.lost();
    this.#options.connection.nats.publish(this.#options.reply, frame, reply ? { reply } : {});
  }
}
