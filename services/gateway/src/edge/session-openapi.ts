// `/v1/session` in the OpenAPI document.
import { SESSION_COOKIE } from "../identity/sessions.ts";
import { sessionTemplate } from "./session.ts";

const text = { type: "string" };
const time = { type: "string", format: "date-time" };

/** Who a caller is, and what a page needs to go on. */
const sessionSchema = {
  type: "object",
  required: ["principal", "tenant", "scopes", "kind", "proofRequired"],
  properties: {
    principal: text,
    tenant: text,
    device: text,
    scopes: { type: "array", items: text },
    kind: { type: "string", enum: ["operator", "device", "key", "session"] },
    proofRequired: { type: "boolean", description: "The token is good only with a DPoP proof (RFC 9449)" },
    expireTime: time,
    idleExpireTime: time,
    sessionId: text,
    csrfToken: { type: "string", description: "What a page sends back in X-CSRF-Token with every change" },
  },
};

/** The cookie as a way to prove who one is. */
export const cookieScheme = {
  type: "apiKey",
  in: "cookie",
  name: SESSION_COOKIE,
  description: "The web console's session; changes need X-CSRF-Token, too",
};

/** Its operations. @param problem What is answered otherwise. */
export function sessionOperations(problem: object): Record<string, Record<string, unknown>> {
  const body = { content: { "application/json": { schema: sessionSchema } } };
  const operation = (operationId: string, responses: object, schemes: readonly string[]) => ({
    operationId,
    tags: ["auth"],
    responses: { ...responses, default: problem },
    security: schemes.map((scheme) => ({ [scheme]: [] })),
  });
  const cookie = { "set-cookie": { description: "The session's cookie", schema: text } };
  const tokens = ["bearer", "header"];
  return {
    [sessionTemplate]: {
      post: operation("OpenOwnSession", { "201": { description: "Opened", headers: cookie, ...body } }, tokens),
      get: operation("GetOwnSession", { "200": { description: "Who the caller is", ...body } }, [...tokens, "cookie"]),
      delete: operation("CloseOwnSession", { "204": { description: "Ended" } }, ["cookie"]),
    },
  };
}
