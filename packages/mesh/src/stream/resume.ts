// How a stream goes on at another replica when the one that serves it leaves: the handler says where it stands, the error
// that ends the stream carries it, and the caller opens the stream again with it.
import { RpcError, StatusCode } from "../status.ts";

/** Bytes of the longest position: it travels in a header. */
const LONGEST_POSITION = 1024;
const HEADER = /^(\d{1,6};\d{1,9})(?:;([A-Za-z0-9_-]{0,1366}))?$/;

/** @throws RangeError when a position is longer than a header may be. */
export function assertPosition(position: string): void {
  if (Buffer.byteLength(position) > LONGEST_POSITION)
    throw new RangeError(`The position by which a stream is resumed is over ${LONGEST_POSITION} bytes`);
}

/** The header of a call that streams: the window, and where to go on. */
export function packStream(window: string, resume: string | undefined): string {
  return resume === undefined ? window : `${window};${resume}`;
}

/** Reads it; undefined when it is missing or malformed. */
export function unpackStream(text: string | undefined): { window: string; position: string | undefined } | undefined {
  const match = text ? HEADER.exec(text) : null;
  if (!match?.[1]) return undefined;
  const position = match[2] === undefined ? undefined : Buffer.from(match[2], "base64url").toString();
  return { window: match[1], position };
}

/**
 * What a stream ends with where it can go on elsewhere.
 * @param sent Frames that count and were sent: without all of them the caller must not go on.
 */
export function movedError(position: string, sent: number): RpcError {
  return new RpcError(StatusCode.UNAVAILABLE, "The service stopped before the stream ended; it can be resumed", {
    reason: "CUT_BY_DRAIN",
    metadata: { resume: Buffer.from(position).toString("base64url"), after: String(sent) },
  });
}

/**
 * The token by which a stream that failed goes on; undefined when it cannot.
 * @param received Frames that count and came.
 * @throws RpcError DATA_LOSS when the last frames did not come.
 */
export function resumeToken({ code, details }: RpcError, received: number): string | undefined {
  const { resume, after } = details.metadata ?? {};
  if (code !== StatusCode.UNAVAILABLE || details.reason !== "CUT_BY_DRAIN" || resume === undefined) return undefined;
  if (after === String(received)) return resume;
  throw new RpcError(StatusCode.DATA_LOSS, `A stream was left after frame ${after}, of which ${received} came`);
}
