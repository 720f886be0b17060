// Callers that call again and again, for tests that disturb what they use.
import type { TestContext } from "node:test";
import { waitUntil } from "@warren/testing";

/** Calls under way until {@link Load.stop}, or the end of the test. */
export class Load {
  /** Calls that were begun. */
  calls = 0;
  /** Calls that have ended, well or not. */
  ended = 0;
  /** What calls failed by. */
  readonly failures: unknown[] = [];
  readonly #callers: Promise<void>[];
  #running = true;

  constructor(t: Pick<TestContext, "after">, callers: number, call: (number: number) => Promise<unknown>) {
    this.#callers = Array.from({ length: callers }, () => this.#loop(call));
    // A test that fails must not leave callers behind: they would keep its process, and the processor, busy for ever.
    t.after(() => this.stop());
  }

  /** Resolves when so many more calls have ended. */
  async more(calls: number): Promise<void> {
    const from = this.ended;
    await waitUntil(`${calls} more calls`, 20_000, () => this.ended >= from + calls || undefined);
  }

  /** Ends the load; resolves when every call has ended. */
  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#callers);
  }

  async #loop(call: (number: number) => Promise<unknown>): Promise<void> {
    while (this.#running) {
      try {
        await call(++this.calls);
      } catch (error) {
        this.failures.push(error);
        // What fails at once must leave the event loop its turns, or nothing could end it.
        await new Promise((resolve) => setImmediate(resolve));
      }
      this.ended += 1;
    }
  }
}
