// The wiring: everything that lasts, the secret and the clock in; the handlers, ready to be served, out.
import type { Handlers, Mesh } from "@warren/mesh";
import { Registry } from "@warren/service";
import type { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import type { Clock } from "./clock.ts";
import { createDevices } from "./devices.ts";
import { createGrants } from "./grants.ts";
import { createHandlers, type Log } from "./handlers.ts";
import { countDecisions } from "./metrics.ts";
import { operatorToken, registerOperator } from "./operator.ts";
import { createAttemptCounter, FLEET_BACKOFF, NETWORK_BACKOFF } from "./pairing/backoff.ts";
import { createPairings } from "./pairing/pairing.ts";
import { createSealer } from "./seal.ts";
import type { AuthStores } from "./stores.ts";
import { ACCESS_TOKEN_MS, createAccessTokens } from "./tokens/access.ts";
import { createRefreshTokenMint } from "./tokens/refresh-token.ts";
import { createRefreshTokens } from "./tokens/refresh.ts";
import { openSigningKey } from "./tokens/signing-keys.ts";

/** What the auth service is made of. */
export interface AuthDeps {
  /** Where events go. */
  readonly mesh: Pick<Mesh, "publish">;
  readonly stores: AuthStores;
  /** 32 secret bytes, the same for every replica: all that is sealed at rest, and the refresh tokens, hang on it. */
  readonly sealingKey: Uint8Array;
  readonly clock?: Clock;
  readonly log: Log;
  /** File with the operator's token, made where there is none. Absent: this replica makes no operator known. */
  readonly operatorTokenFile?: string | undefined;
  /** Write pairing codes to the log: for a stack on one machine, whose log only its operator reads. */
  readonly showCodeInLog?: boolean;
  /** Where decisions are counted; absent: nowhere that anybody sees. */
  readonly registry?: Registry;
}

/**
 * The auth service, ready to be served. Makes the signing key and the operator's token where there are none.
 * @throws OperatorTokenError when the operator's token file cannot be used.
 */
export async function createAuth(deps: AuthDeps): Promise<Handlers<typeof AuthServiceDefinition>> {
  const { mesh, stores, sealingKey, clock = Date.now, log, operatorTokenFile, showCodeInLog = false } = deps;
  const key = await openSigningKey({
    signing: stores.signing,
    publicKeys: stores.publicKeys,
    sealer: createSealer(sealingKey, "signing-key"),
    clock,
    log,
    tokenMs: ACCESS_TOKEN_MS,
  });
  if (operatorTokenFile !== undefined) {
    const token = await operatorToken(operatorTokenFile);
    const id = await registerOperator({ credentials: stores.credentials, token, clock });
    log.info({ id, file: operatorTokenFile }, "The operator's token is in its file");
  }
  const devices = createDevices({ kv: stores.devices, revocations: stores.revocations, clock });
  const refreshTokens = createRefreshTokens({ kv: stores.refresh, mint: createRefreshTokenMint(sealingKey), clock });
  const grants = createGrants({ devices, refreshTokens, issueAccessToken: createAccessTokens({ key, clock }), clock });
  const attempts = { kv: stores.attempts, clock };
  const pairings = createPairings({
    kv: stores.pairings,
    networks: createAttemptCounter({ ...attempts, prefix: "network", policy: NETWORK_BACKOFF }),
    fleet: createAttemptCounter({ ...attempts, prefix: "fleet", policy: FLEET_BACKOFF }),
    sealer: createSealer(sealingKey, "pairing-code"),
    clock,
  });
  const handlers = createHandlers({ pairings, devices, refreshTokens, grants, mesh, clock, log, showCodeInLog });
  return countDecisions(deps.registry ?? new Registry(), handlers);
}
