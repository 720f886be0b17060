// Paired devices: who they are, what they may do, and how they are shut out.
import { lostRace, RpcError, StatusCode } from "@warren/mesh";
import type { Clock } from "./clock.ts";
import { change, createOnce, type Store } from "./compare-and-set.ts";
import { pageOf } from "./pages.ts";
import type { DeviceJwk } from "./pairing/device-key.ts";

/** A device at rest, in `auth_devices` under its id. Times in milliseconds since 1970. */
export interface DeviceRecord {
  readonly id: string;
  readonly name: string;
  readonly key: DeviceJwk;
  /** RFC 7638, of the key. */
  readonly thumbprint: string;
  readonly scopes: readonly string[];
  readonly tenant: string;
  /** The family of its refresh tokens. */
  readonly family: string;
  readonly createdAt: number;
  readonly lastSeenAt: number;
  readonly revokedAt?: number;
  /** It proves its key with each request (RFC 9449): its tokens are good only so. */
  readonly proofRequired?: boolean;
}

/**
 * A revocation as the gateway watches it, in `auth_revocations`: under a device's id no token of the device is good any
 * more, under `family.<name>` none of that family.
 */
export interface RevocationRecord {
  /** In milliseconds since 1970. */
  readonly revokedAt: number;
}

/** One page of devices, in the order in which they were paired. */
export interface DevicePage {
  readonly devices: readonly DeviceRecord[];
  /** Empty when there is no more. */
  readonly nextPageToken: string;
}

/** The devices of the mesh. */
export interface Devices {
  add(device: DeviceRecord): Promise<void>;
  /** The device, when it is there and not revoked. */
  active(id: string): Promise<DeviceRecord | undefined>;
  /**
   * Pages through devices (AIP-158). `only` limits the list to one device.
   * @throws RpcError INVALID_ARGUMENT when the page token is none of ours.
   */
  list(request: { pageSize: number; pageToken: string; only?: string | undefined }): Promise<DevicePage>;
  /** Notes that a device has just been seen. A note that is lost to another writer does no harm. */
  seen(id: string): Promise<void>;
  /** From now on the device's tokens are good only with a proof of its key. @returns the device as it is then. */
  requireProof(device: DeviceRecord): Promise<DeviceRecord>;
  /**
   * Shuts a device out: first for the gateways, then runs `whatElse`, then marks it as done, so that a second try after
   * a crash does all that is left. Nothing happens to a device that is marked already.
   * @throws RpcError NOT_FOUND.
   */
  revoke(id: string, whatElse: (device: DeviceRecord) => Promise<void>): Promise<void>;
}

/** Devices over `kv`, with their revocations. */
export function createDevices(deps: {
  readonly kv: Store<DeviceRecord>;
  readonly revocations: Store<RevocationRecord>;
  readonly clock: Clock;
}): Devices {
  const { kv, revocations, clock } = deps;
  const find = async (id: string): Promise<DeviceRecord> => {
    const entry = await kv.get(id);
    if (!entry) throw deviceNotFound(id);
    return entry.value;
  };
  return {
    async add(device) {
      await kv.create(device.id, device);
    },
    async active(id) {
      const [device, revocation] = await Promise.all([kv.get(id), revocations.get(id)]);
      return revocation || device?.value.revokedAt !== undefined ? undefined : device?.value;
    },
    async list({ pageSize, pageToken, only }) {
      const found = only === undefined ? await kv.entries() : [await kv.get(only)];
      const all = found.flatMap((entry) => (entry ? [entry.value] : []));
      const { entries, nextPageToken } = pageOf(all, { pageSize, pageToken });
      return { devices: entries, nextPageToken };
    },
    async seen(id) {
      const entry = await kv.get(id);
      if (!entry || entry.value.lastSeenAt >= clock()) return;
      await kv.update(id, { ...entry.value, lastSeenAt: clock() }, entry.revision).catch((error: unknown) => {
        if (!lostRace(error)) throw error;
      });
    },
    async requireProof(device) {
      const changed = await change(kv, device.id, (current) =>
        current && !current.proofRequired ? { ...current, proofRequired: true } : current,
      );
      return changed ?? device;
    },
    async revoke(id, whatElse) {
      const device = await find(id);
      if (device.revokedAt !== undefined) return;
      await createOnce(revocations, id, { revokedAt: clock() });
      await createOnce(revocations, `family.${device.family}`, { revokedAt: clock() });
      await whatElse(device);
      await change(kv, id, (current) =>
        current && current.revokedAt === undefined ? { ...current, revokedAt: clock() } : current,
      );
    },
  };
}

/** What a caller is told of a device that is not there, or that it may not know of. */
export function deviceNotFound(id: string): RpcError {
  return new RpcError(StatusCode.NOT_FOUND, `There is no device ${id}`, { reason: "DEVICE_NOT_FOUND" });
}
