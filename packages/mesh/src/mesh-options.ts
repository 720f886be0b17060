// What a process says when it joins a mesh, and what its membership tells of itself.
import type { methodContract } from "@warren/contract";
import type { MeshLog } from "./connection.ts";
import type { IncomingCall, Interceptor, OutgoingCall } from "./interceptor.ts";
import type { CallObserver } from "./observer.ts";
import type { ServiceCredentials } from "./policy/credentials.ts";

export interface MeshOptions {
  /** `nats://…` or `tls://…`, one or more of one cluster. */
  readonly servers: readonly string[];
  readonly credentials: ServiceCredentials;
  readonly log: MeshLog;
  readonly instanceId?: string;
  /** The software's version, for discovery. */
  readonly version?: string;
  readonly description?: string;
  /** Copies of each piece of state: 1 on one machine, 3 in production. */
  readonly replicas?: number;
  /** PEM texts. Given: the connection is encrypted or not made at all. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** What contracts say of methods. Default: those of `proto/`. */
  readonly contractOf?: typeof methodContract;
  /** How long to keep trying to join, in milliseconds. */
  readonly connectTimeoutMs?: number;
  /** Functions around every call that this process makes (`client`) and serves (`server`), the first outermost. */
  readonly interceptors?: {
    readonly client?: readonly Interceptor<OutgoingCall>[];
    readonly server?: readonly Interceptor<IncomingCall>[];
  };
  /** Told of every call that has ended. */
  readonly observer?: CallObserver;
}

/** What goes on in a process' membership of a mesh. */
export interface MeshLoad {
  /** Calls that it serves, those that wait for their turn counted. */
  readonly calls: number;
  /** Those that wait for their turn. */
  readonly queued: number;
  /** Places where it waits for answers or frames. */
  readonly routes: number;
  /** Deadlines of calls and streams that it waits for, on either side. */
  readonly timers: number;
}
