// Large values in chunks, over a JetStream object store.
import { type ObjectStore, Objm } from "@nats-io/obj";
import type { StateSpec } from "../policy/policy.ts";
import { awaitCreation, operate, type StateDependencies } from "./jetstream.ts";

/** How long the transfer of an object may take, in milliseconds. */
const TRANSFER_MS = 120_000;

/** A bucket of objects. */
export class ObjectBucket {
  readonly #store: ObjectStore;
  readonly #name: string;
  readonly #deps: StateDependencies;

  private constructor(store: ObjectStore, name: string, deps: StateDependencies) {
    this.#store = store;
    this.#name = name;
    this.#deps = deps;
  }

  /** Opens a bucket; its owner creates it, others wait until it is there, and store into it only. */
  static async open(spec: StateSpec, owner: boolean, deps: StateDependencies): Promise<ObjectBucket> {
    const manager = new Objm(deps.js);
    const options = { replicas: deps.replicas, storage: "file" as const, max_bytes: spec.maxBytes };
    const store = await awaitCreation(spec.name, () =>
      owner ? manager.create(spec.name, options) : manager.open(spec.name),
    );
    return new ObjectBucket(store, spec.name, deps);
  }

  /** Stores an object, replacing one of the same name. */
  put(name: string, data: Uint8Array | ReadableStream<Uint8Array>): Promise<void> {
    const put = async (): Promise<void> => {
      if (data instanceof Uint8Array) await this.#store.putBlob({ name }, data);
      else await this.#store.put({ name }, data);
    };
    return operate(this.#deps, `Storing in ${this.#name}`, put, TRANSFER_MS);
  }

  /** An object's bytes as a stream, checked against its digest by the client; undefined when there is none. */
  get(name: string): Promise<ReadableStream<Uint8Array> | undefined> {
    return operate(this.#deps, `Reading from ${this.#name}`, async () => (await this.#store.get(name))?.data);
  }

  /** Whether an object of the name is there. */
  has(name: string): Promise<boolean> {
    return operate(this.#deps, `Looking into ${this.#name}`, async () => {
      const info = await this.#store.info(name);
      return info !== null && !info.deleted;
    });
  }

  /** Removes an object; nothing happens when there is none. */
  delete(name: string): Promise<void> {
    return operate(this.#deps, `Deleting from ${this.#name}`, async () => {
      if (await this.#store.info(name)) await this.#store.delete(name);
    });
  }

  /** The names of all objects. */
  list(): Promise<string[]> {
    return operate(this.#deps, `Listing ${this.#name}`, async () =>
      (await this.#store.list()).filter((info) => !info.deleted).map((info) => info.name),
    );
  }
}
