// The hosts that live: each keeps its own entry fresh; one that is not refreshed expires.
import type { Kv } from "@warren/mesh";

/** A plugin host as the others see it. */
export interface Member {
  readonly hostId: string;
  /** Isolation levels it offers. */
  readonly levels: readonly string[];
  /** When it joined, in milliseconds since 1970. */
  readonly since: number;
}

/** This host's own membership. */
export class Membership {
  readonly #bucket: Kv<Member>;
  readonly #self: Member;
  readonly #timer: NodeJS.Timeout;
  #left = false;
  #writing: Promise<unknown>;

  /** @param onError told when the entry could not be refreshed; the next turn tries again. */
  constructor(bucket: Kv<Member>, self: Member, refreshMs: number, onError: (error: unknown) => void) {
    this.#bucket = bucket;
    this.#self = self;
    const refresh = (): Promise<unknown> => this.#bucket.put(this.#self.hostId, this.#self).catch(onError);
    this.#writing = refresh();
    this.#timer = setInterval(() => {
      this.#writing = this.#writing.then(() => (this.#left ? undefined : refresh()));
    }, refreshMs);
  }

  /** Every host that lives, as last written. */
  async members(): Promise<Member[]> {
    return (await this.#bucket.entries()).map(({ value }) => value);
  }

  /** Takes the entry away: the others need not wait for it to expire. */
  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    clearInterval(this.#timer);
    await this.#writing;
    await this.#bucket.delete(this.#self.hostId).catch(() => undefined);
  }
}
