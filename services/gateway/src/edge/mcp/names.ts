// Names under which plugins' tools are offered to MCP clients: unique, stable, and of characters that every client takes.
import { createHash } from "node:crypto";

/** Clients pass names on to models, whose providers take no more than this of `[A-Za-z0-9_-]`. */
const MAX_LENGTH = 64;
const HASH_LENGTH = 8;

/**
 * `<plugin>__<tool>`, always: what a person allows in a client must not change its name because another plugin is
 * installed. Ids of plugins hold no `_`, so no plugin can offer a tool under another's name.
 * @param taken Names that are given already.
 */
export function toolName(pluginId: string, tool: string, taken: ReadonlySet<string>): string {
  const name = `${pluginId}__${tool.replaceAll(/[^A-Za-z0-9_-]/g, "_")}`;
  if (name.length <= MAX_LENGTH && !taken.has(name)) return name;
  const hash = createHash("sha256").update(`${pluginId}/${tool}`).digest("hex").slice(0, HASH_LENGTH);
  return `${name.slice(0, MAX_LENGTH - HASH_LENGTH - 1)}_${hash}`;
}
