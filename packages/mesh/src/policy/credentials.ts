// Credentials of the services of one mesh: an nkey each, and the public keys of all.
import { createUser, fromSeed } from "@nats-io/nkeys";
import type { TrustedKeys } from "../caller.ts";
import { type ServicePolicy, services } from "./policy.ts";

/** What one service needs to join the mesh. A file of its own, mode 0600; never in argv or the environment. */
export interface ServiceCredentials {
  /** The service's name. */
  readonly service: string;
  /** Its private nkey seed (`SU…`). */
  readonly seed: string;
  /** The public keys of every service, and who may speak for users. */
  readonly trusted: TrustedKeys;
}

/** Makes new identities for every service of a mesh. */
export function createCredentials(
  names: readonly string[] = Object.keys(services),
): Record<string, ServiceCredentials> {
  const seeds = names.map((name) => [name, createSeed()] as const);
  const policies: Readonly<Record<string, ServicePolicy>> = services;
  const trusted: TrustedKeys = {
    services: Object.fromEntries(seeds.map(([name, seed]) => [name, publicKeyOf(seed)])),
    speakForUsers: names.filter((name) => policies[name]?.speaksForUsers),
  };
  return Object.fromEntries(seeds.map(([service, seed]) => [service, { service, seed, trusted }]));
}

/** A new identity: a private nkey seed (`SU…`). */
export function createSeed(): string {
  return new TextDecoder().decode(createUser().getSeed());
}

/** The public nkey (`U…`) of a seed. */
export function publicKeyOf(seed: string): string {
  const pair = fromSeed(new TextEncoder().encode(seed));
  try {
    return pair.getPublicKey();
  } finally {
    pair.clear();
  }
}

/**
 * Reads what {@link createCredentials} made from its JSON.
 * @throws Error that says which part is missing.
 */
export function parseCredentials(json: string): ServiceCredentials {
  const parsed = JSON.parse(json) as Partial<ServiceCredentials>;
  const { service, seed, trusted } = parsed;
  if (!service || !seed || !trusted?.services || !Array.isArray(trusted.speakForUsers))
    throw new Error("A mesh credential needs service, seed and trusted: generate it again");
  return { service, seed, trusted };
}
