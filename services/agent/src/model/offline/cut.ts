// Ends a reply where the caller wants it to end.
import type { Sampling, StepEnd } from "../provider.ts";
import { words } from "./words.ts";

/** The part of a reply before its first stop sequence, of at most so many words (this model has no tokens). */
export function cut(
  text: string,
  { stop = [], maxOutputTokens = Number.POSITIVE_INFINITY }: Pick<Sampling, "stop" | "maxOutputTokens"> = {},
): { text: string; reason: StepEnd } {
  const ends = stop.map((sequence) => text.indexOf(sequence)).filter((at) => at >= 0);
  const stopped = text.slice(0, Math.min(text.length, ...ends));
  let left = maxOutputTokens;
  let end = 0;
  for (const [piece] of stopped.matchAll(/\s*\S+\s*/g)) {
    left -= Math.max(1, words(piece).length);
    if (left < 0) return { text: stopped.slice(0, end), reason: "length" };
    end += piece.length;
  }
  return { text: stopped, reason: "stop" };
}
