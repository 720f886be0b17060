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

/** Whether a name is one of these, or begins with one that ends in `>`. */
export function covers(patterns: readonly string[], name: string): boolean {
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
  "$JS.API.ACCOUNT.PURGE.records",
  "$JS.API.ACCOUNT.STREAM.MOVE.secrets.KV_secrets",
] as const;
const OF_A_STREAM = ["INFO", "MSG.GET", "CREATE", "UPDATE", "PURGE", "MSG.DELETE"] as const;
const OF_ONE_CONSUMER = ["CREATE", "INFO", "DELETE", "MSG.NEXT"] as const;
const NEVER_OF_A_STREAM = ["DELETE", "SNAPSHOT", "RESTORE", "PEER.REMOVE", "LEADER.STEPDOWN"] as const;
const NEVER_OF_A_CONSUMER = ["NAMES", "LIST"] as const;
const NEVER_OF_ONE_CONSUMER = ["DURABLE.CREATE", "LEADER.STEPDOWN", "PAUSE", "UNPIN"] as const;
const SYSTEM = [
  "$SYS.REQ.SERVER.PING",
  "$SYS.REQ.ACCOUNT.auth.CONNZ",
  "$SYS.REQ.USER.INFO",
  "$SYS.REQ.SERVER.x.RELOAD",
  "$JS.EVENT.ADVISORY.x",
  "anything",
] as const;

/** Whether one of two services calls the other. */
function deal(one: string, other: string): boolean {
  const asks = (caller: string, server: string): boolean =>
    (policies[caller] as ServicePolicy).calls.some((contract) => policies[server]?.serves.includes(contract));
  return asks(one, other) || asks(other, one);
}

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
  // Whoever is asked answers at the asker's inbox, and is told there whether it is still waited for.
  for (const each of Object.keys(policies)) expected.set(`_INBOX.${each}.x.y`, each === name || deal(name, each));
  expected.set("_INBOX.observer.x.y", true);
  for (const verb of ["PING", "INFO", "STATS"]) {
    expected.set(`$SRV.${verb}`, false);
    for (const other of others(name)) expected.set(`$SRV.${verb}.${other}`, false);
  }
  expected.set(`$SRV.PING.${name}`, true);
  return expected;
}

/** What a service may ask and write of a piece of state: in its own account all that an owner needs, in another's what is shared. */
function publishingTo(
  expected: Expectations,
  name: string,
  policy: ServicePolicy,
  key: keyof typeof state,
  spec: StateSpec,
): void {
  const stream = streamName(spec);
  const records = spec.kind === "events";
  const owner = Object.keys(policies).find((each) => policies[each]?.owns.includes(key)) as string;
  const owns = policy.owns.includes(key);
  const [reads, writes] = [policy.reads.includes(key), policy.writes.includes(key)];
  expected.set(`$KV.${spec.name}.key`, spec.kind === "kv" && owns);
  expected.set(`log.${spec.name}.key`, spec.kind === "stream" && owns);
  expected.set(`$O.${spec.name}.C.x`, spec.kind === "objects" && (owns || writes));
  const ask = (prefix: string, may: Readonly<Record<string, boolean>>): void => {
    const question = (text: string): unknown => expected.set(`${prefix}.${text}`, may[text] ?? false);
    for (const verb of [...OF_A_STREAM, ...NEVER_OF_A_STREAM]) question(`STREAM.${verb}.${stream}`);
    for (const more of ["", ".some.subject"]) question(`DIRECT.GET.${stream}${more}`);
    question(`CONSUMER.CREATE.${stream}`);
    for (const verb of NEVER_OF_A_CONSUMER) question(`CONSUMER.${verb}.${stream}`);
    for (const verb of [...OF_ONE_CONSUMER, ...NEVER_OF_ONE_CONSUMER]) question(`CONSUMER.${verb}.${stream}.x`);
  };
  const all = (...questions: readonly string[]) => Object.fromEntries(questions.map((each) => [each, true] as const));
  const stream1 = (...verbs: readonly string[]) => verbs.map((verb) => `STREAM.${verb}.${stream}`);
  ask(
    "$JS.API",
    owns && !records
      ? all(
          ...stream1(...OF_A_STREAM),
          `DIRECT.GET.${stream}`,
          `DIRECT.GET.${stream}.some.subject`,
          `CONSUMER.CREATE.${stream}`,
          ...OF_ONE_CONSUMER.map((verb) => `CONSUMER.${verb}.${stream}.x`),
        )
      : {},
  );
  for (const account of [...Object.keys(policies), "records"]) {
    const there = account === (records ? "records" : owner) && account !== name;
    ask(`JS.${account}.API`, {
      ...(there && (reads || writes || (owns && records)) ? all(...stream1("INFO", "MSG.GET")) : {}),
      ...(there && writes ? all(...stream1("PURGE"), `DIRECT.GET.${stream}.some.subject`) : {}),
      ...(there && owns && records ? all(...stream1("CREATE", "UPDATE")) : {}),
    });
  }
  expected.set(`$JS.ACK.${stream}.x.1.1.1.1.1`, false);
  if (records) consuming(expected, name, key, owns);
}

/** Durable consumers: made by the owner of their stream, each used by its own service. */
function consuming(expected: Expectations, name: string, key: keyof typeof state, owns: boolean): void {
  for (const [other, { consumes }] of Object.entries(policies))
    for (const { stream: of, durable } of consumes) {
      expected.set(`dead_letters.${other}.${durable}`, other === name);
      if (of !== key) continue;
      const consumer = `${streamName(state[key])}.${other}_${durable}`;
      const api = "JS.records.API.CONSUMER";
      expected.set(`${api}.CREATE.${consumer}`, owns);
      expected.set(`${api}.INFO.${consumer}`, owns || other === name);
      expected.set(`${api}.MSG.NEXT.${consumer}`, other === name);
      expected.set(`${api}.DELETE.${consumer}`, false);
      for (const verb of ["CREATE", "INFO", "MSG.NEXT", "DELETE"])
        expected.set(`$JS.API.CONSUMER.${verb}.${consumer}`, false);
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
  for (const [key, spec] of states) {
    for (const subject of [`$KV.${spec.name}.>`, `$O.${spec.name}.>`, `log.${spec.name}.>`, `${spec.name}.>`])
      expected.set(subject, false);
    expected.set(`changed.${spec.name}.>`, spec.kind === "kv" && policy.reads.includes(key));
  }
  for (const subject of [">", "*", "*.>", "_INBOX.>", "_INBOX.*.>", "mesh.>", "events.>", "$KV.>", "$O.>", "log.>"])
    expected.set(subject, false);
  for (const subject of [
    "$SYS.>",
    "$JS.>",
    "$JS.API.>",
    "$JS.ACK.>",
    "$JS.EVENT.>",
    "$JSC.>",
    "JS.>",
    "changed.>",
    "anything",
  ])
    expected.set(subject, false);
  expected.set("$SRV.>", true);
  return expected;
}
