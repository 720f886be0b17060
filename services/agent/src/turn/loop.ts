// One turn of a conversation: model step, tool calls, model step, … reply. Each step is stored before the next begins.
import { type CallContext, holdsScope, lostRace, RpcError, StatusCode } from "@warren/mesh";
import type { ChatRequest, ChatResponse, ToolCall } from "@warren/proto/warren/agent/v1/agent";
import type { ModelProvider } from "../model/provider.ts";
import { contextOf } from "../session/context.ts";
import type { SessionIndex } from "../session/index.ts";
import type { OpenSession, SessionLog } from "../session/log.ts";
import { type Owner, ownerOf, sessionKey } from "../session/owner.ts";
import type { TurnLeases } from "../session/turn-lease.ts";
import { callsOf, joinSteps, STEP_BREAK, sumUsage, turnsOf } from "../session/turns.ts";
import { createToolList, type ToolCatalogue, type ToolList } from "../tools/catalogue.ts";
import { goesOnElsewhere, type TurnPlace, type TurnProgress, unmovable } from "./progress.ts";
import { type TakenStep, takeStep, type TurnEvent } from "./step.ts";
import type { ToolRunner } from "./tools.ts";

/** What is told of a turn to the rest of the mesh and to the log, never holding up the turn. */
export interface TurnObserver {
  sessionCreated(session: OpenSession): void;
  completed(session: OpenSession, turnId: string, response: ChatResponse): void;
  /** Something went wrong that does not end the turn. */
  trouble(what: string, error: unknown): void;
}

/** What a turn works with. */
export interface TurnDependencies {
  readonly sessions: SessionLog;
  readonly index: SessionIndex;
  readonly leases: TurnLeases;
  readonly catalogue: Pick<ToolCatalogue, "current">;
  readonly model: ModelProvider;
  readonly runTool: ToolRunner;
  readonly observer: TurnObserver;
  readonly newTurnId: () => string;
  readonly settings: TurnSettings;
}

export interface TurnSettings {
  /** Model steps of one turn at most; in the last, the model may call no tool. */
  readonly maxSteps: number;
  /** Characters of the conversation that a model is sent at most. */
  readonly contextCharacters: number;
  /** What every model is told first. */
  readonly instructions: string;
}

/** Calls of one step at most; the rest is refused, so that a model cannot flood the plugins. */
const MAX_CALLS = 16;

/**
 * Runs a turn, or goes on with one that another replica left. What it stores tells the same story as its events.
 * @throws RpcError NOT_FOUND (no such session of this caller), ABORTED (a turn is in progress, or the one to go on with is over), UNAVAILABLE or
 * FAILED_PRECONDITION (no model answers), RESOURCE_EXHAUSTED (too many steps); the reason of the context's signal.
 */
