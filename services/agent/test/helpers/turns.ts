// Turns on state in memory, with a scripted model and tools that are functions.
import { type CallContext, RpcError, StatusCode } from "@warren/mesh";
import type { ChatResponse, ToolCall } from "@warren/proto/warren/agent/v1/agent";
import type { JsonObject, ModelProvider, StepEvent, StepRequest } from "../../src/model/provider.ts";
import { createSessionIndex } from "../../src/session/index.ts";
import { createSessionLog, type EntryContent } from "../../src/session/log.ts";
import { createTurnLeases } from "../../src/session/turn-lease.ts";
import { createToolList } from "../../src/tools/catalogue.ts";
import { runTurn, type TurnDependencies } from "../../src/turn/loop.ts";
import type { TurnProgress } from "../../src/turn/progress.ts";
import type { TurnEvent } from "../../src/turn/step.ts";
import type { ToolRunner } from "../../src/turn/tools.ts";
import { memoryState } from "./memory-state.ts";

/** What a scripted model does in one step. */
export type ScriptedStep =
  | {
      readonly text?: string;
      readonly calls?: readonly { readonly name: string; readonly arguments?: JsonObject; readonly invalid?: string }[];
    }
  | ((request: StepRequest) => AsyncIterable<StepEvent> | Promise<ScriptedStep> | ScriptedStep);

/** A model that takes scripted steps and remembers what it was asked. */
export function scriptedModel(steps: readonly ScriptedStep[]): ModelProvider & { readonly requests: StepRequest[] } {
  const requests: StepRequest[] = [];
  return {
    name: "scripted",
    requests,
    async *step(request): AsyncGenerator<StepEvent> {
      requests.push({ ...request, messages: [...request.messages] });
      let step = steps[requests.length - 1] ?? steps.at(-1) ?? {};
      while (typeof step === "function") {
        const made = step(request);
        if (Symbol.asyncIterator in made) return yield* made;
        step = await made;
      }
      for (const word of step.text?.match(/\S+\s*/g) ?? []) yield { type: "text", text: word };
      for (const [index, call] of (step.calls ?? []).entries()) {
        yield { type: "tool-call", id: `x${index}`, arguments: {}, ...call };
      }
      yield { type: "finish", model: "scripted-1", usage: { inputTokens: 10, outputTokens: 2 }, reason: "stop" };
    },
  };
}

/** A tool runner that answers by name; `undefined` fails the call. */
export function toolsThat(
  answers: Readonly<Record<string, (call: ToolCall) => string | Promise<string>>>,
): ToolRunner & { readonly keys: string[] } {
  const keys: string[] = [];
  const run: ToolRunner = async (call, { idempotencyKey, signal }) => {
    keys.push(idempotencyKey);
    try {
      return { ...call, result: (await answers[call.name]?.(call)) ?? "", durationMs: 1 };
    } catch (error) {
      signal.throwIfAborted();
      return { ...call, error: (error as Error).message, durationMs: 1 };
    }
  };
  return Object.assign(run, { keys });
}

/** Turns that a test drives. */
export function turnsWith(
  model: ModelProvider,
  options: { runTool?: ToolRunner; maxSteps?: number; instance?: string; state?: ReturnType<typeof memoryState> } = {},
) {
  const state = options.state ?? memoryState();
  const sessions = createSessionLog(state.log);
  const told: string[] = [];
  let turn = 0;
  const deps: TurnDependencies = {
    sessions,
    index: createSessionIndex(state.index, state.log, sessions),
    leases: createTurnLeases(state.leases, options.instance ?? "here", { refreshMs: 20, staleMs: 80 }),
    catalogue: { current: () => OFFERED },
    model,
    runTool: options.runTool ?? toolsThat({}),
    observer: {
      sessionCreated: (session) => told.push(`created ${session.id}`),
      completed: (session, turnId) => told.push(`completed ${session.id} ${turnId}`),
      trouble: (what) => told.push(what),
    },
    newTurnId: () => `t_${options.instance ?? ""}${++turn}`,
    settings: { maxSteps: options.maxSteps ?? 4, contextCharacters: 10_000, instructions: "Be brief." },
  };
  return {
    state,
    sessions,
    told,
    run: (message: string, sessionId = "", ctx: CallContext = context(), progress?: TurnProgress) =>
      runTurn(deps, { sessionId, message }, ctx, progress),
  };
}

const OFFERED = createToolList([
  { pluginId: "clock", tools: ["get_current_time"].map(named) },
  { pluginId: "text", tools: ["reverse_text", "echo"].map(named) },
]);

function named(name: string) {
  return { name, title: "", description: name, inputSchema: undefined, outputSchema: undefined };
}

/** A call's context as the mesh would make it. */
export function context(
  options: { signal?: AbortSignal; scopes?: readonly string[]; principal?: string } = {},
): CallContext {
  const { signal = new AbortController().signal, scopes = ["*"], principal = "device:alice" } = options;
  return {
    signal,
    deadline: performance.now() + 60_000,
    caller: { principal, tenant: "default", scopes, expiresAt: Date.now() + 60_000 },
    assertion: "none" as CallContext["assertion"],
    idempotencyKey: undefined,
    attempt: 1,
    resumeFrom: undefined,
    resumable: () => undefined,
  };
}

/** Runs a turn to its end. */
export async function finish(turn: AsyncIterable<TurnEvent>): Promise<{ events: TurnEvent[]; response: ChatResponse }> {
  const events: TurnEvent[] = [];
  for await (const event of turn) events.push(event);
  const last = events.at(-1);
  if (last?.$case !== "completed") throw new Error("The turn ended without its reply");
  return { events, response: last.value };
}

/** The kinds of entries in a conversation's log, oldest first. */
export function story(state: ReturnType<typeof memoryState>): EntryContent["$case"][] {
  const [log = []] = state.log.entries.values();
  return log.flatMap(({ entry }) => (entry ? [entry.$case] : []));
}

/** The error of a caller who cancelled. */
export function cancelled(): RpcError {
  return new RpcError(StatusCode.CANCELLED, "The caller cancelled the call");
}
