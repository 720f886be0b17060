// The life of a service's process: configuration, telemetry, mesh, start, ready, and a stop in order.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { connectMesh, type Mesh, parseCredentials } from "@warren/mesh";
import { ServiceStarted, ServiceStopping } from "@warren/proto/warren/events/v1/events";
import { TelemetryServiceDefinition } from "@warren/proto/warren/telemetry/v1/telemetry";
import type { z } from "zod";
import { commonConfig, type CommonConfig, ConfigError, type ConfigSchema, environment, loadConfig } from "./config.ts";
import { Health } from "./health.ts";
import { createLog, type Logger } from "./log.ts";
import { createMetrics, type ServiceMetrics } from "./metrics.ts";
import { type ProbeAnswer, type ProbeServer, serveProbes } from "./probe-server.ts";
import type { LogPush } from "./otlp-logs.ts";
import { standardOutput } from "./standard-output.ts";
import { isDisabled, startLogPush, startTelemetry, type Telemetry } from "./telemetry.ts";
import { telemetryHandlers } from "./telemetry-handlers.ts";

/** What a service gets to start with. */
export interface ServiceDependencies<Config> {
  readonly config: Config & CommonConfig;
  readonly mesh: Mesh;
  readonly log: Logger;
  readonly health: Health;
  readonly telemetry: Telemetry;
  readonly metrics: ServiceMetrics;
}

/** A service that runs. Its stop is: `drain`, then the mesh's own drain, then `stop`, then leaving the mesh. */
export interface RunningService {
  /** Where it listens outside the mesh, for whoever started it. */
  readonly address?: string;
  /** Where it serves gRPC outside the mesh, likewise. */
  readonly grpcAddress?: string;
  /** Takes no more work from outside the mesh and hands over what others can take. */
  drain?(): Promise<void>;
  /** Ends what is left, while the mesh can still be called. */
  stop?(): Promise<void>;
}

export interface ServiceSetup<S extends ConfigSchema> {
  /** The service's name in the mesh's policy. */
  readonly name: string;
  readonly description: string;
  /** Settings beside those that every service has. */
  readonly config: S;
  /** Wires the service up and serves its contract. */
  start(deps: ServiceDependencies<z.infer<S>>): Promise<RunningService>;
}

const VERSION = "0.1.0";
/** Exit code for a configuration that cannot be used (sysexits' EX_CONFIG): starting again would not help. */
const EX_CONFIG = 78;

/** Runs a service until it is told to stop. One that cannot start says why and ends, so that whoever started it can try again. */
export async function runService<S extends ConfigSchema>(setup: ServiceSetup<S>): Promise<void> {
  const config = readConfig(setup);
  const instanceId = config.instanceId ?? randomUUID();
  const push = await startLogPush({ service: setup.name, instanceId, version: VERSION, env: environment() });
  const destination = push ? { write: printedAnd(push) } : standardOutput();
  const log = createLog({ service: setup.name, instanceId, level: config.logLevel, destination });
  let code = 0;
  try {
    await run(setup, config, instanceId, log);
  } catch (err) {
    log.fatal({ err }, "The service could not start or stop in order");
    code = 1;
  }
  await push?.stop();
  process.exit(code);
}

function printedAnd(push: LogPush): (line: string) => void {
  const printed = standardOutput();
  return (line) => {
    printed.write(line);
    push.write(line);
  };
}

