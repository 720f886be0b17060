// What can happen to a mesh, part by part.
import { type Part, type Service, SERVICES, type System } from "./system.ts";

/** One fault: how it begins and ends. */
export interface Fault {
  /** `agent killed`. */
  readonly name: string;
  /** Also in the short form. */
  readonly short?: boolean;
  /** Clients may see the connection itself fail: it is the gateway that is hurt. */
  readonly cutsClients?: boolean;
  /** Statuses that are honest here beside those that always are. */
  readonly honest?: readonly number[];
  /** How long it lasts after it has begun, in milliseconds. */
  readonly holdMs: number;
  /** Why it cannot be made here. */
  unavailable?(system: System): string | undefined;
  begin(system: System): Promise<void> | void;
  end(system: System): Promise<void> | void;
}

const SLOW_MS = 40;
const HOUR_MS = 3_600_000;
const nothing = (): void => undefined;

const killed = (part: Part, more: Partial<Fault> = {}): Fault => ({
  name: `${part} killed`,
  holdMs: 0,
  begin: (system) => system.kill(part),
  end: nothing,
  ...more,
});

const paused = (part: Part, more: Partial<Fault> = {}): Fault => {
  const signal = (system: System, name: NodeJS.Signals): void => {
    const pid = system.pid(part);
    if (pid !== undefined) process.kill(pid, name);
  };
  return {
    name: `${part} paused for 3 s`,
    holdMs: 3000,
    begin: (system) => signal(system, "SIGSTOP"),
    end: (system) => signal(system, "SIGCONT"),
    ...more,
  };
};

const slowed = (part: Service | "redis", more: Partial<Fault> = {}): Fault => ({
  name:
    part === "redis"
      ? `redis slowed by ${SLOW_MS} ms each way`
      : `${part}'s way to NATS slowed by ${SLOW_MS} ms each way`,
  holdMs: 3000,
  begin: (system) => system.link(part).delay(SLOW_MS),
  end: (system) => system.link(part).delay(0),
  ...more,
});

const cut = (part: Service | "redis", more: Partial<Fault> = {}): Fault => ({
  name: part === "redis" ? "redis cut off for 3 s" : `${part} cut off from NATS for 3 s`,
  holdMs: 3000,
  begin: (system) => system.link(part).cut(),
  end: (system) => system.link(part).mend(),
  ...more,
});

/** Packets vanish without a word: no connection ends. */
const silent = (part: Service | "redis", more: Partial<Fault> = {}): Fault => ({
  name: part === "redis" ? "redis partitioned silently for 3 s" : `${part} partitioned from NATS silently for 3 s`,
  holdMs: 3000,
  begin: (system) => system.link(part).pause(),
  end: (system) => system.link(part).resume(),
  ...more,
});

const clock = (service: Service, byMs: number, more: Partial<Fault> = {}): Fault => ({
  name: `${service}'s clock ${byMs > 0 ? "+" : "−"}1 h for 3 s`,
  holdMs: 3000,
  // What a service with a wrong clock vouches for looks expired, or not yet valid, to the others.
  honest: [401, 403],
  begin: (system) => system.moveClock(service, byMs),
  end: (system) => system.moveClock(service, 0),
  ...more,
});

const everyLink = (system: System, act: (part: Service) => void): void => {
  if (system.pid("nats") !== undefined) SERVICES.forEach(act);
};

const diskFull: Fault = {
  name: "NATS' disk full for 3 s",
  short: true,
  holdMs: 3000,
  unavailable: ({ disk }) => (disk ? undefined : "a disk can be mounted by an administrator only"),
  begin: ({ disk }) => disk?.fill(),
  end: ({ disk }) => disk?.clear(),
};

const SHORT = { short: true } as const;
const EDGE = { cutsClients: true } as const;

/** All of them. */
export const faults: readonly Fault[] = [
  killed("agent", SHORT),
  killed("auth"),
  killed("secrets"),
  killed("plugin-host"),
  killed("gateway", EDGE),
  killed("nats", SHORT),
  killed("redis"),
  paused("agent"),
  paused("auth"),
  paused("secrets", SHORT),
  paused("plugin-host"),
  paused("gateway", EDGE),
  paused("nats", SHORT),
  paused("redis"),
  ...SERVICES.map((service) => slowed(service)),
  slowed("redis"),
  {
    name: `every way to NATS slowed by ${SLOW_MS} ms each way`,
    holdMs: 3000,
    begin: (system) => everyLink(system, (part) => system.link(part).delay(SLOW_MS)),
    end: (system) => everyLink(system, (part) => system.link(part).delay(0)),
  },
  ...SERVICES.map((service) => cut(service)),
  cut("redis"),
  ...SERVICES.map((service) => silent(service, service === "plugin-host" ? SHORT : {})),
  silent("redis", SHORT),
  {
    name: "NATS partitioned from all silently for 3 s",
    holdMs: 3000,
    begin: (system) => everyLink(system, (part) => system.link(part).pause()),
    end: (system) => everyLink(system, (part) => system.link(part).resume()),
  },
  diskFull,
  ...SERVICES.flatMap((service) => [
    clock(service, HOUR_MS, service === "secrets" ? SHORT : {}),
    clock(service, -HOUR_MS),
  ]),
];
