// Health of one process: named probes, each with a time limit and its duration.
import { type HealthCheck, HealthStatus } from "@warren/proto/warren/telemetry/v1/telemetry";

/** What a probe finds: nothing wrong, or what works less well. A throw means that the service cannot do its work. */
export type Probe = () => Promise<void | { degraded: string }>;

const PROBE_MS = 1000;

/** The probes of a service. */
export class Health {
  readonly #probes = new Map<string, Probe>();
  #draining = false;

  /** Adds a probe. */
  check(name: string, probe: Probe): void {
    this.#probes.set(name, probe);
  }

  /** The service leaves: it is not ready for more, though nothing is wrong. */
  drain(): void {
    this.#draining = true;
  }

  /** Whether the service should be sent work. */
  async ready(): Promise<boolean> {
    if (this.#draining) return false;
    return (await this.report()).status !== HealthStatus.UNHEALTHY;
  }

  /** Runs every probe. The worst of them is the whole's. */
  async report(): Promise<{ status: HealthStatus; checks: HealthCheck[] }> {
    const checks = await Promise.all([...this.#probes].map(([name, probe]) => run(name, probe)));
    return { status: Math.max(HealthStatus.HEALTHY, ...checks.map((check) => check.status)) as HealthStatus, checks };
  }
}

async function run(name: string, probe: Probe): Promise<HealthCheck> {
  const started = performance.now();
  const done = (status: HealthStatus, message: string): HealthCheck => ({
    name,
    status,
    message,
    durationMs: performance.now() - started,
  });
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${PROBE_MS} ms`)), PROBE_MS);
  try {
    const found = await Promise.race([probe(), late.promise]);
    return found ? done(HealthStatus.DEGRADED, found.degraded) : done(HealthStatus.HEALTHY, "");
  } catch (error) {
    return done(HealthStatus.UNHEALTHY, error instanceof Error ? error.message : "the probe failed");
  } finally {
    clearTimeout(timer);
  }
}
