import { type PluginLogLine, PluginLogs } from "@warren/proto/warren/plugins/v1/plugins";
import type { Command } from "commander";
import { setTimeout as delay } from "node:timers/promises";
import type { Client } from "../../api/client.ts";
import { ProblemError } from "../../api/problem.ts";
import { wholeNumber } from "../../config.ts";
import { connect, type Context, type GlobalOptions } from "../../context.ts";
import { ExitCode, usageError } from "../../errors.ts";
import { oneLine } from "../../output/sanitize.ts";
import type { Terminal } from "../../output/terminal.ts";

interface LogsOptions extends GlobalOptions {
  readonly tail?: string;
  readonly follow?: boolean;
}

/** The most lines the contract allows for each host. */
const mostLines = 1000;

/** `warren plugin logs`. */
export function registerLogs(plugin: Command, context: Context): void {
  plugin
    .command("logs")
    .description("print the last log lines of a plugin, from every host that runs it")
    .argument("<id>")
    .option("-n, --tail <lines>", "at most this many lines of each host (100)")
    .option("-f, --follow", "go on printing new lines until Ctrl-C")
    .action(async (id: string, _options: LogsOptions, command: Command) =>
      logs(context, id, command.optsWithGlobals()),
    );
}

async function logs(context: Context, id: string, options: LogsOptions): Promise<void> {
  if (options.follow && options.json) throw usageError("--json prints one document, and --follow never ends");
  const tail = options.tail === undefined ? 100 : wholeNumber("--tail", options.tail, 1, mostLines);
  const { terminal } = context;
  const client = await connect(context, options);
  if (options.follow) return follow(terminal, client, id, tail);
  const json = await client.json(request(id, tail));
  if (options.json) return terminal.json({ lines: [], ...json });
  for (const line of inOrder(PluginLogs.fromJSON(json).lines)) terminal.print(logText(terminal, line));
}

async function follow(terminal: Terminal, client: Client, id: string, tail: number): Promise<void> {
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.once("SIGINT", onSignal);
  try {
    let last: readonly PluginLogLine[] | undefined;
    for await (const lines of snapshots(client, id, stop.signal)) {
      // The first snapshot is as long as the later ones, so that nothing old looks new in the second.
      const fresh = last === undefined ? lines.slice(-tail) : added(last, lines);
      for (const line of fresh) terminal.print(logText(terminal, line));
      last = lines;
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    process.off("SIGINT", onSignal);
  }
}

/** Asks again and again, as often as the gateway's limits let it: every 2 s at most. */
async function* snapshots(client: Client, id: string, signal: AbortSignal): AsyncGenerator<PluginLogLine[]> {
  let interval = 2000;
  for (;;) {
    let wait = interval;
    try {
      yield inOrder(PluginLogs.fromJSON(await client.json({ ...request(id, mostLines), signal })).lines);
    } catch (error) {
      if (!(error instanceof ProblemError) || error.exitCode !== ExitCode.limited) throw error;
      interval = Math.min(interval * 2, 30_000);
      wait = Math.max(interval, (error.problem.retryAfter ?? 0) * 1000);
    }
    await delay(wait, undefined, { signal });
  }
}

function request(id: string, tail: number): { method: "GET"; path: string; query: { tail: number } } {
  return { method: "GET", path: `/v1/plugins/${encodeURIComponent(id)}/logs`, query: { tail } };
}

/** The lines of `now` that were not in `before`; equal lines are counted, because a plugin may say the same thing twice. */
export function added(before: readonly PluginLogLine[], now: readonly PluginLogLine[]): PluginLogLine[] {
  const known = new Map<string, number>();
  for (const line of before) known.set(keyOf(line), (known.get(keyOf(line)) ?? 0) + 1);
  return now.filter((line) => {
    const left = known.get(keyOf(line)) ?? 0;
    if (left) known.set(keyOf(line), left - 1);
    return !left;
  });
}

function keyOf({ time, hostId, source, text }: PluginLogLine): string {
  return `${time?.getTime() ?? 0} ${hostId} ${source} ${text}`;
}

function inOrder(lines: readonly PluginLogLine[]): PluginLogLine[] {
  return lines.toSorted((a, b) => (a.time?.getTime() ?? 0) - (b.time?.getTime() ?? 0));
}

function logText(terminal: Terminal, { time, hostId, source, text }: PluginLogLine): string {
  const about = `${time?.toISOString() ?? "-"} ${oneLine(hostId)} ${oneLine(source)}`;
  return `${terminal.paint("dim", about)} ${oneLine(text)}`;
}
