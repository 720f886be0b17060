// Programs that call a tool of a sandboxed plugin.
import { check } from "../recorder.ts";
import type { Scenario } from "../scenario.ts";

/** Calls the clock plugin, once. */
export const CLOCK_CALL = "/v1/plugins/clock/tools/get_current_time:call";

export const toolCall: Scenario = {
  name: "tool-call",
  description: "a call of a tool of a sandboxed plugin",
  rate: 150,
  limits: "open",
  trend: "tool call",
  prepare({ target, recorder }) {
    return Promise.resolve({
      async iterate() {
        const begun = performance.now();
        const { status, text } = await target.request("POST", CLOCK_CALL, { body: { arguments: {} } });
        recorder.time("tool call", performance.now() - begun);
        check(status === 200, "200", `${status} ${text}`);
        check(text.includes(String(new Date().getUTCFullYear())), "the time", text);
      },
    });
  },
};
