// Answers that are ready in the same turn of the event loop, for callers behind one inbox, as one message: NATS' cost is by
// the message, not by the byte. Each is its route's last token after one byte of length, then its bytes after four.
import type { Wire } from "./wire.ts";

/** The token of a route that takes bundles. No route of a call is called so. */
export const BUNDLE_TOKEN = "_";
/** How the subjects of an inbox end that takes bundles, before the call's token. */
export const BUNDLE_INBOX = ".b.";

/** Bytes up to which an answer shares a message, and up to which a shared message grows. */
const LARGEST_BUNDLED = 16_384;
const LARGEST_BUNDLE = 65_536;
const TOKEN_LENGTH = 1;
const ANSWER_LENGTH = 4;

interface Answer {
  readonly reply: string;
  readonly payload: Uint8Array;
}

/** What is ready for one inbox. */
interface Bundle {
  readonly prefix: string;
  readonly answers: Answer[];
  bytes: number;
}

/** Sends answers, together where that can be. */
export class AnswerBundles {
  readonly #wire: Wire;
  readonly #isUp: () => boolean;
  readonly #bundles: Bundle[] = [];
  readonly #flush = (): void => this.#sendAll();

  constructor(wire: Wire, isUp: () => boolean) {
    this.#wire = wire;
    this.#isUp = isUp;
  }

  /** Sends an answer, at the latest when this turn's promises are settled. */
  send(reply: string, payload: Uint8Array): void {
    const prefixEnd = reply.lastIndexOf(".") + 1;
    if (payload.length > LARGEST_BUNDLED || !reply.startsWith(BUNDLE_INBOX, prefixEnd - BUNDLE_INBOX.length))
      return this.#wire.send(reply, "", payload);
    const bundle = this.#bundleOf(reply, prefixEnd);
    bundle.answers.push({ reply, payload });
    bundle.bytes += TOKEN_LENGTH + (reply.length - prefixEnd) + ANSWER_LENGTH + payload.length;
    if (bundle.bytes < LARGEST_BUNDLE) return;
    this.#bundles.splice(this.#bundles.indexOf(bundle), 1);
    this.#sendBundle(bundle);
  }

  /** Callers of a service are few: a list is looked through faster than a map hashes. */
  #bundleOf(reply: string, prefixEnd: number): Bundle {
    for (const bundle of this.#bundles)
      if (bundle.prefix.length === prefixEnd && reply.startsWith(bundle.prefix)) return bundle;
    if (this.#bundles.length === 0) queueMicrotask(this.#flush);
    const bundle = { prefix: reply.slice(0, prefixEnd), answers: [], bytes: 0 };
    this.#bundles.push(bundle);
    return bundle;
  }

  #sendAll(): void {
    for (const bundle of this.#bundles.splice(0)) this.#sendBundle(bundle);
  }

  #sendBundle({ prefix, answers, bytes }: Bundle): void {
    if (!this.#isUp()) return;
    const [first] = answers;
    if (answers.length === 1 && first) return this.#wire.send(first.reply, "", first.payload);
    const frame = Buffer.allocUnsafe(bytes);
    let at = 0;
    for (const { reply, payload } of answers) {
      const length = reply.length - prefix.length;
      frame[at] = length;
      at += TOKEN_LENGTH + frame.write(reply.slice(prefix.length), at + TOKEN_LENGTH, "latin1");
      at = frame.writeUInt32BE(payload.length, at);
      frame.set(payload, at);
      at += payload.length;
    }
    this.#wire.send(prefix + BUNDLE_TOKEN, "", frame);
  }
}

/** Hands the answers of a bundle over, each with its token; what cannot be read ends it. */
export function unbundle(data: Uint8Array, deliver: (token: string, answer: Uint8Array) => void): void {
  const frame = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 0; at < frame.length;) {
    const tokenEnd = at + TOKEN_LENGTH + (frame[at] ?? 0);
    if (tokenEnd + ANSWER_LENGTH > frame.length) return;
    const from = tokenEnd + ANSWER_LENGTH;
    const end = from + frame.readUInt32BE(tokenEnd);
    if (end > frame.length) return;
    deliver(frame.toString("latin1", at + TOKEN_LENGTH, tokenEnd), frame.subarray(from, end));
    at = end;
  }
}
