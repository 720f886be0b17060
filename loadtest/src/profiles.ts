// How much load, for how long, and what must hold under it. Apart from scenarios, which say what is done.
import type { Stage } from "./arrivals.ts";

/** What must hold; a run in which it does not has failed. */
export interface Objectives {
  /** Longest time of 99 in 100 requests, in milliseconds. */
  readonly p99Ms: number;
  /** Largest share of iterations that may fail. */
  readonly errors: number;
  /** Largest share of due iterations that may not be begun, because too many ran. */
  readonly dropped: number;
}

export interface Profile {
  readonly name: string;
  /** Seconds before figures count, at the first stage's rate. */
  readonly warmUpSeconds: number;
  /** Stages for a scenario whose usual rate is `rate` a second. */
  readonly stages: (rate: number) => readonly Stage[];
  readonly objectives: Objectives;
}

const hold = (rate: number, seconds: number): Stage[] => [{ rate, seconds }];

export const profiles: Readonly<Record<string, Profile>> = {
  smoke: {
    name: "smoke",
    warmUpSeconds: 1,
    stages: (rate) => hold(rate * 0.2, 5),
    // Whether all works, on whatever machine; times are the other profiles' business.
    objectives: { p99Ms: 2000, errors: 0, dropped: 0 },
  },
  load: {
    name: "load",
    warmUpSeconds: 10,
    stages: (rate) => hold(rate, 60),
    objectives: { p99Ms: 25, errors: 0, dropped: 0 },
  },
  stress: {
    name: "stress",
    warmUpSeconds: 5,
    stages: (rate) => [1, 2, 3, 4].flatMap((times) => [{ rate: rate * times, seconds: 10 }, ...hold(rate * times, 20)]),
    objectives: { p99Ms: 500, errors: 0.01, dropped: 0.01 },
  },
  spike: {
    name: "spike",
    warmUpSeconds: 5,
    stages: (rate) => [
      ...hold(rate * 0.2, 15),
      { rate: rate * 4, seconds: 2 },
      ...hold(rate * 4, 15),
      { rate: rate * 0.2, seconds: 2 },
      ...hold(rate * 0.2, 20),
    ],
    objectives: { p99Ms: 2000, errors: 0.01, dropped: 0.05 },
  },
  soak: {
    name: "soak",
    warmUpSeconds: 30,
    stages: (rate) => hold(rate * 0.5, 1800),
    objectives: { p99Ms: 100, errors: 0, dropped: 0 },
  },
};
