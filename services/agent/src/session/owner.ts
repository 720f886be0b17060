// Whose a conversation is, and the key it is kept under. A key begins with its owner, so that another's conversation
// cannot be reached, not even by its id.
import type { Caller } from "@warren/mesh";

/** The principal that a conversation belongs to. */
export interface Owner {
  readonly tenant: string;
  readonly principal: string;
}

/** The owner of what a caller creates and sees. */
export function ownerOf(caller: Pick<Caller, "tenant" | "principal">): Owner {
  return { tenant: caller.tenant, principal: caller.principal };
}

/** The first tokens of the keys of all conversations of an owner. */
export function ownerPrefix(owner: Owner): string {
  return `${token(owner.tenant)}.${token(owner.principal)}`;
}

/** The key of one conversation, in the log, the index and the leases. */
export function sessionKey(owner: Owner, sessionId: string): string {
  return `${ownerPrefix(owner)}.${token(sessionId)}`;
}

/** The conversation's id in a key. */
export function sessionIdOf(key: string): string {
  return Buffer.from(key.slice(key.lastIndexOf(".") + 1), "base64url").toString();
}

/** Any text as one token: no dot of an owner or id may part a key. */
function token(text: string): string {
  return Buffer.from(text).toString("base64url");
}
