// What the vault counts: accesses by kind, and leases that run. Never names of secrets, which say too much.
import type { SecretAccessed } from "@warren/proto/warren/events/v1/events";
import { Counter, type Registry, showGauge, startAtZero } from "@warren/service";
import type { Leases } from "./leases.ts";

const SECRET_ACTIONS = ["put", "get", "delete", "lease"] as const;
/** What is done to a secret. */
export type SecretAction = (typeof SECRET_ACTIONS)[number];

type Audit = (event: SecretAccessed) => Promise<void>;

/** Counts what passes the audit, and what the audit could not keep. */
export function countAccesses(registry: Registry, audit: Audit): Audit {
  const accesses = new Counter({
    name: "warren_secret_accesses_total",
    help: "Secrets read, written, deleted and leased; unaudited: the audit could not keep it",
    labelNames: ["action", "outcome"] as const,
    registers: [registry],
  });
  startAtZero(accesses, { action: SECRET_ACTIONS, outcome: ["audited", "unaudited"] });
  return async (event) => {
    const { action } = event;
    try {
      await audit(event);
      accesses.inc({ action, outcome: "audited" });
    } catch (error) {
      accesses.inc({ action, outcome: "unaudited" });
      throw error;
    }
  };
}

/** Shows how many leases run. */
export function showLeases(registry: Registry, leases: Pick<Leases, "size">): void {
  const of = { name: "warren_secret_leases", help: "Leases of this replica that have not expired" };
  showGauge(registry, of, (gauge) => gauge.set(leases.size));
}
