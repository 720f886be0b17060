// Secrets on loan to one plugin process, from the secrets service.
import { RpcError, type ServiceClient, StatusCode } from "@warren/mesh";
import type { SecretsServiceDefinition } from "@warren/proto/warren/secrets/v1/secrets";
import type { SecretLeases } from "../protocol/host-methods.ts";

/** How long ending the loans may take before the service's own expiry is relied upon, in milliseconds. */
const REVOKE_TIMEOUT_MS = 2000;

/** Loans of one process. The host asks in its own name: no caller of a tool holds the right. */
export function createSecretLeases(
  client: Pick<ServiceClient<SecretsServiceDefinition>, "leaseSecret" | "revokeLeases">,
  pluginId: string,
  instanceId: string,
  onError: (error: unknown) => void,
): SecretLeases {
  let used = false;
  return {
    async lease(name, signal) {
      used = true;
      try {
        const { value, version, expireTime } = await client.leaseSecret(
          { name, pluginId, instanceId, ttlSeconds: 0 },
          { signal },
        );
        return { value, version, expireTime };
      } catch (error) {
        if (error instanceof RpcError && error.code === StatusCode.NOT_FOUND) return undefined;
        throw error;
      }
    },
    async revokeAll() {
      if (!used) return;
      await client.revokeLeases({ pluginId, instanceId }, { timeoutMs: REVOKE_TIMEOUT_MS }).catch(onError);
    },
  };
}
