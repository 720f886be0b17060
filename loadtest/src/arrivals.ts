// Open load: iterations begin when they are due, whether or not earlier ones have ended, as people's requests do. A closed
// loop would slow down with the system and hide what its users wait for ("coordinated omission", Tene).

/** Arrivals per second, reached linearly at the end of the stage. */
export interface Stage {
  readonly rate: number;
  readonly seconds: number;
}

export interface ArrivalOptions {
  /** Arrivals per second at the beginning. */
  readonly from: number;
  readonly stages: readonly Stage[];
  /** Iterations at once; one that is due beyond them is dropped and counted. */
  readonly maxInFlight: number;
  /** Must not reject. */
  readonly iterate: (index: number) => Promise<void>;
  readonly signal: AbortSignal;
}

/** How an open load went. */
export interface Arrived {
  readonly started: number;
  /** Due, and not begun, because too many ran. */
  readonly dropped: number;
  /** How late iterations began at worst, in milliseconds: what the generator itself could not do. */
  readonly latestMs: number;
  readonly seconds: number;
}

const TICK_MS = 1;

/** Runs the stages; resolves when the last iteration has ended. */
export async function runArrivals(options: ArrivalOptions): Promise<Arrived> {
  const { stages, from, maxInFlight, iterate, signal } = options;
  const due = schedule(from, stages);
  const running = new Set<Promise<void>>();
  let started = 0;
  let dropped = 0;
  let latestMs = 0;
  const begun = performance.now();
  for (let index = 0, at = due(0); at !== undefined && !signal.aborted; at = due(++index)) {
    const wait = at - (performance.now() - begun);
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, Math.max(TICK_MS, wait)));
    latestMs = Math.max(latestMs, performance.now() - begun - at);
    if (running.size >= maxInFlight) {
      dropped += 1;
      continue;
    }
    const iteration = iterate(started++).finally(() => running.delete(iteration));
    running.add(iteration);
  }
  await Promise.all(running);
  return { started, dropped, latestMs, seconds: (performance.now() - begun) / 1000 };
}

/** When the nth iteration is due, in milliseconds from the beginning; undefined: not within the stages. */
export function schedule(from: number, stages: readonly Stage[]): (index: number) => number | undefined {
  const parts: { first: number; startMs: number; from: number; to: number; seconds: number }[] = [];
  let first = 0;
  let startMs = 0;
  let rate = from;
  for (const stage of stages) {
    parts.push({ first, startMs, from: rate, to: stage.rate, seconds: stage.seconds });
    first += ((rate + stage.rate) / 2) * stage.seconds;
    startMs += stage.seconds * 1000;
    rate = stage.rate;
  }
  return (index) => {
    if (index >= first) return undefined;
    const part = parts.findLast((each) => each.first <= index);
    if (!part) return undefined;
    const count = index - part.first;
    const slope = (part.to - part.from) / part.seconds;
    // The time at which the area under the rate has reached the count.
    const seconds =
      Math.abs(slope) < 1e-9 ? count / part.from : (Math.sqrt(part.from ** 2 + 2 * slope * count) - part.from) / slope;
    return part.startMs + seconds * 1000;
  };
}
