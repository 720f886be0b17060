// The names of all events that the contracts define, and what a subject says by them.
import { eventContract, registry } from "@warren/contract";
import { decodeToken } from "../subject.ts";

/** Where the contracts define events: each message there is one. */
const PACKAGE = "warren.events.v1";
const PREFIX = "events.";

interface KnownEvent {
  readonly name: string;
  readonly typeName: string;
  readonly audited: boolean;
}

const known: readonly KnownEvent[] = [...registry]
  .filter((type) => type.kind === "message" && !type.parent && type.file.proto.package === PACKAGE)
  .map(({ typeName }) => ({ typeName, name: eventContract(typeName).name, audited: eventContract(typeName).audited }));

const byName: ReadonlyMap<string, KnownEvent> = new Map(known.map((event) => [event.name, event]));

/** What the subject of an event says. */
export interface EventAddress {
  /** `plugin.state.changed`; of an event that these contracts do not know: the name and the key, if it has one. */
  readonly name: string;
  /** Which of many, where the publisher said so. */
  readonly key: string | undefined;
  /** The message's full name; undefined when these contracts do not know the event. */
  readonly typeName: string | undefined;
}

/** Reads the subject of an event: `events.<name>[.<key>]`. */
export function parseEventSubject(subject: string): EventAddress {
  const rest = subject.slice(PREFIX.length);
  const whole = byName.get(rest);
  if (whole) return { name: rest, key: undefined, typeName: whole.typeName };
  const dot = rest.lastIndexOf(".");
  const keyed = byName.get(rest.slice(0, dot));
  if (keyed) return { name: keyed.name, key: decodeToken(rest.slice(dot + 1)), typeName: keyed.typeName };
  return { name: rest, key: undefined, typeName: undefined };
}

/**
 * Whether the name of an event matches a pattern: `*` stands for one token, a last `>` for one or more.
 * Keys are no part of a name.
 */
export function matchesPattern(pattern: string, name: string): boolean {
  const wanted = pattern.split(".");
  const tokens = name.split(".");
  const open = wanted.at(-1) === ">";
  if (open ? tokens.length < wanted.length : tokens.length !== wanted.length) return false;
  return (open ? wanted.slice(0, -1) : wanted).every((token, index) => token === "*" || token === tokens[index]);
}

/**
 * The subjects by which NATS selects what a pattern of names matches, and little else.
 * @throws Error when it is no pattern.
 */
export function patternSubjects(pattern: string): readonly string[] {
  assertPattern(pattern);
  const subject = PREFIX + pattern;
  // The key is one token more.
  return pattern.endsWith(">") ? [subject] : [subject, `${subject}.*`];
}

/** The subjects of the audit stream: the families, by first token, of all events that are audited. */
export function auditedSubjects(): readonly string[] {
  const families = known.filter(({ audited }) => audited).map(({ name }) => name.split(".")[0] ?? name);
  return [...new Set(families)].sort().map((family) => `${PREFIX}${family}.>`);
}

/** @throws Error when the pattern is none, or no audited event matches: nothing would ever come. */
export function assertStored(pattern: string): void {
  assertPattern(pattern);
  if (!known.some(({ name, audited }) => audited && matchesPattern(pattern, name)))
    throw new Error(`No event that is kept matches ${pattern}: set audited in its contract`);
}

function assertPattern(pattern: string): void {
  if (!/^([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.>)?$|^>$/.test(pattern))
    throw new Error(`${pattern} is no pattern of event names: write plugin.>, plugin.*.changed or >`);
}
