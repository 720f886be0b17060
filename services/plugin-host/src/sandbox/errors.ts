/** Why a sandbox could not be had. */
export type SandboxErrorCode =
  | "SANDBOX_UNAVAILABLE"
  | "SANDBOX_INVALID_SPEC"
  | "SANDBOX_START_FAILED"
  | "SANDBOX_START_TIMEOUT";

/** An error of the sandbox, with what to do about it where that is known. */
export class SandboxError extends Error {
  readonly code: SandboxErrorCode;
  /** The command or change that mends it. */
  readonly remedy?: string;

  constructor(code: SandboxErrorCode, message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "SandboxError";
    this.code = code;
    if (options.remedy !== undefined) this.remedy = options.remedy;
  }
}

/** The text of a thrown value. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
