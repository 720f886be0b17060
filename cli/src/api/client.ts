// The gateway's public API, called with a token.
import { CliError, ExitCode } from "../errors.ts";
import type { Access } from "./access.ts";
import { isRecord, ProblemError, readProblem } from "./problem.ts";
import { exchange, type Fetch, type HttpRequest } from "./transport.ts";

/** Calls a gateway. */
export interface Client {
  /** The gateway's address. */
  readonly url: string;
  /** Who calls; undefined: nobody, only public routes work. */
  readonly access: Access | undefined;
  /** Sends a request and returns the answer, which is a success. @throws CliError, ProblemError. */
  send(request: HttpRequest): Promise<Response>;
  /** Sends a request and returns the JSON answered; an empty answer is `{}`. @throws CliError, ProblemError. */
  json(request: HttpRequest): Promise<Record<string, unknown>>;
  /** Reads every page of a list and returns one answer with all of `key`'s entries. @throws CliError, ProblemError. */
  list(path: string, key: string): Promise<Record<string, unknown>>;
}

/** Builds a client over an address and an access. */
export function createClient(url: string, access: Access | undefined, fetch: Fetch): Client {
  const send = async (request: HttpRequest): Promise<Response> => {
    const credentials = await access?.credentials();
    let response = await exchange(fetch, url, request, credentials);
    // The gateway may know better than our clock that a token has ended.
    if (response.status === 401 && access && credentials?.token) {
      const other = await access.credentials(credentials.token);
      if (other) {
        await response.body?.cancel();
        response = await exchange(fetch, url, request, other);
      }
    }
    if (response.ok) return response;
    throw refusal(await readProblem(response), access);
  };
  const json = async (request: HttpRequest): Promise<Record<string, unknown>> => bodyOf(await send(request), url);
  return { url, access, send, json, list: (path, key) => listAll(json, path, key) };
}

async function listAll(json: Client["json"], path: string, key: string): Promise<Record<string, unknown>> {
  const entries: unknown[] = [];
  const seen = new Set<string>();
  let pageToken: string | undefined;
  do {
    const page = await json({ method: "GET", path, query: { pageToken } });
    const found = page[key];
    if (Array.isArray(found)) entries.push(...(found as unknown[]));
    const next = page["nextPageToken"];
    pageToken = typeof next === "string" && next && !seen.has(next) ? next : undefined;
    if (pageToken) seen.add(pageToken);
  } while (pageToken);
  return { [key]: entries };
}

async function bodyOf(response: Response, url: string): Promise<Record<string, unknown>> {
  const text = await response.text();
  if (!text) return {};
  try {
    const body: unknown = JSON.parse(text);
    if (isRecord(body)) return body;
  } catch {
    // Not JSON: said below.
  }
  throw new CliError(
    ExitCode.failure,
    `${url} answered with something other than JSON (${response.headers.get("content-type") ?? "no content type"})`,
    "is it a Warren gateway?",
  );
}

function refusal(problem: Awaited<ReturnType<typeof readProblem>>, access: Access | undefined): ProblemError {
  if (problem.status === 401) {
    const hint = access?.kind === "profile" ? "pair this device again: warren pair --replace" : access?.hint;
    return new ProblemError(problem, hint);
  }
  return problem.status === 403 ? new ProblemError(problem, access?.hint) : new ProblemError(problem);
}
