// Faults under load, from a mesh's start to its end.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openTarget } from "@warren/loadtest/target";
import { environment } from "./config.ts";
import type { Fault } from "./faults.ts";
import { Ledger } from "./ledger.ts";
import { inject, type Outcome } from "./run.ts";
import { startSystem, type System } from "./system.ts";
import { startUsers } from "./users.ts";

export { type Fault, faults } from "./faults.ts";
export { formatOutcomes, stood } from "./report.ts";
export type { Outcome } from "./run.ts";

const CLI = fileURLToPath(new URL("../../cli/src/main.ts", import.meta.url));
const CLOCK = fileURLToPath(new URL("../../plugins/clock", import.meta.url));

/** Lines of the mesh that are told when it did not come back. */
const LAST_LINES = 60;

export interface ChaosOptions {
  readonly faults: readonly Fault[];
  readonly progress: (line: string) => void;
  readonly signal?: AbortSignal;
}

/** Starts a mesh, makes the faults one after the other under load, and stops the mesh. */
export async function runChaos({ faults, progress, signal }: ChaosOptions): Promise<Outcome[]> {
  const system = await startSystem();
  const target = openTarget(system.url, system.token);
  try {
    await furnish(system);
    const ledger = new Ledger(system, target);
    const users = startUsers(target, ledger);
    try {
      const outcomes: Outcome[] = [];
      for (const fault of faults) {
        signal?.throwIfAborted();
        const outcome = await inject(fault, system, users, ledger);
        outcomes.push(outcome);
        progress(`${fault.name}: ${JSON.stringify(outcome)}`);
        // What did not come back would be found again in every fault that follows.
        if (outcome.skipped === undefined && outcome.recoveryMs === undefined) {
          progress(system.lines.slice(-LAST_LINES).join("\n"));
          break;
        }
      }
      return outcomes;
    } finally {
      await users.stop();
    }
  } finally {
    await target.close();
    await system.stop();
  }
}

/** A plugin to call and a device to keep. */
async function furnish({ url, tokenFile }: System): Promise<void> {
  await warren(["plugin", "add", CLOCK, "--yes", "--token-file", tokenFile], url);
  await warren(["pair", "--approve", "--name", "chaos", "--json", "--token-file", tokenFile], url);
}

function warren(args: readonly string[], url: string): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), "warren-chaos-home-"));
  const env = { ...environment(), WARREN_URL: url, XDG_CONFIG_HOME: home, NO_COLOR: "1" };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [CLI, ...args], { env, timeout: 120_000 }, (error, _stdout, stderr) => {
      rmSync(home, { recursive: true, force: true });
      return error ? reject(new Error(`warren ${args.join(" ")}: ${stderr}`)) : resolve();
    });
  });
}
