import { readdirSync, readFileSync } from "node:fs";

const CLOSE_ON_EXEC = 0o2000000;

/**
 * Descriptors above 2 that this process got from whoever started it and would hand on to its children. Node.js closes
 * what it opens itself, but of what it inherits only the first few, up to the first gap.
 */
export function inheritableDescriptors(): number[] {
  return readdirSync("/proc/self/fdinfo").flatMap((name) => {
    const descriptor = Number(name);
    if (descriptor <= 2) return [];
    let text;
    try {
      text = readFileSync(`/proc/self/fdinfo/${name}`, "utf8");
    } catch {
      // The one the listing itself was read with.
      return [];
    }
    const flags = Number.parseInt(/^flags:\s*([0-7]+)/m.exec(text)?.[1] ?? "0", 8);
    return (flags & CLOSE_ON_EXEC) === 0 ? [descriptor] : [];
  });
}
