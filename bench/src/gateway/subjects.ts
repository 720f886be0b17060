// The subjects by name. Each is loaded only by the processes that run it: none pays for another's modules.
import type { Subject } from "./subject.ts";
import type { Parts } from "./warren.ts";

const on: Parts = { token: true, limits: true, tracing: true };

export const PLAIN = "plain Fastify";
export const PROXY = "@fastify/http-proxy";
export const WARREN = "Warren";
export const NO_LIMITS = "Warren, no limits";

const peers = () => import("./peers.ts");
const warren = async (parts: Parts): Promise<Subject> => (await import("./warren.ts")).warren(parts);

/** How each is loaded. */
export const subjects: Readonly<Record<string, () => Promise<Subject>>> = {
  [PLAIN]: async () => (await peers()).plain,
  [PROXY]: async () => (await peers()).httpProxy,
  "Fastify + @fastify/rate-limit": async () => (await peers()).rateLimited,
  "Fastify + nats.js": async () => (await peers()).natsRequest,
  [WARREN]: () => warren(on),
  "Warren, limits asked": () => warren({ ...on, limits: "asked" }),
  [NO_LIMITS]: () => warren({ ...on, limits: false }),
  "Warren, no token": () => warren({ ...on, token: false }),
  "Warren, no tracing": () => warren({ ...on, tracing: false }),
};

/** Those that are Warren: each is a mesh of its own. */
export const warrenSubjects = Object.keys(subjects).filter((name) => name.startsWith("Warren"));
