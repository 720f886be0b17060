// Paths and methods that nobody serves.
import type { FastifyRequest } from "fastify";
import { Problem } from "./problem.ts";
import { pathPattern } from "./routes.ts";

interface KnownPath {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

/** Tells an unknown path (404) from a known one under another method (405). */
export class UnknownRoutes {
  readonly #known = new Map<string, KnownPath>();

  /** Told of every route that is served. */
  add(method: string, template: string): void {
    const known = this.#known.get(template) ?? { pattern: pathPattern(template), methods: new Set<string>() };
    this.#known.set(template, known);
    known.methods.add(method);
  }

  /** The methods of a path, in alphabetical order; none: there is no such path. */
  methodsOf(url: string): string[] {
    const path = url.replace(/^https?:\/\/[^/?#]*/i, "").split(/[?#]/)[0] ?? "";
    const known = [...this.#known.values()].filter(({ pattern }) => pattern.test(path));
    return [...new Set(known.flatMap(({ methods }) => [...methods]))].sort();
  }

  /** The answer to a request that no route took. */
  problemOf(request: FastifyRequest): Problem {
    const methods = this.methodsOf(request.raw.url ?? "");
    if (methods.length === 0)
      return new Problem(404, { code: "ROUTE_NOT_FOUND", detail: "There is no such route: /openapi.json lists them" });
    const allow = methods.join(", ");
    return new Problem(405, { code: "METHOD_NOT_ALLOWED", detail: `The route takes ${allow}`, headers: { allow } });
  }
}
