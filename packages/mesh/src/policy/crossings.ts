// What crosses from one account to another. Each service has an account of its own, because JetStream publishes for whoever
// asks it, to any subject, without asking for that user's permissions: it does so within the account in which it was asked,
// and what leaves an account stands here. Both ends of nats-server's configuration and the permissions of users follow.
import {
  accountOf,
  changesSubject,
  consumerName,
  deadLetterSubject,
  foreignApi,
  RECORDS,
  type StateName,
  streamName,
} from "./names.ts";
import { OBSERVER, type ServicePolicy, services, state, type StateSpec } from "./policy.ts";

/** Messages of a subject that are published in one account and arrive in another as they are, their reply subject with them. */
export interface StreamCrossing {
  readonly kind: "stream";
  readonly from: string;
  readonly to: string;
  readonly subject: string;
}

/** Requests to a subject of another account. Their answers come back to the account that asked, wherever they are to go there. */
export interface ServiceCrossing {
  readonly kind: "service";
  /** Who asks. */
  readonly from: string;
  /** Who answers. */
  readonly to: string;
  /** The subject where it is answered. */
  readonly subject: string;
  /** The subject where it is asked. */
  readonly as: string;
  /** One request may have several answers. */
  readonly manyAnswers?: true;
}

export type Crossing = StreamCrossing | ServiceCrossing;

/** All that crosses between the accounts of a mesh. */
export function crossings(): readonly Crossing[] {
  const policies: readonly [string, ServicePolicy][] = Object.entries(services);
  const found = policies.flatMap(([name, policy]) => [
    ...calls(name, policy, policies),
    ...events(name, policy, policies),
    ...records(name, policy),
    ...stateOfOthers(name, policy),
    stream(OBSERVER, name, "$SRV.>"),
    stream(name, OBSERVER, `_INBOX.${OBSERVER}.>`),
  ]);
  return [...new Map(found.map((each) => [JSON.stringify(each), each])).values()];
}

/** Calls there; answers back; and there again what a caller says to the handler: that it reads on, or no longer waits. */
function calls(caller: string, { calls }: ServicePolicy, policies: readonly [string, ServicePolicy][]): Crossing[] {
  return policies
    .filter(([server]) => server !== caller)
    .flatMap(([server, { serves }]) => {
      const contracts = serves.filter((contract) => calls.includes(contract));
      if (contracts.length === 0) return [];
      return [
        ...contracts.map((contract) => stream(caller, server, `mesh.${contract}.>`)),
        stream(server, caller, `_INBOX.${caller}.>`),
        stream(caller, server, `_INBOX.${server}.>`),
      ];
    });
}

function events(publisher: string, policy: ServicePolicy, policies: readonly [string, ServicePolicy][]): Crossing[] {
  return policies
    .filter(([listener]) => listener !== publisher)
    .flatMap(([listener, { subscribes }]) =>
      common(policy.publishes, subscribes).map((pattern) => stream(publisher, listener, `events.${pattern}`)),
    );
}

/** The audit and the dead letters: feeding them, keeping them, reading them, and the places of durable consumers. */
function records(name: string, policy: ServicePolicy): Crossing[] {
  const ask = (subject: string, more: Partial<ServiceCrossing> = {}): Crossing => ({
    kind: "service",
    from: name,
    to: RECORDS,
    subject,
    as: subject,
    ...more,
  });
  const api = (question: string, more: Partial<ServiceCrossing> = {}): Crossing =>
    ask(`$JS.API.${question}`, { as: `${foreignApi(RECORDS)}.${question}`, ...more });
  const streams = (keys: readonly StateName[]): string[] =>
    keys.filter((key) => state[key].kind === "events").map((key) => streamName(state[key]));
  return [
    ...policy.feeds.map((pattern) => ask(`events.${pattern}`)),
    // Message by message: whoever may create a consumer may also have it deliver to any subject.
    ...streams([...policy.reads, ...policy.owns]).flatMap((stream) => [
      api(`STREAM.INFO.${stream}`),
      api(`STREAM.MSG.GET.${stream}`),
    ]),
    // Nobody empties the records: not even their owner purges or deletes.
    ...streams(policy.owns).flatMap((stream) => [
      api(`STREAM.CREATE.${stream}`),
      api(`STREAM.UPDATE.${stream}`),
      ...consumersOf(stream).flatMap((consumer) => [
        api(`CONSUMER.CREATE.${consumer}`),
        api(`CONSUMER.INFO.${consumer}`),
      ]),
    ]),
    ...policy.consumes.flatMap(({ stream, durable }) => {
      const consumer = `${streamName(state[stream])}.${consumerName(name, durable)}`;
      return [
        api(`CONSUMER.INFO.${consumer}`),
        api(`CONSUMER.MSG.NEXT.${consumer}`, { manyAnswers: true }),
        ask(`$JS.ACK.${consumer}.>`),
        ask(deadLetterSubject(name, durable)),
      ];
    }),
  ];
}

/** Every durable consumer of a stream, as `<stream>.<consumer>`. */
function consumersOf(stream: string): string[] {
  return Object.entries<ServicePolicy>(services).flatMap(([name, { consumes }]) =>
    consumes
      .filter((each) => streamName(state[each.stream]) === stream)
      .map(({ durable }) => `${stream}.${consumerName(name, durable)}`),
  );
}

function stateOfOthers(name: string, { reads, writes }: ServicePolicy): Crossing[] {
  const kept = (keys: readonly StateName[]): [StateSpec, string][] =>
    keys.filter((key) => state[key].kind !== "events").map((key) => [state[key], accountOf(key)]);
  const api = (owner: string, question: string): Crossing => ({
    kind: "service",
    from: name,
    to: owner,
    subject: `$JS.API.${question}`,
    as: `${foreignApi(owner)}.${question}`,
  });
  return [
    ...kept(reads).flatMap(([spec, owner]) => [
      api(owner, `STREAM.INFO.${streamName(spec)}`),
      api(owner, `STREAM.MSG.GET.${streamName(spec)}`),
      stream(owner, name, `${changesSubject(spec.name)}.>`),
    ]),
    ...kept(writes).flatMap(([spec, owner]) => [
      api(owner, `STREAM.INFO.${streamName(spec)}`),
      api(owner, `STREAM.MSG.GET.${streamName(spec)}`),
      api(owner, `DIRECT.GET.${streamName(spec)}.>`),
      // An object that is replaced leaves chunks behind, which the writer purges.
      api(owner, `STREAM.PURGE.${streamName(spec)}`),
      { kind: "service" as const, from: name, to: owner, subject: `$O.${spec.name}.>`, as: `$O.${spec.name}.>` },
    ]),
  ];
}

function stream(from: string, to: string, subject: string): StreamCrossing {
  return { kind: "stream", from, to, subject };
}

/** What two lists of names and prefixes both cover. */
function common(ones: readonly string[], others: readonly string[]): string[] {
  return ones.flatMap((one) =>
    others.flatMap((other) => {
      if (covers(other, one)) return [one];
      return covers(one, other) ? [other] : [];
    }),
  );
}

function covers(pattern: string, name: string): boolean {
  return pattern === name || (pattern.endsWith(".>") && name.startsWith(pattern.slice(0, -1)));
}
