// Whom an address counts for: one subscriber has one IPv4 address, but 2^64 and more of IPv6.
import { isIPv4, isIPv6 } from "node:net";

/**
 * What attempts from an address are counted under: the IPv4 address (also when written as `::ffff:…`), the /64 of an
 * IPv6 address, `unknown` for anything else, so that whoever hides shares one count.
 */
export function clientNetwork(address: string | undefined): string {
  if (address === undefined) return "unknown";
  if (isIPv4(address)) return address;
  const bare = address.split("%")[0] ?? "";
  if (!isIPv6(bare)) return "unknown";
  const groups = expand(bare);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return groups
      .slice(6)
      .flatMap((group) => [group >> 8, group & 0xff])
      .join(".");
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}

/** The eight groups of an IPv6 address. The URL parser writes an embedded IPv4 address as two groups. */
function expand(address: string): number[] {
  const [head, tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::").map(parseGroups);
  if (!head || !tail) return head ?? [];
  return [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

function parseGroups(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}
