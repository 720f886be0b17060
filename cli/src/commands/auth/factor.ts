// The second factor as an option gives it, or a person types it.
import type { Command } from "commander";
import type { Context, GlobalOptions } from "../../context.ts";
import { usageError } from "../../errors.ts";
import { askText } from "../../output/ask.ts";

/** Options of every command that asks for the second factor. */
export interface FactorOptions extends GlobalOptions {
  readonly totp?: string;
  readonly recoveryCode?: string;
}

/** What is sent. */
export interface Factor {
  readonly totp?: string;
  readonly recoveryCode?: string;
}

/** Adds the options. */
export function withFactor(command: Command): Command {
  return command
    .option("--totp <digits>", "the six digits that the app shows")
    .option("--recovery-code <code>", "a recovery code in their place");
}

/** The factor: of the options, else asked for on a terminal. @throws CliError (usage) when there is neither. */
export async function factorOf(context: Context, options: FactorOptions): Promise<Factor> {
  const { totp, recoveryCode } = options;
  if (totp !== undefined && recoveryCode !== undefined)
    throw usageError("--totp and --recovery-code exclude each other");
  if (totp !== undefined) return { totp: digits(totp) };
  if (recoveryCode !== undefined) return { recoveryCode };
  if (!context.terminal.interactive || options.json) throw usageError("--totp or --recovery-code is needed");
  return { totp: await askDigits(context) };
}

/** Asks for the six digits. */
export function askDigits(context: Context): Promise<string> {
  return askText(context.terminal, "One-time password", (typed) =>
    /^\d{6}$/.test(typed) ? undefined : "the six digits that the app shows",
  );
}

/** @throws CliError (usage) when these are not six digits. */
export function digits(typed: string): string {
  if (/^\d{6}$/.test(typed)) return typed;
  throw usageError("--totp takes six digits");
}
