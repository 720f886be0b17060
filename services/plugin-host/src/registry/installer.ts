// Installing: get the package, check the grants, write the record, and see it run; or leave everything as it was.
import { randomUUID } from "node:crypto";
import { type CallContext, type Entry, type Kv, RpcError, StatusCode } from "@warren/mesh";
import { ManifestError, PackageError } from "@warren/plugin-manifest";
import { type InstallPluginRequest, type PluginRecord, ResourceLimits } from "@warren/proto/warren/plugins/v1/plugins";
import { PluginFault } from "../lifecycle/runner.ts";
import type { Supervisor } from "../lifecycle/supervisor.ts";
import { checkGrants, GrantsRefused } from "../permissions/guard.ts";
import { mountsOf } from "../permissions/mounts.ts";
import { CommandLineRefused, parseNpx } from "./command-line.ts";
import { installMcp, McpInstallFailed, type NpmOptions } from "./mcp-install.ts";
import { PackageMissing, type PackageStore } from "./store.ts";

/** What installing works with. */
export interface InstallDependencies {
  readonly records: Kv<PluginRecord>;
  readonly store: PackageStore;
  readonly supervisor: Supervisor;
  readonly npm: NpmOptions;
  readonly forbidden: readonly string[];
  /** The record is written. */
  readonly onInstalled: (record: PluginRecord) => void;
  /** Nothing refers to a package any more. */
  readonly onUnreferenced: (digest: string) => void;
}

/** How many log lines a refusal tells. */
const TOLD_LINES = 5;

/**
 * Installs a plugin and waits until this host runs it.
 * @throws RpcError ALREADY_EXISTS for an id in use, FAILED_PRECONDITION when it does not come up or lacks a grant,
 * INVALID_ARGUMENT for a source or a grant that cannot be read. Then nothing is installed, or what was there before still is.
 */
export async function install(
  deps: InstallDependencies,
  request: InstallPluginRequest,
  ctx: CallContext,
): Promise<PluginRecord> {
  const { records, store } = deps;
  // The cheap refusals come before npm is run.
  if (request.id && !request.replace && (await records.get(request.id))) throw inUse(request.id);
  if (request.config && Object.keys(request.config).length)
    throw precondition(
      "This version cannot pass a configuration to plugins: install without one",
      "CONFIG_UNSUPPORTED",
    );
  try {
    const { digest, origin } = await resolveSource(deps, request, ctx);
    const { manifest } = await store.ensure(digest);
    checkGrants(request.grants, manifest.permissions.required);
    await mountsOf(request.grants, deps.forbidden);
    const record: PluginRecord = {
      id: request.id || manifest.id,
      version: manifest.version,
      packageDigest: digest,
      manifestJson: JSON.stringify(manifest),
      grants: [...new Set(request.grants)],
      config: undefined,
      limits: ResourceLimits.fromPartial({
        ...manifest.limits,
        memoryBytes: BigInt(manifest.limits.memoryBytes),
        tmpBytes: BigInt(manifest.limits.tmpBytes),
      }),
      installTime: new Date(),
      origin: origin || manifest.id,
      installedBy: ctx.caller.principal,
      generation: randomUUID(),
    };
    const before = await records.get(record.id);
    if (before && !request.replace) throw inUse(record.id);
    const revision = before ? await records.update(record.id, record, before.revision) : await create(records, record);
    await seeItRun(deps, record, before, revision, ctx.signal);
    deps.onInstalled(record);
    if (before && before.value.packageDigest !== digest) deps.onUnreferenced(before.value.packageDigest);
    return record;
  } catch (error) {
    throw toRpc(error);
  }
}

