// Which form of a response a client wants (RFC 9110 §12.5).
import { Problem } from "./problem.ts";
import { jsonLines, serverSentEvents, type StreamFormat } from "./event-stream.ts";

/** A form in which a route can answer. */
export type Format = StreamFormat | "json";

interface Range {
  readonly value: string;
  /** 0: not at all. */
  readonly quality: number;
}

/** More of them are nobody's wish. */
const MOST_RANGES = 32;

const typeOf = (format: Format): string =>
  format === "json" ? "application/json" : format === serverSentEvents ? "text/event-stream" : "application/x-ndjson";

/** The forms of a streaming route. */
export const streamFormats: readonly Format[] = [serverSentEvents, jsonLines];

/** The one of `offered` that `Accept` prefers, the first of several alike; undefined: it takes none of them. */
export function preferredFormat(accept: string | undefined, offered: readonly Format[]): Format | undefined {
  if (accept === undefined) return offered[0];
  const ranges = rangesOf(accept);
  return best(offered, (format) => {
    const type = typeOf(format);
    // The most exact range decides about a type.
    const found =
      ranges.find(({ value }) => value === type) ??
      ranges.find(({ value }) => value === `${type.split("/")[0]}/*`) ??
      ranges.find(({ value }) => value === "*/*");
    return found?.quality ?? 0;
  });
}

/** The answer to a client that takes none of the forms that there are. */
export function notAcceptable(offered: readonly Format[]): Problem {
  const detail = `This route answers as ${offered.map(typeOf).join(", ")}, none of which Accept allows`;
  return new Problem(406, { code: "NOT_ACCEPTABLE", detail });
}

/** The coding of `offered` that `Accept-Encoding` prefers; undefined: leave it as it is. */
export function preferredEncoding<T extends string>(accept: string | undefined, offered: readonly T[]): T | undefined {
  if (accept === undefined) return undefined;
  const ranges = rangesOf(accept);
  const any = ranges.find(({ value }) => value === "*")?.quality ?? 0;
  return best(offered, (coding) => ranges.find(({ value }) => value === coding)?.quality ?? any);
}

function best<T>(offered: readonly T[], quality: (each: T) => number): T | undefined {
  let found: T | undefined;
  let most = 0;
  for (const each of offered) {
    const how = quality(each);
    if (how > most) [found, most] = [each, how];
  }
  return found;
}

function rangesOf(header: string): Range[] {
  return header.split(",", MOST_RANGES).map((part) => {
    const [value = "", ...parameters] = part.split(";").map((each) => each.trim().toLowerCase());
    const weight = parameters.find((each) => each.startsWith("q="));
    return { value, quality: weight === undefined ? 1 : Math.min(1, Number(weight.slice(2)) || 0) };
  });
}
