// The contract's methods: what a caller may do, and what the mesh is told of it.
import { type CallContext, type EventType, type Handlers, type Mesh, RpcError, StatusCode } from "@warren/mesh";
import { type AuthServiceDefinition, type Device, type Pairing, PairingState } from "@warren/proto/warren/auth/v1/auth";
import { DevicePaired, DeviceRevoked } from "@warren/proto/warren/events/v1/events";
import type { DecisionTrail } from "@warren/service";
import type { Clock } from "./clock.ts";
import { deviceNotFound, type DeviceRecord, type Devices } from "./devices.ts";
import type { Grants } from "./grants.ts";
import { pageOf } from "./pages.ts";
import { clientNetwork } from "./pairing/client-network.ts";
import { displayCode } from "./pairing/code.ts";
import { parseDeviceKey } from "./pairing/device-key.ts";
import { PairingRefusal, type PairingRecord, type Pairings } from "./pairing/pairing.ts";
import { requestedScopes } from "./scopes.ts";
import type { RefreshTokens } from "./tokens/refresh.ts";

/** The part of a logger that is used here. */
export interface Log {
  info(fields: object, text: string): void;
  warn(fields: object, text: string): void;
}

/** What the handlers need. */
export interface HandlerDeps {
  readonly pairings: Pairings;
  readonly devices: Devices;
  readonly refreshTokens: RefreshTokens;
  readonly grants: Grants;
  readonly mesh: Pick<Mesh, "publish">;
  /** Told of every denial, but for those of pairings. */
  readonly trail: Pick<DecisionTrail, "record">;
  /** Told of the refusals of pairings, which have an event of their own. */
  readonly refusals: Pick<DecisionTrail, "record">;
  /** Only devices that prove their key with each request are paired. */
  readonly requireProof: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** Write pairing codes to the log: for a stack on one machine, whose log only its operator reads. */
  readonly showCodeInLog: boolean;
}

