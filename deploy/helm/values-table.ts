// The settings of the chart as a table, from values.yaml and its comments.
import { parse } from "yaml";

interface Setting {
  readonly path: readonly string[];
  readonly description: string;
}

const LONGEST_DEFAULT = 60;

/**
 * A Markdown table of every setting: name, default, description.
 * @param yaml The text of values.yaml.
 * @throws Error naming a setting that no comment describes.
 */
export function valuesTable(yaml: string): string {
  const values = parse(yaml) as unknown;
  const settings = settingsOf(yaml);
  const described = settings.map(({ path }) => path.join("."));
  for (const leaf of leaves(values, []))
    if (!described.some((path) => leaf === path || leaf.startsWith(`${path}.`)))
      throw new Error(`values.yaml: ${leaf} has no description: write "# -- what it does" above it`);
  const rows = settings.map(({ path, description }) => {
    const text = JSON.stringify(at(values, path));
    const shown = text.length > LONGEST_DEFAULT ? "see `values.yaml`" : `\`${text}\``;
    return `| \`${path.join(".")}\` | ${shown} | ${description.replaceAll("|", "\\|")} |`;
  });
  return ["| setting | default | what it does |", "| --- | --- | --- |", ...rows].join("\n");
}

/** Each key under a comment that begins with `--`. Two spaces a level, as the formatter writes it. */
function settingsOf(yaml: string): Setting[] {
  const found: Setting[] = [];
  const path: string[] = [];
  let description: string | undefined;
  for (const line of yaml.split("\n")) {
    const comment = /^\s*# -- (.*)$/.exec(line)?.[1];
    if (comment !== undefined) description = comment;
    const [, indent = "", key] = /^( *)([\w-]+):/.exec(line) ?? [];
    if (key === undefined) continue;
    path.length = indent.length / 2;
    path.push(key);
    if (description !== undefined) found.push({ path: [...path], description });
    description = undefined;
  }
  return found;
}

function leaves(value: unknown, path: readonly string[]): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value) || Object.keys(value).length === 0)
    return [path.join(".")];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]));
}

function at(value: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], value);
}
