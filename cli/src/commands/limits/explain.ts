import type { Command } from "commander";
import { answer, connect, type Context } from "../../context.ts";
import { table } from "../../output/table.ts";
import { type QuestionOptions, questionOf, routeLine, withQuestion } from "./question.ts";

/** What of `POST /v1/limits:explain` is shown. */
interface Explained {
  readonly route: { readonly template: string; readonly limitClass: string };
  readonly verdict: "allowed" | "denied";
  readonly shared: boolean;
  readonly unlimited?: boolean;
  readonly limits: readonly {
    readonly name: string;
    readonly meets: boolean;
    readonly why: string;
    readonly shadow: boolean;
    readonly allowed?: boolean;
    readonly remaining?: number;
    readonly retryMs?: number;
  }[];
}

/** `warren limits explain`: which limits a request meets now, and why. */
export function registerLimitsExplain(limits: Command, context: Context): void {
  withQuestion(limits.command("explain"))
    .description("say which limits a request would meet now, and why; it is not counted")
    .action(async (method: string, path: string, _options: QuestionOptions, command: Command) =>
      explain(context, method, path, command.optsWithGlobals()),
    );
}

async function explain(context: Context, method: string, path: string, options: QuestionOptions): Promise<void> {
  const { terminal } = context;
  const body = questionOf(method, path, options);
  const client = await connect(context, options);
  const json = await client.json({ method: "POST", path: "/v1/limits:explain", body });
  const explained = json as unknown as Explained;
  answer(context, options, json, () => {
    if (explained.unlimited) return `${routeLine(method, explained.route)}: not limited.`;
    const rows = table(
      explained.limits,
      [
        { title: "LIMIT", cell: ({ name }) => name },
        { title: "NOW", cell: standing },
        { title: "LEFT", cell: ({ remaining }) => (remaining === undefined ? "" : String(remaining)) },
        { title: "WHY", cell: ({ why }) => why },
      ],
      { none: "There are no limits.", width: terminal.stdout.columns, heading: (text) => terminal.paint("bold", text) },
    );
    const where = explained.shared ? "" : " (counted by this gateway alone)";
    return `${routeLine(method, explained.route)}\n\n${rows}\n\nIt would be ${explained.verdict}${where}.`;
  });
}

function standing({ meets, allowed, shadow, retryMs = 0 }: Explained["limits"][number]): string {
  if (!meets) return "does not hold";
  if (allowed) return "allows";
  return `${shadow ? "would deny (shadow)" : "denies"}, ${Math.ceil(retryMs / 1000)} s`;
}
