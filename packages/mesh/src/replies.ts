// The one reply to a call that is served: its answer, or an error in place of it.
import { AnswerBundles } from "./answer-bundle.ts";
import type { Connection } from "./connection.ts";
import { errorHeaders } from "./headers.ts";
import type { ServedCall } from "./served-call.ts";
import { encodeStatus, RpcError, StatusCode } from "./status.ts";
import { Wire } from "./wire.ts";

/** Bytes that the headers of an error may take. */
const ERROR_HEADERS_ROOM = 512;

/** Sends replies: the first to a call counts, no other goes out. */
export class Replies {
  readonly #connection: Connection;
  readonly #bundles: AnswerBundles;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#bundles = new AnswerBundles(new Wire(connection.nats), () => connection.up);
  }

  /** Sends a call's one answer. */
  answer(call: ServedCall, payload: Uint8Array): void {
    const connection = this.#connection;
    if (payload.length > connection.maxPayload)
      throw new RpcError(
        StatusCode.RESOURCE_EXHAUSTED,
        `An answer of ${payload.length} bytes is over the mesh's limit`,
        { reason: "TOO_LARGE" },
      );
    if (call.answered) return;
    call.answered = true;
    if (connection.up) this.#bundles.send(call.reply, payload);
  }

  /** Sends an error in place of an answer. */
  fail(call: ServedCall, failure: RpcError): void {
    const connection = this.#connection;
    if (call.answered) return;
    call.answered = true;
    if (!connection.up) return;
    let error = failure;
    let payload = encodeStatus(error);
    if (payload.length > connection.maxPayload - ERROR_HEADERS_ROOM) {
      const text = `An error of ${payload.length} bytes is over the mesh's limit`;
      error = new RpcError(StatusCode.RESOURCE_EXHAUSTED, text, { reason: "TOO_LARGE" });
      payload = encodeStatus(error);
    }
    connection.nats.publish(call.reply, payload, { headers: errorHeaders(error.code, error.message) });
  }
}
