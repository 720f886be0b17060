// How accounts and state are called on the wire.
import { type ServicePolicy, services, state, type StateSpec } from "./policy.ts";

/** A piece of state, as the policy calls it. */
export type StateName = keyof typeof state;

/** The account that keeps the streams of events. It has no user: whoever could publish there could forge what happened. */
export const RECORDS = "records";

const prefixes = { kv: "KV_", stream: "", objects: "OBJ_", events: "" } as const;

/** The JetStream stream that holds a piece of state. */
export function streamName({ kind, name }: StateSpec): string {
  return prefixes[kind] + name;
}

/** The account in which a piece of state lies: that of the service that owns it, or the one of the records. */
export function accountOf(key: StateName): string {
  if (state[key].kind === "events") return RECORDS;
  const policies: Readonly<Record<string, ServicePolicy>> = services;
  const owner = Object.keys(policies).find((name) => policies[name]?.owns.includes(key));
  if (owner === undefined) throw new Error(`The mesh's policy gives the state ${key} to no service`);
  return owner;
}

/** Where other accounts ask for what JetStream keeps in this one; their permissions and imports name each question. */
export function foreignApi(account: string): string {
  return `JS.${account}.API`;
}

/** Where a bucket's changes are told to services that read it, once they are stored: this and the key. */
export function changesSubject(bucket: string): string {
  return `changed.${bucket}`;
}

/** Whether other services read a piece of state. */
export function hasReaders(key: StateName): boolean {
  return Object.values<ServicePolicy>(services).some(({ reads }) => reads.includes(key));
}

/** The name of a service's durable consumer on the wire. */
export function consumerName(service: string, durable: string): string {
  return `${service}_${durable}`;
}

/** Where a service's durable consumer puts what it cannot handle. */
export function deadLetterSubject(service: string, durable: string): string {
  return `${state.dead_letters.name}.${service}.${durable}`;
}
