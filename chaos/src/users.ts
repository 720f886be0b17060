// What clients do all the while, by open load: nobody waits for a system that is slow. Every request is remembered with
// when it began and how it ended.
import { runArrivals } from "@warren/loadtest/arrivals";
import type { Answer, Target } from "@warren/loadtest/target";
import type { Ledger } from "./ledger.ts";

/** One request that has ended. */
export interface Seen {
  readonly kind: string;
  readonly begunAt: number;
  readonly ms: number;
  /** 0: the connection failed. */
  readonly status: number;
  readonly text: string;
}

/** Load that goes on until it is stopped. */
export interface Users {
  /** Everything that has ended since the last {@link Users.forget}. */
  readonly seen: readonly Seen[];
  forget(): void;
  stop(): Promise<void>;
}

const KINDS = ["chat", "tool", "secret read", "chat", "tool", "secret write", "devices", "tool"] as const;
type Kind = (typeof KINDS)[number];
/** Requests a second, all kinds together. */
const RATE = 24;
const TURNS = 6;
/** Longer than any run. */
const SECONDS = 3600;
const TOOL = "/v1/plugins/clock/tools/get_current_time:call";

/** Starts the load. */
export function startUsers(target: Target, ledger: Ledger): Users {
  let seen: Seen[] = [];
  const idle: { id: string; turns: number }[] = [];
  const kept: { name: string; value: string }[] = [];
  const stop = new AbortController();

  const ask: Record<Kind, (index: number) => Promise<Answer>> = {
    tool: () => target.request("POST", TOOL, { body: { arguments: {} } }),
    devices: () => target.request("GET", "/v1/devices"),
    chat: async (index) => {
      const session = idle.shift();
      const said = `Chaos says ${index}.`;
      const answer = await target.request("POST", "/v1/chat", {
        body: { message: said, ...(session ? { sessionId: session.id } : {}) },
      });
      if (answer.status === 200) {
        const { sessionId } = JSON.parse(answer.text) as { sessionId: string };
        ledger.chat(sessionId, said);
        const turns = (session?.turns ?? 0) + 1;
        if (turns < TURNS) idle.push({ id: sessionId, turns });
      }
      return answer;
    },
    "secret write": async (index) => {
      const name = `chaos-${index}`;
      const value = `value-${index}`;
      const answer = await target.request("PUT", `/v1/secrets/${name}`, { body: { value } });
      if (answer.status === 200) {
        ledger.secret("put", name, value);
        kept.push({ name, value });
        if (kept.length > 8) kept.shift();
      }
      return answer;
    },
    "secret read": async (index) => {
      const secret = kept[index % Math.max(1, kept.length)];
      if (!secret) return target.request("GET", "/v1/secrets");
      const answer = await target.request("GET", `/v1/secrets/${secret.name}`);
      if (answer.status === 200) ledger.secret("get", secret.name, secret.value);
      return answer;
    },
  };
  const running = runArrivals({
    from: RATE,
    stages: [{ rate: RATE, seconds: SECONDS }],
    maxInFlight: 2000,
    signal: stop.signal,
    iterate: async (index) => {
      const kind = KINDS[index % KINDS.length] as Kind;
      const begunAt = performance.now();
      const { status, text } = await ask[kind](index).catch((error: unknown) => ({ status: 0, text: String(error) }));
      seen.push({ kind, begunAt, ms: performance.now() - begunAt, status, text });
    },
  });
  return {
    get seen() {
      return seen;
    },
    forget: () => {
      seen = [];
    },
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

/** How many kinds of requests there are. */
export const KIND_COUNT = new Set(KINDS).size;
