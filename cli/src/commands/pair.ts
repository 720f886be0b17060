import { ListPairingsResponse, PairingState } from "@warren/proto/warren/auth/v1/auth";
import type { Command } from "commander";
import { readPending, readProfile } from "../api/profile.ts";
import { collect } from "../collect.ts";
import { answer, connectAsOperator, type Context, type GlobalOptions, profileFile } from "../context.ts";
import { CliError, ExitCode, usageError } from "../errors.ts";
import { oneLine } from "../output/sanitize.ts";
import { table } from "../output/table.ts";
import { relativeTime } from "../output/time.ts";
import {
  askForCode,
  completePairing,
  mayTryAgain,
  type PairingInProgress,
  type SecondFactor,
  startPairing,
} from "./pair-device.ts";

/** Options of `warren pair`. */
interface PairOptions extends GlobalOptions {
  readonly name?: string;
  readonly scope?: string[];
  readonly code?: string;
  readonly role?: string;
  readonly totp?: string;
  readonly recoveryCode?: string;
  readonly approve?: boolean;
  readonly replace?: boolean;
  readonly list?: boolean;
}

/** `warren pair`: makes this device known to a gateway; `--list` is the operator's side. */
export function registerPair(program: Command, context: Context): void {
  program
    .command("pair")
    .description("pair this device with a gateway, or show the operator which pairings wait")
    .option("--name <name>", "what the operator sees (this machine's name)")
    .option("--scope <scope>", "what this device asks to do, such as secrets:write; may be repeated", collect)
    .option("--role <role>", "the same by a role: user, viewer, machine or admin")
    .option("--code <code>", "complete the pairing that waits, with the code the operator sees")
    .option("--totp <digits>", "a one-time password, where the operator asks for one")
    .option("--recovery-code <code>", "a recovery code in its place")
    .option("--approve", "on the gateway's machine: approve this device with the operator's token")
    .option("--replace", "pair again although this device is paired")
    .option("--list", "for the operator: list the pairings that wait, with their codes")
    .action(async (_options: PairOptions, command: Command) => pair(context, command.optsWithGlobals()));
}

async function pair(context: Context, options: PairOptions): Promise<void> {
  const others = [options.list, options.approve, options.code !== undefined].filter(Boolean);
  if (others.length > 1) throw usageError("--list, --approve and --code exclude each other");
  if (options.role !== undefined && options.scope) throw usageError("--role and --scope exclude each other");
  if (options.totp !== undefined && !/^\d{6}$/.test(options.totp)) throw usageError("--totp takes six digits");
  if (options.list) return list(context, options);
  if (options.code !== undefined) return complete(context, options, await waiting(context, options), options.code);
  await refuseSecondPairing(context, options);
  // Found first: without it, a pairing would begin that this command cannot end.
  const operator = options.approve ? await connectAsOperator(context, options) : undefined;
  const begun = await startPairing(context, options);
  if (operator) {
    const { pairings } = ListPairingsResponse.fromJSON(await operator.list("/v1/pairing", "pairings"));
    const code = pairings.find((each) => each.id === begun.pending.id)?.code;
    if (!code) throw new CliError(ExitCode.failure, "the gateway does not list the pairing that has just begun");
    return complete(context, options, begun, code);
  }
  if (options.json) return context.terminal.json(waitingDocument(begun));
  await completeByAsking(context, options, begun);
}

async function list(context: Context, options: PairOptions): Promise<void> {
  const { terminal } = context;
  const client = await connectAsOperator(context, options);
  const json = await client.list("/v1/pairing", "pairings");
  const pairings = ListPairingsResponse.fromJSON(json).pairings;
  answer(context, options, { pairings: [], ...json }, () =>
    table(
      pairings,
      [
        { title: "CODE", cell: (each) => each.code.replace(/^(.{4})(.{4})$/, "$1-$2") },
        { title: "DEVICE", cell: (each) => each.deviceName },
        { title: "ADDRESS", cell: (each) => each.address },
        { title: "STATE", cell: (each) => stateNames[each.state] ?? "unknown" },
        { title: "WRONG", cell: (each) => String(each.attempts) },
        { title: "ENDS", cell: (each) => relativeTime(each.expireTime) },
        { title: "WANTS", cell: (each) => each.scopes.join(" ") },
        { title: "ID", cell: (each) => each.id },
      ],
      {
        none: "No pairing waits.",
        width: terminal.stdout.columns,
        heading: (text) => terminal.paint("bold", text),
      },
    ),
  );
}

const stateNames: Readonly<Record<number, string>> = {
  [PairingState.PENDING]: "waiting",
  [PairingState.COMPLETED]: "completed",
  [PairingState.EXPIRED]: "expired",
  [PairingState.LOCKED]: "locked",
};

async function refuseSecondPairing(context: Context, options: PairOptions): Promise<void> {
  if (options.replace) return;
  const profile = await readProfile(profileFile(context, options));
  if (profile)
    throw usageError(
      `this device is paired with ${profile.url} as ${oneLine(profile.deviceName)}`,
      "--replace pairs it again; --profile <file> keeps both pairings",
    );
}

async function waiting(context: Context, options: PairOptions): Promise<PairingInProgress> {
  const file = profileFile(context, options);
  const pending = await readPending(file);
  if (!pending) throw usageError("no pairing waits for a code", "begin one: warren pair");
  if (pending.end < Date.now()) throw usageError("the pairing has expired", "begin another: warren pair");
  return { file, pending };
}

async function complete(context: Context, options: PairOptions, begun: PairingInProgress, code: string): Promise<void> {
  const profile = await completePairing(context, begun, code, secondFactor(options));
  const { url, deviceId, deviceName, scopes } = profile;
  answer(context, options, { url, deviceId, deviceName, scopes, profile: begun.file }, () =>
    [
      `Paired with ${url} as ${oneLine(deviceName)} (${oneLine(deviceId)}).`,
      `It may: ${oneLine(scopes.join(", "))}. Its key and tokens are in ${begun.file}.`,
    ].join("\n"),
  );
}

function secondFactor({ totp, recoveryCode }: PairOptions): SecondFactor {
  return { ...(totp === undefined ? {} : { totp }), ...(recoveryCode === undefined ? {} : { recoveryCode }) };
}

/** The gateway locks a pairing after so many wrong codes. */
const attempts = 5;

/** Asks until the code is right, the gateway locks the pairing, or nobody answers. */
async function completeByAsking(context: Context, options: PairOptions, begun: PairingInProgress): Promise<void> {
  const { terminal } = context;
  terminal.note(`The operator of ${begun.pending.url} sees this device now, and a code of 8 letters and digits:`);
  terminal.note('in the console, with "warren pair --list", or in the log of "warren up".');
  for (let left = attempts; ;) {
    const code = await askForCode(terminal, begun.pending.end);
    if (code === undefined) {
      terminal.note('The pairing waits for 5 minutes: complete it with "warren pair --code <code>".');
      return terminal.json(waitingDocument(begun));
    }
    try {
      return await complete(context, options, begun, code);
    } catch (error) {
      if (!terminal.interactive || !mayTryAgain(error)) throw error;
      if (error.exitCode !== ExitCode.limited && --left === 0) throw error;
      terminal.note(terminal.paintNote("yellow", `${oneLine(error.message)}. Try again.`));
    }
  }
}

function waitingDocument({ pending, file }: PairingInProgress): Record<string, unknown> {
  return { id: pending.id, url: pending.url, expireTime: new Date(pending.end).toISOString(), profile: file };
}
