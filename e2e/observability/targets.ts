// Where the processes of a stack serve their metrics, and what they serve.
import assert from "node:assert/strict";
import { type TestStack, waitUntil } from "@warren/testing";

export const SERVICES = ["gateway", "auth", "agent", "secrets", "plugin-host"] as const;

/** The address of each service's metrics: `http://127.0.0.1:40123/metrics`. The stack has one replica of each. */
export function metricsAddresses(stack: TestStack): Promise<Map<string, string>> {
  return waitUntil("the addresses of all metrics", 10_000, () => {
    const addresses = stack.lines.flatMap((line) => {
      const [, service, address] = /^(\S+)-1 .*"metrics":"([^"]+)"/.exec(line) ?? [];
      return service && address ? [[service, address] as const] : [];
    });
    return addresses.length === SERVICES.length ? new Map(addresses) : undefined;
  });
}

/** Each service's metrics as Prometheus reads them. */
export async function scrape(addresses: ReadonlyMap<string, string>): Promise<Map<string, string>> {
  return new Map(
    await Promise.all(
      [...addresses].map(async ([service, address]) => {
        assert.match(address, /^http:\/\/127\.0\.0\.1:/);
        return [service, await (await fetch(address)).text()] as const;
      }),
    ),
  );
}

/** A series with its value at one time. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The samples of Prometheus' text form. */
export function samplesIn(text: string): Sample[] {
  return [...text.matchAll(/^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/gm)].map(([, name = "", labels = "", value]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, label, is]) => [label, is])),
    value: Number(value),
  }));
}

/** The type of each metric in Prometheus' text form: `counter`, `gauge`, `histogram`. */
export function typesIn(text: string): Map<string, string> {
  return new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = "", type = ""]) => [name, type]));
}

/** A metric's own name, without what a histogram adds to it. */
export function baseName(name: string, types: ReadonlyMap<string, string>): string {
  return types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
}
