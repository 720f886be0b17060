// The subjects by name. Each is loaded only by the processes that run it: none pays for another's modules.
import type { Subject } from "./subject.ts";

/** Warren as services run it. */
export const WARREN = "warren";
/** The same with no call sampled: trace context travels, spans are not kept. */
export const WARREN_UNSAMPLED = "warren, no sampling";

const load: Readonly<Record<string, () => Promise<Subject>>> = {
  [WARREN]: async () => (await import("./warren.ts")).warren({ sampled: true }),
  [WARREN_UNSAMPLED]: async () => (await import("./warren.ts")).warren({ sampled: false }),
  "nats.js request()": async () => (await import("./nats-request.ts")).natsRequest,
  "moleculer 0.15": async () => (await import("./moleculer.ts")).moleculer,
  "nestjs 12": async () => (await import("./nestjs.ts")).nestjs,
  "grpc-js": async () => (await import("./grpc.ts")).grpc,
};

/** Every subject's name. */
export const subjectNames = Object.keys(load);

/** Loads a subject. */
export async function loadSubject(name: string): Promise<Subject> {
  const found = load[name];
  if (!found) throw new Error(`There is no subject ${name}: there are ${subjectNames.join(", ")}`);
  return found();
}
