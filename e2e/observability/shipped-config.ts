// Prometheus' configuration as we ship it for containers, for a stack on this machine: services are found in a file in place
// of the network's names, and alerts fire sooner. Everything else is what a user has.
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse, stringify } from "yaml";
import { read, rulesFile } from "./definitions.ts";

interface ScrapeConfig {
  readonly dns_sd_configs?: unknown;
}

/** A configuration on disk. */
export interface ShippedConfig {
  readonly configFile: string;
  /** Makes discovery find these services, and no others: addresses of metrics by service. */
  readonly discover: (addresses: ReadonlyMap<string, string>) => void;
}

/** How long an alert's expression holds before it fires: one evaluation more than the first, so that it can be seen pending. */
const FOR = "15s";

/** Writes the configuration, its rules and its list of services into a folder. */
export function shippedConfig(folder: string): ShippedConfig {
  const configFile = join(folder, "prometheus.yml");
  const rulesPath = join(folder, "rules.yml");
  const discovered = join(folder, "services.json");
  const config = parse(read("deploy/observability/prometheus/prometheus.yml")) as {
    readonly scrape_configs: readonly ScrapeConfig[];
  };
  const scrape_configs = config.scrape_configs.map(({ dns_sd_configs: _, ...rest }) => ({
    ...rest,
    file_sd_configs: [{ files: [discovered] }],
  }));
  writeFileSync(configFile, stringify({ ...config, rule_files: [rulesPath], scrape_configs }));
  const groups = rulesFile.groups.map((group) => ({
    ...group,
    rules: group.rules.map((rule) => (rule.for === "0m" ? rule : { ...rule, for: FOR })),
  }));
  writeFileSync(rulesPath, stringify({ ...rulesFile, groups }));
  const discover = (addresses: ReadonlyMap<string, string>): void => {
    const found = [...addresses].map(([service, address]) => ({
      targets: [new URL(address).host],
      // As the discovery by names would say it: what follows from it is the shipped configuration's.
      labels: { __meta_dns_name: service },
    }));
    // Moved into its place: Prometheus never reads half of it.
    writeFileSync(`${discovered}.new`, JSON.stringify(found));
    renameSync(`${discovered}.new`, discovered);
  };
  discover(new Map());
  return { configFile, discover };
}
