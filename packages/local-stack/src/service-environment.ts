// What each service of a local stack is told: the environment variables of its config.ts.
import { join } from "node:path";

export interface StackLayout {
  readonly dataDir: string;
  readonly natsUrl: string;
  /** Undefined: the limiter works in memory. */
  readonly redisPath: string | undefined;
  readonly httpHost: string;
  readonly httpPort: number;
  /** Undefined: the gateway's own choice. */
  readonly grpcPort?: number | undefined;
  readonly credentialsOf: (service: string) => string;
  /** The surrounding environment. */
  readonly inherited: NodeJS.ProcessEnv;
}

/** What the services get of the surrounding environment beside WARREN_*, OTEL_* and npm's own settings. */
const INHERITED = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "HTTPS_PROXY", "NO_PROXY", "NODE_EXTRA_CA_CERTS"];

/** Where the operator's token lies. */
export function operatorTokenFile(dataDir: string): string {
  return join(dataDir, "operator-token");
}

/** In the order of their ports; of the last there may be several. */
const METRICS_PORTS = ["gateway", "auth", "secrets", "agent", "plugin-host"];

/** Each process its own port, counted from the one that was asked for; 0 is any free one for all. */
function metricsPort(base: string | undefined, service: string, instanceId: string): NodeJS.ProcessEnv {
  if (!base || !(Number(base) > 0)) return {};
  const nth = Number(/-(\d+)$/.exec(instanceId)?.[1] ?? 1);
  return { WARREN_METRICS_PORT: String(Number(base) + METRICS_PORTS.indexOf(service) + nth - 1) };
}

/** The environment of one service process: its own settings, what a person set for Warren or OpenTelemetry, and no more. */
export function serviceEnvironment(layout: StackLayout, service: string, instanceId: string): NodeJS.ProcessEnv {
  const { dataDir, inherited } = layout;
  const passed = Object.entries(inherited).filter(
    ([name]) => INHERITED.includes(name) || /^(WARREN|OTEL|npm_config)_/.test(name),
  );
  const own: Record<string, NodeJS.ProcessEnv> = {
    gateway: {
      WARREN_HTTP_HOST: layout.httpHost,
      WARREN_HTTP_PORT: String(layout.httpPort),
      ...(layout.grpcPort === undefined ? {} : { WARREN_GRPC_PORT: String(layout.grpcPort) }),
      ...(layout.redisPath ? { WARREN_REDIS_URL: `unix://${layout.redisPath}` } : {}),
    },
    auth: {
      WARREN_OPERATOR_TOKEN_FILE: operatorTokenFile(dataDir),
      WARREN_PAIRING_SHOW_CODE_IN_LOG: "true",
    },
    secrets: { WARREN_SECRETS_ROOT_KEY_FILE: join(dataDir, "secrets", "root.key") },
    "plugin-host": { WARREN_PLUGIN_STORE_DIR: join(dataDir, "plugins") },
  };
  return {
    ...Object.fromEntries(passed),
    NODE_COMPILE_CACHE: join(dataDir, "cache"),
    WARREN_NATS_URL: layout.natsUrl,
    WARREN_MESH_CREDENTIALS: layout.credentialsOf(service),
    WARREN_INSTANCE_ID: instanceId,
    ...metricsPort(inherited["WARREN_METRICS_PORT"], service, instanceId),
    ...own[service],
  };
}
