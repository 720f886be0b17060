export { createCredentials, parseCredentials, type ServiceCredentials } from "./credentials.ts";
export { type NatsPermissions, permissionsOf, streamName } from "./permissions.ts";
export { type ServiceName, type ServicePolicy, services, state, type StateSpec } from "./policy.ts";
export { type NatsCluster, type NatsServerOptions, type NatsTls, natsServerConfig } from "./server-config.ts";
