// What the mesh's tests share: real contracts served with handlers of their own.
import type { Caller, Handlers, Mesh } from "@warren/mesh";
import { RpcError, StatusCode } from "@warren/mesh";
import { AgentServiceDefinition } from "@warren/proto/warren/agent/v1/agent";
import { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";

type SecretsHandlers = Handlers<typeof SecretsServiceDefinition>;
type AgentHandlers = Handlers<typeof AgentServiceDefinition>;

function notGiven(): Promise<never> {
  return Promise.reject(new RpcError(StatusCode.UNIMPLEMENTED, "not given by this test"));
}

/** Serves the secrets contract: what a test needs, and UNIMPLEMENTED for the rest. */
export function serveSecrets(mesh: Mesh, handlers: Partial<SecretsHandlers>): Promise<void> {
  const names = ["putSecret", "getSecret", "listSecrets", "deleteSecret", "leaseSecret", "revokeLeases"] as const;
  const rest = Object.fromEntries(names.map((name) => [name, notGiven]));
  return mesh.serve(SecretsServiceDefinition, { ...rest, ...handlers } as SecretsHandlers);
}

/** The same for the agent contract. */
export function serveAgent(mesh: Mesh, handlers: Partial<AgentHandlers>): Promise<void> {
  const rest = { chat: notGiven, listSessions: notGiven, getSession: notGiven, streamChat: noEvents };
  return mesh.serve(AgentServiceDefinition, { ...rest, ...handlers } as AgentHandlers);
}

async function* noEvents(): AsyncGenerator<never> {
  // Ends at once.
}

/** A caller as the gateway asserts it. */
export function user(scopes: readonly string[], more: Partial<Caller> = {}): Caller {
  return { principal: "device:d1", tenant: "default", scopes, expiresAt: Date.now() + 60_000, ...more };
}

/** The code of the RpcError that a promise rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<number> {
  try {
    await promise;
    return StatusCode.OK;
  } catch (error) {
    if (error instanceof RpcError) return error.code;
    throw error;
  }
}
