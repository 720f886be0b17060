// The host calls of this version: a secret on loan, and a line in the log.
import { PermissionDenied, type Guard } from "../permissions/guard.ts";
import { HostCallRefused, type HostMethods } from "./host-calls.ts";

/** Loans of secrets for one plugin process. */
export interface SecretLeases {
  /** @returns the value and when the loan ends; undefined when there is no such secret. */
  lease(
    name: string,
    signal: AbortSignal,
  ): Promise<{ value: string; version: number; expireTime: Date | undefined } | undefined>;
  /** Ends all loans of the process. */
  revokeAll(): Promise<void>;
}

/** What the methods work with. */
export interface HostMethodDependencies {
  readonly guard: Guard;
  readonly leases: SecretLeases;
  readonly log: (text: string) => void;
}

/** The methods that one plugin process may call. */
export function createHostMethods({ guard, leases, log }: HostMethodDependencies): HostMethods {
  return {
    "host/secrets.lease": async ({ name }, signal) => {
      if (typeof name !== "string" || name.length > 128)
        throw new HostCallRefused("INVALID_ARGUMENT", "name must be a secret's name");
      try {
        guard.require(`secrets:lease:${name}`);
      } catch (error) {
        if (!(error instanceof PermissionDenied)) throw error;
        log(`was refused the secret ${JSON.stringify(name)}: no permission was granted for it`);
        throw new HostCallRefused("PERMISSION_DENIED", error.message);
      }
      const lease = await leases.lease(name, signal);
      if (!lease)
        throw new HostCallRefused("NOT_FOUND", `There is no secret ${name}: store it with "warren secret set ${name}"`);
      return { name, value: lease.value, version: lease.version, expireTime: lease.expireTime?.toISOString() ?? null };
    },
    "host/log": ({ level, message }) => {
      if (typeof message !== "string") throw new HostCallRefused("INVALID_ARGUMENT", "message must be text");
      const known = level === "debug" || level === "warn" || level === "error" ? level : "info";
      log(`[${known}] ${message}`);
      return Promise.resolve({});
    },
  };
}
