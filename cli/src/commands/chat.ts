import { ChatResponse } from "@warren/proto/warren/agent/v1/agent";
import type { Command } from "commander";
import { createInterface } from "node:readline";
import { text as readAll } from "node:stream/consumers";
import { type Conversations, conversations } from "../api/conversations.ts";
import { type Client } from "../api/client.ts";
import { ProblemError } from "../api/problem.ts";
import { connect, type Context, type GlobalOptions } from "../context.ts";
import { CliError, ExitCode, interrupted, QuietExit, usageError } from "../errors.ts";
import { showFailure } from "../output/failure.ts";
import { playTurn } from "../output/turn.ts";

interface ChatOptions extends GlobalOptions {
  readonly session?: string;
  readonly new?: boolean;
  readonly interactive?: boolean;
}

/** One conversation with one gateway. */
interface Chat {
  readonly context: Context;
  readonly client: Client;
  readonly last: Conversations;
  sessionId: string | undefined;
  /** The conversation was remembered, not asked for: when it is gone, another may begin. */
  remembered: boolean;
}

/** `warren chat`: talk with the agent. */
export function registerChat(program: Command, context: Context): void {
  program
    .command("chat")
    .description("talk with the agent: one message, or a conversation when none is given")
    .argument("[message...]", "what to say; words are joined. Without it: stdin when piped, else a conversation")
    .option("--session <id>", "go on with this conversation instead of the last one")
    .option("--new", "begin a new conversation")
    .option("-i, --interactive", "a conversation, one message a line, also when stdin is no terminal")
    .action(async (words: string[], _options: ChatOptions, command: Command) =>
      chat(context, words.join(" "), command.optsWithGlobals()),
    );
}

async function chat(context: Context, said: string, options: ChatOptions): Promise<void> {
  const { terminal, config } = context;
  if (options.session !== undefined && options.new) throw usageError("--session and --new contradict each other");
  const loop = options.interactive ?? (!said && terminal.interactive);
  if (loop && (said || options.json)) throw usageError("a conversation takes neither a message nor --json");
  const client = await connect(context, options);
  const last = conversations(config.conversationsFile, client.url, client.access?.identity ?? "");
  const sessionId = options.session ?? (options.new ? undefined : await last.last());
  const chatting: Chat = { context, client, last, sessionId, remembered: options.session === undefined };
  if (loop) return converse(chatting);
  const message = said || (terminal.stdin.isTTY ? "" : (await readAll(terminal.stdin)).trim());
  if (!message) throw usageError("there is nothing to say", 'such as: warren chat "What time is it?"');
  await onInterrupt((signal) => say(chatting, message, signal, options.json ? sayAsJson : sayAsText));
}

type Say = (chat: Chat, message: string, signal: AbortSignal) => Promise<string>;

/** Says one thing, in a new conversation when the remembered one is gone. */
async function say(chat: Chat, message: string, signal: AbortSignal, how: Say): Promise<void> {
  const attempt = async (): Promise<void> => {
    chat.sessionId = await how(chat, message, signal);
    await chat.last.remember(chat.sessionId);
    chat.remembered = false;
  };
  try {
    await attempt();
  } catch (error) {
    const gone = error instanceof ProblemError && error.problem.status === 404;
    if (!gone || !chat.remembered || chat.sessionId === undefined) throw error;
    chat.context.terminal.note(`conversation ${chat.sessionId} is gone; beginning a new one`);
    chat.sessionId = undefined;
    await attempt();
  }
}

async function sayAsText({ context, client, sessionId }: Chat, message: string, signal: AbortSignal): Promise<string> {
  return playTurn(context.terminal, client, { sessionId, message }, signal);
}

async function sayAsJson({ context, client, sessionId }: Chat, message: string, signal: AbortSignal): Promise<string> {
  const body = { ...(sessionId ? { sessionId } : {}), message };
  const json = await client.json({ method: "POST", path: "/v1/chat", body, timeout: 130_000, signal });
  context.terminal.json(json);
  return ChatResponse.fromJSON(json).sessionId;
}

/** Reads messages until the end of input, or Ctrl-C at the prompt; Ctrl-C during a reply cancels the reply alone. */
async function converse(chat: Chat): Promise<void> {
  const { terminal } = chat.context;
  const lines = createInterface({
    input: terminal.stdin,
    output: terminal.stderr,
    terminal: terminal.interactive,
    prompt: terminal.interactive ? terminal.paintNote("cyan", "you> ") : "",
  });
  let turn: AbortController | undefined;
  const onSignal = (): void => (turn ? turn.abort() : lines.close());
  let open = true;
  lines.once("close", () => (open = false));
  lines.on("SIGINT", onSignal);
  process.on("SIGINT", onSignal);
  let failed: ExitCode = ExitCode.ok;
  try {
    if (terminal.interactive) {
      const where = chat.sessionId ? `going on with ${chat.sessionId}; --new begins another` : "a new conversation";
      terminal.note(terminal.paintNote("dim", `${where}. Ctrl-C cancels a reply, Ctrl-D ends.`));
    }
    lines.prompt();
    for await (const line of lines) {
      if (line.trim()) {
        turn = new AbortController();
        failed = await heldTurn(chat, line.trim(), turn.signal);
        turn = undefined;
        if (failed === ExitCode.denied || failed === ExitCode.unreachable) break;
      }
      // Ctrl-D during a reply closes the input: what was typed before it is still said.
      if (open) lines.prompt();
    }
  } finally {
    process.off("SIGINT", onSignal);
    lines.close();
    if (terminal.interactive) terminal.note("");
  }
  if (failed !== ExitCode.ok && failed !== ExitCode.interrupted) throw new QuietExit(failed);
}

/** A turn whose failure does not end the conversation. */
async function heldTurn(chat: Chat, message: string, signal: AbortSignal): Promise<ExitCode> {
  try {
    await say(chat, message, signal, sayAsText);
    return ExitCode.ok;
  } catch (error) {
    if (!(error instanceof CliError)) throw error;
    if (error.exitCode === ExitCode.interrupted) chat.context.terminal.note("(cancelled)");
    return showFailure(chat.context.terminal, error, false);
  }
}

/** Runs `work` with a signal that Ctrl-C aborts. */
async function onInterrupt(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const controller = new AbortController();
  const onSignal = (): void => controller.abort();
  process.once("SIGINT", onSignal);
  try {
    await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? interrupted() : error;
  } finally {
    process.off("SIGINT", onSignal);
  }
}
