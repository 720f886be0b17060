// Results of calls that carried an idempotency key, so that a second try does not run the tool a second time.
import { createHash } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import type { ToolResult } from "@warren/proto/warren/plugins/v1/plugins";

/** How much is remembered. */
export interface MemoryBounds {
  readonly maxAgeMs: number;
  readonly maxEntries: number;
  /** Bytes of all results, as JSON. */
  readonly maxBytes: number;
}

export const defaultMemoryBounds: MemoryBounds = { maxAgeMs: 600_000, maxEntries: 4096, maxBytes: 32 * 1024 * 1024 };

interface Remembered {
  readonly fingerprint: string;
  readonly result: Promise<ToolResult>;
  /** Set when the result is there. */
  done?: { readonly at: number; readonly bytes: number };
}

/** The least recently added results go first. */
export class IdempotentCalls {
  readonly #bounds: MemoryBounds;
  readonly #now: () => number;
  readonly #entries = new Map<string, Remembered>();
  #bytes = 0;

  constructor(bounds: MemoryBounds = defaultMemoryBounds, now: () => number = () => performance.now()) {
    this.#bounds = bounds;
    this.#now = now;
  }

  /**
   * Runs a call unless the same key ran it before: then its result, also of one that still runs. Failures are forgotten.
   * @param scope whose key it is and for what; keys of different scopes never meet.
   * @throws RpcError INVALID_ARGUMENT when the key came with other arguments before.
   */
  run(scope: readonly string[], args: unknown, call: () => Promise<ToolResult>): Promise<ToolResult> {
    this.#expire();
    const key = JSON.stringify(scope);
    const fingerprint = createHash("sha256")
      .update(JSON.stringify(args ?? null))
      .digest("base64");
    const known = this.#entries.get(key);
    if (known && known.fingerprint !== fingerprint)
      return Promise.reject(
        new RpcError(StatusCode.INVALID_ARGUMENT, "This idempotency key was used with other arguments before", {
          reason: "IDEMPOTENCY_KEY_REUSED",
        }),
      );
    if (known) return known.result;
    const entry: Remembered = { fingerprint, result: call() };
    this.#entries.set(key, entry);
    void entry.result.then(
      (result) => {
        const bytes = JSON.stringify(result).length;
        entry.done = { at: this.#now(), bytes };
        this.#bytes += bytes;
        this.#shrink();
      },
      () => this.#entries.delete(key),
    );
    return entry.result;
  }

  #expire(): void {
    const oldest = this.#now() - this.#bounds.maxAgeMs;
    for (const [key, { done }] of this.#entries) {
      if (!done) continue;
      if (done.at > oldest) return;
      this.#forget(key, done.bytes);
    }
  }

  #shrink(): void {
    for (const [key, { done }] of this.#entries) {
      if (this.#entries.size <= this.#bounds.maxEntries && this.#bytes <= this.#bounds.maxBytes) return;
      if (done) this.#forget(key, done.bytes);
    }
  }

  #forget(key: string, bytes: number): void {
    this.#entries.delete(key);
    this.#bytes -= bytes;
  }
}
