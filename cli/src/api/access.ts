// Where the token comes from. A token is only ever sent to the gateway it was issued by.
import { join } from "node:path";
import { readFile } from "node:fs/promises";
import { CliError, ExitCode, systemCode, usageError } from "../errors.ts";
import { readPrivateFile } from "./private-file.ts";
import { type Profile, readProfile } from "./profile.ts";
import { renewedToken, type RenewOptions } from "./renewal.ts";
import { type Credentials, type Fetch, isLoopback } from "./transport.ts";

/** A way to prove who asks. */
export interface Access {
  readonly kind: "token-file" | "profile" | "operator";
  /** Who asks, for remembering what belongs to whom: never a secret. */
  readonly identity: string;
  /** What to tell a person whose token may not do something. */
  readonly hint: string;
  /** The token, and the key it goes with. `rejected` is one the gateway has just refused: undefined when there is no other. */
  credentials(rejected?: string): Promise<Credentials | undefined>;
}

/** What decides which access is used. */
export interface AccessSources {
  readonly url: string;
  /** `--token-file`, `WARREN_TOKEN_FILE`. */
  readonly tokenFile: string | undefined;
  readonly profileFile: string;
  /** The profile was named on the command line: no other access will do. */
  readonly profileNamed: boolean;
  readonly dataDir: string;
  readonly fetch: Fetch;
}

/**
 * Finds the access for a gateway: the token file, else the profile paired with it, else the operator's token on this machine.
 * @throws CliError (denied) when there is none.
 */
export async function findAccess(sources: AccessSources): Promise<Access> {
  if (sources.tokenFile !== undefined) return tokenFileAccess(sources.tokenFile);
  const profile = await readProfile(sources.profileFile);
  if (profile?.url === sources.url) return profileAccess(sources, profile);
  if (sources.profileNamed)
    throw profile
      ? usageError(`${sources.profileFile} is paired with ${profile.url}, not with ${sources.url}`)
      : new CliError(ExitCode.denied, `there is no profile ${sources.profileFile}`, "make it with: warren pair");
  const operator = await operatorAccess(sources.url, sources.dataDir);
  if (operator) return operator;
  throw new CliError(
    ExitCode.denied,
    `this device is not paired with ${sources.url}`,
    'pair it with "warren pair", or pass the operator\'s token with --token-file',
  );
}

/**
 * The operator's access: the token file, else the one a gateway on this machine keeps in its data directory.
 * @throws CliError (denied) when there is none.
 */
export async function findOperatorAccess(sources: AccessSources): Promise<Access> {
  if (sources.tokenFile !== undefined) return tokenFileAccess(sources.tokenFile);
  const operator = await operatorAccess(sources.url, sources.dataDir);
  if (operator) return operator;
  throw new CliError(
    ExitCode.denied,
    `there is no operator's token for ${sources.url} in ${sources.dataDir}`,
    "run this where the gateway runs with WARREN_DATA_DIR set as there, or pass --token-file",
  );
}

async function tokenFileAccess(file: string): Promise<Access> {
  const token = await readFile(file, "utf8").catch((error: unknown) => {
    throw usageError(`the token file ${file} cannot be read (${systemCode(error)})`);
  });
  return fixed("token-file", `token-file:${file}`, checkedToken(token, file), `the token in ${file} may not do this`);
}

async function operatorAccess(url: string, dataDir: string): Promise<Access | undefined> {
  // The data directory is this machine's: its token means nothing elsewhere, and must not go there.
  if (!isLoopback(url)) return undefined;
  const file = join(dataDir, "operator-token");
  const token = await readPrivateFile(file);
  if (token === undefined) return undefined;
  return fixed("operator", "operator", checkedToken(token, file), `${file} may belong to another gateway`);
}

function fixed(kind: Access["kind"], identity: string, token: string, hint: string): Access {
  return { kind, identity, hint, credentials: async (rejected) => (rejected === undefined ? { token } : undefined) };
}

function profileAccess(sources: AccessSources, profile: Profile): Access {
  const options: RenewOptions = { file: sources.profileFile, fetch: sources.fetch };
  const scopes = profile.scopes.join(", ") || "nothing";
  return {
    kind: "profile",
    identity: `device:${profile.deviceId}`,
    hint: `this device may: ${scopes}. Pair again with --scope, or pass the operator's token with --token-file`,
    credentials: (rejected) => renewedToken(options, rejected),
  };
}

function checkedToken(text: string, file: string): string {
  const token = text.trim();
  if (/^[\x21-\x7e]{1,8192}$/.test(token)) return token;
  throw usageError(`${file} holds no token: one line without spaces was expected`);
}
