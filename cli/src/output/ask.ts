// Questions to a person, on stderr: stdout stays the answer's.
import { type CANCEL_SYMBOL, confirm, isCancel, password, text } from "@clack/prompts";
import { interrupted } from "../errors.ts";
import type { Terminal } from "./terminal.ts";

/** Asks yes or no; Enter alone is no. @throws CliError (interrupted) on Ctrl-C. */
export async function askYesNo(terminal: Terminal, message: string): Promise<boolean> {
  return answered(await confirm({ ...streams(terminal), message, initialValue: false }));
}

/** Asks for a line of text. @throws CliError (interrupted) on Ctrl-C. */
export async function askText(
  terminal: Terminal,
  message: string,
  validate: (value: string) => string | undefined,
): Promise<string> {
  return answered(await text({ ...streams(terminal), message, validate: (value) => validate(value ?? "") }));
}

/** Asks for something nobody may read over a shoulder. @throws CliError (interrupted) on Ctrl-C. */
export async function askHidden(terminal: Terminal, message: string): Promise<string> {
  return answered(
    await password({
      ...streams(terminal),
      message,
      validate: (value) => (value ? undefined : "Type or paste the value"),
    }),
  );
}

function streams(terminal: Terminal): { input: NodeJS.ReadStream; output: NodeJS.WriteStream } {
  return { input: terminal.stdin, output: terminal.stderr };
}

function answered<T>(answer: T | typeof CANCEL_SYMBOL): T {
  if (isCancel(answer)) throw interrupted();
  return answer;
}
