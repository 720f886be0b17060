// Web pages of other origins (https://fetch.spec.whatwg.org/#http-cors-protocol): those that the configuration names may
// read answers, with a token that they send on purpose. Cookies are never theirs to use.
import type { FastifyInstance } from "fastify";
import type { HostCheck } from "./host-check.ts";
import type { UnknownRoutes } from "./not-found.ts";
import { varyOn } from "./representation.ts";

export interface CorsOptions {
  /** `https://console.example.org`, exactly. */
  readonly allowedOrigins: readonly string[];
  readonly hosts: HostCheck;
  readonly routes: Pick<UnknownRoutes, "methodsOf">;
}

const SENT =
  "authorization, content-type, dpop, idempotency-key, if-none-match, traceparent, x-request-id, x-warren-token";
const SHOWN =
  "etag, ratelimit, ratelimit-policy, retry-after, traceparent, www-authenticate, x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-request-id";
/** How long a browser may remember a preflight, in seconds. */
const REMEMBER_S = 600;

/** Answers preflights, and marks answers to pages of allowed origins. Call it before admission, which knows no preflights. */
export function serveCors(app: FastifyInstance, { allowedOrigins, hosts, routes }: CorsOptions): void {
  if (allowedOrigins.length === 0) return;
  const allowed = new Set(allowedOrigins.map((origin) => origin.toLowerCase()));
  app.addHook("onRequest", async (request, reply) => {
    const { origin } = request.headers;
    void reply.header("vary", varyOn(reply, "origin"));
    if (origin === undefined || !allowed.has(origin.toLowerCase())) return;
    void reply.headers({ "access-control-allow-origin": origin, "access-control-expose-headers": SHOWN });
    if (request.method !== "OPTIONS" || request.headers["access-control-request-method"] === undefined) return;
    hosts(request.raw);
    const methods = routes.methodsOf(request.raw.url ?? "");
    // The browser compares: a route that is not there allows nothing.
    await reply
      .code(204)
      .headers({
        "access-control-allow-methods": methods.join(", "),
        "access-control-allow-headers": SENT,
        "access-control-max-age": String(REMEMBER_S),
      })
      .send();
  });
}
