// Who the request is for and where it comes from: against DNS rebinding and foreign web pages.
import type { IncomingMessage } from "node:http";
import { badRequest, Problem } from "./problem.ts";

export interface HostCheckOptions {
  /** Host names under which this gateway is reached, without port; `*`: any. */
  readonly allowedHosts: readonly string[];
  /** Origins of web pages that may call it, beside its own: `https://console.example.org`. */
  readonly allowedOrigins: readonly string[];
}

/** A check of one request; throws a Problem when it fails. */
export type HostCheck = (request: IncomingMessage) => void;

/** A name and an optional port, or an IPv6 address in brackets and an optional port (RFC 3986 §3.2.2). */
const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?$/;

/** A check that lets through requests for one of our names, from no web page or one of ours. */
export function hostCheck({ allowedHosts, allowedOrigins }: HostCheckOptions): HostCheck {
  const hosts = new Set(allowedHosts.map((host) => host.toLowerCase()));
  const origins = new Set(allowedOrigins.map((origin) => origin.toLowerCase()));
  const anyHost = hosts.has("*");
  return (request) => {
    const authority = authorityOf(request);
    const host = HOST.exec(authority)?.[1];
    if (host === undefined) throw badRequest("INVALID_HOST", "The Host header is malformed");
    if (!anyHost && !hosts.has(host))
      throw new Problem(421, {
        code: "HOST_NOT_ALLOWED",
        detail: "This gateway is not known under the host name of the request: add it to WARREN_HTTP_ALLOWED_HOSTS",
      });
    const origin = request.headers.origin?.toLowerCase();
    if (origin === undefined || origins.has(origin)) return;
    if (origin === `http://${authority}` || origin === `https://${authority}`) return;
    throw new Problem(403, {
      code: "ORIGIN_NOT_ALLOWED",
      detail: "Web pages of this origin may not call this gateway: add it to WARREN_HTTP_ALLOWED_ORIGINS",
    });
  };
}

/** The authority that the request names: of an absolute target, which goes before the Host header (RFC 9112 §3.2.2). */
export function authorityOf(request: IncomingMessage): string {
  const target = /^https?:\/\/([^/?#]*)/i.exec(request.url ?? "")?.[1];
  if (target !== undefined) return target.toLowerCase();
  let seen = 0;
  for (let i = 0; i < request.rawHeaders.length; i += 2) if (request.rawHeaders[i]?.toLowerCase() === "host") seen += 1;
  if (seen > 1) throw badRequest("INVALID_HOST", "The request has more than one Host header");
  return (request.headers.host ?? "").toLowerCase();
}
