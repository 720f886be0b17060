// The OpenAPI 3.1 document: made from the contract, never written by hand.
import type { DescField } from "@bufbuild/protobuf";
import type { MethodContract } from "@warren/contract";
import type { FastifyInstance } from "fastify";
import { PUBLIC_SCOPE } from "../identity/authorize.ts";
import { type Schema, SchemaCollector } from "./json-schema.ts";
import { mcpPaths } from "./mcp/openapi.ts";
import { openAiPaths } from "./openai/openapi.ts";
import { limitOperations } from "./limits-openapi.ts";
import { packagePolicy } from "./packages.ts";
import type { ContractRoute } from "./routes.ts";
import { cookieScheme, sessionOperations } from "./session-openapi.ts";

/** The document. @param version The software's version. */
export function openApiDocument(routes: readonly ContractRoute[], version: string): Record<string, unknown> {
  const collector = new SchemaCollector();
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) (paths[route.template] ??= {})[route.verb.toLowerCase()] = operation(route, collector);
  Object.assign(paths, handWritten());
  return {
    openapi: "3.1.0",
    info: { title: "Warren", version, summary: "Agents and the untrusted plugins they use, over HTTP" },
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    servers: [{ url: "/" }],
    paths,
    components: {
      schemas: { ...collector.schemas, Problem: problemSchema },
      responses: {
        Problem: {
          description: "What went wrong (RFC 9457)",
          content: { "application/problem+json": { schema: reference("Problem") } },
        },
      },
      securitySchemes: {
        bearer: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "JWT",
          description: "An access token of a paired device, an API key, or the operator's token",
        },
        header: {
          type: "apiKey",
          in: "header",
          name: "X-Warren-Token",
          description: "The same token, where Authorization is taken",
        },
        cookie: cookieScheme,
      },
    },
  };
}

/** Adds `GET /openapi.json`. */
export function serveOpenApi(app: FastifyInstance, routes: readonly ContractRoute[], version: string): void {
  const body = JSON.stringify(openApiDocument(routes, version));
  const policy = { template: "/openapi.json", scope: PUBLIC_SCOPE, limitClass: "" };
  app.get("/openapi.json", { config: { policy } }, (_request, reply) =>
    // Nobody's secret, and the same for all: kept, and asked for again only to see whether it has changed.
    reply.type("application/json; charset=utf-8").header("cache-control", "no-cache").send(body),
  );
}

function operation(route: ContractRoute, collector: SchemaCollector): Record<string, unknown> {
  const method = route.unary ?? route.streaming;
  if (!method) throw new Error(`The route ${route.template} has no method`);
  const inPath = new Set(route.variables.map((field) => field.name));
  const others = method.input.fields.filter((field) => !inPath.has(field.name));
  const parameters = [
    ...route.variables.map((field) => ({
      name: field.name,
      in: "path",
      required: true,
      schema: collector.field(field),
    })),
    ...(route.hasBody ? [] : others.flatMap((field) => queryParameter(field, collector))),
  ];
  return {
    operationId: method.name,
    tags: [method.service.split(".")[1] ?? method.service],
    ...(parameters.length ? { parameters } : {}),
    ...(route.hasBody ? { requestBody: requestBody(method, others, collector) } : {}),
    responses: responses(route, collector),
    ...security(route.scope),
    "x-warren-limit-class": route.limitClass || "default",
  };
}

function queryParameter(field: DescField, collector: SchemaCollector): object[] {
  const isTime = field.fieldKind === "message" && field.message.typeName === "google.protobuf.Timestamp";
  if ((field.fieldKind === "message" && !isTime) || field.fieldKind === "map") return [];
  return [{ name: field.jsonName, in: "query", required: false, schema: collector.field(field) }];
}

function requestBody(method: MethodContract, fields: readonly DescField[], collector: SchemaCollector): object {
  const whole = fields.length === method.input.fields.length;
  const schema = whole ? collector.reference(method.input) : collector.object(method.input, fields);
  return { required: true, content: { "application/json": { schema } } };
}

