// A gateway for tests: a real HTTP port, a real mesh with the real permissions, and services that answer as the test says.
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { type Handlers, jsonCodec, type Kv, type Mesh, type ServiceDefinition } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { AccessServiceDefinition } from "@warren/proto/warren/auth/v1/access";
import { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import { PluginServiceDefinition } from "@warren/proto/warren/plugins/v1/plugins";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import { Health } from "@warren/service";
import { silentLog, startNats, type TestNats, waitUntil } from "@warren/testing";
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from "jose";
import { buildGateway, type Gateway, type GatewayDependencies } from "../src/app.ts";
import { gatewayConfig } from "../src/config.ts";
import type { Credential } from "../src/identity/credentials.ts";
import type { SigningKey } from "../src/identity/jwt.ts";
import type { ConsoleSession } from "../src/identity/sessions.ts";
import { parsePolicy } from "../src/limits/policy.ts";
import { openState } from "../src/state.ts";

const definitions = {
  agent: AgentServiceDefinition,
  auth: AuthServiceDefinition,
  access: AccessServiceDefinition,
  "plugin-host": PluginServiceDefinition,
  secrets: SecretsServiceDefinition,
};

type Services = { [Name in keyof typeof definitions]?: Partial<Handlers<(typeof definitions)[Name]>> };

export interface TestOptions extends Partial<Omit<GatewayDependencies, "config" | "mesh" | "state">> {
  readonly config?: Partial<GatewayDependencies["config"]>;
  /** Handlers of the methods that the test calls; the others of a named service fail. */
  readonly handlers?: Services;
  readonly nats?: TestNats;
}

export interface TestGateway {
  readonly url: string;
  readonly port: number;
  /** Where gRPC is served. */
  readonly grpcAddress: string;
  readonly gateway: Gateway;
  readonly nats: TestNats;
  readonly auth: AuthState;
  /** A token that holds everything. */
  readonly operator: string;
  /** Calls the gateway as the operator, unless `headers` say otherwise. */
  readonly call: (method: string, path: string, options?: CallOptions) => Promise<TestResponse>;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** Send no token. */
  readonly anonymous?: boolean;
}

export interface TestResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body, where it is a JSON object. */
  readonly json: Record<string, unknown>;
}

/** What the auth service keeps for the gateway. */
export interface AuthState {
  readonly keys: Kv<SigningKey>;
  readonly credentials: Kv<Credential>;
  readonly revocations: Kv<object>;
  readonly sessions: Kv<ConsoleSession>;
  /** Resolves when the gateway's watch knows a credential; absent before there is a gateway. */
  credentialSeen?(id: string): Promise<unknown>;
}

/** No limit is met by tests that are not about limits. */
export const generous = parsePolicy({
  limits: [{ name: "global", algorithm: "bucket", key: "global", limit: 100_000, period: 1 }],
});