async function run<S extends ConfigSchema>(
  setup: ServiceSetup<S>,
  config: z.infer<S> & CommonConfig,
  instanceId: string,
  log: Logger,
): Promise<void> {
  process.on("uncaughtException", (err) => log.error({ err }, "An exception was caught by nobody"));
  process.on("unhandledRejection", (err) => log.error({ err }, "A rejection was handled by nobody"));
  const whole = { service: setup.name, instanceId, version: VERSION };
  const metrics = createMetrics(whole);
  const telemetry = await startTelemetry({ ...whole, env: environment(), registry: metrics.registry });
  const health = new Health();
  const life: Life = { ready: false };
  // Before NATS is reached: whoever watches the start must be told that the process lives.
  const probes = await answerProbes(config, life, health, metrics);
  if (probes)
    log.info({ metrics: `http://${config.metricsHost}:${probes.port}/metrics` }, "Metrics and probes are served");
  const mesh = await connectMesh({
    servers: config.natsServers,
    credentials: parseCredentials(readFileSync(config.meshCredentials, "utf8")),
    log,
    instanceId,
    version: VERSION,
    description: setup.description,
    replicas: config.stateReplicas,
    ...(isDisabled(environment()) ? {} : { observer: metrics.observer }),
    ...(config.natsCa ? { tls: { ca: readFileSync(config.natsCa, "utf8") } } : {}),
  });
  life.mesh = mesh;
  metrics.watch(mesh);
  health.check("nats", () => (mesh.up ? Promise.resolve() : Promise.reject(new Error("disconnected; reconnecting"))));
  const stopAsked = untilAskedToStop();
  const starting = setup.start({ config, mesh, log, health, telemetry, metrics });
  const running = await Promise.race([starting, stopAsked]);
  // Told to stop while it waits for others: it has taken no work yet.
  if (typeof running === "string") return log.info({ why: running }, "Stopped before it was ready");
  const identity = { service: setup.name, instanceId };
  await mesh.serve(
    TelemetryServiceDefinition,
    telemetryHandlers({ ...identity, version: VERSION }, telemetry.spans, health),
  );
  announce(mesh.publish(ServiceStarted, { ...identity, time: new Date() }));
  life.ready = true;
  process.send?.({ type: "ready", address: running.address, grpcAddress: running.grpcAddress });
  log.info("Ready");

  const why = await stopAsked;
  log.info({ why }, "Stopping");
  health.drain();
  const force = setTimeout(() => process.exit(1), config.drainGraceMs + 10_000).unref();
  announce(mesh.publish(ServiceStopping, { ...identity, time: new Date() }));
  await running.drain?.();
  await mesh.drain(config.drainGraceMs);
  await running.stop?.();
  await mesh.close();
  await telemetry.shutdown();
  await probes?.close();
  clearTimeout(force);
  log.info("Stopped");
}

/** How far the service has come. */
interface Life {
  mesh?: Mesh;
  ready: boolean;
}

/** Live: the event loop runs and NATS is not lost for good. Ready: started, well, and not about to leave. */
async function answerProbes(
  { metricsHost: host, metricsPort: port }: CommonConfig,
  life: Life,
  health: Health,
  { registry }: ServiceMetrics,
): Promise<ProbeServer | undefined> {
  if (port === undefined) return undefined;
  const say = (ok: boolean, word: string): ProbeAnswer => ({ ok, text: ok ? word : `not ${word}` });
  return serveProbes({
    host,
    port,
    routes: {
      "/metrics": async () => ({ ok: true, text: await registry.metrics(), contentType: registry.contentType }),
      "/health/live": () => Promise.resolve(say(life.mesh?.closed !== true, "live")),
      "/health/ready": async () => say(life.ready && (await health.ready()), "ready"),
    },
  });
}

function readConfig<S extends ConfigSchema>(setup: ServiceSetup<S>): z.infer<S> & CommonConfig {
  try {
    const schema = commonConfig.extend(setup.config.shape);
    return loadConfig(schema, setup.name, environment()) as z.infer<S> & CommonConfig;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(EX_CONFIG);
  }
}

/** Resolves with the reason: a signal, or the end of the process that started this one. */
function untilAskedToStop(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => resolve(signal));
    process.once("disconnect", () => resolve("the parent process is gone"));
  });
}

/** An announcement is news, not work: without NATS it is skipped. */
function announce(published: Promise<void>): void {
  // Whoever joins later asks discovery.
  published.catch(() => undefined);
}
