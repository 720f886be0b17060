// The wiring: everything that lasts, the secret and the clock in; the handlers, ready to be served, out.
import type { Handlers, Mesh } from "@warren/mesh";
import type { AccessServiceDefinition } from "@warren/proto/warren/auth/v1/access";
import type { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import { PairingRefused } from "@warren/proto/warren/events/v1/events";
import { DecisionTrail, Registry } from "@warren/service";
import { createAccessHandlers } from "./access-handlers.ts";
import type { Clock } from "./clock.ts";
import { createConsoleSessions } from "./console/sessions.ts";
import { createDevices } from "./devices.ts";
import { createTotp } from "./factors/totp.ts";
import { createGrants } from "./grants.ts";
import { createHandlers, type Log } from "./handlers.ts";
import { countDecisions } from "./metrics.ts";
import { operatorToken, registerOperator, replaceOperator } from "./operator.ts";
import { createAttemptCounter, FLEET_BACKOFF, NETWORK_BACKOFF } from "./pairing/backoff.ts";
import { createPairings, type FactorPolicy } from "./pairing/pairing.ts";
import { recover, recoveryFile } from "./recovery/local.ts";
import { createSealer } from "./seal.ts";
import type { AuthStores } from "./stores.ts";
import { ACCESS_TOKEN_MS, createAccessTokens } from "./tokens/access.ts";
import { createApiKeys } from "./tokens/api-keys.ts";
import { createRefreshTokenMint } from "./tokens/refresh-token.ts";
import { createRefreshTokens } from "./tokens/refresh.ts";
import { openSigningKeys } from "./tokens/signing-keys.ts";

/** What the auth service is made of. */
export interface AuthDeps {
  /** Where events go, and where the audit is read. */
  readonly mesh: Pick<Mesh, "publish" | "auditLog">;
  readonly stores: AuthStores;
  /** 32 secret bytes, the same for every replica: all that is sealed at rest, and the refresh tokens, hang on it. */
  readonly sealingKey: Uint8Array;
  readonly clock?: Clock;
  readonly log: Log;
  /** File with the operator's token, made where there is none. Absent: this replica makes no operator known. */
  readonly operatorTokenFile?: string | undefined;
  /** Write pairing codes to the log: for a stack on one machine, whose log only its operator reads. */
  readonly showCodeInLog?: boolean;
  /** When pairings ask for a one-time password. */
  readonly factorPolicy?: FactorPolicy;
  /** Pair only devices that prove their key with each request. */
  readonly requireProof?: boolean;
  /** How long a new signing key is told before it is used, in milliseconds. */
  readonly headStartMs?: number;
  /** Where decisions are counted; absent: nowhere that anybody sees. */
  readonly registry?: Registry;
}

/** The auth service. */
export interface Auth {
  readonly auth: Handlers<typeof AuthServiceDefinition>;
  readonly access: Handlers<typeof AccessServiceDefinition>;
  /** Does what the person at the machine asks for, if anything; see `recovery/local.ts`. Never throws: the log says what is wrong. */
  recover(): Promise<void>;
  /** Tells the audit what is still untold. */
  close(): Promise<void>;
}

/**
 * The auth service, ready to be served. Makes the signing key and the operator's token where there are none.
 * @throws OperatorTokenError when the operator's token file cannot be used.
 */
export async function createAuth(deps: AuthDeps): Promise<Auth> {
  const { mesh, stores, sealingKey, clock = Date.now, log, operatorTokenFile, factorPolicy = "enabled" } = deps;
  const { credentials } = stores;
  const trail = new DecisionTrail({ mesh, log, now: clock });
  const refusals = new DecisionTrail({
    mesh,
    log,
    now: clock,
    tell: ({ resource: pairingId, reason, address, count, time }) =>
      mesh.publish(PairingRefused, { pairingId, reason, address, count, time }),
  });
  const signingKeys = await openSigningKeys({
    signing: stores.signing,
    publicKeys: stores.publicKeys,
    sealer: createSealer(sealingKey, "signing-key"),
    clock,
    log,
    tokenMs: ACCESS_TOKEN_MS,
    ...(deps.headStartMs === undefined ? {} : { headStartMs: deps.headStartMs }),
  });
  const totp = createTotp({ kv: stores.factors, sealer: createSealer(sealingKey, "totp"), sealingKey, clock });
  const recoverLocally = async (): Promise<void> => {
    if (operatorTokenFile === undefined) return;
    try {
      const ended = await recover(recoveryFile(operatorTokenFile), {
        totp: () => totp.reset(),
        "operator-token": async () => void (await replaceOperator({ credentials, file: operatorTokenFile, clock })),
      });
      for (const each of ended ?? []) {
        log.warn({ ended: each }, "Ended, as a file on this machine asked for");
        trail.record({ principal: "local", action: "recovery.local", resource: each, allowed: true });
      }
    } catch (err) {
      log.warn({ err }, "A request for recovery could not be followed");
    }
  };
  if (operatorTokenFile !== undefined) {
    await recoverLocally();
    const token = await operatorToken(operatorTokenFile);
    const id = await registerOperator({ credentials, token, clock });
    log.info({ id, file: operatorTokenFile }, "The operator's token is in its file");
  }
  const devices = createDevices({ kv: stores.devices, revocations: stores.revocations, clock });
  const refreshTokens = createRefreshTokens({ kv: stores.refresh, mint: createRefreshTokenMint(sealingKey), clock });
  const issueAccessToken = createAccessTokens({ currentKey: () => signingKeys.current(), clock });
  const grants = createGrants({ devices, refreshTokens, issueAccessToken, clock });
  const attempts = { kv: stores.attempts, clock };
  const pairings = createPairings({
    kv: stores.pairings,
    networks: createAttemptCounter({ ...attempts, prefix: "network", policy: NETWORK_BACKOFF }),
    fleet: createAttemptCounter({ ...attempts, prefix: "fleet", policy: FLEET_BACKOFF }),
    sealer: createSealer(sealingKey, "pairing-code"),
    factor: totp,
    factorPolicy,
    clock,
  });
  const { showCodeInLog = false, requireProof = false } = deps;
  const shared = { mesh, clock, log, trail };
  return {
    auth: countDecisions(
      deps.registry ?? new Registry(),
      createHandlers({
        ...shared,
        ...{ pairings, devices, refreshTokens, grants, refusals, showCodeInLog, requireProof },
      }),
    ),
    access: createAccessHandlers({
      apiKeys: createApiKeys({ credentials, activity: stores.activity, clock }),
      sessions: createConsoleSessions({ kv: stores.sessions, secret: sealingKey, clock }),
      auditLog: (options) => mesh.auditLog(options),
      ...{ totp, factorPolicy, signingKeys, trail },
    }),
    recover: recoverLocally,
    close: async () => void (await Promise.all([trail.close(), refusals.close()])),
  };
}
