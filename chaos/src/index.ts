// Faults under load, from a mesh's start to its end.
import { execFile } from "node:child_process";
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
        progress(fault.name);
        outcomes.push(await inject(fault, system, users, ledger));
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
async function furnish({ url, token }: System): Promise<void> {
  await warren(["plugin", "add", CLOCK, "--yes"], url, token);
  await warren(["pair", "--approve", "--name", "chaos", "--json"], url, token);
}

function warren(args: readonly string[], url: string, token: string): Promise<void> {
  const env = {
    ...environment(),
    WARREN_URL: url,
    WARREN_TOKEN: token,
    XDG_CONFIG_HOME: "/nonexistent",
    NO_COLOR: "1",
  };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [CLI, ...args], { env, timeout: 120_000 }, (error, _stdout, stderr) =>
      error ? reject(new Error(`warren ${args.join(" ")}: ${stderr}`)) : resolve(),
    );
  });
}
