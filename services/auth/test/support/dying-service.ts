// The auth service as a process that is killed (SIGKILL) the moment it is about to write to one of its stores.
import { createAuth } from "../../src/app.ts";
import { sealingKey } from "../../src/config.ts";
import { type AuthStores, openStores } from "../../src/stores.ts";
import { AccessServiceDefinition } from "@warren/proto/warren/auth/v1/access";
import { AuthServiceDefinition } from "@warren/proto/warren/auth/v1/auth";
import { connectMesh, parseCredentials } from "@warren/mesh";
import { readFileSync } from "node:fs";
import { silentLog } from "@warren/testing";

const { NATS_URL = "", CREDENTIALS = "", DIE_AT_STORE = "", DIE_AT_WRITE = "", DIE_WHEN = "before" } = process.env;

const mesh = await connectMesh({
  servers: [NATS_URL],
  credentials: parseCredentials(readFileSync(CREDENTIALS, "utf8")),
  log: silentLog,
});
const stores = await openStores(mesh);
const handlers = await createAuth({
  mesh,
  stores: DIE_AT_STORE === "" ? stores : dying(stores, DIE_AT_STORE as keyof AuthStores),
  sealingKey: sealingKey({ meshCredentials: CREDENTIALS }),
  log: silentLog,
  headStartMs: 0,
});
await mesh.serve(AuthServiceDefinition, handlers.auth);
await mesh.serve(AccessServiceDefinition, handlers.access);
process.send?.("ready");

function dying(all: AuthStores, name: keyof AuthStores): AuthStores {
  const store = all[name] as AuthStores["devices"];
  const write = async (run: () => Promise<number>): Promise<number> => {
    if (DIE_WHEN === "after") await run();
    process.kill(process.pid, "SIGKILL");
    return new Promise<never>(() => undefined);
  };
  return {
    ...all,
    [name]: {
      get: (key: string) => store.get(key),
      entries: (prefix?: string) => store.entries(prefix),
      create: (key: string, value: never) =>
        DIE_AT_WRITE === "create" ? write(() => store.create(key, value)) : store.create(key, value),
      update: (key: string, value: never, revision: number) =>
        DIE_AT_WRITE === "update"
          ? write(() => store.update(key, value, revision))
          : store.update(key, value, revision),
    },
  };
}
