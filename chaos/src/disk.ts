// A disk that can be full: a tmpfs of its own, whose size is moved. It needs an administrator's right to mount.
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { statfs } from "node:fs/promises";

/** Bytes that JetStream wants to see free for the streams that the policy reserves; none is taken before it is written. */
const ROOMY = "16g";
/** Pages that stay free when it is full: fewer than the smallest write of JetStream takes. */
const SPARE_BYTES = 4096;

export interface SmallDisk {
  /** Nothing more can be written. */
  fill(): Promise<void>;
  /** There is room again. */
  clear(): void;
  remove(): void;
}

/** Mounts a disk on `folder`; undefined where this process may not. */
export function mountDisk(folder: string): SmallDisk | undefined {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const mount = (...options: string[]): void => void execFileSync("mount", options, { stdio: "ignore" });
  try {
    mount("-t", "tmpfs", "-o", `size=${ROOMY},mode=0700`, "tmpfs", folder);
  } catch {
    return undefined;
  }
  const resize = (size: string): void => mount("-o", `remount,size=${size}`, folder);
  return {
    fill: async () => {
      const { blocks, bfree, bsize } = await statfs(folder);
      resize(String((blocks - bfree) * bsize + SPARE_BYTES));
    },
    clear: () => resize(ROOMY),
    remove: () => void execFileSync("umount", ["-l", folder], { stdio: "ignore" }),
  };
}
