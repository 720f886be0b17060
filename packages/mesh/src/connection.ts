// The connection to NATS: reconnects for ever, says at once when it is gone, and fails fast while it is.
import { isIP } from "node:net";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import {
  connect,
  errors,
  type Msg,
  type NatsConnection,
  nkeyAuthenticator,
  type Subscription,
} from "@nats-io/transport-node";
import { RpcError, StatusCode } from "./status.ts";

/** Where the mesh reports what no caller sees. */
export interface MeshLog {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

export interface ConnectionOptions {
  /** The service's name; its inboxes begin with it, so that permissions can name them. */
  readonly name: string;
  readonly servers: readonly string[];
  /** The service's nkey seed. */
  readonly seed: string;
  readonly log: MeshLog;
  /** Trust for TLS: PEM of the certificate authority, and this client's own pair where the server asks for one. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined;
  /** How long to keep trying to connect at first, in milliseconds. */
  readonly connectTimeoutMs?: number | undefined;
}

/** What a subscription does with a message. A throw is logged, and never reaches the client's read loop, which it would stop. */
export type OnMessage = (message: Msg) => void;

/** A NATS connection that never drops anything silently. */
export class Connection {
  readonly nats: NatsConnection;
  readonly inboxPrefix: string;
  /** For what nobody waits for. */
  readonly log: MeshLog;
  readonly #lost = new Set<() => void>();
  readonly #back = new Set<() => void>();
  #up = true;

  private constructor(nats: NatsConnection, inboxPrefix: string, log: MeshLog) {
    this.nats = nats;
    this.inboxPrefix = inboxPrefix;
    this.log = log;
    void this.#follow();
  }

  /** Connects, trying again until the time is up. */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const inboxPrefix = `_INBOX.${options.name}`;
    const tls = options.tls && { ...options.tls, checkServerIdentity: identityAmong(options.servers) };
    const patience = Date.now() + (options.connectTimeoutMs ?? 30_000);
    for (;;) {
      try {
        const nats = await connect({
          name: options.name,
          servers: [...options.servers],
          authenticator: nkeyAuthenticator(new TextEncoder().encode(options.seed)),
          inboxPrefix,
          maxReconnectAttempts: -1,
          reconnectTimeWait: 100,
          reconnectJitter: 100,
          pingInterval: 10_000,
          ignoreAuthErrorAbort: true,
          noAsyncTraces: true,
          ...(tls ? { tls } : {}),
        });
        return new Connection(nats, inboxPrefix, options.log);
      } catch (cause) {
        if (Date.now() > patience)
          throw new RpcError(
            StatusCode.UNAVAILABLE,
            `NATS at ${options.servers.join(", ")} cannot be reached as ${options.name}: ${cause instanceof Error ? cause.message : String(cause)}`,
            {},
            { cause },
          );
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /** Whether messages flow now. */
  get up(): boolean {
    return this.#up && !this.nats.isClosed();
  }

  /** The largest message the server takes, headers counted. */
  get maxPayload(): number {
    return this.nats.info?.max_payload ?? 1_048_576;
  }

  /** @throws RpcError UNAVAILABLE while disconnected: nats.js would drop or hold the message, silently. */
  assertUp(): void {
    if (!this.up)
      throw new RpcError(StatusCode.UNAVAILABLE, "The mesh is disconnected from NATS and reconnecting", {
        reason: "DISCONNECTED",
      });
  }

  /** Calls back when the connection is lost, until the returned function is called. */
  onLost(callback: () => void): () => void {
    this.#lost.add(callback);
    return () => this.#lost.delete(callback);
  }

  /** Calls back when the connection is there again. */
  onBack(callback: () => void): () => void {
    this.#back.add(callback);
    return () => this.#back.delete(callback);
  }

  /** Subscribes; what the callback throws is logged. */
  subscribe(subject: string, onMessage: OnMessage, queue?: string): Subscription {
    return this.nats.subscribe(subject, {
      ...(queue ? { queue } : {}),
      callback: (error, message) => {
        if (error)
          return this.log.error({ subject, err: error }, "A subscription was refused: check the mesh's policy");
        try {
          onMessage(message);
        } catch (thrown) {
          this.log.error({ subject, err: thrown }, "A message could not be handled");
        }
      },
    });
  }

  async #follow(): Promise<void> {
    for await (const status of this.nats.status()) {
      if (status.type === "disconnect") this.#turn(false, status.server);
      else if (status.type === "reconnect") this.#turn(true, status.server);
      else if (status.type === "error") this.log.error({ err: status.error }, "NATS reports an error");
      else if (status.type === "slowConsumer")
        this.log.warn({ pending: status.pending }, "A subscription falls behind");
    }
    this.#turn(false, "");
  }

  #turn(up: boolean, server: string): void {
    if (this.#up === up) return;
    this.#up = up;
    if (!this.nats.isClosed()) this.log.warn({ server }, up ? "Connected to NATS again" : "Disconnected from NATS");
    for (const callback of up ? this.#back : this.#lost) callback();
  }
}

/** The error of a message that the client library refused to send for its size; undefined when that was not why it threw. */
export function tooLarge(what: string, thrown: unknown): RpcError | undefined {
  if (!(thrown instanceof errors.InvalidArgumentError) || !thrown.message.includes("max_payload")) return undefined;
  const text = `${what} is larger than a message of the mesh may be`;
  return new RpcError(StatusCode.RESOURCE_EXHAUSTED, text, { reason: "TOO_LARGE" }, { cause: thrown });
}

/**
 * Checks whom a certificate names. nats.js gives no name where it connects to an address, and Node.js then asks for
 * `localhost`: in its place the certificate must name one of the addresses that were configured.
 */
function identityAmong(servers: readonly string[]): (host: string, certificate: PeerCertificate) => Error | undefined {
  const hosts = servers.map((server) => new URL(server).hostname.replaceAll(/[[\]]/g, ""));
  const nameless = hosts.filter((host) => isIP(host) || host === "localhost");
  return (host, certificate) => {
    const names = host === "localhost" && nameless.length ? nameless : [host];
    const refusals = names.map((name) => checkServerIdentity(name, certificate));
    return refusals.includes(undefined) ? undefined : refusals[0];
  };
}
