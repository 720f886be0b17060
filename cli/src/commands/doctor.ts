import type { Command } from "commander";
import type { Access } from "../api/access.ts";
import { accessOf, type Context, gatewayOf, type GlobalOptions } from "../context.ts";
import { checkGateway } from "../doctor/gateway.ts";
import type { Finding } from "../doctor/finding.ts";
import { checkLimits } from "../doctor/limits.ts";
import { checkPrograms, programFolders } from "../doctor/programs.ts";
import { checkSandbox } from "../doctor/sandbox.ts";
import { CliError, ExitCode, QuietExit } from "../errors.ts";
import { oneLine } from "../output/sanitize.ts";
import type { Terminal } from "../output/terminal.ts";

/** `warren doctor`: what is there, what is missing, and the command that mends it. */
export function registerDoctor(program: Command, context: Context): void {
  program
    .command("doctor")
    .description("what is there, what is missing, and which limits the kernel enforces here")
    .action(async (_options: GlobalOptions, command: Command) => doctor(context, command.optsWithGlobals()));
}

async function doctor(context: Context, options: GlobalOptions): Promise<void> {
  const { config, terminal, fetch } = context;
  const url = await gatewayOf(context, options);
  const access = await accessIfAny(context, options, url);
  const folders = programFolders(config.path);
  const groups = await Promise.all([
    checkPrograms(folders, process.versions.node),
    checkSandbox(folders),
    checkLimits(folders, process.execPath),
    checkGateway({ url, access: access instanceof CliError ? undefined : access, fetch }),
  ]);
  const findings: Finding[] = groups.flat();
  if (access instanceof CliError && access.exitCode !== ExitCode.denied)
    findings.push({
      group: "access",
      name: "files",
      state: "warning",
      detail: access.message,
      ...(access.hint ? { mend: access.hint } : {}),
    });
  const ok = findings.every(({ state }) => state !== "missing");
  if (options.json) terminal.json({ ok, findings });
  else terminal.print(report(terminal, findings, ok));
  if (!ok) throw new QuietExit(ExitCode.failure);
}

/** The access; undefined or the reason when there is none, which the doctor reports and does not stumble over. */
async function accessIfAny(context: Context, options: GlobalOptions, url: string): Promise<Access | CliError> {
  try {
    return await accessOf(context, options, url);
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
}

const titles: Readonly<Record<Finding["group"], string>> = {
  programs: "Programs",
  sandbox: "Sandbox (probed by starting one)",
  limits: "Limits (probed by setting them)",
  gateway: "Gateway",
  access: "Access",
};

function report(terminal: Terminal, findings: readonly Finding[], ok: boolean): string {
  const marks = {
    ok: terminal.paint("green", "ok  "),
    warning: terminal.paint("yellow", "warn"),
    missing: terminal.paint("red", "MISS"),
  };
  const width = Math.max(...findings.map(({ name }) => name.length));
  const lines = Object.entries(titles).flatMap(([group, title]) => {
    const own = findings.filter((finding) => finding.group === group);
    if (!own.length) return [];
    const rows = own.flatMap(({ state, name, detail, mend }) => [
      `  ${marks[state]}  ${name.padEnd(width)}  ${oneLine(detail)}`,
      ...(mend && state !== "ok" ? [`        ${" ".repeat(width)}${terminal.paint("dim", "mend:")} ${mend}`] : []),
    ]);
    return [terminal.paint("bold", title), ...rows, ""];
  });
  return [...lines, ok ? "Warren can run here." : "Warren cannot run here yet: mend what is marked MISS."].join("\n");
}
