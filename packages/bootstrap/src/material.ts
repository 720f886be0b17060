// Every secret that a deployed mesh begins with, in one place: what the parts are given is derived from it.
import { randomBytes } from "node:crypto";
import { createSeed, OBSERVER, publicKeyOf, services } from "@warren/mesh/policy";

/** The secrets of one mesh. Kept apart from all services: whoever holds it is all of them at once. */
export interface Material {
  readonly version: 1;
  /** Private nkey seeds by the name of a service or the observer. */
  readonly mesh: Readonly<Record<string, string>>;
  /** By which the NATS servers of a cluster know one another. */
  readonly route: string;
  readonly redis: string;
  readonly operator: string;
  /** The vault's root key, base64. Without it the stored secrets cannot be read again. */
  readonly root: string;
  /** The word under which each kind was last made anew; see {@link renewalsOf}. */
  readonly generations?: Generations;
}

/** A word for each kind, which somebody changes to have the kind made anew: `{redis: "2027-01"}`. */
export type Generations = Readonly<Partial<Record<MaterialKind, string>>>;

/** What can be made anew by itself. The vault's root key cannot: what it seals would be lost. */
export const KINDS = ["mesh", "route", "redis", "operator"] as const;
export type MaterialKind = (typeof KINDS)[number];

const OPERATOR = /^wop_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/;
const PASSWORD = /^[A-Za-z0-9_-]{32,}$/;
const ROOT_BYTES = 32;

/**
 * The whole material: what is there is kept, what is missing (a service that is new in this version) is made.
 * @param renew What to make anew although it is there.
 * @param generations Words to remember beside it.
 */
export function completeMaterial(
  found: Partial<Material> = {},
  renew: readonly MaterialKind[] = [],
  generations: Generations = {},
): Material {
  const kept = { ...found };
  for (const kind of renew) delete kept[kind];
  const mesh = [...Object.keys(services), OBSERVER].map((name) => [name, kept.mesh?.[name] ?? createSeed()] as const);
  return {
    version: 1,
    mesh: Object.fromEntries(mesh),
    route: kept.route ?? newPassword(),
    redis: kept.redis ?? newPassword(),
    operator: kept.operator ?? newOperatorToken(found.operator),
    root: kept.root ?? randomBytes(ROOT_BYTES).toString("base64"),
    generations: { ...kept.generations, ...generations },
  };
}

/** The kinds whose word has changed. A kind that had no word yet is only given one: nothing is made anew by surprise. */
export function renewalsOf(found: Partial<Material>, wanted: Generations): MaterialKind[] {
  return KINDS.filter((kind) => {
    const before = found.generations?.[kind];
    return before !== undefined && wanted[kind] !== undefined && wanted[kind] !== before;
  });
}

/**
 * Reads what {@link serializeMaterial} wrote. Members may be missing: they are made anew.
 * @throws Error that says which member is wrong, never its value.
 */
export function parseMaterial(json: string): Partial<Material> {
  const parsed = parse(json) as Partial<Material>;
  if (typeof parsed !== "object" || parsed === null || parsed.version !== 1) throw damaged("version");
  const wrong = Object.entries(checks).find(([name, check]) => {
    const value = parsed[name as keyof Material];
    return value !== undefined && !check(value);
  });
  if (wrong) throw damaged(wrong[0]);
  return parsed;
}

/** The material as text, the same for the same material. */
export function serializeMaterial(material: Material): string {
  return `${JSON.stringify(material)}\n`;
}

const checks: Readonly<Record<string, (value: unknown) => boolean>> = {
  mesh: (value) => typeof value === "object" && value !== null && Object.values(value).every(isSeed),
  route: (value) => typeof value === "string" && PASSWORD.test(value),
  redis: (value) => typeof value === "string" && PASSWORD.test(value),
  operator: (value) => typeof value === "string" && OPERATOR.test(value),
  root: (value) => typeof value === "string" && Buffer.from(value, "base64").length === ROOT_BYTES,
  generations: (value) => typeof value === "object" && value !== null,
};

function isSeed(value: unknown): boolean {
  try {
    publicKeyOf(String(value));
    return true;
  } catch {
    return false;
  }
}

/** A new token with the old one's id takes its place: the old one is worth nothing as soon as the auth service has the new one. */
function newOperatorToken(old: string | undefined): string {
  const id = old?.split("_")[1] ?? randomBytes(8).toString("hex");
  return `wop_${id}_${newPassword()}`;
}

function newPassword(): string {
  return randomBytes(32).toString("base64url");
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    // The parser's own message quotes the text.
    throw damaged("JSON");
  }
}

function damaged(what: string): Error {
  return new Error(
    `The mesh's key material is damaged (${what}): restore it from a backup. Removing it makes a new mesh, whose vault cannot read the old one's secrets`,
  );
}
