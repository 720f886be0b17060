// The methods of the second contract: keys for machines, console sessions, the second factor, signing keys, the audit.
import { type Caller, type CallContext, type Handlers, holdsScope, RpcError, StatusCode } from "@warren/mesh";
import type {
  AccessServiceDefinition,
  ConsoleSession,
  OpenedConsoleSession,
  SigningKey,
} from "@warren/proto/warren/auth/v1/access";
import type { ApiKey } from "@warren/proto/warren/auth/v1/auth";
import type { DecisionTrail } from "@warren/service";
import { type AuditLog, auditPage } from "./audit.ts";
import type { ConsoleSessions, OpenedSession, SessionRecord } from "./console/sessions.ts";
import type { Totp } from "./factors/totp.ts";
import { pageOf } from "./pages.ts";
import type { FactorPolicy } from "./pairing/pairing.ts";
import { roles } from "@warren/contract";
import { requestedScopes } from "./scopes.ts";
import type { ApiKeyEntry, ApiKeys } from "./tokens/api-keys.ts";
import type { SigningKeyEntry, SigningKeys } from "./tokens/signing-keys.ts";

/** What the handlers need. */
export interface AccessDeps {
  readonly apiKeys: ApiKeys;
  readonly sessions: ConsoleSessions;
  readonly totp: Totp;
  readonly factorPolicy: FactorPolicy;
  readonly signingKeys: SigningKeys;
  readonly auditLog: AuditLog;
  readonly trail: Pick<DecisionTrail, "record">;
}

/** The handlers of `warren.auth.v1.AccessService`. */
export function createAccessHandlers(deps: AccessDeps): Handlers<typeof AccessServiceDefinition> {
  const { apiKeys, sessions, totp, factorPolicy, signingKeys, auditLog, trail } = deps;

  /** Tells the audit what the gateway cannot know of an action: which thing it made or ended. */
  const tell = (action: string, resource: string, { caller: { principal, address } }: CallContext): void =>
    trail.record({ principal, action, resource, allowed: true, address });

  /** Runs what asks for a second factor; a refusal goes to the audit with its reason. */
  const factored = async <T>(action: string, { caller }: CallContext, run: () => Promise<T>): Promise<T> => {
    const { principal, address } = caller;
    try {
      const result = await run();
      trail.record({ principal, action, allowed: true, address });
      return result;
    } catch (error) {
      const reason = error instanceof RpcError ? error.details.reason : undefined;
      if (reason === "WRONG_FACTOR")
        trail.record({ principal, action, allowed: false, reason: "wrong_factor", address });
      throw error;
    }
  };

  return {
    async createApiKey({ name, scopes, role, ttlSeconds }, ctx) {
      const { caller } = ctx;
      const granted = requestedScopes({ scopes, role }, roles.machine);
      assertHolds(caller, granted);
      const { tenant, principal: createdBy } = caller;
      const wish = { name, scopes: granted, tenant, createdBy, ttlMs: ttlSeconds * 1000 };
      const { token, key } = await apiKeys.create(wish);
      tell("key.create", `${key.id} (${granted.join(" ")})`, ctx);
      return { token, key: keyMessage(key) };
    },
    async listApiKeys(request, { caller }) {
      const { entries, nextPageToken } = await apiKeys.list(caller.tenant, request);
      return { keys: entries.map(keyMessage), nextPageToken };
    },
    async revokeApiKey({ id }, ctx) {
      await apiKeys.revoke(ctx.caller.tenant, id);
      tell("key.revoke", id, ctx);
      return {};
    },

    async listConsoleSessions(request, { caller }) {
      const { entries, nextPageToken } = await sessions.list(caller.tenant, request);
      return { sessions: entries.map(sessionMessage), nextPageToken };
    },
    async revokeConsoleSession({ id }, ctx) {
      await sessions.revoke(ctx.caller.tenant, id);
      tell("session.revoke", id, ctx);
      return {};
    },

    async getTotp() {
      const { enabled, pending, recoveryCodesLeft, enabledAt } = await totp.status();
      const askedForPairing = factorPolicy === "always" || (factorPolicy === "enabled" && enabled);
      return { enabled, pending, recoveryCodesLeft, askedForPairing, enableTime: timeOf(enabledAt) };
    },
    enrollTotp: (proof, ctx) => factored("totp.enroll", ctx, () => totp.enroll(proof)),
    verifyTotp: (request, ctx) =>
      factored("totp.verify", ctx, async () => ({ codes: await totp.verify(request.totp) })),
    disableTotp: (proof, ctx) =>
      factored("totp.disable", ctx, async () => {
        await totp.disable(proof);
        return {};
      }),
    renewRecoveryCodes: (proof, ctx) =>
      factored("recovery_codes.renew", ctx, async () => ({ codes: await totp.renewRecoveryCodes(proof) })),

    async listSigningKeys(request) {
      const all = (await signingKeys.list()).map((key) => ({ ...key, id: key.kid }));
      const { entries, nextPageToken } = pageOf(all, request);
      return { keys: entries.map(signingKeyMessage), nextPageToken };
    },
    async rotateSigningKey({ revokeTokens }, ctx) {
      const key = await signingKeys.rotate({ revokeTokens });
      tell("signing_key.rotate", key.kid, ctx);
      return signingKeyMessage(key);
    },

    listAudit: (query) => auditPage(auditLog, query),

    async openConsoleSession({ principal, tenant, device, credential, family, scopes, address, userAgent }) {
      const wish = {
        principal,
        tenant,
        ...(device ? { device } : {}),
        ...(credential ? { credential } : {}),
        ...(family ? { family } : {}),
        scopes,
        address,
        userAgent,
      };
      const opened = await sessions.open(wish);
      trail.record({ principal, action: "session.open", resource: opened.record.id, allowed: true, address });
      return openedMessage(opened);
    },
    renewConsoleSession: async ({ token }) => openedMessage(await sessions.renew(token)),
    async closeConsoleSession({ token }) {
      const ended = await sessions.close(token);
      if (ended)
        trail.record({ principal: ended.principal, action: "session.close", resource: ended.id, allowed: true });
      return {};
    },
    async noteKeyUse({ ids }) {
      await apiKeys.used(ids);
      return {};
    },
  };
}

