// Pages of a list (AIP-158) that is kept whole in a bucket. A page token names the last entry shown, so that what is
// added or ends meanwhile shifts nothing.
import { RpcError, StatusCode } from "@warren/mesh";

/** Entries of a page when the caller names no number. */
export const DEFAULT_PAGE_SIZE = 100;

/** Which page. */
export interface PageRequest {
  /** 0: {@link DEFAULT_PAGE_SIZE}. */
  readonly pageSize: number;
  /** Empty: the first. */
  readonly pageToken: string;
}

/** A page. */
export interface Page<T> {
  readonly entries: readonly T[];
  /** Empty when there is no more. */
  readonly nextPageToken: string;
}

/**
 * One page of `all`, in the order of creation.
 * @throws RpcError INVALID_ARGUMENT when the page token is none of ours.
 */
export function pageOf<T extends { readonly id: string; readonly createdAt: number }>(
  all: readonly T[],
  { pageSize, pageToken }: PageRequest,
): Page<T> {
  const after = pageToken === "" ? "" : decode(pageToken);
  const rest = all.filter((each) => position(each) > after).toSorted((a, b) => (position(a) < position(b) ? -1 : 1));
  const entries = rest.slice(0, pageSize || DEFAULT_PAGE_SIZE);
  const last = entries.at(-1);
  const more = last && rest.length > entries.length;
  return { entries, nextPageToken: more ? Buffer.from(position(last)).toString("base64url") : "" };
}

/** Where an entry stands in the list: by time of creation, then by id. Sorts as text. */
function position({ createdAt, id }: { readonly id: string; readonly createdAt: number }): string {
  return `${String(createdAt).padStart(15, "0")}.${id}`;
}

function decode(token: string): string {
  const after = Buffer.from(token, "base64url").toString();
  if (/^\d{15}\.[A-Za-z0-9_-]{1,64}$/.test(after)) return after;
  throw badPageToken();
}

/** The page token is none of ours. */
export function badPageToken(): RpcError {
  const violations = [{ field: "pageToken", description: "must be the nextPageToken of an earlier answer" }];
  return new RpcError(StatusCode.INVALID_ARGUMENT, "The page token is not one of this list", { violations });
}