export async function* runTurn(
  deps: TurnDependencies,
  { sessionId, message }: ChatRequest,
  ctx: CallContext,
  progress: TurnProgress = unmovable,
): AsyncGenerator<TurnEvent, void, undefined> {
  const owner = ownerOf(ctx.caller);
  const { from } = progress;
  const begun = from || sessionId !== "" ? undefined : deps.sessions.begin(owner);
  const turnId = from?.turnId ?? deps.newTurnId();
  const lease = await deps.leases.acquire(
    sessionKey(owner, from?.sessionId ?? begun?.id ?? sessionId),
    turnId,
    ctx.signal,
  );
  try {
    const begin = async (found: OpenSession): Promise<OpenSession> => {
      await closeInterrupted(found);
      await found.append(turnId, { $case: "userMessage", value: { text: message } });
      return found;
    };
    const session = await (from
      ? reopen(deps.sessions, owner, from)
      : begun
        ? begin(begun)
        : goOn(deps.sessions, owner, sessionId, begin));
    if (begun) deps.observer.sessionCreated(session);
    const signal = AbortSignal.any([ctx.signal, lease.signal]);
    let outcome: { reason: string } | "completed" = { reason: "the caller left" };
    try {
      const turn = { session, turnId, ctx, signal, progress };
      if (!from) {
        progress.reached(placeOf(turn, 0));
        yield { $case: "started", value: { sessionId: session.id, turnId } };
      }
      yield* steps(deps, turn);
      const response = responseOf(session, turnId);
      await session.append(turnId, {
        $case: "turnCompleted",
        value: { text: response.message, usage: response.usage },
      });
      outcome = "completed";
      await Promise.all([updateIndex(deps, session), lease.release()]);
      deps.observer.completed(session, turnId, response);
      yield { $case: "completed", value: response };
    } catch (error) {
      if (outcome !== "completed") outcome = { reason: error instanceof RpcError ? error.message : "internal error" };
      throw error;
    } finally {
      if (outcome !== "completed" && !goesOnElsewhere(ctx.signal)) await fail(deps, session, turnId, outcome.reason);
    }
  } finally {
    // Between one replica and the next no other turn may come.
    await (goesOnElsewhere(ctx.signal) ? lease.leave() : lease.release());
  }
}

interface Turn {
  readonly session: OpenSession;
  readonly turnId: string;
  readonly ctx: CallContext;
  readonly signal: AbortSignal;
  readonly progress: TurnProgress;
}

function placeOf({ session, turnId }: Turn, taken: number): TurnPlace {
  return { sessionId: session.id, turnId, steps: taken };
}

async function* steps(deps: TurnDependencies, turn: Turn): AsyncGenerator<TurnEvent, void, undefined> {
  const { session, turnId, signal, progress } = turn;
  const { maxSteps, contextCharacters, instructions } = deps.settings;
  const list = holdsScope(turn.ctx.caller, "plugins:call") ? deps.catalogue.current() : createToolList([]);
  const taken = progress.from ? (turnsOf(session.entries).at(-1)?.steps ?? []) : [];
  let spoke = taken.some(({ text }) => text !== "");
  for (let number = taken.length + 1; number <= maxSteps; number++) {
    const toolUse = number === maxSteps ? "none" : "auto";
    const messages = contextOf(session.entries, list.nameOf, contextCharacters);
    const request = { instructions, messages, tools: list.tools, toolUse, signal } as const;
    const { text, requested, usage }: TakenStep = yield* takeStep(deps.model, request, spoke ? STEP_BREAK : "");
    signal.throwIfAborted();
    progress.passed();
    spoke ||= text !== "";
    const planned =
      toolUse === "none" ? [] : requested.map((call, index) => plan(call, `${turnId}_${number}_${index}`, list, index));
    const toolCalls = planned.map(({ call }) => call);
    await session.append(turnId, { $case: "modelStep", value: { step: number, text, toolCalls, usage } });
    if (toolUse === "none" && requested.length > 0 && text === "") throw tooManySteps(maxSteps);
    if (planned.length === 0) return;
    yield* callTools(deps, turn, number, planned);
  }
}

/** A call that the model asked for, with why it cannot be made, if it cannot. */
interface PlannedCall {
  readonly call: ToolCall;
  readonly refusal: string | undefined;
}

function plan(
  requested: { readonly name: string; readonly arguments: object; readonly invalid?: string },
  id: string,
  list: ToolList,
  index: number,
): PlannedCall {
  const tool = list.find(requested.name);
  const call: ToolCall = {
    id,
    pluginId: tool?.pluginId ?? "",
    name: tool?.tool ?? requested.name,
    arguments: { ...requested.arguments },
    result: "",
    error: "",
    durationMs: 0,
  };
  const unknown = tool ? undefined : `there is no tool ${requested.name}: use one of those offered`;
  const flood = index < MAX_CALLS ? undefined : `more than ${MAX_CALLS} calls in one step: ask again for this one`;
  return { call, refusal: requested.invalid ?? unknown ?? flood };
}

