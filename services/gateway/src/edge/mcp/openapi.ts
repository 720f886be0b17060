// The MCP endpoint in the OpenAPI document.
import { metadataPolicies } from "./metadata.ts";
import { mcpPolicy } from "./serve.ts";

type Json = Readonly<Record<string, unknown>>;

const text = { type: "string" };
const message: Json = {
  type: "object",
  description: "A message of JSON-RPC 2.0, as the Model Context Protocol has them",
  required: ["jsonrpc"],
  properties: { jsonrpc: { const: "2.0" }, id: { type: ["string", "integer", "null"] }, method: text },
};
const metadata: Json = {
  type: "object",
  required: ["resource", "scopes_supported"],
  properties: { resource: { ...text, format: "uri" }, scopes_supported: { type: "array", items: text } },
};

/** The paths. @param security What an operation of a scope needs, as the other routes say it. */
export function mcpPaths(security: (scope: string) => Json): Record<string, Record<string, unknown>> {
  const answer = { "application/json": { schema: message }, "text/event-stream": { schema: text } };
  const post = {
    operationId: "Mcp",
    tags: ["mcp"],
    summary: "The Model Context Protocol over streamable HTTP, protocol versions 2026-07-28 and 2025-11-25",
    requestBody: { required: true, content: { "application/json": { schema: message } } },
    responses: {
      "200": { description: "The answer, or a stream that ends with it", content: answer },
      "202": { description: "A notification was taken" },
      default: {
        description: "Refused by the protocol, or before it",
        content: {
          "application/json": { schema: message },
          "application/problem+json": { schema: { $ref: "#/components/schemas/Problem" } },
        },
      },
    },
    ...security(mcpPolicy.scope),
    "x-warren-limit-class": mcpPolicy.limitClass,
  };
  const described = metadataPolicies.map(({ template, scope }, index) => [
    template,
    {
      get: {
        operationId: index === 0 ? "GetHostMetadata" : "GetMcpMetadata",
        tags: ["mcp"],
        summary: "OAuth 2.0 Protected Resource Metadata (RFC 9728)",
        responses: {
          "200": { description: "The metadata", content: { "application/json": { schema: metadata } } },
          default: { $ref: "#/components/responses/Problem" },
        },
        ...security(scope),
      },
    },
  ]);
  return { [mcpPolicy.template]: { post }, ...(Object.fromEntries(described) as Record<string, Json>) };
}
