export { BytesMismatch, messageFromBytes } from "./binary.ts";
export { incompatibilities } from "./compatibility.ts";
export { eventContract } from "./events.ts";
export { bytesToJson, JsonMismatch, messageFromJson, messageToBytes } from "./json.ts";
export {
  DEFAULT_TIMEOUT_MS,
  describeMethod,
  type HttpRoute,
  type MethodContract,
  methodContract,
  methods,
} from "./methods.ts";
export { registry } from "./registry.ts";
export type { MethodShape } from "./shape.ts";
export { type FieldViolation, violations } from "./rules.ts";
export { allScopes, type RoleName, roles, scopesOfRole } from "./roles.ts";
