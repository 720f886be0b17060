// The bytes between the mesh and nats.js. Its public way makes four buffers of each message that goes and parses every header
// of each that comes; calls go as one buffer, and are read from the block of headers as it came.
import type { Msg, NatsConnection } from "@nats-io/transport-node";

/** What nats.js 3.4 has inside; where another version has not, its public way is used, and {@link slowerPaths} says so. */
interface Inside {
  readonly protocol?: { sendCommand?(command: Uint8Array): void };
}
interface MessageInside {
  readonly _msg?: { readonly subject: Uint8Array; readonly reply?: Uint8Array; readonly hdr: number };
  readonly _rdata?: Uint8Array;
}

/** Which messages go or come by nats.js' public way, and why; `message` is any that came by the connection. Empty: none does. */
export function slowerPaths(nats: NatsConnection, message: Msg | undefined): string[] {
  const paths: string[] = [];
  if (typeof (nats as Inside).protocol?.sendCommand !== "function")
    paths.push("messages are sent by publish(): nats.js has no protocol.sendCommand() inside");
  const { _msg: inside, _rdata: data } = (message ?? {}) as MessageInside;
  if (!message) paths.push("how messages are read is not known: the message sent to find out did not come back");
  else if (!(inside?.subject instanceof Uint8Array && typeof inside.hdr === "number" && data instanceof Uint8Array))
    paths.push("headers are parsed for each message: nats.js has no _msg and _rdata inside");
  return paths;
}

/** Text of one byte a character: subjects and headers are ASCII. */
export function latin1(bytes: Uint8Array, from = 0, to = bytes.length): string {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString("latin1", from, to);
}

/** The subject of a message from its character `from` on. */
export function subjectOf(message: Msg, from: number): string {
  const inside = (message as MessageInside)._msg;
  return inside ? latin1(inside.subject, from) : message.subject.slice(from);
}

/** Where a message wants its answer. */
export function replyOf(message: Msg): string | undefined {
  const inside = (message as MessageInside)._msg;
  if (!inside) return message.reply;
  return inside.reply && latin1(inside.reply);
}

/** Whether a message has headers. */
export function hasHeaders(message: Msg): boolean {
  const inside = (message as MessageInside)._msg;
  return inside ? inside.hdr > 0 : message.headers !== undefined;
}

/** The block of headers as it came, `NATS/1.0` and all; empty where there is none. */
export function headerBlock(message: Msg): string {
  const { _msg: inside, _rdata: data } = message as MessageInside;
  if (inside && data) return inside.hdr > 0 ? latin1(data, 0, inside.hdr) : "";
  const { headers } = message;
  return headers ? Buffer.from((headers as unknown as { encode(): Uint8Array }).encode()).toString("latin1") : "";
}

/** The value of a header in a block: of the first of that name; undefined where it is missing or empty. */
export function headerIn(block: string, name: string): string | undefined {
  for (let at = nextLine(block, 0); at > 0; at = nextLine(block, at))
    if (isHeader(block, at, name)) return headerValue(block, at + name.length + 1);
  return undefined;
}

/** Where the line after the one that holds `at` begins; 0 when there is none. */
export function nextLine(block: string, at: number): number {
  const next = block.indexOf(CRLF, at) + 2;
  return next > 1 && next < block.length ? next : 0;
}

/** Whether the line at `at` is a header of that name. */
export function isHeader(block: string, at: number, name: string): boolean {
  return block.startsWith(name, at) && block.charCodeAt(at + name.length) === COLON;
}

/** What stands between `from` and the end of the line; undefined when that is nothing. */
export function headerValue(block: string, from: number): string | undefined {
  const end = block.indexOf(CRLF, from);
  return block.slice(from, end < 0 ? block.length : end).trim() || undefined;
}

const COLON = 58;
const CRLF = "\r\n";
const NONE = new Uint8Array();

/** Lines of headers, each with its end. */
export interface HeaderLines {
  /** As text: ASCII. */
  readonly text: string;
  /** The same as bytes, where they were at hand. */
  readonly bytes: Uint8Array;
}

/** Sends messages over a connection. */
export class Wire {
  readonly #nats: NatsConnection;

  constructor(nats: NatsConnection) {
    this.#nats = nats;
  }

  /**
   * Sends a message as one buffer. Subjects are ASCII without spaces, as are headers; all together fits `max_payload`: who calls
   * has seen to it.
   */
  send(subject: string, reply: string, payload: Uint8Array, lines?: HeaderLines): void {
    const { protocol } = this.#nats as Inside;
    if (!protocol?.sendCommand) return this.#sendPublicly(subject, reply, payload, lines);
    const to = reply ? `${subject} ${reply}` : subject;
    let head: string;
    let bytes: Uint8Array = NONE;
    if (lines) {
      bytes = lines.bytes;
      // The first line, the lines, and the empty one.
      const size = HEADER_FIRST.length + lines.text.length + bytes.length + 2;
      head = `HPUB ${to} ${size} ${size + payload.length}\r\n${HEADER_FIRST}${lines.text}`;
    } else head = `PUB ${to} ${payload.length}\r\n`;
    const command = Buffer.allocUnsafe(head.length + bytes.length + (lines ? 4 : 2) + payload.length);
    let at = command.write(head, 0, "latin1");
    if (lines) {
      if (bytes.length) command.set(bytes, at);
      at = ended(command, at + bytes.length);
    }
    command.set(payload, at);
    ended(command, at + payload.length);
    protocol.sendCommand(command);
  }

  #sendPublicly(subject: string, reply: string, payload: Uint8Array, lines?: HeaderLines): void {
    const block = lines && Buffer.concat([Buffer.from(HEADER_FIRST + lines.text), lines.bytes, Buffer.from(CRLF)]);
    const headers = block && ({ encode: () => block } as never);
    this.#nats.publish(subject, payload, { ...(reply ? { reply } : {}), ...(headers ? { headers } : {}) });
  }
}

/** Bytes of a block of headers beside its lines. */
export const HEADER_BLOCK_BYTES = 12;
const HEADER_FIRST = `NATS/1.0${CRLF}`;

function ended(command: Buffer, at: number): number {
  command[at] = 13;
  command[at + 1] = 10;
  return at + 2;
}