/** Runs the calls of one step side by side, and stores and tells their results in the order of the calls. */
async function* callTools(
  deps: TurnDependencies,
  turn: Turn,
  step: number,
  planned: readonly PlannedCall[],
): AsyncGenerator<TurnEvent, void, undefined> {
  const { session, turnId, ctx, signal, progress } = turn;
  for (const { call } of planned) yield { $case: "toolCall", value: call };
  const running = planned.map(({ call, refusal }) => {
    if (refusal !== undefined) return Promise.resolve({ ...call, error: refusal });
    const idempotencyKey = `${session.id}/${turnId}/${step}/${call.id}`;
    return deps.runTool(call, { ctx, signal, idempotencyKey });
  });
  // One that fails while an earlier one is awaited is still looked at, below.
  for (const each of running) each.catch(() => undefined);
  for (const [index, each] of running.entries()) {
    const done = await each;
    await session.append(turnId, { $case: "toolResult", value: done });
    if (index === running.length - 1) progress.reached(placeOf(turn, step));
    yield { $case: "toolResult", value: done };
  }
}

/** Begins a turn in the conversation as this process remembers it, or, where another replica went on since, as the log has it. */
async function goOn(
  sessions: SessionLog,
  owner: Owner,
  id: string,
  begin: (session: OpenSession) => Promise<OpenSession>,
): Promise<OpenSession> {
  const remembered = sessions.recall(owner, id);
  try {
    if (remembered) return await begin(remembered);
  } catch (error) {
    if (!lostRace(error)) throw error;
  }
  return begin(await sessions.open(owner, id));
}

/** The conversation of a turn that another replica left, as the log has it. */
async function reopen(
  sessions: SessionLog,
  owner: Owner,
  { sessionId, turnId, steps }: TurnPlace,
): Promise<OpenSession> {
  const session = await sessions.open(owner, sessionId);
  const turn = turnsOf(session.entries).at(-1);
  if (turn?.id === turnId && turn.outcome === "open" && turn.steps.length === steps) return session;
  throw new RpcError(StatusCode.ABORTED, "The turn is over meanwhile: read the session for what became of it", {
    reason: "TURN_OVER",
  });
}

/** Ends a turn that a crash left open, so that the new one has a conversation in order before it. */
async function closeInterrupted(session: OpenSession): Promise<void> {
  const last = turnsOf(session.entries).at(-1);
  if (last?.outcome !== "open") return;
  await session.append(last.id, {
    $case: "turnFailed",
    value: { reason: "interrupted: the agent stopped before the reply" },
  });
}

async function fail(deps: TurnDependencies, session: OpenSession, turnId: string, reason: string): Promise<void> {
  try {
    await session.append(turnId, { $case: "turnFailed", value: { reason } });
  } catch (error) {
    // The next turn closes it.
    deps.observer.trouble("A failed turn could not be closed", error);
    return;
  }
  await updateIndex(deps, session);
}

async function updateIndex(deps: TurnDependencies, session: OpenSession): Promise<void> {
  await deps.index
    .update(session)
    .catch((error: unknown) => deps.observer.trouble("The list of sessions could not be updated", error));
}

function responseOf(session: OpenSession, turnId: string): ChatResponse {
  const turn = turnsOf(session.entries.filter((entry) => entry.turnId === turnId)).at(-1);
  const taken = turn?.steps ?? [];
  return {
    sessionId: session.id,
    message: joinSteps(taken.map((step) => step.text)),
    toolCalls: turn ? callsOf(turn) : [],
    usage: sumUsage(taken),
  };
}

function tooManySteps(maxSteps: number): RpcError {
  return new RpcError(
    StatusCode.RESOURCE_EXHAUSTED,
    `The model gave no reply in ${maxSteps} steps: ask for less at once`,
    {
      reason: "TOO_MANY_STEPS",
    },
  );
}
