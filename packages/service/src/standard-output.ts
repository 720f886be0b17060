// Standard output as a log's destination. When its reader is gone, the lines are lost and the service lives on until it
// has stopped in order: pino's own destination waits for such a reader for ever, at the process's exit.
import type { DestinationStream } from "pino";

/** Writes lines to standard output; what cannot be written is dropped. */
export function standardOutput(stdout: NodeJS.WriteStream = process.stdout): DestinationStream {
  stdout.on("error", () => {
    // The reader is gone: there is nobody to tell.
  });
  return { write: (line) => void stdout.write(line) };
}
