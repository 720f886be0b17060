// What an MCP client learns about who may use the endpoint: OAuth 2.0 Protected Resource Metadata (RFC 9728).
import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";
import { PUBLIC_SCOPE } from "../../identity/authorize.ts";
import { authorityOf } from "../host-check.ts";
import { Problem } from "../problem.ts";
import type { RoutePolicy } from "../routes.ts";

const WELL_KNOWN = "/.well-known/oauth-protected-resource";

/** What is protected. */
export interface ProtectedResource {
  /** `/mcp`. */
  readonly path: string;
  readonly scope: string;
  /** Where clients reach the gateway; absent: under the host that they name, by plain HTTP. */
  readonly publicUrl: string | undefined;
}

/** The policies of these routes, for the document that describes them. */
export const metadataPolicies: readonly RoutePolicy[] = [WELL_KNOWN, `${WELL_KNOWN}/mcp`].map((template) => ({
  template,
  scope: PUBLIC_SCOPE,
  limitClass: "read",
}));

/** Adds the metadata, at the place for a whole host and at that for the one resource (RFC 9728 §3.1). */
export function serveMetadata(app: FastifyInstance, resource: ProtectedResource): void {
  for (const policy of metadataPolicies)
    app.get(policy.template, { config: { policy } }, ({ raw }) => ({
      resource: `${origin(raw, resource)}${resource.path}`,
      // No authorization_servers: tokens come from pairing, or are keys that an operator gives.
      bearer_methods_supported: ["header"],
      scopes_supported: [resource.scope],
      resource_name: "Warren",
    }));
}

/** A refusal that also says where the metadata is (RFC 9728 §5.1). */
export function withMetadata(problem: Problem, request: IncomingMessage, resource: ProtectedResource): Problem {
  const { headers } = problem.options;
  const challenge = headers?.["www-authenticate"];
  if (challenge === undefined) return problem;
  const metadata = `resource_metadata="${origin(request, resource)}${WELL_KNOWN}${resource.path}"`;
  const scope = challenge.includes("scope=") ? "" : `, scope="${resource.scope}"`;
  const told = `${challenge}, ${metadata}${scope}`;
  return new Problem(problem.status, { ...problem.options, headers: { ...headers, "www-authenticate": told } });
}

function origin(request: IncomingMessage, { publicUrl }: ProtectedResource): string {
  return publicUrl?.replace(/\/$/, "") ?? `http://${authorityOf(request)}`;
}
