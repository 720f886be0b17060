// The form of refresh tokens: `wrt_<family>.<64 characters>`, of 32 secret bytes and a tag of 16 by which this service
// knows its own tokens without storing them. Each successor is derived from the token it follows, so it can be given
// again without having been stored: neither the stored state nor this service's key is enough to make one.
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { deriveKey } from "../seal.ts";

const SECRET_BYTES = 32;
const TAG_BYTES = 16;
const FORM = /^wrt_(?<family>[0-9a-f]{32})\.(?<body>[A-Za-z0-9_-]{64})$/;

/** Makes and recognises refresh tokens. */
export interface RefreshTokenMint {
  /** The first token of a family. */
  first(family: string): string;
  /** The token that follows `predecessor` as number `counter`: the same each time. */
  successor(family: string, counter: number, predecessor: string): string;
  /** The family that a token names, and whether it was made here (under this secret); undefined when it has not the form of one. */
  read(token: string): { family: string; authentic: boolean } | undefined;
}

/** A new name for a family: 128 random bits in hex. */
export function newFamily(): string {
  return randomBytes(16).toString("hex");
}

/** The mint of a service whose sealing key (32 bytes) is `secret`. */
export function createRefreshTokenMint(secret: Uint8Array): RefreshTokenMint {
  const successorKey = deriveKey(secret, "refresh-successor");
  const tagKey = deriveKey(secret, "refresh-tag");
  const tagOf = (family: string, bytes: Uint8Array): Buffer =>
    createHmac("sha256", tagKey).update(family).update(bytes).digest().subarray(0, TAG_BYTES);
  const format = (family: string, bytes: Uint8Array): string =>
    `wrt_${family}.${Buffer.concat([bytes, tagOf(family, bytes)]).toString("base64url")}`;
  return {
    first: (family) => format(family, randomBytes(SECRET_BYTES)),
    successor: (family, counter, predecessor) =>
      format(family, createHmac("sha256", successorKey).update(`${counter}\n${predecessor}`).digest()),
    read(token) {
      const { family, body } = FORM.exec(token)?.groups ?? {};
      if (!family || !body) return undefined;
      const bytes = Buffer.from(body, "base64url");
      const right = tagOf(family, bytes.subarray(0, SECRET_BYTES));
      return { family, authentic: timingSafeEqual(right, bytes.subarray(SECRET_BYTES)) };
    },
  };
}
