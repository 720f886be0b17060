// What a person has said of themselves in this conversation, and the questions that ask for it.
import { stem, words } from "./words.ts";

/** Facts by subject (`name`, `home`, `favourite colour`), the newest last. Nothing is kept outside the conversation. */
export type Facts = ReadonlyMap<string, readonly string[]>;

interface Pattern {
  readonly subject: string;
  readonly says: RegExp;
  /** Adds to what is known, where other subjects replace it. */
  readonly collects?: true;
}

const END = String.raw`(?=\s*(?:[.!?;,](?:\s|$)|$|\s+and\s+(?:i|my)\b))`;
const VALUE = String.raw`([^.!?;,]{1,80}?|[^!?;]{1,80}?)`;

const PATTERNS: readonly Pattern[] = [
  {
    subject: "name",
    says: new RegExp(String.raw`\b(?:i am called|i'm called|call me|my friends call me)\s+${VALUE}${END}`, "i"),
  },
  // A capital tells a name from a mood: "I'm Alice" but not "I'm tired".
  {
    subject: "name",
    says: /\b(?:[Ii]['’]m|[Ii] am)\s+(\p{Lu}[\p{L}'’-]+(?:\s\p{Lu}[\p{L}'’-]+)?)(?=\s*(?:[.!,;]|$|\s+and\s))/u,
  },
  { subject: "home", says: new RegExp(String.raw`\bi (?:live|am living) in\s+${VALUE}${END}`, "i") },
  { subject: "origin", says: new RegExp(String.raw`\b(?:i['’]m|i am|i come) from\s+${VALUE}${END}`, "i") },
  { subject: "work", says: new RegExp(String.raw`\bi work\s+((?:as|at|for|in)\s+[^.!?;,]{1,80}?)${END}`, "i") },
  { subject: "likes", says: new RegExp(String.raw`\bi (?:like|love|enjoy)\s+${VALUE}${END}`, "i"), collects: true },
  { subject: "note", says: /\bremember(?: that|:)\s+([^\n]{1,200}?)[.!]?\s*$/i, collects: true },
];

const MY_IS = new RegExp(String.raw`\bmy ((?:[\p{L}']+ ){0,2}[\p{L}']+) (?:is|are)\s+${VALUE}${END}`, "giu");

/** Collects the facts of a person's messages, oldest first. A later word on the same subject replaces the earlier. */
export function collectFacts(messages: readonly string[]): Facts {
  const facts = new Map<string, string[]>();
  for (const message of messages) {
    if (isQuestion(message)) continue;
    const text = message.replaceAll("’", "'");
    for (const { subject, says, collects } of PATTERNS) {
      const value = says.exec(text)?.[1]?.trim();
      if (!value) continue;
      const known = facts.get(subject) ?? [];
      facts.set(subject, collects ? [...known.filter((each) => each !== value), value] : [value]);
    }
    for (const [, subject, value] of text.matchAll(MY_IS)) {
      if (subject && value) facts.set(subjectOf(subject), [value.trim()]);
    }
  }
  return facts;
}

/** The answer to a question about what was said, or undefined when `question` asks for something else. */
export function recall(question: string, facts: Facts): string | undefined {
  const text = question.replaceAll("’", "'").toLowerCase();
  if (/\bwhat (?:do|did) (?:you (?:know|remember)|i (?:tell|say))\b/.test(text)) return everything(facts);
  const subject = askedSubject(text);
  if (!subject) return undefined;
  const values = facts.get(subject);
  return values
    ? phrase(subject, values.join(" and "))
    : `You have not told me ${UNKNOWN[subject] ?? `your ${subject}`} yet.`;
}

/** How the newest message's facts are acknowledged, or undefined when it has none. */
export function acknowledge(message: string): string | undefined {
  const [first] = collectFacts([message]);
  if (!first) return undefined;
  const [subject, values] = first;
  const value = values.join(" and ");
  return subject === "name"
    ? `Nice to meet you, ${value}! I will remember your name.`
    : `I will remember that. ${phrase(subject, value)}`;
}

const UNKNOWN: Readonly<Record<string, string>> = {
  home: "where you live",
  origin: "where you are from",
  work: "where you work",
  likes: "what you like",
  note: "anything to remember",
};

function askedSubject(text: string): string | undefined {
  if (/\bwho am i\b|\bwhat am i called\b/.test(text)) return "name";
  if (/\bwhere do i live\b/.test(text)) return "home";
  if (/\bwhere am i from\b|\bwhere do i come from\b/.test(text)) return "origin";
  if (/\bwhere do i work\b|\bwhat do i do for (?:a living|work)\b|\bwhat is my job\b/.test(text)) return "work";
  if (/\bwhat do i (?:like|love|enjoy)\b/.test(text)) return "likes";
  const asked =
    /\b(?:what|who)(?:'s| is| are| was|re)? my ((?:[\p{L}']+ ){0,2}[\p{L}']+)\s*\??\s*$/u.exec(text)?.[1] ??
    /\b(?:know|remember|recall|tell me|say) (?:what )?my ((?:[\p{L}']+ ){0,2}?[\p{L}']+)(?: is)?\s*\??\s*[.!]?$/u.exec(
      text,
    )?.[1];
  return asked && subjectOf(asked);
}

function subjectOf(said: string): string {
  const plain = words(said)
    .filter((word) => !["own", "full", "first", "again"].includes(word))
    .map((word) => (word === "favorite" ? "favourite" : word === "color" ? "colour" : word));
  const subject = plain.join(" ");
  return stem(subject) === stem("names") ? "name" : subject;
}

function phrase(subject: string, value: string): string {
  switch (subject) {
    case "name":
      return `Your name is ${value}.`;
    case "home":
      return `You live in ${value}.`;
    case "origin":
      return `You are from ${value}.`;
    case "work":
      return `You work ${value}.`;
    case "likes":
      return `You like ${value}.`;
    case "note":
      return `You asked me to remember: ${value}.`;
    default:
      return `Your ${subject} is ${value}.`;
  }
}

function everything(facts: Facts): string {
  if (facts.size === 0) return "You have not told me anything about yourself yet.";
  return [...facts].map(([subject, values]) => phrase(subject, values.join(" and "))).join(" ");
}

function isQuestion(message: string): boolean {
  return /\?\s*$/.test(message) && !/[.!;]\s/.test(message);
}
