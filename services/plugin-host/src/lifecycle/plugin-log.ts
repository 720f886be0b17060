// The last lines that a plugin wrote to stderr, and what the host says of it. Kept in memory, over restarts.
import type { Readable } from "node:stream";
import { printable } from "../protocol/lines.ts";

/** Who wrote a line. */
export type LogSource = "stderr" | "host";

/** One line. */
export interface LogLine {
  readonly time: Date;
  readonly source: LogSource;
  readonly text: string;
}

const MAX_LINES = 1000;
const MAX_LINE_CHARACTERS = 4096;

/** A ring of lines: 1000 of at most 4096 characters, control characters escaped. */
export class PluginLog {
  readonly #lines: LogLine[] = [];
  readonly #now: () => Date;
  #next = 0;

  constructor(now: () => Date = () => new Date()) {
    this.#now = now;
  }

  add(source: LogSource, text: string): void {
    this.#lines[this.#next] = { time: this.#now(), source, text: printable(text, MAX_LINE_CHARACTERS) };
    this.#next = (this.#next + 1) % MAX_LINES;
  }

  /** The last `count` lines, oldest first. */
  tail(count: number): LogLine[] {
    const ordered =
      this.#lines.length < MAX_LINES
        ? this.#lines
        : [...this.#lines.slice(this.#next), ...this.#lines.slice(0, this.#next)];
    return count <= 0 ? [] : ordered.slice(-count);
  }
}

/** Bytes of one line that are looked at; the rest up to the newline is dropped. */
const MAX_LINE_BYTES = 4 * MAX_LINE_CHARACTERS;

/** Hands on a stream's lines, each cut to 16 KiB, also a last one without a newline. */
export function captureLines(stream: Readable, onLine: (text: string) => void): void {
  let held = Buffer.alloc(0);
  const flush = (): void => {
    if (held.length) onLine(held.toString().trimEnd());
    held = Buffer.alloc(0);
  };
  const hold = (piece: Buffer): void => {
    const room = MAX_LINE_BYTES - held.length;
    if (room > 0) held = Buffer.concat([held, piece.subarray(0, room)]);
  };
  stream.on("data", (chunk: Buffer) => {
    let from = 0;
    for (let at = chunk.indexOf(0x0a); at !== -1; at = chunk.indexOf(0x0a, from)) {
      hold(chunk.subarray(from, at));
      flush();
      from = at + 1;
    }
    hold(chunk.subarray(from));
  });
  stream.once("end", flush);
  stream.on("error", flush);
}
