// The credentials of a local mesh: made once, kept in the data folder, one file a service, readable by its owner only.
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createCredentials, createSeed, OBSERVER, parseCredentials, publicKeyOf, services } from "@warren/mesh/policy";

/** Where each credential lies, and the public keys for the NATS server. */
export interface MeshCredentials {
  readonly fileOf: (service: string) => string;
  /** The nkey seed of who may ask all services how they are, as `nats --nkey` takes it. */
  readonly observerFile: string;
  /** Of the services and the observer, by name. */
  readonly publicKeys: Readonly<Record<string, string>>;
}

/** Reads the credentials in `folder`, making them at first. */
export function meshCredentials(folder: string): MeshCredentials {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const names = Object.keys(services);
  const fileOf = (service: string): string => join(folder, `${service}.json`);
  if (names.some((name) => !existsSync(fileOf(name))))
    for (const [name, credentials] of Object.entries(createCredentials(names))) {
      // A file that is there keeps its mode when it is written to: a new one is readable by its owner only.
      rmSync(fileOf(name), { force: true });
      writeFileSync(fileOf(name), JSON.stringify(credentials), { mode: 0o600 });
    }
  const observerFile = join(folder, `${OBSERVER}.nk`);
  if (!existsSync(observerFile)) writeFileSync(observerFile, `${createSeed()}\n`, { mode: 0o600, flag: "wx" });
  const observer = publicKeyOf(readFileSync(observerFile, "utf8").trim());
  const first = parseCredentials(readFileSync(fileOf(names[0] ?? "gateway"), "utf8"));
  return { fileOf, observerFile, publicKeys: { ...first.trusted.services, [OBSERVER]: observer } };
}
