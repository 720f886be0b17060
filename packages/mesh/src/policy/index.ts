export { createCredentials, parseCredentials, type ServiceCredentials } from "./credentials.ts";
export { type NatsPermissions, permissionsOf, streamName } from "./permissions.ts";
export { type ServiceName, type ServicePolicy, services, state, type StateSpec } from "./policy.ts";
export { type NatsServerOptions, natsServerConfig } from "./server-config.ts";
