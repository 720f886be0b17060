// Files that hold key material: created whole and closed to others, refused when they are open to others.
import { randomBytes } from "node:crypto";
import { link, mkdir, open, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { KeyRingError } from "./errors.ts";

// The group may read, since Kubernetes mounts secrets for a non-root user so; nothing more.
const REFUSED_MODE = 0o037;
const MAX_BYTES = 4096;

/**
 * The bytes of the file at `path`, or undefined when there is none. Throws KeyRingError `root_key_unsafe` when others may read it, the
 * group may write it, or it is not a small regular file.
 */
export async function readPrivateFile(path: string): Promise<Buffer | undefined> {
  const file = await openIfThere(path);
  if (!file) return undefined;
  try {
    const { mode, size } = await file.stat();
    if ((mode & 0o170000) !== 0o100000 || size > MAX_BYTES) {
      throw new KeyRingError("root_key_unsafe", `${path} is not a regular file of at most ${MAX_BYTES} bytes`);
    }
    if ((mode & REFUSED_MODE) !== 0) {
      const message = `${path} is open to others (mode 0${(mode & 0o777).toString(8)}): run "chmod 600 ${path}", and replace what it holds if others may have read it`;
      throw new KeyRingError("root_key_unsafe", message);
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/**
 * Creates the file at `path` with `bytes`, mode 0600, on disk when the promise resolves. False when there is one already; two processes
 * that try at once agree on one, and no reader ever sees half a file.
 */
export async function createPrivateFile(path: string, bytes: Uint8Array): Promise<boolean> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const draft = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const file = await open(draft, "wx", 0o600);
  try {
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    // A link, unlike a rename, fails when the name is taken.
    await link(draft, path);
    return true;
  } catch (error) {
    if (isCode(error, "EEXIST")) return false;
    throw error;
  } finally {
    await unlink(draft);
    await syncFolder(dirname(path));
  }
}

async function openIfThere(path: string) {
  try {
    return await open(path, "r");
  } catch (error) {
    if (isCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
