export { type Api, inClusterApi } from "./kubernetes-api.ts";
export { ensureSecrets, type EnsureSecretsOptions } from "./kubernetes-secrets.ts";
export { ensureFolder, type EnsureFolderOptions } from "./folder.ts";
export { type Generations, KINDS, type MaterialKind } from "./material.ts";
export { type NatsConfigOptions, writeNatsConfig } from "./nats-config.ts";
export { partNames } from "./parts.ts";
