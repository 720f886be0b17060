// Every setting of the gateway, and where it comes from.
import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { z } from "zod";

const list = z.string().transform((text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== ""),
);

/** Scheme, host and port, as browsers send it (RFC 6454). */
function isOrigin(text: string): boolean {
  return /^https?:\/\//.test(text) && URL.canParse(text) && new URL(text).origin === text.toLowerCase();
}

/** The settings, each with the environment variable that sets it. */
export const gatewayConfig = z.object({
  host: z.string().min(1).default("127.0.0.1").describe("Address to listen on").meta({ env: "WARREN_HTTP_HOST" }),
  port: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .default(8080)
    .describe("TCP port; 0: any that is free")
    .meta({ env: "WARREN_HTTP_PORT" }),
  grpcPort: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .optional()
    .describe("TCP port of gRPC; 0: any that is free; absent: 8081, or any that is free where WARREN_HTTP_PORT is 0")
    .meta({ env: "WARREN_GRPC_PORT" }),
  allowedHosts: list
    .prefault("localhost,127.0.0.1,[::1]")
    .describe(
      "Host names under which clients reach the gateway, without port, by commas; *: any (only behind a proxy that checks)",
    )
    .meta({ env: "WARREN_HTTP_ALLOWED_HOSTS" }),
  allowedOrigins: list
    .prefault("")
    .refine(
      (origins) => origins.every(isOrigin),
      "name each origin whole: https://console.example.org, without a path; * is none",
    )
    .describe("Origins of web pages that may call it and read its answers (CORS), beside its own, by commas")
    .meta({ env: "WARREN_HTTP_ALLOWED_ORIGINS" }),
  trustProxy: list
    .prefault("")
    .describe("Addresses and CIDR ranges of proxies whose X-Forwarded-For is believed, by commas")
    .meta({ env: "WARREN_HTTP_TRUST_PROXY" }),
  publicUrl: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe("Where clients reach the gateway, such as https://warren.example.org; absent: under the host they name")
    .meta({ env: "WARREN_HTTP_PUBLIC_URL" }),
  maxConnections: z.coerce
    .number()
    .int()
    .positive()
    .default(10_000)
    .describe("Connections at once")
    .meta({ env: "WARREN_HTTP_MAX_CONNECTIONS" }),
  drainDelayMs: z.coerce
    .number()
    .int()
    .nonnegative()
    .max(60_000)
    .default(0)
    .describe("Time between not ready and the end of accepting, for load balancers to notice")
    .meta({ env: "WARREN_HTTP_DRAIN_DELAY_MS" }),
  redisUrl: z
    .string()
    .regex(
      /^(rediss?(\+cluster)?|unix):\/\//,
      "use redis://, rediss:// or unix:///path; of a cluster redis+cluster:// or rediss+cluster:// and members by commas",
    )
    .optional()
    .describe(
      "Where limits are counted: redis://, rediss://, unix:///path, or members of a Redis Cluster: redis+cluster://one:6379,two:6379; absent: in this process's memory",
    )
    .meta({ env: "WARREN_REDIS_URL" }),
  redisPasswordFile: z
    .string()
    .min(1)
    .optional()
    .describe("File with the password for Redis (mode 0600), so that it need not stand in the address")
    .meta({ env: "WARREN_REDIS_PASSWORD_FILE" }),
  limitsFile: z
    .string()
    .min(1)
    .optional()
    .describe("A JSON file with the limits, in place of the defaults; read again when it changes")
    .meta({ env: "WARREN_LIMITS_FILE" }),
  socket: z
    .string()
    .min(1)
    .optional()
    .describe("Path of a Unix socket to listen on as well, whose callers are trusted as local")
    .meta({ env: "WARREN_HTTP_SOCKET" }),
  localTokenFile: z
    .string()
    .min(1)
    .optional()
    .describe("File (mode 0600) with the secret by which callers on this machine are trusted as local")
    .meta({ env: "WARREN_HTTP_LOCAL_TOKEN_FILE" }),
});

/** The settings as the gateway gets them. */
export type GatewayConfig = z.output<typeof gatewayConfig>;

const GRPC_PORT = 8081;

/** Where gRPC is served: whoever takes any port for HTTP wants no fixed one beside it. */
export function grpcPortOf({ grpcPort, port }: Pick<GatewayConfig, "grpcPort" | "port">): number {
  return grpcPort ?? (port === 0 ? 0 : GRPC_PORT);
}

/**
 * The password for Redis; undefined where none is configured.
 * @throws Error naming the file, never its content.
 */
export function redisPassword({ redisPasswordFile }: Pick<GatewayConfig, "redisPasswordFile">): string | undefined {
  if (redisPasswordFile === undefined) return undefined;
  const file = openSync(redisPasswordFile, "r");
  try {
    // Of the open file, so that nobody can swap it in between.
    if ((fstatSync(file).mode & 0o077) !== 0)
      throw new Error(`WARREN_REDIS_PASSWORD_FILE: others can read ${redisPasswordFile}: run chmod 600 on it`);
    const password = readFileSync(file, "utf8").trim();
    if (password === "") throw new Error(`WARREN_REDIS_PASSWORD_FILE: ${redisPasswordFile} is empty`);
    return password;
  } finally {
    closeSync(file);
  }
}
