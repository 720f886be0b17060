// What each service may publish and receive, said once more in the policy's own words: subjects of every family, with
// the answer that a server must give. Written without the code that generates the permissions.
import { eventContract, methods, registry } from "@warren/contract";
import { type ServicePolicy, services, state, type StateSpec, streamName } from "@warren/mesh/policy";

/** Subjects, and whether the service may. */
export type Expectations = Map<string, boolean>;

const policies: Readonly<Record<string, ServicePolicy>> = services;
const others = (name: string): string[] => Object.keys(policies).filter((each) => each !== name);
const states = Object.entries(state) as [keyof typeof state, StateSpec][];

const events: readonly string[] = [...registry]
  .filter((type) => type.kind === "message" && !type.parent && type.file.proto.package === "warren.events.v1")
  .map(({ typeName }) => eventContract(typeName).name);

/** The subjects of every contract: its methods, their keys, and where callers cancel and ask. */
function methodSubjects(): { contract: string; subject: string }[] {
  const found = [...methods.values()].flatMap(({ service: contract, name, keyField }) => {
    const subject = `mesh.${contract}.${name}`;
    return [subject, ...(keyField === undefined ? [] : [`${subject}.key`])].map((each) => ({
      contract,
      subject: each,
    }));
  });
  const contracts = new Set(found.map(({ contract }) => contract));
  const control = [...contracts].flatMap((contract) =>
    ["_cancel", "_probe"].map((name) => ({ contract, subject: `mesh.${contract}.${name}` })),
  );
  return [...found, ...control];
}

function covers(patterns: readonly string[], name: string): boolean {
  return patterns.some((each) => each === name || (each.endsWith(".>") && name.startsWith(each.slice(0, -1))));
}

/** What nobody may ask of JetStream: to look at everything, to delete, copy or move streams, to change the cluster. */
const NEVER_ASKED = [
  "$JS.API.STREAM.NAMES",
  "$JS.API.STREAM.LIST",
  "$JS.API.STREAM.TEMPLATE.CREATE.x",
  "$JS.API.STREAM.CREATE.anything",
  "$JS.API.CONSUMER.CREATE.anything",
  "$JS.API.META.LEADER.STEPDOWN",
  "$JS.API.SERVER.REMOVE",
  "$JS.API.ACCOUNT.PURGE.WARREN",
  "$JS.API.ACCOUNT.STREAM.MOVE.WARREN.KV_secrets",
] as const;
const NEVER_OF_A_STREAM = ["DELETE", "SNAPSHOT", "RESTORE", "PEER.REMOVE", "LEADER.STEPDOWN"] as const;
const NEVER_OF_A_CONSUMER = ["NAMES", "LIST"] as const;
const NEVER_OF_ONE_CONSUMER = ["DURABLE.CREATE", "LEADER.STEPDOWN", "PAUSE", "UNPIN"] as const;
const SYSTEM = [
  "$SYS.REQ.SERVER.PING",
  "$SYS.REQ.ACCOUNT.WARREN.CONNZ",
  "$SYS.REQ.USER.INFO",
  "$SYS.REQ.SERVER.x.RELOAD",
  "$JS.EVENT.ADVISORY.x",
  "anything",
] as const;

/** What a service may publish. */
export function publishing(name: string): Expectations {
  const policy = policies[name] as ServicePolicy;
  const expected: Expectations = new Map();
  for (const { contract, subject } of methodSubjects()) expected.set(subject, policy.calls.includes(contract));
  for (const event of events) {
    expected.set(`events.${event}`, covers(policy.publishes, event));
    expected.set(`events.${event}.key`, covers(policy.publishes, event));
  }
  for (const [key, spec] of states) publishingTo(expected, name, policy, key, spec);
  for (const subject of [...NEVER_ASKED, ...SYSTEM]) expected.set(subject, false);
  expected.set("$JS.API.INFO", true);
  // Whoever has been asked answers at the asker's inbox, which nobody else can guess.
  for (const each of Object.keys(policies)) expected.set(`_INBOX.${each}.x.y`, true);
  for (const verb of ["PING", "INFO", "STATS"]) {
    expected.set(`$SRV.${verb}`, false);
    for (const other of others(name)) expected.set(`$SRV.${verb}.${other}`, false);
  }
  expected.set(`$SRV.PING.${name}`, true);
  return expected;
}

