// The console's cookie: `POST`, `GET` and `DELETE /v1/session`, and what every request with the cookie must bring.
import { createHash, timingSafeEqual } from "node:crypto";
import { methodContract } from "@warren/contract";
import { type Mesh, type MeshLog, RpcError } from "@warren/mesh";
import {
  CloseConsoleSessionRequest,
  OpenConsoleSessionRequest,
  OpenedConsoleSession,
  RenewConsoleSessionRequest,
} from "@warren/proto/warren/auth/v1/access";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AUTHENTICATED_SCOPE } from "../identity/authorize.ts";
import type { Identity, SessionIdentity } from "../identity/identity.ts";
import { SESSION_COOKIE } from "../identity/sessions.ts";
import type { Admission } from "./admission.ts";
import { authorityOf } from "./host-check.ts";
import { badRequest, Problem } from "./problem.ts";
import type { RoutePolicy } from "./routes.ts";

export interface SessionDependencies {
  readonly mesh: Pick<Mesh, "call">;
  readonly admission: Pick<Admission, "of">;
  readonly log: Pick<MeshLog, "warn">;
  /** Where browsers reach the gateway, if a proxy calls it by another name. */
  readonly publicUrl?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** The routes, as `/openapi.json` tells of them. */
export const sessionTemplate = "/v1/session";

const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);
/** Age at which a cookie gets a new value, and its use is noted; as the auth service has them, in milliseconds. */
const ROTATE_MS = 15 * 60_000;
const NOTE_MS = 60_000;
const LONGEST_AGENT = 256;

/** Adds the routes, and the checks of all others. Call it before routes are added. */
export function serveSessions(app: FastifyInstance, deps: SessionDependencies): void {
  const { mesh, admission, log, now = Date.now } = deps;
  const renewing = new Set<string>();
  const publicOrigin = deps.publicUrl === undefined ? undefined : new URL(deps.publicUrl).origin;

  app.addHook("onRequest", async (request, reply) => {
    const identity = request.routeOptions.config?.policy?.unlimited ? undefined : admission.of(request).identity;
    const session = identity?.session;
    if (!session) return;
    assertOwnPage(request, publicOrigin);
    if (!SAFE_METHODS.has(request.method)) assertMeant(request, session);
    if (request.routeOptions.url === sessionTemplate) return;
    const rotates = now() - session.rotatedAt >= ROTATE_MS;
    if ((!rotates && now() - session.lastSeenAt < NOTE_MS) || renewing.has(session.id)) return;
    renewing.add(session.id);
    const renewal = renew(mesh, session.token)
      .then(({ token }) => token)
      .catch((err: unknown) => {
        // It holds as long as the watch says so.
        log.warn({ err, session: session.id }, "The use of a console session could not be noted");
        return "";
      })
      .finally(() => renewing.delete(session.id));
    if (!rotates) return;
    const token = await renewal;
    if (token) setCookie(reply, token);
  });

  app.post(sessionTemplate, { config: { policy: policyOf("token") } }, async (request, reply) => {
    const { identity, address } = admission.of(request);
    if (!identity) throw new Error("The route of sessions has no identity");
    refuseUnfit(identity);
    const { principal, tenant, device = "", credential = "", family = "", scopes } = identity;
    const userAgent = (request.headers["user-agent"] ?? "").slice(0, LONGEST_AGENT);
    const wish = { principal, tenant, device, credential, family, scopes: [...scopes], address, userAgent };
    const method = methodContract("warren.auth.v1.AccessService", "OpenConsoleSession");
    const answer = await mesh.call(method, OpenConsoleSessionRequest.encode(wish).finish());
    const opened = OpenedConsoleSession.decode(answer);
    setCookie(reply, opened.token);
    return reply.code(201).send(sessionDocument(identity, opened));
  });

  app.get(sessionTemplate, { config: { policy: policyOf("read") } }, async (request, reply) => {
    const { identity } = admission.of(request);
    if (!identity) throw new Error("The route of sessions has no identity");
    if (!identity.session) return reply.send(sessionDocument(identity));
    const opened = await renew(mesh, identity.session.token);
    if (opened.token) setCookie(reply, opened.token);
    return reply.send(sessionDocument(identity, opened));
  });

  app.delete(sessionTemplate, { config: { policy: policyOf("write") } }, async (request, reply) => {
    const { identity } = admission.of(request);
    if (!identity?.session)
      throw badRequest("NO_SESSION", "The request has no session cookie: there is nothing to end");
    const method = methodContract("warren.auth.v1.AccessService", "CloseConsoleSession");
    await mesh.call(method, CloseConsoleSessionRequest.encode({ token: identity.session.token }).finish());
    void reply.header("set-cookie", `${SESSION_COOKIE}=; ${ATTRIBUTES}; Max-Age=0`);
    void reply.header("clear-site-data", '"cookies"');
    return reply.code(204).send();
  });
}

const ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict";

function policyOf(limitClass: string): RoutePolicy {
  return { template: sessionTemplate, scope: AUTHENTICATED_SCOPE, limitClass };
}

/**
 * A browser sends the cookie with whatever leads here: only a page of ours knows the token that goes with it.
 * @throws Problem 403.
 */
function assertMeant(request: FastifyRequest, { csrfHash }: SessionIdentity): void {
  const given = request.headers["x-csrf-token"];
  const presented = createHash("sha256")
    .update(typeof given === "string" ? given : "")
    .digest();
  const expected = Buffer.from(csrfHash, "hex");
  if (expected.length === presented.length && timingSafeEqual(expected, presented)) return;
  throw new Problem(403, {
    code: "CSRF_TOKEN_MISSING",
    detail: "A change with the session cookie needs X-CSRF-Token, with the csrfToken of GET /v1/session",
  });
}

/**
 * Pages that the configuration names may call with a token of theirs, never with the cookie: a sibling's page (of the same site) would have
 * it sent along, and a WebSocket, which begins with GET, asks for no CSRF token and lets every origin read.
 * @throws Problem 403.
 */
function assertOwnPage({ raw }: FastifyRequest, publicOrigin: string | undefined): void {
  const origin = raw.headers.origin?.toLowerCase();
  const authority = authorityOf(raw);
  if (origin === undefined || origin === publicOrigin) return;
  if (origin === `https://${authority}` || origin === `http://${authority}`) return;
  throw new Problem(403, {
    code: "ORIGIN_NOT_ALLOWED",
    detail: "Only the gateway's own pages may use the session cookie: send a token in Authorization",
  });
}

/** Sessions are for people: a machine keeps its key, and a session opens no other. */
function refuseUnfit({ principal, session }: Identity): void {
  if (session)
    throw badRequest("SESSION_OPEN", "The request has a session cookie already: end it first, or send a token");
  if (!principal.startsWith("key:")) return;
  throw new Problem(403, { code: "NOT_FOR_KEYS", detail: "A key for machines opens no console session: send the key" });
}

async function renew(mesh: Pick<Mesh, "call">, token: string): Promise<OpenedConsoleSession> {
  const method = methodContract("warren.auth.v1.AccessService", "RenewConsoleSession");
  try {
    return OpenedConsoleSession.decode(await mesh.call(method, RenewConsoleSessionRequest.encode({ token }).finish()));
  } catch (error) {
    if (error instanceof RpcError) throw error;
    throw new Error("A console session could not be renewed", { cause: error });
  }
}

function setCookie(reply: FastifyReply, token: string): void {
  void reply.header("set-cookie", `${SESSION_COOKIE}=${token}; ${ATTRIBUTES}; Max-Age=${12 * 3600}`);
}

/** Who the caller is, and what a page needs to go on. */
function sessionDocument(identity: Identity, opened?: OpenedConsoleSession): object {
  const { principal, tenant, device, scopes, expiresAt, proofRequired } = identity;
  const session = opened?.session;
  const end = session?.expireTime ?? (Number.isFinite(expiresAt) ? new Date(expiresAt) : undefined);
  return {
    principal,
    tenant,
    ...(device === undefined ? {} : { device }),
    scopes,
    kind: opened ? "session" : kindOf(identity),
    proofRequired: proofRequired ?? false,
    ...(end === undefined ? {} : { expireTime: end.toISOString() }),
    ...(session?.idleExpireTime ? { idleExpireTime: session.idleExpireTime.toISOString() } : {}),
    ...(session ? { sessionId: session.id, csrfToken: opened?.csrfToken } : {}),
  };
}

function kindOf({ device, principal }: Identity): string {
  if (device !== undefined) return "device";
  return principal.startsWith("key:") ? "key" : "operator";
}
