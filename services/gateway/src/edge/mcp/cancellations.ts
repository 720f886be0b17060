// Calls that their clients take back by a message, as protocol version 2025-11-25 has it. The message may reach any gateway:
// one that does not have the call tells the others. (From 2026-07-28 on, a client takes a call back by leaving.)
import { createHash } from "node:crypto";
import type { Mesh } from "@warren/mesh";
import { McpCallCancelled } from "@warren/proto/warren/events/v1/events";

/** Whose call it is, and which. The session's id is the client's word, and means something with its principal alone. */
export interface CallAddress {
  readonly tenant: string;
  readonly principal: string;
  readonly session: string;
  /** The id of the request, as JSON-RPC has it. */
  readonly id: unknown;
}

/** The calls that this gateway serves, by what would take them back. */
export class Cancellations {
  readonly #running = new Map<string, Set<AbortController>>();
  readonly #mesh: Pick<Mesh, "publish" | "subscribe">;
  #unsubscribe: (() => void) | undefined;

  constructor(mesh: Pick<Mesh, "publish" | "subscribe">) {
    this.#mesh = mesh;
  }

  /** Hears from now on what other gateways are told. */
  async listen(): Promise<void> {
    const subscription = await this.#mesh.subscribe(McpCallCancelled, ({ call }) => void this.#abort(call));
    this.#unsubscribe = () => subscription.unsubscribe();
  }

  /** Begins a call: `signal` fires when it is taken back, and `end` is to be called when it is over. */
  begin(address: CallAddress): { readonly signal: AbortSignal; readonly end: () => void } {
    const call = digestOf(address);
    const controller = new AbortController();
    const known = this.#running.get(call) ?? new Set();
    this.#running.set(call, known.add(controller));
    const end = (): void => {
      known.delete(controller);
      if (known.size === 0 && this.#running.get(call) === known) this.#running.delete(call);
    };
    return { signal: controller.signal, end };
  }

  /** Takes a call back, wherever it is served. One that nobody serves (any more) is none to take back. */
  async cancel(address: CallAddress): Promise<void> {
    const call = digestOf(address);
    // While the mesh is away the call is lost with it anyway.
    if (!this.#abort(call)) await this.#mesh.publish(McpCallCancelled, { call }).catch(() => undefined);
  }

  /** How many calls could be taken back. */
  get size(): number {
    return this.#running.size;
  }

  close(): void {
    this.#unsubscribe?.();
  }

  #abort(call: string): boolean {
    const running = this.#running.get(call);
    for (const controller of running ?? []) controller.abort();
    return running !== undefined;
  }
}

function digestOf({ tenant, principal, session, id }: CallAddress): string {
  return createHash("sha256")
    .update(JSON.stringify([tenant, principal, session, id]))
    .digest("base64url");
}
