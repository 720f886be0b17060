// Append-only logs: one subject of a stream for each key, appended with an expected sequence, so that two writers of
// one log cannot interleave.
import { DeliverPolicy, JetStreamApiError } from "@nats-io/jetstream";
import type { StateSpec } from "../policy/policy.ts";
import { decodeToken, encodeToken } from "../subject.ts";
import type { Codec } from "./codec.ts";
import { awaitCreation, operate, type StateDependencies, untilHeard } from "./jetstream.ts";
import { readMessages } from "./read-messages.ts";

const STREAM_NOT_FOUND = 10_059;

/** A log as it stands. */
export interface LogContent<T> {
  readonly entries: readonly { readonly value: T; readonly sequence: number }[];
  /** The last entry's sequence; 0 when there is none. Pass it to append. */
  readonly lastSequence: number;
}

/** Many logs of values of one type. */
export class Log<T> {
  readonly #stream: string;
  readonly #codec: Codec<T>;
  readonly #deps: StateDependencies;

  private constructor(stream: string, codec: Codec<T>, deps: StateDependencies) {
    this.#stream = stream;
    this.#codec = codec;
    this.#deps = deps;
  }

  /** Opens a stream, creating it where it is missing. */
  static async open<T>(spec: StateSpec, codec: Codec<T>, deps: StateDependencies): Promise<Log<T>> {
    const { streams } = await awaitCreation(spec.name, () => deps.js.jetstreamManager());
    await awaitCreation(spec.name, () =>
      streams.info(spec.name).catch((error: unknown) => {
        if (!(error instanceof JetStreamApiError) || error.code !== STREAM_NOT_FOUND) throw error;
        const subjects = [`log.${spec.name}.>`];
        return streams.add({
          name: spec.name,
          subjects,
          max_bytes: spec.maxBytes,
          num_replicas: deps.replicas,
          deny_delete: true,
        });
      }),
    );
    return new Log(spec.name, codec, deps);
  }

  /**
   * Appends to the log of a key, if `expectedLastSequence` is still its last.
   * @returns the new entry's sequence
   * @throws RpcError ABORTED when another appended first.
   */
  append(key: string, value: T, expectedLastSequence: number): Promise<number> {
    return operate(this.#deps, `Appending to ${this.#stream}`, async () => {
      const expect = { lastSubjectSequence: expectedLastSequence };
      const bytes = this.#codec.encode(value);
      const ack = await untilHeard(() => this.#deps.js.publish(this.#subject(key), bytes, { expect }));
      return ack.seq;
    });
  }

  /** Everything in the log of a key, from its leader: it holds every append that was acknowledged before. */
  read(key: string): Promise<LogContent<T>> {
    return operate(this.#deps, `Reading ${this.#stream}`, async () => {
      const messages = await readMessages(this.#deps, this.#stream, this.#subject(key), DeliverPolicy.All);
      const entries = messages.map(({ data, seq }) => ({ value: this.#codec.decode(data), sequence: seq }));
      return { entries, lastSequence: entries.at(-1)?.sequence ?? 0 };
    });
  }

  /** The keys that have a log, or those whose first tokens are `prefix`. */
  keys(prefix?: string): Promise<string[]> {
    return operate(this.#deps, `Listing ${this.#stream}`, async () => {
      const { streams } = await this.#deps.js.jetstreamManager();
      const filter = prefix ? `${this.#subject(prefix)}.>` : `log.${this.#stream}.>`;
      const info = await streams.info(this.#stream, { subjects_filter: filter });
      const start = `log.${this.#stream}.`.length;
      return Object.keys(info.state.subjects ?? {}).map((subject) =>
        subject.slice(start).split(".").map(decodeToken).join("."),
      );
    });
  }

  #subject(key: string): string {
    return `log.${this.#stream}.${key.split(".").map(encodeToken).join(".")}`;
  }
}
