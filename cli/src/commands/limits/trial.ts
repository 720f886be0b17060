import type { Command } from "commander";
import { answer, connect, type Context } from "../../context.ts";
import { usageError } from "../../errors.ts";
import { table } from "../../output/table.ts";
import { readPolicy } from "./policy-file.ts";
import { type QuestionOptions, questionOf, routeLine, withQuestion } from "./question.ts";

interface TestOptions extends QuestionOptions {
  readonly count?: string;
  readonly rate?: string;
  readonly policy?: string;
}

/** What of `POST /v1/limits:test` is shown. */
interface Tested {
  readonly route: { readonly template: string; readonly limitClass: string };
  readonly admitted: number;
  readonly denied: number;
  readonly first?: { readonly request: number; readonly limits: readonly string[]; readonly retryMs: number };
  readonly limits: Readonly<Record<string, { denied: number; remaining: number }>>;
}

/** `warren limits test`: what a run of requests would come to, on counters of its own. */
export function registerLimitsTest(limits: Command, context: Context): void {
  withQuestion(limits.command("test"))
    .description("try a run of requests on counters of its own: nothing real is counted or denied")
    .option("--count <requests>", "how many (100)")
    .option("--rate <per second>", "evenly so many a second (0: all at once)")
    .option("--policy <file>", "try the limits of this file in place of those in force")
    .action(async (method: string, path: string, _options: TestOptions, command: Command) =>
      test(context, method, path, command.optsWithGlobals()),
    );
}

async function test(context: Context, method: string, path: string, options: TestOptions): Promise<void> {
  const { terminal } = context;
  const body = {
    ...questionOf(method, path, options),
    ...(options.count === undefined ? {} : { count: numberOf("--count", options.count) }),
    ...(options.rate === undefined ? {} : { rate: numberOf("--rate", options.rate) }),
    ...(options.policy === undefined ? {} : { policy: await readPolicy(options.policy) }),
  };
  const client = await connect(context, options);
  const json = await client.json({ method: "POST", path: "/v1/limits:test", body });
  const tested = json as unknown as Tested;
  answer(context, options, json, () => {
    const { admitted, denied, first } = tested;
    const rows = table(
      Object.entries(tested.limits),
      [
        { title: "LIMIT", cell: ([name]) => name },
        { title: "DENIED", cell: ([, limit]) => String(limit.denied) },
        { title: "LEFT", cell: ([, limit]) => String(limit.remaining) },
      ],
      { none: "The request meets no limit.", heading: (text) => terminal.paint("bold", text) },
    );
    const told = first
      ? `${admitted} of ${admitted + denied} pass; request ${first.request} is the first denied, by ${first.limits.join(", ")}: it could come again after ${Math.ceil(first.retryMs / 1000)} s.`
      : `All ${admitted} pass.`;
    return `${routeLine(method, tested.route)}\n\n${rows}\n\n${told}`;
  });
}

function numberOf(option: string, text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0)
    throw usageError(`${option} is "${text}"`, `${option} takes a number`);
  return value;
}
