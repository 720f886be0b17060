export { createCredentials, parseCredentials, type ServiceCredentials } from "./credentials.ts";
export { consumerName, deadLetterSubject, type NatsPermissions, permissionsOf, streamName } from "./permissions.ts";
export { type ConsumerSpec, type ServiceName, type ServicePolicy, services, state, type StateSpec } from "./policy.ts";
export { type NatsCluster, type NatsServerOptions, type NatsTls, natsServerConfig } from "./server-config.ts";
