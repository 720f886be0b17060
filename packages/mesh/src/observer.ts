// Who is told of every call that has ended, on either side: for metrics, which need all calls and not those sampled.
import type { MethodContract } from "@warren/contract";
import type { StatusCode } from "./status.ts";

/** Told of ended calls. Called on the path of every call: quick, and never throwing. */
export interface CallObserver {
  /** This process has served a call, or refused it; `ms` from its arrival to its answer. */
  served(method: MethodContract, ms: number, code: StatusCode): void;
  /** A call that this process made has ended, after all of its attempts. */
  called(method: MethodContract, ms: number, code: StatusCode): void;
}
