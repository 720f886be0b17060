// A bucket's keys as the tokens of a subject: any text goes, and dots part it into tokens.
import { decodeToken, encodeToken } from "../subject.ts";

/** A key as it stands in a subject. */
export function encodeKey(key: string): string {
  return key.split(".").map(encodeToken).join(".");
}

/** The key that {@link encodeKey} made this of. */
export function decodeKey(tokens: string): string {
  return tokens.split(".").map(decodeToken).join(".");
}
