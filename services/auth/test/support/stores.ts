// Stores over a real bucket: apart from each other, and failing when a test wants them to.
import { randomUUID } from "node:crypto";
import { RpcError, StatusCode } from "@warren/mesh";
import type { Store } from "../../src/compare-and-set.ts";
import type { AuthStores } from "../../src/stores.ts";

/** The same stores under names of their own, so that tests can share a server. */
export function apart(stores: AuthStores, name: string = randomUUID()): AuthStores {
  const { pairings, attempts, devices, revocations, refresh, credentials, publicKeys, signing } = stores;
  const { sessions, factors, activity } = stores;
  return {
    pairings: under(pairings, name),
    attempts: under(attempts, name),
    devices: under(devices, name),
    revocations: under(revocations, name),
    refresh: under(refresh, name),
    credentials: under(credentials, name),
    publicKeys: under(publicKeys, name),
    signing: under(signing, name),
    sessions: under(sessions, name),
    factors: under(factors, name),
    activity: under(activity, name),
  };
}

function under<T>(store: Store<T>, name: string): Store<T> {
  const at = (key: string): string => `${name}.${key}`;
  return {
    get: (key) => store.get(at(key)),
    create: (key, value) => store.create(at(key), value),
    update: (key, value, revision) => store.update(at(key), value, revision),
    entries: (prefix) => store.entries(prefix ? at(prefix) : name),
  };
}

type Write = "create" | "update";

/** A store whose next writes fail as if the process died before or after them. */
export function failing<T>(store: Store<T>): Store<T> & { failNext(write: Write, when: "before" | "after"): void } {
  let plan: { write: Write; when: "before" | "after" } | undefined;
  const attempt = async (write: Write, run: () => Promise<number>): Promise<number> => {
    const hit = plan?.write === write ? plan : undefined;
    if (hit) plan = undefined;
    if (hit?.when === "before") throw died();
    const revision = await run();
    if (hit) throw died();
    return revision;
  };
  return {
    get: (key) => store.get(key),
    entries: (prefix) => store.entries(prefix),
    create: (key, value) => attempt("create", () => store.create(key, value)),
    update: (key, value, revision) => attempt("update", () => store.update(key, value, revision)),
    failNext(write, when) {
      plan = { write, when };
    },
  };
}

function died(): RpcError {
  return new RpcError(StatusCode.UNAVAILABLE, "The test cut the connection here");
}
