// One stack a data folder: a file with the process id of the one that runs.
import { randomUUID } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Claims a data folder for this process.
 * @returns what gives it back
 * @throws Error when another running stack has it.
 */
export function lockDataFolder(dataDir: string): () => void {
  const path = join(dataDir, "stack.pid");
  // Linked into place whole: nobody ever reads a lock that does not yet say whose it is.
  const own = `${path}.${randomUUID()}`;
  writeFileSync(own, String(process.pid), { mode: 0o600 });
  try {
    while (!claim(own, path)) takeAway(path, dataDir);
  } finally {
    rmSync(own, { force: true });
  }
  return () => rmSync(path, { force: true });
}

function claim(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Removes the lock of a process that is gone; of several who try, one removes it and the others look again. */
function takeAway(path: string, dataDir: string): void {
  const aside = `${path}.${randomUUID()}`;
  try {
    refuseRunning(path, dataDir);
    renameSync(path, aside);
    // Between the look and the move another may have claimed it: what was moved is looked at again.
    refuseRunning(aside, dataDir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    claimBack(aside, path);
    throw error;
  }
  rmSync(aside, { force: true });
}

function claimBack(aside: string, path: string): void {
  try {
    linkSync(aside, path);
    rmSync(aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** @throws Error when the process that a lock names still runs. */
function refuseRunning(path: string, dataDir: string): void {
  const pid = Number(readFileSync(path, "utf8"));
  if (pid !== process.pid && isAlive(pid))
    throw new Error(
      `A mesh already runs on ${dataDir} (process ${pid}): stop it, or name another folder by WARREN_DATA_DIR`,
    );
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
