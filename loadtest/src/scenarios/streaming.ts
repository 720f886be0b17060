// People who read the reply while it is written, by server-sent events.
import { check } from "../recorder.ts";
import type { Scenario } from "../scenario.ts";

export const streaming: Scenario = {
  name: "streaming",
  description: "a streamed turn with a tool call; the time counts to the first event",
  rate: 20,
  limits: "open",
  trend: "first event",
  prepare({ target, recorder }) {
    return Promise.resolve({
      async iterate() {
        const begun = performance.now();
        const { status, text } = await target.request("POST", "/v1/chat", {
          body: { message: "What time is it?" },
          headers: { accept: "text/event-stream" },
          onFirstByte: () => recorder.time("first event", performance.now() - begun),
        });
        recorder.time("whole stream", performance.now() - begun);
        check(status === 200, "200", `${status} ${text}`);
        const events = [...text.matchAll(/^event: (.+)$/gm)].map(([, name]) => name);
        recorder.count("events", events.length);
        check(events[0] === "started", "first the event started", events);
        check(events.at(-1) === "completed", "last the event completed", events);
        check(/^event: tool_?call$/im.test(text), "a tool call in between", events);
      },
    });
  },
};
