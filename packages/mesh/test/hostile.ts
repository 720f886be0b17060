// What the fuzz tests share: connections that speak NATS with a service's credential but not the mesh's protocol.
import { readFileSync } from "node:fs";
import { connect, type MsgHdrs, nkeyAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { parseCredentials, type ServiceCredentials } from "@warren/mesh";
import type { TestNats } from "@warren/testing";
import * as fc from "fast-check";
import { CALLER_HEADER, RPC_HEADER, STREAM_HEADER } from "../src/headers.ts";

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

const junk = fc.string({ unit: "binary", maxLength: 40 });
const lineText = fc.oneof(
  junk,
  fc.constantFrom("1;1;", "500;1;%zz", "99999999999;1;", "1;1", "0;0", "256;1048576", ""),
);
const names = fc.constantFrom(
  RPC_HEADER,
  CALLER_HEADER,
  STREAM_HEADER,
  "traceparent",
  "bad name",
  "x\ty",
  "Nats-Service-Error-Code",
);

/** Header blocks: well formed, malformed, and no header at all. */
export const headerText: fc.Arbitrary<string> = fc.oneof(
  fc.array(fc.tuple(names, lineText), { maxLength: 5 }).map((lines) => {
    const block = lines.map(([name, text]) => `${name}: ${text}`).join("\r\n");
    return `NATS/1.0\r\n${block}\r\n\r\n`;
  }),
  fc.constantFrom(
    "NATS/1.0 503\r\n\r\n",
    "NATS/1.0\r\nbad name: x\r\n\r\n",
    "NATS/1.0\r\nA: b\nc\r\n\r\n",
    "junk",
    "\r\n\r\n",
  ),
  junk,
);

/** Payloads: random bytes, frames and what looks like messages. */
export const payload: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 64 }),
  fc
    .tuple(fc.integer({ min: 0, max: 9 }), fc.uint8Array({ maxLength: 12 }))
    .map(([kind, rest]) => Uint8Array.of(kind, ...rest)),
  fc.string({ maxLength: 20 }).map((text) => Uint8Array.of(10, Buffer.byteLength(text), ...Buffer.from(text))),
);
