// nats-server, once it could not write to its disk, writes no more to that stream until it is started again, however much
// room there is by then (2.12 and newer: a half-written block must not be written on). Somebody has to do that.
import { statfs } from "node:fs/promises";

const FULL = /no space left on device|disk quota exceeded/i;
/** What must be free before a start makes sense, in bytes. */
const ROOM_BYTES = 16 * 1024 * 1024;
const LOOK_MS = 250;

export interface FullDiskOptions {
  /** A folder on the disk. */
  readonly folder: string;
  /** Ends the server, so that its supervisor starts another. Called once. */
  readonly restart: () => void;
}

/** Watches what a server writes. Returns what takes its lines, and what ends the watch. */
export function watchForFullDisk({ folder, restart }: FullDiskOptions): {
  onLine: (line: string) => void;
  stop: () => void;
} {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const look = async (): Promise<void> => {
    const { bavail, bsize } = await statfs(folder).catch(() => ({ bavail: 0, bsize: 0 }));
    if (stopped) return;
    if (bavail * bsize >= ROOM_BYTES) {
      stopped = true;
      return restart();
    }
    timer = setTimeout(() => void look(), LOOK_MS).unref();
  };
  return {
    onLine: (line) => {
      if (stopped || timer !== undefined || !FULL.test(line)) return;
      timer = setTimeout(() => void look(), LOOK_MS).unref();
    },
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}