function publishingTo(
  expected: Expectations,
  name: string,
  policy: ServicePolicy,
  key: keyof typeof state,
  spec: StateSpec,
): void {
  const stream = streamName(spec);
  const owns = policy.owns.includes(key);
  const writes = policy.writes.includes(key);
  const sees = owns || writes || policy.reads.includes(key);
  const events = spec.kind === "events";
  expected.set(`$KV.${spec.name}.key`, spec.kind === "kv" && (owns || writes));
  expected.set(`log.${spec.name}.key`, spec.kind === "stream" && (owns || writes));
  expected.set(`$O.${spec.name}.C.x`, spec.kind === "objects" && (owns || writes));
  const stream1 = (verb: string, may: boolean): unknown => expected.set(`$JS.API.STREAM.${verb}.${stream}`, may);
  stream1("INFO", sees || policy.feeds.includes(key));
  stream1("MSG.GET", sees);
  stream1("CREATE", owns || policy.feeds.includes(key));
  stream1("UPDATE", owns);
  stream1("PURGE", !events && (owns || (writes && spec.kind === "objects")));
  stream1("MSG.DELETE", owns && !events);
  for (const verb of NEVER_OF_A_STREAM) stream1(verb, false);
  expected.set(`$JS.API.DIRECT.GET.${stream}`, sees && !events);
  expected.set(`$JS.API.DIRECT.GET.${stream}.some.subject`, sees && !events);
  expected.set(`$JS.API.CONSUMER.CREATE.${stream}`, sees && !events);
  for (const verb of NEVER_OF_A_CONSUMER) expected.set(`$JS.API.CONSUMER.${verb}.${stream}`, false);
  for (const verb of ["CREATE", "INFO", "DELETE", "MSG.NEXT"])
    expected.set(`$JS.API.CONSUMER.${verb}.${stream}.x`, sees && !events);
  for (const verb of NEVER_OF_ONE_CONSUMER) expected.set(`$JS.API.CONSUMER.${verb}.${stream}.x`, false);
  expected.set(`$JS.ACK.${stream}.x.1.1.1.1.1`, false);
  if (!events) return;
  // Durable consumers: each service's own, by name.
  for (const [other, { consumes }] of Object.entries(policies))
    for (const { stream: of, durable } of consumes) {
      expected.set(`dead_letters.${other}.${durable}`, other === name);
      if (of !== key) continue;
      const consumer = `${stream}.${other}_${durable}`;
      for (const verb of ["CREATE", "INFO", "MSG.NEXT"])
        expected.set(`$JS.API.CONSUMER.${verb}.${consumer}`, other === name);
      expected.set(`$JS.API.CONSUMER.DELETE.${consumer}`, false);
      expected.set(`$JS.ACK.${consumer}.1.1.1.1.1`, other === name);
    }
}

/** What a service may subscribe to. */
export function subscribing(name: string): Expectations {
  const policy = policies[name] as ServicePolicy;
  const expected: Expectations = new Map();
  for (const { contract, subject } of methodSubjects()) expected.set(subject, policy.serves.includes(contract));
  for (const event of events) {
    expected.set(`events.${event}`, covers(policy.subscribes, event));
    expected.set(`events.${event}.>`, covers(policy.subscribes, event));
  }
  expected.set(`_INBOX.${name}.>`, true);
  for (const other of others(name)) {
    expected.set(`_INBOX.${other}.>`, false);
    expected.set(`_INBOX.${other}.x`, false);
  }
  for (const [, spec] of states)
    for (const subject of [`$KV.${spec.name}.>`, `$O.${spec.name}.>`, `log.${spec.name}.>`, `${spec.name}.>`])
      expected.set(subject, false);
  for (const subject of [">", "*", "*.>", "_INBOX.>", "_INBOX.*.>", "mesh.>", "events.>", "$KV.>", "$O.>", "log.>"])
    expected.set(subject, false);
  for (const subject of ["$SYS.>", "$JS.>", "$JS.API.>", "$JS.ACK.>", "$JS.EVENT.>", "$JSC.>", "anything"])
    expected.set(subject, false);
  expected.set("$SRV.>", true);
  return expected;
}
