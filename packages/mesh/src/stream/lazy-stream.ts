// A stream as its caller reads it: opened at the first read, decoded message by message, ended once.
// By hand and not by generators: each generator on the way costs several promises for each message.
import type { RpcError } from "../status.ts";

export interface LazyStreamOptions<T> {
  /** Opens the stream. */
  readonly open: () => Promise<AsyncIterable<Uint8Array>>;
  /** Opens it again where it can go on after a failure; undefined where it cannot. */
  readonly resume?: (failure: RpcError) => Promise<AsyncIterable<Uint8Array>> | undefined;
  readonly decode: (message: Uint8Array) => T;
  /** Called once, when the stream is over: with what it failed by, if it did. */
  readonly onEnd: (failure?: RpcError) => void;
}

/** Reads a stream; leaving it early cancels it. */
export class LazyStream<T> implements AsyncIterableIterator<T, undefined> {
  readonly #options: LazyStreamOptions<T>;
  #iterator: AsyncIterator<Uint8Array> | undefined;
  #over = false;

  constructor(options: LazyStreamOptions<T>) {
    this.#options = options;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    if (this.#over) return { done: true, value: undefined };
    try {
      this.#iterator ??= (await this.#options.open())[Symbol.asyncIterator]();
      // The reader left while the stream was being opened.
      if (this.#over) return await this.return();
      for (;;) {
        let result: IteratorResult<Uint8Array, undefined>;
        try {
          result = (await this.#iterator.next()) as IteratorResult<Uint8Array, undefined>;
        } catch (error) {
          this.#iterator = await this.#again(error as RpcError);
          if (this.#over) return await this.return();
          continue;
        }
        if (!result.done) return { done: false, value: this.#options.decode(result.value) };
        this.#end();
        return { done: true, value: undefined };
      }
    } catch (error) {
      await this.#iterator?.return?.();
      this.#end(error as RpcError);
      throw error;
    }
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    await this.#iterator?.return?.();
    this.#end();
    return { done: true, value: undefined };
  }

  async #again(failure: RpcError): Promise<AsyncIterator<Uint8Array>> {
    const stream = this.#options.resume?.(failure);
    if (!stream) throw failure;
    return (await stream)[Symbol.asyncIterator]();
  }

  #end(failure?: RpcError): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.onEnd(failure);
  }
}
