// Where a client's calls go, and what all calls of one method share.
import type { MethodContract } from "@warren/contract";
import type { ServiceLoad } from "./attempts.ts";
import { RoutePool } from "./inbox.ts";
import { services, type ServicePolicy } from "./policy/policy.ts";
import { methodSubject } from "./subject.ts";
import { type CallSpans, callSpans } from "./telemetry.ts";

/** What the calls of one method share. */
export interface Target {
  readonly method: MethodContract;
  /** Where calls without a key go. */
  readonly subject: string;
  readonly spans: CallSpans;
  readonly load: ServiceLoad;
  /** Undefined where the routes of answers must be new each time. */
  readonly pool: RoutePool | undefined;
}

/** The targets of one client, each made when it is first called. */
export class Targets {
  readonly #known = new Map<MethodContract, Target>();
  readonly #pools = new Map<string, RoutePool>();
  readonly #loadOf: (service: string) => ServiceLoad;

  constructor(loadOf: (service: string) => ServiceLoad) {
    this.#loadOf = loadOf;
  }

  of(method: MethodContract): Target {
    let target = this.#known.get(method);
    if (!target) {
      const { service, name } = method;
      const subject = methodSubject(service, name);
      target = {
        method,
        subject,
        spans: callSpans(service, name),
        load: this.#loadOf(service),
        pool: this.#poolOf(service),
      };
      this.#known.set(method, target);
    }
    return target;
  }

  /** Only where one service answers: whoever has answered a call must not know where others' answers are awaited. */
  #poolOf(service: string): RoutePool | undefined {
    const policies: readonly ServicePolicy[] = Object.values(services);
    if (policies.filter(({ serves }) => serves.includes(service)).length !== 1) return undefined;
    let pool = this.#pools.get(service);
    if (!pool) this.#pools.set(service, (pool = new RoutePool()));
    return pool;
  }
}
