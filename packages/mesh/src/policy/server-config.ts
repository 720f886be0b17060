// The configuration of a nats-server for one mesh: the same accounts and permissions wherever it runs.
import { accountsBlock } from "./accounts.ts";

/** A certificate and the authority that vouches for the other side's; paths of PEM files. */
export interface NatsTls {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

/** How this server finds the others of its cluster. */
export interface NatsCluster {
  /** The cluster's name, the same on every server. */
  readonly name: string;
  /** Where the other servers connect; -1: any free port. */
  readonly port: number;
  /** Address to listen on for them. Default: the clients' address. */
  readonly host?: string;
  /** Every server of the cluster as `host:port`; this one may be among them. */
  readonly routes: readonly string[];
  /** What servers prove to one another that they belong to the cluster. Without it, whoever reaches the port joins. */
  readonly secret: string;
  /** The address by which others are told of this server, `host:port`. Default: the one it listens on. */
  readonly advertise?: string;
  /** Encrypts the routes; both sides show a certificate. */
  readonly tls?: NatsTls;
}

export interface NatsServerOptions {
  /** The server's name: its own in a cluster, and the same after a restart. */
  readonly serverName?: string;
  /** Address to listen on. */
  readonly host: string;
  /** -1: any free port, which the server writes to a file in `portsDir`. */
  readonly port: number;
  /** Where JetStream keeps its files. */
  readonly storeDir: string;
  /** Public nkeys by service name. */
  readonly publicKeys: Readonly<Record<string, string>>;
  /** Where the server writes `nats-server_<pid>.ports`. */
  readonly portsDir?: string;
  /** Write every JetStream message to disk before acknowledging it; needs nats-server ≥ 2.10. */
  readonly syncAlways?: boolean;
  /** Bytes that JetStream may hold on disk, such as `9G`. Default: most of what is free. */
  readonly maxStore?: string;
  /** Where the server tells of its health (`/healthz`), `host:port`. Whoever reaches it may ask. Default: nowhere. */
  readonly monitor?: string;
  /** Present: one of several servers. */
  readonly cluster?: NatsCluster;
  /** Present: clients must speak TLS. They prove who they are by their nkey, not by a certificate. */
  readonly tls?: NatsTls;
}

/** The text of a nats-server configuration file, to be readable by its owner only. There is no user without a key. */
export function natsServerConfig(options: NatsServerOptions): string {
  // nats-server reads JSON as a form of its own syntax.
  return JSON.stringify(
    {
      server_name: options.serverName ?? "warren",
      host: options.host,
      port: options.port,
      ...(options.portsDir ? { ports_file_dir: options.portsDir } : {}),
      max_payload: 1_048_576,
      write_deadline: "10s",
      // A machine that is gone without a word keeps its place in queue groups, and its calls, until it misses these.
      ping_interval: "5s",
      ping_max: 2,
      jetstream: {
        store_dir: options.storeDir,
        ...(options.maxStore ? { max_file_store: options.maxStore } : {}),
        ...(options.syncAlways ? { sync_interval: "always" } : {}),
      },
      ...(options.monitor ? { http: options.monitor } : {}),
      ...(options.tls ? { tls: tlsBlock(options.tls) } : {}),
      ...(options.cluster ? { cluster: clusterBlock(options.cluster, options.host) } : {}),
      accounts: accountsBlock(options.publicKeys),
    },
    undefined,
    2,
  );
}

/** The user by which servers of a cluster know one another. */
const ROUTE_USER = "route";

function clusterBlock(cluster: NatsCluster, host: string): object {
  const { name, port, routes, secret, advertise, tls } = cluster;
  if (!secret) throw new Error("A cluster of nats-servers needs a secret: without one, whoever reaches it joins");
  const login = `${ROUTE_USER}:${encodeURIComponent(secret)}`;
  return {
    name,
    host: cluster.host ?? host,
    port,
    ...(advertise ? { cluster_advertise: advertise } : {}),
    authorization: { user: ROUTE_USER, password: secret },
    routes: routes.map((address) => `nats-route://${login}@${address}`),
    // Servers check each other's certificates, in both directions.
    ...(tls ? { tls: { ...tlsBlock(tls), verify: true } } : {}),
  };
}

function tlsBlock({ certFile, keyFile, caFile }: NatsTls): object {
  return { cert_file: certFile, key_file: keyFile, ca_file: caFile };
}
