// Requests made from the OpenAPI document alone: mostly what it describes, sometimes not.
import * as fc from "fast-check";

export type Schema = { readonly [key: string]: unknown };

export interface Operation {
  readonly path: string;
  readonly verb: string;
  readonly spec: Schema;
}

export interface ApiRequest {
  readonly url: string;
  readonly body: unknown;
  readonly accept: string;
}

/** Every operation of a document whose body, if it has one, is JSON. */
export function operationsOf(document: Schema): Operation[] {
  return Object.entries(document["paths"] as Schema).flatMap(([path, verbs]) =>
    Object.entries(verbs as Schema).flatMap(([verb, spec]) => {
      const body = (spec as Schema)["requestBody"] as Schema | undefined;
      const types = Object.keys((body?.["content"] as Schema | undefined) ?? { "application/json": {} });
      return types.includes("application/json") ? [{ path, verb, spec: spec as Schema }] : [];
    }),
  );
}

/** Requests for an operation. */
export function requestOf(document: Schema, { path, spec }: Operation): fc.Arbitrary<ApiRequest> {
  const make = (schema: Schema): fc.Arbitrary<unknown> =>
    oneIn(8, fc.jsonValue({ maxDepth: 2 }), value(document, schema, 0));
  const parameters = ((spec["parameters"] ?? []) as Schema[]).filter((each) => each["in"] !== "header");
  const chosen = fc.tuple(
    ...parameters.map((each) => {
      const given = make(each["schema"] as Schema).map((found) => ({ each, text: textOf(found) }));
      return each["required"] === true ? given : fc.option(given, { nil: undefined });
    }),
  );
  const content = (spec["requestBody"] as Schema | undefined)?.["content"] as Schema | undefined;
  const schema = (content?.["application/json"] as Schema | undefined)?.["schema"] as Schema | undefined;
  const body = content === undefined ? fc.constant(undefined) : make(schema ?? {});
  const accept = fc.constantFrom("*/*", "application/json", "text/event-stream", "application/x-ndjson", "text/html");
  return fc.record({ chosen, body, accept }).map((made) => {
    const given = made.chosen.filter((each) => each !== undefined);
    let url = path;
    const query: string[] = [];
    for (const { each, text } of given) {
      const name = String(each["name"]);
      if (each["in"] === "path") url = url.replace(`{${name}}`, encodeURIComponent(text) || "%20");
      else query.push(`${name}=${encodeURIComponent(text)}`);
    }
    return { url: query.length ? `${url}?${query.join("&")}` : url, body: made.body, accept: made.accept };
  });
}

/** Values of a schema, or near it. */
function value(document: Schema, schema: Schema, depth: number): fc.Arbitrary<unknown> {
  const { $ref, enum: some, type, pattern, const: only } = schema;
  if (typeof $ref === "string") {
    const found = $ref
      .slice(2)
      .split("/")
      .reduce<unknown>((at, key) => (at as Schema)[key], document);
    return value(document, found as Schema, depth + 1);
  }
  if (only !== undefined) return fc.constant(only);
  if (Array.isArray(some)) return fc.constantFrom(...(some as unknown[]));
  for (const form of ["oneOf", "anyOf"])
    if (Array.isArray(schema[form]))
      return fc.oneof(...(schema[form] as Schema[]).map((each) => value(document, each, depth + 1)));
  const kind = Array.isArray(type) ? (type as string[])[0] : type;
  if (kind === "object" || schema["properties"] !== undefined) return objectOf(document, schema, depth);
  if (kind === "array") {
    if (depth > 5) return fc.constant([]);
    return fc.array(value(document, (schema["items"] ?? {}) as Schema, depth + 1), { maxLength: 3 });
  }
  if (kind === "boolean") return fc.boolean();
  const [min, max] = [Number(schema["minimum"] ?? -1000), Number(schema["maximum"] ?? 1000)];
  if (kind === "integer") return fc.integer({ min: Math.ceil(min), max: Math.floor(Math.max(min, max)) });
  if (kind === "number") return fc.double({ min, max: Math.max(min, max), noNaN: true });
  if (kind === "string") return textFor(schema, typeof pattern === "string" ? pattern : undefined);
  return fc.jsonValue({ maxDepth: 2 });
}

function objectOf(document: Schema, schema: Schema, depth: number): fc.Arbitrary<unknown> {
  const properties = Object.entries((schema["properties"] ?? {}) as Record<string, Schema>);
  if (properties.length === 0 || depth > 5)
    return fc.dictionary(fc.string({ maxLength: 8 }), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 2 });
  const model = Object.fromEntries(properties.map(([name, each]) => [name, value(document, each, depth + 1)]));
  const required = ((schema["required"] ?? []) as string[]).filter((name) => name in model);
  const whole = fc.record(model, { requiredKeys: required });
  return oneIn(
    6,
    fc
      .tuple(whole, fc.string({ minLength: 1, maxLength: 12 }), fc.jsonValue({ maxDepth: 1 }))
      .map(([made, key, more]) => ({ ...made, [key]: more })),
    whole,
  );
}

function textFor({ maxLength }: Schema, pattern: string | undefined): fc.Arbitrary<string> {
  const any = fc.string({ unit: "grapheme", maxLength: Math.min(Number(maxLength ?? 40), 80) });
  if (pattern === undefined) return any;
  try {
    return oneIn(6, any, fc.stringMatching(new RegExp(pattern, "u"), { size: "-1" }));
  } catch {
    // A pattern that the generator does not know.
    return any;
  }
}

function oneIn<T>(times: number, odd: fc.Arbitrary<T>, usual: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ arbitrary: odd, weight: 1 }, { arbitrary: usual, weight: times - 1 });
}

function textOf(given: unknown): string {
  return typeof given === "string" ? given : JSON.stringify(given);
}
