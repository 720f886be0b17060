// One stack a data folder: a file with the process id of the one that runs.
import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/**
 * Claims a data folder for this process.
 * @returns what gives it back
 * @throws Error when another running stack has it.
 */
export function lockDataFolder(dataDir: string): () => void {
  const path = join(dataDir, "stack.pid");
  for (;;) {
    try {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, String(process.pid));
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const pid = Number(readFileSync(path, "utf8"));
      if (pid !== process.pid && isAlive(pid))
        throw new Error(
          `A mesh already runs on ${dataDir} (process ${pid}): stop it, or name another folder by WARREN_DATA_DIR`,
          { cause: error },
        );
      rmSync(path, { force: true });
    }
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
