// What JetStream publishes for a service stays in that service's account, unless the service might publish it itself.
import assert from "node:assert/strict";
import test from "node:test";
import type { NatsConnection } from "@nats-io/transport-node";
import { jsonCodec } from "@warren/mesh";
import { type ServiceName, type ServicePolicy, services, state } from "@warren/mesh/policy";
import { waitUntil } from "@warren/testing";
import { crossings } from "../src/policy/crossings.ts";
import { changesRepublish } from "./nats-features.ts";
import { publishing } from "./permission-matrix.ts";
import { rawConnection } from "./raw.ts";
import { type Spy, startSpiedNats } from "./spies.ts";

/** A bucket of each service's own. */
const OWN = {
  gateway: "gateway_config",
  auth: "auth_devices",
  agent: "agent_turns",
  "plugin-host": "plugins",
  secrets: "secrets",
} as const satisfies Record<ServiceName, keyof typeof state>;

const DELIVERED = /pushed/;
/** A consumer that is there to be pulled from. */
const PULLED = "pulled";

/** Has JetStream publish something to a subject of the attacker's choice. */
type Trick = (victim: string) => void;

/** Every way in which JetStream publishes to where it is told. */
function tricks(raw: NatsConnection, bucket: string): Record<string, Trick> {
  const stream = `KV_${bucket}`;
  const ask = (question: string, request: object | undefined, reply?: string): void =>
    raw.publish(
      question.startsWith("$") ? question : `$JS.API.${question}`,
      request && JSON.stringify(request),
      reply ? { reply } : {},
    );
  const consumer = (name: string, more: object): void => {
    const config = { name, ack_policy: "none", inactive_threshold: 60e9, ...more };
    ask(`CONSUMER.CREATE.${stream}.${name}`, { stream_name: stream, config });
  };
  let pushed = 0;
  return {
    "the answer to what JetStream offers": (victim) => ask("INFO", undefined, victim),
    "the answer to how a stream is": (victim) => ask(`STREAM.INFO.${stream}`, undefined, victim),
    "the word that a value is stored": (victim) => ask(`$KV.${bucket}.forged`, { forged: true }, victim),
    "a stored value, read": (victim) =>
      ask(`STREAM.MSG.GET.${stream}`, { last_by_subj: `$KV.${bucket}.forged` }, victim),
    "a stored value, read as it is": (victim) =>
      ask(`DIRECT.GET.${stream}`, { last_by_subj: `$KV.${bucket}.forged` }, victim),
    "the word that there is no value, pulled": (victim) =>
      ask(`CONSUMER.MSG.NEXT.${stream}.${PULLED}`, { batch: 1, no_wait: true }, victim),
    "a stored value, pushed": (victim) => consumer(`pushed${(pushed += 1)}`, { deliver_subject: victim }),
  };
}

/** Subjects that a service may not publish to, of all that is there to be forged. */
function forbidden(name: ServiceName): string[] {
  const expected = [...publishing(name)].filter(([, may]) => !may).map(([subject]) => subject);
  const forgeable = /^(mesh|events|_INBOX|dead_letters|\$KV|\$O|log)\./;
  // Of its own buckets a service may tell what it likes.
  const { owns }: ServicePolicy = services[name];
  const others = Object.entries(state).filter(([key]) => !owns.includes(key as keyof typeof state));
  const changes = others.map(([, spec]) => `changed.${spec.name}.forged`);
  return [...expected.filter((subject) => forgeable.test(subject)), ...changes];
}

/** What was heard of these subjects in others' accounts. */
function breaches(attacker: string, spies: readonly Spy[], subjects: readonly string[]): string[] {
  const wanted = new Set(subjects);
  return spies
    .filter(({ account }) => account !== attacker)
    .flatMap(({ account, heard }) =>
      heard.filter((subject) => wanted.has(subject)).map((subject) => `${attacker} in ${account}: ${subject}`),
    );
}

