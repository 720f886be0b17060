// Keeps secrets out of logs by the names under which they travel, at any depth.

const NAMES = new Set(
  [
    "password",
    "passphrase",
    "apikey",
    "token",
    "secret",
    "privatekey",
    "authorization",
    "cookie",
    "setcookie",
    "xapikey",
  ].concat(["accesstoken", "refreshtoken", "clientsecret", "xwarrentoken", "seed", "credential", "code", "totp"]),
);
const DEEPEST = 8;
const MOST_VALUES = 1000;
const HIDDEN = "[redacted]";

/** Whether a field of this name is hidden: case, `_` and `-` do not matter. */
export function isSecretName(name: string): boolean {
  return NAMES.has(name.replaceAll(/[-_]/g, "").toLowerCase());
}

/**
 * A copy of `value` with what stands under a secret's name hidden. Bounded, whatever is logged: what lies deeper than
 * eight levels is hidden, an object within itself is named as such, and after a thousand values the rest is left out.
 */
export function redact(value: unknown): unknown {
  return copy(value, { parents: [], left: MOST_VALUES });
}

interface Progress {
  /** The objects that hold the one that is copied. */
  readonly parents: object[];
  /** How many more values are copied. */
  left: number;
}

function copy(value: unknown, progress: Progress): unknown {
  if (typeof value !== "object" || value === null) return value;
  const { parents } = progress;
  if (parents.includes(value)) return "[circular]";
  if (parents.length >= DEEPEST) return HIDDEN;
  if (value instanceof Date) return value;
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  parents.push(value);
  const result = copyParts(value, progress);
  parents.pop();
  return result;
}

function copyParts(value: object, progress: Progress): unknown {
  if (value instanceof Error) return copyError(value, progress);
  if (Array.isArray(value)) return takeFrom(value, progress).map((item) => copy(item, progress));
  return copyFields(Object.entries(value), progress);
}

function copyFields(fields: [string, unknown][], progress: Progress): Record<string, unknown> {
  const copied = takeFrom(fields, progress).map(([name, item]) => [
    name,
    hides(name, item) ? HIDDEN : copy(item, progress),
  ]);
  return Object.fromEntries(copied) as Record<string, unknown>;
}

/** As many items as may still be copied. */
function takeFrom<T>(items: readonly T[], progress: Progress): readonly T[] {
  const taken = items.slice(0, progress.left);
  progress.left -= taken.length;
  return taken;
}

/** A numeric `code` is an error's or a status, and says much; a text of that name may be a pairing code. */
function hides(name: string, value: unknown): boolean {
  if (name === "code") return typeof value === "string" && !/^[A-Z][A-Z0-9_]*_[A-Z0-9_]+$|^E[A-Z]+$/.test(value);
  return isSecretName(name);
}

function copyError(error: Error, progress: Progress): object {
  const { name, message, stack, cause } = error;
  const own = copyFields(Object.entries(error), progress);
  return { type: name, message, stack, ...own, ...(cause === undefined ? {} : { cause: copy(cause, progress) }) };
}
