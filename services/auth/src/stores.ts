// The state that this service owns. Its buckets are declared in the mesh's policy.
import { jsonCodec, type Mesh } from "@warren/mesh";
import type { Store } from "./compare-and-set.ts";
import type { DeviceRecord, RevocationRecord } from "./devices.ts";
import type { AttemptRecord } from "./pairing/backoff.ts";
import type { PairingRecord } from "./pairing/pairing.ts";
import type { SessionRecord } from "./console/sessions.ts";
import type { TotpRecord } from "./factors/totp.ts";
import type { ActivityRecord } from "./tokens/api-keys.ts";
import type { CredentialRecord } from "./tokens/credentials.ts";
import type { RefreshRecord } from "./tokens/refresh.ts";
import type { PublicKeyRecord, SigningKeyRecord } from "./tokens/signing-keys.ts";

/** Everything that lasts. */
export interface AuthStores {
  readonly devices: Store<DeviceRecord>;
  readonly revocations: Store<RevocationRecord>;
  readonly pairings: Store<PairingRecord>;
  /** In the bucket of the pairings, whose TTL suits them as well. */
  readonly attempts: Store<AttemptRecord>;
  readonly refresh: Store<RefreshRecord>;
  readonly credentials: Store<CredentialRecord>;
  readonly publicKeys: Store<PublicKeyRecord>;
  readonly signing: Store<SigningKeyRecord>;
  readonly sessions: Store<SessionRecord>;
  readonly factors: Store<TotpRecord>;
  readonly activity: Store<ActivityRecord>;
}

/** Opens every bucket, making those that are not there yet. */
export async function openStores(mesh: Pick<Mesh, "kv">): Promise<AuthStores> {
  const [
    devices,
    revocations,
    pairings,
    attempts,
    refresh,
    credentials,
    publicKeys,
    signing,
    sessions,
    factors,
    activity,
  ] = await Promise.all([
    mesh.kv("auth_devices", jsonCodec<DeviceRecord>()),
    mesh.kv("auth_revocations", jsonCodec<RevocationRecord>()),
    mesh.kv("auth_pairings", jsonCodec<PairingRecord>()),
    mesh.kv("auth_pairings", jsonCodec<AttemptRecord>()),
    mesh.kv("auth_refresh", jsonCodec<RefreshRecord>()),
    mesh.kv("auth_credentials", jsonCodec<CredentialRecord>()),
    mesh.kv("auth_keys", jsonCodec<PublicKeyRecord>()),
    mesh.kv("auth_signing", jsonCodec<SigningKeyRecord>()),
    mesh.kv("auth_sessions", jsonCodec<SessionRecord>()),
    mesh.kv("auth_factors", jsonCodec<TotpRecord>()),
    mesh.kv("auth_activity", jsonCodec<ActivityRecord>()),
  ]);
  return {
    devices,
    revocations,
    pairings,
    attempts,
    refresh,
    credentials,
    publicKeys,
    signing,
    sessions,
    factors,
    activity,
  };
}
