// The operator's token: a file on the machine of the auth service, readable by its owner alone. Who can read it, operates the mesh.
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { link, mkdir, open, rm, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { Store } from "./compare-and-set.ts";
import type { Clock } from "./clock.ts";
import { sha256 } from "./hash.ts";
import { type CredentialRecord, registerCredential, revokeCredential } from "./tokens/credentials.ts";

const FORM = /^wop_(?<id>[0-9a-f]{16})_[A-Za-z0-9_-]{43}$/;
const GROUP_OR_WORLD = 0o077;

/** The operator's token file cannot be used. The message says why and what to do; it never holds the token. */
export class OperatorTokenError extends Error {
  override readonly name = "OperatorTokenError";
}

/**
 * The operator's token of a file, which is made (mode 0600, all at once) where there is none.
 * @throws OperatorTokenError when others may read the file, or it holds no token.
 */
export async function operatorToken(path: string): Promise<string> {
  return (await read(path)) ?? (await create(path));
}

/** Lets the gateway know the operator's token, unless it does already. @returns the token's id. */
export async function registerOperator(deps: {
  readonly credentials: Store<CredentialRecord>;
  readonly token: string;
  readonly clock: Clock;
}): Promise<string> {
  const { credentials, token, clock } = deps;
  const id = FORM.exec(token)?.groups?.["id"];
  if (!id) throw new OperatorTokenError("The operator's token has not the form wop_<id>_<secret>");
  await registerCredential(credentials, id, {
    kind: "operator",
    hash: sha256(token),
    principal: "operator",
    tenant: "default",
    scopes: ["*"],
    createdAt: clock(),
  });
  return id;
}

/**
 * Replaces the operator's token: the file gets a new one, the old one ends everywhere.
 * @returns the new token's id.
 */
export async function replaceOperator(deps: {
  readonly credentials: Store<CredentialRecord>;
  readonly file: string;
  readonly clock: Clock;
}): Promise<string> {
  const { credentials, file, clock } = deps;
  // Whatever is wrong with the old file is no reason to keep it.
  const old = await read(file).catch(() => undefined);
  const oldId = old && FORM.exec(old)?.groups?.["id"];
  await rm(file, { force: true });
  const id = await registerOperator({ credentials, token: await operatorToken(file), clock });
  if (oldId && oldId !== id) await revokeCredential(credentials, oldId, clock());
  return id;
}

async function read(path: string): Promise<string | undefined> {
  // A link could lead to a file that somebody else writes; a pipe would wait for ever.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    if (error.code === "ELOOP")
      throw new OperatorTokenError(`${path} is a symbolic link: name the file itself in WARREN_OPERATOR_TOKEN_FILE`);
    throw new OperatorTokenError(`${path} cannot be read (${error.code}): give it to the user that runs the service`);
  });
  if (!file) return undefined;
  try {
    const status = await file.stat();
    if (!status.isFile()) throw new OperatorTokenError(`${path} is no file: name one in WARREN_OPERATOR_TOKEN_FILE`);
    const { mode } = status;
    if ((mode & GROUP_OR_WORLD) !== 0) {
      const octal = (mode & 0o777).toString(8).padStart(4, "0");
      throw new OperatorTokenError(
        `${path} has mode ${octal}: others may have read it. Delete it to get a new token, or run chmod 600 ${path}`,
      );
    }
    const token = (await file.readFile("utf8")).trim();
    if (!FORM.test(token)) throw new OperatorTokenError(`${path} holds no operator token: delete it to get a new one`);
    return token;
  } finally {
    await file.close();
  }
}

async function create(path: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const token = `wop_${randomBytes(8).toString("hex")}_${randomBytes(32).toString("base64url")}`;
  const draft = `${path}.${randomBytes(8).toString("hex")}`;
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(`${token}\n`);
    await file.sync();
    // A link takes the name only when it is free: of several replicas that start at once, one makes the file.
    await link(draft, path);
    return token;
  } catch (error) {
    const other = (error as NodeJS.ErrnoException).code === "EEXIST" ? await read(path) : undefined;
    if (other) return other;
    throw error;
  } finally {
    await file.close();
    await unlink(draft);
  }
}
