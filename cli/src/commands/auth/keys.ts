import { CreateApiKeyResponse, ListApiKeysResponse } from "@warren/proto/warren/auth/v1/access";
import type { ApiKey } from "@warren/proto/warren/auth/v1/auth";
import type { Command } from "commander";
import { collect } from "../../collect.ts";
import { seconds } from "./durations.ts";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { interrupted, usageError } from "../../errors.ts";
import { askYesNo } from "../../output/ask.ts";
import { oneLine } from "../../output/sanitize.ts";
import { table } from "../../output/table.ts";
import { relativeTime } from "../../output/time.ts";

interface CreateOptions extends GlobalOptions {
  readonly scope?: string[];
  readonly role?: string;
  readonly expires?: string;
}

interface RevokeOptions extends GlobalOptions {
  readonly yes?: boolean;
}

/** `warren auth keys`: what machines call with. */
export function registerKeys(auth: Command, context: Context): void {
  const keys = auth.command("keys").description("keys for machines: create, list, revoke");
  keys
    .command("create")
    .description("make a key; it is printed once, to stdout, and nowhere else")
    .argument("<name>", "what people call it, such as 'CI of the shop'")
    .option("--scope <scope>", "what it may do; may be repeated", collect)
    .option("--role <role>", "the same by a role: machine (without either), viewer, user or admin")
    .option("--expires <time>", "how long it holds, such as 12h or 90d (90d; at most 366d)")
    .action(async (name: string, _options: CreateOptions, command: Command) =>
      create(context, name, command.optsWithGlobals()),
    );
  keys
    .command("list", { isDefault: true })
    .description("list the keys, those that ended among them")
    .action(async (_options: GlobalOptions, command: Command) => list(context, command.optsWithGlobals()));
  keys
    .command("revoke")
    .description("end a key: it stops working everywhere at once")
    .argument("<id>", "the key's id, as the list shows it")
    .option("-y, --yes", "do not ask")
    .action(async (id: string, _options: RevokeOptions, command: Command) =>
      revoke(context, id, command.optsWithGlobals()),
    );
}

async function create(context: Context, name: string, options: CreateOptions): Promise<void> {
  const { scope = [], role = "", expires } = options;
  if (role && scope.length) throw usageError("--role and --scope exclude each other");
  const ttlSeconds = expires === undefined ? 0 : seconds("--expires", expires, 366 * 86_400);
  const client = await connect(context, options);
  const body = { name, scopes: scope, role, ttlSeconds };
  const json = await client.json({ method: "POST", path: "/v1/keys", body });
  const { token, key } = CreateApiKeyResponse.fromJSON(json);
  if (options.json) return context.terminal.json(json);
  const { terminal } = context;
  terminal.note(`Key ${oneLine(key?.id ?? "")} for ${oneLine(name)}, which ends ${relativeTime(key?.expireTime)}.`);
  terminal.note(`It may: ${oneLine((key?.scopes ?? []).join(", "))}. Keep it now: it is shown this once.`);
  terminal.print(oneLine(token));
}

async function list(context: Context, options: GlobalOptions): Promise<void> {
  const { terminal } = context;
  const json = await (await connect(context, options)).list("/v1/keys", "keys");
  answer(context, options, json, () =>
    table(
      ListApiKeysResponse.fromJSON(json).keys,
      [
        { title: "ID", cell: (key) => key.id },
        { title: "NAME", cell: (key) => key.name },
        { title: "STATE", cell: stateOf },
        { title: "CREATED", cell: (key) => relativeTime(key.createTime) },
        { title: "USED", cell: (key) => relativeTime(key.lastUsedTime) || "never" },
        { title: "ENDS", cell: (key) => relativeTime(key.expireTime) },
        { title: "SCOPES", cell: (key) => key.scopes.join(" ") },
      ],
      {
        none: 'There is no key. Make one with "warren auth keys create <name>".',
        width: terminal.stdout.columns,
        heading: (text) => terminal.paint("bold", text),
      },
    ),
  );
}

function stateOf(key: ApiKey): string {
  if (key.revokeTime) return "revoked";
  return key.expireTime && key.expireTime.getTime() <= Date.now() ? "expired" : "active";
}

async function revoke(context: Context, id: string, options: RevokeOptions): Promise<void> {
  const client = await connect(context, options);
  if (context.terminal.interactive && !options.yes && !options.json)
    if (!(await askYesNo(context.terminal, `Revoke the key ${id}? Whatever uses it stops working.`)))
      throw interrupted();
  await client.json({ method: "DELETE", path: `/v1/keys/${encodeURIComponent(id)}` });
  answer(context, options, { id, revoked: true }, () => `Revoked ${oneLine(id)}.`);
}
