// The trail of decisions about who may do what, on its way to the audit: in full for what administrators do, and bounded
// for denials, which anybody can cause. The first denial of a kind is told at once, those that follow as one number.
import type { Mesh } from "@warren/mesh";
import { DecisionMade } from "@warren/proto/warren/events/v1/events";

/** A decision. */
export interface Decision {
  /** Who: `operator`, `device:<id>`, `key:<id>`, `anonymous`. */
  readonly principal: string;
  /** What was asked for: `token.refresh`, `POST /v1/keys`. One of a small number: it must not come from the caller. */
  readonly action: string;
  /** What it would have been done to. */
  readonly resource?: string | undefined;
  readonly allowed: boolean;
  /** Why it was denied; one of a small number. */
  readonly reason?: string | undefined;
  readonly address?: string | undefined;
  /** What the address counts for, such as its /64. Absent: the address itself. */
  readonly network?: string | undefined;
}

/** The part of a logger that is used here. */
interface Log {
  warn(fields: object, text: string): void;
}

export interface DecisionTrailOptions {
  readonly mesh: Pick<Mesh, "publish">;
  readonly log: Log;
  /** Tells it in another way than as a `DecisionMade` event. */
  readonly tell?: (event: DecisionMade) => Promise<void>;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** How long repeated denials are gathered, in milliseconds. */
  readonly windowMs?: number;
}

/** Denials that are told one by one after a quiet time, and how many more a second, for ever. */
const BURST = 256;
const PER_SECOND = 1 / 60;
const WINDOW_MS = 60_000;
/** What is beyond that is told every so many windows. */
const OVERFLOW_EVERY = 10;
/** Kinds of denial that are told apart within a window. */
const MOST_KINDS = 512;
/** Characters of what a caller may have had a hand in. */
const LONGEST = 256;

interface Kind {
  last: Decision;
  at: number;
  /** How many were not told yet. */
  untold: number;
}

/**
 * Tells the audit of decisions. Of denials of one kind (principal, action, reason, network) the first is told at once and
 * the others at the end of the window as one. Over all kinds, some 256 and then one a minute are told; what is beyond that
 * is told by reason alone, every ten minutes. Under attack for ever, that is less than half a megabyte a day.
 */
export class DecisionTrail {
  readonly #publishEvent: (event: DecisionMade) => Promise<void>;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  readonly #telling = new Set<Promise<void>>();
  #kinds = new Map<string, Kind>();
  #overflow = new Map<string, Kind>();
  #tokens = BURST;
  #windows = 0;
  #refilledAt: number;

  constructor({ mesh, log, tell, now = Date.now, windowMs = WINDOW_MS }: DecisionTrailOptions) {
    this.#publishEvent = tell ?? ((event) => mesh.publish(DecisionMade, event));
    this.#log = log;
    this.#now = now;
    this.#refilledAt = now();
    this.#timer = setInterval(() => this.#endWindow(), windowMs).unref();
  }

  /** Takes note of a decision. Never waits and never throws: what has been decided holds, whether or not it can be told. */
  record(decision: Decision): void {
    if (decision.allowed) return this.#tell(decision, 1, this.#now());
    const { principal, action, reason = "", address = "", network = address } = decision;
    const key = JSON.stringify([principal, action, reason, network]);
    const known = this.#kinds.get(key);
    if (known) this.#add(known, decision);
    else if (this.#kinds.size < MOST_KINDS && this.#take()) {
      this.#kinds.set(key, { last: decision, at: this.#now(), untold: 0 });
      this.#tell(decision, 1, this.#now());
    } else this.#spill(decision, 1, this.#now());
  }

  /** Tells what is still untold, and resolves when the mesh has stored it. */
  async flush(): Promise<void> {
    this.#endWindow();
    this.#tellOverflow();
    await Promise.all(this.#telling);
  }

  /** Ends the windows; what is untold is told first. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
  }

  #add(kind: Kind, decision: Decision): void {
    kind.last = decision;
    kind.at = this.#now();
    kind.untold += 1;
  }

  #spill(decision: Decision, count: number, at: number): void {
    const { reason = "", action } = decision;
    const kind = this.#overflow.get(reason) ?? { last: decision, at, untold: 0 };
    // By reason alone: who and from where would again be without number.
    kind.last = { principal: "many", action, allowed: false, reason };
    kind.at = at;
    kind.untold += count;
    this.#overflow.set(reason, kind);
  }

  #endWindow(): void {
    for (const { last, at, untold } of this.#kinds.values()) {
      if (untold === 0) continue;
      if (this.#take()) this.#tell(last, untold, at);
      else this.#spill(last, untold, at);
    }
    this.#kinds = new Map();
    this.#windows += 1;
    if (this.#windows % OVERFLOW_EVERY === 0) this.#tellOverflow();
  }

  #tellOverflow(): void {
    const overflow = this.#overflow;
    this.#overflow = new Map();
    for (const { last, at, untold } of overflow.values()) this.#tell(last, untold, at);
  }

  /** A token bucket: whether one more denial may be told by itself. */
  #take(): boolean {
    const now = this.#now();
    this.#tokens = Math.min(BURST, this.#tokens + (Math.max(0, now - this.#refilledAt) / 1000) * PER_SECOND);
    this.#refilledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  #tell(decision: Decision, count: number, at: number): void {
    const { principal, action, resource = "", allowed, reason = "", address = "" } = decision;
    const event = {
      principal: principal.slice(0, LONGEST),
      action: action.slice(0, LONGEST),
      resource: resource.slice(0, LONGEST),
      allowed,
      reason: reason.slice(0, LONGEST),
      address: address.slice(0, LONGEST),
      count,
      time: new Date(at),
    };
    const telling = this.#publish(event).finally(() => this.#telling.delete(telling));
    this.#telling.add(telling);
  }

  async #publish(event: DecisionMade): Promise<void> {
    try {
      await this.#publishEvent(event);
    } catch (err) {
      const { principal, action, reason, allowed, count } = event;
      this.#log.warn({ err, principal, action, reason, allowed, count }, "A decision could not be told to the audit");
    }
  }
}
