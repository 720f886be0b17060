// NATS permissions of a service, generated from the policy: allow-lists for publishing and subscribing.
// `allow_responses` is not used: with it, a requester could name any subject as its reply and have the answer published
// there. Instead a service may publish to inboxes, and only to those.
import { type ConsumerSpec, type ServicePolicy, state, type StateSpec } from "./policy.ts";

/** What a NATS user may do. */
export interface NatsPermissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** The permissions of the service `name` under `policy`. */
export function permissionsOf(name: string, policy: ServicePolicy): NatsPermissions {
  return {
    publish: [
      "_INBOX.>",
      "$JS.API.INFO",
      // A replica asks whether there are others of its service.
      `$SRV.PING.${name}`,
      ...policy.calls.map((contract) => `mesh.${contract}.>`),
      ...policy.publishes.map((event) => `events.${event}`),
      ...policy.owns.flatMap((key) => own(state[key])),
      ...policy.reads.flatMap((key) => read(state[key])),
      ...policy.writes.flatMap((key) => [...read(state[key]), ...write(state[key])]),
      ...policy.feeds.flatMap((key) => feed(state[key])),
      ...policy.consumes.flatMap((consumer) => consume(name, consumer)),
    ],
    subscribe: [
      `_INBOX.${name}.>`,
      "$SRV.>",
      ...policy.serves.map((contract) => `mesh.${contract}.>`),
      ...policy.subscribes.map((event) => `events.${event}`),
    ],
  };
}

const prefixes = { kv: "KV_", stream: "", objects: "OBJ_", events: "" } as const;

/** The JetStream stream that holds a piece of state. */
export function streamName({ kind, name }: StateSpec): string {
  return prefixes[kind] + name;
}

/** The name of a service's durable consumer on the wire. */
export function consumerName(service: string, durable: string): string {
  return `${service}_${durable}`;
}

/** Where a service's durable consumer puts what it cannot handle. */
export function deadLetterSubject(service: string, durable: string): string {
  return `${state.dead_letters.name}.${service}.${durable}`;
}

function read(spec: StateSpec): string[] {
  const stream = streamName(spec);
  // Message by message: whoever may create a consumer may also have it deliver to any subject.
  if (spec.kind === "events") return [`$JS.API.STREAM.INFO.${stream}`, `$JS.API.STREAM.MSG.GET.${stream}`];
  return [
    `$JS.API.STREAM.INFO.${stream}`,
    `$JS.API.STREAM.MSG.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}.>`,
    `$JS.API.CONSUMER.CREATE.${stream}`,
    `$JS.API.CONSUMER.CREATE.${stream}.>`,
    `$JS.API.CONSUMER.INFO.${stream}.>`,
    `$JS.API.CONSUMER.DELETE.${stream}.>`,
    `$JS.API.CONSUMER.MSG.NEXT.${stream}.>`,
    `$JS.FC.${stream}.>`,
  ];
}

function write(spec: StateSpec): string[] {
  if (spec.kind === "kv") return [`$KV.${spec.name}.>`];
  if (spec.kind === "stream") return [`log.${spec.name}.>`];
  // An object that is replaced leaves chunks behind, which the writer purges.
  return [`$O.${spec.name}.>`, `$JS.API.STREAM.PURGE.OBJ_${spec.name}`];
}

/** A stream that is there cannot be changed by creating it. */
function feed(spec: StateSpec): string[] {
  const stream = streamName(spec);
  return [`$JS.API.STREAM.INFO.${stream}`, `$JS.API.STREAM.CREATE.${stream}`];
}

function consume(service: string, { stream, durable }: ConsumerSpec): string[] {
  const consumer = `${stream}.${consumerName(service, durable)}`;
  return [
    `$JS.API.CONSUMER.CREATE.${consumer}`,
    `$JS.API.CONSUMER.INFO.${consumer}`,
    `$JS.API.CONSUMER.MSG.NEXT.${consumer}`,
    `$JS.ACK.${consumer}.>`,
    deadLetterSubject(service, durable),
  ];
}

function own(spec: StateSpec): string[] {
  const stream = streamName(spec);
  // Nobody empties the audit: not even its owner purges or deletes.
  if (spec.kind === "events") return [...feed(spec), ...read(spec), `$JS.API.STREAM.UPDATE.${stream}`];
  const manage = ["CREATE", "UPDATE", "PURGE", "MSG.DELETE"].map((verb) => `$JS.API.STREAM.${verb}.${stream}`);
  return [...read(spec), ...write(spec), ...manage];
}
