// Ids of traces and spans: random, and cheap, for every call has some.
import { randomFillSync } from "node:crypto";

const SPAN_DIGITS = 16;
const TRACE_DIGITS = 32;
/** Few, because an id that is kept keeps the digits of its neighbours alive. */
const DIGITS_AT_ONCE = 1024;
const BYTES_AT_ONCE = 8192;

/** Makes ids. */
export class IdGenerator {
  readonly #bytes = Buffer.alloc(BYTES_AT_ONCE);
  #digits = "";
  #at = 0;
  #byte = BYTES_AT_ONCE;

  spanId(): string {
    return this.#take(SPAN_DIGITS);
  }

  traceId(): string {
    return this.#take(TRACE_DIGITS);
  }

  #take(length: number): string {
    if (this.#at + length > this.#digits.length) {
      if (this.#byte >= BYTES_AT_ONCE) {
        randomFillSync(this.#bytes);
        this.#byte = 0;
      }
      this.#digits = this.#bytes.toString("hex", this.#byte, this.#byte + DIGITS_AT_ONCE / 2);
      this.#byte += DIGITS_AT_ONCE / 2;
      this.#at = 0;
    }
    const id = this.#digits.slice(this.#at, this.#at + length);
    this.#at += length;
    // An id of zeros is none (W3C Trace Context). It will not be seen, and must not be made.
    return id.startsWith("0000000000000000") ? this.#take(length) : id;
  }
}
