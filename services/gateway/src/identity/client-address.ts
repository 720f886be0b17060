// Who the client is on the network: the peer, or what a trusted proxy says of it.
import type { IncomingMessage } from "node:http";
import { BlockList, isIP, isIPv4 } from "node:net";

/** What a peer without an address (a Unix socket) is called. */
const NO_ADDRESS = "local";

/** Reads the client's address from requests. */
export class ClientAddress {
  readonly #trusted = new BlockList();
  readonly #anyTrusted: boolean;

  /**
   * @param trustProxy Addresses and CIDR ranges of the proxies whose `X-Forwarded-For` is believed. Empty: nobody's.
   * @throws Error naming the entry that is neither.
   */
  constructor(trustProxy: readonly string[]) {
    this.#anyTrusted = trustProxy.length > 0;
    for (const entry of trustProxy) this.#trust(entry);
  }

  /** The client's address: IPv4, or IPv6 as the peer writes it; never what an untrusted peer claims. */
  of(request: IncomingMessage): string {
    let address = plainAddress(request.socket.remoteAddress ?? NO_ADDRESS);
    if (!this.#anyTrusted) return address;
    const forwarded = request.headers["x-forwarded-for"];
    if (typeof forwarded !== "string") return address;
    // Each proxy appends the address of its peer: the list is believed from its end, as far as proxies are trusted.
    for (const entry of forwarded.split(",").toReversed()) {
      const claimed = plainAddress(entry.trim());
      if (!this.#trusts(address) || !isIP(claimed)) break;
      address = claimed;
    }
    return address;
  }

  #trust(entry: string): void {
    const [address = "", bits, ...rest] = entry.split("/");
    const family = isIP(address);
    const length = bits === undefined ? (family === 4 ? 32 : 128) : Number(bits);
    if (!family || rest.length || !/^\d*$/.test(bits ?? "") || bits === "" || length > (family === 4 ? 32 : 128))
      throw new Error(`WARREN_HTTP_TRUST_PROXY: "${entry}" is no address and no CIDR range such as 10.0.0.0/8`);
    this.#trusted.addSubnet(address, length, family === 4 ? "ipv4" : "ipv6");
  }

  #trusts(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#trusted.check(address, family === 4 ? "ipv4" : "ipv6");
  }
}

/** An IPv4 address in IPv6 clothes (RFC 4291 §2.5.5.2) as IPv4; without a zone. */
function plainAddress(text: string): string {
  const address = text.split("%")[0] ?? "";
  if (!address.includes(":")) return address;
  const groups = groupsOf(address);
  if (!groups || groups.slice(0, 5).some((group) => group !== 0) || groups[5] !== 0xffff) return address;
  const [high = 0, low = 0] = groups.slice(6);
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join(".");
}

/**
 * What limits count an address by: IPv4 as it is; IPv6 by a network of it, since whoever has one address has its /64, and
 * often more. Undefined: a wider network than /64 of what is no IPv6 address. Always short, whatever it is given.
 */
export function networkKey(address: string, prefix = 64): string | undefined {
  const groups = address.includes(":") ? groupsOf(address) : undefined;
  if (!groups) return prefix < 64 ? undefined : isIPv4(address) ? address : NO_ADDRESS;
  const whole = groups.slice(0, Math.ceil(prefix / 16));
  const bits = prefix % 16;
  if (bits > 0) whole.push((whole.pop() ?? 0) & (0xffff << (16 - bits)) & 0xffff);
  return `${whole.map((group) => group.toString(16)).join(":")}::/${prefix}`;
}

/** The eight groups of an IPv6 address (RFC 4291 §2.2); undefined when it is none. */
function groupsOf(address: string): number[] | undefined {
  if (isIP(address) !== 6) return undefined;
  const [head = "", tail] = address.split("::");
  const front = numbers(head);
  if (tail === undefined) return front;
  const back = numbers(tail);
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back];
}

function numbers(text: string): number[] {
  return text === ""
    ? []
    : text.split(":").flatMap((group) => {
        if (!group.includes(".")) return [Number.parseInt(group, 16)];
        const [a = 0, b = 0, c = 0, d = 0] = group.split(".").map(Number);
        return [(a << 8) | b, (c << 8) | d];
      });
}
