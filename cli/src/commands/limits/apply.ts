import type { Command } from "commander";
import { answer, connect, type Context, type GlobalOptions } from "../../context.ts";
import { interrupted } from "../../errors.ts";
import { askYesNo } from "../../output/ask.ts";
import { readPolicy } from "./policy-file.ts";

interface ApplyOptions extends GlobalOptions {
  readonly yes?: boolean;
}

/** `warren limits apply` and `reset`: the mesh's own limits, for every gateway at once. */
export function registerLimitsApply(limits: Command, context: Context): void {
  limits
    .command("apply")
    .description("put the limits of a file in force, at every gateway at once")
    .argument("<file>", "a JSON file with limits")
    .option("-y, --yes", "do not ask")
    .action(async (file: string, _options: ApplyOptions, command: Command) =>
      apply(context, file, command.optsWithGlobals()),
    );
  limits
    .command("reset")
    .description("take the applied limits back: those of the gateways' files, or the defaults, hold again")
    .option("-y, --yes", "do not ask")
    .action(async (_options: ApplyOptions, command: Command) => reset(context, command.optsWithGlobals()));
}

async function apply(context: Context, file: string, options: ApplyOptions): Promise<void> {
  const policy = await readPolicy(file);
  const client = await connect(context, options);
  await ask(context, options, `Put the limits of ${file} in force at every gateway?`);
  const json = await client.json({ method: "PUT", path: "/v1/limits", body: policy });
  answer(context, options, json, () => `Version ${String(json["version"])} is in force.`);
}

async function reset(context: Context, options: ApplyOptions): Promise<void> {
  const client = await connect(context, options);
  await ask(context, options, "Take the applied limits back?");
  const json = await client.json({ method: "DELETE", path: "/v1/limits" });
  answer(context, options, json, () => "The limits of the gateways' files, or the defaults, hold again.");
}

async function ask({ terminal }: Context, options: ApplyOptions, question: string): Promise<void> {
  if (terminal.interactive && !options.yes && !options.json && !(await askYesNo(terminal, question)))
    throw interrupted();
}
