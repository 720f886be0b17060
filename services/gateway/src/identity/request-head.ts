// What of a request says who sends it: its first line and its headers.
import type { IncomingMessage } from "node:http";
import { AmbiguousToken } from "./identity.ts";

/** The part of a request that identity is read from. */
export type RequestHead = Pick<IncomingMessage, "method" | "url" | "headers" | "rawHeaders">;

/**
 * A header that may come once. Node keeps the first of several, which another hop might not.
 * @throws AmbiguousToken when there are several.
 */
export function single(request: RequestHead, name: string): string | undefined {
  const value = request.headers[name];
  if (value === undefined) return undefined;
  const { rawHeaders } = request;
  let times = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]?.toLowerCase() === name) times += 1;
  if (times > 1 || Array.isArray(value)) throw new AmbiguousToken();
  return value;
}
