// The configuration of a deployed nats-server. It is made when the server starts, not when the mesh is installed: who may do
// what is the policy of the version that runs.
import { chownSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { natsServerConfig, type NatsTls } from "@warren/mesh/policy";
import { FILE } from "./parts.ts";

export interface NatsConfigOptions {
  /** The folder of the part `nats`: public keys, route password. */
  readonly keys: string;
  /** The file to write. */
  readonly out: string;
  readonly serverName: string;
  readonly port: number;
  readonly storeDir: string;
  /** Bytes that JetStream may hold, such as `9G`; absent: what the server thinks fit. */
  readonly maxStore?: string | undefined;
  /** Where the server answers health checks, `host:port`. */
  readonly monitor?: string | undefined;
  /** Present: one of several servers, each named as `host:port`. */
  readonly routes?: readonly string[] | undefined;
  readonly routePort?: number | undefined;
  /** By which the other servers are told of this one, `host:port`. */
  readonly advertise?: string | undefined;
  readonly syncAlways?: boolean | undefined;
  readonly tls?: NatsTls | undefined;
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
}

const CLUSTER = "warren";
const ROUTE_PORT = 6222;

/**
 * Writes the file (0600).
 * @throws Error when the keys cannot be read.
 */
export function writeNatsConfig(options: NatsConfigOptions): void {
  const { keys, out, routes, advertise, routePort = ROUTE_PORT } = options;
  const publicKeys = JSON.parse(readFileSync(join(keys, FILE.publicKeys), "utf8")) as Record<string, string>;
  const cluster = routes && {
    name: CLUSTER,
    port: routePort,
    routes,
    secret: readFileSync(join(keys, FILE.routePassword), "utf8").trim(),
    ...(advertise ? { advertise } : {}),
    ...(options.tls ? { tls: options.tls } : {}),
  };
  const config = natsServerConfig({
    serverName: options.serverName,
    host: "0.0.0.0",
    port: options.port,
    storeDir: options.storeDir,
    publicKeys,
    ...(options.maxStore ? { maxStore: options.maxStore } : {}),
    ...(options.monitor ? { monitor: options.monitor } : {}),
    ...(options.syncAlways ? { syncAlways: true } : {}),
    ...(options.tls ? { tls: options.tls } : {}),
    ...(cluster ? { cluster } : {}),
  });
  writeFileSync(out, config, { mode: 0o600 });
  if (options.owner) chownSync(out, options.owner.uid, options.owner.gid);
}
