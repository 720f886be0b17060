// What every command is given, and how it gets to a gateway.
import { resolve } from "node:path";
import { type Access, type AccessSources, findAccess, findOperatorAccess } from "./api/access.ts";
import { type Client, createClient } from "./api/client.ts";
import { readProfile } from "./api/profile.ts";
import { type Fetch, gatewayUrl, isLoopback } from "./api/transport.ts";
import { type Config, localUrl } from "./config.ts";
import type { Terminal } from "./output/terminal.ts";
import type { LoadMeshParts, PackPlugin, StartLocalStack } from "./parts.ts";

/** The command's dependencies. */
export interface Context {
  readonly config: Config;
  readonly terminal: Terminal;
  readonly fetch: Fetch;
  readonly startLocalStack: StartLocalStack;
  readonly packPlugin: PackPlugin;
  readonly meshParts: LoadMeshParts;
}

/** Options that every command takes. */
export interface GlobalOptions {
  readonly url?: string;
  readonly tokenFile?: string;
  readonly profile?: string;
  readonly json?: boolean;
}

/** The profile's file: `--profile`, else the configured one. */
export function profileFile(context: Context, options: GlobalOptions): string {
  return options.profile === undefined ? context.config.profileFile : resolve(options.profile);
}

/**
 * The gateway's address: `--url`, `WARREN_URL` or `WARREN_HTTP_PORT`, the one this device is paired with, the local one.
 * @throws CliError (usage) when it is not an address.
 */
export async function gatewayOf(context: Context, options: GlobalOptions): Promise<string> {
  const said = options.url ?? (options.profile === undefined ? context.config.url : undefined);
  if (said !== undefined) return gatewayUrl(said);
  // A token from a file is not the profile's, so it does not go to the profile's gateway.
  const fromFile = sourcesOf(context, options, "").tokenFile !== undefined;
  const profile = fromFile ? undefined : await readProfile(profileFile(context, options));
  return gatewayUrl(profile?.url ?? context.config.url ?? localUrl(context.config.httpPort));
}

/** The caller's access to the gateway at `url`. @throws CliError (denied) when there is none. */
export async function accessOf(context: Context, options: GlobalOptions, url: string): Promise<Access> {
  return findAccess(sourcesOf(context, options, url));
}

/** A client with the caller's access. @throws CliError (denied) when there is none. */
export async function connect(context: Context, options: GlobalOptions): Promise<Client> {
  return client(context, options, findAccess);
}

/** A client with the operator's access. @throws CliError (denied) when there is none. */
export async function connectAsOperator(context: Context, options: GlobalOptions): Promise<Client> {
  return client(context, options, findOperatorAccess);
}

/** A client without a token, for public routes. */
export async function connectWithoutToken(context: Context, options: GlobalOptions): Promise<Client> {
  const url = await gatewayOf(context, options);
  warnOfPlaintext(context, url);
  return createClient(url, undefined, context.fetch);
}

/** Writes an answer: the gateway's own JSON with `--json`, else what `human` makes of it. */
export function answer(context: Context, options: GlobalOptions, json: unknown, human: () => string): void {
  if (options.json) context.terminal.json(json);
  else context.terminal.print(human());
}

async function client(
  context: Context,
  options: GlobalOptions,
  find: (sources: AccessSources) => Promise<Access>,
): Promise<Client> {
  const url = await gatewayOf(context, options);
  const access = await find(sourcesOf(context, options, url));
  warnOfPlaintext(context, url);
  return createClient(url, access, context.fetch);
}

function sourcesOf(context: Context, options: GlobalOptions, url: string): AccessSources {
  return {
    url,
    tokenFile: options.tokenFile ?? (options.profile === undefined ? context.config.tokenFile : undefined),
    profileFile: profileFile(context, options),
    profileNamed: options.profile !== undefined,
    dataDir: context.config.dataDir,
    fetch: context.fetch,
  };
}

function warnOfPlaintext({ terminal }: Context, url: string): void {
  if (url.startsWith("https:") || isLoopback(url)) return;
  terminal.note(`${terminal.paintNote("yellow", "warning:")} ${url} is not encrypted: tokens can be read on the way`);
}
