// The subjects by name. Each is loaded only by the processes that run it: none pays for another's modules.
import type { Subject } from "./subject.ts";

/** Warren as services run it. */
export const WARREN = "warren";
/** The same with no call sampled: trace context travels, spans are not kept. */
export const WARREN_UNSAMPLED = "warren, no sampling";
/** nats.js alone. */
export const NATS = "nats.js request()";
const GRPC = "grpc-js";

/** Warren serving so many keys of one method. */
export function keyedSubject(keys: number): string {
  return `warren, ${keys} endpoints`;
}

const KEYED = /^warren, (\d+) endpoints$/;

const loaders: Readonly<Record<string, () => Promise<Subject>>> = {
  [WARREN]: async () => (await import("./warren.ts")).warren({ sampled: true }),
  [WARREN_UNSAMPLED]: async () => (await import("./warren.ts")).warren({ sampled: false }),
  [NATS]: async () => (await import("./nats-request.ts")).natsRequest,
  "moleculer 0.15": async () => (await import("./moleculer.ts")).moleculer,
  "nestjs 12": async () => (await import("./nestjs.ts")).nestjs,
  [GRPC]: async () => (await import("./grpc.ts")).grpc,
};

/** Who takes part in unary calls. */
export const unarySubjects = Object.keys(loaders);
/** Who takes part in streams: those that have them. */
export const streamingSubjects = [WARREN, WARREN_UNSAMPLED, GRPC];
/** Who needs no NATS server. */
export const directSubjects: readonly string[] = [GRPC];

/** Loads a subject. */
export async function loadSubject(name: string): Promise<Subject> {
  const keys = KEYED.exec(name)?.[1];
  if (keys) return (await import("./warren-keyed.ts")).warrenKeyed(Number(keys));
  const load = loaders[name];
  if (!load) throw new Error(`There is no subject ${name}: there are ${unarySubjects.join(", ")}`);
  return load();
}
