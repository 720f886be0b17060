// Subjects and the tokens they are made of. NATS accepts a literal `*`, `>` or an extra `.` in a published subject, so
// nothing from outside becomes a token unchecked.
import { RpcError, StatusCode } from "./status.ts";

const SAFE_TOKEN = /^[A-Za-z0-9_-]{1,128}$/;

/** Whether text can stand as one token of a subject as it is. */
export function isSafeToken(text: string): boolean {
  return SAFE_TOKEN.test(text);
}

/**
 * A key as the last token of a keyed method's subject.
 * @throws RpcError INVALID_ARGUMENT when it holds anything but letters, digits, `_` and `-`.
 */
export function keyToken(key: string, field = "key"): string {
  if (isSafeToken(key)) return key;
  throw new RpcError(StatusCode.INVALID_ARGUMENT, `${field} must be 1 to 128 letters, digits, _ or -`, {
    violations: [{ field, description: "must be 1 to 128 letters, digits, _ or -" }],
  });
}

/**
 * Any text as one token: safe text stays as it is, all else becomes `=` and its base64url form. `=` begins no safe
 * token, so two texts never meet.
 */
export function encodeToken(text: string): string {
  return isSafeToken(text) ? text : `=${Buffer.from(text).toString("base64url")}`;
}

/** The text that {@link encodeToken} made the token of. */
export function decodeToken(token: string): string {
  return token.startsWith("=") ? Buffer.from(token.slice(1), "base64url").toString() : token;
}

/** The subject of a method: `mesh.<package>.<Service>.<Method>`. */
export function methodSubject(service: string, method: string): string {
  return `mesh.${service}.${method}`;
}

/** Where callers tell all replicas of a service that they no longer wait for an answer. */
export function cancelSubject(service: string): string {
  return `mesh.${service}._cancel`;
}

/** Where callers ask all replicas of a service whether one of them still works on a call. */
export function probeSubject(service: string): string {
  return `mesh.${service}._probe`;
}

/** The subject of an event: `events.<name>[.<key>]`. */
export function eventSubject(name: string, key?: string): string {
  return key === undefined ? `events.${name}` : `events.${name}.${encodeToken(key)}`;
}
