// NATS permissions of a service, generated from the policy: allow-lists for publishing and subscribing.
// `allow_responses` is not used: with it, a requester could name any subject as its reply and have the answer published
// there. Instead a service may publish to inboxes of those it deals with, and only to those.
import { crossings } from "./crossings.ts";
import { streamName } from "./names.ts";
import { OBSERVER, type ServicePolicy, state, type StateSpec } from "./policy.ts";

/** What a NATS user may do. */
export interface NatsPermissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** The permissions of the service `name` under `policy`. */
export function permissionsOf(name: string, policy: ServicePolicy): NatsPermissions {
  const crossing = crossings();
  const owned: readonly StateSpec[] = policy.owns.map((key) => state[key]);
  return {
    publish: unique([
      // Replicas of one service answer each other.
      `_INBOX.${name}.>`,
      "$JS.API.INFO",
      // A replica asks whether there are others of its service.
      `$SRV.PING.${name}`,
      ...policy.calls.map((contract) => `mesh.${contract}.>`),
      ...policy.publishes.map((event) => `events.${event}`),
      ...owned.filter(({ kind }) => kind !== "events").flatMap(own),
      ...crossing.filter(({ from }) => from === name).map((each) => (each.kind === "stream" ? each.subject : each.as)),
    ]),
    subscribe: unique([
      `_INBOX.${name}.>`,
      "$SRV.>",
      ...policy.serves.map((contract) => `mesh.${contract}.>`),
      ...policy.subscribes.map((event) => `events.${event}`),
      ...crossing.filter(({ kind, to }) => kind === "stream" && to === name).map(({ subject }) => subject),
    ]),
  };
}

/** The permissions of who observes: to ask, and to hear answers. */
export const observerPermissions: NatsPermissions = { publish: ["$SRV.>"], subscribe: [`_INBOX.${OBSERVER}.>`] };

/** What an owner asks of JetStream in its own account, and where it writes. */
function own(spec: StateSpec): string[] {
  const stream = streamName(spec);
  return [
    ...["INFO", "MSG.GET", "CREATE", "UPDATE", "PURGE", "MSG.DELETE"].map((verb) => `$JS.API.STREAM.${verb}.${stream}`),
    `$JS.API.DIRECT.GET.${stream}`,
    `$JS.API.DIRECT.GET.${stream}.>`,
    `$JS.API.CONSUMER.CREATE.${stream}`,
    `$JS.API.CONSUMER.CREATE.${stream}.>`,
    `$JS.API.CONSUMER.INFO.${stream}.>`,
    `$JS.API.CONSUMER.DELETE.${stream}.>`,
    `$JS.API.CONSUMER.MSG.NEXT.${stream}.>`,
    `$JS.FC.${stream}.>`,
    ...write(spec),
  ];
}

function write({ kind, name }: StateSpec): string[] {
  if (kind === "kv") return [`$KV.${name}.>`];
  return kind === "stream" ? [`log.${name}.>`] : [`$O.${name}.>`];
}

function unique(subjects: readonly string[]): string[] {
  return [...new Set(subjects)];
}
