import type { Command } from "commander";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { table } from "../../output/table.ts";
import { relativeTime } from "../../output/time.ts";

/** What of `GET /v1/limits` is shown. */
interface Shown {
  readonly version: string;
  readonly origin: "default" | "file" | "mesh";
  readonly since: string;
  readonly gateways: number;
  readonly degraded?: string;
  readonly refused?: { readonly origin: string; readonly why: string };
  readonly limits: readonly ShownLimit[];
}

interface ShownLimit {
  readonly name: string;
  readonly algorithm: "bucket" | "window" | "concurrency";
  readonly key: string;
  readonly unit: "requests" | "tokens";
  readonly limit: number;
  readonly period: number;
  readonly burst: number;
  readonly prefix: number;
  readonly shadow: boolean;
  readonly reserve: number;
  readonly classes?: readonly string[];
}

const origins = { default: "the defaults", file: "the gateway's file", mesh: "the mesh (warren limits apply)" };

/** `warren limits show`: which limits hold, and where they come from. */
export function registerLimitsShow(limits: Command, context: Context): void {
  limits
    .command("show", { isDefault: true })
    .description("show the limits in force")
    .action(async (_options: GlobalOptions, command: Command) => show(context, command.optsWithGlobals()));
}

async function show(context: Context, options: GlobalOptions): Promise<void> {
  const { terminal } = context;
  const json = await (await connect(context, options)).json({ method: "GET", path: "/v1/limits" });
  const shown = json as unknown as Shown;
  if (shown.degraded) terminal.note(`${terminal.paintNote("yellow", "degraded:")} ${shown.degraded}`);
  if (shown.refused)
    terminal.note(
      `${terminal.paintNote("yellow", "not taken:")} an edit of ${shown.refused.origin}: ${shown.refused.why}`,
    );
  answer(context, options, json, () => {
    const head = `Version ${shown.version} from ${origins[shown.origin]}, since ${relativeTime(new Date(shown.since))}; ${shown.gateways} ${shown.gateways === 1 ? "gateway" : "gateways"}`;
    return `${head}\n\n${list(shown.limits, context)}`;
  });
}

function list(limits: readonly ShownLimit[], { terminal }: Context): string {
  return table(
    limits,
    [
      { title: "NAME", cell: ({ name }) => name },
      { title: "COUNTS BY", cell: ({ key, prefix }) => (prefix === 64 ? key : `${key} (IPv6 /${prefix})`) },
      { title: "LIMIT", cell: quotaOf },
      { title: "CLASSES", cell: ({ classes }) => classes?.join(" ") ?? "all" },
      { title: "MODE", cell: modeOf },
    ],
    {
      none: "There are no limits.",
      width: terminal.stdout.columns,
      heading: (text) => terminal.paint("bold", text),
    },
  );
}

function quotaOf({ algorithm, limit, period, burst, unit }: ShownLimit): string {
  if (algorithm === "concurrency") return `${limit} at once`;
  const what = unit === "tokens" ? " tokens" : "";
  const each = period === 1 ? "s" : period === 60 ? "min" : period === 3600 ? "h" : `${period} s`;
  return `${limit}${what}/${each}${burst === limit ? "" : `, up to ${burst} at once`}`;
}

function modeOf({ shadow, reserve }: ShownLimit): string {
  return [shadow ? "shadow" : "enforced", ...(reserve > 0 ? ["leased"] : [])].join(", ");
}
