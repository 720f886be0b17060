// How a whole answer travels: not at all where the client has it already (RFC 9110 §13), and packed where that is safe.
import { createHash } from "node:crypto";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { preferredEncoding } from "./accept.ts";
import type { Admission } from "./admission.ts";
import type { RoutePolicy } from "./routes.ts";

const pack = { br: promisify(brotliCompress), gzip: promisify(gzip) };
const PACKABLE = /^(?:application\/json|text\/plain)\b/;
/** Below this, packing costs more than it saves. */
const FEWEST_BYTES = 1024;
/** Fast rather than small: an answer is packed once, for one client. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };
const GZIP = { level: 4 };
/** Scopes of routes whose answers hold what must not be guessed. */
const SECRET_SCOPE = /^secrets:|:admin$/;

/**
 * Adds validators and content coding to a server's answers. An answer's length tells of its content where somebody can have
 * it asked for, with words of theirs in it, by somebody else's browser (BREACH): what a cookie opened is never packed, and
 * neither are secrets, tokens and what administrators see.
 */
export function serveRepresentations(app: FastifyInstance, admission: Pick<Admission, "seen">): void {
  app.addHook("onSend", async (request: FastifyRequest, reply: FastifyReply, payload) => {
    const policy = request.routeOptions.config?.policy;
    const body = typeof payload === "string" || Buffer.isBuffer(payload) ? Buffer.from(payload as string) : undefined;
    if (body === undefined || !policy || reply.statusCode !== 200 || holdsSecrets(policy)) return payload;
    if (!PACKABLE.test(String(reply.getHeader("content-type")))) return payload;
    if (request.method === "GET" || request.method === "HEAD") {
      const tag = validatorOf(body);
      void reply.header("etag", tag);
      if (matches(request.headers["if-none-match"], tag)) {
        // It says of the answer what matters to who has it; the answer itself is not there.
        void reply.code(304).removeHeader("content-type");
        return "";
      }
    }
    if (body.length < FEWEST_BYTES || admission.seen(request)?.identity?.session !== undefined) return payload;
    void reply.header("vary", varyOn(reply, "accept-encoding"));
    const coding = preferredEncoding(request.headers["accept-encoding"], ["br", "gzip"] as const);
    if (coding === undefined) return payload;
    void reply.header("content-encoding", coding).removeHeader("content-length");
    return coding === "br" ? await pack.br(body, BROTLI) : await pack.gzip(body, GZIP);
  });
}

/** One more header on which the answer depends. */
export function varyOn(reply: FastifyReply, name: string): string {
  const known = reply.getHeader("vary");
  return typeof known === "string" && known !== "" ? `${known}, ${name}` : name;
}

/** What needs no token may give one: pairing and refreshing do. */
function holdsSecrets({ scope, limitClass }: RoutePolicy): boolean {
  return SECRET_SCOPE.test(scope) || limitClass === "pairing" || limitClass === "token";
}

/** Weak: the same content in another coding is as good. */
function validatorOf(body: Buffer): string {
  return `W/"${createHash("sha256").update(body).digest("base64url").slice(0, 27)}"`;
}

function matches(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  const opaque = tag.slice(2);
  return header
    .split(",", 64)
    .map((each) => each.trim())
    .some((each) => each === "*" || each.replace(/^W\//, "") === opaque);
}