/** Builds a gateway that ends with its test. */
export async function startGateway(t: TestContext, options: TestOptions = {}): Promise<TestGateway> {
  const { config, handlers = {}, nats = await startNats(t), ...deps } = options;
  const authMesh = await nats.connect("auth");
  const auth: AuthState = {
    keys: await authMesh.kv("auth_keys", jsonCodec<SigningKey>()),
    credentials: await authMesh.kv("auth_credentials", jsonCodec<Credential>()),
    revocations: await authMesh.kv("auth_revocations", jsonCodec<object>()),
    sessions: await authMesh.kv("auth_sessions", jsonCodec<ConsoleSession>()),
  };
  const hostMesh = await nats.connect("plugin-host");
  await hostMesh.objects("plugin_packages");
  await hostMesh.kv("plugin_status", jsonCodec<object>());
  const operator = await addCredential(auth, { scopes: ["*"], principal: "operator" });
  for (const [name, partial] of Object.entries(handlers)) {
    const mesh =
      name === "auth" || name === "access" ? authMesh : name === "plugin-host" ? hostMesh : await nats.connect(name);
    await serve(mesh, definitions[name as keyof typeof definitions], partial);
  }
  const mesh = await nats.connect("gateway");
  const state = await openState(mesh);
  auth.credentialSeen = (id) => waitUntil("The watch", 10_000, () => state.credentials.get(id));
  const health = new Health();
  health.check("nats", () => (mesh.up ? Promise.resolve() : Promise.reject(new Error("disconnected"))));
  const tempDir = mkdtempSync(join(tmpdir(), "warren-gateway-"));
  const gateway = await buildGateway({
    config: { ...gatewayConfig.parse({ port: 0 }), ...config },
    policy: generous,
    mesh,
    state,
    health,
    log: silentLog,
    redis: undefined,
    version: "0.0.0",
    services: [],
    tempDir,
    ...deps,
  });
  const url = await gateway.listen();
  const grpcAddress = await gateway.listenGrpc();
  t.after(async () => {
    await gateway.drain(0);
    gateway.close();
    rmSync(tempDir, { recursive: true, force: true });
  });
  const call = (
    method: string,
    path: string,
    { body, headers, anonymous = false }: CallOptions = {},
  ): Promise<TestResponse> =>
    send(
      url + path,
      method,
      {
        ...(anonymous ? {} : { authorization: `Bearer ${operator}` }),
        ...(body === undefined || Buffer.isBuffer(body) ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body,
    );
  return { url, port: Number(new URL(url).port), grpcAddress, gateway, nats, auth, operator, call };
}

/** One request on a connection of its own. */
export async function send(
  url: string,
  method: string,
  headers: Record<string, string>,
  body?: unknown,
): Promise<TestResponse> {
  const bytes =
    body === undefined ? undefined : typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  const response = await new Promise<TestResponse>((resolve, reject) => {
    const length =
      bytes === undefined || headers["transfer-encoding"] ? {} : { "content-length": String(Buffer.byteLength(bytes)) };
    const outgoing = httpRequest(url, { method, headers: { ...length, ...headers }, agent: false }, (incoming) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("error", reject);
      incoming.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        const pairs = Object.entries(incoming.headersDistinct).flatMap(([name, values]) =>
          (values ?? []).map((value): [string, string] => [name, value]),
        );
        const isJson =
          /json/.test(incoming.headers["content-type"] ?? "") && !/ndjson/.test(incoming.headers["content-type"] ?? "");
        resolve({
          status: incoming.statusCode ?? 0,
          headers: new Headers(pairs),
          text,
          json: isJson && text ? (JSON.parse(text) as Record<string, unknown>) : {},
        });
      });
    });
    outgoing.on("error", reject);
    // A server that says nothing for so long says nothing at all: the test fails rather than waits.
    outgoing.setTimeout(60_000, () => outgoing.destroy(new Error(`${method} ${url} was not answered in 60 s`)));
    outgoing.end(bytes);
  });
  return response;
}

/** Bytes on a connection, as they are; everything that comes back until the server closes it. */
export function raw(port: number, bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    const chunks: Buffer[] = [];
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(Buffer.concat(chunks).toString()));
  });
}

/** Adds an opaque token, and waits until the gateway has been told of it. */
export async function addCredential(
  auth: AuthState,
  {
    scopes = ["*"],
    principal = "key:test",
    kind = "operator" as Credential["kind"],
    ...more
  }: Partial<Credential> = {},
): Promise<string> {
  const id = randomBytes(6).toString("hex");
  const token = `${kind === "operator" ? "wop" : "wak"}_${id}_${randomBytes(24).toString("base64url")}`;
  const hash = createHash("sha256").update(token).digest("hex");
  await auth.credentials.put(id, { kind, hash, principal, tenant: "default", scopes, createdAt: Date.now(), ...more });
  await auth.credentialSeen?.(id);
  return token;
}

export interface TestKey {
  readonly kid: string;
  readonly privateKey: CryptoKey;
}

/** Adds a signing key. */
export async function addKey(auth: AuthState, more: Partial<SigningKey> = {}): Promise<TestKey> {
  const { publicKey, privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const kid = randomBytes(8).toString("hex");
  await auth.keys.put(kid, { jwk: await exportJWK(publicKey), notBefore: Date.now() - 1000, ...more });
  return { kid, privateKey };
}

/** An access token as the auth service signs it, with what a test wants otherwise. */
export function accessToken(
  { kid, privateKey }: TestKey,
  more: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: "warren",
    aud: "warren",
    sub: "device:d1",
    scope: "chat sessions:read",
    tenant: "default",
    sid: "s1",
    iat: now,
    exp: now + 60,
  };
  return new SignJWT({ ...claims, ...more })
    .setProtectedHeader({ alg: "EdDSA", typ: "at+jwt", kid, ...header })
    .sign(privateKey);
}

async function serve(mesh: Mesh, definition: ServiceDefinition, partial: object): Promise<void> {
  const missing = (): Promise<never> => Promise.reject(new Error("The test gave no handler"));
  const all = Object.fromEntries(Object.keys(definition.methods).map((name) => [name, missing]));
  await mesh.serve(definition, { ...all, ...partial } as unknown as Handlers<ServiceDefinition>);
}
