// Frames of a stream: one byte of kind, then what the kind needs; numbers are big-endian.
// Server to client: ACK (its reply subject is the control inbox), ERROR with a google.rpc.Status.
// Client to server: CANCEL. Whoever streams messages: DATA and MORE with a sequence number (MORE: the message goes on in
// the next frame), BATCH, END. Whoever reads them: CREDIT with frames and bytes. Both: ALIVE.

import type { Window } from "./credit.ts";

export const FrameKind = {
  ACK: 1,
  DATA: 2,
  MORE: 3,
  END: 4,
  ERROR: 5,
  ALIVE: 6,
  CREDIT: 7,
  CANCEL: 8,
  BATCH: 9,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

/** Bytes before the payload of DATA, MORE and END. */
export const SEQUENCE_PREFIX = 5;

/** A frame that counts: DATA, MORE or END. */
export function sequenced(kind: FrameKind, sequence: number, payload: Uint8Array): Uint8Array {
  const frame = Buffer.allocUnsafe(SEQUENCE_PREFIX + payload.length);
  frame[0] = kind;
  frame.writeUInt32BE(sequence >>> 0, 1);
  frame.set(payload, SEQUENCE_PREFIX);
  return frame;
}

/** Bytes before each message of a BATCH: its length. */
const LENGTH_PREFIX = 4;

/** Several whole messages in one frame, the first of which has the sequence number `first`. */
export function batch(first: number, messages: readonly Uint8Array[]): Uint8Array {
  const size = messages.reduce((sum, message) => sum + LENGTH_PREFIX + message.length, SEQUENCE_PREFIX);
  const frame = Buffer.allocUnsafe(size);
  frame[0] = FrameKind.BATCH;
  frame.writeUInt32BE(first >>> 0, 1);
  let at = SEQUENCE_PREFIX;
  for (const message of messages) {
    frame.writeUInt32BE(message.length, at);
    frame.set(message, at + LENGTH_PREFIX);
    at += LENGTH_PREFIX + message.length;
  }
  return frame;
}

/** The messages of a BATCH's payload; undefined when it is malformed or empty. */
export function unbatch(payload: Uint8Array): Uint8Array[] | undefined {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const messages: Uint8Array[] = [];
  for (let at = 0; at < payload.length;) {
    if (at + LENGTH_PREFIX > payload.length) return undefined;
    const end = at + LENGTH_PREFIX + view.getUint32(at);
    if (end > payload.length) return undefined;
    messages.push(payload.subarray(at + LENGTH_PREFIX, end));
    at = end;
  }
  return messages.length ? messages : undefined;
}

/** A frame of kind and payload only: ACK, ERROR, ALIVE, CANCEL. */
export function plain(kind: FrameKind, payload: Uint8Array = new Uint8Array()): Uint8Array {
  const frame = new Uint8Array(1 + payload.length);
  frame[0] = kind;
  frame.set(payload, 1);
  return frame;
}

/** Credit for so many more frames and bytes. */
export function credit(frames: number, bytes: number): Uint8Array {
  const frame = Buffer.allocUnsafe(9);
  frame[0] = FrameKind.CREDIT;
  frame.writeUInt32BE(frames, 1);
  frame.writeUInt32BE(bytes, 5);
  return frame;
}

/** ACK of a call that streams its requests: how much of them the server takes before it grants more. */
export function accepted({ frames, bytes }: Window): Uint8Array {
  return plain(FrameKind.ACK, credit(frames, bytes).subarray(1));
}

/** The window that the payload of an ACK names; undefined when it names none. */
export function windowOf(payload: Uint8Array): Window | undefined {
  if (payload.length < 8) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const window = { frames: view.getUint32(0), bytes: view.getUint32(4) };
  return window.frames > 0 && window.bytes > 0 ? window : undefined;
}

/** What a frame holds; undefined when it is none. */
export interface Frame {
  readonly kind: number;
  /** Of DATA, MORE and END. */
  readonly sequence: number;
  /** Of CREDIT. */
  readonly frames: number;
  readonly bytes: number;
  readonly payload: Uint8Array;
}

/** Reads a frame; undefined when the bytes are none. */
export function parseFrame(data: Uint8Array): Frame | undefined {
  const kind = data[0];
  if (kind === undefined || kind < FrameKind.ACK || kind > FrameKind.BATCH) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const none = { sequence: 0, frames: 0, bytes: 0 };
  if (kind === FrameKind.CREDIT) {
    if (data.length < 9) return undefined;
    return { ...none, kind, frames: view.getUint32(1), bytes: view.getUint32(5), payload: data.subarray(9) };
  }
  if (kind === FrameKind.DATA || kind === FrameKind.MORE || kind === FrameKind.END || kind === FrameKind.BATCH) {
    if (data.length < SEQUENCE_PREFIX) return undefined;
    return { ...none, kind, sequence: view.getUint32(1), payload: data.subarray(SEQUENCE_PREFIX) };
  }
  return { ...none, kind, payload: data.subarray(1) };
}

/** Silence after which the other side says that it is still there, in milliseconds. */
export const ALIVE_EVERY_MS = 2000;
/** Silence after which the other side counts as gone, in milliseconds. */
export const GONE_AFTER_MS = 8000;
