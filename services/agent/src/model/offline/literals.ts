// The values that a message spells out: quoted text, numbers, paths, addresses, time zones, JSON.

/** The values of one message, each kind in the order of its mention. */
export interface Literals {
  readonly quoted: readonly string[];
  readonly numbers: readonly number[];
  readonly paths: readonly string[];
  readonly urls: readonly string[];
  /** IANA names, also where the message names only the city. */
  readonly timeZones: readonly string[];
  /** The first JSON object, taken as the arguments themselves. */
  readonly json: Readonly<Record<string, unknown>> | undefined;
  /** `key=value` pairs. */
  readonly named: Readonly<Record<string, string>>;
  /** The message without all these. */
  readonly rest: string;
}

/** Finds {@link Literals}. Built once: the list of time zones is long. */
export function createLiteralReader(
  zones: readonly string[] = Intl.supportedValuesOf("timeZone"),
): (text: string) => Literals {
  const byName = new Map<string, string>([
    ["utc", "UTC"],
    ["gmt", "UTC"],
  ]);
  for (const zone of zones) {
    byName.set(zone.toLowerCase(), zone);
    const city = zone.split("/").at(-1)?.replaceAll("_", " ").toLowerCase();
    if (city && zone.includes("/") && !byName.has(city)) byName.set(city, zone);
  }
  return (text) => readLiterals(text, byName);
}

const URL_PATTERN = /\bhttps?:\/\/[^\s"'<>]+[^\s"'<>.,;:!?)]/g;
const PAIR_PATTERN = /\b([A-Za-z_][A-Za-z0-9_]*)=("[^"]*"|'[^']*'|[^\s,;]+)/g;
// A closing quote is not followed by a letter, nor an opening one preceded: "What's" and "dogs'" quote nothing.
const QUOTE_PATTERN = /"([^"]*)"|“([^”]*)”|‘([^’]*)’|`([^`]*)`|(?<![\p{L}\p{N}])'((?:[^']|'(?=\p{L}))*)'(?!\p{L})/gu;
const PATH_PATTERN =
  /(?<![\w/])(?:~|\.{1,2})?\/[\w.@+-]+(?:\/[\w.@+-]+)*\/?|(?<![\w./])[\w-]+(?:\/[\w.-]+)*\.[A-Za-z][A-Za-z0-9]{0,4}\b|(?<=\s)\/(?=[\s?!.]|$)/g;
const NUMBER_PATTERN = /(?<![\w.])-?\d+(?:\.\d+)?(?![\w]|\.\d)/g;
const ZONE_WORDS = 3;

function readLiterals(text: string, zonesByName: ReadonlyMap<string, string>): Literals {
  const { json, without } = takeJson(text);
  let rest = without;
  const take = (pattern: RegExp, found: (match: RegExpMatchArray) => void): void => {
    for (const match of rest.matchAll(pattern)) found(match);
    rest = rest.replace(pattern, " ");
  };
  const named: Record<string, string> = {};
  const quoted: string[] = [];
  const urls: string[] = [];
  const paths: string[] = [];
  const numbers: number[] = [];
  take(PAIR_PATTERN, (match) => (named[match[1] ?? ""] = (match[2] ?? "").replace(/^(["'])(.*)\1$/, "$2")));
  take(QUOTE_PATTERN, (match) => quoted.push(match.slice(1, 6).find((each) => each !== undefined) ?? ""));
  take(URL_PATTERN, (match) => urls.push(match[0]));
  const zones = takeZones(rest, zonesByName);
  rest = zones.rest;
  take(PATH_PATTERN, (match) => paths.push(match[0].replace(/(?<=[^./])\.$/, "")));
  take(NUMBER_PATTERN, (match) => numbers.push(Number(match[0])));
  return { quoted, numbers, paths, urls, timeZones: zones.found, json, named, rest: rest.replace(/\s+/g, " ").trim() };
}

function takeJson(text: string): { json: Readonly<Record<string, unknown>> | undefined; without: string } {
  const start = text.indexOf("{");
  let end = start < 0 ? -1 : text.lastIndexOf("}");
  while (end > start) {
    try {
      const json = JSON.parse(text.slice(start, end + 1)) as Record<string, unknown>;
      return { json, without: `${text.slice(0, start)} ${text.slice(end + 1)}` };
    } catch {
      // Not JSON up to this brace: perhaps up to the one before it.
      end = text.lastIndexOf("}", end - 1);
    }
  }
  return { json: undefined, without: text };
}

function takeZones(text: string, zonesByName: ReadonlyMap<string, string>): { found: string[]; rest: string } {
  const tokens = [...text.matchAll(/[\p{L}][\p{L}_+-]*(?:\/[\p{L}_+\-0-9]+)*/gu)];
  const found: string[] = [];
  const cuts: [number, number][] = [];
  for (let index = 0; index < tokens.length; index++) {
    for (let length = Math.min(ZONE_WORDS, tokens.length - index); length > 0; length--) {
      const first = tokens[index];
      const last = tokens[index + length - 1];
      if (!first || !last) continue;
      const end = last.index + last[0].length;
      const name = text.slice(first.index, end);
      const zone = zonesByName.get(name.toLowerCase());
      // A city is written with a capital: "reading" is no town here, and neither is "nome".
      if (!zone || (!/^\p{Lu}/u.test(name) && !name.includes("/") && zone !== "UTC")) continue;
      found.push(zone);
      cuts.push([first.index, end]);
      index += length - 1;
      break;
    }
  }
  let rest = text;
  for (const [start, end] of cuts.toReversed()) rest = `${rest.slice(0, start)} ${rest.slice(end)}`;
  return { found, rest };
}
