const maxPathBytes = 512;
const maxSegmentBytes = 255;
/** Controls, and characters that reorder or hide text on the screen of the person who reviews a package. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

/**
 * Says what is wrong with a path inside a package, or nothing when it is fine. Such a path is relative, `/`-separated,
 * normalized, and means the same file on every file system.
 *
 * @example
 * ```ts
 * relativePathProblem("src/main.ts"); // undefined
 * relativePathProblem("../etc/passwd"); // "has a segment `..`"
 * ```
 */
export function relativePathProblem(path: string): string | undefined {
  if (path === "") return "is empty";
  if (path.startsWith("/")) return "is absolute: write it relative to the plugin's folder";
  if (path.includes("\\")) return "has a backslash: separate folders with `/`";
  if (/^[A-Za-z]:/.test(path)) return "begins with a drive letter";
  if (unprintable.test(path)) return "has a control or invisible character";
  if (!path.isWellFormed() || path.includes("\ufffd")) return "is not valid UTF-8";
  if (Buffer.byteLength(path) > maxPathBytes) return `is longer than ${maxPathBytes} bytes`;
  for (const segment of path.split("/")) {
    if (segment === "") return "has an empty segment";
    if (segment === "." || segment === "..") return `has a segment \`${segment}\``;
    if (Buffer.byteLength(segment) > maxSegmentBytes) return `has a segment longer than ${maxSegmentBytes} bytes`;
  }
  return undefined;
}

/** Watches the paths of one package for collisions. */
export interface PathRegister {
  /** Notes a file's path; says what is wrong with it, or nothing. */
  add(path: string): string | undefined;
  /** Files and folders seen so far. */
  readonly size: number;
}

/**
 * Finds names that are equal, equal but for case or Unicode form (one file on macOS and Windows, two on Linux: what is
 * checked would not be what runs), or a file and a folder at once.
 */
export function createPathRegister(): PathRegister {
  const seen = new Map<string, { path: string; isFile: boolean }>();

  function note(path: string, isFile: boolean): string | undefined {
    const key = fold(path);
    const other = seen.get(key);
    if (other === undefined) {
      seen.set(key, { path, isFile });
      return undefined;
    }
    if (other.path !== path) return `collides with \`${other.path}\` where case or Unicode form is ignored`;
    if (other.isFile && isFile) return "is there twice";
    return other.isFile === isFile ? undefined : "is both a file and a folder";
  }

  return {
    add(path) {
      const segments = path.split("/");
      for (let depth = 1; depth < segments.length; depth++) {
        const problem = note(segments.slice(0, depth).join("/"), false);
        if (problem !== undefined) return problem;
      }
      return note(path, true);
    },
    get size() {
      return seen.size;
    },
  };
}

/** Upper case first: it folds pairs such as `ß` and `ss`, which lower case alone keeps apart. */
function fold(path: string): string {
  return path.normalize("NFKC").toUpperCase().toLowerCase().normalize("NFKC");
}
