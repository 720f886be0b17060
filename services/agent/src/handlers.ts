// The contract's methods: each finds the caller's conversations, runs a turn, or both.
import type { CallContext, Handlers } from "@warren/mesh";
import type { AgentServiceDefinition, ChatRequest } from "@warren/proto/warren/agent/v1/agent";
import { complete } from "./complete/complete.ts";
import type { ModelDirectory } from "./model/directory.ts";
import type { SessionIndex } from "./session/index.ts";
import type { SessionLog } from "./session/log.ts";
import { ownerOf } from "./session/owner.ts";
import { transcript } from "./session/transcript.ts";
import { StreamProgress, type TurnProgress } from "./turn/progress.ts";
import type { TurnEvent } from "./turn/step.ts";

/** What the methods stand on. */
export interface HandlerDependencies {
  readonly sessions: SessionLog;
  readonly index: SessionIndex;
  readonly models: Pick<ModelDirectory, "find" | "list">;
  readonly runTurn: (request: ChatRequest, ctx: CallContext, progress?: TurnProgress) => AsyncIterable<TurnEvent>;
}

/** The agent's methods. */
export function createHandlers({
  sessions,
  index,
  models,
  runTurn,
}: HandlerDependencies): Handlers<AgentServiceDefinition> {
  return {
    async chat(request, ctx) {
      for await (const event of runTurn(request, ctx)) if (event.$case === "completed") return event.value;
      throw new Error("A turn ended without its reply");
    },
    async *streamChat(request, ctx) {
      const progress = new StreamProgress(ctx);
      for await (const event of runTurn(request, ctx, progress)) yield { sequence: progress.next(), event };
    },
    listSessions: (request, ctx) => index.list(ownerOf(ctx.caller), request),
    getSession: async ({ id }, ctx) => transcript(await sessions.open(ownerOf(ctx.caller), id)),
    complete: (request, ctx) => complete(models, request, ctx.signal),
    listModels: () => Promise.resolve({ models: [...models.list] }),
  };
}
