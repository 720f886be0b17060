// Joining the mesh as one of Warren's services does: telemetry first, then its credential.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type CallerAssertion, connectMesh, type Mesh, type MeshLog, parseCredentials } from "@warren/mesh";
import { startTelemetry } from "@warren/service";
import type { Target } from "./subject.ts";

/** How long a call may take, in milliseconds. */
export const TIMEOUT_MS = 30_000;

/** A log that ends the process: nothing may go wrong while figures are taken. */
const log: MeshLog = { error: fail, warn: fail, info: ignore, debug: ignore };

function fail(fields: object, message: string): void {
  console.error(`The mesh reports: ${message}`, fields);
  process.exit(1);
}

function ignore(): void {
  // Nothing of it matters here.
}

/** Joins the mesh as `service`. Spans of every call are kept in memory, or of none. */
export async function joinMesh(service: string, target: Target, { sampled }: { sampled: boolean }): Promise<Mesh> {
  const env = { OTEL_TRACES_SAMPLER_ARG: sampled ? "1" : "0" };
  await startTelemetry({ service, instanceId: `${process.pid}`, version: "0.0.0", env });
  const credentials = parseCredentials(readFileSync(join(target.credentials, `${service}.json`), "utf8"));
  return connectMesh({ servers: [target.natsUrl], credentials, log });
}

/** As many people as there are callers, each with an assertion of their own. */
export function assertionsOf(mesh: Mesh): (caller: number) => CallerAssertion {
  const made: CallerAssertion[] = [];
  return (caller) =>
    (made[caller] ??= mesh.assert({
      principal: `device:bench-${caller}`,
      tenant: "default",
      scopes: ["chat", "plugins:call"],
      expiresAt: Date.now() + 3_600_000,
    }));
}
