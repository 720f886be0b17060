// One HTTP exchange with a gateway: what can go wrong below HTTP becomes a sentence.
import type { JsonWebKey } from "node:crypto";
import { CliError, ExitCode, systemCode, usageError } from "../errors.ts";
import { proofOf } from "./proof.ts";

/** `fetch`, or what a test puts in its place. */
export type Fetch = typeof globalThis.fetch;

/** One request to a gateway. */
export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** From the root, already encoded: `/v1/plugins`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  /** Sent as JSON, unless it is bytes: those are sent as `application/gzip`. */
  readonly body?: unknown;
  /** `application/json` when not given. */
  readonly accept?: string;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the answer begins; 30,000 when not given. */
  readonly timeout?: number;
  /** Carries a proof of this key, without a token. */
  readonly proveKey?: JsonWebKey;
}

/** What a request shows of its sender. */
export interface Credentials {
  readonly token?: string | undefined;
  /** The device's key: the request carries a proof of it, and the token, if there is one, goes with that proof. */
  readonly key?: JsonWebKey | undefined;
}

const hosts: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "the connection was cut",
  ENOTFOUND: "there is no such host",
  EAI_AGAIN: "the host's name could not be looked up",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  ETIMEDOUT: "it does not answer",
  UND_ERR_CONNECT_TIMEOUT: "it does not answer",
  UND_ERR_SOCKET: "the connection was cut",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed: set NODE_EXTRA_CA_CERTS",
  CERT_HAS_EXPIRED: "its certificate has expired",
};

/**
 * Checks the address of a gateway, and writes it without a slash at its end.
 * @throws CliError (usage) when it is not an http or https address, or carries a password.
 */
export function gatewayUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.search || url.hash)
    throw usageError(`"${text}" is not a gateway's address`, "such as http://127.0.0.1:8080");
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

/** Whether an address is on this machine, by its name alone. */
export function isLoopback(url: string): boolean {
  const { hostname } = new URL(url);
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}

/**
 * Sends one request.
 * @throws CliError (unreachable) when no answer comes, (interrupted) when `request.signal` ended it.
 */
export async function exchange(
  fetch: Fetch,
  url: string,
  request: HttpRequest,
  credentials: Credentials = {},
): Promise<Response> {
  const target = new URL(url + request.path);
  for (const [name, value] of Object.entries(request.query ?? {}))
    if (value !== undefined) target.searchParams.set(name, String(value));
  const { body } = request;
  const late = new AbortController();
  const timeout = request.timeout ?? 30_000;
  const timer = setTimeout(() => late.abort(), timeout);
  try {
    return await fetch(target, {
      method: request.method,
      headers: {
        accept: request.accept ?? "application/json",
        ...credentialHeaders(request.method, target, { key: request.proveKey, ...credentials }),
        ...(body === undefined
          ? {}
          : { "content-type": body instanceof Uint8Array ? "application/gzip" : "application/json" }),
      },
      ...(body === undefined ? {} : { body: body instanceof Uint8Array ? new Uint8Array(body) : JSON.stringify(body) }),
      // A token goes to the address it is for, and nowhere that address points to.
      redirect: "error",
      signal: request.signal ? AbortSignal.any([late.signal, request.signal]) : late.signal,
    });
  } catch (error) {
    if (request.signal?.aborted) throw new CliError(ExitCode.interrupted, "cancelled", undefined, { cause: error });
    const why = late.signal.aborted ? `no answer within ${Math.round(timeout / 1000)} s` : reason(error);
    throw new CliError(
      ExitCode.unreachable,
      `cannot reach a gateway at ${url}: ${why}`,
      isLoopback(url) ? `start one with "warren up", or name another with --url` : "check --url, and that it runs",
      { cause: error },
    );
  } finally {
    clearTimeout(timer);
  }
}

function credentialHeaders(method: string, url: URL, { token, key }: Credentials): Record<string, string> {
  const scheme = key ? "DPoP" : "Bearer";
  return {
    ...(token ? { authorization: `${scheme} ${token}` } : {}),
    ...(key ? { dpop: proofOf(key, { method, url, token }) } : {}),
  };
}

function reason(error: unknown): string {
  const code = systemCode(error);
  if (code) return hosts[code] ?? code;
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error ? cause.message : String(error);
}
