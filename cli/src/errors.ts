// Everything that ends the command early, with the exit code scripts can rely on.

/** The command's exit codes, part of its public surface: docs/reference/cli.md. */
export const ExitCode = {
  /** It worked. */
  ok: 0,
  /** It failed in a way no other code names. */
  failure: 1,
  /** The command line is wrong: nothing was sent. */
  usage: 2,
  /** No gateway answers at the address. */
  unreachable: 3,
  /** No valid token, or one that may not do this. */
  denied: 4,
  /** What was named is not there. */
  notFound: 5,
  /** A rate limit or a quota refused it: later it may work. */
  limited: 6,
  /** The gateway answers, a service behind it does not (503, 504): later it may work. */
  unavailable: 7,
  /** Ended by Ctrl-C. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** A failure that is shown to a person as it is: what happened, to what, and what to do. */
export class CliError extends Error {
  override readonly name: string = "CliError";
  readonly exitCode: ExitCode;
  /** What would mend it: a command or an option, without a final full stop. */
  readonly hint: string | undefined;
  constructor(exitCode: ExitCode, message: string, hint?: string, options?: ErrorOptions) {
    super(message, options);
    this.exitCode = exitCode;
    this.hint = hint;
  }
}

/** Ends the command with an exit code when all there is to say has been said. */
export class QuietExit extends CliError {
  override readonly name = "QuietExit";
  constructor(exitCode: ExitCode) {
    super(exitCode, "");
  }
}

/** The command line cannot be carried out as written. */
export function usageError(message: string, hint?: string): CliError {
  return new CliError(ExitCode.usage, message, hint);
}

/** A person pressed Ctrl-C, or answered a question with it. */
export function interrupted(): CliError {
  return new CliError(ExitCode.interrupted, "cancelled");
}

/** The code of a system error (`ENOENT`, `ECONNREFUSED`, …), where it is one. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  if (typeof code === "string") return code;
  // fetch wraps what happened: the socket's own error is the cause.
  return error.cause === undefined ? undefined : systemCode(error.cause);
}
