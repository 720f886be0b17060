// Where the command reads and writes: answers to stdout, everything about them to stderr.
import { styleText } from "node:util";
import { safeJson } from "./sanitize.ts";

type Format = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** The three standard streams, and what they can do. */
export interface Terminal {
  readonly stdin: NodeJS.ReadStream;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  /** A person can be asked: stdin and stderr are both a terminal. */
  readonly interactive: boolean;
  /** Writes text as it is to stdout. */
  write(text: string): void;
  /** Writes a line of the answer to stdout. */
  print(line: string): void;
  /** Writes the one JSON document of `--json` to stdout. */
  json(value: unknown): void;
  /** Writes a line about the answer to stderr. */
  note(line: string): void;
  /** Colours text for stdout. */
  paint(format: Format, text: string): string;
  /** Colours text for stderr. */
  paintNote(format: Format, text: string): string;
}

/** Builds a terminal over streams. `color` undefined: each stream that is a terminal gets colour. */
export function createTerminal(
  streams: Pick<Terminal, "stdin" | "stdout" | "stderr">,
  color: boolean | undefined,
): Terminal {
  const { stdin, stdout, stderr } = streams;
  const painter = (stream: NodeJS.WriteStream) => (format: Format, text: string) =>
    (color ?? stream.isTTY) ? styleText(format, text, { validateStream: false }) : text;
  return {
    stdin,
    stdout,
    stderr,
    interactive: stdin.isTTY && stderr.isTTY,
    write: (text) => void stdout.write(text),
    print: (line) => void stdout.write(`${line}\n`),
    json: (value) => void stdout.write(`${safeJson(value)}\n`),
    note: (line) => void stderr.write(`${line}\n`),
    paint: painter(stdout),
    paintNote: painter(stderr),
  };
}
