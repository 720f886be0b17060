// Starts `child-service.ts` and reads what it tells.
import { spawn } from "node:child_process";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { waitUntil } from "@warren/testing";

const PROGRAM = fileURLToPath(new URL("./child-service.ts", import.meta.url));

/** A service in a process of its own. */
export interface Child {
  /** Every line it wrote. */
  readonly lines: readonly string[];
  signal(name: NodeJS.Signals): void;
}

/** Starts a child that does `role`, and ends with the test. Resolves when it is on the mesh. */
export async function startChild(
  t: Pick<TestContext, "after">,
  role: "never-answers" | "listens" | "relays",
  url: string,
  credentialsFile: string,
): Promise<Child> {
  const child = spawn(process.execPath, [PROGRAM, role, url, credentialsFile], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const lines: string[] = [];
  let rest = "";
  child.stdout.on("data", (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts);
  });
  await waitUntil("the child", 60_000, () => {
    if (child.exitCode !== null) throw new Error(`the child ended with ${child.exitCode}`);
    return lines.includes("ready") || undefined;
  });
  return { lines, signal: (name) => void child.kill(name) };
}
