// Files that hold keys and tokens: for their owner alone, replaced whole or not at all, one writer at a time.
import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CliError, ExitCode, systemCode } from "../errors.ts";

/**
 * Reads a private file; undefined when there is none.
 * @throws CliError when others may read it, or it cannot be read.
 */
export async function readPrivateFile(file: string): Promise<string | undefined> {
  try {
    const { mode } = await stat(file);
    if (mode & 0o077)
      throw new CliError(ExitCode.failure, `${file} can be read by others, so it is not used`, `chmod 600 ${file}`);
    return await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof CliError) throw error;
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return undefined;
    throw new CliError(ExitCode.failure, `${file} cannot be read (${systemCode(error)})`, undefined, { cause: error });
  }
}

/** Writes a private file (0600, in a folder made 0700): a crash leaves the old content or the new, never a piece. */
export async function writePrivateFile(file: string, content: string): Promise<void> {
  const draft = `${file}.${randomBytes(6).toString("hex")}`;
  try {
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    const handle = await open(draft, "wx", 0o600);
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await rm(draft, { force: true });
    throw new CliError(ExitCode.failure, `${file} cannot be written (${systemCode(error)})`, undefined, {
      cause: error,
    });
  }
}

/**
 * Runs `work` while no other process runs its own under the same file's lock.
 * Two processes that find the same dead lock at once may both go on: callers must make that harmless.
 * @throws CliError when the lock is held for longer than `patience` milliseconds.
 */
export async function withFileLock<T>(file: string, work: () => Promise<T>, patience = 20_000): Promise<T> {
  const lock = `${file}.lock`;
  const end = performance.now() + patience;
  while (!(await acquire(lock))) {
    if (performance.now() > end)
      throw new CliError(ExitCode.failure, `another warren process holds ${lock}`, `if none runs: rm ${lock}`);
    await delay(25);
  }
  try {
    return await work();
  } finally {
    await rm(lock, { force: true });
  }
}

async function acquire(lock: string): Promise<boolean> {
  try {
    const handle = await open(lock, "wx", 0o600);
    await handle.writeFile(String(process.pid));
    await handle.close();
    return true;
  } catch (error) {
    if (systemCode(error) !== "EEXIST")
      throw new CliError(ExitCode.failure, `${lock} cannot be made (${systemCode(error)})`, undefined, {
        cause: error,
      });
    if (await isDead(lock)) await rm(lock, { force: true });
    return false;
  }
}

/** A lock is dead when its process is gone, or it is far older than any work under it takes. */
async function isDead(lock: string): Promise<boolean> {
  try {
    const [{ mtimeMs }, text] = await Promise.all([stat(lock), readFile(lock, "utf8")]);
    if (Date.now() - mtimeMs > 120_000) return true;
    // An empty lock is one being written at this moment.
    if (!text) return false;
    process.kill(Number(text), 0);
    return false;
  } catch (error) {
    return systemCode(error) === "ESRCH";
  }
}
