// The parts' secrets as Kubernetes Secrets, one a part, so that a pod mounts its own and no other.
import type { Api, Secret } from "./kubernetes-api.ts";
import {
  completeMaterial,
  type Generations,
  type Material,
  parseMaterial,
  renewalsOf,
  serializeMaterial,
} from "./material.ts";
import { type Files, filesOf } from "./parts.ts";

export interface EnsureSecretsOptions {
  readonly api: Api;
  /** The Secrets are `<prefix>-<part>`, and `<prefix>-bootstrap` with the material itself, which no pod mounts. */
  readonly prefix: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Parts whose secrets somebody else brings: none is made for them. */
  readonly except?: readonly string[];
  /** A kind whose word here differs from the one of the last time is made anew. */
  readonly generations?: Generations;
}

const KEY = "material.json";
/** Two installs at once meet here: the slower one reads what the faster one made. */
const ATTEMPTS = 5;

/**
 * Makes what is missing and mends what differs; safe to run again, by two at once, and after it was killed.
 * @returns the names of the Secrets that were written
 * @throws Error when the API refuses, or the material that is there is damaged.
 */
export async function ensureSecrets(options: EnsureSecretsOptions): Promise<string[]> {
  const { prefix, except = [] } = options;
  const written: string[] = [];
  const material = await ensureMaterial(options, written);
  for (const [part, files] of Object.entries(filesOf(material)))
    if (!except.includes(part)) await ensure(options, `${prefix}-${part}`, encode(files), written);
  return written;
}

async function ensureMaterial(options: EnsureSecretsOptions, written: string[]): Promise<Material> {
  const name = `${options.prefix}-bootstrap`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = await options.api.read(name);
    const json = found?.data?.[KEY];
    const before = json === undefined ? undefined : Buffer.from(json, "base64").toString();
    const known = before === undefined ? {} : parseMaterial(before);
    const { generations = {} } = options;
    const material = completeMaterial(known, renewalsOf(known, generations), generations);
    const after = serializeMaterial(material);
    if (after === before) return material;
    if (await put(options, name, found, encode({ [KEY]: Buffer.from(after) }))) {
      written.push(name);
      return material;
    }
  }
  throw new Error(`The Secret ${name} is being changed by others: try again`);
}

async function ensure(
  options: EnsureSecretsOptions,
  name: string,
  data: Record<string, string>,
  written: string[],
): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const found = await options.api.read(name);
    if (found && Object.entries(data).every(([key, value]) => found.data?.[key] === value)) return;
    if (await put(options, name, found, data)) return void written.push(name);
  }
  throw new Error(`The Secret ${name} is being changed by others: try again`);
}

/** What a person added to a Secret stays in it. */
function put(
  { api, labels }: EnsureSecretsOptions,
  name: string,
  found: Secret | undefined,
  data: Record<string, string>,
): Promise<boolean> {
  if (found) return api.replace({ ...found, data: { ...found.data, ...data } });
  return api.create({ apiVersion: "v1", kind: "Secret", type: "Opaque", metadata: { name, labels }, data });
}

function encode(files: Files): Record<string, string> {
  return Object.fromEntries(Object.entries(files).map(([name, content]) => [name, content.toString("base64")]));
}
