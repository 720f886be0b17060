// Routes as the contract gives them: which methods share one, and how the router has to write it.
import type { DescField } from "@bufbuild/protobuf";
import type { MethodContract } from "@warren/contract";
import { INTERNAL_SCOPE } from "../identity/authorize.ts";

/** What admission needs to know of a route. */
export interface RoutePolicy {
  /** As the contract writes it: `/v1/plugins/{id}`. In spans, metrics and limits it stands for the path. */
  readonly template: string;
  readonly scope: string;
  readonly limitClass: string;
  /** Health and metrics are asked for by machines that must not be told to wait. */
  readonly unlimited?: boolean;
}

/** One route of the contract. */
export interface ContractRoute extends RoutePolicy {
  readonly verb: "GET" | "POST" | "PUT" | "DELETE" | "PATCH";
  /** As Fastify writes it: `/v1/pairing/:id(^[^:/]+)::complete`. */
  readonly path: string;
  /** The request fields that the path holds. */
  readonly variables: readonly DescField[];
  /** Whether the body is the request, as JSON. */
  readonly hasBody: boolean;
  readonly unary: MethodContract | undefined;
  readonly streaming: MethodContract | undefined;
}

/**
 * The methods that can be called from outside: those with a route, whichever protocol they are called by.
 * @throws Error when one of them is internal.
 */
export function publicMethods(methods: Iterable<MethodContract>): MethodContract[] {
  const found = [...methods].filter((method) => method.http !== undefined);
  for (const { path, scope } of found)
    if (scope === INTERNAL_SCOPE) throw new Error(`${path} is internal and has an HTTP route: remove one of the two`);
  return found;
}

/** What admission needs to know of a method: the same by every protocol. */
export function policyOf({ http, scope, limitClass, path }: MethodContract): RoutePolicy {
  return { template: http?.path ?? path, scope, limitClass };
}

const VARIABLE = /\{([a-z][a-z0-9_]*)\}/g;

/**
 * The routes of all methods that have one.
 * @throws Error when methods cannot share a route, or a route says what the edge does not do.
 */
export function contractRoutes(methods: Iterable<MethodContract>): ContractRoute[] {
  const routes = new Map<string, ContractRoute>();
  for (const method of publicMethods(methods)) {
    const key = `${method.http?.verb} ${method.http?.path}`;
    const route = routeOf(method);
    const known = routes.get(key);
    routes.set(key, known ? merge(known, route) : route);
  }
  return [...routes.values()];
}

function routeOf(method: MethodContract): ContractRoute {
  const { verb = "GET", path = "", body = "" } = method.http ?? {};
  if (body !== "" && body !== "*")
    throw new Error(`${method.path}: the edge knows the bodies "*" and "", not "${body}"`);
  const variables = [...path.matchAll(VARIABLE)].map(([, name = ""]) => {
    const field = method.input.fields.find((each) => each.name === name);
    if (field?.fieldKind === "scalar") return field;
    throw new Error(`${method.path}: its route names {${name}}, which is no scalar field of its request`);
  });
  return {
    ...policyOf(method),
    verb,
    path: routerPath(path),
    variables,
    hasBody: body === "*",
    unary: method.streaming ? undefined : method,
    streaming: method.streaming ? method : undefined,
  };
}

/** `{id}` → `:id`; before a verb such as `:complete`, a form of it that stops at the colon, and the colon doubled. */
function routerPath(template: string): string {
  return template
    .split("/")
    .map((segment) => {
      const [, variable, verb] = /^\{([a-z0-9_]+)\}(?::([a-z]+))?$/.exec(segment) ?? [];
      if (variable !== undefined) return verb === undefined ? `:${variable}` : `:${variable}(^[^:/]+)::${verb}`;
      return segment.replaceAll(":", "::");
    })
    .join("/");
}

function merge(one: ContractRoute, other: ContractRoute): ContractRoute {
  const names = `${(one.unary ?? one.streaming)?.path} and ${(other.unary ?? other.streaming)?.path}`;
  if ((one.unary && other.unary) || (one.streaming && other.streaming)) throw new Error(`${names} have the same route`);
  if (one.scope !== other.scope || one.limitClass !== other.limitClass || one.hasBody !== other.hasBody)
    throw new Error(`${names} share a route and differ in scope, limit class or body`);
  return { ...one, unary: one.unary ?? other.unary, streaming: one.streaming ?? other.streaming };
}

/** A template as an expression for paths, to find which other methods a path has. */
export function pathPattern(template: string): RegExp {
  const source = template
    .split(VARIABLE)
    .map((part, i) => (i % 2 ? "[^/]*" : part.replaceAll(/[.*+?^$()[\]{}|\\]/g, "\\$&")))
    .join("");
  return new RegExp(`^${source}$`);
}
