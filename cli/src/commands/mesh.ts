import type { Command } from "commander";
import { resolve } from "node:path";
import { wholeNumber } from "../config.ts";
import { answer, type Context, type GlobalOptions } from "../context.ts";
import { CliError, ExitCode, usageError } from "../errors.ts";
import type { MeshParts } from "../parts.ts";

interface CredentialOptions extends GlobalOptions {
  readonly out?: string;
  readonly secrets?: string;
  readonly except?: string;
  readonly instance?: string;
  readonly owner?: string;
  readonly renew?: string;
  readonly generations?: string;
}

interface NatsOptions extends GlobalOptions {
  readonly keys: string;
  readonly out: string;
  readonly name: string;
  readonly port: string;
  readonly storeDir: string;
  readonly maxStore?: string;
  readonly monitor?: string;
  readonly routes?: string;
  readonly advertise?: string;
  readonly syncAlways?: boolean;
  readonly tls?: string;
  readonly owner?: string;
}

/** `warren mesh …`: what a deployed mesh starts with. For init containers and for who installs by hand. */
export function registerMesh(program: Command, context: Context): void {
  const mesh = program.command("mesh").description("make what a deployed mesh starts with");
  mesh
    .command("credentials")
    .description("make the credentials and keys of a mesh; what is there already is kept")
    .option("--out <folder>", "write them as files, a folder for each part")
    .option("--secrets <prefix>", "inside Kubernetes: write them as Secrets <prefix>-<part>")
    .option("--except <parts>", "parts that get none, by commas (with --secrets)")
    .option("--instance <name>", "label of the Secrets: app.kubernetes.io/instance")
    .option("--owner <uid:gid>", "give the parts' files to this user (with --out)")
    .option(
      "--generations <words>",
      "kind=word, by commas: a kind whose word has changed is made anew (with --secrets)",
    )
    .option("--renew <kinds>", "make these anew, by commas: mesh, route, redis, operator (with --out)")
    .action(async (_options: CredentialOptions, command: Command) =>
      credentials(context, command.optsWithGlobals<CredentialOptions>()),
    );
  mesh
    .command("nats-config")
    .description("write the configuration of a nats-server, with the permissions of this version's policy")
    .requiredOption("--keys <folder>", "the folder of the part nats")
    .requiredOption("--out <file>", "the file to write")
    .option("--name <name>", "the server's name, its own in a cluster", "warren")
    .option("--port <port>", "where clients connect", "4222")
    .option("--store-dir <folder>", "where JetStream keeps its files", "/data")
    .option("--max-store <bytes>", "what JetStream may hold, such as 9G")
    .option("--monitor <address>", "answer health checks on host:port")
    .option("--routes <addresses>", "the servers of the cluster as host:port, by commas")
    .option("--advertise <address>", "this server's address for the others, host:port")
    .option("--sync-always", "write each message to disk before acknowledging it")
    .option("--tls <folder>", "speak TLS with tls.crt, tls.key and ca.crt in this folder")
    .option("--owner <uid:gid>", "give the file to this user")
    .action(async (_options: NatsOptions, command: Command) =>
      natsConfig(context, command.optsWithGlobals<NatsOptions>()),
    );
}

async function credentials(context: Context, options: CredentialOptions): Promise<void> {
  const parts = await context.meshParts();
  if ((options.out === undefined) === (options.secrets === undefined))
    throw usageError("say where to: --out <folder> or --secrets <prefix>", "warren mesh credentials --help");
  const written = await work(() => (options.out === undefined ? asSecrets(parts, options) : asFiles(parts, options)));
  answer(context, options, { written }, () =>
    written.length === 0 ? "everything is there" : `wrote ${written.join(", ")}`,
  );
}

function asFiles(parts: MeshParts, { out = "", owner, renew }: CredentialOptions): string[] {
  return parts.ensureFolder({ folder: resolve(out), owner: ownerOf(owner), renew: kindsOf(parts, renew) });
}

function asSecrets(parts: MeshParts, options: CredentialOptions): Promise<string[]> {
  const { secrets: prefix = "", except, instance, renew, owner, generations } = options;
  if (renew !== undefined || owner !== undefined)
    throw usageError("--renew and --owner go with --out", "docs/guides/operate.md shows how to renew on Kubernetes");
  if (!/^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$/.test(prefix))
    throw usageError("--secrets takes lower-case letters, digits and dashes, 42 at most");
  const unknown = list(except).find((part) => !parts.partNames().includes(part));
  if (unknown !== undefined) throw usageError(`there is no part ${unknown}`, `parts: ${parts.partNames().join(", ")}`);
  const words = Object.fromEntries(list(generations).map((each) => generationOf(parts, each)));
  const labels = {
    "app.kubernetes.io/managed-by": "warren",
    ...(instance === undefined ? {} : { "app.kubernetes.io/instance": instance }),
  };
  return parts.ensureSecrets({
    api: parts.inClusterApi(),
    prefix,
    labels,
    except: list(except),
    generations: words,
  });
}

async function natsConfig(context: Context, options: NatsOptions): Promise<void> {
  const parts = await context.meshParts();
  const { keys, out, name, storeDir, maxStore, monitor, routes, advertise, syncAlways, tls, owner } = options;
  await work(() =>
    parts.writeNatsConfig({
      keys: resolve(keys),
      out: resolve(out),
      serverName: name,
      port: wholeNumber("--port", options.port, 1, 65_535),
      storeDir,
      maxStore,
      monitor,
      routes: routes === undefined ? undefined : list(routes),
      advertise,
      syncAlways,
      tls: tls === undefined ? undefined : pem(tls),
      owner: ownerOf(owner),
    }),
  );
  answer(context, options, { written: [out] }, () => `wrote ${out}`);
}

function pem(folder: string): { certFile: string; keyFile: string; caFile: string } {
  // As a Secret of type kubernetes.io/tls names them.
  return { certFile: `${folder}/tls.crt`, keyFile: `${folder}/tls.key`, caFile: `${folder}/ca.crt` };
}

/** What goes wrong here is a file or the API: its own words say which. */
async function work<T>(what: () => T | Promise<T>): Promise<T> {
  try {
    return await what();
  } catch (error) {
    if (error instanceof CliError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(ExitCode.failure, why, undefined, { cause: error });
  }
}

function generationOf({ kinds }: MeshParts, text: string): [string, string] {
  const [, name = "", word = ""] = /^([a-z]+)=([\w.-]{1,64})$/.exec(text) ?? [];
  if (!kinds.some((kind) => kind === name))
    throw usageError(`--generations does not know ${text}`, `write kind=word; kinds: ${kinds.join(", ")}`);
  return [name, word];
}

function kindsOf({ kinds }: MeshParts, text: string | undefined): (typeof kinds)[number][] {
  return list(text).map((word) => {
    const kind = kinds.find((each) => each === word);
    if (kind === undefined) throw usageError(`--renew does not know ${word}`, `kinds: ${kinds.join(", ")}`);
    return kind;
  });
}

function ownerOf(text: string | undefined): { uid: number; gid: number } | undefined {
  if (text === undefined) return undefined;
  const [, uid, gid] = /^(\d{1,9}):(\d{1,9})$/.exec(text) ?? [];
  if (uid === undefined || gid === undefined) throw usageError("--owner takes a user and a group number: 10001:10001");
  return { uid: Number(uid), gid: Number(gid) };
}

function list(text = ""): string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
