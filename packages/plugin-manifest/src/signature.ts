import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { z } from "zod";
import { SignatureError } from "./errors.ts";
import { type FileEntry, sortByPath } from "./package.ts";

/** What a signature vouches for: which plugin, until when, and every file. */
export interface PackageStatement {
  readonly id: string;
  readonly version: string;
  /** Of the public key: {@link keyIdOf}. */
  readonly keyId: string;
  /** ISO 8601, UTC. After it the signature does not count any more. */
  readonly expires: string;
  /** Every file of the package, none left out. */
  readonly files: readonly FileEntry[];
}

/** A signature, kept beside the package it speaks of. */
export interface SignedStatement {
  readonly statement: PackageStatement;
  /** Ed25519 (RFC 8032) over the statement's canonical bytes, base64. */
  readonly signature: string;
}

/** Whose signatures count. */
export interface TrustedKeys {
  /** Public Ed25519 keys by {@link keyIdOf}. */
  readonly keys: ReadonlyMap<string, KeyObject>;
  /** Key ids that count no more, whatever they signed and whenever. */
  readonly revoked: ReadonlySet<string>;
}

/** Begins what is signed, so that no signature made for another purpose can be passed off as one of a package. */
const purpose = "warren package statement 1\n";

const signedStatementSchema = z.strictObject({
  statement: z.strictObject({
    id: z.string().min(1).max(48),
    version: z.string().min(1).max(128),
    keyId: z.string().regex(/^[0-9a-f]{32}$/),
    expires: z.iso.datetime(),
    files: z
      .array(
        z.strictObject({
          path: z.string().min(1).max(512),
          mode: z.enum(["0644", "0755"]),
          size: z.int().min(0),
          sha256: z.string().regex(/^[0-9a-f]{64}$/),
        }),
      )
      .max(50_000),
  }),
  signature: z.base64().length(88),
});

/** Names a key: the first 16 bytes of the SHA-256 of the public key's SPKI form, hexadecimal. Takes either half of a pair. */
export function keyIdOf(key: KeyObject): string {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  const spki = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("hex").slice(0, 32);
}

/**
 * Signs a package's files.
 *
 * @param privateKey an Ed25519 private key.
 * @throws TypeError when the key is of another kind.
 */
export function signPackage(
  content: { readonly id: string; readonly version: string; readonly files: readonly FileEntry[] },
  privateKey: KeyObject,
  expires: Date,
): SignedStatement {
  if (privateKey.asymmetricKeyType !== "ed25519") throw new TypeError("packages are signed with an Ed25519 key");
  const { id, version, files } = content;
  const statement = {
    id,
    version,
    keyId: keyIdOf(privateKey),
    expires: expires.toISOString(),
    files: sortByPath(files),
  };
  return { statement, signature: sign(null, canonicalBytes(statement), privateKey).toString("base64") };
}

/**
 * Checks that a trusted key vouches for exactly this plugin, this version and these files, now.
 *
 * @param signed the signature, as it came: it is not trusted to have any shape.
 * @throws SignatureError saying which of these is not so.
 */
export function verifyPackage(
  signed: unknown,
  content: { readonly id: string; readonly version: string; readonly files: readonly FileEntry[] },
  trusted: TrustedKeys,
  now: Date,
): PackageStatement {
  const parsed = signedStatementSchema.safeParse(signed);
  if (!parsed.success) throw new SignatureError("MALFORMED", "the signature is not a signed package statement");
  const { statement, signature } = parsed.data;
  if (trusted.revoked.has(statement.keyId)) {
    throw new SignatureError("REVOKED_KEY", `the package is signed with key ${statement.keyId}, which is revoked`);
  }
  const key = trusted.keys.get(statement.keyId);
  if (key === undefined || keyIdOf(key) !== statement.keyId) {
    throw new SignatureError(
      "UNKNOWN_KEY",
      `the package is signed with key ${statement.keyId}, which is not trusted here`,
    );
  }
  const isEd25519 = key.asymmetricKeyType === "ed25519";
  if (!isEd25519 || !verify(null, canonicalBytes(statement), key, Buffer.from(signature, "base64"))) {
    throw new SignatureError(
      "BAD_SIGNATURE",
      `the signature was not made by key ${statement.keyId} over this statement`,
    );
  }
  if (Date.parse(statement.expires) <= now.getTime()) {
    throw new SignatureError("EXPIRED", `the signature expired at ${statement.expires}: sign the package again`);
  }
  checkContent(statement, content);
  return statement;
}

function checkContent(
  statement: PackageStatement,
  content: { readonly id: string; readonly version: string; readonly files: readonly FileEntry[] },
): void {
  if (statement.id !== content.id || statement.version !== content.version) {
    throw new SignatureError(
      "MISMATCH",
      `the signature is for ${statement.id} ${statement.version}, not for ${content.id} ${content.version}`,
    );
  }
  const signed = sortByPath(statement.files).map(fileLine);
  const actual = sortByPath(content.files).map(fileLine);
  const differing = actual.find((line, index) => line !== signed[index]) ?? signed[actual.length];
  if (differing !== undefined) {
    throw new SignatureError(
      "MISMATCH",
      `the files are not those that were signed; the first that differs: ${differing}`,
    );
  }
}

function fileLine(file: FileEntry): string {
  return JSON.stringify([file.path, file.mode, file.size, file.sha256]);
}

/** One statement has one form: fixed order of fields, files by path, JSON's own escapes, UTF-8. */
function canonicalBytes(statement: PackageStatement): Buffer {
  const { id, version, keyId, expires, files } = statement;
  const rows = sortByPath(files).map(({ path, mode, size, sha256 }) => [path, mode, size, sha256]);
  return Buffer.from(purpose + JSON.stringify([id, version, keyId, expires, rows]));
}
