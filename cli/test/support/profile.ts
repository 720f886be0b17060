// A device that has been paired before.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { newDeviceKey } from "../../src/pairing.ts";

/** Writes a profile for a gateway. Its access token has an hour left unless said otherwise. */
export async function writeTestProfile(
  file: string,
  url: string,
  changes: Readonly<Record<string, unknown>> = {},
  mode = 0o600,
): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const profile = {
    url,
    deviceId: "device-1",
    deviceName: "test device",
    scopes: ["chat", "plugins:read"],
    privateKey: newDeviceKey(),
    accessToken: "access-1",
    accessTokenEnd: Date.now() + 3_600_000,
    refreshToken: "refresh-1",
    ...changes,
  };
  await writeFile(file, JSON.stringify(profile), { mode });
}
