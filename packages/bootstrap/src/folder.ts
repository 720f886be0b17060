// The parts' secrets as folders, each to be mounted into one container only.
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { completeMaterial, type Material, type MaterialKind, parseMaterial, serializeMaterial } from "./material.ts";
import { filesOf } from "./parts.ts";

export interface EnsureFolderOptions {
  /** Gets a folder for each part, and `bootstrap` with the material itself. */
  readonly folder: string;
  /** Who may read the parts; default: who runs this. The material stays with who runs this. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  /** What to make anew. */
  readonly renew?: readonly MaterialKind[] | undefined;
}

const MATERIAL = "material.json";

/**
 * Makes what is missing; safe to run again, also after it was killed: the parts follow from the material, which is written first.
 * @returns the paths of the files that were written
 * @throws Error when the material that is there is damaged.
 */
export function ensureFolder({ folder, owner, renew = [] }: EnsureFolderOptions): string[] {
  const own = join(folder, "bootstrap");
  makeFolder(own);
  const path = join(own, MATERIAL);
  const found = existsSync(path) ? readFileSync(path, "utf8") : undefined;
  const material: Material = completeMaterial(found === undefined ? {} : parseMaterial(found), renew);
  const written = [writeChanged(path, Buffer.from(serializeMaterial(material)))];
  for (const [part, files] of Object.entries(filesOf(material))) {
    const target = join(folder, part);
    makeFolder(target);
    for (const [name, content] of Object.entries(files)) written.push(writeChanged(join(target, name), content, owner));
    if (owner) chownSync(target, owner.uid, owner.gid);
  }
  return written.filter((each) => each !== undefined);
}

function makeFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  chmodSync(path, 0o700);
}

/** Whole or not at all, so that a service that starts meanwhile never reads a piece. */
function writeChanged(path: string, content: Buffer, owner?: { uid: number; gid: number }): string | undefined {
  const same = existsSync(path) && readFileSync(path).equals(content);
  if (!same) {
    const draft = `${path}.${randomBytes(6).toString("hex")}`;
    try {
      writeFileSync(draft, content, { mode: 0o600, flag: "wx", flush: true });
      renameSync(draft, path);
    } finally {
      rmSync(draft, { force: true });
    }
  }
  if (owner) chownSync(path, owner.uid, owner.gid);
  return same ? undefined : path;
}
