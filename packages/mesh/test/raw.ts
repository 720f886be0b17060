// NATS as a service's credential gets at it, without the mesh.
import { readFileSync } from "node:fs";
import { connect, type MsgHdrs, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { parseCredentials, type ServiceCredentials } from "@warren/mesh";
import type { TestNats } from "@warren/testing";

type Servers = Pick<TestNats, "url" | "credentialsFile">;

/** A service's credential. */
export function credentialsOf(nats: Servers, service: string): ServiceCredentials {
  return parseCredentials(readFileSync(nats.credentialsFile(service), "utf8"));
}

/** A bare NATS connection that holds a service's credential. */
export function rawConnection(nats: Servers, service: string): Promise<NatsConnection> {
  const { seed } = credentialsOf(nats, service);
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  return connect({ servers: nats.url, authenticator, inboxPrefix: `_INBOX.${service}`, noAsyncTraces: true });
}

/** Headers that are these bytes on the wire, whether they are headers or not. */
export function bareHeaders(text: string): MsgHdrs {
  return { encode: () => Buffer.from(text) } as unknown as MsgHdrs;
}
