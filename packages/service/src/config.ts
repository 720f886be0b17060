// Configuration: one described schema a service, read in one place. Defaults < file < environment.
import { readFileSync } from "node:fs";
import { parse as parseYaml } from "yaml";
import { z } from "zod";

/** A setting that cannot be used: which, why, and what to do. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/** A schema whose every field carries `.meta({ env })` and `.describe()`. */
export type ConfigSchema = z.ZodObject;

/** Environment variables as a process sees them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** This process's environment: the one place where it is read. */
export function environment(): Environment {
  return process.env;
}

/** The settings that every service has. */
export const commonConfig = z.object({
  natsServers: z
    .string()
    .default("nats://127.0.0.1:4222")
    .transform((text) => text.split(",").map((server) => server.trim()))
    .describe("NATS servers of the mesh, separated by commas.")
    .meta({ env: "WARREN_NATS_URL" }),
  meshCredentials: z
    .string()
    .describe("File with the service's mesh credential (JSON, mode 0600).")
    .meta({ env: "WARREN_MESH_CREDENTIALS" }),
  natsCa: z
    .string()
    .optional()
    .describe("File with the certificate authority (PEM) of the NATS servers, for tls:// addresses.")
    .meta({ env: "WARREN_NATS_CA" }),
  instanceId: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, "must be 1 to 64 letters, digits, _ or -")
    .optional()
    .describe("Name of this process among the service's replicas. Default: random.")
    .meta({ env: "WARREN_INSTANCE_ID" }),
  stateReplicas: z.coerce
    .number()
    .int()
    .min(1)
    .max(5)
    .default(1)
    .describe("Copies of each piece of state in JetStream: 3 in production.")
    .meta({ env: "WARREN_STATE_REPLICAS" }),
  logLevel: z
    .enum(["trace", "debug", "info", "warn", "error", "fatal"])
    .default("info")
    .describe("The least severe level that is logged.")
    .meta({ env: "WARREN_LOG_LEVEL" }),
  drainGraceMs: z.coerce
    .number()
    .int()
    .min(0)
    .default(25_000)
    .describe("How long calls in flight may go on when the service stops, in milliseconds.")
    .meta({ env: "WARREN_DRAIN_GRACE_MS" }),
  metricsPort: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .optional()
    .describe("TCP port for /metrics, /health/live and /health/ready; 0: any that is free. Default: none is opened.")
    .meta({ env: "WARREN_METRICS_PORT" }),
  metricsHost: z
    .string()
    .min(1)
    .default("127.0.0.1")
    .describe("Address to listen on for WARREN_METRICS_PORT.")
    .meta({ env: "WARREN_METRICS_HOST" }),
});

/** The settings that every service has, as read. */
export type CommonConfig = z.infer<typeof commonConfig>;

/**
 * Reads the settings of `schema` for the service `name`.
 * @throws ConfigError naming every setting that is missing, unknown or wrong, all at once.
 */
export function loadConfig<S extends ConfigSchema>(schema: S, name: string, env: Environment): z.infer<S> {
  const known = Object.keys(schema.shape);
  const fromFile = readFile(env["WARREN_CONFIG"], name);
  const fromEnv = Object.entries(schema.shape).flatMap(([key, field]) => {
    const value = env[variableOf(field)];
    return value === undefined || value === "" ? [] : [[key, value] as const];
  });
  const result = schema.safeParse({ ...fromFile, ...Object.fromEntries(fromEnv) });
  const unknown = Object.keys(fromFile).filter((key) => !known.includes(key));
  if (result.success && unknown.length === 0) return result.data;
  const problems = (result.error?.issues ?? []).map((issue) => {
    const field = schema.shape[String(issue.path[0])];
    return `${field ? variableOf(field) : issue.path.join(".")}: ${issue.message} (${field?.description ?? "unknown"})`;
  });
  const surplus = unknown.map(
    (key) => `${env["WARREN_CONFIG"]}: ${name} has no setting ${key}; did you mean ${nearest(key, known)}?`,
  );
  throw new ConfigError(`The configuration of ${name} cannot be used:\n  ${[...surplus, ...problems].join("\n  ")}`);
}

function variableOf(field: unknown): string {
  const meta = (field as z.ZodType).meta() as { env?: string } | undefined;
  if (!meta?.env) throw new ConfigError("A setting names no environment variable: add .meta({ env }) to its schema");
  return meta.env;
}

/** The part of `warren.config.yaml` under the service's name. */
function readFile(path: string | undefined, name: string): Record<string, unknown> {
  if (!path) return {};
  const whole = parseFile(path) ?? {};
  if (!isSettings(whole)) throw new ConfigError(`${path} must hold settings by service, such as "${name}:"`);
  const part = whole[name] ?? {};
  if (!isSettings(part)) throw new ConfigError(`${path}: ${name} must hold settings by name`);
  return part;
}

function parseFile(path: string): unknown {
  try {
    return parseYaml(readFileSync(path, "utf8"));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(`WARREN_CONFIG names ${path}, which cannot be read: ${why}`, { cause });
  }
}

function isSettings(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The known word that takes the fewest edits (Levenshtein, 1965). */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const distance = (other: string): number => {
    let row = Array.from({ length: other.length + 1 }, (_, i) => i);
    for (let i = 1; i <= word.length; i++) {
      const next = [i];
      for (let j = 1; j <= other.length; j++) {
        const replace = (row[j - 1] ?? 0) + (word[i - 1] === other[j - 1] ? 0 : 1);
        next.push(Math.min(replace, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
      }
      row = next;
    }
    return row[other.length] ?? 0;
  };
  return known.toSorted((a, b) => distance(a) - distance(b))[0];
}
