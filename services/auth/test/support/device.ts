// A device as it pairs: its key pair, and what it signs.
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export interface TestDevice {
  readonly algorithm: "Ed25519" | "P-256";
  /** The public key as the contract wants it: a JWK in JSON. */
  readonly publicKey: string;
  /** Signs as the contract asks: `code` as it is compared. */
  prove(challenge: string, code: string, pairingId: string): string;
}

export function newDevice(algorithm: TestDevice["algorithm"] = "Ed25519"): TestDevice {
  const { publicKey, privateKey } =
    algorithm === "Ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    algorithm,
    publicKey: JSON.stringify(publicKey.export({ format: "jwk" })),
    prove: (challenge, code, id) => signText(algorithm, privateKey, `warren-pairing-v1\n${challenge}\n${code}\n${id}`),
  };
}

function signText(algorithm: TestDevice["algorithm"], key: KeyObject, text: string): string {
  const signature =
    algorithm === "Ed25519"
      ? sign(null, Buffer.from(text), key)
      : sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" });
  return signature.toString("base64url");
}
