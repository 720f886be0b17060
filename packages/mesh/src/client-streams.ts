// The streams that a client has open: each is opened by attempts, goes on at another replica where its handler can, and
// fails with the connection.
import type { Attempts } from "./attempts.ts";
import type { OutgoingRequest, Requests } from "./requests.ts";
import type { RpcError } from "./status.ts";
import { LazyStream } from "./stream/lazy-stream.ts";
import { StreamReader } from "./stream/reader.ts";
import { packStream, resumeToken } from "./stream/resume.ts";
import { cancelSubject } from "./subject.ts";

/** Opens streams, and knows which are open. */
export class ClientStreams {
  readonly #requests: Requests;
  readonly #attempts: Attempts;
  readonly #open = new Set<(error: RpcError) => void>();

  constructor(requests: Requests, attempts: Attempts) {
    this.#requests = requests;
    this.#attempts = attempts;
  }

  /** The answers to a call; it is made when the first is asked for. `onEnd` is told once how it ended. */
  read<T>(
    call: OutgoingRequest,
    decode: (message: Uint8Array) => T,
    onEnd: (failure?: RpcError) => void,
  ): AsyncIterator<T> {
    let reader: StreamReader | undefined;
    const open = async (resume?: string): Promise<StreamReader> => {
      const attempt = (subject: string, count: number) => this.#attempt(call, subject, count, resume);
      reader = await this.#attempts.make(call, attempt);
      return reader;
    };
    return new LazyStream({
      open,
      resume: (failure) => {
        const token = reader && resumeToken(failure, reader.received);
        return token === undefined ? undefined : open(token);
      },
      decode,
      onEnd,
    });
  }

  /** Ends all of them with an error. */
  fail(error: RpcError): void {
    for (const fail of [...this.#open]) fail(error);
  }

  #attempt(call: OutgoingRequest, subject: string, attempt: number, resume?: string): Promise<StreamReader> {
    const { method, deadline, options } = call;
    const requests = this.#requests;
    const { connection, inbox, wheel } = requests;
    const reader = new StreamReader({
      connection,
      inbox,
      wheel,
      deadline,
      signal: options.signal,
      requests: call.requests,
      onExpired: () => requests.expired(method),
      onCancelled: () => requests.cancelled(method, options.signal),
      errorOf: (message) => requests.errorOf(message, method),
      onUnaccepted: (route) => requests.tellReplicas(cancelSubject(method.service), route.subject),
    });
    const fail = (error: RpcError): void => reader.fail(error);
    this.#open.add(fail);
    reader.onEnd(() => this.#open.delete(fail));
    try {
      requests.send(call, subject, attempt, reader.route.subject, packStream(reader.window, resume));
    } catch (error) {
      reader.fail(error as RpcError);
    }
    return reader.accepted.then(() => reader);
  }
}
