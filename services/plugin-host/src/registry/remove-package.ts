// Removing an unpacked package, of which every folder is read-only.
import { chmod, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { randomUUID } from "node:crypto";

/** Removes an unpacked package. It vanishes under its name at once, so that nobody finds half of it. */
export async function removePackage(folder: string): Promise<void> {
  // The name is one that the store's own sweep knows, should this process end halfway.
  const doomed = join(dirname(folder), `.unpack-removed-${randomUUID()}`);
  await chmod(folder, 0o700);
  await rename(folder, doomed);
  await unseal(doomed);
  await rm(doomed, { recursive: true, force: true });
}

async function unseal(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await readdir(folder, { withFileTypes: true }))
    if (entry.isDirectory()) await unseal(join(folder, entry.name));
}
