import { ListConsoleSessionsResponse } from "@warren/proto/warren/auth/v1/access";
import type { Command } from "commander";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { interrupted, usageError } from "../../errors.ts";
import { askYesNo } from "../../output/ask.ts";
import { oneLine } from "../../output/sanitize.ts";
import { table } from "../../output/table.ts";
import { relativeTime } from "../../output/time.ts";

interface RevokeOptions extends GlobalOptions {
  readonly yes?: boolean;
  readonly all?: boolean;
}

const PATH = "/v1/console-sessions";

/** `warren auth sessions`: who is logged in to the web console. */
export function registerSessions(auth: Command, context: Context): void {
  const sessions = auth.command("sessions").description("sessions of the web console: list, revoke");
  sessions
    .command("list", { isDefault: true })
    .description("list the open sessions")
    .action(async (_options: GlobalOptions, command: Command) => list(context, command.optsWithGlobals()));
  sessions
    .command("revoke")
    .description("end a session everywhere at once")
    .argument("[id]", "the session's id, as the list shows it")
    .option("--all", "end all of them")
    .option("-y, --yes", "do not ask")
    .action(async (id: string | undefined, _options: RevokeOptions, command: Command) =>
      revoke(context, id, command.optsWithGlobals()),
    );
}

async function list(context: Context, options: GlobalOptions): Promise<void> {
  const { terminal } = context;
  const json = await (await connect(context, options)).list(PATH, "sessions");
  answer(context, options, json, () =>
    table(
      ListConsoleSessionsResponse.fromJSON(json).sessions,
      [
        { title: "ID", cell: (session) => session.id },
        { title: "WHO", cell: (session) => session.principal },
        { title: "ADDRESS", cell: (session) => session.address },
        { title: "OPENED", cell: (session) => relativeTime(session.createTime) },
        { title: "SEEN", cell: (session) => relativeTime(session.lastSeenTime) },
        { title: "ENDS", cell: (session) => relativeTime(session.expireTime) },
        { title: "BROWSER", cell: (session) => session.userAgent },
      ],
      {
        none: "No session of the console is open.",
        width: terminal.stdout.columns,
        heading: (text) => terminal.paint("bold", text),
      },
    ),
  );
}

async function revoke(context: Context, id: string | undefined, options: RevokeOptions): Promise<void> {
  if ((id === undefined) === !options.all) throw usageError("name a session, or all of them with --all");
  const client = await connect(context, options);
  if (context.terminal.interactive && !options.yes && !options.json)
    if (!(await askYesNo(context.terminal, id === undefined ? "End all sessions?" : `End the session ${id}?`)))
      throw interrupted();
  const ids =
    id === undefined
      ? ListConsoleSessionsResponse.fromJSON(await client.list(PATH, "sessions")).sessions.map((each) => each.id)
      : [id];
  for (const each of ids) await client.json({ method: "DELETE", path: `${PATH}/${encodeURIComponent(each)}` });
  answer(context, options, { ids, revoked: true }, () => `Ended ${oneLine(ids.join(", ")) || "nothing"}.`);
}
