// A day in short: everything at once, for as long as the profile lasts, with an eye on memory.
import { verdict } from "../run.ts";
import type { Prepared, Scenario } from "../scenario.ts";
import { chat } from "./chat.ts";
import { streaming } from "./streaming.ts";
import { toolCall } from "./tool-call.ts";

/** Of ten arrivals: six tool calls, three turns, one streamed turn. */
const MIX = [0, 0, 1, 0, 0, 1, 0, 2, 0, 1];
const SAMPLE_MS = 1000;
/** How much more memory a process may hold at the end than after the first third. */
const GROWTH = 1.2;
const SLACK_BYTES = 32 * 1024 * 1024;

export const soak: Scenario = {
  name: "soak",
  description: "tool calls, turns and streams together; no process may grow",
  rate: 80,
  limits: "open",
  trend: "tool call",
  async prepare(environment) {
    const parts: Prepared[] = await Promise.all([toolCall, chat, streaming].map((each) => each.prepare(environment)));
    const samples: Readonly<Record<string, number>>[] = [];
    return {
      iterate: async (index) => {
        await parts[MIX[index % MIX.length] ?? 0]?.iterate(index);
      },
      async meanwhile(done) {
        while (environment.stack && !done.aborted) {
          samples.push(environment.stack.memory());
          await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
        }
      },
      verdicts: () =>
        Object.keys(samples.at(-1) ?? {}).map((name) => {
          // What a process needs while it warms up is no leak: only the two last thirds are compared.
          const of = samples.map((sample) => sample[name] ?? 0);
          const third = Math.floor(of.length / 3);
          const most = Math.max(...of.slice(third, 2 * third), 0) * GROWTH + SLACK_BYTES;
          const last = Math.max(...of.slice(2 * third));
          return verdict(`${name}: memory ≤ ${mebibytes(most)}`, mebibytes(last), last <= most);
        }),
    };
  },
};

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
