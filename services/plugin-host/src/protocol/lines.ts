// Newline-delimited text from a process that nobody trusts: bounded lines, and a bound on nesting before a parser sees them.
import type { Readable } from "node:stream";

/** What is read, and what happens with it. */
export interface LineOptions {
  /** Longest line in bytes, without its newline. */
  readonly maxLineBytes: number;
  /** Called for each line, without its newline (LF or CRLF). Empty lines are left out. */
  readonly onLine: (line: Buffer) => void;
  /** Called once, when a line is too long. Nothing is read afterwards: the framing is lost. */
  readonly onOverflow: () => void;
}

/**
 * Reads lines from a stream until it ends, a line is too long, or the returned function is called. A last line without
 * a newline is dropped: it is a message that was cut off.
 */
export function readLines(stream: Readable, options: LineOptions): () => void {
  let parts: Buffer[] = [];
  let size = 0;
  const state = { open: true };

  const take = (rest: Buffer): void => {
    const line = parts.length ? Buffer.concat([...parts, rest]) : rest;
    parts = [];
    size = 0;
    const end = line.at(-1) === 0x0d ? line.length - 1 : line.length;
    if (end > 0) options.onLine(line.subarray(0, end));
  };
  const onData = (chunk: Buffer): void => {
    let from = 0;
    for (let at = chunk.indexOf(0x0a); at !== -1 && state.open; at = chunk.indexOf(0x0a, from)) {
      if (size + at - from > options.maxLineBytes) return overflow();
      take(chunk.subarray(from, at));
      from = at + 1;
    }
    if (!state.open || from === chunk.length) return;
    size += chunk.length - from;
    if (size > options.maxLineBytes) return overflow();
    parts.push(chunk.subarray(from));
  };
  const overflow = (): void => {
    stop();
    options.onOverflow();
  };
  const stop = (): void => {
    state.open = false;
    parts = [];
    stream.off("data", onData);
    stream.resume();
  };
  stream.on("data", onData);
  return stop;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Whether JSON text nests objects and arrays deeper than `limit`. Looks at the bytes only, so that text of any shape
 * costs one pass and no stack.
 */
export function nestsDeeperThan(json: Uint8Array, limit: number): boolean {
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (quoted) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) quoted = false;
    } else if (byte === QUOTE) quoted = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > limit) return true;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return false;
}

/** Text of a plugin on one line, without control characters (shown as `\u001b`), cut to `maxLength` characters. */
export function printable(text: string, maxLength: number): string {
  const cut = text.length > maxLength ? `${text.slice(0, maxLength - 1)}…` : text;
  return cut.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) =>
    character === "\t" ? " " : `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