test("what JetStream publishes for a service leaves its account only where the service might publish it itself", async (t) => {
  const { nats, spies } = await startSpiedNats(t);
  for (const name of Object.keys(services) as ServiceName[])
    await t.test(name, async () => {
      const mesh = await nats.connect(name);
      await mesh.kv(OWN[name], jsonCodec<object>());
      const raw = await rawConnection({ ...nats, url: nats.urls[0] as string }, name);
      t.after(() => raw.close());
      const own = spies.find(({ account }) => account === name) as Spy;
      const victims = forbidden(name);
      const stored = `$KV.${OWN[name]}.forged`;
      assert.ok(victims.length > 50);
      // JetStream pushes only where somebody listens to exactly this subject.
      await Promise.all(spies.map((spy) => spy.listen(victims)));
      await raw.request(`$JS.API.STREAM.UPDATE.KV_${OWN[name]}`, await allowingDirect(raw, OWN[name]));
      await raw.request(stored, "{}");
      // Nothing is stored under what it is there for: each pull gets the word that there is nothing.
      const nothing = `$KV.${OWN[name]}.nothing`;
      const config = { name: PULLED, durable_name: PULLED, ack_policy: "none", filter_subject: nothing };
      const pulled = JSON.stringify({ stream_name: `KV_${OWN[name]}`, config });
      await raw.request(`$JS.API.CONSUMER.CREATE.KV_${OWN[name]}.${PULLED}.${nothing}`, pulled);
      for (const [trick, publish] of Object.entries(tricks(raw, OWN[name]))) {
        for (const spy of spies) spy.heard.length = 0;
        for (const victim of victims) publish(victim);
        // It is published: whoever listens in the attacker's own account hears it.
        await waitUntil(`${trick} of ${name}`, 10_000, () => {
          const heard = new Set(own.heard);
          // What a consumer delivers is shown under the subject by which it was stored.
          const delivered = DELIVERED.test(trick) ? own.heard.filter((each) => each === stored).length : 0;
          return victims.filter((victim) => !heard.has(victim)).length <= delivered || undefined;
        });
        await Promise.all(spies.map((spy) => spy.flush()));
        assert.deepEqual(breaches(name, spies, [...victims, stored]), [], trick);
      }
    });
});

/** A bucket's configuration, with answers that are the stored messages themselves. */
async function allowingDirect(raw: NatsConnection, bucket: string): Promise<string> {
  const info = (await raw.request(`$JS.API.STREAM.INFO.KV_${bucket}`)).json<{ config: object }>();
  return JSON.stringify({ ...info.config, allow_direct: true });
}

test("the answers to what a service asks of another account come to its own account, whatever reply it names", async (t) => {
  const { nats, spies } = await startSpiedNats(t);
  await Promise.all(
    Object.entries(OWN).map(async ([name, bucket]) => (await nats.connect(name)).kv(bucket, jsonCodec<object>())),
  );
  const auth = await nats.connect("auth");
  await Promise.all([auth.kv("auth_keys", jsonCodec<object>()), waitUntil("the audit", 10_000, () => auth.auditLog())]);
  for (const name of Object.keys(services) as ServiceName[]) {
    const raw = await rawConnection({ ...nats, url: nats.urls[0] as string }, name);
    t.after(() => raw.close());
    const questions = crossings().flatMap((each) => (each.kind === "service" && each.from === name ? [each.as] : []));
    const victims = forbidden(name);
    for (const spy of spies) spy.heard.length = 0;
    for (const question of questions)
      for (const reply of victims) raw.publish(question.replace(/>$/, "forged"), "{}", { reply });
    const own = spies.find(({ account }) => account === name) as Spy;
    if (questions.length > 0)
      await waitUntil(`answers to ${name}`, 10_000, () => {
        const heard = new Set(own.heard);
        return victims.every((victim) => heard.has(victim)) || undefined;
      });
    await Promise.all([raw.flush(), ...spies.map((spy) => spy.flush())]);
    assert.deepEqual(breaches(name, spies, victims), []);
  }
});

test("a service's streams neither copy another's nor hear what is said in other accounts", async (t) => {
  if (!changesRepublish(t)) return;
  const { nats, spies } = await startSpiedNats(t);
  const vault = await (await nats.connect("secrets")).kv("secrets", jsonCodec<string>());
  await vault.put("token", "s3cr3t");
  await (await nats.connect("gateway")).kv("gateway_config", jsonCodec<string>());
  const raw = await rawConnection({ ...nats, url: nats.urls[0] as string }, "gateway");
  t.after(() => raw.close());
  const own = spies.find(({ account }) => account === "gateway") as Spy;
  const theirs = spies.find(({ account }) => account === "secrets") as Spy;
  const { config } = (await raw.request("$JS.API.STREAM.INFO.KV_gateway_config")).json<{ config: object }>();
  theirs.heard.length = 0;
  const external = { api: "JS.secrets.API", deliver: "copied.secrets" };
  const greedy = {
    ...config,
    subjects: ["$KV.gateway_config.>", "$KV.secrets.>", "mesh.>", "events.>"],
    sources: [{ name: "KV_secrets", external }],
    republish: { src: "$KV.gateway_config.>", dest: "$KV.auth_keys.>" },
  };
  const answer = (await raw.request("$JS.API.STREAM.UPDATE.KV_gateway_config", JSON.stringify(greedy))).json<{
    error?: object;
  }>();
  assert.equal(answer.error, undefined, "the stream is its own to change");
  await waitUntil("the attempt to copy", 10_000, () => own.heard.find((each) => each.startsWith("JS.secrets.API.")));
  await vault.put("token", "s3cr3t again");
  await Promise.all(spies.map((spy) => spy.flush()));
  assert.deepEqual(
    theirs.heard.filter((subject) => subject.includes("CONSUMER") || subject.startsWith("copied.")),
    [],
  );
  const { state: kept } = (await raw.request("$JS.API.STREAM.INFO.KV_gateway_config")).json<{
    state: { messages: number };
  }>();
  assert.equal(kept.messages, 0);
});