/** Nobody gives away what they do not hold. */
function assertHolds(caller: Caller, scopes: readonly string[]): void {
  const missing = scopes.filter((scope) => !holdsScope(caller, scope));
  if (missing.length === 0) return;
  throw new RpcError(StatusCode.PERMISSION_DENIED, `A key cannot hold what its maker does not: ${missing.join(", ")}`, {
    reason: "SCOPE_NOT_HELD",
  });
}

function timeOf(time: number | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(time);
}

function keyMessage(key: ApiKeyEntry): ApiKey {
  return {
    id: key.id,
    name: key.name ?? "",
    principal: key.principal,
    scopes: [...key.scopes],
    createTime: timeOf(key.createdAt),
    expireTime: timeOf(key.expiresAt),
    revokeTime: timeOf(key.revokedAt),
    lastUsedTime: timeOf(key.lastUsedAt),
  };
}

function sessionMessage(session: SessionRecord): ConsoleSession {
  return {
    id: session.id,
    principal: session.principal,
    scopes: [...session.scopes],
    address: session.address,
    userAgent: session.userAgent,
    createTime: timeOf(session.createdAt),
    lastSeenTime: timeOf(session.lastSeenAt),
    expireTime: timeOf(session.expiresAt),
    idleExpireTime: timeOf(session.idleExpiresAt),
  };
}

function openedMessage({ record, token, csrfToken }: OpenedSession): OpenedConsoleSession {
  return { token, csrfToken, session: sessionMessage(record) };
}

function signingKeyMessage({ kid, current, createdAt, expiresAt }: SigningKeyEntry): SigningKey {
  return { kid, current, createTime: timeOf(createdAt), expireTime: timeOf(expiresAt) };
}
