import type { Command } from "commander";
import { isRecord } from "../../api/problem.ts";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { oneLine } from "../../output/sanitize.ts";
import { relativeTime } from "../../output/time.ts";

/** `warren auth status`: who the gateway takes this device for, and what it may do. */
export function registerStatus(auth: Command, context: Context): void {
  auth
    .command("status", { isDefault: true })
    .description("show who the gateway takes you for, and what you may do")
    .action(async (_options: GlobalOptions, command: Command) => status(context, command.optsWithGlobals()));
}

async function status(context: Context, options: GlobalOptions): Promise<void> {
  const client = await connect(context, options);
  const who = await client.json({ method: "GET", path: "/v1/session" });
  const json = { url: client.url, access: client.access?.kind, ...who };
  answer(context, options, json, () => {
    const scopes = Array.isArray(who["scopes"]) ? who["scopes"].map(String) : [];
    const end = typeof who["expireTime"] === "string" ? new Date(who["expireTime"]) : undefined;
    const proof = who["proofRequired"] === true ? ", only with a proof of this device's key" : "";
    return [
      `${client.url} takes you for ${oneLine(textOf(who, "principal"))} (${oneLine(textOf(who, "kind"))}).`,
      `You may: ${scopes.includes("*") ? "everything" : oneLine(scopes.join(", ")) || "nothing"}.`,
      end ? `The token ends ${relativeTime(end)}${proof}.` : "The token does not end by itself.",
    ].join("\n");
  });
}

function textOf(value: unknown, name: string): string {
  const text = isRecord(value) ? value[name] : undefined;
  return typeof text === "string" ? text : "somebody";
}
