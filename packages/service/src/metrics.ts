// What every service counts, in a registry of its own: the process, its calls on the mesh, its connection. Labels are
// templates and names of the contract, never ids.
import { type CallObserver, statusName } from "@warren/mesh";
import { collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/** A service's metrics. It adds its own to `registry`. */
export interface ServiceMetrics {
  readonly registry: Registry;
  /** Counts the calls of the mesh that is given it. */
  readonly observer: CallObserver;
  /** Reads these figures of the mesh whenever somebody looks. */
  watch(mesh: MeshFigures): void;
}

/** What of a mesh is shown as it is now. */
export interface MeshFigures {
  readonly up: boolean;
  readonly load: { readonly calls: number; readonly queued: number; readonly routes: number };
}

export interface MetricsIdentity {
  readonly service: string;
  readonly instanceId: string;
  readonly version: string;
}

/** Bounds of buckets for times, in seconds: from a call within the machine to a model's answer. */
export const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120];

/** Makes the metrics of a service's process. */
export function createMetrics({ service, instanceId, version }: MetricsIdentity): ServiceMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const labels = { service, instance_id: instanceId, version };
  const info = { name: "warren_service_info", help: "1, with what this process is" };
  showGauge(registry, { ...info, labelNames: ["service", "instance_id", "version"] }, (gauge) => gauge.set(labels, 1));
  const labelNames = ["method", "code"] as const;
  const served = new Histogram({
    name: "rpc_server_duration_seconds",
    help: "Time from the arrival of a call to its answer, by method and status",
    labelNames,
    buckets: SECONDS,
    registers,
  });
  const called = new Histogram({
    name: "rpc_client_duration_seconds",
    help: "Time of a call to another service with all of its attempts, by method and status",
    labelNames,
    buckets: SECONDS,
    registers,
  });
  return {
    registry,
    observer: {
      served: ({ path }, ms, code) => served.observe({ method: path, code: statusName(code) }, ms / 1000),
      called: ({ path }, ms, code) => called.observe({ method: path, code: statusName(code) }, ms / 1000),
    },
    watch: (mesh) => {
      const show = (name: string, help: string, value: () => number): void =>
        showGauge(registry, { name, help }, (gauge) => gauge.set(value()));
      show("warren_mesh_up", "1 while this process is connected to NATS", () => (mesh.up ? 1 : 0));
      show("rpc_server_active_requests", "Calls that are being served", () => mesh.load.calls);
      show("rpc_server_queued_requests", "Calls that wait for their turn", () => mesh.load.queued);
      show("rpc_client_pending_requests", "Calls whose answer is awaited", () => mesh.load.routes);
    },
  };
}

/** Adds a gauge that is read whenever somebody looks; what it showed before is forgotten. */
export function showGauge<Label extends string = never>(
  registry: Registry,
  { labelNames = [], ...of }: { readonly name: string; readonly help: string; readonly labelNames?: readonly Label[] },
  read: (gauge: Gauge<Label>) => Promise<void> | void,
): void {
  const gauge: Gauge<Label> = new Gauge<Label>({
    ...of,
    labelNames,
    registers: [],
    collect: () => {
      gauge.reset();
      return read(gauge);
    },
  });
  registry.registerMetric(gauge);
}
