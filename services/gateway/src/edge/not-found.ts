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

  /** The answer to a request that no route took. */
  problemOf(request: FastifyRequest): Problem {
    const path = (request.raw.url ?? "").replace(/^https?:\/\/[^/?#]*/i, "").split(/[?#]/)[0] ?? "";
    const methods = [...this.#known.values()]
      .filter(({ pattern }) => pattern.test(path))
      .flatMap((known) => [...known.methods]);
    if (methods.length === 0)
      return new Problem(404, { code: "ROUTE_NOT_FOUND", detail: "There is no such route: /openapi.json lists them" });
    const allow = [...new Set(methods)].sort().join(", ");
    return new Problem(405, { code: "METHOD_NOT_ALLOWED", detail: `The route takes ${allow}`, headers: { allow } });
  }
}
