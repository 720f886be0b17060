// Tokens for a device: an access token for now, a refresh token for later.
import { randomBytes } from "node:crypto";
import type { TokenGrant } from "@warren/proto/warren/auth/v1/auth";
import type { Clock } from "./clock.ts";
import type { DeviceRecord, Devices } from "./devices.ts";
import { thumbprint } from "./pairing/device-key.ts";
import type { PairingRecord } from "./pairing/pairing.ts";
import { ACCESS_TOKEN_MS, type IssueAccessToken } from "./tokens/access.ts";
import { newFamily } from "./tokens/refresh-token.ts";
import type { RefreshTokens } from "./tokens/refresh.ts";

/** Where every device lives until there is more than one tenant. */
const TENANT = "default";

/** Grants tokens. */
export interface Grants {
  /**
   * Makes a device of a pairing that was completed, with its first tokens.
   * @param proofRequired Its tokens are good only with a proof of its key.
   */
  admit(pairing: PairingRecord, proofRequired: boolean): Promise<{ device: DeviceRecord; grant: TokenGrant }>;
  /** A new access token beside a refresh token that the device was given. */
  renew(device: DeviceRecord, refreshToken: string): Promise<TokenGrant>;
}

/** Grants over devices and tokens. */
export function createGrants(deps: {
  readonly devices: Devices;
  readonly refreshTokens: RefreshTokens;
  readonly issueAccessToken: IssueAccessToken;
  readonly clock: Clock;
}): Grants {
  const { devices, refreshTokens, issueAccessToken, clock } = deps;
  const renew = async (device: DeviceRecord, refreshToken: string): Promise<TokenGrant> => ({
    accessToken: await issueAccessToken({ ...device, deviceId: device.id }),
    tokenType: device.proofRequired ? "DPoP" : "Bearer",
    expiresIn: ACCESS_TOKEN_MS / 1000,
    refreshToken,
    deviceId: device.id,
    scopes: [...device.scopes],
  });
  return {
    renew,
    async admit({ deviceName, key, scopes }, proofRequired) {
      const id = randomBytes(16).toString("hex");
      const family = newFamily();
      const now = clock();
      const device: DeviceRecord = {
        id,
        name: deviceName,
        key,
        thumbprint: thumbprint(key),
        scopes,
        tenant: TENANT,
        family,
        createdAt: now,
        lastSeenAt: now,
        proofRequired,
      };
      // The device first: a family whose device is not there could not be revoked.
      await devices.add(device);
      const refreshToken = await refreshTokens.open(id, family);
      return { device, grant: await renew(device, refreshToken) };
    },
  };
}
