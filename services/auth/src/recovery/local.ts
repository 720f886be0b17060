// The way back in for the person at the machine: a file beside the operator's token says what to end. It needs no network,
// no token and no one-time password; who may write there could read the operator's token anyway.
import { constants } from "node:fs";
import { open, unlink } from "node:fs/promises";

/** What can be ended. */
export const RECOVERABLE = ["totp", "operator-token"] as const;
export type Recoverable = (typeof RECOVERABLE)[number];

/** Where the request lies. `cli/src/commands/auth/recovery.ts` writes it. */
export function recoveryFile(operatorTokenFile: string): string {
  return `${operatorTokenFile}.recover`;
}

/** A request that cannot be followed. The message says why and what to do. */
export class RecoveryError extends Error {
  override readonly name = "RecoveryError";
}

const OTHERS = 0o077;
const LONGEST = 1024;
const POLL_MS = 1_000;

/**
 * Does what a request asks for, then removes it: a crash between the two does it again, which is harmless.
 * @returns what was ended; undefined when nothing was asked for.
 * @throws RecoveryError when the file is not a private one of this user, or asks for what there is not.
 */
export async function recover(
  path: string,
  actions: Readonly<Record<Recoverable, () => Promise<void>>>,
): Promise<Recoverable[] | undefined> {
  const wanted = await read(path);
  if (!wanted) return undefined;
  for (const each of wanted) await actions[each]();
  await unlink(path);
  return wanted;
}

/** Looks for a request now and every second, until the returned function is called. */
export function watchForRecovery(look: () => Promise<void>): () => void {
  let looking = false;
  const timer = setInterval(() => {
    if (looking) return;
    looking = true;
    void look().finally(() => (looking = false));
  }, POLL_MS).unref();
  return () => clearInterval(timer);
}

async function read(path: string): Promise<Recoverable[] | undefined> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return undefined;
      throw new RecoveryError(`${path} cannot be read (${error.code}): remove it and ask again`);
    },
  );
  if (!file) return undefined;
  try {
    const status = await file.stat();
    const foreign = status.uid !== process.getuid?.();
    if (!status.isFile() || foreign || (status.mode & OTHERS) !== 0 || status.size > LONGEST)
      throw new RecoveryError(`${path} is no private file of the user that runs the service: remove it`);
    const asked = parse(await file.readFile("utf8"));
    if (!asked) throw new RecoveryError(`${path} asks for nothing that can be ended: remove it`);
    return asked;
  } finally {
    await file.close();
  }
}

function parse(text: string): Recoverable[] | undefined {
  try {
    const { end } = JSON.parse(text) as { end?: unknown };
    if (!Array.isArray(end) || end.length === 0) return undefined;
    return end.every((each) => RECOVERABLE.includes(each as Recoverable)) ? (end as Recoverable[]) : undefined;
  } catch {
    return undefined;
  }
}
