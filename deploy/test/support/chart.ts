// The chart as Helm renders it.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { ROOT, run } from "./tools.ts";

export const CHART = join(ROOT, "deploy/helm");

/** The value sets of `ci/`, by name. */
export const VALUE_SETS: Readonly<Record<string, string>> = Object.fromEntries(
  readdirSync(join(CHART, "ci")).map((file) => [file.replace(/-values\.yaml$/, ""), join(CHART, "ci", file)]),
);

/** The versions of Kubernetes for which the chart is checked: kubectl-validate carries their schemas. */
export const KUBERNETES = { oldest: "1.29.0", newest: "1.30.0" } as const;

/** JSON that a test looks into: anything may be there, and `String()` tells what is. */
export type Json = { readonly [key: string]: Json } & { readonly [index: number]: Json } & Iterable<Json> & {
    readonly length: number;
    toString(): string;
  };

/** A rendered object. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: Json;
  readonly data?: Readonly<Record<string, string>>;
  readonly [key: string]: unknown;
}

/** A rendered chart. */
export interface Rendered {
  readonly all: readonly Manifest[];
  /** @throws Error when there is none. */
  get(kind: string, name: string): Manifest;
  has(kind: string, name: string): boolean;
  ofKind(kind: string): readonly Manifest[];
}

export const SERVICES = ["gateway", "auth", "agent", "plugin-host", "secrets"] as const;

/** Renders the chart as release `warren` in namespace `mesh`. */
export async function render(valueSet: string, ...settings: string[]): Promise<Rendered> {
  const { code, stdout, stderr } = await template(valueSet, ...settings);
  if (code !== 0) throw new Error(stderr);
  const all = parseAllDocuments(stdout)
    .map((document) => document.toJS() as Manifest | null)
    .filter((manifest) => manifest !== null);
  const look = (kind: string, name: string): Manifest | undefined =>
    all.find((each) => each.kind === kind && each.metadata.name === name);
  return {
    all,
    get: (kind, name) => {
      const found = look(kind, name);
      if (!found) throw new Error(`no ${kind} ${name} is rendered for ${valueSet}`);
      return found;
    },
    has: (kind, name) => look(kind, name) !== undefined,
    ofKind: (kind) => all.filter((each) => each.kind === kind),
  };
}

/** What `helm template` says. */
export function template(valueSet: string, ...settings: string[]): ReturnType<typeof run> {
  const file = VALUE_SETS[valueSet];
  if (!file) throw new Error(`there is no value set ${valueSet}`);
  const sets = settings.flatMap((setting) => ["--set-json", setting]);
  const version = ["--kube-version", KUBERNETES.newest];
  return run("helm", ["template", "warren", CHART, "--namespace", "mesh", "--values", file, ...version, ...sets]);
}

/** A pod's specification, wherever the object keeps it. */
export function podOf(manifest: Manifest): Json {
  return manifest.kind === "Pod" ? manifest.spec : (manifest.spec["template"]?.["spec"] as Json);
}

/** Every object that makes pods. */
export function workloads({ all }: Rendered): readonly Manifest[] {
  return all.filter(({ kind }) => ["Deployment", "StatefulSet", "DaemonSet", "Job", "Pod"].includes(kind));
}

/** A container's environment by name. */
export function environmentOf(manifest: Manifest): Record<string, string> {
  const list = [...(podOf(manifest)["containers"]?.[0]?.["env"] ?? [])];
  return Object.fromEntries(list.map((each) => [String(each["name"]), String(each["value"] ?? "")]));
}