async function resolveSource(
  deps: InstallDependencies,
  { source, id }: InstallPluginRequest,
  ctx: CallContext,
): Promise<{ digest: string; origin: string }> {
  if (source?.$case === "packageDigest") {
    if (!(await deps.store.has(source.value))) throw new PackageMissing(source.value);
    return { digest: source.value, origin: "" };
  }
  if (source?.$case === "mcp") {
    const { commandLine } = source.value;
    const made = await installMcp(parseNpx(commandLine), id || undefined, deps.npm, ctx.signal);
    await deps.store.put(made.bytes, made.digest);
    return { digest: made.digest, origin: commandLine };
  }
  throw new RpcError(
    StatusCode.INVALID_ARGUMENT,
    "packageDigest or mcp is required: where does the plugin come from?",
    {
      violations: [{ field: "source", description: "is required: packageDigest or mcp" }],
    },
  );
}

async function create(records: Kv<PluginRecord>, record: PluginRecord): Promise<number> {
  try {
    return await records.create(record.id, record);
  } catch (error) {
    throw error instanceof RpcError && error.code === StatusCode.ALREADY_EXISTS ? inUse(record.id) : error;
  }
}

async function seeItRun(
  deps: InstallDependencies,
  record: PluginRecord,
  before: Entry<PluginRecord> | undefined,
  revision: number,
  signal: AbortSignal,
): Promise<void> {
  const { records, store, supervisor } = deps;
  let lines: string[] = [];
  try {
    // Between our look and our record, whoever removed the last plugin of this package may have taken it away.
    if (!(await store.has(record.packageDigest))) throw new PackageMissing(record.packageDigest);
    const runner = await supervisor.awaitRunner(record.id, record.generation, signal);
    if (!runner) throw new RpcError(StatusCode.DEADLINE_EXCEEDED, "this host did not take it up in time");
    try {
      await runner.settled(signal);
    } finally {
      lines = runner.log.tail(TOLD_LINES).map(({ source, text }) => `${source}: ${text}`);
    }
  } catch (error) {
    // Somebody else's newer installation is not ours to undo.
    if (before) await records.update(record.id, { ...before.value, generation: randomUUID() }, revision).catch(ignore);
    else await records.delete(record.id, revision).catch(ignore);
    if (before?.value.packageDigest !== record.packageDigest) deps.onUnreferenced(record.packageDigest);
    const reason = error instanceof Error ? error.message : String(error);
    const told = lines.length ? `. Its last log lines: ${lines.join(" | ")}` : "";
    throw precondition(`${record.id} was not installed, because it did not come up: ${reason}${told}`, "PLUGIN_FAILED");
  }
}

/** What goes wrong while installing is, where it is known, for the person who installs to read. */
function toRpc(error: unknown): unknown {
  if (error instanceof CommandLineRefused) {
    if (error.unsupported) return precondition(error.message, "SOURCE_UNSUPPORTED");
    return new RpcError(StatusCode.INVALID_ARGUMENT, error.message, {
      violations: [{ field: "mcp.commandLine", description: error.message }],
    });
  }
  if (error instanceof GrantsRefused) {
    if (!error.malformed) return precondition(error.message, "GRANTS_REFUSED");
    return new RpcError(StatusCode.INVALID_ARGUMENT, error.message, {
      violations: [{ field: "grants", description: error.message }],
    });
  }
  if (error instanceof PackageMissing) return precondition(error.message, "PACKAGE_MISSING");
  const isKnown = [McpInstallFailed, PackageError, ManifestError, PluginFault].some((type) => error instanceof type);
  return isKnown ? precondition((error as Error).message, "PACKAGE_REFUSED") : error;
}

function precondition(message: string, reason: string): RpcError {
  return new RpcError(StatusCode.FAILED_PRECONDITION, message, { reason });
}

function inUse(id: string): RpcError {
  return new RpcError(
    StatusCode.ALREADY_EXISTS,
    `A plugin ${id} is installed already: remove it, replace it, or choose another id`,
    { reason: "PLUGIN_EXISTS" },
  );
}

function ignore(): void {
  // The record changed in the meantime.
}
