// What takes part in the limiter suite.

/** A limiter over a Redis of the suite. */
export interface LimiterSubject {
  /** Decides one request of a caller; whether it may pass. */
  decide(caller: number): boolean | Promise<boolean>;
  close(): Promise<void>;
}

/** How many limits each request meets, and whether every caller shares them. */
export interface Shape {
  readonly limits: 1 | 3 | 5;
  /** All requests meet the same counters: a hot key. Else each caller has its own. */
  readonly hot: boolean;
}

/** Makes a subject. No quota is ever used up: what is measured is the deciding. */
export type MakeSubject = (redisPath: string, shape: Shape) => Promise<LimiterSubject>;

/** Callers with counters of their own. */
export const CALLERS = 10_000;
/** Seconds of each limit's period. */
export const PERIOD_S = 3600;
export const NEVER_REACHED = 1_000_000_000;
