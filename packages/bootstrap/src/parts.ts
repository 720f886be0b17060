// What each part of a deployed mesh is given: its own secrets and no other's. On disk a part is a folder, on Kubernetes a Secret.
import { OBSERVER, publicKeyOf, type ServiceCredentials, type ServicePolicy, services } from "@warren/mesh/policy";
import type { Material } from "./material.ts";

/** Files by name. */
export type Files = Readonly<Record<string, Buffer>>;

/** File names that the deployment's settings name. */
export const FILE = {
  credential: "mesh.json",
  operatorToken: "operator-token",
  rootKey: "root.key",
  redisPassword: "redis-password",
  redisConfig: "redis.conf",
  publicKeys: "public-keys.json",
  routePassword: "route-password",
} as const;

/** The names of all parts: the services, and the servers that they need. */
export function partNames(): string[] {
  return [...Object.keys(services), "nats", "redis"];
}

/** The files of each part. */
export function filesOf(material: Material): Record<string, Files> {
  const publicKeys = Object.fromEntries(
    Object.entries(material.mesh).map(([name, seed]) => [name, publicKeyOf(seed)] as const),
  );
  const more: Readonly<Record<string, Files>> = {
    gateway: { [FILE.redisPassword]: text(material.redis) },
    auth: { [FILE.operatorToken]: text(material.operator) },
    secrets: { [FILE.rootKey]: Buffer.from(material.root, "base64") },
  };
  // Who observes is a person: the seed stays with the material, and no service believes its key.
  const { [OBSERVER]: _, ...trusted } = publicKeys;
  const own = Object.keys(trusted).map((service) => {
    const seed = material.mesh[service] ?? "";
    const credential: ServiceCredentials = {
      service,
      seed,
      trusted: { services: trusted, speakForUsers: speakers() },
    };
    return [service, { [FILE.credential]: text(JSON.stringify(credential)), ...more[service] }] as const;
  });
  return {
    ...Object.fromEntries(own),
    nats: { [FILE.publicKeys]: text(JSON.stringify(publicKeys)), [FILE.routePassword]: text(material.route) },
    // Only the password: how much to hold and where is the deployment's to say.
    redis: { [FILE.redisConfig]: text(`requirepass ${material.redis}`) },
  };
}

function speakers(): string[] {
  const policies: Readonly<Record<string, ServicePolicy>> = services;
  return Object.keys(policies).filter((name) => policies[name]?.speaksForUsers);
}

function text(content: string): Buffer {
  return Buffer.from(`${content}\n`);
}
