// Who serves what, who may call whom, and who holds which state: the one policy from which NATS' permissions are
// generated, the same on one machine, in compose and on Kubernetes. What is not named here is denied.

/** A bucket of keys and values, an append-only stream, a bucket of objects, or a stream of events. */
export interface StateSpec {
  readonly name: string;
  readonly kind: "kv" | "stream" | "objects" | "events";
  /** Bytes it may hold, so that a disk cannot fill quietly. */
  readonly maxBytes: number;
  /** How long an entry lives, in milliseconds; absent: until it is deleted. */
  readonly ttlMs?: number;
}

/** A durable consumer: a place in a stream of events that the replicas of one service share. The stream's owner makes it. */
export interface ConsumerSpec {
  readonly stream: keyof typeof state;
  /** Its name within the service. */
  readonly durable: string;
}

/** What one service does on the mesh. */
export interface ServicePolicy {
  /** Contracts it serves, by full name. */
  readonly serves: readonly string[];
  /** Contracts it calls. */
  readonly calls: readonly string[];
  /** Events it publishes, by name or prefix with `>`. */
  readonly publishes: readonly string[];
  /** Events it receives. */
  readonly subscribes: readonly string[];
  /** State it creates, reads and writes. */
  readonly owns: readonly (keyof typeof state)[];
  /** State of others that it reads. */
  readonly reads: readonly (keyof typeof state)[];
  /** Buckets of objects of others that it adds to. */
  readonly writes: readonly (keyof typeof state)[];
  /** Of what it publishes, the events that the audit keeps, by name or prefix with `>`. */
  readonly feeds: readonly string[];
  /** The durable consumers that it runs. */
  readonly consumes: readonly ConsumerSpec[];
  /** Its word about users is believed. */
  readonly speaksForUsers?: boolean;
}

const MiB = 1 << 20;
const DAY_MS = 86_400_000;

/** All state of the mesh. */
export const state = {
  auth_devices: { name: "auth_devices", kind: "kv", maxBytes: 64 * MiB },
  auth_pairings: { name: "auth_pairings", kind: "kv", maxBytes: 16 * MiB, ttlMs: 900_000 },
  auth_refresh: { name: "auth_refresh", kind: "kv", maxBytes: 64 * MiB },
  auth_keys: { name: "auth_keys", kind: "kv", maxBytes: MiB },
  auth_signing: { name: "auth_signing", kind: "kv", maxBytes: MiB },
  auth_credentials: { name: "auth_credentials", kind: "kv", maxBytes: 16 * MiB },
  auth_revocations: { name: "auth_revocations", kind: "kv", maxBytes: 16 * MiB },
  auth_sessions: { name: "auth_sessions", kind: "kv", maxBytes: 16 * MiB, ttlMs: DAY_MS },
  auth_factors: { name: "auth_factors", kind: "kv", maxBytes: MiB },
  auth_activity: { name: "auth_activity", kind: "kv", maxBytes: 8 * MiB },
  secrets: { name: "secrets", kind: "kv", maxBytes: 256 * MiB },
  secrets_keyring: { name: "secrets_keyring", kind: "kv", maxBytes: MiB },
  plugins: { name: "plugins", kind: "kv", maxBytes: 64 * MiB },
  plugin_status: { name: "plugin_status", kind: "kv", maxBytes: 64 * MiB, ttlMs: 10_000 },
  plugin_hosts: { name: "plugin_hosts", kind: "kv", maxBytes: 8 * MiB, ttlMs: 10_000 },
  plugin_packages: { name: "plugin_packages", kind: "objects", maxBytes: 2048 * MiB },
  agent_sessions: { name: "agent_sessions", kind: "stream", maxBytes: 1024 * MiB },
  agent_session_index: { name: "agent_session_index", kind: "kv", maxBytes: 128 * MiB },
  agent_turns: { name: "agent_turns", kind: "kv", maxBytes: 16 * MiB, ttlMs: 10_000 },
  gateway_config: { name: "gateway_config", kind: "kv", maxBytes: MiB },
  audit: { name: "audit", kind: "events", maxBytes: 256 * MiB, ttlMs: 365 * DAY_MS },
  dead_letters: { name: "dead_letters", kind: "events", maxBytes: 64 * MiB, ttlMs: 30 * DAY_MS },
} as const satisfies Record<string, StateSpec>;

const AUTH = "warren.auth.v1.AuthService";
const ACCESS = "warren.auth.v1.AccessService";
const AGENT = "warren.agent.v1.AgentService";
const PLUGINS = "warren.plugins.v1.PluginService";
const SECRETS = "warren.secrets.v1.SecretsService";
const TELEMETRY = "warren.telemetry.v1.TelemetryService";

/** The services of the mesh. */
export const services = {
  gateway: {
    serves: [TELEMETRY],
    calls: [AUTH, ACCESS, AGENT, PLUGINS, SECRETS, TELEMETRY],
    publishes: ["system.>", "security.decision.>"],
    subscribes: ["system.>", "agent.>", "session.>", "plugin.>", "security.>"],
    owns: ["gateway_config"],
    reads: [
      "auth_keys",
      "auth_credentials",
      "auth_revocations",
      "auth_sessions",
      "plugin_status",
      "audit",
      "dead_letters",
    ],
    writes: ["plugin_packages"],
    feeds: ["security.decision.>"],
    consumes: [{ stream: "audit", durable: "notices" }],
    speaksForUsers: true,
  },
  auth: {
    serves: [AUTH, ACCESS, TELEMETRY],
    calls: [],
    publishes: ["system.>", "security.>"],
    subscribes: [],
    owns: [
      "auth_devices",
      "auth_pairings",
      "auth_refresh",
      "auth_keys",
      "auth_signing",
      "auth_credentials",
      "auth_revocations",
      "auth_sessions",
      "auth_factors",
      "auth_activity",
      "audit",
      "dead_letters",
    ],
    reads: [],
    writes: [],
    feeds: ["security.>"],
    consumes: [],
  },
  agent: {
    serves: [AGENT, TELEMETRY],
    calls: [PLUGINS],
    publishes: ["system.>", "agent.>", "session.>"],
    subscribes: ["plugin.>"],
    owns: ["agent_sessions", "agent_session_index", "agent_turns"],
    reads: ["plugin_status"],
    writes: [],
    feeds: [],
    consumes: [],
  },
  "plugin-host": {
    serves: [PLUGINS, TELEMETRY],
    calls: [SECRETS, PLUGINS],
    publishes: ["system.>", "plugin.>"],
    subscribes: ["plugin.>"],
    owns: ["plugins", "plugin_status", "plugin_hosts", "plugin_packages"],
    reads: [],
    writes: [],
    feeds: ["plugin.>"],
    consumes: [],
  },
  secrets: {
    serves: [SECRETS, TELEMETRY],
    calls: [],
    publishes: ["system.>", "security.>"],
    subscribes: [],
    owns: ["secrets", "secrets_keyring"],
    reads: [],
    writes: [],
    feeds: ["security.>"],
    consumes: [],
  },
} as const satisfies Record<string, ServicePolicy>;

/**
 * Who may ask every service how it is, by NATS' own convention (ADR-32), and nothing else: a person with `nats micro`. No
 * service, and not believed by any.
 */
export const OBSERVER = "observer";

/** The name of a service of the mesh. */
export type ServiceName = keyof typeof services;
