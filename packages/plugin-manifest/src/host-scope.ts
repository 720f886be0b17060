import { isIPv4, isIPv6 } from "node:net";

/** The scope of `net:outbound`. */
export interface HostScope {
  /** A host name or address in lower case; for a wildcard the domain below which it reaches, empty for every host. */
  readonly host: string;
  /** Whether it stands for the names below `host` rather than for `host`. */
  readonly wildcard: boolean;
  /** Absent: every port. */
  readonly port: number | undefined;
}

const label = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

/**
 * Says what is wrong with a `net:outbound` scope, or nothing. Only one spelling of a host is taken: lower case, no
 * trailing dot, addresses in their usual form. Octal, decimal and short forms of an address are the tricks by which
 * `127.1` slips past a rule for `127.0.0.1`.
 */
export function hostScopeProblem(scope: string): string | undefined {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d{1,5}))?$/.exec(scope);
  const host = match?.[1];
  if (match === null || host === undefined)
    return "the scope must be host or host:port; write an IPv6 address as [::1]";
  const port = match[2];
  if (port !== undefined && (port.startsWith("0") || Number(port) > 65_535)) return `"${port}" is not a port`;
  if (host === "*") return undefined;
  if (host.startsWith("[")) {
    const address = host.slice(1, -1);
    if (!isIPv6(address) || address.includes("%")) return `"${host}" is not an IPv6 address`;
    const canonical = new URL(`http://${host}`).hostname;
    return canonical === host ? undefined : `write the address as ${canonical}`;
  }
  if (isIPv4(host)) return undefined;
  const name = host.startsWith("*.") ? host.slice(2) : host;
  if (name.includes("*")) return "`*` may only stand first, as in *.example.com";
  if (name !== name.toLowerCase()) return "write the host in lower case";
  const labels = name.split(".");
  if (name.length > 253 || !labels.every((each) => label.test(each))) return `"${host}" is not a host name`;
  if (/^(?:\d+|0x[0-9a-f]*)$/.test(labels.at(-1) ?? "")) return `"${host}" is not an address in its usual form`;
  return undefined;
}

/** Reads a scope in which {@link hostScopeProblem} found nothing wrong. */
export function parseHostScope(scope: string): HostScope {
  const colon = scope.endsWith("]") ? -1 : scope.lastIndexOf(":");
  const host = colon === -1 ? scope : scope.slice(0, colon);
  const port = colon === -1 ? undefined : Number(scope.slice(colon + 1));
  if (host === "*") return { host: "", wildcard: true, port };
  return host.startsWith("*.") ? { host: host.slice(2), wildcard: true, port } : { host, wildcard: false, port };
}

/** Whether everything the second reaches is also reached by the first. */
export function hostCovers(grant: HostScope, want: HostScope): boolean {
  if (grant.port !== undefined && grant.port !== want.port) return false;
  if (!grant.wildcard) return !want.wildcard && grant.host === want.host;
  if (grant.host === "" || (want.wildcard && want.host === grant.host)) return true;
  return want.host.endsWith(`.${grant.host}`);
}