function responses({ unary, streaming, verb }: ContractRoute, collector: SchemaCollector): Record<string, unknown> {
  const content: Record<string, { schema: Schema }> = {};
  if (unary) content["application/json"] = { schema: collector.reference(unary.output) };
  if (streaming) {
    // Events hold the message in `data:`, lines of JSON are the message.
    content["text/event-stream"] = { schema: { type: "string" } };
    content["application/x-ndjson"] = { schema: collector.reference(streaming.output) };
  }
  return {
    "200": { description: "Done", headers: everyResponse, content },
    ...(unary && verb === "GET" ? { "304": { description: "If-None-Match names what is there" } } : {}),
    default: { $ref: "#/components/responses/Problem" },
  };
}

function security(scope: string): Record<string, unknown> {
  if (scope === PUBLIC_SCOPE) return { security: [] };
  return { security: [{ bearer: [scope] }, { header: [scope] }], "x-warren-scope": scope };
}

const everyResponse = {
  "x-request-id": { description: "The request's id, as errors and logs name it", schema: { type: "string" } },
  traceparent: { description: "The request's trace (W3C Trace Context)", schema: { type: "string" } },
};

const problemSchema: Schema = {
  type: "object",
  required: ["type", "title", "status", "detail", "instance", "code"],
  properties: {
    type: { type: "string", format: "uri-reference" },
    title: { type: "string" },
    status: { type: "integer", minimum: 400, maximum: 599 },
    detail: { type: "string" },
    instance: { type: "string", description: "The request's id" },
    code: { type: "string", description: "For programs, UPPER_SNAKE" },
    errors: {
      type: "array",
      items: {
        type: "object",
        required: ["field", "message"],
        properties: { field: { type: "string" }, message: { type: "string" } },
      },
    },
  },
};

function reference(name: string): Schema {
  return { $ref: `#/components/schemas/${name}` };
}

/** What has no contract. */
function handWritten(): Record<string, Record<string, unknown>> {
  const problem = { $ref: "#/components/responses/Problem" };
  const state = {
    type: "object",
    required: ["status"],
    properties: { status: { type: "string", enum: ["healthy", "degraded", "unhealthy"] } },
  };
  const health = (operationId: string, parameters: object[] = []) => ({
    get: {
      operationId,
      tags: ["health"],
      ...(parameters.length ? { parameters } : {}),
      responses: {
        "200": { description: "Healthy or degraded", content: { "application/json": { schema: state } } },
        "503": { description: "Unhealthy", content: { "application/json": { schema: state } } },
      },
      security: [],
    },
  });
  const packageSchema = {
    type: "object",
    required: ["digest", "size"],
    properties: { digest: { type: "string", pattern: "^sha256:[0-9a-f]{64}$" }, size: { type: "integer", minimum: 1 } },
  };
  return {
    "/health": health("GetHealth", [{ name: "detailed", in: "query", required: false, schema: { type: "boolean" } }]),
    "/health/live": health("GetLiveness"),
    "/health/ready": health("GetReadiness"),
    "/metrics": {
      get: {
        operationId: "GetMetrics",
        tags: ["health"],
        responses: {
          "200": { description: "Prometheus text", content: { "text/plain": { schema: { type: "string" } } } },
        },
        security: [],
      },
    },
    ...openAiPaths(security),
    ...limitOperations(problem, security),
    ...mcpPaths(security),
    ...sessionOperations(problem),
    [packagePolicy.template]: {
      post: {
        operationId: "UploadPackage",
        tags: ["plugins"],
        requestBody: { required: true, content: { "application/gzip": {}, "application/octet-stream": {} } },
        responses: {
          "201": { description: "Stored", content: { "application/json": { schema: packageSchema } } },
          default: problem,
        },
        ...security(packagePolicy.scope),
      },
    },
  };
}
