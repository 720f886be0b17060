import { ListAuditResponse } from "@warren/proto/warren/auth/v1/access";
import { type AuditEntry, AuditOutcome } from "@warren/proto/warren/auth/v1/auth";
import { type Command, Option } from "commander";
import { wholeNumber } from "../../config.ts";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { table } from "../../output/table.ts";
import { relativeTime } from "../../output/time.ts";
import { seconds } from "./durations.ts";

interface AuditOptions extends GlobalOptions {
  readonly limit: string;
  readonly principal?: string;
  readonly action?: string;
  readonly outcome?: "allowed" | "denied";
  readonly since?: string;
}

const YEAR_S = 366 * 86_400;

/** `warren auth audit`: who was let in, who was refused, and what was done, newest first. */
export function registerAudit(auth: Command, context: Context): void {
  auth
    .command("audit")
    .description("show what was decided, newest first")
    .option("--limit <count>", "how many entries, at most 1000", "50")
    .option("--principal <who>", "only this principal, such as device:<id> or anonymous")
    .option("--action <beginning>", "only actions that begin so, such as pairing. or 'POST /v1/'")
    .addOption(new Option("--outcome <outcome>", "only this outcome").choices(["allowed", "denied"]))
    .option("--since <time>", "only the last so much, such as 30m, 12h or 7d")
    .action(async (_options: AuditOptions, command: Command) => audit(context, command.optsWithGlobals()));
}

async function audit(context: Context, options: AuditOptions): Promise<void> {
  const { terminal } = context;
  const limit = wholeNumber("--limit", options.limit, 1, 1000);
  const { principal, action, outcome, since } = options;
  const query = {
    principal,
    action,
    outcome: outcome && `AUDIT_OUTCOME_${outcome.toUpperCase()}`,
    startTime: since && new Date(Date.now() - seconds("--since", since, YEAR_S) * 1000).toISOString(),
  };
  const client = await connect(context, options);
  const entries: unknown[] = [];
  let pageToken: string | undefined;
  // Pages may be short although there is more.
  do {
    const page = { ...query, pageSize: limit - entries.length, pageToken };
    const json = await client.json({ method: "GET", path: "/v1/audit", query: page });
    if (Array.isArray(json["entries"])) entries.push(...(json["entries"] as unknown[]));
    pageToken = typeof json["nextPageToken"] === "string" ? json["nextPageToken"] : "";
  } while (pageToken && entries.length < limit);
  answer(context, options, { entries }, () =>
    table(
      ListAuditResponse.fromJSON({ entries }).entries,
      [
        { title: "TIME", cell: (entry) => relativeTime(entry.time) },
        { title: "WHO", cell: (entry) => entry.principal },
        { title: "WHAT", cell: (entry) => entry.action },
        { title: "ON", cell: (entry) => entry.resource },
        { title: "OUTCOME", cell: outcomeOf },
        { title: "FROM", cell: (entry) => entry.address },
      ],
      {
        none: "Nothing was decided.",
        width: terminal.stdout.columns,
        heading: (text) => terminal.paint("bold", text),
      },
    ),
  );
}

function outcomeOf({ outcome, reason, count }: AuditEntry): string {
  const times = count > 1 ? ` ×${count}` : "";
  return outcome === AuditOutcome.DENIED ? `denied: ${reason}${times}` : `allowed${times}`;
}
