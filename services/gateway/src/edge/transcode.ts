// HTTP requests as protobuf requests, by google.api.http: path variables, then body or query.
import type { JsonValue } from "@bufbuild/protobuf";
import { messageFromJson, messageToBytes, type MethodContract } from "@warren/contract";
import { type FieldError, invalidFields } from "./problem.ts";
import { parseQuery, queryToJson } from "./query.ts";
import type { ContractRoute } from "./routes.ts";

/** The parts of an HTTP request that make up a protobuf one. */
export interface HttpParts {
  readonly params: Readonly<Record<string, string>>;
  /** Without its question mark. */
  readonly query: string;
  /** Parsed; undefined when there was none. */
  readonly body: JsonValue | undefined;
}

/** A request ready for the mesh. */
export interface MeshRequest {
  readonly bytes: Uint8Array;
  /** The value that selects the replicas, where the method is keyed. */
  readonly key: string | undefined;
}

/**
 * Reads the request of a method.
 * @throws Problem or JsonMismatch naming each field that is wrong.
 */
export function readRequest(route: ContractRoute, method: MethodContract, parts: HttpParts): MeshRequest {
  const given = route.hasBody ? bodyFields(parts) : queryToJson(method.input, parts.query);
  const json = withPath(route, parts.params, given);
  const message = messageFromJson(method.input, json);
  const key =
    method.keyField === undefined ? undefined : (message as unknown as Record<string, string>)[method.keyField];
  return { bytes: messageToBytes(method.input, message), key };
}

function bodyFields({ query, body = {} }: HttpParts): JsonValue {
  const errors = parseQuery(query).map(([name]) => ({
    field: name.slice(0, 64),
    message: "is not a parameter of this request",
  }));
  if (errors.length) throw invalidFields(errors);
  return body;
}

/** The path decides; a body or query that says otherwise is refused, whichever form of the field's name it uses. */
function withPath({ variables }: ContractRoute, params: HttpParts["params"], json: JsonValue): JsonValue {
  if (variables.length === 0 || typeof json !== "object" || json === null || Array.isArray(json)) return json;
  const merged: Record<string, JsonValue> = { ...json };
  const errors: FieldError[] = [];
  for (const field of variables) {
    const value = params[field.name] ?? "";
    for (const name of new Set([field.name, field.jsonName])) {
      if (Object.hasOwn(merged, name) && merged[name] !== value)
        errors.push({ field: name, message: "differs from the path" });
      delete merged[name];
    }
    merged[field.jsonName] = value;
  }
  if (errors.length) throw invalidFields(errors);
  return merged;
}
