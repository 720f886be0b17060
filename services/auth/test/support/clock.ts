import type { Clock } from "../../src/clock.ts";

/** A clock that moves when it is told to. Starts at the real time, which the JetStream server also goes by. */
export function testClock(start = Date.now()): { readonly now: Clock; advance(ms: number): void } {
  let time = start;
  return {
    now: () => time,
    advance(ms) {
      time += ms;
    },
  };
}
