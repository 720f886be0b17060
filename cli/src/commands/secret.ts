import { ListSecretsResponse, Secret, SecretValue } from "@warren/proto/warren/secrets/v1/secrets";
import type { Command } from "commander";
import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { wholeNumber } from "../config.ts";
import { answer, connect, type Context, type GlobalOptions } from "../context.ts";
import { interrupted, systemCode, usageError } from "../errors.ts";
import { askHidden, askYesNo } from "../output/ask.ts";
import { oneLine, printable } from "../output/sanitize.ts";
import { table } from "../output/table.ts";
import { relativeTime } from "../output/time.ts";

interface SetOptions extends GlobalOptions {
  readonly fromFile?: string;
  readonly description?: string;
}
interface GetOptions extends GlobalOptions {
  readonly secretVersion?: string;
}
interface DeleteOptions extends GlobalOptions {
  readonly yes?: boolean;
}

/** The contract's bound, in UTF-16 code units. */
const maxLength = 65_536;

/** `warren secret`: the vault. A value never comes from the command line, where every user of the machine could read it. */
export function registerSecret(program: Command, context: Context): void {
  const secret = program.command("secret").description("keep secrets in the vault");
  secret
    .command("set")
    .description("store a value, read from stdin, a hidden prompt or a file")
    .argument("<name>", "letters, digits, _ and -, in parts joined by single dots")
    .option("--from-file <file>", "store this file's text as it is")
    .option("--description <text>", "a note for people")
    .action(async (name: string, _options: SetOptions, command: Command) =>
      set(context, name, command.optsWithGlobals()),
    );
  secret
    .command("get")
    .description("print a value: exactly, without a line break, when stdout is no terminal")
    .argument("<name>")
    .option("--secret-version <number>", "an older version")
    .action(async (name: string, _options: GetOptions, command: Command) =>
      get(context, name, command.optsWithGlobals()),
    );
  secret
    .command("list")
    .description("list the secrets, without values")
    .action(async (_options: GlobalOptions, command: Command) => list(context, command.optsWithGlobals()));
  secret
    .command("delete")
    .description("delete a secret and all its versions")
    .argument("<name>")
    .option("-y, --yes", "do not ask")
    .action(async (name: string, _options: DeleteOptions, command: Command) =>
      remove(context, name, command.optsWithGlobals()),
    );
}

async function set(context: Context, name: string, options: SetOptions): Promise<void> {
  const client = await connect(context, options);
  const value = await readValue(context, name, options.fromFile);
  if (!value) throw usageError(`there is no value for ${name}: ${options.fromFile ?? "stdin"} is empty`);
  if (value.length > maxLength) throw usageError(`the value for ${name} is longer than ${maxLength} characters`);
  const body = { value, ...(options.description === undefined ? {} : { description: options.description }) };
  const json = await client.json({ method: "PUT", path: pathOf(name), body });
  answer(context, options, json, () => `Stored ${name}, version ${Secret.fromJSON(json).version}.`);
}

async function readValue({ terminal }: Context, name: string, file: string | undefined): Promise<string> {
  if (file !== undefined) {
    const bytes = await readFile(file).catch((error: unknown) => {
      throw usageError(`${file} cannot be read (${systemCode(error)})`);
    });
    return decode(bytes, file);
  }
  if (terminal.interactive) return askHidden(terminal, `Value of ${oneLine(name)}`);
  if (terminal.stdin.isTTY) throw usageError(`there is nowhere to ask for the value of ${name}`, "pipe it in");
  // `echo` and editors end a text with a line break that is no part of it.
  return decode(await buffer(terminal.stdin), "stdin").replace(/\r?\n$/, "");
}

function decode(bytes: Uint8Array, source: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw usageError(`${source} is not UTF-8 text`, "a secret is text: encode binary values, such as with base64");
  }
}

async function get(context: Context, name: string, options: GetOptions): Promise<void> {
  const version =
    options.secretVersion === undefined
      ? undefined
      : wholeNumber("--secret-version", options.secretVersion, 1, 999_999_999);
  const json = await (await connect(context, options)).json({ method: "GET", path: pathOf(name), query: { version } });
  if (options.json) return context.terminal.json(json);
  const { value } = SecretValue.fromJSON(json);
  if (context.terminal.stdout.isTTY) context.terminal.print(printable(value));
  else context.terminal.write(value);
}

async function list(context: Context, options: GlobalOptions): Promise<void> {
  const { terminal } = context;
  const json = await (await connect(context, options)).list("/v1/secrets", "secrets");
  const { secrets } = ListSecretsResponse.fromJSON(json);
  answer(context, options, json, () =>
    table(
      secrets,
      [
        { title: "NAME", cell: (secret) => secret.name },
        { title: "VERSION", cell: (secret) => String(secret.version) },
        { title: "UPDATED", cell: (secret) => relativeTime(secret.updateTime) },
        { title: "DESCRIPTION", cell: (secret) => secret.description },
      ],
      {
        none: 'There are no secrets. Store one with "warren secret set <name>".',
        width: terminal.stdout.columns,
        heading: (text) => terminal.paint("bold", text),
      },
    ),
  );
}

async function remove(context: Context, name: string, options: DeleteOptions): Promise<void> {
  const client = await connect(context, options);
  if (context.terminal.interactive && !options.yes && !options.json)
    if (!(await askYesNo(context.terminal, `Delete ${oneLine(name)} and all its versions?`))) throw interrupted();
  await client.json({ method: "DELETE", path: pathOf(name) });
  answer(context, options, { name, deleted: true }, () => `Deleted ${name}.`);
}

function pathOf(name: string): string {
  return `/v1/secrets/${encodeURIComponent(name)}`;
}
