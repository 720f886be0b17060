// What is used of two packages that come without types.

declare module "semver" {
  /** The version without decoration, or null when it is none. */
  export function valid(version: string): string | null;
  /** The range in its long form, or null when it is none. */
  export function validRange(range: string): string | null;
}

declare module "tar-stream" {
  import type { Readable, Writable } from "node:stream";

  export interface Headers {
    name: string;
    mode?: number;
    uid?: number;
    gid?: number;
    size?: number;
    mtime?: Date;
    type?: string | null;
    linkname?: string | null;
    pax?: Record<string, string> | null;
  }
  export interface Pack extends Readable {
    entry(headers: Headers, content?: Uint8Array | string, callback?: (error: Error | null) => void): Writable;
    finalize(): void;
  }
  export interface Entry extends Readable {
    readonly header: Headers & { readonly mode: number; readonly size: number; readonly type: string | null };
  }
  export interface Extract extends Writable {
    [Symbol.asyncIterator](): AsyncIterator<Entry>;
  }
  export function pack(): Pack;
  export function extract(): Extract;
}
