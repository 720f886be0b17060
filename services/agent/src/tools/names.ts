// Names under which tools are offered to models: unique, and made of what every provider allows.
import { createHash } from "node:crypto";

/** Longest name that every provider takes. */
const MAX_LENGTH = 64;
const HASH_LENGTH = 8;

/** What a tool is called where it lives. */
export interface ToolAddress {
  readonly pluginId: string;
  readonly tool: string;
}

/**
 * A name for each address, in order. A tool keeps its own name where no other plugin has the same; else every one of them
 * is called `<plugin>__<tool>`, so that no plugin can take over another's name.
 */
export function offeredNames(addresses: readonly ToolAddress[]): string[] {
  const counts = new Map<string, number>();
  for (const { tool } of addresses) counts.set(safe(tool), (counts.get(safe(tool)) ?? 0) + 1);
  const taken = new Set<string>();
  return addresses.map((address) => {
    const plain = safe(address.tool);
    const wanted = counts.get(plain) === 1 ? plain : `${address.pluginId}__${plain}`;
    const name = wanted.length > MAX_LENGTH || taken.has(wanted) ? hashed(wanted, address) : wanted;
    taken.add(name);
    return name;
  });
}

/** A tool's name in the characters that models take, even when it is not offered (any more). */
export function safe(tool: string): string {
  return tool.replace(/[^A-Za-z0-9_-]/g, "_");
}

function hashed(name: string, { pluginId, tool }: ToolAddress): string {
  const hash = createHash("sha256").update(`${pluginId}/${tool}`).digest("hex").slice(0, HASH_LENGTH);
  return `${name.slice(0, MAX_LENGTH - HASH_LENGTH - 1)}_${hash}`;
}
