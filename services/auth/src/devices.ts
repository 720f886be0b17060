// Paired devices: who they are, what they may do, and how they are shut out.
import { lostRace, RpcError, StatusCode } from "@warren/mesh";
import type { Clock } from "./clock.ts";
import { change, createOnce, type Store } from "./compare-and-set.ts";
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
}

/** A revocation as the gateway watches it, in `auth_revocations` under the device's id: no token of the device is good any more. */
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

const DEFAULT_PAGE_SIZE = 100;

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
      const after = pageToken === "" ? "" : decodePageToken(pageToken);
      const found = only === undefined ? await kv.entries() : [await kv.get(only)];
      const rest = found
        .flatMap((entry) => (entry ? [entry.value] : []))
        .filter((device) => position(device) > after)
        .toSorted((a, b) => (position(a) < position(b) ? -1 : 1));
      const devices = rest.slice(0, pageSize || DEFAULT_PAGE_SIZE);
      const last = devices.at(-1);
      const nextPageToken = last && rest.length > devices.length ? encodePageToken(position(last)) : "";
      return { devices, nextPageToken };
    },
    async seen(id) {
      const entry = await kv.get(id);
      if (!entry || entry.value.lastSeenAt >= clock()) return;
      await kv.update(id, { ...entry.value, lastSeenAt: clock() }, entry.revision).catch((error: unknown) => {
        if (!lostRace(error)) throw error;
      });
    },
    async revoke(id, whatElse) {
      const device = await find(id);
      if (device.revokedAt !== undefined) return;
      await createOnce(revocations, id, { revokedAt: clock() });
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

/** Where a device stands in the list: by time of pairing, then by id. Sorts as text. */
function position({ createdAt, id }: DeviceRecord): string {
  return `${String(createdAt).padStart(15, "0")}.${id}`;
}

function encodePageToken(after: string): string {
  return Buffer.from(after).toString("base64url");
}

function decodePageToken(token: string): string {
  const after = Buffer.from(token, "base64url").toString();
  if (/^\d{15}\.[A-Za-z0-9_-]{1,64}$/.test(after)) return after;
  const violations = [{ field: "pageToken", description: "must be the nextPageToken of an earlier answer" }];
  throw new RpcError(StatusCode.INVALID_ARGUMENT, "The page token is not one of this list", { violations });
}
