// The auth service on a mesh of its own, and callers as the gateway vouches for them.
import { randomBytes } from "node:crypto";
import type { TestContext } from "node:test";
import { type Caller, type CallOptions, type Mesh, RpcError, type ServiceClient, StatusCode } from "@warren/mesh";
import { AccessServiceDefinition } from "@warren/proto/warren/auth/v1/access";
import { AuthServiceDefinition, type StartPairingRequest, type TokenGrant } from "@warren/proto/warren/auth/v1/auth";
import { startNats, type TestNats } from "@warren/testing";
import { type Auth, type AuthDeps, createAuth } from "../../src/app.ts";
import { normalizeCode } from "../../src/pairing/code.ts";
import { type AuthStores, openStores } from "../../src/stores.ts";
import { testClock } from "./clock.ts";
import { newDevice, type TestDevice } from "./device.ts";

export interface AuthHarness {
  readonly nats: TestNats;
  readonly stores: AuthStores;
  readonly clock: ReturnType<typeof testClock>;
  readonly client: ServiceClient<typeof AuthServiceDefinition>;
  readonly access: ServiceClient<typeof AccessServiceDefinition>;
  /** The first replica itself. */
  readonly service: Auth;
  /** Events that any replica published, by type and in order. */
  readonly events: { readonly type: string; readonly event: object }[];
  /** Everything that any replica logged, as JSON. */
  readonly logged: string[];
  /** Serves one more replica of the service. */
  readonly addReplica: () => Promise<void>;
  /** Call options: who calls, from where. Nobody: a device that is not paired yet. */
  readonly as: (caller?: Partial<Caller>) => CallOptions;
  readonly operator: CallOptions;
  /** Pairs a device from start to end, as a person would. */
  readonly pair: (request?: Partial<StartPairingRequest>) => Promise<{ device: TestDevice; grant: TokenGrant }>;
  /** The code that the operator reads for a pairing. */
  readonly codeOf: (pairingId: string) => Promise<string>;
}

export interface HarnessOptions {
  readonly showCodeInLog?: boolean;
  /** No event can be published. */
  readonly deaf?: boolean;
  /** Puts something between the service and its state. */
  readonly wrap?: (stores: AuthStores) => AuthStores;
  /** Settings of every replica. */
  readonly settings?: Partial<Pick<AuthDeps, "factorPolicy" | "requireProof" | "operatorTokenFile">>;
}

export async function startAuth(t: TestContext, options: HarnessOptions = {}): Promise<AuthHarness> {
  const nats = await startNats(t);
  const clock = testClock();
  const sealingKey = randomBytes(32);
  const events: AuthHarness["events"] = [];
  const logged: string[] = [];
  const note = (fields: object, text: string): void => void logged.push(JSON.stringify({ ...fields, text }));
  let first: AuthStores | undefined;
  let service: Auth | undefined;

  const addReplica = async (): Promise<void> => {
    const mesh = await nats.connect("auth");
    const stores = await openStores(mesh);
    first ??= stores;
    const auth = await createAuth({
      mesh: options.deaf ? { publish: refuse, auditLog: mesh.auditLog } : recording(mesh, events),
      stores: options.wrap?.(stores) ?? stores,
      sealingKey,
      clock: clock.now,
      log: { info: note, warn: note },
      showCodeInLog: options.showCodeInLog ?? false,
      headStartMs: 0,
      ...options.settings,
    });
    service ??= auth;
    await mesh.serve(AuthServiceDefinition, auth.auth);
    await mesh.serve(AccessServiceDefinition, auth.access);
  };
  await addReplica();
  if (!first || !service) throw new Error("The first replica did not start");

  const gateway = await nats.connect("gateway");
  const client = gateway.client(AuthServiceDefinition);
  const access = gateway.client(AccessServiceDefinition);
  const as: AuthHarness["as"] = (caller = {}) => ({
    assertion: gateway.assert({
      principal: "anonymous",
      tenant: "default",
      scopes: [],
      address: "203.0.113.1",
      expiresAt: Date.now() + 60_000,
      ...caller,
    }),
  });
  const operator = as({ principal: "operator", scopes: ["*"] });
  const codeOf = async (pairingId: string): Promise<string> => {
    const { pairings } = await client.listPairings({}, operator);
    return normalizeCode(pairings.find(({ id }) => id === pairingId)?.code ?? "");
  };
  const pair: AuthHarness["pair"] = async (request = {}) => {
    const device = newDevice();
    const start = { deviceName: "Alice's laptop", publicKey: device.publicKey, scopes: [], ...request };
    const { id, challenge } = await client.startPairing(start, as());
    const code = await codeOf(id);
    const proof = { id, code, signature: device.prove(challenge, code, id) };
    return { device, grant: await client.completePairing(proof, as()) };
  };
  return {
    nats,
    stores: first,
    service,
    clock,
    client,
    access,
    events,
    logged,
    addReplica,
    as,
    operator,
    pair,
    codeOf,
  };
}

/** Nobody may receive security events but the audit to come, so they are noted where they are published. */
function recording(mesh: Mesh, events: AuthHarness["events"]): Pick<Mesh, "publish" | "auditLog"> {
  return {
    auditLog: mesh.auditLog,
    async publish(type, event, options) {
      await mesh.publish(type, event, options);
      events.push({ type: type.$type.replace("warren.events.v1.", ""), event: event as object });
    },
  };
}

function refuse(): Promise<never> {
  return Promise.reject(new RpcError(StatusCode.UNAVAILABLE, "The test lets no event through"));
}
