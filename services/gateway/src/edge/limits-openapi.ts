// `/v1/limits` in the OpenAPI document.
import { z } from "zod";
import { questionSchema, trialSchema } from "../limits/explain.ts";
import { policySchema } from "../limits/policy-schema.ts";
import { limitRoutes } from "./limits.ts";

const object = { type: "object" };

/** Its operations. @param problem What is answered otherwise. @param security What a scope asks for. */
export function limitOperations(
  problem: object,
  security: (scope: string) => object,
): Record<string, Record<string, unknown>> {
  const operation = (operationId: string, { scope }: { scope: string }, body?: z.ZodType) => ({
    operationId,
    tags: ["limits"],
    ...(body ? { requestBody: { required: true, content: json(schemaOf(body)) } } : {}),
    responses: { "200": { description: "Done", content: json(object) }, default: problem },
    ...security(scope),
  });
  const { show, explain, test, apply } = limitRoutes;
  return {
    [show.template]: {
      get: operation("GetLimits", show),
      put: operation("ApplyLimits", apply, policySchema),
      delete: operation("ResetLimits", apply),
    },
    [explain.template]: { post: operation("ExplainLimits", explain, questionSchema) },
    [test.template]: { post: operation("TestLimits", test, trialSchema) },
  };
}

function schemaOf(type: z.ZodType): object {
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io: "input", unrepresentable: "any" });
  return schema;
}

function json(schema: object): object {
  return { "application/json": { schema } };
}
