// A device's access token, renewed when it is about to end.
import { TokenGrant } from "@warren/proto/warren/auth/v1/auth";
import { CliError, ExitCode } from "../errors.ts";
import { withFileLock } from "./private-file.ts";
import { ProblemError, readProblem } from "./problem.ts";
import { type Profile, readProfile, writeProfile } from "./profile.ts";
import { type Credentials, exchange, type Fetch } from "./transport.ts";

/** What a renewal needs. */
export interface RenewOptions {
  /** The profile. */
  readonly file: string;
  readonly fetch: Fetch;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** An access token, with the key whose proof must go with it. */
export type ProfileToken = Credentials & { readonly token: string };

/** A token with less than this left is renewed: a request takes time to arrive. In milliseconds. */
const margin = 30_000;

/**
 * The profile's access token, renewed first when it has ended or is the one `rejected`.
 * The refresh token works once. Of many processes one renews, under a lock, and the others find its result; should two slip
 * past a dead lock, the gateway gives both the same successor, because they ask within 30 seconds.
 * @throws CliError (denied) when the gateway refuses to renew.
 */
export async function renewedToken(options: RenewOptions, rejected?: string): Promise<ProfileToken> {
  const now = options.now ?? Date.now;
  const usable = (profile: Profile): boolean =>
    profile.accessToken !== rejected && profile.accessTokenEnd - now() > margin;
  const first = await mustRead(options.file);
  if (usable(first)) return tokenOf(first);
  return withFileLock(options.file, async () => {
    const profile = await mustRead(options.file);
    if (usable(profile)) return tokenOf(profile);
    const renewed = withGrant(profile, await renew(options.fetch, profile), now());
    await writeProfile(options.file, renewed);
    return tokenOf(renewed);
  });
}

function tokenOf({ accessToken: token, tokenType, privateKey }: Profile): ProfileToken {
  return tokenType === "DPoP" ? { token, key: privateKey } : { token };
}

/** A profile with the tokens of a grant. */
export function withGrant(
  device: Pick<Profile, "url" | "deviceName" | "privateKey">,
  grant: TokenGrant,
  now: number,
): Profile {
  if (!grant.accessToken || !grant.refreshToken || !grant.deviceId)
    throw new CliError(ExitCode.failure, `${device.url} answered without tokens`, "is it a Warren gateway?");
  const { url, deviceName, privateKey } = device;
  return {
    url,
    deviceId: grant.deviceId,
    deviceName,
    scopes: grant.scopes,
    privateKey,
    accessToken: grant.accessToken,
    accessTokenEnd: now + grant.expiresIn * 1000,
    refreshToken: grant.refreshToken,
    ...(grant.tokenType === "DPoP" ? { tokenType: grant.tokenType } : {}),
  };
}

async function renew(fetch: Fetch, profile: Profile): Promise<TokenGrant> {
  const body = { refreshToken: profile.refreshToken };
  // With a proof, also where none is asked for yet: from then on the tokens are worth nothing without the key.
  const credentials = { key: profile.privateKey };
  const response = await exchange(fetch, profile.url, { method: "POST", path: "/v1/token", body }, credentials);
  if (response.ok) return TokenGrant.fromJSON(await response.json());
  const problem = await readProblem(response);
  if ([400, 401, 403, 404].includes(problem.status))
    throw new CliError(
      ExitCode.denied,
      `${profile.url} no longer accepts this device: it was revoked, or not used for too long`,
      "pair it again: warren pair --replace",
    );
  throw new ProblemError(problem);
}

async function mustRead(file: string): Promise<Profile> {
  const profile = await readProfile(file);
  if (profile) return profile;
  throw new CliError(ExitCode.denied, `the profile ${file} is gone`, "pair this device: warren pair");
}
