// Programs that call tools while plugin hosts come and go: none of their calls may fail.
import { verdict } from "../run.ts";
import type { Environment, Scenario } from "../scenario.ts";
import { toolCall } from "./tool-call.ts";

/** How long a host serves before it leaves again, in milliseconds. */
const STAY_MS = 1500;

export const scaleOut: Scenario = {
  name: "scale-out",
  description: "tool calls while plugin hosts are added and removed",
  rate: 100,
  limits: "open",
  trend: "tool call",
  // A host starts every few seconds, with a core of its own for a second: the aim here is that no request fails.
  times: 3,
  unavailable: ({ stack }) => (stack ? undefined : "hosts are added only to a mesh of its own"),
  async prepare(environment) {
    const calls = await toolCall.prepare(environment);
    const moves = { added: 0, removed: 0 };
    return {
      iterate: (index) => calls.iterate(index),
      // One more host, over and over; the last change is waited for, so that a short run sees a whole one.
      async meanwhile(done) {
        do {
          const host = environment.stack?.addPluginHost(`plugin-host-extra-${moves.added}`);
          await host?.ready;
          await untilServed(environment);
          moves.added += 1;
          await elapse(STAY_MS);
          await host?.leave();
          moves.removed += 1;
        } while (!done.aborted);
      },
      verdicts: () => [
        verdict("hosts added and removed ≥ 1", `${moves.added} and ${moves.removed}`, moves.removed >= 1),
      ],
    };
  },
};

/** Waits until the plugin runs on a second host. */
async function untilServed({ target, signal }: Environment): Promise<void> {
  const patience = Date.now() + 30_000;
  for (;;) {
    const { text } = await target.request("GET", "/v1/plugins/clock");
    if (Number((JSON.parse(text) as { runningHosts?: number }).runningHosts) >= 2) return;
    signal.throwIfAborted();
    if (Date.now() > patience) throw new Error("The added host took no plugin over within 30 s");
    await elapse(100);
  }
}

function elapse(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
