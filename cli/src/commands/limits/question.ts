// The request that a question about limits is about, as it is typed.
import type { Command } from "commander";
import type { GlobalOptions } from "../../context.ts";
import { usageError } from "../../errors.ts";

export interface QuestionOptions extends GlobalOptions {
  readonly principal?: string;
  readonly tenant?: string;
  readonly address?: string;
}

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/** Adds what names a request. */
export function withQuestion(command: Command): Command {
  return command
    .argument("<method>", METHODS.join(", "))
    .argument("<path>", "such as /v1/chat")
    .option("--principal <principal>", "who calls: device:<id>, key:<id>, operator; absent: nobody with a token")
    .option("--tenant <tenant>", "the caller's tenant")
    .option("--address <address>", "the caller's IP address");
}

/** The question. @throws CliError (usage) when the method is none. */
export function questionOf(method: string, path: string, options: QuestionOptions): Record<string, unknown> {
  const verb = method.toUpperCase();
  if (!METHODS.includes(verb)) throw usageError(`${method} is no method`, `use one of ${METHODS.join(", ")}`);
  const { principal, tenant, address } = options;
  return {
    method: verb,
    path,
    ...(principal === undefined ? {} : { principal }),
    ...(tenant === undefined ? {} : { tenant }),
    ...(address === undefined ? {} : { address }),
  };
}

/** The route that was found, for a person. */
export function routeLine(method: string, { template, limitClass }: { template: string; limitClass: string }): string {
  if (template === "unknown") return "No route has this method and path: it meets the limits of unknown paths.";
  return `${method.toUpperCase()} ${template}, ${limitClass ? `class ${limitClass}` : "no class"}`;
}
