export {
  createCredentials,
  createSeed,
  parseCredentials,
  publicKeyOf,
  type ServiceCredentials,
} from "./credentials.ts";
export { accountOf, consumerName, deadLetterSubject, foreignApi, RECORDS, streamName } from "./names.ts";
export { type NatsPermissions, permissionsOf } from "./permissions.ts";
export {
  type ConsumerSpec,
  OBSERVER,
  type ServiceName,
  type ServicePolicy,
  services,
  state,
  type StateSpec,
} from "./policy.ts";
export { type NatsCluster, type NatsServerOptions, type NatsTls, natsServerConfig } from "./server-config.ts";
