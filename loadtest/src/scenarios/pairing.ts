// Devices that pair: ask, read the code at the operator's, prove, use the token, and are revoked.
import { generateKeyPairSync, sign } from "node:crypto";
import { check } from "../recorder.ts";
import type { Scenario } from "../scenario.ts";

interface Pairing {
  readonly id: string;
  readonly challenge: string;
  readonly code: string;
}

export const pairing: Scenario = {
  name: "pairing",
  description: "a device pairs, uses its token, is revoked",
  rate: 5,
  limits: "open",
  trend: "pairing",
  // Asked for, found by the operator, completed.
  times: 3,
  prepare({ target, recorder }) {
    const post = async <T>(path: string, body: object, token: string | null): Promise<T> => {
      const { status, text } = await target.request("POST", path, { body, token });
      check(status === 200, `${path}: 200`, `${status} ${text}`);
      return JSON.parse(text) as T;
    };
    return Promise.resolve({
      async iterate(index) {
        const { publicKey, privateKey } = generateKeyPairSync("ed25519");
        const begun = performance.now();
        const asked = await post<Pairing>(
          "/v1/pairing",
          { deviceName: `load ${index}`, publicKey: JSON.stringify(publicKey.export({ format: "jwk" })) },
          null,
        );
        const waiting = await target.request("GET", "/v1/pairing");
        const own = (JSON.parse(waiting.text) as { pairings?: Pairing[] }).pairings?.find(({ id }) => id === asked.id);
        check(own !== undefined, "the pairing among those that wait", waiting.text);
        const code = own.code.replaceAll("-", "");
        const text = `warren-pairing-v1\n${asked.challenge}\n${code}\n${asked.id}`;
        const proof = { code, signature: sign(null, Buffer.from(text), privateKey).toString("base64url") };
        const paired = await post<{ accessToken: string }>(`/v1/pairing/${asked.id}:complete`, proof, null);
        recorder.time("pairing", performance.now() - begun);
        const devices = await target.request("GET", "/v1/devices", { token: paired.accessToken });
        check(devices.status === 200, "devices: 200", `${devices.status} ${devices.text}`);
        const [device] = (JSON.parse(devices.text) as { devices: { id: string }[] }).devices;
        const revoked = await target.request("DELETE", `/v1/devices/${device?.id}`);
        check(revoked.status === 200, "revoked: 200", `${revoked.status} ${revoked.text}`);
      },
    });
  },
};
