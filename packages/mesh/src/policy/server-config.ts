// The configuration of a nats-server for one mesh: the same accounts and permissions wherever it runs.
import { permissionsOf } from "./permissions.ts";
import { type ServicePolicy, services } from "./policy.ts";

export interface NatsServerOptions {
  /** Address to listen on. */
  readonly host: string;
  /** 0: any free port, which the server writes to a file in `portsDir`. */
  readonly port: number;
  /** Where JetStream keeps its files. */
  readonly storeDir: string;
  /** Public nkeys by service name. */
  readonly publicKeys: Readonly<Record<string, string>>;
  /** Where the server writes `nats-server_<pid>.ports`. */
  readonly portsDir?: string;
  /** Write every JetStream message to disk before acknowledging it; needs nats-server ≥ 2.10. */
  readonly syncAlways?: boolean;
}

/** The text of a nats-server configuration file. There is no user without a key. */
export function natsServerConfig(options: NatsServerOptions): string {
  const policies: Readonly<Record<string, ServicePolicy>> = services;
  const users = Object.entries(options.publicKeys).map(([name, nkey]) => {
    const policy = policies[name];
    if (!policy) throw new Error(`The mesh's policy has no service ${name}`);
    const { publish, subscribe } = permissionsOf(name, policy);
    return { nkey, permissions: { publish: { allow: publish }, subscribe: { allow: subscribe } } };
  });
  // nats-server reads JSON as a form of its own syntax.
  return JSON.stringify(
    {
      server_name: "warren",
      host: options.host,
      port: options.port,
      ...(options.portsDir ? { ports_file_dir: options.portsDir } : {}),
      max_payload: 1_048_576,
      write_deadline: "10s",
      jetstream: { store_dir: options.storeDir, ...(options.syncAlways ? { sync_interval: "always" } : {}) },
      accounts: { WARREN: { jetstream: "enabled", users } },
    },
    undefined,
    2,
  );
}
