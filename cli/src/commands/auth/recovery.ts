import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import { writePrivateFile } from "../../api/private-file.ts";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { CliError, ExitCode, interrupted, usageError } from "../../errors.ts";
import { askYesNo } from "../../output/ask.ts";
import { type FactorOptions, factorOf, withFactor } from "./factor.ts";
import { showCodes } from "./totp.ts";

interface LocalOptions extends GlobalOptions {
  readonly totp?: boolean;
  readonly operatorToken?: boolean;
  readonly yes?: boolean;
}

/** The auth service looks every second. */
const WAIT_MS = 10_000;
const LOOK_MS = 100;

/** `warren auth recovery`: new recovery codes, and the way back in for who sits at the machine. */
export function registerRecovery(auth: Command, context: Context): void {
  const recovery = auth.command("recovery").description("new recovery codes, and the way back in");
  withFactor(recovery.command("codes"))
    .description("make new recovery codes; the old ones end")
    .action(async (_options: FactorOptions, command: Command) => codes(context, command.optsWithGlobals()));
  recovery
    .command("local")
    .description("on the auth service's machine, without network and token: end what was lost")
    .option("--totp", "end the one-time passwords and their recovery codes")
    .option("--operator-token", "replace the operator's token")
    .option("-y, --yes", "do not ask")
    .action(async (_options: LocalOptions, command: Command) => local(context, command.optsWithGlobals()));
}

async function codes(context: Context, options: FactorOptions): Promise<void> {
  const client = await connect(context, options);
  const body = await factorOf(context, options);
  showCodes(context, options, await client.json({ method: "POST", path: "/v1/recovery-codes:renew", body }));
}

async function local(context: Context, options: LocalOptions): Promise<void> {
  const end = [...(options.totp ? ["totp"] : []), ...(options.operatorToken ? ["operator-token"] : [])];
  if (end.length === 0) throw usageError("say what was lost: --totp, --operator-token, or both");
  const { config, terminal } = context;
  if (!existsSync(config.dataDir))
    throw new CliError(
      ExitCode.notFound,
      `there is no data directory ${config.dataDir}`,
      "run this where the auth service runs, with WARREN_DATA_DIR set as there",
    );
  if (terminal.interactive && !options.yes && !options.json)
    if (!(await askYesNo(terminal, `End ${end.join(" and ")} of the mesh in ${config.dataDir}?`))) throw interrupted();
  const file = join(config.dataDir, "operator-token.recover");
  await writePrivateFile(file, `${JSON.stringify({ end })}\n`);
  const done = await gone(file);
  answer(context, options, { file, end, done }, () =>
    done
      ? `Ended: ${end.join(", ")}.`
      : `No auth service has looked at ${file} yet: it will when it runs. Its log says if it cannot.`,
  );
}

async function gone(file: string): Promise<boolean> {
  for (const until = Date.now() + WAIT_MS; Date.now() < until; await pause(LOOK_MS)) if (!existsSync(file)) return true;
  return !existsSync(file);
}