/** The handlers of `warren.auth.v1.AuthService`. */
export function createHandlers(deps: HandlerDeps): Handlers<typeof AuthServiceDefinition> {
  const { pairings, devices, refreshTokens, grants, mesh, trail, refusals, clock, log } = deps;

  /** What has been decided holds, whether or not the audit can keep it now. */
  const tell = async <T>(type: EventType<T>, event: T): Promise<void> => {
    try {
      await mesh.publish(type, event);
    } catch (error) {
      log.warn({ err: error, event: type.$type }, "An event could not be published");
    }
  };

  const revoke = (id: string, reason: string, principal: string): Promise<void> =>
    devices.revoke(id, async ({ family }) => {
      await refreshTokens.revoke(family);
      const event = { deviceId: id, reason, principal, time: new Date(clock()) };
      await tell(DeviceRevoked, event);
      log.info({ deviceId: id, reason, principal }, "Revoked a device");
    });

  const deny = (action: string, reason: string, { address }: CallContext["caller"], principal = "anonymous"): void =>
    trail.record({ principal, action, allowed: false, reason, address, network: clientNetwork(address) });

  return {
    async startPairing({ deviceName, publicKey, scopes, role }, { caller }) {
      const key = parseDeviceKey(publicKey);
      const wish = { deviceName, key, scopes: requestedScopes({ scopes, role }), address: caller.address };
      const { record, code } = await pairings.start(wish);
      log.info({ pairingId: record.id, deviceName, scopes: record.scopes }, "A device asks to be paired");
      if (deps.showCodeInLog)
        log.info({ pairingId: record.id }, `The pairing code for "${deviceName}" is ${displayCode(code)}`);
      return { id: record.id, challenge: record.challenge, expireTime: new Date(record.expiresAt) };
    },

    async completePairing(proof, { caller }) {
      const { id } = proof;
      const { address, key } = caller;
      if (deps.requireProof && key === undefined) throw proofMissing();
      const completed = await pairings.complete({ ...proof, address, key }).catch((error: unknown) => {
        if (!(error instanceof PairingRefusal)) throw error;
        log.info({ pairingId: id, why: error.why }, "Refused a pairing attempt");
        const network = clientNetwork(address);
        const refusal = { action: "pairing.complete", resource: id, reason: error.why, address, network };
        refusals.record({ principal: "anonymous", allowed: false, ...refusal });
        throw error;
      });
      const { device, grant } = await grants.admit(completed, key !== undefined);
      log.info({ pairingId: id, deviceId: device.id, scopes: device.scopes }, "Paired a device");
      const event = {
        deviceId: device.id,
        deviceName: device.name,
        scopes: [...device.scopes],
        time: new Date(clock()),
      };
      await tell(DevicePaired, event);
      return grant;
    },

    async listPairings(request) {
      const codes = new Map((await pairings.waiting()).map(({ record, code }) => [record, code]));
      const { entries, nextPageToken } = pageOf([...codes.keys()], request);
      return { pairings: entries.map((record) => pairingMessage(record, codes.get(record) ?? "")), nextPageToken };
    },

    async refreshToken({ refreshToken }, { caller }) {
      const rotation = await refreshTokens.rotate(refreshToken, async (id) =>
        mayProve(await devices.active(id), caller),
      );
      if (rotation.outcome === "reused") {
        log.warn({ deviceId: rotation.deviceId }, "A refresh token was used again: somebody has a copy of it");
        deny("token.refresh", "reused", caller, `device:${rotation.deviceId}`);
        await revoke(rotation.deviceId, "refresh_token_reuse", `device:${rotation.deviceId}`);
      }
      if (rotation.outcome === "refused") deny("token.refresh", rotation.why, caller);
      const device = rotation.outcome === "rotated" ? await devices.active(rotation.deviceId) : undefined;
      if (rotation.outcome === "rotated" && !device)
        deny("token.refresh", "revoked", caller, `device:${rotation.deviceId}`);
      if (rotation.outcome !== "rotated" || !device) throw refreshRefused();
      await devices.seen(device.id);
      // Who can prove the key once can do so always: from now on a copy of the tokens alone is worth nothing.
      const proven = caller.key !== undefined && !device.proofRequired;
      return grants.renew(proven ? await devices.requireProof(device) : device, rotation.token);
    },

    async listDevices({ pageSize, pageToken }, { caller }) {
      const everything = administers(caller);
      if (!everything && caller.device === undefined) return { devices: [], nextPageToken: "" };
      const page = await devices.list({ pageSize, pageToken, only: everything ? undefined : caller.device });
      return { devices: page.devices.map(deviceMessage), nextPageToken: page.nextPageToken };
    },

    async revokeDevice({ id }, { caller }) {
      // Devices of others are as good as not there.
      if (!administers(caller) && caller.device !== id) {
        deny("device.revoke", "not_owner", caller, caller.principal);
        throw deviceNotFound(id);
      }
      await revoke(id, "requested", caller.principal);
      return {};
    },
  };
}

function administers({ scopes }: CallContext["caller"]): boolean {
  return scopes.includes("*") || scopes.includes("devices:admin");
}

/** A key that was proven is the device's; a device that proves its key always does so now. One that is gone is judged later. */
function mayProve(device: DeviceRecord | undefined, { key }: CallContext["caller"]): boolean {
  if (!device) return true;
  return key === undefined ? !device.proofRequired : key === device.thumbprint;
}

function proofMissing(): RpcError {
  const message = "This mesh pairs only devices that prove their key with each request: send a DPoP proof (RFC 9449)";
  return new RpcError(StatusCode.FAILED_PRECONDITION, message, { reason: "PROOF_REQUIRED" });
}

function refreshRefused(): RpcError {
  const message = "The refresh token is not valid any more: pair the device again";
  return new RpcError(StatusCode.UNAUTHENTICATED, message, { reason: "REFRESH_REFUSED" });
}

function pairingMessage(record: PairingRecord, code: string): Pairing {
  return {
    id: record.id,
    code: displayCode(code),
    deviceName: record.deviceName,
    address: record.address ?? "",
    scopes: [...record.scopes],
    state: PairingState.PENDING,
    attempts: record.attempts,
    createTime: new Date(record.createdAt),
    expireTime: new Date(record.expiresAt),
  };
}

function deviceMessage(device: DeviceRecord): Device {
  return {
    id: device.id,
    name: device.name,
    keyThumbprint: device.thumbprint,
    scopes: [...device.scopes],
    createTime: new Date(device.createdAt),
    lastSeenTime: new Date(device.lastSeenAt),
    revokeTime: device.revokedAt === undefined ? undefined : new Date(device.revokedAt),
    proofRequired: device.proofRequired ?? false,
  };
}
