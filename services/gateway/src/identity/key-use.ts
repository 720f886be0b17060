// Which keys of machines were used: told to the auth service now and then, so that no request waits for it.
import { methodContract } from "@warren/contract";
import type { Mesh, MeshLog } from "@warren/mesh";
import { NoteKeyUseRequest } from "@warren/proto/warren/auth/v1/access";

/** A key's use is told at most this often, in milliseconds. */
const EVERY_MS = 60_000;
/** How long the first use waits for company, in milliseconds. */
const SOON_MS = 500;
const MOST_KEYS = 1_000;

/** Notes the use of keys. */
export class KeyUse {
  readonly #mesh: Pick<Mesh, "call">;
  readonly #log: Pick<MeshLog, "warn">;
  readonly #now: () => number;
  readonly #toldAt = new Map<string, number>();
  #untold = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(mesh: Pick<Mesh, "call">, log: Pick<MeshLog, "warn">, now: () => number = Date.now) {
    this.#mesh = mesh;
    this.#log = log;
    this.#now = now;
  }

  /** Takes note of a use, by the key's id. */
  note(id: string): void {
    const told = this.#toldAt.get(id);
    if ((told !== undefined && this.#now() - told < EVERY_MS) || this.#untold.size >= MOST_KEYS) return;
    this.#untold.add(id);
    this.#timer ??= setTimeout(() => void this.#tell(), SOON_MS).unref();
  }

  /** Forgets what is untold. */
  close(): void {
    clearTimeout(this.#timer);
  }

  async #tell(): Promise<void> {
    this.#timer = undefined;
    const ids = [...this.#untold];
    this.#untold = new Set();
    if (this.#toldAt.size > 10 * MOST_KEYS) this.#toldAt.clear();
    for (const id of ids) this.#toldAt.set(id, this.#now());
    const method = methodContract("warren.auth.v1.AccessService", "NoteKeyUse");
    await this.#mesh.call(method, NoteKeyUseRequest.encode({ ids }).finish()).catch((err: unknown) => {
      // Told again with the next use.
      for (const id of ids) this.#toldAt.delete(id);
      this.#log.warn({ err }, "The use of keys could not be told to the auth service");
    });
  }
}
