// Which form of a response a client wants (RFC 9110 §12.5.1).
import { jsonLines, serverSentEvents, type StreamFormat } from "./event-stream.ts";

const formats: Readonly<Record<string, StreamFormat | "json">> = {
  "application/json": "json",
  "application/*": "json",
  "*/*": "json",
  "text/event-stream": serverSentEvents,
  "application/x-ndjson": jsonLines,
};

/** The form that `Accept` prefers of those we have; JSON where it names none. */
export function preferredFormat(accept: string | undefined): StreamFormat | "json" {
  if (accept === undefined) return "json";
  let best: StreamFormat | "json" = "json";
  let bestQuality = 0;
  for (const range of accept.split(",", 32)) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const format = Object.hasOwn(formats, type) ? formats[type] : undefined;
    const weight = parameters.find((each) => each.startsWith("q="));
    const quality = weight === undefined ? 1 : Number(weight.slice(2)) || 0;
    if (format !== undefined && quality > bestQuality) [best, bestQuality] = [format, quality];
  }
  return best;
}
