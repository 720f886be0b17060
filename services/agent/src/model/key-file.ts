// API keys come from files that only their owner can read: an environment is seen by every child process and crash report.
import { open } from "node:fs/promises";

const OTHERS = 0o077;
const MAX_LENGTH = 4_096;

/**
 * Reads a key.
 * @throws Error that names the file and what to do, never its content.
 */
export async function readKeyFile(path: string): Promise<string> {
  let file;
  try {
    file = await open(path, "r");
  } catch (cause) {
    throw new Error(`The key file ${path} cannot be opened: create it with the key as its only content, mode 0600`, {
      cause,
    });
  }
  try {
    // Of the open file, so that nobody can swap it in between.
    const { mode, size } = await file.stat();
    if ((mode & OTHERS) !== 0) throw new Error(`The key file ${path} can be read by others: run chmod 600 ${path}`);
    if (size > MAX_LENGTH) throw new Error(`The key file ${path} is too large for a key: it must hold nothing else`);
    const key = (await file.readFile("utf8")).trim();
    if (!/^[\x21-\x7e]+$/.test(key))
      throw new Error(`The key file ${path} holds no key: one line of visible ASCII is expected`);
    return key;
  } finally {
    await file.close();
  }
}
