// How far a turn's stream has come, in words by which another replica can go on with it.
import { type CallContext, RpcError, StatusCode } from "@warren/mesh";

/** A turn after some whole steps: all that was told of it is stored, and nothing else is. */
export interface TurnPlace {
  readonly sessionId: string;
  readonly turnId: string;
  /** Model steps that were taken, the results of their tools told. */
  readonly steps: number;
}

/** What a turn says of its progress. */
export interface TurnProgress {
  /** Where another replica left the turn; undefined: it begins here. */
  readonly from: TurnPlace | undefined;
  /** Once the next event is told the turn can go on elsewhere, from this place. */
  reached(place: TurnPlace): void;
  /** It no longer can: what follows is stored before it is told. Not asynchronous, so that nothing comes between this and that. */
  passed(): void;
}

/** The progress of a turn that nobody can go on with. */
export const unmovable: TurnProgress = { from: undefined, reached: () => undefined, passed: () => undefined };

/** The progress of a turn that is told by a stream, and the numbers of its events. */
export class StreamProgress implements TurnProgress {
  readonly from: TurnPlace | undefined;
  readonly #ctx: CallContext;
  #sequence: number;
  #reached: TurnPlace | undefined;
  #position: string | undefined;

  /** @throws RpcError INVALID_ARGUMENT when the stream is to go on at what is no place. */
  constructor(ctx: CallContext) {
    const left = ctx.resumeFrom === undefined ? undefined : unpack(ctx.resumeFrom);
    this.#ctx = ctx;
    this.from = left?.place;
    this.#sequence = left?.sequence ?? 0;
    this.#position = ctx.resumeFrom;
    this.#stand();
  }

  reached(place: TurnPlace): void {
    this.#reached = place;
  }

  passed(): void {
    this.#position = undefined;
    this.#stand();
  }

  /** The number of the event that is told now, from 1. */
  next(): number {
    this.#sequence += 1;
    this.#position = this.#reached && pack(this.#reached, this.#sequence);
    this.#reached = undefined;
    return this.#sequence;
  }

  #stand(): void {
    this.#ctx.resumable(() => this.#position);
  }
}

/** Whether a call ended because its stream goes on at another replica. */
export function goesOnElsewhere({ aborted, reason }: AbortSignal): boolean {
  return aborted && isMove(reason);
}

/** Whether this is what ends a handler whose stream goes on at another replica. */
export function isMove(reason: unknown): boolean {
  return reason instanceof RpcError && reason.details.reason === "MOVED";
}

const PLACE = /^([A-Za-z0-9_-]{1,64}) ([A-Za-z0-9_-]{1,64}) (\d{1,6}) (\d{1,9})$/;

function pack({ sessionId, turnId, steps }: TurnPlace, sequence: number): string {
  return `${sessionId} ${turnId} ${steps} ${sequence}`;
}

function unpack(position: string): { place: TurnPlace; sequence: number } {
  const [, sessionId, turnId, steps, sequence] = PLACE.exec(position) ?? [];
  if (!sessionId || !turnId)
    throw new RpcError(StatusCode.INVALID_ARGUMENT, "The place where this stream is to go on is none of a turn");
  return { place: { sessionId, turnId, steps: Number(steps) }, sequence: Number(sequence) };
}
