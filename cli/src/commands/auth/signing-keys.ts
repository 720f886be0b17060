import { ListSigningKeysResponse, SigningKey } from "@warren/proto/warren/auth/v1/access";
import type { Command } from "commander";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { oneLine } from "../../output/sanitize.ts";
import { table } from "../../output/table.ts";
import { relativeTime } from "../../output/time.ts";

interface RotateOptions extends GlobalOptions {
  readonly revokeTokens?: boolean;
}

/** `warren auth signing-keys` and `warren auth rotate-signing-key`: what access tokens are signed with. */
export function registerSigningKeys(auth: Command, context: Context): void {
  auth
    .command("signing-keys")
    .description("list the keys that sign access tokens")
    .action(async (_options: GlobalOptions, command: Command) => list(context, command.optsWithGlobals()));
  auth
    .command("rotate-signing-key")
    .description("replace the key that signs access tokens; devices notice nothing")
    .option("--revoke-tokens", "end the tokens of the old one now: devices renew theirs")
    .action(async (_options: RotateOptions, command: Command) => rotate(context, command.optsWithGlobals()));
}

async function list(context: Context, options: GlobalOptions): Promise<void> {
  const { terminal } = context;
  const json = await (await connect(context, options)).list("/v1/signing-keys", "keys");
  answer(context, options, json, () =>
    table(
      ListSigningKeysResponse.fromJSON(json).keys,
      [
        { title: "ID", cell: (key) => key.kid },
        { title: "SIGNS", cell: (key) => (key.current ? "yes" : "no") },
        { title: "CREATED", cell: (key) => relativeTime(key.createTime) },
        { title: "ENDS", cell: (key) => relativeTime(key.expireTime) },
      ],
      { none: "There is no key yet.", width: terminal.stdout.columns, heading: (text) => terminal.paint("bold", text) },
    ),
  );
}

async function rotate(context: Context, options: RotateOptions): Promise<void> {
  const client = await connect(context, options);
  const body = { revokeTokens: options.revokeTokens ?? false };
  const json = await client.json({ method: "POST", path: "/v1/signing-keys:rotate", body });
  const { kid } = SigningKey.fromJSON(json);
  const old = options.revokeTokens
    ? "Tokens of the old one have ended."
    : "Tokens of the old one end within 10 minutes.";
  answer(context, options, json, () => `Access tokens are signed with ${oneLine(kid)} now. ${old}`);
}
