// People who talk with the agent: one in four begins a conversation, the others go on with one.
import { check } from "../recorder.ts";
import type { Scenario } from "../scenario.ts";

/** Turns after which a conversation is left. */
const TURNS = 10;
const NEW_SHARE = 4;

interface Chat {
  readonly sessionId: string;
  readonly message: string;
}

export const chat: Scenario = {
  name: "chat",
  description: "a turn of a conversation with the offline model",
  rate: 40,
  limits: "open",
  trend: "chat",
  prepare({ target, recorder }) {
    const idle: { id: string; turns: number }[] = [];
    return Promise.resolve({
      async iterate(index) {
        const session = index % NEW_SHARE === 0 ? undefined : idle.shift();
        const begun = performance.now();
        const { status, text } = await target.request("POST", "/v1/chat", {
          body: { message: "Hello there!", ...(session ? { sessionId: session.id } : {}) },
        });
        recorder.time("chat", performance.now() - begun);
        check(status === 200, "200", `${status} ${text}`);
        const answer = JSON.parse(text) as Chat;
        check(answer.message !== "", "a message", text);
        check(!session || answer.sessionId === session.id, "the same conversation", text);
        const turns = (session?.turns ?? 0) + 1;
        if (turns < TURNS) idle.push({ id: answer.sessionId, turns });
      },
    });
  },
};
