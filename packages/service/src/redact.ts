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
const HIDDEN = "[redacted]";

/** Whether a field of this name is hidden: case, `_` and `-` do not matter. */
export function isSecretName(name: string): boolean {
  return NAMES.has(name.replaceAll(/[-_]/g, "").toLowerCase());
}

/** A copy of `value` with what stands under a secret's name hidden. Beyond eight levels everything is. */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth >= DEEPEST) return HIDDEN;
  if (value instanceof Error) return redactError(value, depth);
  if (value instanceof Date) return value;
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (Array.isArray(value)) return value.map((item) => redact(item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, hides(name, item) ? HIDDEN : redact(item, depth + 1)]),
  );
}

/** A numeric `code` is an error's or a status, and says much; a text of that name may be a pairing code. */
function hides(name: string, value: unknown): boolean {
  if (name === "code") return typeof value === "string" && !/^[A-Z][A-Z0-9_]*_[A-Z0-9_]+$|^E[A-Z]+$/.test(value);
  return isSecretName(name);
}

function redactError(error: Error, depth: number): object {
  const { name, message, stack, cause } = error;
  const own = redact(Object.fromEntries(Object.entries(error)), depth + 1) as object;
  return { type: name, message, stack, ...own, ...(cause === undefined ? {} : { cause: redact(cause, depth + 1) }) };
}
