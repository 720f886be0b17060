import { z } from "zod";
import { ManifestError, type ManifestProblem } from "./errors.ts";
import { commandSchema, entrySchema, type Manifest } from "./manifest-schema.ts";
import { nearest } from "./nearest.ts";

/** A manifest travels in messages and in the mesh's KV, whose values are at most 1 MiB. */
const maxManifestBytes = 128 * 1024;

/**
 * Reads and checks a `plugin.json`, and fills in the defaults.
 *
 * @throws ManifestError with everything that is wrong, each with its path.
 * @example
 * ```ts
 * const manifest = parseManifest(await readFile("plugin.json"));
 * if (manifest.runtime !== "mcp") start(manifest.entry);
 * ```
 */
export function parseManifest(json: string | Uint8Array): Manifest {
  const bytes = typeof json === "string" ? Buffer.byteLength(json) : json.byteLength;
  if (bytes > maxManifestBytes) throw invalid(`is larger than ${maxManifestBytes} bytes`);
  return checkManifest(parseJson(json));
}

/**
 * Checks a manifest that is already an object, such as one made for an MCP server.
 *
 * @throws ManifestError with everything that is wrong, each with its path.
 */
export function checkManifest(value: unknown): Manifest {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("must be a JSON object");
  // Choosing the variant here, not by the union, lets a bad `runtime` be reported beside everything else.
  const schema = "runtime" in value && value.runtime === "mcp" ? commandSchema : entrySchema;
  const result = schema.safeParse(value, { error: describeIssue });
  if (result.success) return result.data;
  throw new ManifestError(result.error.issues.flatMap((issue) => toProblems(issue, schema)));
}

function parseJson(json: string | Uint8Array): unknown {
  try {
    const text = typeof json === "string" ? json : new TextDecoder("utf-8", { fatal: true }).decode(json);
    return JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (error) {
    throw invalid(`is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function invalid(message: string): ManifestError {
  return new ManifestError([{ path: "plugin.json", message }]);
}

function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "is required" : `must be ${withArticle(issue.expected)}`;
    case "invalid_value":
      return issue.input === undefined
        ? "is required"
        : `must be ${issue.values.map((value) => JSON.stringify(value)).join(" or ")}`;
    case "too_small":
      if (issue.minimum === 1 && issue.origin !== "number") return "must not be empty";
      return `must be at least ${issue.minimum}${unitOf(issue.origin)}`;
    case "too_big":
      return `must be at most ${issue.maximum}${unitOf(issue.origin)}`;
    case "invalid_format":
      if (issue.format === "email") return "must be an e-mail address";
      return issue.format === "url" ? "must be a URL" : undefined;
    default:
      return undefined;
  }
}

function withArticle(type: string): string {
  if (type === "int") return "a whole number";
  return /^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`;
}

function unitOf(origin: string): string {
  if (origin === "string") return " characters";
  return origin === "array" ? " items" : "";
}

function toProblems(issue: z.core.$ZodIssue, schema: z.ZodType): ManifestProblem[] {
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => ({
        path: pathText([...issue.path, key]),
        message: unknownKey(key, knownKeys(schema, issue.path)),
      }));
    case "invalid_key":
      return issue.issues.map((inner) => ({ path: pathText(issue.path), message: `the key ${inner.message}` }));
    case "invalid_union":
      return unionProblems(issue, schema);
    default:
      return [{ path: pathText(issue.path), message: issue.message }];
  }
}

/** Of a union's variants, the one that the value is meant to be: the first whose own type it has. */
function unionProblems(issue: z.core.$ZodIssueInvalidUnion, schema: z.ZodType): ManifestProblem[] {
  const isOtherType = (inner: z.core.$ZodIssue) => inner.code === "invalid_type" && inner.path.length === 0;
  const meant = issue.errors.find((option) => !option.some(isOtherType)) ?? [];
  if (meant.length === 0) return [{ path: pathText(issue.path), message: "is of the wrong type" }];
  return meant.flatMap((inner) => toProblems({ ...inner, path: [...issue.path, ...inner.path] }, schema));
}

function unknownKey(key: string, known: readonly string[]): string {
  if (key === "command" && known.includes("entry")) return 'is only for runtime "mcp"; other runtimes have `entry`';
  if (key === "entry" && known.includes("command")) return 'is not for runtime "mcp", which has `command`';
  const guess = nearest(key, known);
  return guess === undefined ? `is unknown; known are ${known.join(", ")}` : `is unknown; did you mean "${guess}"?`;
}

/** The keys of the object schema at a path, through defaults and optionals. */
function knownKeys(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const [head, ...rest] = path;
  const inner = unwrap(schema);
  const objects = inner instanceof z.ZodUnion ? inner.options.map(unwrap) : [inner];
  for (const each of objects) {
    if (!(each instanceof z.ZodObject)) continue;
    const shape: Record<string, z.ZodType> = each.shape;
    if (head === undefined) return Object.keys(shape);
    const next = shape[String(head)];
    if (next !== undefined) return knownKeys(next, rest);
  }
  return [];
}

function unwrap(schema: unknown): unknown {
  let inner = schema;
  while (inner instanceof z.ZodDefault || inner instanceof z.ZodPrefault || inner instanceof z.ZodOptional) {
    inner = inner.unwrap();
  }
  return inner;
}

function pathText(path: readonly PropertyKey[]): string {
  const text = path
    .map((part) =>
      typeof part === "number"
        ? `[${part}]`
        : plainKey.test(String(part))
          ? `.${String(part)}`
          : `[${JSON.stringify(String(part))}]`,
    )
    .join("");
  return text === "" ? "plugin.json" : text.replace(/^\./, "");
}

const plainKey = /^[A-Za-z_$][\w$]*$/;
