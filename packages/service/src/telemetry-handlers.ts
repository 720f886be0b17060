// What every service tells about itself over the mesh.
import type { Handlers } from "@warren/mesh";
import type { TelemetryServiceDefinition } from "@warren/proto/warren/telemetry/v1/telemetry";
import type { Health } from "./health.ts";
import type { SpanStore } from "./span-store.ts";

export interface Identity {
  readonly service: string;
  readonly instanceId: string;
  readonly version: string;
}

/** Answers for this replica: its spans of a trace, its health. */
export function telemetryHandlers(
  identity: Identity,
  spans: SpanStore,
  health: Health,
): Handlers<typeof TelemetryServiceDefinition> {
  return {
    getTrace: ({ traceId }) => Promise.resolve({ spans: spans.read(traceId) }),
    getHealth: async () => ({ ...identity, ...(await health.report()) }),
  };
}
