// The methods of the contract: who may, what the vault says, and a trace of it in the audit without the value.
import { type CallContext, type Handlers, RpcError, StatusCode } from "@warren/mesh";
import type { Logger } from "@warren/service";
import type { SecretAccessed } from "@warren/proto/warren/events/v1/events";
import type { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import type { Leases } from "./leases.ts";
import type { SecretAction } from "./metrics.ts";
import { KeyRingError, VaultError, type VaultErrorCode } from "./vault/errors.ts";
import type { Vault } from "./vault/vault.ts";

const DEFAULT_PAGE_SIZE = 100;
const PLUGIN_HOST = "service:plugin-host";

/** What the handlers stand on. */
export interface HandlerDependencies {
  readonly vault: Vault;
  readonly leases: Leases;
  /** Publishes the audited event. */
  readonly audit: (event: SecretAccessed) => Promise<void>;
  readonly log: Logger;
}

/** The handlers of warren.secrets.v1.SecretsService. They throw RpcError; a value is in no error, event or log line of theirs. */
export function createHandlers(deps: HandlerDependencies): Handlers<typeof SecretsServiceDefinition> {
  const { vault, leases, log } = deps;

  /** A value leaves only after its reading is audited: without the audit the call fails. */
  const audited = async (access: Access, ctx: CallContext): Promise<void> => {
    const { action, name, version = 0, pluginId = "" } = access;
    const { principal, tenant } = ctx.caller;
    log.debug({ action, tenant, name, version, principal, pluginId }, "A secret was accessed");
    await deps.audit({ action, name, version, principal, pluginId, time: new Date() });
  };

  /** What is written cannot be taken back: an audit that fails then goes to the log instead of to the caller. */
  const auditedAfterwards = async (access: Access, ctx: CallContext): Promise<void> => {
    try {
      await audited(access, ctx);
    } catch (err) {
      const { principal, tenant } = ctx.caller;
      log.error(
        { ...access, tenant, principal, err },
        "A secret was changed, and the audit event could not be published",
      );
    }
  };

  const rpc = async <T>(ctx: CallContext, work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      const unusable = error instanceof KeyRingError || (error instanceof VaultError && error.code === "corrupt");
      if (unusable)
        log.error({ tenant: ctx.caller.tenant, err: error }, "A stored secret could not be opened or sealed");
      throw toRpc(error);
    }
  };

  return {
    putSecret: ({ name, value, ifVersion, description }, ctx) =>
      rpc(ctx, async () => {
        assertNotPluginHost(ctx);
        const { tenant } = ctx.caller;
        const secret = await vault.put({ tenant, name, value, ifVersion, description }, ctx.signal);
        await auditedAfterwards({ action: "put", name, version: secret.version }, ctx);
        return secret;
      }),

    getSecret: ({ name, version }, ctx) =>
      rpc(ctx, async () => {
        assertNotPluginHost(ctx);
        const secret = await vault.get({ tenant: ctx.caller.tenant, name }, version);
        await audited({ action: "get", name, version: secret.version }, ctx);
        return secret;
      }),

    listSecrets: ({ pageSize, pageToken }, ctx) =>
      rpc(ctx, () => {
        assertNotPluginHost(ctx);
        return vault.list(ctx.caller.tenant, pageSize || DEFAULT_PAGE_SIZE, pageToken);
      }),

    deleteSecret: ({ name }, ctx) =>
      rpc(ctx, async () => {
        assertNotPluginHost(ctx);
        const existed = await vault.delete({ tenant: ctx.caller.tenant, name }, ctx.signal);
        // A second try of a call whose first answer was lost finds the work done.
        if (!existed && ctx.attempt === 1) throw new VaultError("not_found", `There is no secret "${name}"`);
        await auditedAfterwards({ action: "delete", name }, ctx);
        return {};
      }),

    leaseSecret: ({ name, pluginId, instanceId, ttlSeconds }, ctx) =>
      rpc(ctx, async () => {
        assertPluginHost(ctx);
        const { tenant } = ctx.caller;
        const { version, value } = await vault.get({ tenant, name });
        await audited({ action: "lease", name, version, pluginId }, ctx);
        const lease = leases.grant({ tenant, pluginId, instanceId }, { name, version }, ttlSeconds);
        return { id: lease.id, value, version, expireTime: new Date(lease.expiresAt) };
      }),

    revokeLeases: ({ pluginId, instanceId }, ctx) =>
      rpc(ctx, async () => {
        assertPluginHost(ctx);
        const ended = leases.revoke({ tenant: ctx.caller.tenant, pluginId, instanceId });
        log.debug({ pluginId, instanceId, ended: ended.length }, "Leases were revoked");
        return {};
      }),
  };
}

interface Access {
  readonly action: SecretAction;
  readonly name: string;
  readonly version?: number;
  readonly pluginId?: string;
}

function isPluginHost({ caller }: CallContext): boolean {
  return caller.principal === PLUGIN_HOST || caller.principal.startsWith(`${PLUGIN_HOST}:`);
}

function assertPluginHost(ctx: CallContext): void {
  if (isPluginHost(ctx)) return;
  throw new RpcError(StatusCode.PERMISSION_DENIED, "Only plugin hosts lease secrets", { reason: "NOT_A_PLUGIN_HOST" });
}

/** A host that runs untrusted plugins gets values by lease alone, where each one is bound to a plugin. */
function assertNotPluginHost(ctx: CallContext): void {
  if (!isPluginHost(ctx)) return;
  throw new RpcError(StatusCode.PERMISSION_DENIED, "Plugin hosts only lease secrets", { reason: "LEASE_ONLY" });
}

const statusOf = {
  not_found: { code: StatusCode.NOT_FOUND, reason: "SECRET_NOT_FOUND" },
  already_exists: { code: StatusCode.ALREADY_EXISTS, reason: "SECRET_EXISTS" },
  conflict: { code: StatusCode.ABORTED, reason: "VERSION_MISMATCH" },
  invalid_value: { code: StatusCode.INVALID_ARGUMENT, reason: "INVALID_VALUE", field: "value" },
  invalid_page_token: { code: StatusCode.INVALID_ARGUMENT, reason: "INVALID_PAGE_TOKEN", field: "pageToken" },
  corrupt: { code: StatusCode.DATA_LOSS, reason: "SECRET_UNREADABLE" },
} as const satisfies Record<VaultErrorCode, { code: StatusCode; reason: string; field?: string }>;

function toRpc(error: unknown): unknown {
  if (error instanceof KeyRingError) {
    // Its message is for who runs the vault: it names files.
    const message = "The vault cannot use its key ring: the log of the secrets service says why";
    return new RpcError(StatusCode.UNAVAILABLE, message, { reason: "KEY_RING_UNUSABLE" }, { cause: error });
  }
  if (!(error instanceof VaultError)) return error;
  const status = statusOf[error.code];
  const violations = "field" in status ? { violations: [{ field: status.field, description: error.message }] } : {};
  return new RpcError(status.code, error.message, { reason: status.reason, ...violations }, { cause: error });
}
