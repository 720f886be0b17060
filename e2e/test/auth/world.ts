// The real auth service and two real gateways on one mesh, and devices that speak HTTP to them.
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";
import type { TestContext } from "node:test";
import { waitUntil } from "@warren/testing";
import { type AuthHarness, type HarnessOptions, startAuth } from "../../../services/auth/test/support/harness.ts";
import { send, startGateway, type TestGateway, type TestResponse } from "../../../services/gateway/test/support.ts";

export interface World {
  readonly auth: AuthHarness;
  /** Two of them. */
  readonly gateways: readonly TestGateway[];
  /** The first one. */
  readonly url: string;
  /** Calls the first gateway as the operator. */
  readonly operator: (method: string, path: string, body?: unknown) => Promise<TestResponse>;
  /** Pairs a new device over HTTP. */
  readonly pair: (options?: PairOptions) => Promise<Device>;
}

interface PairOptions {
  readonly algorithm?: "Ed25519" | "P-256";
  readonly scopes?: readonly string[];
  /** Proves its key with each request. Default: yes. */
  readonly proves?: boolean;
}

/** What a proof says, where a test wants it otherwise. */
export interface ProofChanges {
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
  readonly signWith?: KeyObject;
}

/** A paired device. */
export interface Device {
  readonly id: string;
  readonly grant: Record<string, unknown>;
  accessToken: string;
  refreshToken: string;
  /** A proof for one request. */
  prove(method: string, url: string, token?: string, changes?: ProofChanges): string;
  /** Headers of a request with its token, and a proof where it gives them. */
  headers(method: string, url: string): Record<string, string>;
  /** A request of its own. */
  call(method: string, url: string, body?: unknown): Promise<TestResponse>;
  /** Renews its tokens. */
  renew(url: string): Promise<TestResponse>;
}

export async function startWorld(t: TestContext, options: HarnessOptions = {}): Promise<World> {
  const auth = await startAuth(t, options);
  const gateways = [await startGateway(t, { nats: auth.nats }), await startGateway(t, { nats: auth.nats })] as const;
  const { url } = gateways[0];
  for (const gateway of gateways)
    for (const { operator } of gateways)
      await waitUntil("the operators' tokens", 5000, async () => {
        const { status } = await send(`${gateway.url}/v1/session`, "GET", { authorization: `Bearer ${operator}` });
        return status === 200 || undefined;
      });
  const operator: World["operator"] = (method, path, body) =>
    gateways[0].call(method, path, body === undefined ? {} : { body });
  const pair = async (request: PairOptions = {}): Promise<Device> => {
    const device = newDevice(request.algorithm ?? "Ed25519", request.proves ?? true);
    const json = { "content-type": "application/json" };
    const wish = { deviceName: "Test device", publicKey: device.publicKey, scopes: request.scopes ?? [] };
    const started = await send(`${url}/v1/pairing`, "POST", json, wish);
    assert.equal(started.status, 200, started.text);
    const id = String(started.json["id"]);
    const code = await auth.codeOf(id);
    const signature = device.sign(`warren-pairing-v1\n${String(started.json["challenge"])}\n${code}\n${id}`);
    const target = `${url}/v1/pairing/${id}:complete`;
    const proof = device.proves ? { dpop: device.prove("POST", target) } : {};
    const completed = await send(target, "POST", { ...json, ...proof }, { code, signature });
    assert.equal(completed.status, 200, completed.text);
    return device.paired(completed.json);
  };
  return { auth, gateways, url, operator, pair };
}

export { send };

/** A key pair of a device, and what it makes of it. */
export function newDevice(algorithm: "Ed25519" | "P-256", proves: boolean) {
  const { publicKey, privateKey } =
    algorithm === "Ed25519" ? generateKeyPairSync("ed25519") : generateKeyPairSync("ec", { namedCurve: "P-256" });
  const jwk = publicKey.export({ format: "jwk" });
  const alg = algorithm === "Ed25519" ? "EdDSA" : "ES256";
  const signBytes = (text: string, key = privateKey): string =>
    (algorithm === "Ed25519"
      ? sign(null, Buffer.from(text), key)
      : sign("sha256", Buffer.from(text), { key, dsaEncoding: "ieee-p1363" })
    ).toString("base64url");
  const prove: Device["prove"] = (method, url, token, { claims = {}, header = {}, signWith } = {}) => {
    const ath = token === undefined ? {} : { ath: createHash("sha256").update(token).digest("base64url") };
    const now = Math.floor(Date.now() / 1000);
    const body = { jti: randomUUID(), htm: method, htu: url.split("?")[0], iat: now, ...ath, ...claims };
    const text = `${encode({ typ: "dpop+jwt", alg, jwk, ...header })}.${encode(body)}`;
    return `${text}.${signBytes(text, signWith)}`;
  };
  const paired = (grant: Record<string, unknown>): Device => {
    const device: Device = {
      id: String(grant["deviceId"]),
      grant,
      accessToken: String(grant["accessToken"]),
      refreshToken: String(grant["refreshToken"]),
      prove,
      headers: (method, url) =>
        proves
          ? { authorization: `DPoP ${device.accessToken}`, dpop: prove(method, url, device.accessToken) }
          : { authorization: `Bearer ${device.accessToken}` },
      call: (method, url, body) =>
        send(
          url,
          method,
          {
            ...device.headers(method, url),
            ...(body === undefined ? {} : { "content-type": "application/json" }),
          },
          body,
        ),
      renew: async (url) => {
        const target = `${url}/v1/token`;
        const proof = proves ? { dpop: prove("POST", target) } : {};
        const headers = { "content-type": "application/json", ...proof };
        const answer = await send(target, "POST", headers, { refreshToken: device.refreshToken });
        if (answer.status !== 200) return answer;
        device.accessToken = String(answer.json["accessToken"]);
        device.refreshToken = String(answer.json["refreshToken"]);
        return answer;
      },
    };
    return device;
  };
  return { proves, publicKey: JSON.stringify(jwk), privateKey, sign: signBytes, prove, paired };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
