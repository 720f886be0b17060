// Pages of a sorted list, after AIP-158. A token says where the page before ended, so entries that come and go shift no page.
import { VaultError } from "./errors.ts";

/** One page of names. */
export interface Page {
  readonly names: readonly string[];
  /** Empty when there is no more. */
  readonly nextPageToken: string;
}

const NAME = /^[A-Za-z0-9_.-]{1,128}$/;

/** At most `size` of `names`, in code unit order, after those of the page that gave `token` (empty: from the start). Throws VaultError. */
export function pageOf(names: readonly string[], size: number, token: string): Page {
  const after = token === "" ? "" : decode(token);
  const rest = names.filter((name) => name > after).sort((a, b) => (a < b ? -1 : 1));
  const page = rest.slice(0, size);
  const last = page.at(-1);
  return { names: page, nextPageToken: last !== undefined && rest.length > size ? encode(last) : "" };
}

function encode(name: string): string {
  return Buffer.from(name, "utf8").toString("base64url");
}

function decode(token: string): string {
  const name = Buffer.from(token, "base64url").toString("utf8");
  if (NAME.test(name) && encode(name) === token) return name;
  throw new VaultError("invalid_page_token", "The page token is not one that a list gave: start again without one");
}
